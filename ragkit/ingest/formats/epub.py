"""EPUB: the chapters in the order of the book's spine."""

from __future__ import annotations

import posixpath
import re
import zipfile
from typing import Final
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from ragkit.ingest.archive import open_archive, parse_xml, read_entry
from ragkit.ingest.formats.base import ConversionError, Converted, Format, TextBuilder, one_line
from ragkit.ingest.markup import decode_html, html_to_markdown

_CONTAINER: Final = "META-INF/container.xml"
_PAGES: Final = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml"})
_ENTITY: Final = re.compile(r"<!ENTITY", re.IGNORECASE)


def convert(data: bytes, name: str) -> Converted:
    """All chapters that hold text, and title and author of the book.

    Raises:
        ConversionError: If it is a bomb, copy-protected, damaged, or holds no text.
    """
    with open_archive(data) as archive:
        names = set(archive.namelist())
        if {"META-INF/encryption.xml", "META-INF/rights.xml"} <= names:
            raise ConversionError("copy-protected")
        package = _package_path(archive)
        book = parse_xml(read_entry(archive, package), package)
        builder = TextBuilder()
        for chapter in _spine(book, posixpath.dirname(package)):
            if chapter not in names:
                continue
            html, _ = decode_html(read_entry(archive, chapter))
            if _ENTITY.search(html):
                raise ConversionError(f"a document type definition with entities in {chapter[:100]!r}")
            builder.add(html_to_markdown(html)[0])
    metadata = {"author": _first(book, "creator"), "language": _first(book, "language")}
    return builder.build(title=_first(book, "title"), metadata=metadata)


def _package_path(archive: zipfile.ZipFile) -> str:
    container = parse_xml(read_entry(archive, _CONTAINER), _CONTAINER)
    for element in container.iter():
        if _local(element) == "rootfile" and element.get("full-path"):
            return str(element.get("full-path"))
    raise ConversionError(f"a damaged book: {_CONTAINER} names no package")


def _spine(book: Element, folder: str) -> list[str]:
    """Paths of the chapters inside the archive; they are names in it, nothing is opened on the disk."""
    items = {
        element.get("id", ""): posixpath.normpath(posixpath.join(folder, unquote(element.get("href", ""))))
        for element in book.iter()
        if _local(element) == "item" and element.get("media-type", "").lower() in _PAGES
    }
    order = [element.get("idref", "") for element in book.iter() if _local(element) == "itemref"]
    return list(dict.fromkeys(items[key] for key in order if key in items))


def _first(book: Element, name: str) -> str:
    return next((one_line(element.text or "") for element in book.iter() if _local(element) == name), "")


def _local(element: Element) -> str:
    """A tag without its namespace; comments have none."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


FORMAT = Format(
    name="EPUB",
    suffixes=frozenset({".epub"}),
    convert=convert,
    packages=("bs4", "markdownify"),
)
