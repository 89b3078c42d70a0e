"""Passages analysed together have the tokens that each has alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.index.postings import PostingsSegment
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import make_document
from ragkit.text import bulk
from ragkit.text.bulk import bags_of, han_token
from ragkit.text.language import is_cjk
from ragkit.text.tokens import simplified_table, terms_of_run, tokenize

PIECES = [
    *"ab A1,.3B中學习国一é，ＡΣß+#-_' \n\t\0\x1b[]m;\u200b\u0301\ud800ﬁ㎏豈\U00020001\U000e0020",
    *(
        "1,024",
        "3 B",
        "3",
        " MB",
        "FlashAttention",
        "bge-small-zh-v1.5",
        "\x1b[31m",
        "\x1b]8;;",
        "Ο",
        "ΔΟΣ",
        "İ",
        "机器学习",
    ),
]
STRANGE = st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), max_size=6)


def bags(texts: list[str]) -> list[Counter[str]]:
    found = []
    for some in bags_of(texts):
        counts = [Counter(term for run in runs for term in terms_of_run(run)) for runs in some.runs]
        for passage, parts in some.camel.items():
            counts[passage].update(parts)
        for number, passage in zip(some.han.tolist(), some.passages.tolist(), strict=True):
            counts[passage][han_token(number)] += 1
        found += counts
    return found


@given(STRANGE)
@settings(max_examples=400, deadline=None)
def test_any_passages_side_by_side_have_the_tokens_of_each_alone(texts: list[str]) -> None:
    assert bags(texts) == [Counter(tokenize(text)) for text in texts]


@pytest.mark.parametrize("batch", [1, 2000, 1 << 19])
def test_postings_of_texts_are_those_of_their_tokens_to_the_byte(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_BATCH", batch)
    notes = sorted((Path(__file__).parents[2] / "corpora").rglob("*.md"))[:12]
    documents = [make_document(path.name, path.read_text(encoding="utf-8")) for path in notes]
    texts = [chunk.search_text for document in documents for chunk in chunk_document(document)] + ["", "\n"]
    assert len(texts) > 50
    one, other = PostingsSegment.build(map(tokenize, texts)), PostingsSegment.of_texts(iter(texts))
    for name, array in vars(one).items():
        if isinstance(array, np.ndarray):
            assert array.dtype == getattr(other, name).dtype, name
            assert np.array_equal(array, getattr(other, name)), name
    assert one.chunk_tokens() == other.chunk_tokens()


def test_no_text_gives_no_postings() -> None:
    assert len(PostingsSegment.of_texts([])) == 0
    assert PostingsSegment.of_texts(["", "的"]).lengths.tolist() == [0, 1]


def test_traditional_characters_become_han_characters() -> None:
    # A word character among them would have to reach the words.
    assert all(map(is_cjk, simplified_table().values()))
