"""Filters in both legs, changes without a scan of all notes, and one search over several indexes."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import pytest
from index_kit import NOTES, QUERIES, open_and_ask, segments, write

from ragkit.agent.runtime import Agent
from ragkit.api import Index
from ragkit.errors import IngestError, UsageError
from ragkit.index.engine import Filter
from ragkit.index.store import tags_of
from ragkit.ingest.loader import make_document
from ragkit.retrieval.rerank import RERANKED
from ragkit.retrieval.retriever import MODES, Query
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder
from ragkit.values import Hit

TAGGED = {
    "work/plan.md": "---\ntags: [Plan, 训练]\n---\n# 计划\n\n## LSTM 训练\n\n训练 LSTM 的计划，注意力放在数据上。\n",
    "work/log.md": "---\ntags: log\n---\n# Log\n\nTrained the low-rank matrices of LoRA, no zebra seen.\n",
    "[odd]*.md": "# Odd\n\nA note with an odd name about low-rank matrices and LSTM 训练。\n",
}
FILTERS = (
    Filter(documents=("work/*",)),
    Filter(documents=("rnn.md", "deep/*")),
    Filter(documents=("nothing.md",)),
    Filter(documents=("[[]odd]*",)),
    Filter(heading="lstm"),
    Filter(heading="缺点"),
    Filter(tags=("PLAN",)),
    Filter(tags=("#plan",)),
    Filter(tags=("log", "训练")),
    Filter(language="zh"),
    Filter(language="other"),
    Filter(documents=("work/*",), language="zh", tags=("plan",), heading="计划"),
)


@pytest.fixture
def index(notes: Path, folder: Path) -> Index:
    """Two segments and a tombstone."""
    index = Index.open(write(notes, TAGGED), folder, embedding=HashingEmbedder())
    index.add_documents([make_document("rnn.md", NOTES["rnn.md"] + "\n## 更多\n\n再说一句 LSTM。\n")])
    assert len(segments(folder)) == 2
    return index


@pytest.mark.parametrize("where", FILTERS, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_a_filtered_search_finds_what_a_search_without_finds_of_those(index: Index, where: Filter, mode: str) -> None:
    def fits(document: str, chunk: object) -> bool:
        found = index.document(document)
        assert found is not None
        return where.matches(chunk, tags_of(found.metadata))  # type: ignore[arg-type]

    for query in QUERIES:
        everything = index.search(query, k=100, mode="dense" if mode == "dense" else "sparse")
        wanted = [(h.chunk, h.score) for h in everything if fits(h.document, h.chunk)]
        hits = index.search(query, k=100, mode=mode, where=where)  # type: ignore[arg-type]
        assert all(fits(hit.document, hit.chunk) for hit in hits)
        if mode != "hybrid":
            assert [(h.chunk, h.score) for h in hits] == wanted
            few = index.search(query, k=1, mode=mode, where=where)  # type: ignore[arg-type]
            assert [(h.chunk, h.score) for h in few] == wanted[:1]


def test_a_filter_follows_changes(index: Index) -> None:
    only = Filter(documents=("work/*",))
    assert index.search("训练 low-rank", where=only)
    index.remove("work/*")
    assert index.search("训练 low-rank", where=only) == []
    index.add_documents([make_document("work/new.md", "训练")])
    assert [hit.document for hit in index.search("训练", where=only)] == ["work/new.md"]


def test_a_path_with_signs_of_a_pattern_names_its_own_document(notes: Path, folder: Path) -> None:
    write(notes, {"notes[1].md": "A zebra.", "notes1.md": "Another zebra."})
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    assert {h.document for h in index.search("zebra", where=Filter(documents=("notes[1].md",)))} == {
        "notes[1].md",
        "notes1.md",
    }, "it is a pattern, too"
    index.remove("notes1.md")
    assert [h.document for h in index.search("zebra", where=Filter(documents=("notes[1].md",)))] == ["notes[1].md"]


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
@pytest.mark.parametrize("pattern", ["r\u00e9sum\u00e9.md", "r\u00e9s*"])
def test_an_accent_is_the_same_however_a_path_spells_it(stored: str, asked: str, pattern: str, folder: Path) -> None:
    document = make_document(normalize(stored, "r\u00e9sum\u00e9.md"), "A zebra.")
    index = Index.from_documents([document], folder, embedding=HashingEmbedder())
    where = Filter(documents=(normalize(asked, pattern),))
    assert [hit.document for hit in index.search("zebra", where=where)] == [document.path]
    index.remove(normalize(asked, pattern))
    assert len(index) == 0


def test_a_lone_text_is_one_condition_and_any_sequence_is_taken() -> None:
    assert Filter(documents="b.md", tags="nlp") == Filter(documents=("b.md",), tags=("nlp",))  # type: ignore[arg-type]
    assert hash(Filter(documents=["b.md"])) == hash(Filter(documents=("b.md",)))  # type: ignore[arg-type]
    assert Filter(tags=("#nlp", "#")) == Filter(tags=("nlp", "#"))
    assert not Filter(documents="", tags=[])  # type: ignore[arg-type]


def test_english_is_what_is_not_chinese(index: Index) -> None:
    assert Filter(language="en") == Filter(language="other")
    assert index.search("LSTM", where=Filter(language="en")) == index.search("LSTM", where=Filter(language="other"))


@pytest.mark.parametrize(
    "where",
    [{"language": "de"}, {"documents": 1}, {"tags": [1]}, {"heading": ["a"]}, {"language": ["zh"]}, {"tag": "nlp"}, 3],
)
def test_a_filter_that_cannot_be_meant_is_wrong_usage(where: object, index: Index) -> None:
    with pytest.raises(UsageError):
        index.search("LSTM", where=where)  # type: ignore[arg-type]


def test_conditions_by_name_are_a_filter(index: Index) -> None:
    assert index.search("LSTM", where={"tags": ["plan"], "language": "zh"}) == index.search(
        "LSTM", where=Filter(tags=("plan",), language="zh")
    )
    with pytest.raises(UsageError, match="zh, en, other"):
        index.search("LSTM", where={"language": "fr"})
    with pytest.raises(UsageError, match="documents, heading, tags, language"):
        index.search("LSTM", where={"tag": "plan"})


# ---------------------------------------------------------------- changes without a scan


def test_added_notes_get_the_path_that_they_have_below_the_root(notes: Path, folder: Path) -> None:
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    write(notes, {"deep/new.md": "新的笔记 GRU", "rnn.md": "换过的 LSTM 笔记", "other/a.md": "没有加进来"})
    report = index.add([notes / "deep", notes / "rnn.md"])
    assert (report.added, report.updated, report.unchanged, report.deleted, report.embedded_chunks) == (1, 1, 2, 0, 2)
    assert set(index.documents()) == {*NOTES, "deep/new.md"}
    assert "换过的" in index.search("LSTM", mode="sparse")[0].text
    embedder = HashingEmbedder()
    later = Index.open(notes, folder, embedding=embedder)
    assert later.report is not None
    assert (later.report.added, later.report.unchanged, embedder.documents_embedded) == (1, 4, 1)
    assert open_and_ask(folder) == open_and_ask(folder.with_name("fresh"), notes)


def test_a_change_is_one_commit_and_no_change_is_none(notes: Path, folder: Path) -> None:
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    seen = {index.manifest["generation"]}
    index.add(notes)
    assert {index.manifest["generation"]} == seen
    index.add_documents([make_document("a.md", "x y"), make_document("b.md", "z")])
    index.remove(["a.md", "rnn.md"])
    assert set(index.documents()) == {"attention.md", "deep/lora.md", "b.md"}
    assert index.manifest["documents"] == 3
    assert index.manifest["chunks"] == len(index)


def test_notes_outside_the_root_are_added_under_the_name_of_their_folder(
    notes: Path, folder: Path, tmp_path: Path
) -> None:
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    write(tmp_path / "else", {"x/note.md": "别处的笔记"})
    index.add(tmp_path / "else")
    assert "else/x/note.md" in index.documents()
    with pytest.raises(IngestError, match="No such file"):
        index.add(tmp_path / "nowhere")


def test_removing_what_is_not_there_is_named(index: Index) -> None:
    with pytest.raises(UsageError, match=r"no document 'gone\.md'"):
        index.remove("gone.md")
    index.remove("[odd]*.md")  # a path wins over a pattern
    assert "[odd]*.md" not in index.documents()


def test_an_index_from_which_everything_was_removed_finds_nothing(index: Index, folder: Path) -> None:
    index.remove("*")
    for mode in MODES:
        assert index.search("LSTM", mode=mode) == []
    assert len(index) == 0
    assert segments(folder) == []
    assert all(hits == [] for hits in open_and_ask(folder))
    index.add_documents([make_document("a.md", "LSTM")])
    assert index.search("LSTM")[0].document == "a.md"


# ---------------------------------------------------------------- several indexes


@pytest.fixture
def two(notes: Path, tmp_path: Path) -> dict[str, Path]:
    folders = {"notes": tmp_path / "one", "work": tmp_path / "two"}
    Index.open(notes, folders["notes"], embedding=HashingEmbedder()).close()
    work = write(tmp_path / "work-notes", {**TAGGED, "same.md": NOTES["rnn.md"]})
    Index.open(work, folders["work"], embedding=HashingEmbedder()).close()
    return folders


def test_a_search_over_several_indexes_puts_their_hits_in_one_order(two: dict[str, Path]) -> None:
    both = Index.open_many(two, embedding=HashingEmbedder())
    hits = both.search("LSTM 训练", k=20)
    assert {hit.document.split("/")[0] for hit in hits} == {"notes", "work"}
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    first = [hit for i, hit in enumerate(hits) if hit.text not in {other.text for other in hits[:i]}]
    assert [hit.score for hit in first] == sorted((hit.score for hit in first), reverse=True)
    for hit in hits:
        document = both.document(hit.document)
        assert document is not None
        assert document.path == hit.document
        assert document.text[hit.start : hit.end] == hit.text
    assert len(both) == sum(len(Index.open(None, f, embedding=HashingEmbedder())) for f in two.values())
    assert set(both.documents()) == {f"notes/{name}" for name in NOTES} | {f"work/{n}" for n in [*TAGGED, "same.md"]}
    assert {h.document for h in both.search("LSTM", where=Filter(documents=("work/*",)))} <= set(both.documents())


WORDS = ("KV cache of keys and values", "gate of an LSTM", "router of experts", "adapter rank", "beam width", "reward")


@pytest.mark.parametrize("queries", [["KV cache keys"], ["KV cache keys", "keys and values of the KV cache"]])
def test_an_index_that_has_nothing_to_say_does_not_come_first(
    queries: list[str], tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]
) -> None:
    folders = {}
    for name, texts in {
        "home": {"todo.md": "# Errands\n\nBuy milk, and call the plumber about the sink.\n"},
        "work": {f"n{i}.md": f"# Note {i}\n\nThe {word} matters.\n" for i, word in enumerate(WORDS)},
    }.items():
        notes = make_notes(tmp_path / name, texts)
        folders[name] = tmp_path / f"{name}-index"
        Index.open(notes, folders[name], embedding=HashingEmbedder()).close()
    both = Index.open_many(folders, embedding=HashingEmbedder())
    hits = both.search_queries([Query(text) for text in queries], k=3)
    assert hits[0].document == "work/n0.md"
    assert all(hit.score < hits[0].score for hit in hits if hit.document == "home/todo.md")


class Reversing:
    """A reranker that turns the order round, and keeps what it was asked."""

    asked = ""

    def rerank(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        self.asked = question
        return [replace(hit, rank=rank) for rank, hit in enumerate(reversed(hits), start=1)]


def test_the_best_of_all_indexes_are_reranked_together(two: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = Reversing()
    monkeypatch.setattr(Index, "_reranker", lambda self: reranker)
    both = Index.open_many(two, embedding=HashingEmbedder())
    plain = both.search("LSTM 训练", k=RERANKED)
    hits = both.search("LSTM 训练", k=3, rerank=True)
    assert reranker.asked == "LSTM 训练"
    assert [hit.chunk for hit in hits] == [hit.chunk for hit in reversed(plain)][:3]
    assert [hit.rank for hit in hits] == [1, 2, 3]


def test_neighbours_of_several_indexes_are_merged_within_their_document(tmp_path: Path) -> None:
    text = "# H\n\n" + "\n\n".join(f"Zebra paragraph {i}. " + "word " * 60 for i in range(4))
    folders = {name: tmp_path / name for name in ("a", "b")}
    for name, folder in folders.items():
        Index.from_documents([make_document("n.md", f"{text}{name}")], folder, embedding=HashingEmbedder()).close()
    both = Index.open_many(folders, embedding=HashingEmbedder())
    hits = both.search("zebra paragraph", k=10, merge=True)
    assert len(hits) < len(both.search("zebra paragraph", k=10, merge=False))
    assert {hit.document for hit in hits} == {"a/n.md", "b/n.md"}
    for hit in hits:
        assert (document := both.document(hit.document)) and document.text[hit.start : hit.end] == hit.text


def test_diversity_holds_over_several_indexes(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("a", "b")}
    texts = {"a": "zebra zebra zebra stripes", "b": "zebra zebra zebra stripes!"}
    for name, folder in folders.items():
        documents = [make_document("same.md", texts[name])]
        documents += [make_document("else.md", "a zebra that eats grass all day")] if name == "b" else []
        Index.from_documents(documents, folder, embedding=HashingEmbedder()).close()
    plain = Index.open_many(folders, embedding=HashingEmbedder(), settings=load_settings())
    assert [hit.document for hit in plain.search("zebra stripes", k=3)][2] == "b/else.md"
    diverse = Index.open_many(folders, embedding=HashingEmbedder(), settings=load_settings(diversity=0.9))
    hits = diverse.search("zebra stripes", k=3)
    assert [hit.document for hit in hits][1] == "b/else.md"
    assert [hit.rank for hit in hits] == [1, 2, 3]


def test_indexes_of_different_models_or_of_the_same_name_are_not_searched_as_one(
    two: dict[str, Path], notes: Path, tmp_path: Path
) -> None:
    Index.open(notes, tmp_path / "third", embedding=HashingEmbedder("other")).close()
    with pytest.raises(Exception, match=r"third: .*hashing@1.*|third: .*other"):
        Index.open_many([*two.values(), tmp_path / "third"], embedding=HashingEmbedder())
    with pytest.raises(UsageError, match="different name"):
        Index.open_many([two["work"], two["work"]], embedding=HashingEmbedder())
    with pytest.raises(UsageError, match="at least one"):
        Index.open_many([], embedding=HashingEmbedder())


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("work/same.md", {"work/same.md"}),
        ("work/*", {"work"}),
        ("work*", {"work"}),
        ("w*k/s?me.md", {"work/same.md"}),
        ("work?same.md", {"work/same.md"}),
        ("*same.md", {"work/same.md"}),
        ("*/same.md", {"work/same.md"}),
        ("same.md", {"work/same.md"}),
        ("notes/deep/*", {"notes/deep/lora.md"}),
        ("deep/*", {"notes/deep/lora.md"}),
        ("no/*", set()),
        ("wor/*", set()),
    ],
)
def test_documents_of_several_indexes_are_named_as_hits_show_them(
    pattern: str, expected: set[str], two: dict[str, Path]
) -> None:
    with Index.open_many(two, embedding=HashingEmbedder()) as both:
        found = {hit.document for hit in both.search("LSTM LoRA", k=50, where={"documents": pattern})}
        whole = {path for path in both.documents() if path in expected or path.split("/")[0] in expected}
        assert found == whole


def test_an_index_whose_name_holds_a_sign_is_named_as_it_stands(two: dict[str, Path]) -> None:
    with Index.open_many({"[x]": two["work"]}, embedding=HashingEmbedder()) as one:
        hits = one.search("LSTM", where={"documents": "[x]/same.md"})
        assert {hit.document for hit in hits} == {"[x]/same.md"}


def test_several_indexes_are_searched_from_async_code_and_from_chains(two: dict[str, Path]) -> None:
    with Index.open_many(two, embedding=HashingEmbedder()) as both:
        hits = both.search("LSTM", k=3)
        assert asyncio.run(both.asearch("LSTM", k=3)) == hits
        assert both.search_many(["LSTM", "LoRA"], k=3) == [hits, both.search("LoRA", k=3)]
        shown = both.as_retriever(k=3, where={"documents": "work/*"}).invoke("LSTM")
        assert {document.metadata["source"].split("/")[0] for document in shown} == {"work"}
        reply = both.as_tool(k=3).invoke(
            {"name": "search_notes", "args": {"query": "LSTM"}, "id": "1", "type": "tool_call"}
        )
        assert reply.artifact == hits


def test_an_agent_says_that_it_takes_one_index(two: dict[str, Path]) -> None:
    with Index.open_many(two, embedding=HashingEmbedder()) as both, pytest.raises(UsageError) as caught:
        Agent.load(index=both, model="extractive")  # type: ignore[arg-type]
    assert "not from a MultiIndex. Several folders of notes go into one: Index.open([" in str(caught.value)


# ---------------------------------------------------------------- the command line


@pytest.fixture
def ragkit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process with the hashing embedder; exit code, stdout, stderr."""
    import ragkit.index.model_choice
    from ragkit.cli.main import main
    from ragkit.models.embeddings import WrappedEmbedder

    monkeypatch.setattr(
        ragkit.index.model_choice, "resolve_embedding", lambda *a, **k: WrappedEmbedder(HashingEmbedder())
    )

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run


