"""HTML to Markdown: what a reader of the page would see, with its headings, lists, tables and code."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from typing import Any, Final

from ragkit.ingest.decode import decode_note
from ragkit.ingest.formats.base import one_line, plain

_UNSEEN: Final = (
    *("script", "style", "template", "noscript", "iframe", "object", "svg", "canvas", "head"),
    *("nav", "button", "select", "input", "textarea", "dialog"),
)
_BLOCKS: Final = {
    **dict.fromkeys(("address", "aside", "center", "details", "fieldset", "figure", "footer", "form", "header"), "div"),
    **dict.fromkeys(("hgroup", "legend", "main", "optgroup", "option", "search", "summary"), "div"),
    **dict.fromkeys(("listing", "xmp"), "pre"),
    **dict.fromkeys(("dir", "menu"), "ul"),
}
"""Elements that stand on lines of their own in a browser, each with one that markdownify knows to do so."""
_HIDDEN_STYLE: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d])|opacity\s*:\s*0(?![.\d])", re.IGNORECASE
)
_DECLARED: Final = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_XML_DECLARED: Final = re.compile(rb"^\s*<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([A-Za-z0-9_.-]{2,40})", re.IGNORECASE)
_SUBSET: Final = re.compile(r"(<!DOCTYPE[^>\[]{0,500})\[[^\]]{0,7000}\](?=\s*>)", re.IGNORECASE)
"""Declarations inside a document type: html.parser takes the first ``>`` among them for its end."""
_PROLOGUE: Final = 8192
_BAR: Final = re.compile(r"(?<!\\)\|")
_GAPS: Final = re.compile(r"\n{3,}")
_TRAILING: Final = re.compile(r"[ \t]+$", re.MULTILINE)
_BARE_IMAGE: Final = re.compile(r"!\[\]\([^)\n]*\)")


def decode_html(data: bytes) -> tuple[str, str]:
    """Bytes of a page as text, and a warning or an empty string.

    A valid UTF-8 page is UTF-8; else the encoding it declares counts, and last a guess.

    Raises:
        UndecodableError: If it is no text.
    """
    with suppress(UnicodeDecodeError):
        return data.decode("utf-8-sig"), ""
    found = _DECLARED.search(data, 0, 8192) or _XML_DECLARED.search(data, 0, 300)
    if found:
        name = found.group(1).decode("ascii").lower()
        # Pages that say gb2312 use the characters that only its successors have.
        name = "gb18030" if name in {"gb2312", "gbk", "x-gbk", "gb_2312-80"} else name
        with suppress(LookupError, UnicodeDecodeError):
            return data.decode(name), ""
    decoded = decode_note(data)
    return decoded.text, decoded.warning


def html_to_markdown(html: str) -> tuple[str, str]:
    """A page as ``(Markdown, title)``.

    Scripts, navigation, forms, everything hidden from a reader and what is said to the parser only
    (comments, declarations, processing instructions) is left out; if the page marks its main part,
    only that is taken, with the heading of the page. TeX sources of formulas stand in place of their MathML.
    """
    from bs4 import BeautifulSoup
    from bs4.element import CData, PreformattedString

    soup = BeautifulSoup(_SUBSET.sub(r"\1", html[:_PROLOGUE], count=1) + html[_PROLOGUE:], "html.parser")
    for string in soup.find_all(string=lambda text: isinstance(text, PreformattedString)):
        if isinstance(string, CData):  # text in another spelling
            string.replace_with(str(string))
        else:
            string.extract()
    title = one_line(soup.title.get_text()) if soup.title else ""
    for math in soup.find_all("math"):
        source = math.find("annotation", encoding=re.compile("tex", re.IGNORECASE))
        if source is not None:
            tex = " ".join(source.get_text().split())
            math.replace_with(f"$${tex}$$" if math.get("display") == "block" else f"${tex}$")
    for tag in soup.find_all(_UNSEEN):
        tag.decompose()
    for tag in soup.find_all(_hidden):
        tag.decompose()
    main = soup.find("main") or soup.find(role="main")
    root: Any = soup
    if main is not None and main.get_text(strip=True):
        root, above = main, soup.find("h1")
        if above is not None and main.find("h1") is None:
            main.insert(0, above.extract())
    for tag in root.find_all(list(_BLOCKS)):
        tag.name = _BLOCKS[tag.name]
    text: str = _converter().process_tag(root, parent_tags=set())
    text = _TRAILING.sub("", _BARE_IMAGE.sub("", text.replace("\xa0", " ")))
    return _GAPS.sub("\n\n", text).strip("\n"), title


def _hidden(tag: Any) -> bool:
    if tag.attrs is None:  # inside one that was taken out already
        return False
    style = tag.get("style")
    return (
        tag.has_attr("hidden")
        or str(tag.get("aria-hidden", "")).lower() == "true"
        or bool(style and _HIDDEN_STYLE.search(str(style)))
    )


@cache
def _converter() -> Any:
    from markdownify import ATX, MarkdownConverter

    class Converter(MarkdownConverter):
        """Escapes what would open a block, and nothing inside a line: identifiers stay whole."""

        def escape(self, text: str, parent_tags: Any) -> str:
            return plain(text) if text else ""

        def convert_img(self, el: Any, text: str, parent_tags: Any) -> str:
            source = str(el.get("src") or "")
            # A picture inside the page would be a megabyte of letters.
            source = "" if source.startswith("data:") else source[:500].replace(" ", "%20")
            return f"![{one_line(str(el.get('alt') or ''))}]({source})"

        def convert_td(self, el: Any, text: str, parent_tags: Any) -> str:
            base: Any = super()
            return str(base.convert_td(el, _BAR.sub(r"\|", text), parent_tags))

        def convert_th(self, el: Any, text: str, parent_tags: Any) -> str:
            base: Any = super()
            return str(base.convert_th(el, _BAR.sub(r"\|", text), parent_tags))

    return Converter(
        heading_style=ATX,
        bullets="-",
        escape_asterisks=False,
        escape_underscores=False,
        table_infer_header=True,
        code_language_callback=_language,
        autolinks=True,
    )


def _language(element: Any) -> str:
    """``python`` of ``<pre><code class="language-python">``."""
    for tag in (element, element.find("code")):
        for name in (tag.get("class") or []) if tag is not None else []:
            if name.startswith(("language-", "lang-")):
                return re.sub(r"[^\w+#-]", "", name.partition("-")[2])[:20]
    return ""
