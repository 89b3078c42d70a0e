"""What a model that is driven by JSON is offered, and what comes of questions that a tool answers by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragkit import Agent, Index, load_settings
from ragkit.agent import own_words
from ragkit.agent.answer import Answer, Done, Token
from ragkit.agent.finish import ANOTHER, REMNANT
from ragkit.memory.long_term import Memory
from ragkit.testing import HashingEmbedder, ScriptedChatModel

GATES = "LSTM 有遗忘门、输入门和输出门三个门。"
NOTES = {
    "lstm.md": f"# LSTM\n\n## 门\n\n{GATES}遗忘门决定丢掉哪些信息。\n",
    "gpu-cache.md": "# KV cache\n\nThe KV cache of a 7B model takes 512 KiB a token. It grows with the context.\n",
    "gpu-weights.md": "# Weights\n\nWeights in fp16 take 14 GB. Quantising them to four bits takes 4 GB.\n",
}


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def call(tool: str, **arguments: Any) -> str:
    return json.dumps({"thought": "", "action": {"tool": tool, "arguments": arguments}}, ensure_ascii=False)


def say(text: str, *sources: int) -> str:
    action = {"tool": "answer", "sentences": [{"text": text, "sources": list(sources)}]}
    return json.dumps({"thought": "", "action": action}, ensure_ascii=False)


def asked(index: Index, question: str, *replies: str, **more: Any) -> tuple[Answer, list[dict[str, Any]]]:
    """The answer, and for each call of the model the actions that its schema allows, by tool."""
    model = ScriptedChatModel(replies=list(replies))
    agent = Agent.load("interview", index=index, model=model, settings=load_settings(tool_calling="json"), **more)
    answer = agent.ask(question)
    offers = []
    for made in model.calls:
        schema = made.kwargs["response_format"]["json_schema"]["schema"]
        # An answer from a sheet of lines calls nothing.
        actions = [action["properties"] for action in schema["properties"].get("action", {"anyOf": []})["anyOf"]]
        offers.append({action["tool"]["const"]: action for action in actions})
    return answer, offers


def test_sums_are_computed_as_they_stand_and_nothing_else_is_done(index: Index) -> None:
    answer, offers = asked(
        index, "What are 17**3 and 19**3? Use the calculator for each.",
        call("calculate", expression="17**3"), call("calculate", expression="19**3"),
    )  # fmt: skip
    assert [step.tool for step in answer.steps] == ["calculate", "calculate"]
    assert answer.text == "Computed:\n- 17**3 = 4913\n- 19**3 = 6859"
    assert (answer.abstained, answer.citations, answer.stop_reason) == (False, (), "answered")
    assert [set(offer) for offer in offers] == [{"calculate"}, {"calculate"}]
    choice = [offer["calculate"]["arguments"]["properties"]["expression"]["enum"] for offer in offers]
    assert choice == [["17**3", "19**3"], ["19**3"]]


def test_a_sum_over_the_notes_is_looked_up_first(index: Index) -> None:
    answer, offers = asked(
        index, "How many KiB does the KV cache of 100 tokens take? Compute 512 * 100.",
        call("calculate", expression="512 * 100"), say("The KV cache of a 7B model takes 512 KiB a token.", 1),
    )  # fmt: skip
    assert [step.tool for step in answer.steps] == ["search_notes", "calculate"]
    assert set(offers[0]) == {"calculate"} and answer.citations


def test_a_result_that_the_model_does_not_say_is_said_all_the_same(index: Index) -> None:
    answer, _ = asked(
        index, "How many KiB does the KV cache of 100 tokens take? Compute 512 * 100.",
        call("calculate", expression="512 * 100"), say("The KV cache of a 7B model takes 512 KiB a token.", 1),
    )  # fmt: skip
    assert answer.text == "The KV cache of a 7B model takes 512 KiB a token. [1]\n\nComputed:\n- 512 * 100 = 51200"


def test_a_sentence_that_only_says_a_result_carries_no_marker(index: Index) -> None:
    answer, _ = asked(
        index, "How many KiB does the KV cache of 100 tokens take? Compute 512 * 100.",
        call("calculate", expression="512 * 100"),
        json.dumps({"thought": "", "action": {"tool": "answer", "sentences": [
            {"text": "The KV cache of a 7B model takes 512 KiB a token.", "sources": [1]},
            {"text": "The result is 51200.", "sources": [2]},
        ]}}),
    )  # fmt: skip
    assert answer.text == "The KV cache of a 7B model takes 512 KiB a token. [1] The result is 51200."
    assert [citation.marker for citation in answer.citations] == [1]


@pytest.mark.parametrize(
    ("allowed", "text"),
    [(True, "Remembered: my name is Lin."), (False, "Not remembered, for you did not agree: my name is Lin.")],
)
def test_a_fact_is_kept_in_the_users_words_after_a_yes(index: Index, tmp_path: Path, allowed: bool, text: str) -> None:
    memory = Memory(tmp_path / "home", embedding=HashingEmbedder())
    answer, offers = asked(
        index, "Please remember that my name is Lin.", call("remember", text="my name is Lin."),
        memory=memory, approve=lambda approval: allowed,
    )  # fmt: skip
    assert answer.text == text and [step.tool for step in answer.steps] == ["remember"]
    assert set(offers[0]) == {"remember"}
    assert offers[0]["remember"]["arguments"]["properties"]["text"]["enum"] == ["my name is Lin."]
    assert [item.text for item in memory.items()] == (["my name is Lin."] if allowed else [])


def test_the_list_of_notes_is_the_answer(index: Index) -> None:
    answer, offers = asked(index, "Which notes are there about gpu?", call("list_notes", filter="gpu"))
    assert set(offers[0]) == {"list_notes"}
    assert "2 notes for 'gpu':" in answer.text and "gpu-cache.md" in answer.text and "[1]" not in answer.text
    missed, _ = asked(index, "Which notes are there about cats?", call("list_notes", filter="cats"))
    assert "No note matches 'cats'. 3 notes:" in missed.text and "lstm.md" in missed.text


def test_a_plain_question_offers_no_tool_that_it_has_no_use_for(index: Index) -> None:
    answer, offers = asked(index, "LSTM 的遗忘门有什么作用？", say("LSTM 有遗忘门、输入门和输出门三个门。", 1))
    assert set(offers[0]) <= {"answer", "give_up", "search_notes"} and [s.tool for s in answer.steps] == [
        "search_notes"
    ]


def test_a_note_that_is_named_is_read(index: Index) -> None:
    answer, offers = asked(
        index, "What does gpu-cache.md say about the context?", call("read_note", document="gpu-cache.md", line=1),
        say("It grows with the context.", 1),
    )  # fmt: skip
    assert set(offers[0]) == {"read_note"}
    assert offers[0]["read_note"]["arguments"]["properties"]["document"]["enum"] == ["gpu-cache.md"]
    assert answer.citations[0].document == "gpu-cache.md"


def test_an_agent_file_can_leave_all_tools_on_offer(index: Index) -> None:
    Path("free.md").write_text(
        "---\nname: free\ndescription: d\ntools: [search_notes, calculate]\nnarrow_tools: false\nenough_coverage: 2\n"
        "rewrite: never\ntranslate: never\n---\nAnswer.\n",
        encoding="utf-8",
    )
    model = ScriptedChatModel(replies=[say("LSTM 有遗忘门、输入门和输出门三个门。", 1)])
    agent = Agent.load("free.md", index=index, model=model, settings=load_settings(tool_calling="json"))
    assert agent.ask("LSTM 有哪几个门？").citations
    schema = json.dumps(model.calls[0].kwargs["response_format"])
    assert '"calculate"' in schema and '"answer"' in schema


LONG = "# Notes on caches\n\n" + "".join(
    f"Remark {n}: gardens and rivers have little to do with what is looked for here.\n\n" for n in range(9)
) + "The KV cache of the falcon model takes 96 KiB a token.\n\n" + "".join(
    f"Aside {n}: mountains and lakes are not asked about either, and fill the note.\n\n" for n in range(9)
)  # fmt: skip


ASKED = "How much does the KV cache of the falcon model take?"


def prompts(
    tmp_path: Path, protocol: str, *replies: str, budget: str = "60", question: str = ASKED
) -> tuple[Answer, list[str]]:
    (tmp_path / "agents").mkdir()
    header = f"name: own\ndescription: own\nmax_steps_json: 3\nenough_coverage: 2\nevidence_tokens_json: {budget}"
    (tmp_path / "agents" / "own.md").write_text(f"---\n{header}\n---\nAnswer from the notes.\n", encoding="utf-8")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "falcon.md").write_text(LONG, encoding="utf-8")
    known = load_settings(tool_calling=protocol)
    opened = Index.open(tmp_path / "notes", tmp_path / "index", embedding=HashingEmbedder(), settings=known)
    model = ScriptedChatModel(replies=list(replies))
    agent = Agent.load(str(tmp_path / "agents" / "own.md"), index=opened, model=model, settings=known)
    answer = agent.ask(question)
    return answer, ["\n".join(str(message.content) for message in made.messages) for made in model.calls]


def test_a_small_model_reads_what_is_near_the_question_and_the_answer_is_checked_against_all_of_it(
    tmp_path: Path,
) -> None:
    answer, seen = prompts(tmp_path, "json", say("The KV cache of the falcon model takes 96 KiB a token.", 1))
    assert "takes 96 KiB a token" in seen[0] and seen[0].count("Remark") + seen[0].count("Aside") < 6
    assert "…" in seen[0] and answer.citations[0].verdict == "supported"


def test_what_it_reads_on_is_shown_whole(tmp_path: Path) -> None:
    read = call("read_note", document="falcon.md", line=1)
    said = say("The KV cache of the falcon model takes 96 KiB a token.", 1)
    _, seen = prompts(tmp_path, "json", read, said, question=f"Open falcon.md. {ASKED}")
    later = seen[1].removeprefix(seen[0])
    assert later.count("Remark") == 9


def test_without_a_size_passages_are_whole(tmp_path: Path) -> None:
    _, seen = prompts(tmp_path, "json", say("It takes 96 KiB a token.", 1), budget="null")
    assert seen[0].count("Remark") == 9


def test_other_models_read_whole_passages(tmp_path: Path) -> None:
    _, seen = prompts(tmp_path, "native", "The KV cache of the falcon model takes 96 KiB a token. [1]")
    assert seen[-1].count("Remark") == 9


def test_it_answers_from_numbered_lines_and_not_within_the_transcript(index: Index) -> None:
    reply = json.dumps({"lines": [1], "answer": "LSTM 有遗忘门、输入门和输出门三个门。"}, ensure_ascii=False)
    model = ScriptedChatModel(replies=[reply])
    answer = Agent.load("interview", index=index, model=model, settings=load_settings(tool_calling="json")).ask(
        "LSTM 有哪几个门？"
    )
    (made,) = model.calls
    system, human = (str(message.content) for message in made.messages)
    assert "Observation" not in human and "search_notes" not in system
    assert re.search(
        r"^lstm.md \| LSTM > 门\n\d: LSTM 有遗忘门、输入门和输出门三个门。\n\d: 遗忘门决定", human, re.MULTILINE
    )
    assert human.endswith("LSTM 有哪几个门？\n请用中文回答。")
    assert answer.text == "LSTM 有遗忘门、输入门和输出门三个门。[1]"
    assert (answer.citations[0].document, answer.citations[0].verdict) == ("lstm.md", "supported")
    assert [step.tool for step in answer.steps] == ["search_notes"]


def test_what_no_line_says_is_declined(index: Index) -> None:
    reply = json.dumps({"lines": [], "answer": ""})
    answer = Agent.load(
        "interview", index=index, model=ScriptedChatModel(replies=[reply]), settings=load_settings(tool_calling="json")
    ).ask("Weights and the KV cache: which of them is slower?")
    assert answer.abstained and answer.citations == ()


def test_what_is_no_passage_keeps_the_answer_in_the_transcript(index: Index) -> None:
    question = "How many KiB does the KV cache of 100 tokens take? Compute 512 * 100."
    model = ScriptedChatModel(
        replies=[call("calculate", expression="512 * 100"), say("The KV cache of a 7B model takes 512 KiB a token.", 1)]
    )
    Agent.load("interview", index=index, model=model, settings=load_settings(tool_calling="json")).ask(question)
    assert "Observation (calculate)" in "\n".join(str(message.content) for message in model.calls[-1].messages)


def test_examples_of_the_agent_file_keep_it_there_too(index: Index, tmp_path: Path) -> None:
    (tmp_path / "own.md").write_text(
        "---\nname: own\ndescription: own\nenough_coverage: 0\n---\nAnswer.\n\n## Example\n\nQuestion: What is a GPU?\n"
        "Answer: A processor. [1]\n",
        encoding="utf-8",
    )
    model = ScriptedChatModel(replies=[say("LSTM 有遗忘门、输入门和输出门三个门。", 1)])
    known = load_settings(tool_calling="json")
    answer = Agent.load(str(tmp_path / "own.md"), index=index, model=model, settings=known).ask("LSTM 有哪几个门？")
    assert "What is a GPU?" in str([message.content for message in model.calls[0].messages]) and answer.citations


def lines_said(index: Index, answer: str, question: str) -> Answer:
    reply = json.dumps({"lines": [1], "answer": answer}, ensure_ascii=False)
    settings = load_settings(tool_calling="json")
    return Agent.load("interview", index=index, model=ScriptedChatModel(replies=[reply]), settings=settings).ask(
        question
    )


def test_what_a_note_bears_out_in_part_only_is_said_in_the_words_of_the_note(index: Index) -> None:
    answer = lines_said(index, "Weights in fp16 take 14 GB on TPUs. Quantising them to four bits takes 4 GB.",
                        "How much do weights in fp16 take?")  # fmt: skip
    assert answer.text == "Weights in fp16 take 14 GB. [1] Quantising them to four bits takes 4 GB. [1]"
    assert [citation.verdict for citation in answer.citations] == ["supported"]
    (gone,) = answer.removed
    assert gone.sentence == "Weights in fp16 take 14 GB on TPUs." and "own words" in gone.reason


def test_what_cannot_be_checked_across_languages_gives_way_to_the_words_of_the_note(
    tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]
) -> None:
    notes = make_notes(tmp_path / "notes", {**NOTES, "lstm.md": f"# LSTM\n\n{GATES}\n"})
    index = Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())
    into = "An LSTM has three gates: the forget, input and output gate."
    replies = [{"lines": [1], "answer": "LSTM has three gates: forget, input and output."}, {"translations": [into]}]
    model = ScriptedChatModel(replies=[json.dumps(reply) for reply in replies])
    agent = Agent.load("interview", index=index, model=model, settings=load_settings(tool_calling="json"))
    answer = agent.ask("Which gates has an LSTM?")
    assert answer.text == f"{into} [1]" and answer.translations[0].original == GATES
    assert (answer.citations[0].quote, answer.citations[0].verdict) == (GATES, "supported")
    (gone,) = answer.removed
    assert "another language" in gone.reason


def test_a_citation_names_the_section_that_its_quote_stands_in(
    tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]
) -> None:
    text = "# Dogs\n\n## Food\n\nThey eat meat.\n\n## Training\n\nA puppy needs some weeks of training.\n"
    notes = make_notes(tmp_path / "notes", {"dogs.md": text})
    index = Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())
    answer = lines_said(index, "A puppy needs some weeks of training.", "What does a puppy need?")
    assert [citation.heading for citation in answer.citations] == [("Dogs", "Training")]
    assert index.search("puppy")[0].heading == ("Dogs",)


def test_an_answer_that_is_pieced_together_is_declined(index: Index) -> None:
    answer = lines_said(
        index, "The KV cache of fp16 weights grows to 512 GB.", "How large does the cache of the weights grow?"
    )
    assert [verdict.verdict for verdict in answer.verdicts] == ["stitched"]
    assert answer.abstained and answer.citations == () and answer.text.startswith("The notes do not contain an answer")
    assert answer.removed[0].sentence == "The KV cache of fp16 weights grows to 512 GB."


@pytest.mark.parametrize("alone", [True, False])
def test_what_is_left_of_an_answer_and_only_partly_borne_out_is_declined(
    alone: bool, tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]
) -> None:
    text = "ControlNet freezes the U-Net and copies its encoder as a branch that takes edges, depth and poses as conditions."
    notes = make_notes(tmp_path / "notes", {"control.md": f"# ControlNet\n\n{text}\n"})
    index = Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())
    left = "So theta sets the strength of depth and poses as conditions."
    said = left if alone else f"Strengths are set by a mixing scheduler. {left}"
    answer = lines_said(index, said, "How are the strengths of depth and poses as conditions set?")
    assert answer.verdicts[-1].verdict == "partly" and answer.abstained == (not alone)
    if not alone:
        assert (answer.removed[-1].sentence, answer.removed[-1].reason) == (left, REMNANT)


@pytest.mark.parametrize(
    ("question", "declined"),
    [
        ("How many GPUs did pretraining LaMDA take?", True),
        ("Why is pretraining LaMDA slow on GPUs?", False),  # the same lines; no number is asked for
    ],
)
def test_a_line_about_another_number_is_no_answer_where_the_one_that_answered_is_taken_out(
    question: str, declined: bool, tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]
) -> None:
    text = "Optimizer states of seven billion weights occupy 112 GB, more than one 80 GB card has."
    notes = make_notes(tmp_path / "notes", {"memory.md": f"# LaMDA pretraining on GPUs\n\n{text}\n"})
    index = Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())
    answer = lines_said(index, f"Pretraining LaMDA did take 640 GPUs of Google since 2021. {text}", question)
    assert answer.abstained == declined
    assert (answer.removed[-1].reason == ANOTHER) == declined


@pytest.mark.parametrize(
    ("question", "declined"),
    [
        ("How many KiB does the KV cache of a 7B model take?", True),
        ("What grows with the context?", False),
        ("How does it grow?", False),
    ],
)
def test_a_question_for_a_number_is_not_answered_by_a_line_that_names_none(
    index: Index, question: str, declined: bool
) -> None:
    answer = lines_said(index, "It grows with the context.", question)
    assert answer.abstained == declined and bool(answer.citations) == (not declined)
    assert ["asks for a number" in removed.reason for removed in answer.removed] == [True] * declined


@pytest.fixture
def chinese(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "chinese", {"lstm.md": NOTES["lstm.md"]})
    return Index.open(notes, tmp_path / "other", embedding=HashingEmbedder(), settings=load_settings())


def lines_translated(index: Index, question: str, answer: str, translation: str) -> tuple[Answer, ScriptedChatModel]:
    """The planner is kept out of it: the first call is the answer, the second one its translation."""
    replies = [
        json.dumps({"lines": [1], "answer": answer}, ensure_ascii=False),
        json.dumps({"translations": [translation]}, ensure_ascii=False),
    ]
    model = ScriptedChatModel(replies=replies)
    settings = load_settings(tool_calling="json")
    agent = Agent.load("interview", index=index, model=model, settings=settings)
    agent.spec = replace(agent.spec, header=agent.spec.header.model_copy(update={"translate": "never"}))
    events = list(agent.stream(question))
    done = events[-1]
    assert isinstance(done, Done)
    shown = "".join(event.text for event in events if isinstance(event, Token))
    assert answer not in shown  # nobody reads what is to be translated
    return done.answer, model


def test_lines_in_another_language_are_answered_in_theirs_checked_and_then_translated(chinese: Index) -> None:
    said = GATES
    into = "An LSTM has three gates: the forget, input and output gate."
    answer, model = lines_translated(chinese, "Which gates does the LSTM 门 have?", said, into)
    assert answer.text == f"{into} [1]"
    assert [(t.sentence, t.original) for t in answer.translations] == [(into, said)]
    assert [(v.sentence, v.verdict) for v in answer.verdicts] == [(said, "supported")]
    assert (answer.citations[0].quote, answer.citations[0].verdict) == (said, "supported")
    assert "请用中文回答。" in str(model.calls[0].messages[-1].content)
    assert answer.to_json()["translations"] == [{"sentence": into, "original": said}]


def test_a_translation_that_changes_a_number_is_not_used(chinese: Index) -> None:
    said = GATES
    answer, _ = lines_translated(chinese, "Which gates does the LSTM 门 have?", said, "An LSTM has four gates.")
    assert answer.text == f"{said}[1]" and answer.translations == ()


def test_what_is_near_to_no_line_of_its_source_is_taken_out(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    # The cosines of this embedder tell nothing across languages, so every line is far.
    monkeypatch.setattr(own_words, "BUNDLED", index.model.name)
    answer = lines_said(index, "LSTM was made for speech.", "What is the LSTM made for?")
    assert answer.abstained and "no line that is near" in answer.removed[0].reason
