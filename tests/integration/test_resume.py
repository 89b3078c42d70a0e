"""A run that is killed at any step goes on where it was: one result for each call, every effect once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from crash_kit import THOROUGH, every, in_child
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from resume_kit import Hook, check_transcript, die_at, effects, finish_turn, hooked, make_place, nothing, sender

from ragkit import Agent, Index
from ragkit.agent import checkpoints
from ragkit.agent.answer import Answer, Done, Event
from ragkit.agent.keeping import UNKNOWN
from ragkit.agent.sessions import Session
from ragkit.errors import AgentError, EndpointError, SessionBusyError
from ragkit.testing import HashingEmbedder

posix = pytest.mark.skipif(os.name == "nt", reason="needs fork and SIGKILL")
QUESTION = "Where do the keys and values of earlier tokens stay?"
NOTES = {
    "cache.md": "# KV cache\n\nThe KV cache keeps the keys and values of earlier tokens.\n",
    "rnn.md": "# RNN\n\nAn RNN reads one token after the other.\n",
    "lr.md": "# Warm-up\n\nThe learning rate grows in the first steps.\n",
}
AGENT = """---
name: worker
description: Sends things.
max_steps: 25
---
You work through the notes.
"""
SCRIPT: list[list[tuple[str, dict[str, Any]]]] = [
    [("send", {"item": "one"})],
    [("search_notes", {"query": "RNN token"})],
    [("send", {"item": 'two {"lc": 1}'}), ("send", {"item": "three"})],
    [("send", {"item": "four"}), ("read_note", {"document": "cache.md", "line": 3})],
    [("send", {"item": "five"})],
    [("search_notes", {"query": "learning rate warm-up"})],
    [("send", {"item": "six"})],
    [("send", {"item": "seven"}), ("search_notes", {"query": "reads one"}), ("send", {"item": "eight"})],
    [("send", {"item": "nine"})],
]
"""What the model asks for, reply by reply; the first search before it is the framework's."""
SENDS = sum(tool == "send" for reply in SCRIPT for tool, _ in reply)


