"""Zip archives and XML of documents, looked over before any library opens them.

Refused are archives that unfold to too much (ratio, total, number of entries) and XML with a
document type definition, which no office format uses and every entity attack needs.
"""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Final
from xml.etree import ElementTree
from xml.parsers import expat

from ragkit.ingest.formats.base import ConversionError

MAX_ENTRIES: Final = 10_000
MAX_TOTAL: Final = 200 * 1024 * 1024
MAX_RATIO: Final = 100
_RATIO_FROM: Final = 1024 * 1024
"""A smaller entry does no harm, however well it is packed: blank pictures are packed 1000:1."""
_DIRECTORY_BYTES: Final = 4 * 1024 * 1024
_END: Final = b"PK\5\6"
_END64: Final = b"PK\6\6"
_LOCATOR64: Final = b"PK\6\7"
_COMPOUND_FILE: Final = bytes.fromhex("d0cf11e0a1b11ae1")
_ENCODINGS: Final = frozenset({"utf-8", "utf-16", "utf-16le", "utf-16be", "us-ascii", "ascii"})


def open_archive(data: bytes) -> zipfile.ZipFile:
    """Open a zip archive that is safe to unpack in memory.

    Raises:
        ConversionError: If it is no zip archive, damaged, encrypted or a bomb; the message is the reason.
    """
    if data.startswith(_COMPOUND_FILE):
        raise ConversionError("password-protected, or in the old binary format; save it without a password, as new")
    entries, size = _directory(data)
    if entries > MAX_ENTRIES:
        raise ConversionError(f"an archive of {entries:,} entries; at most {MAX_ENTRIES:,} are unpacked")
    if size > _DIRECTORY_BYTES:
        raise ConversionError(f"an archive whose directory alone takes {size // 1024**2} MiB")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as exc:
        raise ConversionError(f"a damaged archive ({exc})") from exc
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise ConversionError(f"an archive of {len(infos):,} entries; at most {MAX_ENTRIES:,} are unpacked")
    if any(info.flag_bits & 1 for info in infos):
        raise ConversionError("password-protected")
    total = sum(info.file_size for info in infos)
    bomb = [i for i in infos if i.file_size >= _RATIO_FROM and i.file_size > MAX_RATIO * max(i.compress_size, 1)]
    if total > MAX_TOTAL:
        raise ConversionError(f"unpacks to {total // 1024**2:,} MiB; at most {MAX_TOTAL // 1024**2} are unpacked")
    if bomb or total > MAX_RATIO * len(data) + _RATIO_FROM:
        raise ConversionError(f"an archive bomb: packed more than {MAX_RATIO}:1")
    return archive


def _directory(data: bytes) -> tuple[int, int]:
    """Entries and bytes of the archive's directory as its end record tells, before anything is read of it."""
    at = data.rfind(_END, max(0, len(data) - 65_557))
    if at < 0 or at + 22 > len(data):
        raise ConversionError("a damaged archive (it has no directory)")
    entries, size = struct.unpack_from("<HI", data, at + 10)
    if at >= 20 and data[at - 20 : at - 16] == _LOCATOR64:
        (at64,) = struct.unpack_from("<Q", data, at - 12)
        # zipfile looks right in front of the locator when bytes were put before the archive.
        for place in (at64, at - 20 - 56):
            if 0 <= place <= len(data) - 56 and data[place : place + 4] == _END64:
                entries64, size64 = struct.unpack_from("<QQ", data, place + 32)
                entries, size = max(entries, entries64), max(size, size64)
    return entries, size


def check_office_xml(archive: zipfile.ZipFile) -> None:
    """Look over every XML part of an office document.

    Raises:
        ConversionError: If a part is malformed or has a document type definition.
    """
    for info in archive.infolist():
        if info.filename.lower().endswith((".xml", ".rels", ".vml")):
            check_xml(read_entry(archive, info.filename), info.filename)


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """One entry, unpacked.

    Raises:
        ConversionError: If it is missing or damaged.
    """
    try:
        return archive.read(name)
    except (KeyError, zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as exc:
        raise ConversionError(f"a damaged archive: {name[:100]!r} cannot be unpacked") from exc
    except Exception as exc:
        if type(exc).__module__ in {"zlib", "lzma", "_lzma", "bz2"}:
            raise ConversionError(f"a damaged archive: {name[:100]!r} cannot be unpacked") from exc
        raise


def check_xml(data: bytes, name: str) -> None:
    """Refuse XML that is malformed, has a document type definition, or hides in a rare encoding.

    Raises:
        ConversionError: Naming the part.
    """

    def doctype(*_: object) -> None:
        raise ConversionError(f"XML with a document type definition in {name[:100]!r}")

    def declaration(_: str, encoding: str | None, __: int) -> None:
        if encoding and encoding.lower() not in _ENCODINGS:
            raise ConversionError(f"XML in encoding {encoding[:30]!r} in {name[:100]!r}")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = doctype
    parser.XmlDeclHandler = declaration
    try:
        parser.Parse(data, True)
    except expat.ExpatError as exc:
        raise ConversionError(f"malformed XML in {name[:100]!r} ({exc})") from exc


def parse_xml(data: bytes, name: str) -> ElementTree.Element:
    """Parse XML after `check_xml`.

    Raises:
        ConversionError: As `check_xml` does.
    """
    check_xml(data, name)
    return ElementTree.fromstring(data)
