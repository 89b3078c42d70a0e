"""The fakes that ship with ragkit behave like what they stand for."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langchain_tests.unit_tests import ChatModelUnitTests

from ragkit.models.embeddings import Embedder, WrappedEmbedder, resolve_embedding
from ragkit.testing import HashingEmbedder, ScriptedChatModel


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


CALL = AIMessage(content="算一下", tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}, "id": "c1"}])


class TestScriptedChatModelContract(ChatModelUnitTests):
    """The suite that LangChain gives to authors of chat models."""

    @property
    def chat_model_class(self) -> type[ScriptedChatModel]:
        return ScriptedChatModel

    @property
    def chat_model_params(self) -> dict[str, object]:
        return {"replies": ["ok"]}


def test_replies_come_in_the_order_of_the_script() -> None:
    model = ScriptedChatModel(replies=["一", AIMessage("二")])
    assert [model.invoke("a").text, model.invoke("b").text] == ["一", "二"]


def test_a_scripted_exception_is_raised_and_the_script_goes_on() -> None:
    model = ScriptedChatModel(replies=[TimeoutError("slow"), "ok"])
    with pytest.raises(TimeoutError, match="slow"):
        model.invoke("a")
    assert model.invoke("a").text == "ok"


def test_a_call_after_the_last_reply_fails() -> None:
    model = ScriptedChatModel(replies=["ok"])
    model.invoke("a")
    with pytest.raises(RuntimeError, match="call 2 of a script of 1"):
        model.invoke("a")


def test_messages_and_arguments_of_each_call_are_recorded() -> None:
    model = ScriptedChatModel(replies=["一", "二"])
    model.invoke([HumanMessage("问")], stop=["\n"])
    model.bind(response_format={"type": "json_object"}).invoke("再问")
    assert [[message.text for message in call.messages] for call in model.calls] == [["问"], ["再问"]]
    assert [call.kwargs for call in model.calls] == [{"stop": ["\n"]}, {"response_format": {"type": "json_object"}}]


def test_bound_tools_arrive_with_the_call() -> None:
    model = ScriptedChatModel(replies=[CALL])
    reply = model.bind_tools([add], tool_choice="any").invoke("1 + 2?")
    [call] = model.calls
    assert call.kwargs["tool_choice"] == "any"
    assert [bound["function"]["name"] for bound in call.kwargs["tools"]] == ["add"]
    assert reply.tool_calls == CALL.tool_calls


def test_text_is_streamed_word_by_word_and_nothing_is_lost() -> None:
    text = "先看 LSTM,\n  then the gates。 "
    parts = [part.text for part in ScriptedChatModel(replies=[text]).stream("a") if part.text]
    assert "".join(parts) == text
    assert parts[:3] == ["先", "看", " LSTM,\n  "]
    assert "then " in parts


def test_a_streamed_reply_carries_its_tool_calls_and_usage() -> None:
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    reply = CALL.model_copy(update={"usage_metadata": usage})
    total = None
    for part in ScriptedChatModel(replies=[reply]).stream("a"):
        total = part if total is None else total + part
    assert total is not None
    assert (total.text, total.usage_metadata) == ("算一下", usage)
    assert [(call["name"], call["args"], call["id"]) for call in total.tool_calls] == [("add", {"a": 1, "b": 2}, "c1")]


def test_vectors_have_length_1_and_the_dimension_asked_for() -> None:
    vectors = np.array(HashingEmbedder(dimension=32).embed_documents(["梯度下降", "", "。", "a b c d e f g"]))
    assert vectors.shape == (4, 32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4))


def test_texts_that_share_words_are_nearer_than_texts_that_do_not() -> None:
    query, near, far = HashingEmbedder().embed_documents(
        ["LSTM 的门控", "门控让 LSTM 记得更久", "烤箱要预热到一百五十度"]
    )
    assert np.dot(query, near) > np.dot(query, far) + 0.2


def test_the_same_text_has_the_same_vector_in_another_process(child_environment: dict[str, str]) -> None:
    code = "from ragkit.testing import HashingEmbedder; print(HashingEmbedder().embed_query('梯度 gradient'))"
    environment = {**child_environment, "PYTHONHASHSEED": "123"}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert told.strip() == str(HashingEmbedder().embed_query("梯度 gradient"))


def test_embedded_texts_are_counted() -> None:
    embedder = HashingEmbedder()
    embedder.embed_documents(["a", "b"])
    embedder.embed_documents([])
    embedder.embed_query("c")
    assert (embedder.documents_embedded, embedder.queries_embedded) == (2, 1)


def test_the_embedder_fits_where_langchain_embeddings_do() -> None:
    embedder = HashingEmbedder("mine", dimension=16)
    assert isinstance(embedder, Embedder)
    from pathlib import Path

    model = resolve_embedding(embedder, Path())
    assert isinstance(model, WrappedEmbedder)
    assert (model.identity.name, model.identity.dimension) == ("mine", 16)


@pytest.mark.parametrize("dimension", [0, -1])
def test_a_dimension_below_1_is_refused(dimension: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        HashingEmbedder(dimension=dimension)


def test_the_embedder_is_imported_without_langchain(child_environment: dict[str, str]) -> None:
    code = "import sys, ragkit.testing; ragkit.testing.HashingEmbedder; print('langchain_core' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], env=child_environment, capture_output=True, text=True, check=True
    )
    assert told.stdout == "False\n"
