"""The postings of one segment: which chunks hold which term, how often, and how long each chunk is.

Nothing here depends on other segments or on what was deleted, so a segment is written once and
never again; `ragkit.index.bm25` scores over any number of them. Loaded segments are memory maps,
the dictionary included: its terms lie sorted in one blob and are found by binary search.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ragkit.errors import IndexCorruptError
from ragkit.index.tensor_file import REBUILD, Array, open_tensors, write_tensors
from ragkit.text.bulk import bags_of, han_token
from ragkit.text.tokens import terms_of_run

ChunkIds = npt.NDArray[np.int32]
Counts = npt.NDArray[np.integer]

FILE: Final = "postings.safetensors"
_BLOCK: Final = 1 << 20
"""Tokens that are sorted at a time: 8 MB of keys."""
_CACHE: Final = 1 << 16
"""Terms whose row is remembered; then the memory starts anew."""


class PostingsSegment:
    """Terms in the order of their UTF-8 bytes; chunks under the ids 0..size-1 of this segment."""

    def __init__(
        self,
        *,
        pointers: npt.NDArray[np.int64],
        chunks: ChunkIds,
        tf: Counts,
        lengths: ChunkIds,
        max_tf: Counts,
        min_length: ChunkIds,
        term_offsets: npt.NDArray[np.int64],
        terms: npt.NDArray[np.uint8],
    ) -> None:
        self.pointers = pointers
        """(terms + 1,) where the postings of each term begin."""
        self.chunks = chunks
        """(postings,) chunk ids, ascending within a term."""
        self.tf = tf
        """(postings,) occurrences, unsigned, as narrow as the segment allows."""
        self.lengths = lengths
        """(size,) tokens of each chunk."""
        self.max_tf = max_tf
        """(terms,) the most occurrences in one chunk: with `min_length` an upper bound of any score."""
        self.min_length = min_length
        """(terms,) tokens of the shortest chunk that holds the term."""
        self._offsets = term_offsets
        self._blob = terms
        # Indexing a memoryview gives a plain int ten times as fast as indexing an array.
        self._offset, self._bytes = term_offsets.data, terms.data
        self._rows: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def terms(self) -> int:
        """How many different terms there are."""
        return len(self.max_tf)

    @property
    def tokens(self) -> int:
        """How many tokens all chunks have together."""
        return int(self.lengths.sum(dtype=np.int64))

    @classmethod
    def build(cls, tokens: Iterable[Sequence[str]]) -> PostingsSegment:
        """Index the token list of each chunk; the lists are read once, one after the other.

        Needs about 15 bytes for each pair of chunk and term, and 8 MB.
        """
        vocabulary = _Vocabulary()
        pending, lengths = array("i"), array("i")
        blocks: list[_Block] = []
        first = 0
        for chunk in tokens:
            pending.extend(map(vocabulary.number, chunk))
            lengths.append(len(chunk))
            if len(pending) >= _BLOCK:
                blocks.append(_Block(np.array(pending), _places(lengths[first:], first)))
                first, pending = len(lengths), array("i")
        blocks.append(_Block(np.array(pending, dtype=np.int32), _places(lengths[first:], first)))
        return _assemble(vocabulary.terms(), np.array(lengths, dtype=np.int32), blocks)

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> PostingsSegment:
        """`build` of the `tokenize`d texts, in half of the time; the texts are read once."""
        vocabulary = _Vocabulary()
        runs = _Runs(vocabulary)
        lengths: list[npt.NDArray[np.int64]] = []
        blocks: list[_Block] = []
        first = 0
        for bags in bags_of(texts):
            words, places = runs.terms(bags.runs)
            parts = [vocabulary.number(part) for some in bags.camel.values() for part in some]
            han, which = np.unique(bags.han, return_inverse=True)
            numbers = np.fromiter(map(vocabulary.number, han.tolist()), np.int64, len(han))
            camel = np.repeat(np.array([*bags.camel], dtype=np.int64), [len(some) for some in bags.camel.values()])
            chunks = np.concatenate([places, camel, bags.passages])
            ids = np.concatenate([words, np.array(parts, dtype=np.int64), numbers[which]])
            blocks.append(_Block(ids, chunks + first))
            lengths.append(np.bincount(chunks, minlength=len(bags.runs)))
            first += len(bags.runs)
        return _assemble(vocabulary.terms(), np.concatenate([[], *lengths]).astype(np.int32), blocks)

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write the segment into `folder` and return the names of the files."""
        tensors: dict[str, Array] = {
            "pointers": self.pointers,
            "chunks": self.chunks,
            "tf": self.tf,
            "lengths": self.lengths,
            "max_tf": self.max_tf,
            "min_length": self.min_length,
            "term_offsets": self._offsets,
            "terms": self._blob,
        }
        write_tensors(folder / FILE, tensors, {"content": "ragkit postings 1"})
        return (FILE,)

    @classmethod
    def load(cls, folder: Path) -> PostingsSegment:
        """Map what `save` wrote; nothing is read but the header.

        Raises:
            IndexCorruptError: If the arrays do not fit together.
            OSError: If the file cannot be opened.
        """
        path = folder / FILE
        parts = open_tensors(path).tensors
        try:
            loaded = cls(**parts)
            terms = loaded.terms
            fits = (
                len(loaded.pointers) == len(loaded._offsets) == terms + 1
                and len(loaded.min_length) == terms
                and len(loaded.chunks) == len(loaded.tf) == loaded.pointers[-1]
                and len(loaded._blob) == loaded._offsets[-1]
            )
        except (TypeError, IndexError) as exc:
            raise IndexCorruptError(f"{path} is no file of postings ({exc}).", REBUILD) from exc
        if not fits:
            raise IndexCorruptError(f"The postings in {path} do not fit together.", REBUILD)
        return loaded

    def row(self, term: str) -> int:
        """The row of a term, -1 if no chunk has it."""
        known = self._rows.get(term)
        if known is None:
            key = term.encode("utf-8", "surrogatepass")
            found = self._place(key)
            known = found if found < self.terms and self._key(found) == key else -1
            if len(self._rows) >= _CACHE:
                self._rows.clear()
            self._rows[term] = known
        return known

    def term(self, row: int) -> str:
        """The term of a row."""
        return self._key(row).decode("utf-8", "surrogatepass")

    def postings(self, row: int) -> tuple[ChunkIds, Counts]:
        """Chunk ids (ascending) and occurrences of a row's term."""
        at = slice(int(self.pointers[row]), int(self.pointers[row + 1]))
        return self.chunks[at], self.tf[at]

    def latin(self, length: int, around: int) -> Iterator[str]:
        """Terms of ASCII that begin with a letter and differ from `length` by at most `around` characters."""
        for first, end in ((b"A", b"["), (b"a", b"{")):
            low, high = self._place(first), self._place(end)
            sizes = np.diff(self._offsets[low : high + 1])
            for row in (np.flatnonzero(np.abs(sizes - length) <= around) + low).tolist():
                if (term := self.term(row)).isascii():
                    yield term

    def chunk_tokens(self) -> list[list[str]]:
        """The bag of words of each chunk: its terms, each as often as it occurs, sorted."""
        rows = np.repeat(np.arange(self.terms), np.diff(self.pointers))
        order = np.argsort(self.chunks, kind="stable")
        names = [self.term(row) for row in range(self.terms)]
        bags: list[list[str]] = [[] for _ in range(len(self))]
        triples = zip(self.chunks[order].tolist(), rows[order].tolist(), self.tf[order].tolist(), strict=True)
        for chunk, row, count in triples:
            bags[chunk].extend([names[row]] * count)
        return bags

    def _key(self, row: int) -> bytes:
        return self._bytes[self._offset[row] : self._offset[row + 1]].tobytes()

    def _place(self, key: bytes) -> int:
        return bisect_left(range(self.terms), key, key=self._key)


