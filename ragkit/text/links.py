r"""Links and pictures in an answer: what a reader may be shown of them.

What a model writes was steered by whatever it read. A picture in its answer would be fetched by
the page that shows it, and an address can carry data away in its path. So pictures go, an address
stays only if it stands in what the answer cites or in what the user asked, and one that stays is
always plain text with its target in sight, never behind other words.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from ragkit.text.sanitize import printable

_STOP: Final = "\\s<>\"'`|\\\\^{}，。；：、！？（）【】《》「」“”‘’…"
_URL: Final = re.compile(
    rf"(?:[a-z][a-z0-9+.-]{{1,20}}:/{{2,}}|(?<![\w.-])www\d?\.(?=[\w-]+\.)|(?<![\w.-])(?:javascript|vbscript|blob):"
    rf"|(?<![\w.-])mailto:(?=[^{_STOP}@]{{1,80}}@)|(?<![\w.-])data:(?=[\w.+-]*/?[\w.+-]*[;,]))[^{_STOP}]*",
    re.IGNORECASE,
)
_TEXT: Final = r"[^\[\]]{0,400}(?:\[[^\[\]]{0,200}\][^\[\]]{0,200}){0,3}"
_TARGET: Final = r"(<[^<>\n]{0,2000}>|[^\s()<>]{0,2000}(?:\([^\s()]{0,500}\)[^\s()]{0,2000}){0,3})"
_TITLE: Final = r"""(?:\s+(?:"[^"]{0,300}"|'[^']{0,300}'|\([^()]{0,300}\)))?"""
_IMAGE: Final = re.compile(rf"!\[({_TEXT})\](?:\(\s*{_TARGET}{_TITLE}\s*\)|\[[^\[\]]{{0,200}}\])")
_LINK: Final = re.compile(rf"\[({_TEXT})\]\(\s*{_TARGET}{_TITLE}\s*\)")
_DEFINITION: Final = re.compile(rf"\[([^\[\]\n]{{1,200}})\]:[ \t]*\n?[ \t]*{_TARGET}{_TITLE}")
_TAG: Final = re.compile(
    r"</?\s*(?:a\s(?=[^<>]*href)|/?a\s*(?=>)|(?:img|image|picture|iframe|frame|frameset|script|style|link|meta|base"
    r"|form|input|button|object|embed|applet|video|audio|source|track|svg)(?=[\s/>]|$))[^<>]*(?:>|$)",
    re.IGNORECASE,
)
_INNER: Final = re.compile(r"""(?:src|href|srcset|data|action|content|poster)\s*=\s*["']?([^"'\s<>]+)""", re.IGNORECASE)
_FOREIGN: Final = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:|[/\\]{2}|www\d?\.)|.*\\", re.IGNORECASE | re.DOTALL)
_OPENED: Final = re.compile(r"\](?=\(\s*[^\s)])")
_TRAILING: Final = ".,;:!?*_~"
_HIDDEN_HOST: Final = re.compile(r"[^\x00-\x7f]|(?:^|\.)xn--", re.IGNORECASE)


@dataclass(frozen=True)
class Unlinked:
    """A text without pictures and without addresses that nobody vouches for."""

    text: str
    removed: tuple[str, ...]
    """Targets that were taken out, in order, each once, written so that nothing makes a link of them."""


def addresses(texts: Iterable[str]) -> frozenset[str]:
    """Every address in these texts, in the form in which `unlinked` compares them."""
    found: set[str] = set()
    for text in texts:
        clean = printable(text)
        found.update(_folded(_cut(match.group())) for match in _URL.finditer(clean))
        # A target in parentheses ends at its bracket; what is bare there may not.
        found.update(_folded(match.group(2).strip("<>")) for match in _LINK.finditer(clean))
    return frozenset(found)


