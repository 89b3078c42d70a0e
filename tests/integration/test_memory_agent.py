"""The agent and what is remembered: recalled as data, cited, said so; written only with the user's yes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ragkit import Agent, Index, load_settings
from ragkit.testing import HashingEmbedder, ScriptedChatModel

NOTES = {
    "rnn.md": "# RNN\n\nRNN 的缺点是梯度消失，很难记住长距离的信息，而且不能并行训练。\n",
    "cache.md": "# KV cache\n\nThe KV cache keeps the keys and values of earlier tokens.\n",
}


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def say(*sentences: tuple[str, list[int]]) -> str:
    action = {"tool": "answer", "sentences": [{"text": text, "sources": sources} for text, sources in sentences]}
    return json.dumps({"thought": "答", "action": action}, ensure_ascii=False)


def agent(index: Index, *replies: Any, **settings: Any) -> tuple[Agent, ScriptedChatModel]:
    model = ScriptedChatModel(replies=list(replies))
    return Agent.load(
        "interview", index=index, model=model, settings=load_settings(tool_calling="json", **settings)
    ), model


def asked(model: ScriptedChatModel) -> str:
    return "\n".join(str(message.text) for message in model.calls[0].messages)


def test_an_answer_cites_the_memory_it_rests_on_and_says_so(index: Index) -> None:
    bot, model = agent(index, say(("你的导师是王教授。", [1])))
    assert bot.memory is not None
    item = bot.memory.add("我的导师是王教授", session="s1").item
    answer = bot.ask("我的导师是谁？")
    assert not answer.abstained and answer.text == "你的导师是王教授。[1]"
    [used], [citation] = answer.memories, answer.citations
    assert (used.id, used.marker, used.origin, used.session) == (item.id, 1, "user", "s1")
    assert citation.document == f"memory:{item.id}" == citation.where and citation.quote == "我的导师是王教授"
    assert answer.to_json()["memories"][0]["text"] == "我的导师是王教授"
    mark = re.search(
        r"<data (\w+)>[^\n]*\n[^\n]*\(memory of [\d-]{10}, origin user, trust high\)\n1: 我的导师是王教授\n(?:.*\n)*</data \1>",
        asked(model),
    )
    assert mark is not None, "shown as data, between marks, with its origin"


def test_an_answer_from_the_notes_names_no_memory(index: Index) -> None:
    bot, model = agent(index, say(("RNN 的缺点是梯度消失。", [1])))
    assert bot.memory is not None
    bot.memory.add("我的导师是王教授")
    answer = bot.ask("RNN 的缺点是什么？")
    assert answer.memories == () and "王教授" not in asked(model)
    assert {citation.document for citation in answer.citations} == {"rnn.md"}


def test_without_memories_the_prompt_is_what_it_was_and_nothing_is_created(index: Index, home: Path) -> None:
    bot, model = agent(index, say(("RNN 的缺点是梯度消失。", [1])))
    assert bot.ask("RNN 的缺点是什么？").memories == ()
    off, silent = agent(index, say(("RNN 的缺点是梯度消失。", [1])), memory="off")
    assert off.memory is None
    off.ask("RNN 的缺点是什么？")
    prompts = [re.sub(r"[a-z]{8}(?= \[\d)|(?<=data )[a-z]{8}", "MARK", asked(one)) for one in (model, silent)]
    assert prompts[0] == prompts[1]
    assert not (home / "memory").exists()


def test_extractive_quotes_a_memory(index: Index) -> None:
    bot = Agent.load("interview", index=index, model="extractive", settings=load_settings())
    assert bot.memory is not None
    bot.memory.add("My flight to Oslo leaves on Friday")
    answer = bot.ask("When does my flight to Oslo leave?")
    assert "My flight to Oslo leaves on Friday" in answer.text and len(answer.memories) == 1


def test_another_user_is_told_nothing(index: Index) -> None:
    bot, _ = agent(index, memory_user="ann")
    assert bot.memory is not None
    bot.memory.add("我的导师是王教授")
    other, model = agent(index, say(("RNN 的缺点是梯度消失。", [1])), memory_user="bob")
    other.ask("我的导师是谁？RNN 的缺点是什么？")
    assert "王教授" not in asked(model)


def test_a_damaged_memory_costs_a_warning_and_not_the_answer(index: Index) -> None:
    bot, _ = agent(index, say(("RNN 的缺点是梯度消失。", [1])))
    assert bot.memory is not None
    bot.memory.add("我的导师是王教授")
    (bot.memory.folder / "MANIFEST.json").write_text("{}", encoding="utf-8")
    answer = bot.ask("RNN 的缺点是什么？")
    assert "梯度消失" in answer.text and "Nothing was recalled" in answer.warnings[0]
