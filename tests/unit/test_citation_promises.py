"""Promises C1 and C2: every marker resolves or is gone and counted, every quote is the source's text."""

from __future__ import annotations

import os
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turn_kit import TEXTS, turn_of

from ragkit.agent.answer import Event, SentenceChecked, Token
from ragkit.agent.compose import Composed, Rules, compose
from ragkit.agent.live import LiveCheck
from ragkit.citations.contradictions import contradictions
from ragkit.citations.evidence import Evidence, Passage
from ragkit.citations.markers import parse_answer
from ragkit.citations.normal import find_quote, normalise
from ragkit.citations.verify import as_passage, verify
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import make_document

THOROUGH = bool(os.environ.get("RAGKIT_TEST_THOROUGH"))
SENTENCES = [
    "LSTM 有三个门",
    "RoPE 只作用在 Q 和 K 上",
    "ZeRO-3 splits parameters over 8 GPUs",
    "香蕉富含钾元素，适合早餐",
]
MARKERS = [
    "[0]", "[99]", "[1,2]", "[1，3]", "[１]", "［2］", "【3】", "[^1]", "[[2]]", "[-1]", "[1][2]", "[1-3]", "[2–9]", "[1", "1]", "[]", "[a]", "`a[1]`",
]  # fmt: skip


def cited_in(text: str) -> list[int]:
    return [n for sentence in parse_answer(text) for n in sentence.markers]


def no_marker_dangles(found: Composed) -> None:
    assert set(cited_in(found.text)) == {citation.marker for citation in found.citations}
    for citation in found.citations:
        source = TEXTS[citation.marker - 1]
        assert source[citation.start : citation.end] == citation.quote


answers = st.lists(
    st.tuples(st.sampled_from(SENTENCES), st.lists(st.sampled_from(MARKERS), max_size=3), st.sampled_from(["。", ". ", "\n"])),
    min_size=1, max_size=5,
).map(lambda parts: "".join(f"{text}{''.join(marks)}{end}" for text, marks, end in parts))  # fmt: skip


@settings(max_examples=1000 if THOROUGH else 120, deadline=None)
@given(answers)
def test_every_marker_resolves_or_is_gone_and_counted(written: str) -> None:
    found = compose(turn_of(TEXTS), written, None)
    no_marker_dangles(found)
    said = {s.text: s.markers for s in parse_answer(written)}  # a sentence that is said again counts once
    first = {}
    for sentence in parse_answer(written):
        first.setdefault(sentence.text.casefold(), sentence.markers)
    assert found.unresolved <= sum(not 1 <= n <= 3 for s in parse_answer(written) for n in s.markers)
    assert said or not found.citations


@pytest.mark.parametrize(
    ("marker", "unresolved"), [("[0]", 1), ("[99]", 1), ("[-1]", 1), ("[7,9]", 2), ("[1]", 0), ("【1】", 0)]
)
def test_markers_without_a_passage_are_counted(marker: str, unresolved: int) -> None:
    found = compose(turn_of(TEXTS), f"LSTM 有三个门{marker}。", None)
    assert found.unresolved == unresolved
    no_marker_dangles(found)


@settings(max_examples=400 if THOROUGH else 60, deadline=None)
@given(answers, st.randoms(use_true_random=False))
def test_streamed_in_any_pieces_the_same_sentences_get_the_same_verdicts(written: str, pick: random.Random) -> None:
    def streamed(pieces: list[str]) -> tuple[str, list[tuple[str, str, tuple[int, ...]]]]:
        events: list[Event] = []
        live = LiveCheck(turn_of(TEXTS), events.append)
        for piece in pieces:
            live.feed(piece)
        live.flush()
        shown = "".join(event.text for event in events if isinstance(event, Token))
        checked = [e.verdict for e in events if isinstance(e, SentenceChecked)]
        return shown, [(v.sentence, v.verdict, v.sources) for v in checked]

    whole = streamed([written])
    cuts = sorted(pick.sample(range(len(written) + 1), min(len(written), pick.randint(0, 8))))
    pieces = [written[a:b] for a, b in zip([0, *cuts], [*cuts, len(written)], strict=True)]
    assert streamed(pieces) == whole
    assert all(1 <= n <= len(TEXTS) for n in cited_in(whole[0])), "a marker was shown before it was verified"


def test_a_sentence_is_shown_when_it_is_complete_and_its_mark_when_it_is_verified() -> None:
    events: list[Event] = []
    live = LiveCheck(turn_of(TEXTS), events.append)
    for piece in ("LSTM 有", "三个门。", "[1]", "香蕉富含钾"):
        live.feed(piece)
    assert [type(event).__name__ for event in events] == ["Token", "SentenceChecked", "Token"]
    assert [event.text for event in events if isinstance(event, Token)] == ["LSTM 有三个门。", "[1]"]


def test_what_fails_is_never_dropped_silently() -> None:
    written = "LSTM 有三个门[1]。香蕉富含钾元素，适合早餐[2]。"
    taken_out = compose(turn_of(TEXTS), written, None)
    assert "香蕉" not in taken_out.text
    assert [(r.sentence, r.reason) for r in taken_out.removed] == [("香蕉富含钾元素，适合早餐。", "no passage says it")]
    struck = compose(turn_of(TEXTS), written, None, rules=Rules(strike=True))
    assert struck.text == "LSTM 有三个门。[1] ~~香蕉富含钾元素，适合早餐。~~ (no passage says it)"
    assert struck.removed == taken_out.removed


