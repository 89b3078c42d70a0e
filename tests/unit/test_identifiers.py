"""Rare exact identifiers of a question: which terms are some, what they count as, and what that does to a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from ragkit.api import Index
from ragkit.index.bm25 import lucene_idf
from ragkit.index.engine import Engine
from ragkit.models.embeddings import ModelIdentity, Vectors
from ragkit.retrieval.identifiers import SHARE, identifier_bonus, is_identifier
from ragkit.settings import Settings
from ragkit.text.tokens import query_terms

CHUNKS = 100


class Terms:
    """An engine of 100 chunks of which some have terms."""

    def __init__(self, held: Mapping[int, str]) -> None:
        self._held = {ordinal: set(query_terms(text)) for ordinal, text in held.items()}
        self.asked: list[str] = []

    def __len__(self) -> int:
        return CHUNKS

    def _df(self, term: str) -> int:
        return sum(term in terms for terms in self._held.values())

    def knows(self, term: str) -> bool:
        return self._df(term) > 0

    def idf(self, term: str) -> float:
        return lucene_idf(self._df(term), CHUNKS)

    def coverage(self, terms: Sequence[str], ordinals: Sequence[int]) -> list[float]:
        self.asked += terms
        total = sum(map(self.idf, terms))
        return [sum(self.idf(t) for t in terms if t in self._held.get(at, ())) / total for at in ordinals]


def bonus(held: Mapping[int, str], question: str, ordinals: Sequence[int] = (0, 1)) -> dict[int, float]:
    return identifier_bonus(cast(Engine, Terms(held)), query_terms(question), ordinals)


def counted(held: Mapping[int, str], question: str, ordinals: Sequence[int] = (0, 1)) -> dict[int, float]:
    """Coverage with the bonus."""
    shares = zip(ordinals, Terms(held).coverage(query_terms(question), ordinals), strict=True)
    more = bonus(held, question, ordinals)
    return {ordinal: share + more.get(ordinal, 0.0) for ordinal, share in shares}


@pytest.mark.parametrize(
    "term",
    "0x3fa2b1 iter_row err_timeout kn-4711x e4711 88231907 12345 gpt-4o e29b utf8 v1.2.3".split(),
)
def test_codes_names_in_source_and_record_numbers_are_identifiers(term: str) -> None:
    assert is_identifier(term)


@pytest.mark.parametrize(
    "term",
    "transform state-of-the-art don't 2024 10000 100000 2024-05-06 3.14159 16gb 1.7b 250ms 1990s 19th 7b b2 订单 单 "
    "привет 한국어".split(),
)
def test_words_years_round_numbers_and_quantities_are_none(term: str) -> None:
    assert not is_identifier(term)


def test_an_identifier_counts_by_its_rarity_whatever_else_the_question_says() -> None:
    rarity = lucene_idf(1, CHUNKS) / lucene_idf(0, CHUNKS)
    found = counted({0: "档案 88231907 在此", 1: "别的档案"}, "Where does the archive keep what is filed as 88231907?")
    assert found == pytest.approx({0: SHARE * rarity, 1: 0.0})


def test_what_a_chunk_covers_of_the_other_terms_comes_on_top() -> None:
    held = {0: "the archive keeps 88231907", 1: "88231907"}
    question = "Where does the archive keep what somebody filed as 88231907 years ago?"
    found, terms = counted(held, question), query_terms(question)
    mass = {term: Terms(held).idf(term) for term in terms}
    others = (mass["archiv"] + mass["keep"]) / sum(mass.values())
    assert found[0] - found[1] == pytest.approx(others)


def test_where_the_identifiers_are_most_of_the_question_nothing_is_added() -> None:
    assert bonus({0: "档案 88231907"}, "88231907 ?") == {0: 0.0, 1: 0.0}


def test_where_the_notes_hold_every_word_of_the_question_nothing_is_added() -> None:
    held = {0: "the archive keeps 88231907 in the cellar", 1: "the archive keeps what somebody filed years ago"}
    assert bonus(held, "Where did the archive keep 88231907, filed years ago?") == pytest.approx({0: 0.0, 1: 0.0})


def test_an_identifier_that_no_chunk_holds_says_nothing() -> None:
    assert bonus({0: "档案 88231907"}, "88231908") == {}
    both = counted({0: "档案 88231907"}, "Where is 88231907 or 88231908 kept today and why not elsewhere?")
    assert both == pytest.approx({0: SHARE * lucene_idf(1, CHUNKS) / lucene_idf(0, CHUNKS), 1: 0.0})


def test_of_two_identifiers_a_chunk_with_one_gets_its_share() -> None:
    held, terms = {0: "err_timeout 88231907", 1: "88231907"}, query_terms("err_timeout 88231907")
    found = counted(held, "Where might err_timeout 88231907 possibly come from, and what stops such surprising things?")
    mass = {term: Terms(held).idf(term) for term in terms if is_identifier(term)}
    least = SHARE * max(mass.values()) / lucene_idf(0, CHUNKS)
    assert found[1] == pytest.approx(least * mass["88231907"] / sum(mass.values()))
    assert found[0] > least


def test_an_identifier_that_stands_everywhere_adds_nothing() -> None:
    everywhere = dict.fromkeys(range(CHUNKS), "utf8")
    assert bonus(everywhere, "Where is utf8 used?")[0] < 0.01


def test_latin_names_count_where_the_notes_do_not_have_the_chinese_words() -> None:
    question = "请问伏尔泰在康迪德里批评了莱布尼茨的 Leibniz 吗"
    assert counted({0: "Leibniz wrote it", 1: "Voltaire"}, question)[0] > 0.3
    assert bonus({0: "Leibniz wrote it", 1: "伏尔泰在康迪德里批评了莱布尼茨"}, question) == {}


def test_two_chinese_characters_do_not_make_a_chinese_question() -> None:
    assert bonus({0: "Leibniz wrote it"}, "Leibniz 生平") == {}


def test_without_an_identifier_the_index_is_asked_for_nothing() -> None:
    engine = Terms({0: "archive"})
    assert identifier_bonus(cast(Engine, engine), query_terms("Where is the archive?"), [0]) == {}
    assert engine.asked == []


class Blind:
    """A model to which the other notes are nearer by 2 nats, whatever is asked: more than plain coverage gives."""

    name = "blind"
    temperature = 0.01
    relevance_floor: float | None = None
    identity = ModelIdentity("blind", "1", 2, "")

    def encode_documents(self, texts: Sequence[str], progress: Any = None) -> Vectors:
        return np.array([[0.0, 1.0] if "KN-4711x" in text else [0.02, 0.9998] for text in texts], dtype=np.float32)

    def encode_query(self, text: str) -> Vectors:
        return np.array([1.0, 0.0], dtype=np.float32)


def test_the_chunk_with_the_order_number_comes_first_though_the_question_is_in_another_language(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(8):
        (notes / f"{number}.md").write_text(f"# 记录 {number}\n\n第 {number} 批货物已经送到仓库。\n", encoding="utf-8")
    (notes / "order.md").write_text("# 订单\n\n订单 KN-4711x 因为地址有误被退回。\n", encoding="utf-8")
    settings = Settings(home=tmp_path / "home", question_centring=0.0, language_correction=0.0)
    index = Index.open(notes, tmp_path / "index", embedding=Blind(), settings=settings)
    question = "My customer asks what on earth happened with the shipment of his order KN-4711x last week"
    best = index.search(question, k=1)[0]
    assert best.document == "order.md"
    # What the hit shows is what it covers of the question, as ever.
    assert best.coverage < 0.25
    index.close()
