"""YAML from files that people hand around."""

from __future__ import annotations

import pytest
import yaml

from ragkit.ingest.yaml_safe import load_yaml, split_front_matter


def test_plain_data_is_read() -> None:
    assert load_yaml("title: 笔记\ntags: [a, b]\n") == {"title": "笔记", "tags": ["a", "b"]}


def test_aliases_are_refused() -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    with pytest.raises(yaml.YAMLError, match="aliases are not allowed"):
        load_yaml(bomb)


def test_tags_that_build_objects_are_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="python/object"):
        load_yaml("x: !!python/object/apply:os.getpid []\n")


def test_a_second_document_is_refused() -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml("a: 1\n---\nb: 2\n")


FRONT = {
    "closed": ("---\ntitle: x\n---\nbody", "title: x\n", "body"),
    "nothing behind it": ("---\ntitle: x\n---", "title: x\n", ""),
    "empty": ("---\n---\nbody", "", "body"),
    "comment first": ("---\n# note\ntitle: x\n---\nbody", "# note\ntitle: x\n", "body"),
    "flow mapping": ("---\n{title: x}\n---\nbody", "{title: x}\n", "body"),
    "rule below is no second close": ("---\ntitle: x\n---\nbody\n\n---\nmore", "title: x\n", "body\n\n---\nmore"),
    "closed by dots": ("---\ntitle: x\n...\nbody", "title: x\n", "body"),
    "longer dashes do not close": ("---\na: x\n----\nb: y\n---\nbody", "a: x\n----\nb: y\n", "body"),
}


@pytest.mark.parametrize(("text", "front", "body"), FRONT.values(), ids=FRONT.keys())
def test_front_matter_is_split_from_the_body(text: str, front: str, body: str) -> None:
    found, offset = split_front_matter(text)
    assert (found, text[offset:]) == (front, body)


@pytest.mark.parametrize(
    "text",
    [
        "---\ntitle: x\nbody",
        "--- \ntitle: x\n---\nbody",
        "body\n---\ntitle: x\n---\n",
        "---",
        "",
        "\n---\ntitle: x\n---\n",
    ],
    ids=["never closed", "space behind the dashes", "not at the start", "dashes alone", "nothing", "blank line first"],
)
def test_text_without_front_matter_is_all_body(text: str) -> None:
    assert split_front_matter(text) == (None, 0)


def test_prose_between_two_rules_is_body() -> None:
    assert split_front_matter("---\n\n开头的一段话。\n\n---\n# 标题\n") == (None, 0)