def unlinked(text: str, allowed: Collection[str], placeholder: str = "(link removed)") -> Unlinked:
    """`text` with its pictures taken out and only `allowed` addresses left, as plain text.

    A link becomes its words followed by its target in parentheses. Addresses with a user name, or
    with a host that is not plain ASCII, are followed by the host that they lead to.

    Args:
        text: An answer in Markdown.
        allowed: What `addresses` found in the question and in the cited passages.
        placeholder: Stands where an address was taken out.
    """
    removed: list[str] = []

    def picture(match: re.Match[str]) -> str:
        if match.group(2) and not _local(match.group(2)):
            removed.append(inert(match.group(2).strip("<>")))
        return match.group(1)

    def link(match: re.Match[str]) -> str:
        words, target = match.group(1), match.group(2).strip("<>")
        if not target or _local(target):
            return match.group()
        plain = html.unescape(target)
        if _folded(plain) not in allowed:
            removed.append(inert(plain))
            return f"{words} {placeholder}"
        return words if words.strip() == plain else f"{words} ({plain})"

    def tag(match: re.Match[str]) -> str:
        removed.extend(inert(html.unescape(target)) for target in _INNER.findall(match.group()))
        return ""

    def bare(match: re.Match[str]) -> str:
        address = _cut(match.group())
        rest = match.group()[len(address) :]
        if _folded(address) not in allowed:
            removed.append(inert(address))
            address = placeholder
        elif not match.string.startswith(host := _leads_to(address), match.start() + len(address)):
            address += host
        # A page would take what follows without a space for a part of the address.
        return address + (f" {rest}" if rest and rest[0] not in _TRAILING + ")]" else rest)

    text = printable(text)
    if not _suspect(text):
        return Unlinked(text, ())
    text = _TAG.sub(tag, text)
    text = _IMAGE.sub(picture, text)
    text = _LINK.sub(link, text)
    text = _DEFINITION.sub(lambda m: m.group() if _local(m.group(2)) else f"{m.group(1)}: {m.group(2)}", text)
    text = _OPENED.sub(lambda m: "]" if _local(text[m.end() + 1 :].partition(")")[0]) else "] ", text)
    text = _URL.sub(bare, text)
    return Unlinked(text, tuple(dict.fromkeys(removed)))


def inert(address: str) -> str:
    """An address to be read, not to be followed: ``hxxps://...``."""
    clean = printable(address).strip()
    head, colon, rest = clean.partition(":")
    if head.lower() in {"http", "https"}:
        head = f"hxxp{head[4:]}"
    return f"{head}{colon}{rest}" if "//" in rest[:2] or not colon else f"{head}[:]{rest}"


class LinkStream:
    """`unlinked` for a text that comes in pieces: what may become a link or a picture is held back until it is whole.

    Args:
        allowed: As of `unlinked`; may grow between the pieces.
        placeholder: As of `unlinked`.
    """

    _LONGEST: Final = 4000
    _OPEN: Final = re.compile(r"(?:!?\[[^\[\]\n]*(?:\](?:\([^()]*|\[[^\[\]\n]*|:[ \t]*\S*)?)?|<[^<>\n]*|!|[!-~]+)\Z")

    def __init__(self, allowed: Collection[str], placeholder: str = "(link removed)") -> None:
        self.allowed = allowed
        self._placeholder = placeholder
        self._held = ""

    def feed(self, piece: str) -> str:
        """The next piece of the text; returns what can be shown."""
        text = self._held + printable(piece)
        open_from = self._open(text)
        self._held = text[open_from:]
        return unlinked(text[:open_from], self.allowed, self._placeholder).text

    def close(self) -> str:
        """The end of the text; returns what was held back."""
        text, self._held = self._held, ""
        return unlinked(text, self.allowed, self._placeholder).text

    def _open(self, text: str) -> int:
        window = max(0, len(text) - self._LONGEST)
        at = len(text)
        while (match := self._OPEN.search(text, window, at)) is not None and match.start() < at:
            at = match.start()
        return at


def _suspect(text: str) -> bool:
    return any(sign in text for sign in (":", "](", "][", "<")) or "www" in text.lower()


def _cut(address: str) -> str:
    """An address as it was matched, without what the sentence around it put behind it."""
    authority = re.match(r"[^/]*//[^/?#]*|[^/?#]*", address)
    head = authority.end() if authority else 0
    if address[:head].isascii():
        plain = re.match(r"[\x21-\x7e]*", address)
        address = plain.group() if plain else address
    while address and (address[-1] in _TRAILING or (address[-1] in ")]" and _unopened(address))):
        address = address[:-1]
    return address


def _unopened(address: str) -> bool:
    closing = address[-1]
    return address.count(closing) > address.count({")": "(", "]": "["}[closing])


def _folded(address: str) -> str:
    """Two spellings of one address are equal; nothing that could carry data is folded away."""
    address = html.unescape(address).strip().rstrip("/")
    scheme, colon, rest = address.partition("://")
    if not colon:
        return address.lower() if address.lower().startswith("www.") and "/" not in address else address
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{host.lower() if '?' not in host and '#' not in host else host}{slash}{path}"


def _local(target: str) -> bool:
    """Whether a target stays on this machine: a path or an anchor, nothing with a scheme or a host."""
    return _FOREIGN.match(unquote(html.unescape(target.strip("<>")))) is None


def _leads_to(address: str) -> str:
    """`` (host: evil.example)`` behind an address whose look and whose host may differ; else empty."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host = parts.hostname or ""
    except ValueError:
        return ""
    if "@" not in parts.netloc and not _HIDDEN_HOST.search(host):
        return ""
    try:
        shown = host.encode("idna").decode("ascii")
    except UnicodeError:
        shown = host.encode("ascii", "backslashreplace").decode("ascii")
    return f" (host: {shown})"