def test_search_takes_filters_and_several_indexes(
    two: dict[str, Path], ragkit: Callable[..., tuple[int, str, str]]
) -> None:
    def documents(*options: object) -> list[str]:
        code, out, _ = ragkit("search", "LSTM 训练", "-k", 20, "--json", *options)
        assert code == 0
        return [hit["document"] for hit in json.loads(out)["hits"]]

    work = two["work"]
    assert set(documents("--index", work)) == {*TAGGED, "same.md"}
    assert set(documents("--index", work, "--document", "work/*", "--tag", "plan")) == {"work/plan.md"}
    assert set(documents("--index", work, "--heading", "缺点")) == {"same.md"} or documents("--index", work)
    assert "work/plan.md" not in documents("--index", work, "--language", "en")
    assert {name.split("/")[0] for name in documents("--index", work, "--index", two["notes"])} == {"one", "two"}
    assert {n.split("/")[0] for n in documents("--index", work, "--index", two["notes"], "--document", "two/*")} == {
        "two"
    }
    assert ragkit("search", "x", "--index", work, "--language", "fr")[0] == 2
    assert ragkit("doctor", "--index", work, "--index", two["notes"])[0] == 2


def test_index_verifies_repairs_and_compacts(
    notes: Path, folder: Path, ragkit: Callable[..., tuple[int, str, str]]
) -> None:
    assert ragkit("index", notes, "--index", folder)[0] == 0
    write(notes, {"new.md": "新的笔记"})
    assert ragkit("index", notes, "--index", folder)[0] == 0
    assert len(segments(folder)) == 2
    assert json.loads(ragkit("index", "--verify", "--index", folder, "--json")[1])["ok"] is True
    file = next((folder / segments(folder)[0]).glob("postings.*"))
    file.write_bytes(b"x")
    code, out, err = ragkit("index", "--verify", "--index", folder)
    assert code == 1
    assert file.name in out
    assert "--repair" in err
    code, out, _ = ragkit("doctor", "--json", "--index", folder)
    assert code == 1
    [check] = [check for check in json.loads(out)["checks"] if check["name"] == "index"]
    assert file.name in check["detail"]
    assert len(json.loads(ragkit("index", "--repair", "--index", folder, "--json")[1])["kept"]) == 1
    assert "Nothing" in ragkit("index", "--repair", "--index", folder)[1]
    assert ragkit("index", "--compact", "--index", folder)[0] == 0
    assert len(segments(folder)) == 1
    assert os.listdir(folder) and ragkit("index", "--verify", "--index", folder)[0] == 0
