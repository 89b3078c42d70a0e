"""Query transforms through `Index` and the command line: settings, the kept replies, the limit of time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from typer.testing import CliRunner

from ragkit.agent.runtime import Agent
from ragkit.api import Index
from ragkit.cli.main import app
from ragkit.errors import ModelError
from ragkit.models.chat import ChatModel, StructuredChat, wrap_chat
from ragkit.retrieval.planner import Policies
from ragkit.retrieval.replies import FILE, KeptReplies, chosen_policies
from ragkit.settings import Settings, load_settings
from ragkit.testing import HashingEmbedder, ScriptedChatModel

NOTES = {
    "flour.md": "# 面粉\n\n做蛋糕用低筋面粉，烤箱预热到 170 度。\n",
    "tea.md": "# 泡茶\n\n绿茶要用八十度左右的水冲泡。\n",
    "bread.md": "# 面包\n\n高筋面粉才能做出有嚼劲的面包。\n",
}
QUESTION = "Which flour for the oven?"


def chat(*replies: dict[str, Any]) -> tuple[StructuredChat, ScriptedChatModel]:
    model = ScriptedChatModel(replies=[json.dumps(reply, ensure_ascii=False) for reply in replies])
    return StructuredChat(wrap_chat(model, load_settings())), model


def opened(tmp_path: Path, make_notes: Callable[..., Path], **settings: Any) -> Index:
    notes = tmp_path / "notes" if (tmp_path / "notes").exists() else make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings(**settings))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((None, None, None), Policies("auto", "always", "never")),
        ((True, None, None), Policies("always", "always", "never")),
        ((False, None, None), Policies("never", "never", "never")),
        ((False, True, True), Policies("never", "always", "always")),
        (("auto", None, "auto"), Policies("auto", "auto", "auto")),
        ((None, False, None), Policies("auto", "never", "never")),
    ],
)
def test_what_a_caller_says_wins_over_the_settings(asked: Any, expected: Policies) -> None:
    assert chosen_policies(load_settings(rewrite="auto", translate="always"), *asked) == expected


def test_a_search_asks_no_model_unless_it_is_told_to(tmp_path: Path, make_notes: Any) -> None:
    index = opened(tmp_path, make_notes)
    index.chat, model = chat()
    index.search(QUESTION)
    assert model.calls == [] and index.plan(QUESTION).stages == ()


def test_the_setting_is_enough(tmp_path: Path, make_notes: Any) -> None:
    index = opened(tmp_path, make_notes, translate="auto")
    index.chat, _ = chat({"translation": "低筋面粉 烤箱"})
    assert index.search(QUESTION, k=1, mode="sparse")[0].document == "flour.md"
    plan = index.plan(QUESTION)
    assert [(s.name, s.ran, s.cached) for s in plan.stages] == [("translate", True, True)]


def test_replies_are_kept_for_the_next_process_and_may_be_refused(tmp_path: Path, make_notes: Any, home: Path) -> None:
    reply = {"translation": "低筋面粉"}
    for expected, settings in ((1, {}), (0, {}), (1, {"transform_cache": False})):
        index = opened(tmp_path, make_notes, **settings)
        index.chat, model = chat(reply)
        assert "低筋面粉" in [query.text for query in index.plan(QUESTION, translate=True).queries]
        assert len(model.calls) == expected
    assert (home / "cache" / FILE).is_file()


def test_a_place_that_cannot_keep_replies_costs_the_cache_only(
    tmp_path: Path, make_notes: Any, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = opened(tmp_path, make_notes)
    home.mkdir(exist_ok=True)
    (home / "cache").write_text("a file", encoding="utf-8")
    index.chat, model = chat({"translation": "低筋面粉"})
    assert len(index.plan(QUESTION, translate=True).queries) == 2
    assert "not kept" in caplog.text and len(model.calls) == 1


def test_a_local_model_is_stopped_when_its_time_is_over() -> None:
    pulled: list[int] = []

    class Endless(ScriptedChatModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            for i in range(10**6):
                pulled.append(i)
                yield ChatGenerationChunk(message=AIMessageChunk(content="x"))

    model = ChatModel("slow", lambda: Endless(replies=[]), tool_calling="json", local=True)
    with pytest.raises(ModelError, match=r"not done after 0\.05 s"):
        StructuredChat(model).within(0.05).complete_json("s", "u", {"type": "object"})
    assert len(pulled) < 10**6
    replies = KeptReplies(load_settings(transform_seconds=7))
    around = replies.around(StructuredChat(model))
    assert around._model.seconds == 7  # type: ignore[attr-defined]
    replies.close()


def test_a_reply_in_pieces_is_put_together() -> None:
    scripted = ScriptedChatModel(replies=['{"question": "门 是 什么"}'])
    model = ChatModel("local", lambda: scripted, tool_calling="json", local=True)
    assert StructuredChat(model, 5.0).complete_json("s", "u", {"type": "object"}) == {"question": "门 是 什么"}


def test_the_command_says_what_ran(tmp_path: Path, make_notes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path, make_notes)
    from ragkit.models.embeddings import WrappedEmbedder

    monkeypatch.setattr(
        "ragkit.index.model_choice.resolve_embedding", lambda *a, **k: WrappedEmbedder(HashingEmbedder())
    )
    structured, _ = chat(
        {"translation": "低筋面粉"}, {"queries": ["面粉", "烤箱", "蛋糕"]}, {"passage": "低筋面粉做蛋糕。"}
    )
    monkeypatch.setattr(Index, "_structured", lambda self: structured)
    line = ["--json", "--index", str(tmp_path / "index"), "search", QUESTION]
    found = json.loads(CliRunner().invoke(app, [*line, "--rewrite", "--hyde"]).stdout)
    assert found["queries"] == [QUESTION, "低筋面粉", "面粉", "烤箱", "蛋糕", "低筋面粉做蛋糕。"]
    assert [(stage["name"], stage["ran"], stage["cached"]) for stage in found["transforms"]] == [
        ("translate", True, False), ("variants", True, False), ("hyde", True, False),
    ]  # fmt: skip
    assert all(stage["seconds"] >= 0 and stage["reason"] for stage in found["transforms"])
    monkeypatch.setenv("RAGKIT_REWRITE", "always")
    found = json.loads(CliRunner().invoke(app, [*line, "--no-rewrite"]).stdout)
    assert (found["queries"], found["transforms"]) == ([QUESTION], [])


def test_an_agent_translates_and_its_trace_says_so(tmp_path: Path, make_notes: Any) -> None:
    index = opened(tmp_path, make_notes)
    gave_up = {"thought": "t", "action": {"tool": "give_up", "reason": "no"}}
    model = ScriptedChatModel(replies=[json.dumps({"translation": "低筋面粉"}), json.dumps(gave_up)])
    bot = Agent.load("interview", index=index, model=model, settings=load_settings(tool_calling="json"))
    notes = bot.ask(QUESTION).notes
    assert notes[0] == "translated: 低筋面粉"
    assert notes[1].startswith("translate ran: the first search has a confidence of 0.")


def test_an_agent_without_a_model_asks_no_other(tmp_path: Path, make_notes: Any) -> None:
    index = opened(tmp_path, make_notes, rewrite="always", translate="always")
    index.chat, model = chat()
    Agent.load("interview", index=index, model="extractive").ask(QUESTION)
    assert model.calls == []


@pytest.mark.parametrize("name", ["rewrite", "translate", "hyde"])
def test_a_policy_is_one_of_three_words(name: str) -> None:
    assert getattr(Settings(), name) == "never"
    with pytest.raises(ValueError, match="auto"):
        Settings(**{name: "sometimes"})
