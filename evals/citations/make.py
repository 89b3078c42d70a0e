"""Make the corruption set: sentences that a verifier must let pass, and the same sentences spoiled in known ways.

    python evals/citations/make.py
    python evals/citations/make.py --per-class 700 --seed 7 --out FOLDER    # another, larger draw

Writes ``corruptions.jsonl`` and ``passages.jsonl`` beside this file, the same every time. A true sentence is
a reference answer of `evals/llm-interview/questions.jsonl` (an honest paraphrase) or a gold quote, freed of Markdown
and slightly reworded. Its passages are what the index finds for the question, the gold one among them. Splits
are by note: everything about one note is in one split.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rewording import change_numbers, entity_swaps, flip_negation, plain, reworded, swap_name

from ragkit.api import Index
from ragkit.citations.markers import parse_answer
from ragkit.settings import load_settings
from ragkit.text.language import language_group
from ragkit.values import Chunk

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NOTES = ROOT / "corpora" / "llm-interview"
PASSAGES = 5
PER_CLASS = 150
"""Sentences of each class at most, twice as many untouched ones."""


@dataclass
class Item:
    """One sentence with a marker, and what is wrong with it."""

    id: str
    kind: str
    how: str
    language: str
    split: str
    question: str
    sentence: str
    markers: list[int]
    passages: list[str]
    """Ids of the passages, in the order of their numbers."""
    sources: list[int]
    """Numbers of the passages that the sentence, or its two halves, truly come from."""
    true: str = ""
    """The sentence before it was spoiled."""


@dataclass
class Base:
    """A true sentence and where it stands."""

    question: str
    text: str
    how: str
    gold: Chunk
    language: str
    crossing: bool
    golds: list[Any] = field(default_factory=list)

    @property
    def split(self) -> str:
        return split_of(self.gold.document)


def split_of(document: str) -> str:
    """``dev`` or ``test``, by the hash of the note's path."""
    return "dev" if hashlib.sha256(document.encode()).digest()[0] % 2 else "test"


