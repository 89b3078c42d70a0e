"""Kept conversations: listed, shown, exported as Markdown with citations, deleted for good."""

from __future__ import annotations

import json
import os
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from test_resume import QUESTION, effects, place, stopped, worker  # noqa: F401

from ragkit.agent.answer import Answer, Citation
from ragkit.agent.session_store import delete_session, list_sessions, to_markdown
from ragkit.agent.sessions import Session
from ragkit.cli.main import _run, globals_first
from ragkit.cli.repl import commands
from ragkit.cli.repl.loop import Conversation, Repl
from ragkit.cli.repl.screen import Screen
from ragkit.errors import AgentError, SessionBusyError, UsageError
from ragkit.models.cache import KeyValueFile

CANARY = "为什么需要金丝雀 canary-7731？"


def answer(question: str = CANARY, text: str = "因为矿井 [1]。", **more: Any) -> Answer:
    citation = Citation(
        marker=1,
        document="mine.md",
        heading=("矿井", "鸟"),
        start_line=3,
        end_line=3,
        start=10,
        end=20,
        quote="金丝雀先倒下。\n![x](http://evil.example/?q=1) <img src=x>",
        verdict="partly",
        note="number 3 is in no source",
    )
    fixed: dict[str, Any] = {
        "citations": (citation,),
        "abstained": False,
        "steps": (),
        "stop_reason": "answered",
        "standalone": question,
        "model": "m",
        "embedding_model": "e",
        "usage": {},
        "seconds": 0.1,
    }
    return Answer(text=text, question=question, **{**fixed, **more})


def keep(home: Path, identity: str, *answers: Answer) -> Session:
    session = Session.open(home, identity)
    for item in answers:
        assert session.append(item) == ""
    return session


def ragkit(*arguments: str) -> int:
    from ragkit.cli.common import state

    state.json = False
    return _run(globals_first(list(arguments)))


def test_a_session_of_an_earlier_version_opens(home: Path) -> None:
    path = home / "sessions" / "old.jsonl"
    path.parent.mkdir(parents=True)
    record = {"question": "q", "standalone": "q", **answer().to_json()}
    record["citations"] = [{k: v for k, v in record["citations"][0].items() if k not in {"page", "note", "stale"}}]
    record["citations"][0]["of_a_later_version"] = 1
    path.write_text(json.dumps(record) + "\n" + json.dumps({"half": 1}) + '\n{"cut', encoding="utf-8")
    session = Session.open(home, "old")
    assert [(a.question, a.time, a.turn) for a in session.answers] == [("q", "", "")]
    assert session.answers[0].citations[0].where == "mine.md:3" and session.unfinished() is None


def test_a_session_knows_what_others_have_added_before_its_next_turn(home: Path) -> None:
    first, second = keep(home, "s", answer()), Session.open(home, "s")
    first.append(answer("And then?", usage={"prompt_tokens": 7}), turn="t2")
    assert len(second.answers) == 1 and second.spent.seconds == pytest.approx(0.1)
    turn = second.begin_turn("And now?", "interview", "m")
    assert turn is not None
    turn.close()
    assert [past.question for past in second.answers] == [CANARY, "And then?"]
    assert (second.spent.seconds, second.spent.tokens) == (pytest.approx(0.2), 7)
    second.refresh()
    assert second.spent.tokens == 7
    # What it adds itself is neither read again nor counted twice.
    second.append(answer("Third?"), turn="t3")
    second.refresh()
    first.refresh()
    assert [len(first.answers), len(second.answers)] == [3, 3] and second.spent.tokens == 7


