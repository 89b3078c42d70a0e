"""PowerPoint: one section for each slide, with its number as the page."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ragkit.ingest.archive import check_office_xml, open_archive
from ragkit.ingest.formats.base import Converted, Format, TextBuilder, markdown_table, one_line, plain

_DEEPEST: Final = 20
_ROW: Final = 91_440 * 2
"""Shapes whose tops differ by less than a fifth of an inch (in EMU) stand in one row."""


def convert(data: bytes, name: str) -> Converted:
    """Titles, texts, tables, alternative texts and speaker notes, in reading order.

    Raises:
        ConversionError: If it is a bomb, encrypted, damaged, or holds no text.
    """
    from pptx import Presentation

    with open_archive(data) as archive:
        check_office_xml(archive)
    deck = Presentation(io.BytesIO(data))
    builder = TextBuilder()
    for number, slide in enumerate(deck.slides, start=1):
        builder.page(number)
        title = slide.shapes.title
        blocks = [*_shapes(slide.shapes, None if title is None else title.shape_id)]
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            blocks.append(_paragraphs(slide.notes_slide.notes_text_frame))
        heading = one_line(title.text_frame.text) if title is not None and title.has_text_frame else ""
        if heading or any(blocks):
            builder.add(f"## {heading or f'Slide {number}'}")
        for block in blocks:
            builder.add(block)
    return builder.build(title=one_line(deck.core_properties.title or ""))


def _shapes(shapes: Iterable[Any], title_id: int | None, depth: int = 0) -> Iterator[str]:
    """Texts of shapes from top to bottom and left to right."""
    for shape in sorted(shapes, key=lambda one: ((one.top or 0) // _ROW, one.left or 0)):
        if shape.shape_id == title_id:
            continue
        if hasattr(shape, "shapes"):
            if depth < _DEEPEST:
                yield from _shapes(shape.shapes, title_id, depth + 1)
        elif getattr(shape, "has_table", False):
            yield markdown_table([[cell.text_frame.text for cell in row.cells] for row in shape.table.rows])
        elif getattr(shape, "has_chart", False):
            yield _chart(shape.chart)
        elif shape.has_text_frame:
            yield _paragraphs(shape.text_frame)
        else:
            described = one_line(shape._element._nvXxPr.cNvPr.get("descr") or "")
            yield f"![{described}]()" if described else ""


def _paragraphs(frame: Any) -> str:
    lines = []
    for paragraph in frame.paragraphs:
        text = one_line(paragraph.text)
        if text:
            # Body texts are lists on most slides; only the deeper levels say so for certain.
            lines.append(f"{'  ' * (paragraph.level - 1)}- {text}" if paragraph.level else plain(text))
    return "\n".join(lines)


def _chart(chart: Any) -> str:
    title = one_line(chart.chart_title.text_frame.text) if chart.has_title and chart.chart_title.has_text_frame else ""
    plots = list(chart.plots)
    categories = [str(category) for category in plots[0].categories] if plots else []
    rows = [["", *categories]]
    rows.extend([str(series.name), *map(str, series.values)] for plot in plots for series in plot.series)
    return "\n\n".join(part for part in (title, markdown_table(rows) if len(rows) > 1 else "") if part)


FORMAT = Format(
    name="PowerPoint",
    suffixes=frozenset({".pptx", ".pptm", ".ppsx"}),
    convert=convert,
    packages=("pptx",),
)
