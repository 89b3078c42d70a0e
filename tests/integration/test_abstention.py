"""Promise C4: what the notes do not answer is declined, without a model call where the search alone decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragkit import Agent, Index, load_settings
from ragkit.agent import evidence
from ragkit.retrieval.answerable import WORDS_ONLY
from ragkit.testing import HashingEmbedder, ScriptedChatModel

QUESTIONS = [
    json.loads(line)
    for line in (Path(__file__).resolve().parents[2] / "evals" / "abstention" / "questions.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
FAR = [row for row in QUESTIONS if row["type"] == "unanswerable-far"]
NOTES = {
    "a.md": "# 注意力\n\n缩放点积注意力要除以根号 dk，因为点积的方差会随维度增大。\n",
    "b.md": "# Memory\n\nWeights take 14 GB.\n",
}
MakeNotes = Callable[[Path, Mapping[str, str]], Path]


def asked(index: Index, *replies: Any, agent: str | Path = "interview") -> tuple[Agent, ScriptedChatModel]:
    model = ScriptedChatModel(replies=list(replies))
    return Agent.load(agent, index=index, model=model, settings=load_settings(tool_calling="json")), model


@pytest.fixture
def index(tmp_path: Path, make_notes: MakeNotes) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def test_the_questions_are_fifty_in_both_languages() -> None:
    assert len(FAR) == 50 and {row["language"] for row in FAR} == {"zh", "en"}
    assert not any(row["gold"] for row in QUESTIONS)


def test_an_empty_index_declines_all_without_a_model(index: Index) -> None:
    index.remove(list(NOTES))
    assert not index.documents()
    agent, model = asked(index)
    for row in FAR:
        answer = agent.ask(row["question"])
        agent.new_session()
        assert answer.abstained and answer.stop_reason == "abstained", row["id"]
        assert answer.evidence is not None and answer.evidence.score == 0
    assert not model.calls


def test_all_below_the_threshold_are_declined_without_a_model(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "fit_for", lambda name: replace(WORDS_ONLY, threshold=1.1))
    # A question in the other language would be translated before its search is judged.
    file = tmp_path / "strict.md"
    file.write_text("---\nname: strict\ndescription: Cites.\ntranslate: never\n---\nCite.\n", encoding="utf-8")
    agent, model = asked(index, agent=file)
    for row in FAR:
        answer = agent.ask(row["question"])
        agent.new_session()
        assert answer.abstained, row["id"]
        assert ("找过：" if row["language"] == "zh" else "Looked for: ") + row["question"][:20] in answer.text
    assert not model.calls


def test_an_abstention_says_what_it_looked_for_and_its_score(index: Index) -> None:
    agent, model = asked(index)
    answer = agent.ask("GPT-6 的 WarpCore 用了多少张 H900？")
    assert answer.abstained and not model.calls
    assert "找过：GPT-6 的 WarpCore" in answer.text and "最接近的段落：" in answer.text
    told = answer.to_json()["evidence"]
    assert told["score"] < told["threshold"] and list(told["searched"]) == [answer.question]
    assert told["signals"]["names_missing"] == 1


def test_a_question_that_is_answered_says_its_score_too(index: Index) -> None:
    sentence = {"text": "点积的方差会随维度增大，所以要除以根号 dk。", "sources": [1]}
    reply = json.dumps({"thought": "", "action": {"tool": "answer", "sentences": [sentence]}}, ensure_ascii=False)
    agent, _ = asked(index, reply)
    answer = agent.ask("为什么缩放点积注意力要除以根号 dk？")
    assert not answer.abstained and answer.evidence is not None
    assert answer.evidence.score > answer.evidence.retrieval > answer.evidence.threshold


def test_a_translation_beside_the_question_finds_passages_but_does_not_move_the_score(
    index: Index, tmp_path: Path
) -> None:
    scores = []
    for policy in ("never", "always"):
        file = tmp_path / f"{policy}.md"
        file.write_text(f"---\nname: {policy}\ndescription: d\ntranslate: {policy}\n---\nCite.\n", encoding="utf-8")
        translation = [json.dumps({"translation": "How much memory do the weights take?"})] * (policy == "always")
        give_up = json.dumps({"thought": "", "action": {"tool": "give_up", "reason": "?"}})
        answer = asked(index, *translation, *[give_up] * 3, agent=file)[0].ask("缩放点积注意力除以什么？")
        assert answer.evidence is not None
        assert ("How much memory do the weights take?" in answer.evidence.searched) == (policy == "always")
        scores.append((answer.evidence.retrieval, answer.evidence.signals))
    assert scores[0] == scores[1]


@pytest.mark.parametrize("declined", [False, True])
def test_what_is_declined_on_the_search_alone_is_not_translated_first(
    declined: bool, tmp_path: Path, make_notes: MakeNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "fit_for", lambda name: replace(WORDS_ONLY, threshold=1.1 if declined else 0.0))
    # A search that has all notes in view asks for no translation.
    notes = {f"{n}.md": f"# Cache {n}\n\nThe KV cache of layer {n} keeps keys and values.\n" for n in range(24)}
    notes |= {f"z{n}.md": f"# 缓存 {n}\n\n第 {n} 层的 KV cache 保存键和值。\n" for n in range(3)}
    index = Index.open(
        make_notes(tmp_path / "notes", notes), tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings()
    )
    give_up = json.dumps({"thought": "", "action": {"tool": "give_up", "reason": "?"}})
    agent, model = asked(index, json.dumps({"translation": "What is kept?"}), *[give_up] * 3)
    answer = agent.ask("KV cache 保存什么？")
    assert answer.abstained and answer.evidence is not None
    assert ("What is kept?" in answer.evidence.searched) == (not declined)
    assert bool(model.calls) == (not declined)


@pytest.mark.parametrize("called", [False, True])
def test_a_tool_of_ones_own_keeps_an_answer_only_if_it_was_called(index: Index, called: bool) -> None:
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"It rains in {city} all day."

    def answers(text: str, source: int) -> str:
        action = {"tool": "answer", "sentences": [{"text": text, "sources": [source]}]}
        return json.dumps({"thought": "", "action": action})

    call = json.dumps({"thought": "", "action": {"tool": "weather", "arguments": {"city": "Berlin"}}})
    replies = [call, answers("It rains in Berlin all day.", 3)] if called else [answers("Weights take 14 GB.", 2)]
    model = ScriptedChatModel(replies=replies)
    agent = Agent.load(
        "interview", index=index, model=model, settings=load_settings(tool_calling="json"), tools=[weather]
    )
    answer = agent.ask("What is the weather in Berlin?")
    assert len(model.calls) == len(replies)
    assert answer.abstained == (not called) and ("It rains in Berlin all day." in answer.text) == called


def test_arithmetic_is_not_declined_for_want_of_notes(index: Index) -> None:
    act = {"thought": "", "action": {"tool": "calculate", "arguments": {"expression": "23.5 * 48"}}}
    give_up = {"thought": "", "action": {"tool": "give_up", "reason": "?"}}
    agent, model = asked(index, json.dumps(act), json.dumps(give_up))
    answer = agent.ask("23.5 * 48 等于多少？")
    assert model.calls and not answer.abstained and "1128" in answer.text
    assert not answer.citations
