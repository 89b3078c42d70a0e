"""From a matplotlib figure to inline SVG: text stays text, colours follow the page, ids are the figure's own."""

from __future__ import annotations

import io
import re
import warnings
from typing import Final
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.figure import Figure

RUN_COLOURS: Final = 8
"""Runs beyond so many share a colour; dashes and markers still tell them apart."""
INK, FAINT, GRID = "#0a0001", "#0a0002", "#0a0003"
# A figure is drawn in colours that nobody would choose; each becomes a variable of the page's style sheet,
# so that one drawing serves light and dark.
_VARIABLES: Final = {INK: "var(--ink)", FAINT: "var(--faint)", GRID: "var(--grid)"}
_COLOUR: Final = re.compile(r"#0[ab]00[0-9a-f]{2}\b")
_REFERENCE: Final = re.compile(r"url\(#([^)]+)\)")
# The page's own font takes the place of the family that matplotlib measured with.
_FAMILY: Final = re.compile(r"font-family: [^;]+;? *")
_FONT: Final = re.compile(r"font: ([\d.]+)px [^;]+")  # as matplotlib wrote it before 3.11


def run_colour(number: int) -> str:
    """Stand-in for the colour of the run with this number (from 0)."""
    return f"#0b00{number % RUN_COLOURS:02x}"


def to_svg(figure: Figure, prefix: str, title: str, description: str) -> Markup:
    """The figure as an ``<svg>`` element without size, to be put into a page as it is.

    Args:
        figure: Drawn with the colours of this module.
        prefix: Put before every id, unique on the page (letters, digits and hyphens).
        title: Short name for assistive technology; printable.
        description: What the figure says, in words; printable.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # Glyphs that matplotlib's own font lacks are the browser's to draw.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # Metadata would name the time and matplotlib's address.
        none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=none)
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", buffer.getvalue()))
    for parent in list(root.iter()):
        for child in list(parent):
            # A style element would hold for the whole page.
            if child.tag.rpartition("}")[2] in {"metadata", "style"}:
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        _own(element, prefix)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{prefix}-title {prefix}-desc")
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, {"id": f"{prefix}-{tag}"})
        element.text = text
        root.insert(place, element)
    # The serialiser has escaped every text.
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _own(element: ElementTree.Element, prefix: str) -> None:
    for name, value in element.attrib.items():
        if name == "id":
            element.set(name, f"{prefix}-{value}")
        elif name == "href":
            element.set(name, f"#{prefix}-{value.removeprefix('#')}")
        else:
            value = _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
            if name == "style":
                value = _COLOUR.sub(_variable, _FONT.sub(r"font-size: \1px", _FAMILY.sub("", value)))
            element.set(name, value)


def _variable(found: re.Match[str]) -> str:
    return _VARIABLES.get(found[0]) or f"var(--run{int(found[0][-2:], 16)})"
