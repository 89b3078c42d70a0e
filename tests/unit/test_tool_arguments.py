"""Arguments must be exactly what the schema says; what is not is refused with the path of the fault."""

from __future__ import annotations

import time
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from ragkit import tool
from ragkit.agent.tools.arguments import fault, schema_of


class Place(BaseModel):
    name: str
    line: int


def every(
    text: str, count: int, share: float, exact: bool, kind: Literal["a", "b"], place: Place, tags: list[str]
) -> str:
    """Takes one of each."""
    return text


RIGHT: dict[str, Any] = {
    "text": "x", "count": 5, "share": 0.5, "exact": True, "kind": "a", "place": {"name": "n", "line": 1}, "tags": ["t"],
}  # fmt: skip
SCHEMA = schema_of(tool(every))


def test_what_fits_passes() -> None:
    assert fault(SCHEMA, RIGHT) == ""


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"count": "5"}, "arguments.count"),
        ({"count": True}, "arguments.count"),
        ({"count": 5.5}, "arguments.count"),
        ({"count": None}, "arguments.count"),
        ({"count": 10**30}, "arguments.count"),
        ({"count": -(10**5000)}, "arguments.count"),
        ({"exact": 1}, "arguments.exact"),
        ({"exact": "true"}, "arguments.exact"),
        ({"share": float("nan")}, "arguments.share"),
        ({"share": float("inf")}, "arguments.share"),
        ({"share": "0.5"}, "arguments.share"),
        ({"text": 5}, "arguments.text"),
        ({"text": ["x"]}, "arguments.text"),
        ({"text": "\ud800"}, "arguments.text"),
        ({"kind": "c"}, "arguments.kind"),
        ({"kind": "A"}, "arguments.kind"),
        ({"place": {"name": "n"}}, "arguments.place"),
        ({"place": {"name": "n", "line": "1"}}, "arguments.place.line"),
        ({"place": {"name": "n", "line": 1, "path": "/etc/passwd"}}, "arguments.place"),
        ({"place": "n"}, "arguments.place"),
        ({"tags": "t"}, "arguments.tags"),
        ({"tags": ["t", 1]}, "arguments.tags.1"),
        ({"extra": 1}, "arguments"),
        ({"__class__": "x"}, "arguments"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(change: dict[str, Any], path: str) -> None:
    said = fault(SCHEMA, {**RIGHT, **change})
    assert said.startswith(f"{path}: ") and len(said) < 1000


@pytest.mark.parametrize("given", [None, [], [1], "text", 42, True])
def test_the_top_level_is_an_object(given: Any) -> None:
    assert fault(SCHEMA, given).startswith("arguments: must be an object")


def test_a_missing_argument_is_named() -> None:
    assert "'tags' is a required property" in fault(SCHEMA, {k: v for k, v in RIGHT.items() if k != "tags"})


def test_absurd_depth_and_length_end_soon() -> None:
    deep: Any = "x"
    for _ in range(5_000):
        deep = [deep]
    began = time.perf_counter()
    assert "nested deeper" in fault(SCHEMA, {**RIGHT, "tags": deep})
    assert "longer than" in fault(SCHEMA, {**RIGHT, "text": "x" * 2_000_000})
    assert time.perf_counter() - began < 2


def test_a_schema_that_points_elsewhere_is_not_fetched() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    assert fault(schema, {"a": 1}).startswith("arguments: cannot be checked")