class Maker:
    """Holds the index, the random generator and what was made."""

    def __init__(self, index: Index, seed: int, most: int) -> None:
        self.index = index
        self.most = most
        self.random = random.Random(seed)
        self.items: list[Item] = []
        self.used: dict[str, Chunk] = {}
        self.found: dict[str, list[Chunk]] = {}
        self.questions = [
            json.loads(line) for line in (ROOT / "evals/llm-interview/questions.jsonl").open(encoding="utf-8")
        ]
        self.by_place = {document: index.chunks(document) for document in index.documents()}

    def gold_chunk(self, gold: dict[str, str]) -> Chunk | None:
        """The chunk that holds the whole quote."""
        return next((c for c in self.by_place[gold["file"]] if gold["quote"] in c.text), None)

    def bases(self) -> Iterator[Base]:
        """Every true sentence: reworded quotes and reference answers of questions that one passage answers."""
        for row in self.questions:
            if not row["gold"] or any("group" in gold for gold in row["gold"]):
                continue
            gold = row["gold"][0]
            chunk = self.gold_chunk(gold)
            if chunk is None:
                continue
            note = language_group(chunk.text)
            sentences = [s.text for s in parse_answer(row["reference_answer"]) if len(s.text) >= 12]
            if sentences:
                said = max(sentences, key=len)
                language = "zh" if language_group(said) == "zh" else "en"
                yield Base(
                    row["id"], said, "reference", chunk, language, (language == "zh") != (note == "zh"), row["gold"]
                )
            quote = plain(gold["quote"])
            if len(quote) >= 14:
                text = reworded(quote, self.random)
                yield Base(row["id"], text, "quote", chunk, "zh" if note == "zh" else "en", False, row["gold"])

    def passages(self, base: Base, *more: Chunk) -> tuple[list[Chunk], list[int]]:
        """Passages found for the question with the gold one (and `more`) among them, shuffled; their numbers."""
        needed = [base.gold, *more]
        found = self.find(base.question)
        others = [c for c in found if c.id not in {n.id for n in needed}][: max(1, PASSAGES - len(needed))]
        chosen = [*needed, *others]
        self.random.shuffle(chosen)
        return chosen, [1 + [c.id for c in chosen].index(n.id) for n in needed]

    def find(self, question: str) -> list[Chunk]:
        """What the index finds for a question, by its id."""
        if question not in self.found:
            text = next(row["question"] for row in self.questions if row["id"] == question)
            self.found[question] = [hit.chunk for hit in self.index.search(text, k=PASSAGES + 2)]
        return self.found[question]

    def keep(
        self,
        kind: str,
        how: str,
        base: Base,
        sentence: str,
        markers: list[int],
        chosen: list[Chunk],
        sources: list[int],
    ) -> None:
        """Add an item."""
        self.used.update({chunk.id: chunk for chunk in chosen})
        self.items.append(
            Item(
                id=f"{kind}-{len(self.items):04d}", kind=kind, how=how, split=base.split,
                language=f"{base.language}-crossing" if base.crossing else base.language,
                question=base.question, sentence=sentence, markers=markers,
                passages=[chunk.id for chunk in chosen], sources=sources,
                true="" if sentence == base.text else base.text,
            )
        )  # fmt: skip

    def spoil(
        self, kind: str, bases: list[Base], change: Callable[[Base, list[Chunk]], tuple[str, str] | None]
    ) -> None:
        """Add up to `most` sentences that `change` spoils; it gives the sentence and how."""
        made = 0
        for base in self.random.sample(bases, len(bases)):
            chosen, sources = self.passages(base)
            spoiled = change(base, chosen)
            if spoiled is None or spoiled[0] == base.text:
                continue
            self.keep(kind, spoiled[1], base, spoiled[0], sources, chosen, sources)
            if (made := made + 1) == self.most:
                return

    def untouched(self, bases: list[Base]) -> None:
        """True sentences with the right marker."""
        for base in self.random.sample(bases, min(2 * self.most, len(bases))):
            chosen, sources = self.passages(base)
            self.keep("untouched", base.how, base, base.text, sources, chosen, sources)

    def swapped(self, bases: list[Base]) -> None:
        """True sentences whose marker names another passage, one that holds no gold of the question."""
        made = 0
        for base in self.random.sample(bases, len(bases)):
            chosen, sources = self.passages(base)
            golds = [gold["quote"] for gold in base.golds]
            wrong = [n for n, c in enumerate(chosen, 1) if n not in sources and not any(q in c.text for q in golds)]
            if wrong:
                self.keep("swapped", base.how, base, base.text, [self.random.choice(wrong)], chosen, sources)
                if (made := made + 1) == self.most:
                    return

    def stitched(self, bases: list[Base]) -> None:
        """Two true sentences made one: joined by a connective, or the front of one and the back of another."""
        made = 0
        quotes = [base for base in bases if len(base.text) >= 20]
        for base in self.random.sample(quotes, len(quotes)):
            near = self.random.random() < 0.4
            pool = [
                b for b in quotes
                if b.language == base.language and b.split == base.split and b.gold.id != base.gold.id
                and (b.gold.document == base.gold.document) == near and abs(b.gold.start - base.gold.start) > 600
            ]  # fmt: skip
            if not pool:
                continue
            other = self.random.choice(pool)
            chosen, sources = self.passages(base, other.gold)
            how = self.random.choice(["joined", "spliced"])
            text = self.join(base, other) if how == "joined" else splice(base.text, other.text, base.language)
            markers = self.random.choice([sources[:1], sources])
            self.keep("stitched", f"{how}-{'near' if near else 'far'}", base, text, markers, chosen, sources)
            if (made := made + 1) == self.most:
                return

    def join(self, first: Base, second: Base) -> str:
        """Two sentences as one, as if the first brought about the second."""
        head, tail = first.text.rstrip("。.；;！!，, "), second.text.rstrip("。.；; ")
        if first.language == "zh":
            return f"{head}{self.random.choice(['，因此', '，而且', '，所以', '，从而', '，同时'])}{tail}。"
        low = tail if tail[1:2].isupper() else tail[:1].lower() + tail[1:]
        return f"{head}{self.random.choice([', so ', ', and ', ', which is why ', ', while '])}{low}."

    def invented(self, bases: list[Base]) -> None:
        """Answers to questions that the notes do not answer, false claims about a name, sentences of other notes."""
        for line in (HERE / "invented.jsonl").open(encoding="utf-8"):
            row = json.loads(line)
            found = self.find(row["question"])[:PASSAGES]
            language = "zh" if language_group(row["sentence"]) == "zh" else "en"
            base = Base(row["question"], row["sentence"], "unanswerable", found[0], language, False)
            self.keep("invented", "unanswerable", base, row["sentence"], [1], found, [])
        shuffled = self.random.sample(bases, len(bases))
        for base in shuffled[:60]:
            chosen, sources = self.passages(base)
            names = entity_swaps(base.gold.text)
            if names:
                pattern = self.random.choice(FALSE_ZH if base.language == "zh" else FALSE_EN)
                self.keep(
                    "invented", "about a name", base, pattern.format(self.random.choice(names)), sources, chosen, []
                )
        for base, other in zip(shuffled[60:], shuffled[:-60], strict=True):
            if len([i for i in self.items if i.how == "elsewhere"]) == 60:
                return
            chosen, sources = self.passages(base)
            if other.language == base.language and other.gold.document not in {c.document for c in chosen}:
                self.keep("invented", "elsewhere", base, other.text, sources, chosen, [])


