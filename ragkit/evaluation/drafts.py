"""The file of drafted questions: one JSON object a line, what became of each chunk that was asked about.

A draft is not part of any question set until a person has accepted it. ``status`` is ``draft``,
``accepted``, ``rejected``, or ``dropped`` for a chunk that gave no usable question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from ragkit.errors import DatasetError
from ragkit.evaluation.datasets import Gold, json_lines, split_of
from ragkit.index.fsops import append_line, write_text_atomically
from ragkit.text.language import answer_language
from ragkit.text.tokens import fold, query_terms, tokenize

Status = Literal["draft", "accepted", "rejected", "dropped"]
LEXICAL_SHARE: Final = 0.5
"""A question is lexical if at least this share (0..1) of its terms stands in its quote."""
ALIKE: Final = 0.7
"""Questions with a higher trigram overlap (Jaccard, 0..1) are the same question."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What came of one chunk."""

    id: str
    chunk: str
    """Id of the chunk that the question is about."""
    file: str
    status: Status = "draft"
    question: str = ""
    quote: str = ""
    """Verbatim in `file`."""
    answer: str = ""
    heading: tuple[str, ...] = ()
    reason: str = ""
    """Why there is no question, if `status` is ``dropped``."""

    @property
    def language(self) -> str:
        """``zh`` or ``en``."""
        return answer_language(self.question)

    @property
    def type(self) -> str:
        """``lexical`` if the question uses the words of its quote, else ``paraphrase``."""
        terms = query_terms(self.question)
        known = set(tokenize(self.quote))
        return "lexical" if sum(term in known for term in terms) >= LEXICAL_SHARE * len(terms) else "paraphrase"

    def asked(self, question: str) -> Draft:
        """The draft with another question."""
        return replace(self, question=question)

    def row(self) -> dict[str, Any]:
        """The draft as a line of a question set."""
        return {
            "id": self.id,
            "question": self.question,
            "language": self.language,
            "type": self.type,
            "gold": [{"file": self.file, "quote": self.quote}],
            "reference_answer": self.answer,
            "split": split_of(self.id, [Gold(self.file)]),
        }

    def to_json(self) -> dict[str, Any]:
        data = asdict(self) | {"heading": list(self.heading)}
        return data | {"language": self.language, "type": self.type} if self.question else data


def read_drafts(path: Path) -> list[Draft]:
    """The drafts of a file, in order.

    Raises:
        DatasetError: If the file is missing or malformed; names file and line.
    """
    drafts = []
    for number, row in json_lines(path):
        try:
            heading = tuple(str(part) for part in row.get("heading", ()))
            texts = {key: str(row.get(key, "")) for key in ("question", "quote", "answer", "reason")}
            if row["status"] not in get_args(Status):
                raise ValueError(f"status {row['status']!r}")
            known = {key: str(row[key]) for key in ("id", "chunk", "file")}
            draft = Draft(status=row["status"], heading=heading, **known, **texts)
        except (KeyError, TypeError, ValueError) as exc:
            raise DatasetError(
                f"{path}:{number}: missing or wrong key {exc}.", "Make the file with `ragkit eval make-questions`."
            ) from exc
        drafts.append(draft)
    return drafts


def write_drafts(path: Path, drafts: Sequence[Draft]) -> None:
    """Replace the file in one step.

    Raises:
        DatasetError: If it cannot be written.
    """
    try:
        write_text_atomically(path, "".join(_line(draft.to_json()) + "\n" for draft in drafts))
    except OSError as exc:
        raise DatasetError(f"Cannot write {path}: {exc.strerror}.", "Choose another place.") from exc


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add one line to a JSONL file, which is made if it is not there.

    Raises:
        DatasetError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        append_line(path, _line(row).encode("utf-8"), mode=0o666)
    except OSError as exc:
        raise DatasetError(f"Cannot write {path}: {exc.strerror}.", "Choose another place.") from exc


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)


def trigrams(text: str) -> frozenset[str]:
    """The letter trigrams of a text, folded, without punctuation and white space."""
    folded = "".join(character for character in fold(text) if character.isalnum())
    return frozenset(folded[i : i + 3] for i in range(max(1, len(folded) - 2)))


def alike(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether two sets of `trigrams` are those of nearly the same question."""
    return len(a & b) > ALIKE * len(a | b)
