"""Whatever stands in notes, names, replies and errors, a real terminal gets no control character of it.

The terminal calls itself dumb, so that ragkit sends no colours: every escape would be one from the text.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hazards import HAZARDS

pexpect = pytest.importorskip("pexpect")
if not hasattr(pexpect, "spawn"):
    pytest.skip("needs a pty", allow_module_level=True)

PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from hazards import HAZARDS
from ragkit.agent.answer import Answer, Citation, Done, Observation, Removed, Thought, Token, ToolCalled
from ragkit.agent.approval import Approval
from ragkit.cli import main, search
from ragkit.cli.ask import show_sources
from ragkit.cli.common import emit_json, note, say, warn
from ragkit.cli.repl.screen import Screen
from ragkit.errors import RagkitError
from ragkit.values import Chunk, Hit

def mark(name):
    sys.stdout.flush(); sys.stderr.flush()
    print(f"=={name}==", flush=True)

for title, text in HAZARDS.items():
    bad = f"前{text}后"
    chunk = Chunk(id="1", document=bad, heading=(bad,), text=bad, start=0, end=9, start_line=1, end_line=1)
    hit = Hit(chunk=chunk, rank=1, score=1.0, legs={"dense": None})
    citation = Citation(marker=1, document=bad, heading=(bad,), start_line=1, end_line=1, start=0, end=9,
                        quote=bad, verdict="partly", note=bad, stale=f"moved to {bad}")
    answer = Answer(text=bad, citations=(citation,), abstained=False, steps=(), stop_reason="answered", question=bad,
                    standalone=bad, model=bad, embedding_model=bad, usage={}, seconds=1.0,
                    removed=(Removed(sentence=bad, reason=bad),), warnings=(bad,), passages=(hit,))
    screen = Screen(interactive=False)
    mark("answer"); screen.show(Done(answer)); say(answer.text); show_sources(answer); warn(bad)
    mark("stream")
    for char in bad:
        screen.show(Token(char))
    screen.show(Done(answer))
    mark("chunk"); search.show_hit(hit)
    mark("file name"); say(hit.where); note(f"skipped {bad}: {bad}"); screen.asked(bad)
    mark("tool result"); screen.show(ToolCalled(bad, {bad: bad})); screen.show(Thought(bad))
    screen.show(Observation(bad, bad, 0.1)); screen.show(Observation(bad, bad, 0.1, (hit,)))
    mark("error"); screen.error(bad); screen.hint(bad)
    main.app = lambda *a, **k: (_ for _ in ()).throw(RagkitError(bad, bad)); main._run([])
    main.app = lambda *a, **k: (_ for _ in ()).throw(ValueError(bad)); main._run([])
    mark("memory"); say(bad); screen.line(bad); screen.aside(bad)
    mark("approval"); say(Approval(bad, "write", {"path": bad}, bad, (bad,)).shown)
    mark("--json"); emit_json({"answer": bad, **answer.to_json(), "hits": [search.hit_json(hit)]})
mark("end")
"""
ALLOWED = frozenset("\r\n\t")
PATHS = ("answer", "stream", "chunk", "file name", "tool result", "error", "memory", "approval", "--json")


def controls(text: str) -> set[str]:
    """Characters that a terminal would obey, or that nobody sees."""
    hidden = r"[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e01ef]"
    return set(re.findall(hidden, text)) - ALLOWED


def shown(environment: dict[str, str]) -> str:
    """All that the program writes to a terminal."""
    tests = str(Path(__file__).resolve().parents[1])
    child = pexpect.spawn(
        sys.executable, ["-c", PROGRAM, tests], env=environment, encoding="utf-8", codec_errors="surrogateescape",
        timeout=120, dimensions=(50, 160), echo=False,
    )  # fmt: skip
    child.expect_exact("==end==")
    child.close(force=True)
    return str(child.before)


@pytest.mark.parametrize(
    ("variables", "styled"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False)],
)
def test_no_color_leaves_no_style(child_environment: dict[str, str], variables: dict[str, str], styled: bool) -> None:
    unset = {name: value for name, value in child_environment.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    text = shown({**unset, "TERM": "xterm-256color", **variables})
    assert bool(re.search(r"\x1b\[[0-9;]*m", text)) == styled


@pytest.fixture(scope="module")
def printed(child_environment: dict[str, str]) -> dict[str, str]:
    """What the terminal got on each path, all classes together."""
    parts = re.split(r"==([a-z -]+)==", shown({**child_environment, "TERM": "dumb"}))
    found: dict[str, str] = {}
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        found[name] = found.get(name, "") + text
    return found


@pytest.mark.parametrize("path", PATHS)
def test_no_control_character_reaches_the_terminal(printed: dict[str, str], path: str) -> None:
    assert len(HAZARDS) >= 15
    wanted = "\\u524d" if path == "--json" and "前" not in printed[path] else "前"
    assert printed[path].count(wanted) >= len(HAZARDS), printed[path][-2000:]
    assert controls(printed[path]) == set()
    # A carriage return belongs to the line break that the terminal driver makes of a newline.
    assert not re.search("\r[^\r\n]", printed[path])


def test_the_scan_finds_each_class() -> None:
    assert [
        title for title, text in HAZARDS.items() if not controls(text) and "\r" not in text and "\ud83d" not in text
    ] == []