FALSE_ZH = (
    "{} 是 HuggingFace Transformers 中用于加速预训练任务的注意力机制。",
    "{} 最早由一家自动驾驶公司提出，用来压缩车载摄像头的视频。",
    "{} 的商业使用需要向原作者购买授权。",
    "使用 {} 之前，必须先把词表翻译成拉丁字母。",
    "{} 在手机上运行时会自动关闭梯度裁剪以节省电量。",
    "{} 的名字来自其第一作者家乡的一条河。",
    "实践中 {} 主要用于给数据库做索引备份。",
    "{} 只能在液冷机房里部署。",
)  # fmt: skip
FALSE_EN = (
    "{} was first used to compress dashboard video in self-driving cars.",
    "{} must be licensed from its authors before any commercial use.",
    "{} is named after a river near its first author's home town.",
    "Before {} is applied, the vocabulary has to be transliterated into Latin letters.",
    "In practice {} mostly serves to back up database indexes.",
    "{} switches gradient clipping off on phones to save battery power.",
    "{} can be deployed in liquid-cooled data centres only.",
)


def splice(first: str, second: str, language: str) -> str:
    """The front of one sentence and the back of another, cut at a comma near the middle or at the middle."""

    def cut(text: str) -> int:
        middle = len(text) // 2
        marks = [i for i, c in enumerate(text) if c in "，,；;：:" and len(text) // 4 < i < 3 * len(text) // 4]
        if marks:
            return min(marks, key=lambda i: abs(i - middle)) + 1
        if language == "zh":
            return middle
        space = text.find(" ", middle)
        return space if space != -1 else middle

    return f"{first[: cut(first)].rstrip()}{' ' if language == 'en' else ''}{second[cut(second) :].strip()}"


def main() -> None:
    """Make all classes and write both files."""
    parser = argparse.ArgumentParser(description="Make the corruption set.")
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--per-class", type=int, default=PER_CLASS)
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    index = Index.open(NOTES, settings=load_settings(embedding_model="bundled"))
    maker = Maker(index, given.seed, given.per_class)
    bases = list(maker.bases())
    same = [base for base in bases if not base.crossing]
    crossing = [base for base in bases if base.crossing]
    maker.untouched(same)
    maker.swapped(same)
    maker.stitched([base for base in same if base.how == "quote"])
    maker.invented(same)
    pick = maker.random
    maker.spoil("number", same, lambda base, chosen: change_numbers(base.text, [c.text for c in chosen], pick))
    maker.spoil("negation", same, lambda base, chosen: flip_negation(base.text, pick))

    def swap(base: Base, chosen: list[Chunk]) -> tuple[str, str] | None:
        near = [name for chunk in chosen for name in entity_swaps(chunk.text)]
        far = [name for b in pick.sample(same, 5) for name in entity_swaps(b.gold.text)]
        return swap_name(base.text, near, far, pick)

    maker.spoil("entity", same, swap)
    for base in crossing:
        chosen, sources = maker.passages(base)
        maker.keep("untouched", "crossing", base, base.text, sources, chosen, sources)
    (given.out / "corruptions.jsonl").write_text(
        "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in maker.items), encoding="utf-8"
    )
    rows = [
        {
            "id": c.id, "document": c.document, "heading": list(c.heading),
            "start": c.start, "start_line": c.start_line, "text": c.text,
        }
        for c in sorted(maker.used.values(), key=lambda c: (c.document, c.start))
    ]  # fmt: skip
    (given.out / "passages.jsonl").write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    print(len(maker.items), "items,", len(rows), "passages")


if __name__ == "__main__":
    main()
