"""Prompts that fit: generated conversations, what is given up first, what is said, and what an endpoint teaches."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from ragkit import load_settings
from ragkit.agent.context import ContextWindow
from ragkit.agent.fitting import Cuts, fit, message_text
from ragkit.agent.spotlight import Spotlight
from ragkit.errors import ModelError
from ragkit.models.chat import ChatModel, wrap_chat
from ragkit.models.e5_engine import locate_e5
from ragkit.models.e5_format import read_e5
from ragkit.models.e5_tokenizer import build_tokenizer
from ragkit.models.tokens import estimate_tokens
from ragkit.testing import ScriptedChatModel

THOROUGH = bool(os.environ.get("RAGKIT_TEST_THOROUGH"))
ZH = "自注意力的时间复杂度随序列长度平方增长，缓存键值对以后每步只算一个词元。"
EN = "The KV cache keeps keys and values of earlier tokens, so each step computes one token only. "


@functools.cache
def source(kind: str) -> str:
    """13,000 characters of a kind, to cut texts from."""
    if kind in {"zh", "en", "mixed"}:
        return ({"zh": ZH, "en": EN, "mixed": ZH + EN}[kind] * 400)[:13_000]
    alphabet = {"digits": "0123456789,.", "letters": "abcdefghijklmnopqrstuvwxyzABCDEF ", "lines": "ab \n\t中"}[kind]
    return "".join(random.Random(kind).choices(alphabet, k=13_000))


def text(rnd: random.Random, length: int) -> str:
    start = rnd.randint(0, 900)
    return source(rnd.choice(["zh", "en", "mixed", "digits", "letters", "lines"]))[start : start + length]


def results(rnd: random.Random, first: int, count: int) -> list[BaseMessage]:
    calls = [
        {
            "name": "search_notes",
            "args": {"query": text(rnd, rnd.randint(1, 600))},
            "id": f"c{first + i}",
            "type": "tool_call",
        }
        for i in range(count)
    ]
    lengths = [rnd.choice([10, 200, 2000, 12_000]) for _ in calls]
    return [
        AIMessage("", tool_calls=calls),
        *(
            ToolMessage(text(rnd, n), tool_call_id=str(c["id"]), name="search_notes")
            for c, n in zip(calls, lengths, strict=True)
        ),
    ]


def conversation(seed: int) -> list[BaseMessage]:
    rnd = random.Random(seed)
    messages: list[BaseMessage] = []
    for _ in range(rnd.choice([0, 0, 3, 20, 200])):
        messages += [HumanMessage(text(rnd, rnd.randint(1, 300))), AIMessage(text(rnd, rnd.randint(1, 300)))]
    messages.append(HumanMessage("Q" + text(rnd, rnd.choice([10, 100, 8000]))))
    for group in range(rnd.choice([0, 1, 2, 5, 12])):
        messages += results(rnd, 100 * group, rnd.choice([1, 1, 2, 8]))
    return messages


def in_order(messages: list[BaseMessage]) -> bool:
    """Every call has its result right behind it, and every result its call."""
    open_: list[str] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            if not open_ or message.tool_call_id != open_.pop(0):
                return False
        elif open_:
            return False
        elif isinstance(message, AIMessage):
            open_ = [str(call["id"]) for call in message.tool_calls]
    return not open_


def check(seed: int, count: Callable[[str], int]) -> bool:
    """Whether a generated conversation had to be shortened; asserts that it fits and keeps what must stay."""
    rnd = random.Random(-seed - 1)
    messages = conversation(seed)
    room = rnd.choice([1500, 3000, 6000, 12_000])
    before = [message.model_dump_json() for message in messages]

    def size(message: BaseMessage) -> int:
        return count(message_text(message)) + 16

    fitted, cuts = fit(messages, room, size)
    assert sum(map(size, fitted)) <= room
    assert in_order(fitted)
    assert [message.model_dump_json() for message in messages] == before, "the transcript itself is not touched"
    [question] = [m for m in fitted if isinstance(m, HumanMessage) and m.text.startswith("Q")]
    asked = next(m for m in reversed(messages) if isinstance(m, HumanMessage))
    assert question.text.startswith(asked.text[:100])
    if isinstance(newest := messages[-1], ToolMessage):
        kept = fitted[-1]
        assert isinstance(kept, ToolMessage) and kept.tool_call_id == newest.tool_call_id
        assert kept.text.startswith(newest.text[:200])
    changed = [m.model_dump_json() for m in fitted] != before
    assert bool(cuts) == changed or not cuts.results
    if cuts.results or cuts.question:
        assert any("characters cut" in m.text for m in fitted)
    return changed


@pytest.mark.parametrize("part", range(4))
def test_generated_conversations_fit_and_keep_what_must_stay(part: int) -> None:
    shortened = sum(check(seed, quick) for seed in range(500 * part, 500 * part + 500))
    assert shortened > 150, "the conversations are too short to show anything"


@functools.cache
def real_tokenizer() -> Any:
    files = locate_e5()
    assert files is not None
    return build_tokenizer(read_e5(files.weights))


def quick(given: str) -> int:
    """A count that, like a tokenizer's, depends on the kind of text: a token for a Han character or three others."""
    return -(-len(given.encode()) // 3)


@pytest.mark.skipif(locate_e5() is None, reason="the bundled embedding model (extra local) is not installed")
def test_generated_conversations_fit_by_the_count_of_a_real_tokenizer() -> None:
    tokenizer = real_tokenizer()
    seeds = range(2000 if THOROUGH else 25)
    for seed in seeds:
        check(seed, lambda given: len(tokenizer.encode(given, add_special_tokens=False).ids))


def test_what_fits_is_left_as_it_is() -> None:
    messages = conversation(3)
    fitted, cuts = fit(messages, 10**9, quick_size)
    assert fitted == messages and not cuts


def quick_size(message: BaseMessage) -> int:
    return quick(message_text(message)) + 16


def turn(*lengths: int) -> list[BaseMessage]:
    messages: list[BaseMessage] = [HumanMessage("Question?")]
    for i, length in enumerate(lengths):
        call = {"name": "search_notes", "args": {"query": str(i)}, "id": f"c{i}", "type": "tool_call"}
        messages += [
            AIMessage("", tool_calls=[call]),
            ToolMessage("x" * length, tool_call_id=f"c{i}", name="search_notes"),
        ]
    return messages


def test_the_oldest_results_shrink_first() -> None:
    messages = turn(3000, 3000, 3000)
    fitted, cuts = fit(messages, 2300, quick_size)
    lengths = [len(m.text) for m in fitted if isinstance(m, ToolMessage)]
    assert lengths[0] < 400 and lengths[1:] == [3000, 3000]
    assert cuts == Cuts(results=1)
    assert (
        cuts.says("Why?", 4096) == "To fit the model's context window (4,096 tokens), tool results were shortened: 1."
    )
    assert cuts.says("为什么？", 4096) == "为放入模型的上下文窗口（4,096 词元），缩短了 1 条工具结果。"


def test_then_the_conversation_then_whole_calls_then_the_newest_result() -> None:
    history: list[BaseMessage] = [HumanMessage("y" * 900), AIMessage("y" * 900)]
    messages = [*history, *turn(300, 300, 300, 6000)]
    fitted, cuts = fit(messages, 1500, quick_size)
    assert cuts.turns == 2 and cuts.calls == 3 and cuts.results == 1
    assert "Earlier tool calls and their results left out to fit: 3." in fitted[0].text
    assert fitted[-1].text.startswith("x" * 1000) and "characters cut to fit" in fitted[-1].text


def test_a_five_megabyte_result_fits() -> None:
    fitted, _ = fit(turn(5_000_000), 2000, quick_size)
    assert 3000 < len(fitted[-1].text) < 6000


def test_the_frame_around_foreign_text_stays_closed() -> None:
    spotlight = Spotlight()
    messages = turn(10)
    messages[-1] = messages[-1].model_copy(update={"content": spotlight.wrap("z" * 9000)})
    fitted, _ = fit(messages, 1000, quick_size)
    assert fitted[-1].text.endswith(f"cut to fit)\n</data {spotlight.mark}>")


def test_a_question_longer_than_the_window_is_cut_in_its_middle() -> None:
    fitted, cuts = fit([HumanMessage("a" * 4000 + "b" * 4000)], 400, quick_size)
    assert fitted[0].text.startswith("aaa") and fitted[0].text.endswith("bbb")
    assert cuts.question > 6000 and f"({cuts.question} characters cut)" in fitted[0].text


def test_without_any_room_it_is_one_clear_line() -> None:
    with pytest.raises(ModelError, match="context window"):
        fit(turn(500), 50, quick_size)


def window(**settings: Any) -> ContextWindow:
    chat = wrap_chat(ScriptedChatModel(replies=[]), load_settings())
    return ContextWindow(chat, load_settings(**settings), 400)


def test_the_window_of_an_endpoint_is_set_known_or_assumed() -> None:
    assert window().limit == 32_768
    assert window(endpoint_context_tokens=4096).limit == 4096
    known = ScriptedChatModel(replies=[])
    known.profile = {"max_input_tokens": 128_000}
    assert ContextWindow(wrap_chat(known, load_settings()), load_settings(), 400).limit == 128_000
    local = ChatModel("m", lambda: known, tool_calling="json", local=True)
    assert ContextWindow(local, load_settings(context_tokens=2048), 400).limit == 2048


def test_the_reply_has_its_room_but_never_most_of_the_window() -> None:
    assert window(endpoint_context_tokens=4096).room == 4096 - 1024
    assert window(endpoint_context_tokens=2048).room == 2048 - 682


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("This model's maximum context length is 4097 tokens. However, your messages resulted in 5000 tokens.", 4097),
        ("request (5000 tokens) exceeds the available context size (2048 tokens), try increasing it", 2048),
        ("prompt is too long: 25000 tokens > 20000 maximum", 20_000),
        ("The input token count (30000) exceeds the maximum number of tokens allowed (16384).", 16_384),
        ("{'error': {'code': 'context_length_exceeded', 'n_ctx': 3072}}", 3072),
    ],
)
def test_an_endpoint_that_refuses_a_prompt_teaches_its_window(message: str, limit: int) -> None:
    learned = window()
    assert learned.refused(RuntimeError(message), sent=5000 if limit < 5000 else 26_000)
    assert learned.limit == limit


