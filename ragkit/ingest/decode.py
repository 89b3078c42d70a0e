r"""Bytes of a note to Unicode text with ``\\n`` newlines. No file is opened here.

All offsets of ragkit count characters of the text that `decode` returns.
"""

from __future__ import annotations

import codecs
from typing import Final

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL: Final = frozenset(range(0x20)) - {0x09, 0x0A, 0x0C, 0x0D}


class UndecodableError(ValueError):
    """The bytes are no text in an encoding that is recognised; the message is the reason."""


def decode(data: bytes) -> str:
    r"""Decode a note.

    Tried in this order: a byte order mark, UTF-8, UTF-16 without a mark (told by its zero
    bytes), GB18030, and last what charset-normalizer makes of it.

    Args:
        data: The file's bytes.

    Returns:
        The text, newlines normalised to ``\\n``, without a byte order mark.

    Raises:
        UndecodableError: If the bytes are binary data or in no recognised encoding.
    """
    text = _decode(data)
    if sum(ord(char) in _CONTROL for char in text[:20_000]) > max(8, len(text[:20_000]) // 50):
        raise UndecodableError("looks like binary data, not text")
    return text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")


def _decode(data: bytes) -> str:
    for mark, name in _BOMS:
        if data.startswith(mark):
            return _strict(data, name)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    # UTF-16 text in Latin script is valid UTF-8 too, with a NUL as every second character.
    if b"\0" in data:
        return _utf16_without_mark(data)
    if text is not None:
        return text
    return _legacy(data)


def _strict(data: bytes, name: str) -> str:
    try:
        return data.decode(name)
    except UnicodeDecodeError as exc:
        raise UndecodableError(
            f"starts like {name.removesuffix('-sig').upper()} but breaks at byte {exc.start}"
        ) from exc


def _utf16_without_mark(data: bytes) -> str:
    sample = data[:4096]
    # ASCII has its zero byte behind (LE) or in front (BE), but so has 一 (U+4E00), the other way round;
    # in the wrong order Chinese text falls apart into all planes, and English into rare Han characters.
    names = ("utf-16-le", "utf-16-be") if sample[1::2].count(0) > sample[0::2].count(0) else ("utf-16-be", "utf-16-le")
    shares = {name: _common_share(sample.decode(name, "replace")) for name in names}
    best = max(shares, key=lambda name: shares[name])
    if len(data) % 2 == 0 and shares[best] >= 0.9:
        return _strict(data, best)
    raise UndecodableError("looks like binary data, not text")


def _common_share(text: str) -> float:
    """Share of the characters that are ASCII text, common Han characters or their punctuation."""
    common = sum(
        " " <= char <= "~"
        or char in "\t\n\r"
        or "\u4e00" <= char <= "\u9fff"
        or "\u3000" <= char <= "\u303f"
        or "\uff00" <= char <= "\uffef"
        or "\u2010" <= char <= "\u2027"
        for char in text
    )
    return common / len(text) if text else 0.0


def _legacy(data: bytes) -> str:
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        text = None
    # GB18030 maps nearly every byte pair somewhere; real Chinese text stays in the common plane.
    if text is not None:
        high = "".join(char for char in text if ord(char) > 0x7F)
        if _common_share(high) >= 0.8:
            return text
    from charset_normalizer import from_bytes

    best = from_bytes(data).best()
    if best is None or best.encoding in {"utf_16", "utf_32", "utf_16_le", "utf_16_be", "utf_7"}:
        raise UndecodableError("is in no recognised encoding (UTF-8, UTF-16 or GB18030 expected)")
    return str(best)
