"""Verdicts on single sentences, for any answer and any passages."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ragkit
from ragkit import verify
from ragkit.citations.entailment import ChatEntailment, Entailment
from ragkit.citations.evidence import Passage
from ragkit.citations.verdicts import Verdict
from ragkit.errors import ModelError, UsageError
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import make_document

LSTM = "# LSTM\n\nLSTM 有三个门。遗忘门决定丢弃哪些记忆，不改变输出。它由 Hochreiter 于 1997 年提出，隐藏维度常取 512。"
ROPE = "RoPE 只作用在 Q 和 K 上，不作用在 V 上，而且每一层都要做。"
ZERO = "ZeRO-3 splits parameters, gradients and optimizer states over 8 GPUs. It increases communication by 50%."
PASSAGES = [LSTM, ROPE, ZERO]


def one(answer: str, passages: list[str] | None = None) -> Verdict:
    [verdict] = verify(answer, passages or PASSAGES)
    return verdict


@pytest.mark.parametrize(
    ("answer", "verdict", "sources", "kinds"),
    [
        ("遗忘门决定丢弃哪些记忆[1]。", "supported", (1,), set()),
        ("它由 Hochreiter 于 1998 年提出[1]。", "partly", (1,), {"number"}),
        ("隐藏维度常取 ５１２[1]。", "supported", (1,), set()),
        ("LSTM 有五个门[1]。", "partly", (1,), {"number"}),
        ("它由 Schmidhuber 于 1997 年提出[1]。", "partly", (1,), {"name"}),
        ("遗忘门决定丢弃哪些记忆，改变输出[1]。", "unsupported", (1,), {"negation"}),
        ("RoPE 只作用在 Q 和 K 上，而且每一层都要做[1]。", "misattributed", (2,), {"moved"}),
        ("RoPE 只作用在 Q 和 K 上，而且每一层都要做。", "supported", (2,), set()),
        ("香蕉富含钾元素，适合早餐食用[1]。", "unsupported", (), {"absent"}),
        ("遗忘门决定丢弃哪些记忆，而且 RoPE 只作用在 Q 和 K 上[1]。", "stitched", (1, 2), {"pieces"}),
        ("ZeRO-3 splits parameters over 16 GPUs [3].", "partly", (3,), {"number"}),
        ("It decreases communication by 50% [3].", "unsupported", (3,), {"opposite"}),
        ("It increases communication by 50 GB [3].", "partly", (3,), {"unit"}),
        ("ZeRO-3 does not split parameters, gradients and optimizer states [3].", "unsupported", (3,), {"negation"}),
    ],
)
def test_verdicts(answer: str, verdict: str, sources: tuple[int, ...], kinds: set[str]) -> None:
    found = one(answer)
    assert (found.verdict, found.sources) == (verdict, sources)
    assert {reason.kind for reason in found.reasons} == kinds


GATES = """## LSTM