def test_a_refusal_without_a_number_makes_the_next_prompt_smaller() -> None:
    learned = window()
    assert learned.refused(ValueError("context_length_exceeded"), sent=3000)
    assert learned.room == 2000


@pytest.mark.parametrize("message", ["rate limit reached", "connection reset", "invalid api key", "maximum 3 retries"])
def test_other_errors_teach_nothing(message: str) -> None:
    learned = window()
    assert not learned.refused(RuntimeError(message), 3000) and learned.limit == 32_768


@pytest.mark.parametrize(
    "given", [ZH, EN, "def f(x):\n    return x + 1\n" * 9, '{"a": [1, 2, 3]}' * 9, "\u0000\ud800é😀"]
)
def test_the_estimate_is_never_far_below_a_real_count(given: str) -> None:
    assert estimate_tokens(given) >= len(given) // 5
    assert estimate_tokens(given * 3) >= 2 * estimate_tokens(given)


@pytest.mark.skipif(locate_e5() is None, reason="the bundled embedding model (extra local) is not installed")
def test_the_estimate_is_above_the_count_of_a_real_tokenizer() -> None:
    tokenizer = real_tokenizer()
    for given in (ZH * 20, EN * 20, (ZH + EN) * 10):
        assert estimate_tokens(given) >= len(tokenizer.encode(given, add_special_tokens=False).ids)