class _Vocabulary:
    """Terms in the order in which they were first seen; a Han term may come as its number in `ragkit.text.bulk`."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str | int, int] = defaultdict()
        self._numbers.default_factory = self._numbers.__len__
        self.number = self._numbers.__getitem__
        """The number of a term, from 0; a new one gets the next."""

    def terms(self) -> list[str]:
        return [han_token(term) if isinstance(term, int) else term for term in self._numbers]


class _Runs(dict[str, int]):
    """Runs of characters in the order in which they were first seen, each with the numbers of its terms.

    A dictionary finds a run in a fifth of the time that asking for its terms takes; most runs are seen again and again.
    """

    def __init__(self, vocabulary: _Vocabulary) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self._terms, self._counts = array("q"), array("q")

    def __missing__(self, run: str) -> int:
        terms = terms_of_run(run)
        self._terms.extend(map(self._vocabulary.number, terms))
        self._counts.append(len(terms))
        self[run] = number = len(self)
        return number

    def terms(self, passages: Sequence[Sequence[str]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The term of each token of some passages, and the passage that it is of, from 0."""
        lengths = [len(runs) for runs in passages]
        seen = np.fromiter(map(self.__getitem__, chain.from_iterable(passages)), np.int64, sum(lengths))
        terms, counts = np.array(self._terms, dtype=np.int64), np.array(self._counts, dtype=np.int64)
        own = counts[seen]
        begins = (np.cumsum(counts) - counts)[seen] - (np.cumsum(own) - own)
        return terms[np.repeat(begins, own) + np.arange(own.sum())], np.repeat(_places(lengths, 0), own)


