"""The sections inside joined chunks, and the heading of a part of one."""

from __future__ import annotations

import pytest

from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.sections import heading_of, sections_of
from ragkit.values import Chunk, Document

DOGS = """# Dogs

## Food

Meat.

## Training

A puppy needs **14** weeks.

### Whistle

It hears.

## Cats and dogs

Never.
"""


def chunks(text: str, path: str = "dogs.md") -> list[Chunk]:
    return chunk_document(Document(path=path, text=text, content_hash="0"))


def heading_at(text: str, part: str, path: str = "dogs.md") -> tuple[str, ...]:
    [chunk] = [chunk for chunk in chunks(text, path) if part in chunk.text]
    start = text.index(part)
    return heading_of(chunk, start, start + len(part))


def test_small_sections_are_one_chunk() -> None:
    assert [chunk.heading for chunk in chunks(DOGS)] == [("Dogs",)]


@pytest.mark.parametrize(
    ("part", "heading"),
    [
        ("Meat.", ("Dogs", "Food")),
        ("A puppy", ("Dogs", "Training")),
        ("It hears.", ("Dogs", "Training", "Whistle")),
        ("Never.", ("Dogs", "Cats and dogs")),
        ("# Dogs", ("Dogs",)),
        (DOGS[DOGS.index("A puppy") : DOGS.index("Never")], ("Dogs",)),
        (DOGS[DOGS.index("A puppy") : DOGS.index("hears")], ("Dogs", "Training")),
    ],
)
def test_a_part_has_the_heading_it_stands_under(part: str, heading: tuple[str, ...]) -> None:
    assert heading_at(DOGS, part) == heading


def test_offsets_are_those_of_the_headings() -> None:
    [chunk] = chunks(DOGS)
    lines = [chunk.text[at:].split("\n", 1)[0] for at, _ in sections_of(chunk)[1:]]
    assert lines == ["# Dogs", "## Food", "## Training", "### Whistle", "## Cats and dogs"]


def test_a_hash_in_code_or_a_fence_is_no_heading() -> None:
    fenced = "# Shell\n\n## Use\n\n```sh\n# not a heading\nls\n```\n\nDone.\n"
    assert heading_at(fenced, "Done.") == ("Shell", "Use")
    source = "# a comment\nx = 1\n# another\ny = 2\n"
    assert {path for chunk in chunks(source, "a.py") for _, path in sections_of(chunk)} == {
        chunk.heading for chunk in chunks(source, "a.py")
    }


def test_headings_underlined_and_with_markup_count() -> None:
    text = "Dogs\n====\n\nWe **keep** `them`\n---------\n\nMeat.\n"
    assert heading_at(text, "Meat.") == ("Dogs", "We keep them")


def test_a_chunk_without_headings_has_its_own() -> None:
    [chunk] = chunks("Only text.\n")
    assert sections_of(chunk) == ((0, ()),) and heading_of(chunk, 0, 4) == ()
