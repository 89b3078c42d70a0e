"""Pictures that a Markdown text shows: where, and what the text says of them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import cache
from html import unescape
from typing import Final
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ragkit.ingest.code_blocks import is_code
from ragkit.values import Picture

_HINT: Final = re.compile(r"!\[|<img\b", re.IGNORECASE)
_TAG: Final = re.compile(r"<img\b[^>]{0,2000}>", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(r"\b(src|alt)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))", re.IGNORECASE)
_EMBED: Final = re.compile(r"!\[\[([^\[\]|\n]{1,300})(?:\|([^\[\]\n]{0,300}))?\]\]")
"""``![[picture.png|alt]]`` of Obsidian."""
_SIZE: Final = re.compile(r"\d+(?:x\d+)?")


def pictures_in(text: str, document: str, first_line: int = 1) -> list[Picture]:
    """Pictures shown by a note or a part of it, in order.

    Args:
        text: Markdown.
        document: Path of the note; relative addresses start at its folder.
        first_line: Line of the note that `text` begins on.

    Returns:
        Their paths relative to the indexed root, or their addresses if they lie elsewhere. Pictures
        in code, and pictures written out as ``data:``, are none.
    """
    if is_code(document) or not _HINT.search(text):
        return []
    try:
        tokens = _parser().parse(text)
    except RecursionError:
        return []
    found = []
    for token in tokens:
        start = first_line + (token.map[0] if token.map else 0)
        for source, alt, line in _in_token(token, start):
            address = _address(source, document)
            if address:
                found.append(Picture(path=address, alt=" ".join(alt.split()), line=line))
    return found


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"maxNesting": 40}).enable("table")


def _in_token(token: Token, line: int) -> Iterator[tuple[str, str, int]]:
    if token.type == "html_block":
        yield from _tags(token.content, line)
    texts: list[str] = []
    for child in token.children or []:
        match child.type:
            case "softbreak" | "hardbreak":
                yield from _embeds("".join(texts), line)
                texts = []
                line += 1
            case "image":
                yield str(child.attrs.get("src") or ""), child.content, line
            case "html_inline":
                yield from _tags(child.content, line)
                line += child.content.count("\n")
            case "text":
                texts.append(child.content)
    yield from _embeds("".join(texts), line)


def _tags(html: str, line: int) -> Iterator[tuple[str, str, int]]:
    for tag in _TAG.finditer(html):
        values = {name.lower(): unescape(a or b or c) for name, a, b, c in _ATTRIBUTE.findall(tag.group())}
        yield values.get("src", ""), values.get("alt", ""), line + html.count("\n", 0, tag.start())


def _embeds(text: str, line: int) -> Iterator[tuple[str, str, int]]:
    for found in _EMBED.finditer(text):
        alt = found.group(2) or ""
        yield found.group(1).strip(), "" if _SIZE.fullmatch(alt) else alt, line


def _address(source: str, document: str) -> str:
    try:
        parts = urlsplit(source)
    except ValueError:
        return ""
    if parts.scheme in {"http", "https"} or parts.netloc:
        return source
    # One letter is a drive of Windows, anything else a scheme that shows no file (data:, javascript:).
    if parts.scheme or not parts.path or source.startswith("/"):
        return ""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(document), unquote(parts.path)))
    return "" if path.startswith("../") or path == ".." or "\0" in path else path
