"""The model in this process: one call at a time, a bounded queue, no prompt that cannot fit; and its file."""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragkit.errors import EndpointDownError, ModelError
from ragkit.models.bundled import BundledChatModel, verify_gguf
from ragkit.models.endpoint import EndpointTransport, Limits
from ragkit.models.gguf import check_gguf
from ragkit.models.serial import SerialGate
from ragkit.testing.fault_server import completion_events

SAID = completion_events("one two three")


class OneAtATime(httpx.BaseTransport):
    """A backend that notes every call that begins while another one runs."""

    def __init__(self) -> None:
        self.running, self.overlaps, self.calls = 0, 0, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.running += 1
        self.calls += 1
        self.overlaps += self.running > 1
        backend = self

        class Reply(httpx.SyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                for at in range(0, len(SAID), 400):
                    time.sleep(0.0002)
                    yield SAID[at : at + 400]

            def close(self) -> None:
                backend.running -= 1

        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Reply())


def body(text: str = "hi") -> dict[str, Any]:
    return {"stream": True, "messages": [{"role": "user", "content": text}]}


def test_two_hundred_callers_take_turns_and_too_many_hear_so_at_once() -> None:
    backend = OneAtATime()
    gate = SerialGate(1000, lambda text: None, waiting=40)
    client = httpx.Client(transport=EndpointTransport(Limits(), gate=gate, inner=backend))
    outcomes: list[str] = []
    together = threading.Barrier(200)

    def call(number: int) -> None:
        draw = random.Random(number)
        together.wait(60)
        try:
            with client.stream("POST", "http://local/v1/chat/completions", json=body()) as response:
                for seen, _ in enumerate(response.iter_lines()):
                    if draw.random() < 0.05 and seen:
                        outcomes.append("left")
                        return
            outcomes.append("done")
        except EndpointDownError as exc:
            assert "wait for the local model already" in str(exc)
            outcomes.append("refused")

    threads = [threading.Thread(target=call, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == 200 and backend.overlaps == 0
    assert {"done", "left", "refused"} == set(outcomes)
    assert backend.calls == 200 - outcomes.count("refused")
    assert backend.running == 0
    gate.enter(body(), 0.1)()  # nobody kept the turn


def test_whoever_leaves_gives_the_turn_back_within_a_token() -> None:
    backend = OneAtATime()
    gate = SerialGate(1000, lambda text: None)
    client = httpx.Client(transport=EndpointTransport(Limits(), gate=gate, inner=backend))
    with client.stream("POST", "http://local/v1/chat/completions", json=body()) as response:
        next(response.iter_lines())
        with pytest.raises(EndpointDownError, match="busy"):
            gate.enter(body(), 0.01)
    began = time.monotonic()
    gate.enter(body(), 1.0)()
    assert time.monotonic() - began < 0.3


def test_a_prompt_that_cannot_fit_never_reaches_the_model() -> None:
    backend = OneAtATime()
    gate = SerialGate(100, lambda text: len(text) // 2)
    client = httpx.Client(transport=EndpointTransport(Limits(), gate=gate, inner=backend))
    with pytest.raises(ModelError, match="The prompt has 200 tokens, the local model reads 100"):
        client.post("http://local/v1/chat/completions", json=body("x" * 400))
    assert backend.calls == 0
    gate.check(body("x" * 150))  # many bytes, but few tokens


# ---- the file


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(template: str = "{{ messages[0]['content'] }}", shift: int = 0) -> bytes:
    keys = text("general.alignment") + struct.pack("<II", 4, 32)
    keys += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + text("a") + text("词") + text("c")
    keys += text("tokenizer.ggml.scores") + struct.pack("<IIQ3f", 9, 6, 3, 0, 0, 0)
    keys += text("tokenizer.chat_template") + struct.pack("<I", 8) + text(template)
    tensors = text("a") + struct.pack("<IQQIQ", 2, 32, 4, 0, 0)  # 32 x 4 floats
    tensors += text("b") + struct.pack("<IQIQ", 1, 256, 12, 512 + shift)  # one block of Q4_K
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, 4) + keys + tensors
    return head + b"\0" * (-len(head) % 32) + b"\1" * (512 + 144)


def refused(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=said) as caught:
        check_gguf(file)
    assert str(file) in str(caught.value)


def test_a_sound_file_passes(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(gguf())
    check_gguf(tmp_path / "model.gguf")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.8, 0.999])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, share: float) -> None:
    whole = gguf()
    refused(tmp_path, whole[: int(share * len(whole))], "is no usable GGUF model file")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!doctype html><title>404 Not Found</title>", "it is a web page"),
        (b"\0" * 64, "does not begin with GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 99, 0, 0), "its version is 99"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1) + b"\0" * 64, "tensors and 1 keys"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**63) + b"\0" * 64, "ends within its header"),
        (gguf(shift=1 << 40), "it is cut short"),
        (gguf("{{ ''.__class__.__mro__[1].__subclasses__() }}"), "chat template reaches for"),
        (gguf("{{ cycler.__init__.__globals__.os.popen('id').read() }}"), "chat template reaches for"),
        (gguf("{{ x|attr('__class__') }}"), "chat template reaches for"),
        (gguf("{{ os.system('id') }}"), "chat template reaches for"),
    ],
)
def test_a_hostile_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    refused(tmp_path, content, said)


def test_a_wrong_checksum_and_what_a_killed_process_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "part.bin").write_bytes(gguf())
    with pytest.raises(ModelError, match="is damaged"):
        verify_gguf(tmp_path / "part.bin", "0" * 64)
    model = BundledChatModel("m", "nowhere", 1, 1, "0" * 64)
    monkeypatch.setattr(BundledChatModel, "part_files", lambda self: [tmp_path / "part.bin"])
    folder = tmp_path / "home" / "models"
    folder.mkdir(parents=True)
    (folder / ".m.gguf.999999999.ab").write_bytes(b"half of it")
    with pytest.raises(ModelError, match="wrong checksum"):
        model.prepare(tmp_path / "home")
    assert list(folder.iterdir()) == []