class Worker(BaseChatModel):
    """Plays `SCRIPT`, by the transcript and not by a counter of its own; numbers its calls from 0 in each reply."""

    hook: Any = nothing

    @property
    def _llm_type(self) -> str:
        return "worker"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        self.hook("model")
        check_transcript(messages)
        replies = sum(isinstance(message, AIMessage) and bool(message.tool_calls) for message in messages)
        if replies > len(SCRIPT):
            reply = AIMessage("The KV cache keeps the keys and values of earlier tokens [1].")
        else:
            calls = [{"name": t, "args": a, "id": f"call_{n}"} for n, (t, a) in enumerate(SCRIPT[replies - 1])]
            reply = AIMessage("", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=reply)])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Notes, their index and the agent file."""
    return make_place(tmp_path_factory.mktemp("resume"), NOTES, "worker.md", AGENT)


def worker(place: Path, home: Path, hook: Hook = nothing) -> Agent:
    return sender(place, "worker.md", home, Worker(hook=hook), hook)


def drain(agent: Agent) -> Answer:
    return finish_turn(agent, QUESTION)


def count_points(place: Path, home: Path) -> int:
    """Run once to the end; how many points there are to die at."""
    log = home / "points"

    def action() -> None:
        seen: list[str] = []
        hooked(seen.append)
        drain(worker(place, home, seen.append))
        log.write_text(str(len(seen)))

    home.mkdir()
    assert in_child(action) == 0
    return int(log.read_text())


def run_in_child(place: Path, home: Path, point: int) -> int:
    def action() -> None:
        hook = die_at(point)
        hooked(hook)
        drain(worker(place, home, hook))

    return in_child(action)


def finished(home: Path, answer: Answer) -> None:
    """What must hold after a resumed turn, whatever happened before."""
    done = effects(home)
    assert max(done.values()) == 1, f"an effect happened twice: {done}"
    unknown = [step for step in answer.steps if step.observation == UNKNOWN]
    missing = SENDS - len(done)
    assert missing <= len(unknown) <= 2, "what did not happen is said, and no more is doubted than ran side by side"
    assert len([w for w in answer.warnings if "not known" in w]) == len(unknown)
    assert "KV cache keeps" in answer.text and answer.citations[0].document == "cache.md"
    assert sorted(json.dumps([s.tool, s.arguments], sort_keys=True) for s in answer.steps) == sorted(
        json.dumps([tool, arguments], sort_keys=True)
        for tool, arguments in [
            ("search_notes", {"query": QUESTION}),
            *(call for reply in SCRIPT for call in reply),
        ]
    )
    session = Session.open(home, "s")
    assert [past.text for past in session.answers] == [answer.text]
    assert session.unfinished() is None
    assert not list((home / "sessions").glob("s.turn*"))


@posix
def test_killed_at_every_step_it_resumes_with_each_effect_at_most_once(
    place: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    points = count_points(place, tmp_path / "whole")
    assert points > 150, "writes, model calls and effects of ten steps"
    killed = 0
    for point in every(list(range(points)), 16):
        home = tmp_path / str(point)
        assert run_in_child(place, home, point) == -signal.SIGKILL
        killed += 1
        agent = worker(place, home)
        if len(agent.session.answers) == 1:  # it was saved before the kill
            assert agent.unfinished() is None and max(effects(home).values()) == 1
            continue
        finished(home, drain(agent))
    record_property("killed", f"{killed} of {points} points")


@posix
def test_a_resumed_run_may_be_killed_again(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for point in range(3, 300, 5 if THOROUGH else 40):
        if run_in_child(place, home, point) == 0:
            break
        assert Session.open(home, "s").unfinished() is not None
    agent = worker(place, home)
    if agent.session.answers:
        assert max(effects(home).values()) == 1
    else:
        answer = drain(agent)
        done = effects(home)
        unknown = [step for step in answer.steps if step.observation == UNKNOWN]
        assert max(done.values()) == 1 and SENDS - len(done) <= len(unknown) and "KV cache" in answer.text


def test_a_turn_that_ends_leaves_nothing_behind_and_equals_one_that_is_not_kept(place: Path, tmp_path: Path) -> None:
    kept = worker(place, tmp_path / "a")
    answer = drain(kept)
    finished(tmp_path / "a", answer)
    assert answer.warnings == ()
    free = worker(place, tmp_path / "b")
    free.session = Session()
    other = next(event.answer for event in free.stream(QUESTION) if isinstance(event, Done))
    assert (other.text, other.citations) == (answer.text, answer.citations)


@contextmanager
def paused(place: Path, home: Path) -> Iterator[Iterator[Event]]:
    """The events of a run that is held at its next step, and closed in the end."""
    goes_on = threading.Event()

    def held(what: str) -> None:
        goes_on.wait(60)

    events = worker(place, home, held).stream(QUESTION)
    try:
        next(events)
        yield events
    finally:
        events.close()  # type: ignore[attr-defined]
        goes_on.set()


def stopped(place: Path, home: Path, at: str, times: int = 1) -> Agent:
    """An agent whose run failed when `at` came for the n-th time."""
    left = times

    def hook(what: str) -> None:
        nonlocal left
        left -= what == at
        if what == at and left == 0:
            raise EndpointError("The endpoint went away.", "Wait.")

    agent = worker(place, home, hook)
    with pytest.raises(EndpointError):
        drain(agent)
    return agent


def test_a_failing_endpoint_leaves_a_turn_that_can_be_resumed(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    stopped(place, home, "model", times=5)
    agent = worker(place, home)
    left = agent.unfinished()
    assert left is not None and (left.question, left.agent, left.unknown) == (QUESTION, "worker", ())
    assert left.steps == 7
    assert "was not finished" in str(left) and "7 steps done" in str(left)
    finished(home, drain(agent))


def test_the_file_is_private_and_holds_nothing_but_json(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    stopped(place, home, "model", times=5)
    path = home / "sessions" / "s.turn"
    assert path.stat().st_mode & 0o077 == 0 and path.parent.stat().st_mode & 0o077 == 0
    database = sqlite3.connect(path)
    blobs = [
        row[0] for row in database.execute("SELECT checkpoint FROM checkpoints UNION ALL SELECT value FROM writes")
    ]
    kinds = {row[0] for row in database.execute("SELECT type FROM checkpoints UNION SELECT type FROM writes")}
    database.close()
    assert kinds == {"ragkit-plain-1"} and len(blobs) > 10
    for blob in blobs:
        json.loads(blob)
        assert b"langchain" not in blob and b"pickle" not in blob


def test_of_calls_that_end_side_by_side_the_newest_state_stays(tmp_path: Path) -> None:
    file = checkpoints.open_new_turn(tmp_path / "s.turn", {"id": "1"})
    assert file is not None
    steps = ["first"]
    thread = threading.Thread(target=lambda: file.done("a", "send", {}, {}, lambda: list(steps)))
    with file._lock:  # the other call ends, and is written, while this one waits for the file
        thread.start()
        time.sleep(0.05)
        steps.append("second")
        file.done("b", "send", {}, {}, lambda: list(steps))
    thread.join()
    assert file.fact("state") == ["first", "second"]
    file.remove()


def test_cancelling_keeps_nothing(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    agent = worker(place, home)
    events = agent.stream(QUESTION)
    for event in events:
        if event.type == "tool_call":
            assert (home / "sessions" / "s.turn").exists()
            break
    assert isinstance(events, Iterator)
    events.close()  # type: ignore[attr-defined]
    assert not (home / "sessions" / "s.turn").exists()
    assert agent.unfinished() is None


def test_a_new_question_drops_what_was_unfinished(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    stopped(place, home, "model", times=2)
    agent = worker(place, home)
    answer = agent.ask(QUESTION)
    assert agent.unfinished() is None and answer.warnings == ()
    with pytest.raises(AgentError, match="no unfinished turn"):
        agent.resume()


def test_another_agent_does_not_take_it_up(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    stopped(place, home, "model", times=2)
    other = place / "other.md"
    other.write_text(AGENT.replace("worker", "other"), encoding="utf-8")
    agent = Agent.load(other, index=worker(place, home).index, model=Worker(), session=Session.open(home, "s"))
    with pytest.raises(AgentError, match="begun by the agent 'worker'"):
        agent.resume()
    finished(home, drain(worker(place, home)))


def test_two_processes_do_not_answer_in_one_session(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    second = worker(place, home)
    with paused(place, home):
        with pytest.raises(SessionBusyError, match="Another question is being answered"):
            second.ask(QUESTION)
        with pytest.raises(SessionBusyError):
            second.unfinished()
    assert second.ask(QUESTION).citations


LOOK = """
import sys
from pathlib import Path
from ragkit.agent.sessions import Session
try:
    print(Session.open(Path(sys.argv[1]), "s").unfinished())