def _places(lengths: Sequence[int] | npt.NDArray[np.integer], first: int) -> npt.NDArray[np.int64]:
    """The chunk of each token, if `lengths` are those of the chunks from `first` on."""
    return np.repeat(np.arange(first, first + len(lengths)), lengths)


class _Block:
    """Some chunks in a row: their pairs of term and chunk in the order of terms as first seen."""

    def __init__(self, ids: npt.NDArray[np.integer], chunks: npt.NDArray[np.int64]) -> None:
        keys = ids.astype(np.int64) << 32 | chunks
        keys.sort()
        new = np.ones(len(keys), dtype=np.bool_)
        np.not_equal(keys[1:], keys[:-1], out=new[1:])
        starts = np.flatnonzero(new)
        keys = keys[starts]
        tf = np.diff(starts, append=len(ids))
        self.tf = tf.astype(np.min_scalar_type(int(tf.max(initial=0))))
        self.chunks = (keys & 0xFFFFFFFF).astype(np.int32)
        terms = (keys >> 32).astype(np.int32)
        runs = np.flatnonzero(np.diff(terms, prepend=-1))
        self.terms, self.counts = terms[runs], np.diff(runs, append=len(terms))


def _assemble(vocabulary: list[str], lengths: ChunkIds, blocks: list[_Block]) -> PostingsSegment:
    """Lay the blocks' postings out by term; blocks are in the order of chunks, so no list needs sorting."""
    keys = [term.encode("utf-8", "surrogatepass") for term in vocabulary]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    rank = np.empty(len(keys), dtype=np.int64)
    rank[order] = np.arange(len(keys))
    df = np.zeros(len(keys), dtype=np.int64)
    for block in blocks:
        df[rank[block.terms]] += block.counts
    pointers = np.concatenate(([0], np.cumsum(df)))
    chunks = np.empty(pointers[-1], dtype=np.int32)
    tf = np.empty(pointers[-1], dtype=np.result_type(np.uint8, *(block.tf.dtype for block in blocks)))
    free = pointers[:-1].copy()
    for block in blocks:
        rows = rank[block.terms]
        before = np.cumsum(block.counts) - block.counts
        target = np.repeat(free[rows] - before, block.counts) + np.arange(len(block.chunks))
        chunks[target], tf[target] = block.chunks, block.tf
        free[rows] += block.counts
        block.chunks = block.tf = np.zeros(0, dtype=np.int32)  # halves the peak
    some = len(keys) > 0
    return PostingsSegment(
        pointers=pointers,
        chunks=chunks,
        tf=tf,
        lengths=lengths,
        max_tf=np.maximum.reduceat(tf, pointers[:-1]) if some else tf,
        min_length=_minimum(lengths, chunks, pointers) if some else chunks,
        term_offsets=np.concatenate(([0], np.cumsum([len(keys[i]) for i in order], dtype=np.int64))).astype(np.int64),
        terms=np.frombuffer(b"".join(keys[i] for i in order), dtype=np.uint8),
    )


def _minimum(lengths: ChunkIds, chunks: ChunkIds, pointers: npt.NDArray[np.int64]) -> ChunkIds:
    """The least length among each term's chunks, a few terms at a time to need no second array of postings."""
    out = np.empty(len(pointers) - 1, dtype=np.int32)
    low = 0
    while low < len(out):
        high = max(low + 1, int(np.searchsorted(pointers, pointers[low] + _BLOCK)))
        high = min(high, len(out))
        part = lengths[chunks[pointers[low] : pointers[high]]]
        out[low:high] = np.minimum.reduceat(part, pointers[low:high] - pointers[low])
        low = high
    return out
