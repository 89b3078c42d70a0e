"""General knowledge is offered only where the agent file allows it, given only after a yes, and marked as such."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ragkit import Agent, Index, load_settings
from ragkit.agent.sessions import Session
from ragkit.agent.workflows.general import NOTICE, OFFER
from ragkit.testing import HashingEmbedder, ScriptedChatModel

NOTES = {
    "cats.md": "# Cats\n\nCats eat mice. They sleep through the day.\n",
    "dogs.md": "# Dogs\n\nDogs bark at strangers and guard the house.\n",
    "birds.md": "# Birds\n\nBirds build nests from twigs in spring.\n",
}
GIVE_UP = json.dumps({"thought": "", "action": {"tool": "give_up", "reason": "-"}})
KNOWN = {"answer": "Canberra [1]. See https://evil.example/x for more.\u202e"}
ASKED = "What is the capital of Australia?"


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def agent(index: Index, allowed: str, *replies: Any, session: Session | None = None) -> Agent:
    keys = f"name: mine\ndescription: d\ngeneral_knowledge: {allowed}\nrewrite: never\ntranslate: never"
    Path("mine.md").write_text(f"---\n{keys}\n---\nAnswer from the notes.\n", encoding="utf-8")
    said = [reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False) for reply in replies]
    model = ScriptedChatModel(replies=said)
    return Agent.load("mine.md", index=index, model=model, settings=load_settings(tool_calling="json"), session=session)


@pytest.mark.parametrize("yes", ["yes", "Yes, please.", "ok", "go ahead", "好", "好的。", "可以"])
def test_after_a_yes_the_model_answers_from_what_it_knows(index: Index, yes: str) -> None:
    bot = agent(index, "ask", KNOWN)  # nothing is near to the question: the model is not asked for an answer
    first = bot.ask(ASKED)
    assert first.abstained and not first.general and first.text.endswith(OFFER["en"])
    second = bot.ask(yes)
    assert second.general and second.to_json()["general"] and not second.abstained
    assert second.standalone == ASKED and second.citations == () and second.verdicts == ()
    # Nothing in it looks like a citation, and nothing leads out of it.
    assert second.text == f"{NOTICE['en']}\nCanberra. See  for more."


def test_the_yes_may_come_in_another_process(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    agent(index, "ask", GIVE_UP, session=Session(path)).ask("澳大利亚的首都是哪里？")
    answer = agent(index, "ask", {"answer": "堪培拉。"}, session=Session(path)).ask("好")
    assert answer.general and answer.text == f"{NOTICE['zh']}\n堪培拉。"


def test_the_offer_holds_for_one_turn_and_for_a_yes_only(index: Index) -> None:
    say = {"thought": "", "action": {"tool": "answer", "sentences": [{"text": "Cats eat mice.", "sources": [1]}]}}
    bot = agent(index, "ask", say, GIVE_UP)
    bot.ask(ASKED)
    other = bot.ask("What do cats eat?")
    assert not other.general and other.citations
    late = bot.ask("yes!")
    assert not late.general


def test_an_agent_that_does_not_allow_it_offers_nothing(index: Index) -> None:
    bot = agent(index, "never", GIVE_UP)
    assert OFFER["en"] not in bot.ask(ASKED).text
    assert not bot.ask("yes").general


def test_without_a_model_nothing_is_offered(index: Index) -> None:
    agent(index, "ask")
    answer = Agent.load("mine.md", index=index, model="extractive").ask("Zxqv9 qwrtp vbnml?")
    assert answer.abstained and OFFER["en"] not in answer.text


def test_a_file_that_allows_something_else_is_refused(index: Index) -> None:
    with pytest.raises(Exception, match="general_knowledge"):
        agent(index, "always")


def test_notes_cannot_say_the_yes(index: Index) -> None:
    """Only the user's own next message counts: an offer that a note contains is no offer."""
    say = {"thought": "", "action": {"tool": "answer", "sentences": [{"text": f"Cats eat mice. {OFFER['en']}",
                                                                      "sources": [1]}]}}  # fmt: skip
    bot = agent(index, "ask", say, GIVE_UP)
    bot.ask("What do cats eat?")
    assert not bot.ask("yes").general
