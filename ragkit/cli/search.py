"""``ragkit search QUERY``: the best chunks, with the reasons for their places."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ragkit.cli.common import emit_json, open_index, say, state
from ragkit.errors import UsageError
from ragkit.text.sanitize import clean_question, one_line
from ragkit.values import Hit

if TYPE_CHECKING:
    from ragkit.index.engine import Filter

_SHOWN_LINES = 6


def hit_json(hit: Hit) -> dict[str, Any]:
    """A hit in the form of the ``--json`` contract."""
    return {
        "rank": hit.rank,
        "score": hit.score,
        "document": hit.document,
        "heading": list(hit.heading),
        "start_line": hit.start_line,
        "end_line": hit.end_line,
        "start": hit.start,
        "end": hit.end,
        "text": hit.text,
        "coverage": round(hit.coverage, 4),
        "legs": {name: None if leg is None else asdict(leg) for name, leg in hit.legs.items()},
    }


def run(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", "--top", min=1, max=1000, help="Number of hits.")] = 5,
    mode: Annotated[str, typer.Option(help="hybrid, dense or sparse.")] = "hybrid",
    rewrite: Annotated[bool, typer.Option("--rewrite", help="Let the chat model add queries.")] = False,
    hyde: Annotated[bool, typer.Option("--hyde", help="Let the chat model add a hypothetical passage.")] = False,
    documents: Annotated[
        list[str] | None, typer.Option("--document", metavar="PATTERN", help="Only notes like this: work/*.md.")
    ] = None,
    heading: Annotated[str, typer.Option(metavar="TEXT", help="Only below headings that contain this.")] = "",
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="Only notes with this tag.")] = None,
    language: Annotated[str, typer.Option(help="Only passages in this language: zh or en.")] = "",
) -> None:
    """Search the notes and show the best chunks. Several --index DIR are searched as one."""
    from ragkit.api import Index
    from ragkit.retrieval.retriever import check_mode

    chosen = check_mode(mode)
    query = clean_question(query)
    began = time.monotonic()
    where = _filter(documents or [], heading, tags or [], language)
    settings = state.settings()
    several = len(state.indexes) > 1
    index = Index.open_many(state.indexes, settings=settings) if several else open_index(settings)
    plan = index.plan(query, rewrite=rewrite, hyde=hyde)
    hits = index.search_queries(plan.queries, k=k, mode=chosen, where=where)
    seconds = time.monotonic() - began
    if state.json:
        emit_json(
            {
                "query": query,
                "queries": [q.text for q in plan.queries],
                "hits": [hit_json(h) for h in hits],
                "seconds": seconds,
            }
        )
        return
    for line in plan.notes:
        say(one_line(line, 300), style="dim")
    for hit in hits:
        show_hit(hit)
    if not hits:
        say("Nothing found.")


def _filter(documents: list[str], heading: str, tags: list[str], language: str) -> Filter:
    from ragkit.index.engine import Filter

    if language not in {"", "zh", "en"}:
        raise UsageError(f"Unknown language {language!r}.", "Allowed: zh, en.")
    group: Literal["zh", "other", ""] = "zh" if language == "zh" else "other" if language else ""
    return Filter(documents=tuple(documents), heading=heading, tags=tuple(tags), language=group)


def show_hit(hit: Hit) -> None:
    """A hit on the terminal: place, legs, first lines."""
    say(
        f"{hit.rank}. {one_line(hit.document)}:{hit.start_line}-{hit.end_line}"
        f"  {one_line(' > '.join(hit.heading), 100)}",
        style="bold",
    )
    legs = ", ".join(f"{name} #{leg.rank} {leg.score:.3g}" for name, leg in hit.legs.items() if leg is not None)
    say(f"   score {hit.score:.2f} ({legs or 'no leg'}; covers {hit.coverage:.0%} of the question)", style="dim")
    lines = [line for line in hit.text.splitlines() if line.strip()]
    for line in lines[:_SHOWN_LINES]:
        say(f"   {one_line(line, 160)}")
    if len(lines) > _SHOWN_LINES:
        say(f"   … {len(lines) - _SHOWN_LINES} more lines", style="dim")
    say()
