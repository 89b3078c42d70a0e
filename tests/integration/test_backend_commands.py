"""Backends from the outside: the command line, a real kill, networks that fail, tokens that stay secret."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pinecone_fake import KEY, FakePinecone, fake_pinecone

from ragkit.api import Index
from ragkit.cli.main import main
from ragkit.errors import ConfigError, EndpointError, IndexFailure, UsageError
from ragkit.index.backends import open_store
from ragkit.index.backends.milvus import expression
from ragkit.index.backends.pinecone import conditions
from ragkit.index.backends.records import read_head
from ragkit.index.backends.store import digest
from ragkit.index.engine import Filter
from ragkit.settings import Settings, load_settings
from ragkit.testing import HashingEmbedder

NOTES = {
    "cache.md": "# KV cache\n\nThe KV cache keeps the keys and values of earlier tokens.\n",
    "position.md": "# 位置编码\n\n自注意力对词的顺序不敏感，所以需要位置编码告诉模型每个词在哪里。\n",
}
PROGRAM = """
import sys
from ragkit.testing import HashingEmbedder
import ragkit.index.model_choice as choice
from ragkit.models.embeddings import WrappedEmbedder
embedder = HashingEmbedder()
choice.resolve_embedding = lambda *_, **__: WrappedEmbedder(embedder)
from ragkit.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("embedded", embedder.documents_embedded, file=sys.stderr)
"""


@pytest.fixture
def notes(tmp_path: Path, make_notes: Callable[..., Path]) -> Path:
    return make_notes(tmp_path / "notes", NOTES)


@pytest.fixture
def service() -> Iterator[FakePinecone]:
    with fake_pinecone() as fake:
        yield fake


def lite(tmp_path: Path, **more: Any) -> Settings:
    return load_settings(home=tmp_path / "home", backend="milvus", backend_uri=str(tmp_path / "notes.db"), **more)


def run(
    arguments: list[str], environment: dict[str, str], cwd: Path, **options: Any
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300, **options)


def test_index_search_and_ask_over_milvus_lite(notes: Path, tmp_path: Path, child_environment: dict[str, str]) -> None:
    environment = {**child_environment, "RAGKIT_HOME": str(tmp_path / "home"), "RAGKIT_CHAT_MODEL": "extractive"}
    place = ["--backend", "milvus", "--uri", str(tmp_path / "kept" / "notes.db"), "--collection", "mine"]
    missing = run(["search", "KV cache", *place], environment, tmp_path)
    assert missing.returncode == 1 and "There is no index in collection mine" in missing.stderr
    done = run(["index", str(notes), *place, "--json"], environment, tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["documents"], report["added"], report["embedded_chunks"]) == (2, 2, 2)
    assert report["index"].startswith("milvus ") and report["index"].endswith("notes.db mine")
    again = json.loads(run(["index", str(notes), *place, "--json"], environment, tmp_path).stdout)
    assert (again["unchanged"], again["embedded_chunks"]) == (2, 0)
    found = run(["search", "KV cache", *place, "--json"], environment, tmp_path)
    hits = json.loads(found.stdout)["hits"]
    assert hits[0]["document"] == "cache.md"
    assert hits[0]["text"] == NOTES["cache.md"][hits[0]["start"] : hits[0]["end"]]
    asked = run(["ask", "What does the KV cache keep?", *place, "--json"], environment, tmp_path)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["citations"][0]["document"] == "cache.md"
    doctor = run(["doctor", *place, "--json"], environment, tmp_path)
    [check] = [c for c in json.loads(doctor.stdout)["checks"] if c["name"] == "index"]
    assert check["ok"] and check["detail"].startswith("2 notes, 2 chunks")


@pytest.mark.parametrize("flag", ["--verify", "--repair", "--compact"])
@pytest.mark.parametrize("named", [True, False])
def test_care_for_the_embedded_index_is_refused_over_a_backend_before_anything_is_done(
    flag: str, named: bool, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("RAGKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAGKIT_BACKEND", "milvus")
    monkeypatch.setenv("RAGKIT_BACKEND_URI", str(tmp_path / "notes.db"))
    with pytest.raises(SystemExit) as left:
        main(["index", *([str(notes)] if named else []), flag])
    said = capsys.readouterr().err.strip()
    assert left.value.code == 2
    assert f"milvus keeps its own data; {flag}" in " ".join(said.split())
    assert "ragkit " in said
    assert not (tmp_path / "notes.db").exists()


def test_a_killed_run_over_milvus_lite_goes_on_where_it_stopped(
    tmp_path: Path, child_environment: dict[str, str], make_notes: Callable[..., Path]
) -> None:
    many = {f"{i:04d}.md": f"# Note {i}\n\nThe text of note {i} about topic {i % 17}.\n" for i in range(1500)}
    notes = make_notes(tmp_path / "notes", many)
    settings = lite(tmp_path)
    environment = {**child_environment, "RAGKIT_HOME": str(settings.home)}
    command = [sys.executable, "-c", PROGRAM, "index", str(notes), "--backend", "milvus", "--uri"]
    child = subprocess.Popen(
        [*command, str(settings.backend_uri)],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    data = tmp_path / "notes.db" / "collections" / "ragkit"
    until = time.monotonic() + 120
    while not sum(file.stat().st_size for file in data.rglob("*") if file.is_file()) > 700_000:
        assert child.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with pytest.raises(IndexFailure, match="interrupted"):
        Index.open(settings=settings, embedding=HashingEmbedder())
    store = open_store(settings)
    head = read_head(store)
    assert head is not None and head.generation == 0
    kept = sum(1 for _ in store.scan("d-"))
    store.close()
    assert 0 < kept < len(many)
    embedder = HashingEmbedder()
    index = Index.open(notes, settings=settings, embedding=embedder)
    assert embedder.documents_embedded == len(many) - kept
    assert len(index) == len(many)
    assert index.search("text of note 77", k=1, mode="sparse")[0].document == "0077.md"
    index.close()


def test_a_milvus_lite_file_that_another_process_has_open_is_one_clear_error(
    notes: Path, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    settings = lite(tmp_path)
    index = Index.open(notes, settings=settings, embedding=HashingEmbedder())
    environment = {**child_environment, "RAGKIT_HOME": str(settings.home)}
    other = run(["search", "cache", "--backend", "milvus", "--uri", str(settings.backend_uri)], environment, tmp_path)
    assert other.returncode == 1
    assert "another process has it open" in other.stderr and "Traceback" not in other.stderr
    assert index.search("KV cache", k=1)[0].document == "cache.md"
    index.close()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_milvus_that_is_not_there_is_one_clear_error(
    closed_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ragkit.index.backends import milvus

    monkeypatch.setattr(milvus, "_TIMEOUT", 2.0)
    uri = f"http://me:secret@127.0.0.1:{closed_port}"
    settings = load_settings(home=tmp_path, backend="milvus", backend_uri=uri, backend_token="token-77")
    with pytest.raises(EndpointError) as caught:
        Index.open(settings=settings, embedding=HashingEmbedder())
    shown = str(caught.value)
    assert f"http://127.0.0.1:{closed_port}" in shown and "backend_uri" in shown and "\n" not in shown
    assert "secret" not in shown and "token-77" not in shown


def test_a_milvus_that_goes_away_is_one_clear_error(
    notes: Path, tmp_path: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the network: Milvus Lite's own server, which is killed between two questions."""
    from ragkit.index.backends import milvus

    program = "import sys; from milvus_lite.cmdline import main; sys.exit(main())"
    options = ["server", "--data-dir", str(tmp_path / "data"), "--port", str(closed_port)]
    server = subprocess.Popen(
        [sys.executable, "-c", program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        uri = f"http://127.0.0.1:{closed_port}"
        settings = load_settings(home=tmp_path / "home", backend="milvus", backend_uri=uri, backend_vector_index="FLAT")
        until = time.monotonic() + 60
        while True:
            with socket.socket() as sock:
                if not sock.connect_ex(("127.0.0.1", closed_port)):
                    break
            assert server.poll() is None and time.monotonic() < until
            time.sleep(0.2)
        index = Index.open(notes, settings=settings, embedding=HashingEmbedder())
        assert index.search("KV cache", k=1)[0].document == "cache.md"
    finally:
        server.kill()
        server.wait()
    monkeypatch.setattr(milvus, "_TIMEOUT", 3.0)
    index._engine.store._deadline = {"timeout": 3.0}  # type: ignore[attr-defined]
    with pytest.raises(EndpointError, match=uri):
        index.search("position", k=1)


def test_a_pinecone_that_is_not_there_is_one_clear_error(closed_port: int, tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{closed_port}"
    settings = load_settings(home=tmp_path, backend="pinecone", backend_uri=uri, backend_token=KEY)
    with pytest.raises(EndpointError, match=uri) as caught:
        Index.open(settings=settings, embedding=HashingEmbedder())
    assert KEY not in str(caught.value)


def test_a_refused_pinecone_key_is_one_clear_error_without_the_key(service: FakePinecone, tmp_path: Path) -> None:
    settings = load_settings(
        home=tmp_path, backend="pinecone", backend_uri=service.address, backend_token="pc-wrong-key"
    )
    with pytest.raises(EndpointError, match="Invalid API key") as caught:
        Index.open(settings=settings, embedding=HashingEmbedder())
    assert "pc-wrong-key" not in str(caught.value)


def test_a_pinecone_that_breaks_off_in_the_middle_keeps_what_was_there(
    service: FakePinecone, notes: Path, tmp_path: Path
) -> None:
    settings = load_settings(home=tmp_path, backend="pinecone", backend_uri=service.address, backend_token=KEY)
    index = Index.open(notes, settings=settings, embedding=HashingEmbedder())
    before = index.search("KV cache", k=5)
    service.broken = True
    with pytest.raises(EndpointError, match="told to fail"):
        index.search("something new", k=5)
    (notes / "cache.md").write_text("# KV cache\n\nPages.\n", encoding="utf-8")
    with pytest.raises(EndpointError):
        Index.open(notes, settings=settings, embedding=HashingEmbedder())
    service.broken = False
    assert index.search("KV cache", k=5) == before
    updated = Index.open(notes, settings=settings, embedding=HashingEmbedder())
    assert "Pages." in updated.search("KV cache", k=1)[0].text
    index.close()
    updated.close()


def test_pinecone_searches_only_after_its_reads_caught_up(service: FakePinecone, notes: Path, tmp_path: Path) -> None:
    """The stand-in answers the first search after a write without that write; ragkit must not commit before it."""
    settings = load_settings(home=tmp_path, backend="pinecone", backend_uri=service.address, backend_token=KEY)
    index = Index.open(notes, settings=settings, embedding=HashingEmbedder())
    assert {name for name in service.indexes} == {"ragkit", "ragkit-records"}
    assert all(kept.seen_lsn == kept.lsn for kept in service.indexes.values())
    assert len(index.search("KV cache 位置", k=5)) == 2
    index.close()


@pytest.mark.parametrize("name", ["1st", "my-notes", "x;drop", "", "a" * 300, "名"])
def test_milvus_refuses_names_it_cannot_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="backend_collection"):
        open_store(lite(tmp_path, backend_collection=name))


def test_settings_that_lead_nowhere_are_named(tmp_path: Path, notes: Path) -> None:
    with pytest.raises(ConfigError, match="needs an address"):
        open_store(load_settings(home=tmp_path, backend="milvus"))
    with pytest.raises(ConfigError, match=r"\.db"):
        open_store(load_settings(home=tmp_path, backend="milvus", backend_uri="notes.sqlite"))
    with pytest.raises(ConfigError, match="RAGKIT_BACKEND_TOKEN"):
        open_store(load_settings(home=tmp_path, backend="pinecone"))
    with pytest.raises(UsageError, match="Leave one out"):
        Index.open(notes, tmp_path / "index", settings=lite(tmp_path))


def test_the_services_own_key_goes_to_the_service_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PINECONE_API_KEY", "pc-own")
    with pytest.raises(ConfigError, match="needs an API key"):
        open_store(load_settings(home=tmp_path, backend="pinecone", backend_uri="http://127.0.0.1:1"))


@pytest.mark.parametrize(
    "lines",
    ['backend = "milvus"\nbackend_uri = "http://elsewhere:19530"', 'backend = "pinecone"'],
)
def test_a_config_file_that_came_with_notes_sends_them_nowhere(lines: str) -> None:
    Path("ragkit.toml").write_text(lines, encoding="utf-8")
    with pytest.raises(ConfigError, match="would get your notes"):
        load_settings()
    assert load_settings(Path("ragkit.toml")).backend != "faiss"


def test_a_config_file_may_name_a_local_file() -> None:
    Path("ragkit.toml").write_text('backend = "milvus"\nbackend_uri = "notes.db"', encoding="utf-8")
    assert load_settings().backend_uri == "notes.db"


def test_the_token_is_secret_in_the_settings() -> None:
    assert "token-77" not in repr(load_settings(backend_token="token-77"))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, ""),
        (Filter(), ""),
        (Filter(language="zh"), 'language == "zh"'),
        (Filter(heading='a" or "1"=="1'), 'heading like "%a% or %1%==%1%"'.replace("==", "%").replace("%%", "%")),
        (Filter(documents=("a/*.md",)), '(document like "a/%.md")'),
        (Filter(documents=("[a]b[c]'?",)), '(document like "%")'),
    ],
)
def test_milvus_expressions_hold_no_character_of_the_user_that_means_something(
    where: Filter | None, expected: str
) -> None:
    assert expression(where).replace("%%", "%") == expected


def test_milvus_expressions_name_paths_and_tags_by_hash_only() -> None:
    text = expression(Filter(documents=('x" or 1', "\\"), tags=('") or ("',)))
    assert " or " not in text.replace(" or document", "") and "\\" not in text
    assert text.count('"') == 6


def test_backends_let_through_every_spelling_of_an_accent() -> None:
    composed, apart = "r\u00e9sum\u00e9", "re\u0301sume\u0301"
    for path in (composed, apart):
        keys = [digest(f"{spelling}.md") for spelling in (composed, apart)]
        text = expression(Filter(documents=(f"{path}.md",)))
        assert all(key in text for key in keys)
        assert expression(Filter(documents=(f"{path}*",))) == '(document like "r%sum%")'
        found = conditions(Filter(documents=(f"{path}.md",)))
        assert found is not None and set(keys) <= set(found["$and"][0]["places"]["$in"])


def test_pinecone_conditions_are_the_narrowest_that_hold() -> None:
    assert conditions(Filter(heading="x")) is None
    assert conditions(Filter(documents=("*.md",))) is None
    assert conditions(Filter(documents=("deep/*.md", "deep/a.md"), language="other")) is not None