| 门 | 作用 |
|---|---|
| 遗忘门 | 决定旧记忆保留多少 |
| 输入门 | 决定候选信息写入多少 |
| 输出门 | 决定细胞状态有多少暴露 |"""
FEWER = "## GRU\n\nCho 等（2014）提出，把 LSTM 的三门简化为两门。"


@pytest.mark.parametrize(
    "answer", ["LSTM 有三个门：遗忘门、输入门和输出门[1]。", "LSTM 的门有输入门、遗忘门和输出门[1]。"]
)
def test_rows_of_a_table_are_about_what_the_heading_above_them_names(answer: str) -> None:
    chunks = [chunk_document(make_document(f"{i}.md", text))[0] for i, text in enumerate((GATES, FEWER))]
    [found] = verify(answer, chunks)
    assert (found.verdict, found.sources) == ("supported", (1,))


@pytest.mark.parametrize(
    ("answer", "items"),
    [
        ("LSTM 有**两个**门：遗忘门、输入门和输出门[1]。", 3),
        ("要看的是遗忘门、输入门、输出门两个[1]。", 3),
        ("LSTM 有三个门：遗忘门和输入门、输出门[1]。", 0),  # two or three
        ("LSTM 有两个门：遗忘门、输入门、输出门等[1]。", 0),
        ("LSTM 有三个门：遗忘门、输入门和输出门[1]。", 0),
        ("An LSTM has four gates: forget, input and output [1].", 3),
        ("An LSTM has three gates: forget, input, and output [1].", 0),
        ("遗忘门、输入门、输出门三个[1]。", 0),
        ("全院有院士1名、学者6名、重点学科9个，很有名[1]。", 0),
    ],
)
def test_a_count_that_the_sentence_belies_itself(answer: str, items: int) -> None:
    [found] = verify(answer, [answer.replace("[1]", "")])
    said = [reason.text for reason in found.reasons if "itself lists" in reason.text]
    assert [text.rsplit(" ", 1)[1] for text in said] == ([str(items)] if items else [])
    assert found.verdict == ("partly" if items else "supported")


def test_a_large_count_in_words_must_stand_in_the_source() -> None:
    lines = "交换顺序各评一次，结果不一致记平局；模型甲、模型乙、模型丙都要评。"
    assert one("交换三份答案的顺序各评一次，结果不一致记平局[1]。", [lines]).verdict == "supported"
    assert [r.kind for r in one("交换八份答案的顺序各评一次，结果不一致记平局[1]。", [lines]).reasons] == ["number"]


def test_a_reason_says_what_the_source_says() -> None:
    assert [r.text for r in one("它由 Hochreiter 于 1998 年提出[1]。").reasons] == ["number 1998: the source says 1997"]
    assert [r.text for r in one("RoPE 只作用在 Q 和 K 上，而且每一层都要做[1]。").reasons] == [
        "passage 2 says it, not 1"
    ]


def test_both_places_of_what_was_stitched_are_shown() -> None:
    found = one("遗忘门决定丢弃哪些记忆，而且 RoPE 只作用在 Q 和 K 上[1]。")
    assert [span.passage for span in found.spans] == [1, 2]


@pytest.mark.parametrize(
    ("answer", "source"),
    [
        ("LoRA冻结预训练权重，只训练两个低秩矩阵。[1]", "LoRA 冻结预训练权重，只训练两个低秩矩阵。"),
        ("KV缓存随着上下文增长。[1]", "KV 缓存随着上下文增长。"),
    ],
)
def test_a_space_between_latin_and_chinese_makes_no_difference(answer: str, source: str) -> None:
    there, back = verify(answer, [source]), verify(source.removesuffix("。") + "。[1]", [answer.removesuffix("[1]")])
    assert [v.verdict for v in (*there, *back)] == ["supported", "supported"]
    assert [v.share for v in (*there, *back)] == [1.0, 1.0]


def test_a_changed_number_behind_latin_letters_is_seen() -> None:
    (found,) = verify("LoRA训练三个低秩矩阵。[1]", ["LoRA训练两个低秩矩阵。"])
    assert found.verdict != "supported" and {reason.kind for reason in found.reasons} == {"number"}


def test_words_in_quotation_marks_must_stand_in_a_source() -> None:
    assert one("笔记说“遗忘门决定丢弃哪些记忆”[1]。").ok
    assert {r.kind for r in one("笔记说“遗忘门丢弃的是哪些记忆呢”，遗忘门决定丢弃哪些记忆[1]。").reasons} == {"quote"}


def test_a_source_in_another_language_is_undecided_and_its_numbers_are_compared() -> None:
    found = one("ZeRO-3 把参数切到 8 张卡上[3]。")
    assert (found.verdict, found.decided) == ("partly", False)
    assert one("这种做法把参数和梯度切到 32 张卡上[3]。").verdict == "unsupported"


def test_headings_code_and_announcements_get_no_verdict() -> None:
    text = "# 结论\n有两点：\n```\nx = a[1]\n```\n遗忘门决定丢弃哪些记忆。[1]"
    assert [v.sentence for v in verify(text, PASSAGES)] == ["遗忘门决定丢弃哪些记忆。"]


def test_a_marker_at_the_end_of_a_line_covers_the_line() -> None:
    assert [v.markers for v in verify("遗忘门决定丢弃哪些记忆。LSTM 有三个门。[1]", PASSAGES)] == [(1,), (1,)]


class Duck:
    def __init__(self) -> None:
        self.page_content = LSTM
        self.metadata = {"source": "a.md", "start_index": 10}


@pytest.mark.parametrize(
    "passage",
    [
        LSTM,
        {"text": LSTM},
        {"content": LSTM, "heading": "LSTM"},
        {"page_content": LSTM, "heading": ["a", "b"]},
        Passage(text=LSTM),
        chunk_document(make_document("a.md", LSTM))[0],
        Duck(),
    ],
)
def test_passages_of_many_kinds(passage: object) -> None:
    [found] = verify("遗忘门决定丢弃哪些记忆[1]。", [passage])
    assert found.verdict == "supported"


def test_offsets_count_from_the_start_of_the_passage() -> None:
    [found] = verify("LSTM 有三个门[1]。", [{"text": LSTM, "document": "a.md", "start": 100, "start_line": 7}])
    [span] = found.spans
    assert (span.document, span.start_line, span.quote) == ("a.md", 9, "LSTM 有三个门。")
    assert LSTM[span.start - 100 : span.end - 100] == span.quote


@pytest.mark.parametrize("passage", [7, None, {"body": "x"}, {"text": 3}])
def test_what_has_no_text_is_refused_with_its_number(passage: object) -> None:
    with pytest.raises(UsageError, match=r"Passage 2 is a .* without text"):
        verify("x", ["a", passage])


def test_without_passages_everything_is_unsupported_and_nothing_fails() -> None:
    assert one("遗忘门决定丢弃哪些记忆[1]。", [""]).verdict == "unsupported"
    assert [v.verdict for v in verify("遗忘门决定丢弃哪些记忆[1]。", [])] == ["unsupported"]
    assert verify("", PASSAGES) == []


def test_a_verdict_is_frozen_and_public() -> None:
    found = one("LSTM 有三个门[1]。")
    assert isinstance(found, ragkit.Verdict)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.verdict = "partly"  # type: ignore[misc]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.lists(st.text(max_size=60), max_size=3))
def test_any_text_gets_verdicts_whose_spans_are_verbatim(answer: str, passages: list[str]) -> None:
    for found in verify(answer, passages):
        assert all(1 <= n <= len(passages) for n in (*found.markers, *found.sources))
        for span in found.spans:
            assert passages[span.passage - 1][span.start : span.end] == span.quote


class Judge:
    def __init__(self, *says: Entailment | Exception, seconds: float = 0.0) -> None:
        self.says = list(says)
        self.seconds = seconds
        self.asked: list[str] = []

    def __call__(self, premise: str, claim: str) -> Entailment:
        self.asked.append(claim)
        time.sleep(self.seconds)
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


ACROSS = "ZeRO-3 把参数切到 8 张卡上[3]。"


@pytest.mark.parametrize(
    ("said", "verdict"), [("entails", "supported"), ("contradicts", "unsupported"), ("neither", "partly")]
)
def test_the_judge_settles_what_is_undecided(said: Entailment, verdict: str) -> None:
    [found] = verify(ACROSS, PASSAGES, judge=Judge(said))
    assert (found.verdict, found.decided, found.reasons[-1].kind) == (verdict, True, "judge")


def test_the_judge_is_not_asked_about_what_is_decided_and_cannot_find_a_missing_number() -> None:
    judge = Judge("entails")
    [_, missing] = verify("遗忘门决定丢弃哪些记忆[1]。\n这种做法把参数切到 32 张卡上[3]。", PASSAGES, judge=judge)
    assert judge.asked == ["这种做法把参数切到 32 张卡上。"]
    assert missing.verdict == "unsupported"


def test_a_judge_that_fails_leaves_verdict_and_citation() -> None:
    [found] = verify(ACROSS, PASSAGES, judge=Judge(ModelError("no", "")))
    assert (found.verdict, found.sources, found.decided) == ("partly", (3,), False)


def test_a_judge_that_hangs_loses_no_citation() -> None:
    gate = threading.Event()

    def hangs(premise: str, claim: str) -> Entailment:
        gate.wait(20)
        return "contradicts"

    began = time.monotonic()
    found = verify(f"{ACROSS}\n它切分优化器状态[3]。", PASSAGES, judge=hangs, seconds=0.2)
    gate.set()
    assert time.monotonic() - began < 5
    assert [(v.verdict, v.sources) for v in found] == [("partly", (3,))] * 2


def test_a_chat_model_as_the_judge_gets_source_and_claim_as_data() -> None:
    class Model:
        def complete_json(self, system: str, user: str, schema: object, max_tokens: int = 0) -> dict[str, object]:
            self.user = user
            return {"verdict": self.says}

        says = "entails"

    model = Model()
    assert ChatEntailment(model)('he said "yes"', "x") == "entails"  # type: ignore[arg-type]
    assert model.user == '{"source": "he said \\"yes\\"", "claim": "x"}'
    model.says = "perhaps"
    with pytest.raises(ModelError, match="perhaps"):
        ChatEntailment(model)("a", "b")  # type: ignore[arg-type]


TABLE = "| 门 | 作用 |\n|---|:--|\n| 遗忘门 | 决定旧记忆保留多少[1] |\n| 输入门 | 决定候选信息写入多少[1] |"


@pytest.mark.parametrize(
    ("answer", "judged"),
    [
        (f"以下是各个门的作用[1]：\n\n{TABLE}", 2),
        ("Here are the gates [1]:\n\n- 遗忘门决定旧记忆保留多少[1]", 1),
        ("**Key Differences:**\n- 遗忘门决定旧记忆保留多少[1]", 1),
        ("Hello! 遗忘门决定旧记忆保留多少[1]。\n\nI hope this helps! Let me know if you have any questions.", 1),
        ("当然可以！遗忘门决定旧记忆保留多少[1]。希望这对你有帮助！", 1),
        ("有两种：\n1. 遗忘门决定旧记忆保留多少[1]\n2. 输入门决定候选信息写入多少[1]", 2),
    ],
)
def test_what_only_frames_an_answer_gets_no_verdict(answer: str, judged: int) -> None:
    found = verify(answer, [GATES])
    assert [verdict.verdict for verdict in found] == ["supported"] * judged


@pytest.mark.parametrize(
    "frame",
    [
        "Jürgen Schmidhuber proposed these in 1997:",
        "The GRU of Kyunghyun Cho has these:",
        "It runs in 5 minutes with these:",
        "有七种：",
        "I hope this helps you with the GRU of 2014.",
    ],
)
def test_a_frame_that_states_a_fact_of_its_own_is_judged(frame: str) -> None:
    found = verify(f"{frame}\n- 遗忘门决定旧记忆保留多少[1]\n- 输入门决定候选信息写入多少[1]", [GATES])
    assert [(verdict.sentence, verdict.ok) for verdict in found[:1]] == [(frame, False)] and len(found) == 3


def test_a_head_of_a_table_that_names_what_no_source_has_is_judged() -> None:
    found = verify("| LSTM | GPT-4 |\n|---|---|\n| 遗忘门 | 决定旧记忆保留多少[1] |", [GATES])
    assert [verdict.verdict for verdict in found] == ["unsupported", "supported"]
