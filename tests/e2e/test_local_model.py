"""The real thing: bundled embedding model, bundled 1.5B chat model in process, real index, real command line."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from ragkit import Agent, Index, load_settings
from ragkit.agent.fitting import fit
from ragkit.agent.json_protocol import to_plain_messages
from ragkit.content import default_corpus
from ragkit.models.bundled import QWEN_1_5B
from ragkit.models.e5_engine import locate_e5

if locate_e5() is None or QWEN_1_5B.part_files() is None:
    pytest.skip("the bundled models (extra local) are not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def home(bundled_home: Path) -> Path:
    return bundled_home


@pytest.fixture(scope="module")
def agent(home: Path) -> Agent:
    settings = load_settings(home=home, embedding_model="bundled", sentence_vectors="off")
    index = Index.open(default_corpus(), settings=settings)
    return Agent.load("interview", index=index, model="local")


def check(answer: object, index: Index) -> None:
    for citation in answer.citations:  # type: ignore[attr-defined]
        source = index.document(citation.document)
        assert source is not None
        assert source.text[citation.start : citation.end] == citation.quote


ROLES = {"system": "system", "human": "user", "ai": "assistant"}


def talk(seed: int) -> list[BaseMessage]:
    """A conversation with long tool results, Chinese and English."""
    rnd = random.Random(seed)
    texts = [
        "自注意力的时间复杂度随序列长度平方增长。",
        "The KV cache keeps keys and values of earlier tokens. ",
        "x9f/Zq3=",
    ]
    messages: list[BaseMessage] = []
    for i in range(rnd.choice([0, 3, 40])):
        messages += [HumanMessage(f"Earlier question {i}?"), AIMessage(rnd.choice(texts) * rnd.randint(1, 9))]
    messages.append(HumanMessage(rnd.choice(texts) * rnd.choice([1, 20, 300])))
    for i in range(rnd.choice([1, 3, 8])):
        call = {"name": "search_notes", "args": {"query": rnd.choice(texts)}, "id": f"c{i}", "type": "tool_call"}
        result = rnd.choice(texts) * rnd.choice([2, 60, 400])
        messages += [AIMessage("", tool_calls=[call]), ToolMessage(result, tool_call_id=f"c{i}", name="search_notes")]
    return messages


def test_prompts_fit_the_window_by_the_count_of_the_model_itself(agent: Agent) -> None:
    window, model = agent.window, agent.chat.model()
    address = str(model.openai_api_base).removesuffix("/v1")  # type: ignore[attr-defined]
    key = model.openai_api_key.get_secret_value()  # type: ignore[attr-defined]
    tools = [{"name": "search_notes", "description": "search", "parameters": {"properties": {"query": {}}}}]
    rules = SystemMessage(agent.spec.prompt)
    fixed = window.count(to_plain_messages([rules], tools, True)[0].text) + 64
    shortened = 0
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as server:
        for seed in range(2000 if os.environ.get("RAGKIT_TEST_THOROUGH") else 25):
            fitted, cuts = fit(talk(seed), window.room - fixed, window.size)
            shortened += bool(cuts)
            plain = to_plain_messages([rules, *fitted], tools, True)
            sent = [{"role": ROLES[message.type], "content": message.text} for message in plain]
            prompt = server.post("/apply-template", json={"messages": sent}).raise_for_status().json()["prompt"]
            counted = server.post("/tokenize", json={"content": prompt, "parse_special": True}).raise_for_status()
            assert len(counted.json()["tokens"]) <= window.room, f"seed {seed}"
    assert shortened > 5


def test_the_bundled_model_drives_the_agent_and_understands_a_follow_up(agent: Agent) -> None:
    first = agent.ask("LSTM 有哪几个门？")
    assert not first.abstained
    assert "门" in first.text
    assert "models/rnn-lstm-gru.md" in {citation.document for citation in first.citations}
    assert first.usage["completion_tokens"] > 0
    check(first, agent.index)

    kinds = []
    for event in agent.stream("那它比 GRU 多了什么？"):
        kinds.append(event.type)
        if event.type == "done":
            second = event.answer  # type: ignore[union-attr]
    assert second.standalone != "那它比 GRU 多了什么？"
    assert "LSTM" in second.standalone
    assert kinds[0] == "thought" and kinds[-1] == "done"
    check(second, agent.index)


def test_a_question_beside_the_notes_is_declined(agent: Agent) -> None:
    agent.new_session()
    answer = agent.ask("番茄炒蛋怎么做？")
    assert answer.abstained
    assert answer.citations == ()


def test_ask_from_the_command_line(agent: Agent, home: Path, child_environment: dict[str, str]) -> None:
    environment = {**child_environment, "RAGKIT_HOME": str(home), "RAGKIT_EMBEDDING_MODEL": "bundled"}
    environment["RAGKIT_SENTENCE_VECTORS"] = "off"
    assert os.path.isdir(home / "models")
    result = subprocess.run(
        [sys.executable, "-m", "ragkit.cli", "ask", "What does the temperature do in knowledge distillation?", "--model", "local", "--json"],
        capture_output=True, encoding="utf-8", env=environment, cwd=home, timeout=400, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    value = json.loads(result.stdout)
    assert value["model"].startswith("qwen2.5-coder-1.5b")
    assert value["steps"][0]["tool"] == "search_notes"
    assert value["citations"] or value["abstained"]
