r"""Bytes of a note to Unicode text with ``\\n`` newlines. No file is opened here.

All offsets of ragkit count characters of the text that `decode_note` returns. Bytes that are no
text in the note's encoding, and NUL characters, stand in it as one U+FFFD each, so that nothing
behind them moves.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import chardet

from ragkit.text.sanitize import ANSI_SEQUENCE

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PAIRED: Final = ("gb18030", "big5hkscs", "cp932", "shift_jis_2004", "euc_jis_2004", "cp949")
_LEGACY: Final = (
    *_PAIRED,
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258"),
    *("iso8859-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-15", "koi8-r", "koi8-u", "cp866", "cp874"),
)
_CONTROL: Final = frozenset(range(0x20)) - {0x09, 0x0A, 0x0C, 0x0D}
_C1: Final = frozenset(range(0x80, 0xA0))
_SAMPLE: Final = 20_000
_PLACES: Final = 3
"""So many bad places are forgiven even if they are not 5 % or less of what is not ASCII."""
_CONFIDENCE: Final = 0.04
"""Below this confidence of chardet its answer is a blind guess."""
_WESTERN: Final = frozenset("àáâãäåæçèéêëìíîïñòóôõöøœùúûüßÀÁÂÄÅÆÇÈÉÊÍÑÓÔÖØÚÜ–—‘’“”„…•€£§©®°±²³µ·×«»")
_SCRIPTS: Final = tuple(
    (ord(first), ord(last))
    for first, last in (
        *((" ", "~"), ("\u00a0", "\u024f"), ("\u0300", "\u06ff"), ("\u0900", "\u0e7f"), ("\u1e00", "\u1fff")),
        *(("\u2010", "\u2027"), ("\u2030", "\u205e"), ("\u20a0", "\u22ff"), ("\u2500", "\u27bf")),
        *(("\u3000", "\u30ff"), ("\u4e00", "\u9fff"), ("\uac00", "\ud7a3"), ("\uff00", "\uffef")),
        ("\U0001f300", "\U0001faff"),
    )
)
_BINARY: Final = "looks like binary data, not text"


class UndecodableError(ValueError):
    """The bytes are no text in an encoding that is recognised; the message is the reason."""


@dataclass(frozen=True)
class Decoded:
    """Text of a note, and what had to be guessed or replaced to get it."""

    text: str
    warning: str = ""
    """Empty if there is nothing to say."""


def decode(data: bytes) -> str:
    """The text alone of what `decode_note` returns."""
    return decode_note(data).text


def decode_note(data: bytes) -> Decoded:
    r"""Decode a note.

    Tried in this order: a byte order mark; UTF-8, of which a few bytes may be damaged; UTF-16 and
    UTF-32 without a mark (told by their zero bytes); and last GB18030 and other legacy encodings
    as chardet tells them apart. A guess other than GB18030 comes with a warning.

    Args:
        data: The file's bytes.

    Returns:
        The text, newlines normalised to ``\\n``, without a byte order mark; U+FFFD for each bad
        place and each NUL. Padding with NUL at the end of the file is left out.

    Raises:
        UndecodableError: If the bytes are binary data or in no recognised encoding.
    """
    found = _decode(data)
    if _is_binary(found.text):
        raise UndecodableError(_BINARY)
    text, warnings = found.text, [found.warning] if found.warning else []
    if nuls := text.count("\0"):
        text = text.replace("\0", "\ufffd")
        warnings.append(f"{nuls} NUL character{'s' if nuls > 1 else ''} read as U+FFFD")
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    return Decoded(text, "; ".join(warnings))


def _decode(data: bytes) -> Decoded:
    for mark, name in _BOMS:
        if data.startswith(mark):
            return _marked(data, name)
    utf8 = _mostly(data, "utf-8")
    if b"\0" not in data:
        return utf8 or _legacy(data)
    # UTF-16 in Latin or Cyrillic script is valid UTF-8 too, with a NUL or another control character as every second.
    if utf8 and _few_nuls(data) and not _is_binary(utf8.text):
        return utf8
    if wide := _wide(data):
        return wide
    body = data.rstrip(b"\0")
    if not body or not _few_nuls(body):
        raise UndecodableError(_BINARY)
    if body == data:
        return _legacy(data)
    inner = _decode(body)
    padding = f"{len(data) - len(body)} NUL bytes at the end left out"
    return Decoded(inner.text, f"{inner.warning}; {padding}" if inner.warning else padding)


def _marked(data: bytes, name: str) -> Decoded:
    found = _mostly(data, name)
    if found is None:
        raise UndecodableError(
            f"starts like {name.removesuffix('-sig').upper()} but breaks at byte {_strict(data, name)[1]}"
        )
    return found


def _strict(data: bytes, name: str) -> tuple[str | None, int]:
    """Decoded text, or None and the byte at which decoding broke."""
    try:
        return data.decode(name), 0
    except UnicodeDecodeError as exc:
        return None, exc.start


def _mostly(data: bytes, name: str) -> Decoded | None:
    """`data` in encoding `name` if all of it or nearly all is valid there, else None."""
    text, first = _strict(data, name)
    if text is not None:
        return Decoded(text)
    text = data.decode(name, "replace")
    bad = text.count("\ufffd")
    if name.startswith("utf-8"):
        bad -= data.count(b"\xef\xbf\xbd")  # the character itself is no damage
    # ASCII bytes are the same nearly everywhere and speak for no encoding; in UTF-16 every character does.
    good = len(text) - bad if name.startswith(("utf-16", "utf-32")) else sum(char > "\x7f" for char in text) - bad
    if bad * 19 > good and not bad <= min(_PLACES, good - 1):
        return None
    return Decoded(text, _damage(name, bad, first))


def _damage(name: str, bad: int, first: int) -> str:
    places = f"{bad} places, the first" if bad > 1 else "one place,"
    return f"not valid {_label(name)} at {places} byte {first}; read as U+FFFD"


def _few_nuls(data: bytes) -> bool:
    nuls = data.count(0)
    return nuls * 10 <= len(data) and nuls <= max(8, len(data) // 50)


def _is_binary(text: str, control: frozenset[int] = _CONTROL) -> bool:
    sample = ANSI_SEQUENCE.sub("", text[:_SAMPLE])
    return sum(ord(char) in control for char in sample) > max(8, len(sample) // 50)


def _wide(data: bytes) -> Decoded | None:
    """UTF-16 or UTF-32 without a byte order mark, else None.

    The halves of a code unit tell the order of bytes: text stays in few blocks of Unicode, so its
    high bytes repeat, while its low bytes are spread.
    """
    sample = data[:4096]
    even, odd = (sum(half.count(byte) ** 2 for byte in set(half)) for half in (sample[0::2], sample[1::2]))
    utf16 = ("utf-16-be", "utf-16-le") if even > odd else ("utf-16-le", "utf-16-be")
    for name in ("utf-32-le", "utf-32-be", *utf16):
        if _script_share(sample.decode(name, "replace")) >= 0.9 and (found := _mostly(data, name)):
            return found
    return None


def _script_share(text: str) -> float:
    """Share of the characters that belong to a script in wide use, its punctuation or white space."""
    known = sum(char in "\t\n\r" or any(low <= ord(char) <= high for low, high in _SCRIPTS) for char in text)
    return known / len(text) if text else 0.0


def _legacy(data: bytes) -> Decoded:
    """GB18030, Big5, Shift_JIS, EUC-KR, Windows-1252 and so on."""
    if western := _isolated_western(data):
        return western
    high = sum(byte > 0x7F for byte in data)
    # Lines of ASCII say nothing and hide the few that do; 0xFF is a letter in no multi-byte encoding.
    lines = [line for line in re.split(rb"[\r\n]+", data.replace(b"\xff", b"")) if not line.isascii()]
    whole = [line for line in lines if _strict(line, "gb18030")[0] is not None]
    # A lost byte spoils its line only; GB18030, the usual one, is recognised by the others.
    for name in (_guess(lines), "gb18030" if len(whole) < len(lines) and _guess(whole) == "gb18030" else None):
        found = _mostly(data, name) if name else None
        if name is None or found is None or _is_binary(found.text, _CONTROL | _C1):
            continue
        if name in _PAIRED or high > _PLACES or _all_western(found.text):
            guess = "" if name == "gb18030" else _guessed(name)
            return Decoded(found.text, "; ".join(part for part in (guess, found.warning) if part))
    if high <= max(_PLACES, len(data) // 100):
        text = data.decode("utf-8", "replace")
        return Decoded(text, _damage("utf-8", text.count("\ufffd"), _strict(data, "utf-8")[1]))
    binary = _is_binary(data.decode("latin-1"))
    raise UndecodableError(_BINARY if binary else "is in no recognised encoding; save it as UTF-8")


def _guess(lines: Sequence[bytes]) -> str | None:
    """The legacy encoding that chardet takes these lines for, None if it cannot tell."""
    telling = b"\n".join(lines).replace(b"\0", b"")
    if not telling:
        return None
    found = chardet.detect(telling, include_encodings=_LEGACY, prefer_superset=True, compat_names=False)
    name, confidence = found["encoding"], found["confidence"] or 0.0
    return name if name in _LEGACY and confidence >= _CONFIDENCE else None


def _isolated_western(data: bytes) -> Decoded | None:
    """Windows-1252 if the bytes that are not ASCII stand alone and all are usual Western letters and signs.

    In the East Asian encodings they come in pairs; chardet needs more text than one accent.
    """
    if re.search(rb"[\x80-\xff]{2}", data):
        return None
    text, _ = _strict(data, "cp1252")
    return Decoded(text, _guessed("cp1252")) if text is not None and _all_western(text) else None


def _all_western(text: str) -> bool:
    return all(char in _WESTERN for char in text if char > "\x7f")


def _guessed(codec: str) -> str:
    return f"read as {_label(codec)}, which is a guess; save it as UTF-8"


def _label(codec: str) -> str:
    special = {
        "big5hkscs": "Big5",
        "cp932": "Shift_JIS",
        "shift_jis_2004": "Shift_JIS",
        "euc_jis_2004": "EUC-JP",
        "cp949": "EUC-KR",
    }
    if codec.startswith("cp125"):
        return f"Windows-{codec[2:]}"
    return special.get(codec, codec.removesuffix("-sig").upper())
