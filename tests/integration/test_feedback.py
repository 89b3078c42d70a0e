"""The flywheel: an answer is rated, reviewed and exported, from Python, in the chat and on the command line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ragkit import Agent, Index, load_settings
from ragkit.agent.answer import Answer
from ragkit.agent.sessions import Session
from ragkit.cli import common, main
from ragkit.cli.repl import commands
from ragkit.cli.repl.loop import Conversation
from ragkit.cli.repl.screen import Screen
from ragkit.errors import UsageError
from ragkit.evaluation.datasets import load_dataset
from ragkit.evaluation.retrieval import evaluate
from ragkit.feedback.export import export
from ragkit.feedback.store import FeedbackStore
from ragkit.testing import HashingEmbedder, ScriptedChatModel

NOTES = {
    "rnn.md": "# 循环神经网络\n\nRNN 逐个处理序列里的词。\n\n## 缺点\n\nRNN 的缺点是梯度消失，很难记住长距离的信息。\n",
    "attention.md": "# 注意力\n\n缩放点积注意力要除以根号 dk，因为点积的方差会随维度增大。\n",
}


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def say(text: str, source: int) -> str:
    action = {"tool": "answer", "sentences": [{"text": text, "sources": [source]}]}
    return json.dumps({"thought": "答", "action": action}, ensure_ascii=False)


def ask(index: Index, question: str = "RNN 的缺点是什么？") -> Answer:
    model = ScriptedChatModel(replies=[say("RNN 的缺点是梯度消失，很难记住长距离的信息。", 1)])
    agent = Agent.load("interview", index=index, model=model, settings=load_settings(tool_calling="json"))
    return agent.ask(question)


def test_a_rating_keeps_everything_the_answer_was_made_from(index: Index, home: Path) -> None:
    answer = ask(index)
    record = answer.feedback("good", " 正确 ")
    [item] = FeedbackStore(home).items()
    assert item.record == record and item.status == "new"
    assert (record.rating, record.reason, record.question) == ("good", "正确", "RNN 的缺点是什么？")
    assert record.answer == answer.text and [c.quote for c in record.citations] == [c.quote for c in answer.citations]
    assert [(p.document, p.text) for p in record.passages] == [(h.document, h.text) for h in answer.passages]
    assert record.passages[0].search_text == answer.passages[0].chunk.search_text
    assert record.versions.agent == "interview" and record.versions.embedding_model == "hashing"
    assert record.versions.index_generation == index.manifest["generation"]
    assert record.versions.chat_model == answer.model


def test_a_changed_mind_replaces_the_rating_and_another_run_does_not(index: Index, home: Path) -> None:
    answer = ask(index)
    answer.feedback("good")
    answer.feedback("bad", "doubtful")
    ask(index).feedback("good")
    assert [item.record.rating for item in FeedbackStore(home).items()] == ["bad", "good"]


def test_a_follow_up_is_kept_with_what_it_leans_on(index: Index) -> None:
    rewritten = json.dumps({"standalone": "RNN 的缺点是什么？"}, ensure_ascii=False)
    replies = [say("RNN 逐个处理序列里的词。", 1), rewritten, *[say("RNN 的缺点是梯度消失。", 1)] * 3]
    model = ScriptedChatModel(replies=replies)
    agent = Agent.load("interview", index=index, model=model, settings=load_settings(tool_calling="json"))
    first = agent.ask("RNN 怎样处理序列？")
    record = agent.ask("那它的缺点呢？").feedback("good")
    assert [(turn.question, turn.answer) for turn in record.history] == [("RNN 怎样处理序列？", first.text)]
    assert first.feedback("good").history == ()


def test_the_rating_goes_to_the_home_that_is_named(index: Index, tmp_path: Path, home: Path) -> None:
    answer = ask(index)
    answer.feedback("bad", settings=load_settings(home=tmp_path / "elsewhere"))
    assert len(FeedbackStore(tmp_path / "elsewhere").items()) == 1 and FeedbackStore(home).items() == []


@pytest.mark.parametrize(("rating", "reason"), [("great", ""), ("bad", "x" * 4001)])
def test_other_ratings_and_endless_reasons_are_refused(index: Index, rating: Any, reason: str) -> None:
    with pytest.raises(UsageError):
        ask(index).feedback(rating, reason)


def test_exported_questions_measure_the_index_they_came_from(index: Index, home: Path, tmp_path: Path) -> None:
    ask(index).feedback("good")
    rows = export(FeedbackStore(home).items(), "eval", include_new=True).rows
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    [run] = evaluate(load_dataset(tmp_path, notes=tmp_path / "notes"), index, ["hybrid"])
    assert run.metrics["hit@5"] == 1.0


def chat(index: Index) -> tuple[Conversation, Callable[[str], str]]:
    out = io.StringIO()
    console = Console(file=out, highlight=False, markup=False, soft_wrap=True)
    screen = Screen(interactive=True, out=console, err=console)
    conversation = Conversation(index, load_settings(), Any, Any, Session())  # type: ignore[arg-type]

    def run(line: str) -> str:
        out.truncate(0)
        out.seek(0)
        assert commands.run(conversation, screen, line) is False
        return out.getvalue()

    return conversation, run


def test_good_and_bad_rate_the_last_answer_of_the_chat(index: Index, home: Path) -> None:
    conversation, run = chat(index)
    assert "ask something first" in run("/good")
    assert not (home / "feedback").exists()
    conversation.last = ask(index)
    assert "kept as good" in run("/good")
    assert "kept as bad" in run("/bad 漏了 并行")
    [item] = FeedbackStore(home).items()
    assert (item.record.rating, item.record.reason) == ("bad", "漏了 并行")
    assert {"/good ", "/bad "} <= set(commands.summaries())


@pytest.fixture
def rag(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; returns exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        common.stdout.file = common.stderr.file = None  # type: ignore[assignment]
        with pytest.raises(SystemExit) as left:
            main.main([*arguments])
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return run


def test_list_review_and_export_on_the_command_line(
    index: Index, tmp_path: Path, rag: Callable[..., tuple[int, str, str]]
) -> None:
    first, second, third = (
        ask(index, q).feedback(r)
        for q, r in (("RNN 的缺点是什么？", "good"), ("RNN 有什么缺点？", "bad"), ("RNN 缺点", "good"))
    )  # type: ignore[arg-type]
    code, out, _ = rag("feedback", "list", "--json")
    assert code == 0
    assert [(row["id"], row["status"]) for row in json.loads(out)["feedback"]] == [
        (record.id, "new") for record in (first, second, third)
    ]
    code, out, _ = rag("feedback", "review", "--accept", first.id, "--drop", third.id, "--json")
    assert code == 0 and [row["status"] for row in json.loads(out)["reviewed"]] == ["accepted", "dropped"]
    code, _, _ = rag("feedback", "review", "--fix", second.id[:6], "--answer", "梯度消失。", "--gold", "1")
    assert code == 0
    code, out, _ = rag("feedback", "list", "--status", "fixed", "--json")
    [fixed] = json.loads(out)["feedback"]
    assert fixed["corrected_answer"] == "梯度消失。"
    assert fixed["corrected_gold"] == [{"file": second.passages[0].document, "quote": second.passages[0].text}]
    for form, keys in (("eval", {"id", "gold"}), ("pairs", {"query", "positive", "negative"}), ("sft", {"messages"})):
        code, out, err = rag("feedback", "export", "--as", form, "--out", str(tmp_path / f"{form}.jsonl"))
        assert code == 0 and out == "" and "rows in" in err and "(dropped)" in err
        rows = [json.loads(line) for line in (tmp_path / f"{form}.jsonl").read_text(encoding="utf-8").splitlines()]
        assert rows and all(keys <= row.keys() for row in rows)
    code, out, _ = rag("feedback", "export", "--as", "eval")
    assert [json.loads(line)["id"] for line in out.splitlines()] == [f"fb-{first.id}", f"fb-{second.id}"]
    code, out, _ = rag("feedback", "export", "--as", "sft", "--json")
    assert json.loads(out)["written"] == 2 and json.loads(out)["skipped"] == {"dropped": 1}


def test_wrong_usage_is_one_line_and_changes_nothing(
    index: Index, tmp_path: Path, rag: Callable[..., tuple[int, str, str]], home: Path
) -> None:
    record = ask(index).feedback("good")
    for arguments, said in (
        (("export", "--as", "csv"), "Unknown export form"),
        (("list", "--status", "odd"), "Unknown value"),
        (("review",), "needs a terminal"),
        (("review", "--answer", "x"), "belong to --fix"),
        (("review", "--accept", record.id, "--drop", "nothing"), "No feedback has"),
        (("review", "--fix", record.id), "needs the right answer"),
        (("review", "--fix", record.id, "--gold", "99"), "names no passage"),
    ):
        code, out, err = rag("feedback", *arguments)
        assert (code, out) == (2, "") and said in err, arguments
    code, _, err = rag("feedback", "export", "--as", "eval", "--out", str(tmp_path / "no" / "x.jsonl"))
    assert code == 1 and "Cannot write" in err
    assert [item.status for item in FeedbackStore(home).items()] == ["new"]


def test_reviewing_one_by_one(
    index: Index, home: Path, rag: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, rating in enumerate(("good", "bad", "bad", "good", "good")):
        ask(index, f"RNN 的缺点是什么 {n}").feedback(rating, "原因" if rating == "bad" else "")  # type: ignore[arg-type]
    typed = io.StringIO("?\na\nf\n梯度消失。\n1 [2]\nf\n\n\nd\nq\n")
    typed.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", typed)
    code, out, err = rag("feedback", "review")
    assert code == 0 and "1/5" in out and "reason: 原因" in out and "3 reviewed" in out
    assert "needs the right answer" in err  # an empty fix is said so and left as it is
    assert [item.status for item in FeedbackStore(home).items()] == ["accepted", "fixed", "new", "dropped", "new"]
    fixed = FeedbackStore(home).items()[1]
    assert fixed.answer == "梯度消失。" and len(fixed.gold) == 2


@pytest.mark.parametrize(
    ("gold", "error"),
    [
        ("rnn.md:梯度消失", ""),
        ("attention.md:缩放点积注意力要除以根号 dk，因为点积的方差会随维度增大", ""),
        ("注 意: 12:30.md:时间: 上午", ""),
        ("rnn.md:没有这句", "does not hold"),
        ("none.md:梯度消失", "does not hold"),
        ("rnn.md:", "names no passage"),
    ],
)
def test_a_quote_that_no_note_holds_is_refused(
    index: Index, home: Path, tmp_path: Path, rag: Callable[..., tuple[int, str, str]], gold: str, error: str
) -> None:
    # One such quote would make the whole exported question set unusable.
    (tmp_path / "notes" / "注 意: 12:30.md").write_text("时间: 上午。\n", encoding="utf-8")
    record = ask(index).feedback("bad")
    code, _, err = rag("feedback", "review", "--fix", record.id, "--gold", gold, "--notes", str(tmp_path / "notes"))
    assert (code, error in err) == (2 if error else 0, True)
    assert [item.status for item in FeedbackStore(home).items()] == ["new" if error else "fixed"]


def test_feedback_on_notes_that_were_edited_since_leaves_a_usable_question_set(
    index: Index, tmp_path: Path, rag: Callable[..., tuple[int, str, str]]
) -> None:
    kept, edited = ask(index, "RNN 的缺点是什么？").feedback("good"), ask(index, "RNN 有什么缺点？").feedback("good")
    rag("feedback", "review", "--accept", kept.id)
    other = "attention.md:因为点积的方差会随维度增大"
    assert rag("feedback", "review", "--fix", edited.id, "--gold", other, "--notes", str(tmp_path / "notes"))[0] == 0
    (tmp_path / "notes" / "attention.md").write_text("# 注意力\n\n重写了。\n", encoding="utf-8")
    out, where = tmp_path / "questions.jsonl", ("--notes", str(tmp_path / "notes"))
    code, _, err = rag("feedback", "export", "--as", "eval", "--out", str(out), *where)
    assert code == 0 and "says something else now" in err
    again = Index.open(tmp_path / "notes", tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())
    [run] = evaluate(load_dataset(out, notes=tmp_path / "notes"), again, ["hybrid"])
    assert [row.id for row in run.rows] == [f"fb-{kept.id}"]
    assert rag("feedback", "export", "--as", "eval")[2].count("not checked") == 1


def test_without_feedback_every_command_says_so(home: Path, rag: Callable[..., tuple[int, str, str]]) -> None:
    assert "/good" in rag("feedback", "list")[1]
    assert "Nothing to review" in rag("feedback", "review")[1]
    code, out, err = rag("feedback", "export", "--as", "pairs")
    assert (code, out) == (0, "") and "no feedback yet" in err
    code, out, _ = rag("feedback", "export", "--json")
    assert code == 0 and (json.loads(out)["form"], json.loads(out)["rows"]) == ("eval", [])
    assert not (home / "feedback").exists()


def test_accepting_quotes_one_by_one_asks_which_of_them_answers(
    index: Index, home: Path, rag: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent.load("interview", index=index, model="extractive", settings=load_settings())
    answer = agent.ask("RNN 和注意力有什么缺点，点积的方差呢？")
    assert len(answer.citations) > 1
    answer.feedback("good")
    typed = io.StringIO("a\n1\n")
    typed.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", typed)
    code, out, _ = rag("feedback", "review")
    assert code == 0 and "Numbers of those that answer" in out
    [item] = FeedbackStore(home).items()
    assert (item.status, [place.file for place in item.gold]) == ("fixed", [answer.passages[0].document])