except Exception as exc:
    print(type(exc).__name__)
"""


def test_looking_at_a_running_turn_here_does_not_open_it_to_another_process(
    place: Path, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    home = tmp_path / "home"
    look = [sys.executable, "-c", LOOK, str(home)]
    with paused(place, home):
        with pytest.raises(SessionBusyError):
            worker(place, home).unfinished()
        seen = subprocess.run(look, env=child_environment, capture_output=True, text=True, check=True).stdout
    assert seen.strip() == "SessionBusyError"


def test_passages_that_changed_meanwhile_are_not_cited(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "notes").mkdir(parents=True)
    for name, text in NOTES.items():
        (base / "notes" / name).write_text(text, encoding="utf-8")
    Index.open(base / "notes", base / "index", embedding=HashingEmbedder()).close()
    (base / "worker.md").write_text(AGENT, encoding="utf-8")
    home = tmp_path / "home"
    stopped(base, home, "model", times=8)
    (base / "notes" / "cache.md").write_text("# KV cache\n\nNothing is kept.\n", encoding="utf-8")
    Index.open(base / "notes", base / "index", embedding=HashingEmbedder()).close()
    answer = drain(worker(base, home))
    assert answer.abstained and not answer.citations
    assert any("passages changed" in warning for warning in answer.warnings)


@pytest.mark.parametrize("fails", ["_write", "put", "put_writes"])
def test_a_disk_that_takes_nothing_costs_no_answer(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    home = tmp_path / "home"
    agent = worker(place, home)
    if fails == "_write":
        monkeypatch.setattr(checkpoints, "_fact", lambda name, value: ("INSERT INTO nowhere VALUES (?, ?)", ("a", b"")))
    else:
        monkeypatch.setattr(checkpoints.SqliteSaver, fails, _disk_full)
    answer = agent.ask(QUESTION)
    assert answer.citations and max(effects(home).values()) == 1 and len(effects(home)) == SENDS
    assert not (home / "sessions" / "s.turn").exists()


def _disk_full(*args: Any, **kwargs: Any) -> Any:
    raise sqlite3.OperationalError("database or disk is full")


def test_a_damaged_file_is_said_and_the_next_question_goes_on(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    stopped(place, home, "model", times=4)
    path = home / "sessions" / "s.turn"
    path.write_bytes(b"SQLite format 3\x00" + os.urandom(4000))
    agent = worker(place, home)
    with pytest.raises(AgentError, match=r"s\.turn cannot be read"):
        agent.unfinished()
    assert agent.ask(QUESTION).citations
