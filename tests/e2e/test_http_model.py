"""The agent over HTTP on 127.0.0.1: xllamacpp's own server behind the OpenAI client, as any remote endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragkit import Agent, Index, load_settings
from ragkit.models.breaker import forget_breakers
from ragkit.models.bundled import QWEN_0_5B, QWEN_1_5B
from ragkit.models.local import LocalEndpoint, start_local
from ragkit.testing import HashingEmbedder

CHOSEN = next((model for model in (QWEN_1_5B, QWEN_0_5B) if model.part_files() is not None), None)
if CHOSEN is None:
    pytest.skip("no bundled chat model (extra local or local-small) is installed", allow_module_level=True)

NOTE = "# LSTM\n\nAn LSTM has three gates: the input gate, the forget gate and the output gate.\n"


@pytest.fixture(scope="module")
def endpoint(bundled_home: Path) -> Iterator[LocalEndpoint]:
    assert CHOSEN is not None
    bundled_home.mkdir(exist_ok=True)
    # The context window of the settings, so that the server that is there already is used.
    yield start_local(CHOSEN.prepare(bundled_home), load_settings().context_tokens)
    forget_breakers()


def test_the_agent_asks_a_server_and_cites(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "lstm.md").write_text(NOTE, encoding="utf-8")
    settings = load_settings(openai_api_key=endpoint.api_key, openai_base_url=endpoint.base_url, chat_timeout=400)
    index = Index.open(tmp_path / "notes", tmp_path / "index", embedding=HashingEmbedder(), settings=settings)
    agent = Agent.load("interview", index=index, model="openai:bundled", settings=settings)
    agent.quote_when_down = False
    # These models write their calls as text; the server enforces a schema. Both are found out by asking.
    assert agent.chat.tool_calling == "json"
    assert "json" in (settings.home / "endpoints.json").read_text(encoding="utf-8")
    kinds, tokens = [], ""
    for event in agent.stream("Which gates does an LSTM have?"):
        kinds.append(event.type)
        tokens += event.text if event.type == "token" else ""  # type: ignore[union-attr]
    answer = event.answer  # type: ignore[union-attr]
    assert kinds[-1] == "done" and answer.usage["completion_tokens"] > 0
    assert answer.stop_reason == "answered" and "gate" in answer.text and "gate" in tokens
    assert {citation.document for citation in answer.citations} == {"lstm.md"}


def test_the_tokenizer_that_counts_is_the_models(endpoint: LocalEndpoint) -> None:
    counted = endpoint.count_tokens("one two three")
    assert counted is not None and 3 <= counted <= 8
