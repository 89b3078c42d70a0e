"""The bundled embedding model over a small bilingual folder: each language finds the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ragkit.api import Index
from ragkit.models.embeddings import BundledE5Model

NOTES = {
    "zh/cache.md": "# 缓存\n\n推理时把已经算过的键和值保存下来，生成下一个词元时不必重算，代价是显存随长度增长。\n",
    "zh/dropout.md": "# 丢弃法\n\n训练时随机让一部分神经元不参与计算，可以防止网络死记硬背训练数据。\n",
    "zh/tea.md": "# 泡茶\n\n绿茶要用八十度左右的水冲泡，水太烫会把嫩叶烫熟，茶汤发苦。\n",
    "zh/train.md": "# 火车\n\n春节前后的火车票很难买，最好提前十五天在网上预订。\n",
    "en/bees.md": "# Bees\n\nWorker bees tell each other where flowers are by dancing on the comb in the hive.\n",
    "en/bread.md": "# Bread\n\nSourdough rises slowly because wild yeast is less active than the yeast from a shop.\n",
    "en/git.md": "# Version control\n\nA merge conflict appears when two branches change the same lines of a file.\n",
    "en/vaccine.md": "# Vaccines\n\nA vaccine shows the immune system a harmless part of a germ, so that it is prepared.\n",
}
ACROSS = {
    "蜜蜂怎么告诉同伴花在哪里？": "en/bees.md",
    "合并冲突是怎么产生的？": "en/git.md",
    "疫苗是怎样起作用的？": "en/vaccine.md",
    "How hot should water be for green tea?": "zh/tea.md",
    "How can I get a railway ticket for the Spring Festival?": "zh/train.md",
    "Why switch off neurons at random while training?": "zh/dropout.md",
}
WITHIN = {
    "绿茶用多少度的水？": "zh/tea.md",
    "为什么要保存键和值？": "zh/cache.md",
    "Why does sourdough rise slowly?": "en/bread.md",
    "When do merge conflicts appear?": "en/git.md",
}


@pytest.fixture(scope="module")
def index(bundled_e5: BundledE5Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    root = tmp_path_factory.mktemp("bilingual")
    for name, text in NOTES.items():
        (root / "notes" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "notes" / name).write_text(text, encoding="utf-8")
    index = Index.open(root / "notes", root / "index", embedding=bundled_e5)
    yield index
    index.close()


@pytest.mark.parametrize(("question", "document"), ACROSS.items())
def test_a_question_finds_the_note_in_the_other_language(index: Index, question: str, document: str) -> None:
    assert index.search(question, k=1)[0].document == document


@pytest.mark.parametrize(("question", "document"), WITHIN.items())
def test_a_question_finds_the_note_in_its_own_language(index: Index, question: str, document: str) -> None:
    assert index.search(question, k=1)[0].document == document


@pytest.mark.parametrize(("question", "document"), WITHIN.items())
def test_the_sparse_leg_alone_finds_the_note_that_shares_the_words(index: Index, question: str, document: str) -> None:
    assert index.search(question, k=1, mode="sparse")[0].document == document


def test_the_sparse_leg_alone_finds_nothing_across_languages(index: Index) -> None:
    assert index.search("Why does sourdough rise slowly?", k=8, mode="sparse")[0].legs["dense"] is None
    assert "zh/tea.md" not in {hit.document for hit in index.search("How hot should green tea be?", k=8, mode="sparse")}


def test_the_index_remembers_the_bundled_model(index: Index, bundled_e5: BundledE5Model) -> None:
    assert index.manifest["model"] == bundled_e5.name == "multilingual-e5-small-q4"


def test_an_english_word_inside_a_chinese_question_finds_its_note(index: Index) -> None:
    assert index.search("sourdough 为什么发得慢？", k=1)[0].document == "en/bread.md"
