"""The conversation tier: recent turns verbatim, older ones summarised, within a budget, calls with their results."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from ragkit.errors import ModelError
from ragkit.memory.conversation import BLOCK, ConversationMemory, estimate


class Chat:
    def __init__(self, fails: bool = False) -> None:
        self.asked: list[str] = []
        self.fails = fails

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        self.asked.append(user)
        if self.fails:
            raise ModelError("no")
        return {"summary": f"summary {len(self.asked)}"}


def turn(i: int, length: int = 200, calls: int = 0) -> list[BaseMessage]:
    messages: list[BaseMessage] = [HumanMessage(f"question {i}?")]
    if calls:
        ids = [f"c{i}-{j}" for j in range(calls)]
        made = [{"name": "search_notes", "args": {"query": "x"}, "id": one, "type": "tool_call"} for one in ids]
        messages.append(AIMessage("", tool_calls=made))
        messages += [ToolMessage("passage " * 20, tool_call_id=one) for one in ids]
    return [*messages, AIMessage(f"answer {i} " + "a" * length)]


def talk(n: int, length: int = 200, calls: int = 0) -> list[BaseMessage]:
    return [message for i in range(n) for message in turn(i, length, calls)]


def size(messages: list[BaseMessage]) -> int:
    args = sum(estimate(str(c["args"])) for m in messages if isinstance(m, AIMessage) for c in m.tool_calls)
    return sum(estimate(m.text) + 8 for m in messages) + args


def paired(messages: list[BaseMessage]) -> bool:
    waiting: list[str] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in waiting:
                return False
            waiting.remove(message.tool_call_id)
        elif waiting:
            return False
        elif isinstance(message, AIMessage):
            waiting = [str(call["id"]) for call in message.tool_calls]
    return not waiting


def test_what_fits_stays_as_it_is_and_nobody_is_asked() -> None:
    chat = Chat()
    messages = talk(3, calls=2)
    assert ConversationMemory(lambda: chat).fit(messages, 10_000) == messages and chat.asked == []
    assert ConversationMemory().fit([], 100) == []


def test_older_turns_are_summarised_once_and_newer_ones_stay_verbatim() -> None:
    chat = Chat()
    memory = ConversationMemory(lambda: chat)
    fitted = memory.fit(talk(10), 400)
    assert size(fitted) <= 400
    assert fitted[-2:] == talk(10)[-2:]
    assert "summary" in fitted[0].text and fitted[0].text.endswith(f"question {10 - len(fitted) // 2}?")
    asked = len(chat.asked)
    assert asked == -(-(10 - len(fitted) // 2) // BLOCK)
    assert memory.fit(talk(10), 400) == fitted and len(chat.asked) == asked, "it is kept"
    assert memory.fit(talk(11), 400)[0].text.split("\n")[0] == fitted[0].text.split("\n")[0], "the prefix stays"
    memory.fit(talk(16), 400)
    assert chat.asked[asked].startswith(f"summary {asked}\n"), "the next summary goes on from the one before"


@pytest.mark.parametrize("chat", [None, Chat(fails=True)])
def test_without_a_model_the_questions_stand_for_the_turns(chat: Chat | None) -> None:
    fitted = ConversationMemory(lambda: chat).fit(talk(8), 400, "zh")
    assert "用户先后问过：question 0? / question 1?" in fitted[0].text and "answer 0" not in fitted[0].text
    assert size(fitted) <= 400


def test_a_turn_too_large_for_the_budget_is_cut_and_keeps_its_calls() -> None:
    messages = [HumanMessage("q"), *turn(1, 10, calls=2)[1:]]
    messages[2] = ToolMessage("p" * 9000, tool_call_id=messages[2].tool_call_id)  # type: ignore[attr-defined]
    fitted = ConversationMemory().fit(messages, 400)
    assert size(fitted) <= 400 and paired(fitted) and "characters cut" in fitted[2].text
    assert fitted[-1] == messages[-1], "results are cut before answers"


def test_a_torn_turn_keeps_what_was_said() -> None:
    whole = turn(1, 10, calls=2)
    fitted = ConversationMemory().fit([*whole[:3], whole[-1], *turn(2, 10)], 10_000)
    assert [type(m) for m in fitted] == [HumanMessage, AIMessage, HumanMessage, AIMessage] and paired(fitted)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), max_size=14),
    st.integers(200, 1500),
    st.sets(st.integers(0, 60)),
)
def test_calls_and_results_are_never_parted(shape: list[tuple[int, int]], budget: int, lost: set[int]) -> None:
    messages = [m for i, (length, calls) in enumerate(shape) for m in turn(i, length, calls)]
    messages = [m for i, m in enumerate(messages) if i not in lost]
    fitted = ConversationMemory(lambda: None).fit(messages, budget)
    assert paired(fitted)
    assert not fitted or isinstance(fitted[0], HumanMessage)
    assert size(fitted) <= max(budget, 600), "but for what is left of a single turn"
