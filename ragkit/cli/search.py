"""``ragkit search QUERY``: the best chunks, with the reasons for their places."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ragkit.cli.common import emit_json, open_index, say, state
from ragkit.errors import UsageError
from ragkit.ingest.image_refs import pictures_in
from ragkit.text.sanitize import clean_question, one_line
from ragkit.values import Hit, PictureHit

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
        "page": hit.page,
        "end_page": hit.end_page,
        "text": hit.text,
        "images": [asdict(picture) for picture in pictures_in(hit.text, hit.document, hit.start_line)],
        "coverage": round(hit.coverage, 4),
        "sentence": hit.sentence,
        "legs": {name: None if leg is None else asdict(leg) for name, leg in hit.legs.items()},
    }


def run(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", "--top", min=1, max=1000, help="Number of hits.")] = 5,
    mode: Annotated[str, typer.Option(help="hybrid, dense or sparse.")] = "hybrid",
    rewrite: Annotated[
        bool | None,
        typer.Option("--rewrite/--no-rewrite", help="Let the chat model add queries, the question translated too."),
    ] = None,
    hyde: Annotated[
        bool | None, typer.Option("--hyde/--no-hyde", help="Let the chat model add a hypothetical passage.")
    ] = None,
    translate: Annotated[
        bool | None,
        typer.Option(
            "--translate/--no-translate", help="Let the chat model put the question into the notes' language."
        ),
    ] = None,
    images: Annotated[bool, typer.Option("--images", help="Find pictures (setting images = CLIP model).")] = False,
    documents: Annotated[
        list[str] | None, typer.Option("--document", metavar="PATTERN", help="Only notes like this: work/*.md.")
    ] = None,
    heading: Annotated[str, typer.Option(metavar="TEXT", help="Only below headings that contain this.")] = "",
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="Only notes with this tag.")] = None,
    language: Annotated[str, typer.Option(help="Only passages in this language: zh or en.")] = "",
) -> None:
    """Search the notes and show the best chunks. Several --index DIR are searched as one."""
    from ragkit.api import Index
    from ragkit.multi import MultiIndex
    from ragkit.retrieval.retriever import check_mode

    chosen = check_mode(mode)
    query = clean_question(query)
    began = time.monotonic()
    where = _filter(documents or [], heading, tags or [], language)
    settings = state.settings()
    several = len(state.indexes) > 1
    index = Index.open_many(state.indexes, settings=settings) if several else open_index(settings)
    if images:
        if isinstance(index, MultiIndex) or where:
            raise UsageError("--images searches one index, unfiltered.", "Name one --index, and no filter.")
        _show_pictures(query, index.search_images(query, k), began)
        return
    plan = index.plan(query, rewrite=rewrite, hyde=hyde, translate=translate)
    hits = index.search_queries(plan.queries, k=k, mode=chosen, where=where)
    seconds = time.monotonic() - began
    if state.json:
        emit_json(
            {
                "query": query,
                "queries": [q.text for q in plan.queries],
                "transforms": [asdict(stage) for stage in plan.stages],
                "hits": [hit_json(h) for h in hits],
                "seconds": seconds,
            }
        )
        return
    for line in [*map(str, plan.stages), *plan.notes]:
        say(one_line(line, 300), style="dim")
    for hit in hits:
        show_hit(hit)
    if not hits:
        say("Nothing found.")


def _show_pictures(query: str, hits: list[PictureHit], began: float) -> None:
    if state.json:
        emit_json({"query": query, "images": [asdict(hit) for hit in hits], "seconds": time.monotonic() - began})
        return
    for hit in hits:
        say(f"{hit.rank}. {one_line(hit.path)}  {one_line(hit.alt, 100)}", style="bold")
        say(f"   {one_line(hit.document)}:{hit.line}  score {hit.score:.3f}", style="dim")
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
        f"{hit.rank}. {one_line(hit.where)}  {one_line(' > '.join(hit.heading), 100)}",
        style="bold",
    )
    legs = ", ".join(f"{name} #{leg.rank} {leg.score:.3g}" for name, leg in hit.legs.items() if leg is not None)
    if hit.sentence is not None:
        legs += f", best sentence {hit.sentence:.3g}"
    say(f"   score {hit.score:.2f} ({legs or 'no leg'}; covers {hit.coverage:.0%} of the question)", style="dim")
    lines = [line for line in hit.text.splitlines() if line.strip()]
    for line in lines[:_SHOWN_LINES]:
        say(f"   {one_line(line, 160)}")
    if len(lines) > _SHOWN_LINES:
        say(f"   … {len(lines) - _SHOWN_LINES} more lines", style="dim")
    say()