def test_what_is_kept_is_put_together_again_with_its_code() -> None:
    written = "三个门如下：\n\n```python\ngates = 3\n```\n\nLSTM 有三个门[1]。香蕉富含钾元素，适合早餐[2]。"
    first = compose(turn_of(TEXTS), written, None)
    again = compose(turn_of(TEXTS), "", [*first.kept, ("RoPE 只作用在 Q 和 K 上。", [2])])
    assert "```python\ngates = 3\n```" in again.text and again.text.startswith("三个门如下：")
    assert again.text.startswith(first.text) and again.text.endswith("RoPE 只作用在 Q 和 K 上。[2]")


def test_a_marker_that_was_moved_says_so() -> None:
    found = compose(turn_of(TEXTS), "RoPE 只作用在 Q 和 K 上[1]。", None)
    assert [(c.marker, c.verdict) for c in found.citations] == [(2, "misattributed")]
    assert found.verdicts[0].markers == (1,)


AGREE = "BERT-base 有 12 层编码器，隐藏维度是 768，一共 110M 参数。"


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ("BERT-base 有 24 层编码器，隐藏维度是 768，一共 110M 参数。", True),
        ("BERT-base 没有 12 层编码器，隐藏维度是 768，一共 110M 参数。", True),
        ("BERT-large 有 24 层编码器，隐藏维度是 1024，一共 340M 参数。", False),
        ("BERT-base 有 12 层编码器，隐藏维度是 768，一共 110M 参数。", False),
        ("RoPE 只作用在 Q 和 K 上，不作用在 V 上。", False),
    ],
)
def test_what_the_notes_contradict_is_shown_with_both_citations(other: str, told: bool) -> None:
    found = compose(turn_of([AGREE, other], "BERT-base 有几层？"), "BERT-base 有 12 层编码器[1]。", None)
    assert ("笔记之间有矛盾" in found.text) is told
    assert {c.marker for c in found.citations} == ({1, 2} if told else {1})
    assert set(cited_in(found.text)) == {c.marker for c in found.citations}


def test_contradictions_name_both_lines() -> None:
    evidence = Evidence([Passage(text=AGREE), Passage(text=AGREE.replace("12", "24"), start=50)])
    [verdict] = verify("BERT-base 有 12 层编码器[1]。", evidence.passages)
    [found] = contradictions(evidence, verdict.spans)
    assert (found.first.passage, found.second.passage, found.second.start) == (1, 2, 50)
    assert found.reason.text == "number 12: the source says 24"


ALPHABET = "甲乙丙LSTMab１２ＡＢ①ﬁé\u0301\u200b\u3000 \t\n\r🙂👩\u200d👧。，.,!()«»"


@pytest.mark.parametrize("kind", ["zh", "en", "mixed", "crlf", "any"])
def test_offsets_of_random_spans_give_their_text(kind: str) -> None:
    """C2: 2,000 spans of each kind, 10,000 in all."""
    pick = random.Random(kind)
    for _ in range(2000):
        pool = {"zh": "遗忘门决定丢弃哪些记忆。，\n", "en": "the forget gate decides. \n", "crlf": "甲a\r\n 乙b"}.get(
            kind, ALPHABET
        )
        text = "".join(pick.choices(pool, k=pick.randint(1, 60)))
        document = make_document("a.md", text)
        source = document.text
        if not source:
            continue
        start = pick.randrange(len(source))
        end = pick.randrange(start, len(source)) + 1
        quote = source[start:end]
        place = find_quote(quote, source)
        if not normalise(quote).text:
            continue
        assert place is not None, (quote, source)
        assert normalise(source[place[0] : place[1]]).text == normalise(quote).text


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("用BM25检索", "用 ＢＭ２５ 检索"),
        ("用 BM25  检索", "用 ＢＭ２５ 检索"),
        ("cafe\u0301 bar", "café\u200b  \n bar"),
        ("bm25", None),
        ("", None),
        (" \u200b", None),
    ],
)
def test_a_quote_is_found_after_normalisation_and_given_back_as_it_stands(quote: str, found: str | None) -> None:
    source = "先用 ＢＭ２５ 检索，再去 café\u200b  \n bar。"
    place = find_quote(quote, source)
    assert (source[place[0] : place[1]] if place else None) == found


def test_every_span_of_a_verdict_is_a_slice_of_its_document() -> None:
    pick = random.Random(3)
    text = "\n\n".join(f"## 第 {i} 节\n\n第 {i} 个方法用 {i * 7} 步。它 see {i}🙂 twice." for i in range(40))
    document = make_document("a.md", text)
    chunks = chunk_document(document)
    for _ in range(300 if THOROUGH else 60):
        i = pick.randrange(40)
        chosen = pick.sample(chunks, min(3, len(chunks)))
        for verdict in verify(f"第 {i} 个方法用 {i * 7} 步[{pick.randint(1, 4)}]。", [as_passage(c) for c in chosen]):
            for span in verdict.spans:
                assert document.text[span.start : span.end] == span.quote
                assert span.start_line == document.text.count("\n", 0, span.start) + 1
                assert re.search(r"\S", span.quote)