def test_what_a_full_disk_kept_waiting_is_not_lost_to_a_refresh(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, other = keep(home, "s", answer()), Session.open(home, "s")
    with monkeypatch.context() as patched:
        patched.setattr("ragkit.agent.sessions.append_line", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        assert "cannot be saved" in session.append(answer("Second?"), turn="t2")
    other.append(answer("Elsewhere?"), turn="t9")
    session.refresh()
    assert [past.question for past in session.answers] == [CANARY, "Second?"]
    assert session.append(answer("Third?"), turn="t3") == ""
    assert [past.question for past in Session.open(home, "s").answers] == [CANARY, "Elsewhere?", "Second?", "Third?"]


def test_what_is_kept_is_private_and_comes_back(home: Path) -> None:
    keep(home, "a", answer(text="半 \ud800 [1]"))
    path = home / "sessions" / "a.jsonl"
    assert path.stat().st_mode & 0o077 == 0 and path.parent.stat().st_mode & 0o077 == 0
    past = Session.open(home, "a").answers[0]
    assert past.model == "m" and past.time and past.citations[0].verdict == "partly"


def test_list_show_export_and_delete(home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    keep(home, "one", answer(), answer("And then?", "Nothing.", citations=(), abstained=True))
    keep(home, "two", answer("What is a mine?"))
    os.utime(home / "sessions" / "one.jsonl", (1, 1))
    assert ragkit("sessions", "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["sessions"]
    assert [(s["id"], s["turns"], s["unfinished"]) for s in listed] == [("two", 1, ""), ("one", 2, "")]
    assert listed[1]["first_question"] == CANARY
    assert ragkit("sessions", "list") == 0 and "canary-7731" in capsys.readouterr().out
    assert ragkit("sessions", "show", "one", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [turn["abstained"] for turn in shown["turns"]] == [False, True] and shown["unfinished"] is None
    assert shown["turns"][0]["citations"][0]["quote"].startswith("金丝雀")
    assert ragkit("sessions", "export", "one", "--out", str(tmp_path / "o.md")) == 0
    text = (tmp_path / "o.md").read_text(encoding="utf-8")
    assert f"## 1. {CANARY}" in text and "**[1]** `mine.md:3` — 矿井 > 鸟 (partly: number 3 is in no source)" in text
    assert "> 金丝雀先倒下。" in text and "abstained" in text
    assert "![" not in text and "evil.example" not in text and "<img" not in text
    assert ragkit("sessions", "resume", "one") == 1
    assert "no unfinished turn" in capsys.readouterr().err
    for wrong in (["show", "nobody"], ["export", "nobody"], ["delete", "nobody"], ["resume", "nobody"]):
        assert ragkit("sessions", *wrong) == 1
        assert "no session 'nobody'" in capsys.readouterr().err
    assert ragkit("sessions", "delete") == 2 and ragkit("sessions", "show", "../x") == 2
    assert ragkit("sessions", "delete", "--all", "--json") == 0
    assert list_sessions(home) == []


def test_deleted_means_gone(home: Path) -> None:
    keep(home, "a", answer())
    keep(home, "b", answer("Another question"))
    (home / "history").write_text(f"\n# 2026-01-01\n+{CANARY}\n\n# 2026-01-02\n+Another question\n", encoding="utf-8")
    cache = KeyValueFile(home / "cache" / "transforms.sqlite")
    cache.put({"k1": json.dumps({"question": f"{CANARY} really"}).encode(), "k2": b'{"question": "other"}'})
    cache.close()
    delete_session(home, "a")
    for file in (path for path in home.rglob("*") if path.is_file()):
        data = file.read_bytes()
        assert b"canary-7731" not in data, file
    assert "Another question" in (home / "history").read_text(encoding="utf-8")
    assert [info.id for info in list_sessions(home)] == ["b"]
    with pytest.raises(AgentError, match="no session 'a'"):
        delete_session(home, "a")
    with pytest.raises(UsageError):
        delete_session(home, "../../etc/passwd")


def test_an_unfinished_turn_is_listed_and_deleted_too(place: Path, tmp_path: Path) -> None:  # noqa: F811
    home = tmp_path / "home"
    agent = stopped(place, home, "model", times=3)
    (info,) = list_sessions(home)
    assert (info.id, info.turns, info.unfinished) == ("s", 0, QUESTION)
    going = threading.Event()

    def hold(what: str) -> None:
        going.wait(60)

    running = worker(place, home, hold).resume()
    next(running)
    assert list_sessions(home)[0].unfinished == "(running)"
    with pytest.raises(SessionBusyError):
        delete_session(home, "s")
    going.set()
    running.close()  # type: ignore[attr-defined]
    stopped(place, home, "model", times=3)
    delete_session(home, "s")
    assert list(home.joinpath("sessions").iterdir()) == []
    assert agent.unfinished() is None


def test_markdown_of_an_empty_conversation() -> None:
    assert to_markdown(Session()) == "# Conversation\n"


class Lines:
    """A reader of these lines."""

    echo = True

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)

    def read(self) -> str:
        if not self._lines:
            raise EOFError
        return self._lines.pop(0)

    def silent(self) -> Any:
        return nullcontext()


def chat(agent: Any, *lines: str) -> None:
    """A chat with this agent in the session that it has."""
    conversation = Conversation(agent.index, agent.settings, agent.spec, agent.chat, agent.session, agent=agent)
    Repl(conversation, Screen(interactive=False), Lines(*lines), commands.run).run()


def test_the_chat_says_what_was_unfinished_and_resumes_it(
    place: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "home"
    stopped(place, home, "model", times=5)
    agent = worker(place, home)
    chat(agent, "/resume", "/resume", "/session")
    told = capsys.readouterr()
    assert "was not finished" in told.err + told.out and "/resume goes on with it" in told.err + told.out
    assert "The KV cache keeps the keys" in told.out and "no unfinished turn" in told.err + told.out
    assert "1 turn" in told.out and max(effects(home).values()) == 1
    assert Session.open(home, "s").unfinished() is None


def test_the_chat_lists_earlier_sessions(place: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    keep(home, "one", answer("An earlier question"))
    agent = worker(place, home)
    agent.settings = agent.settings.model_copy(update={"home": home})
    chat(agent, "/sessions")
    assert "An earlier question" in capsys.readouterr().out
