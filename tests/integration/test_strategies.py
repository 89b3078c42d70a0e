"""Prompting strategies as settings of the agent file: sampling by step, thoughts, self-consistency."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from ragkit import Agent, Index, load_settings
from ragkit.agent.answer import Answer, Done, Thought, Token
from ragkit.agent.compose import Composed
from ragkit.agent.consistency import majority
from ragkit.agent.sessions import Session
from ragkit.agent.spec import parse_agent
from ragkit.errors import AgentError
from ragkit.models.chat import wrap_chat
from ragkit.models.sampling import Sampling, with_sampling
from ragkit.testing import HashingEmbedder, ScriptedChatModel

NOTES = {
    "gpu.md": "# Memory\n\nThe KV cache of a 7B model takes 0.5 MB a token. Weights in fp16 take 14 GB.\n",
    "attention.md": "# 注意力\n\n缩放点积注意力要除以根号 dk，因为点积的方差会随维度增大，softmax 进入饱和区。\n",
}
QUESTION = "How much memory does the KV cache of a 7B model take?"
CACHE = "The KV cache of a 7B model takes 0.5 MB a token."
WEIGHTS = "Weights in fp16 take 14 GB."


class Sampled(ScriptedChatModel):
    """A scripted model that has the parameters, and remembers with which each call was made."""

    temperature: float = 0.0
    top_p: float | None = None

    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["drawn"] = (self.temperature, self.top_p)
        return super()._stream(*args, **kwargs)

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["drawn"] = (self.temperature, self.top_p)
        return super()._generate(*args, **kwargs)

    @property
    def drawn(self) -> list[Any]:
        return [call.kwargs["drawn"] for call in self.calls]


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def file(folder: Path, front: str) -> Path:
    path = folder / "a.md"
    path.write_text(f"---\nname: a\ndescription: d\n{front}\n---\nAnswer from the notes.\n", encoding="utf-8")
    return path


def agent(index: Index, folder: Path, front: str, *replies: Any, way: str = "json") -> tuple[Agent, Sampled]:
    model = Sampled(replies=list(replies))
    settings = load_settings(tool_calling=way)
    return Agent.load(file(folder, front), index=index, model=model, settings=settings), model


def act(tool: str, thought: str = "think", **arguments: Any) -> str:
    return json.dumps({"thought": thought, "action": {"tool": tool, "arguments": arguments}})


def say(*sentences: str, thought: str = "write") -> str:
    action = {"tool": "answer", "sentences": [{"text": text, "sources": [1]} for text in sentences]}
    return json.dumps({"thought": thought, "action": action})


def gave_up() -> str:
    return json.dumps({"thought": "no", "action": {"tool": "give_up", "reason": "not there"}})


SAMPLING = "enough_coverage: 2\nsampling:\n  rewrite: {temperature: 0.1}\n  act: {temperature: 0.2, top_p: 0.5}\n  answer: {temperature: 0.9, top_p: 0.8}"


def test_sampling_reaches_the_model_by_kind_of_step(index: Index, tmp_path: Path) -> None:
    resolved = json.dumps({"question": QUESTION})
    front = f"{SAMPLING}\nmax_steps_json: 2\ntranslate: never\nnarrow_tools: false"
    bot, model = agent(index, tmp_path, front, resolved, act("calculate", expression="2*7"), say(CACHE))
    bot.session = Session.seeded([])
    bot.session.answers = Session.seeded([_turn("What is a KV cache?", "Keys and values.")]).answers
    answer = bot.ask("How much memory does it take?")
    # The first search and the calculation are the two steps; only answering remains then.
    assert model.drawn == [(0.1, None), (0.2, 0.5), (0.9, 0.8)]
    assert answer.citations and bot.chat.name == "scripted"


def _turn(question: str, answer: str) -> Any:
    from ragkit.retrieval.rewrite import Turn

    return Turn(question, answer)


def test_sampling_reaches_a_model_with_tool_calls_of_its_own(index: Index, tmp_path: Path) -> None:
    bot, model = agent(index, tmp_path, SAMPLING, f"{CACHE} [1]", way="native")
    assert bot.ask(QUESTION).citations
    assert model.drawn == [(0.2, 0.5)]
    assert (model.temperature, model.top_p) == (0.0, None), "the program's own model is left as it was"


def test_nothing_set_changes_nothing(index: Index, tmp_path: Path) -> None:
    bot, model = agent(index, tmp_path, "", say(CACHE))
    answer = bot.ask(QUESTION)
    assert model.drawn == [(0.0, None)] and answer.agreement is None and answer.to_json()["agreement"] is None


def test_sampling_reaches_an_endpoint_as_parameters_of_the_request() -> None:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="m", api_key="k", temperature=0)  # type: ignore[arg-type]
    drawn = with_sampling(model, Sampling(temperature=0.7, top_p=0.9))
    assert isinstance(drawn, ChatOpenAI) and drawn.root_client is model.root_client
    sent = drawn._get_request_payload([("user", "x")])
    assert (sent["temperature"], sent["top_p"]) == (0.7, 0.9)
    assert "top_p" not in model._get_request_payload([("user", "x")])
    chat = wrap_chat(model, load_settings())
    assert chat.sampled(Sampling()) is chat
    assert chat.sampled(Sampling(temperature=0.7)).name == "m (temperature 0.7)"


def thoughts(bot: Agent, question: str = QUESTION) -> tuple[list[str], Answer]:
    events = list(bot.stream(question))
    return [e.text for e in events if isinstance(e, Thought)], events[-1].answer if isinstance(
        events[-1], Done
    ) else None  # type: ignore[return-value]


def test_a_thought_is_shown_hidden_or_not_written(index: Index, tmp_path: Path) -> None:
    replies = (act("calculate", "count first", expression="2*7"), say(CACHE, thought="so be it"))
    front = "enough_coverage: 2\nmax_steps_json: 3"
    bot, model = agent(index, tmp_path, f"{front}\nthought_chars: 600", *replies)
    shown, answer = thoughts(bot)
    assert "count first" in shown and [s.thought for s in answer.steps][1] == "count first"
    assert "step by step" in model.calls[0].messages[0].text
    bot, model = agent(index, tmp_path, f"{front}\nthought: hidden", *replies)
    shown, answer = thoughts(bot)
    assert not {"count first", "so be it"} & set(shown) and "count first" not in json.dumps(answer.to_json())
    assert "count first" in model.calls[1].messages[-2].text, "the model still reads what it thought"
    bot, model = agent(index, tmp_path, f"{front}\nthought: off", *replies)
    thoughts(bot)
    schema = model.calls[0].kwargs["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["action"] and "thought" not in model.calls[0].messages[0].text
    assert "thought" not in model.calls[1].messages[-2].text


def test_of_several_answers_the_one_that_most_agree_with_is_given(index: Index, tmp_path: Path) -> None:
    replies = [say(WEIGHTS), say(CACHE), say(CACHE), gave_up(), say(CACHE)]
    bot, model = agent(index, tmp_path, "samples: 5", *replies)
    events = list(bot.stream(QUESTION))
    assert isinstance(events[-1], Done)
    answer = events[-1].answer
    assert answer.text.startswith("The KV cache") and "14 GB" not in answer.text
    assert answer.agreement is not None
    assert (answer.agreement.samples, answer.agreement.groups, answer.agreement.share) == (5, (3, 1, 1), 0.6)
    assert answer.to_json()["agreement"] == {"samples": 5, "groups": [3, 1, 1], "share": 0.6}
    assert model.drawn == [(0.0, None), *[(0.7, None)] * 4]
    assert not any(isinstance(event, Token) for event in events), "nothing is on the screen before the vote"
    assert any(isinstance(e, Thought) and e.text == "3 of 5 sampled answers agree" for e in events)


def test_a_vote_that_a_budget_cuts_short_says_so(index: Index, tmp_path: Path) -> None:
    usage = {"input_tokens": 900, "output_tokens": 1, "total_tokens": 901}
    dear = [AIMessage(say(CACHE), usage_metadata=usage) for _ in range(5)]  # type: ignore[arg-type]
    bot, _ = agent(index, tmp_path, "samples: 5\nmax_question_tokens: 1000", *dear)
    answer = bot.ask(QUESTION)
    assert answer.agreement is not None
    assert answer.agreement.samples < 5
    assert answer.stop_reason == "max_tokens"
    assert any("1,000" in warning for warning in answer.warnings)
    assert "0.5 MB" in answer.text


def test_a_sample_that_cannot_be_used_is_a_vote_that_is_not_cast(index: Index, tmp_path: Path) -> None:
    bot, _ = agent(index, tmp_path, "samples: 3", say(CACHE), "nonsense", "nonsense", "nonsense", say(CACHE))
    answer = bot.ask(QUESTION)
    assert answer.agreement is not None and answer.agreement.groups == (2, 1) and "0.5 MB" in answer.text


def test_samples_survive_a_restart(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ragkit.agent import run

    bot, model = agent(index, tmp_path, "samples: 2", say(CACHE), say(CACHE))
    bot.session = Session.open(tmp_path, "s")
    with monkeypatch.context() as patch:
        patch.setattr(run, "majority", _boom)
        with pytest.raises(RuntimeError):
            bot.ask(QUESTION)
    answer = next(e.answer for e in bot.resume() if isinstance(e, Done))
    assert answer.agreement is not None and answer.agreement.groups == (2,) and len(model.calls) == 2


def _boom(*args: Any) -> Any:
    raise RuntimeError("the program ended here")


def composed(text: str, *markers: int, abstained: bool = False) -> Composed:
    class Cites:
        def __init__(self, marker: int) -> None:
            self.marker = marker

    return Composed(text, tuple(map(Cites, markers)), (), 0, abstained)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answers", "groups", "chosen"),
    [
        ([composed("the rank is 8", 1), composed("the rank is 16", 1), composed("the rank is 16", 1)], (2, 1), {1, 2}),
        ([composed("the same words", 1), composed("the same words", 2)], (1, 1), {0}),
        ([composed("the same words", 1, 2), composed("the same words", 1)], (2,), {0, 1}),
        (
            [composed("not there", abstained=True), composed("it is x", 1), composed("gone", abstained=True)],
            (2, 1),
            {0, 2},
        ),
        ([composed("alone", 1)], (1,), {0}),
    ],
)
def test_answers_agree_by_meaning_numbers_and_sources(
    index: Index, answers: list[Composed], groups: tuple[int, ...], chosen: set[int]
) -> None:
    at, agreement = majority(answers, index.model)
    assert agreement.groups == groups and at in chosen and agreement.samples == len(answers)


@pytest.mark.parametrize(
    ("front", "says"),
    [
        ("samples: 0", r"a\.md:4: samples"),
        ("samples: 3\nsampling: {answer: {temperature: 0}}", r"a\.md:4: samples: .*temperature above 0"),
        ("sampling:\n  act: {temperature: 3}", r"a\.md:[45]: sampling"),
        ("sampling:\n  act: {top_p: 0}", r"a\.md:[45]: sampling"),
        ("sampling:\n  think: {top_p: 1}", r"a\.md:[45]: sampling"),
        ("thought: loud", r"a\.md:4: thought"),
        ("thought_chars: 5", r"a\.md:4: thought_chars"),
    ],
)
def test_wrong_values_name_file_and_line(tmp_path: Path, front: str, says: str) -> None:
    with pytest.raises(AgentError, match=says):
        parse_agent(file(tmp_path, front))


def test_yaml_off_is_the_word_off(tmp_path: Path) -> None:
    assert parse_agent(file(tmp_path, "thought: off")).header.thought == "off"
