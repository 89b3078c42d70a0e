"""Word: DOCX by way of the HTML that mammoth makes of it."""

from __future__ import annotations

import io
from typing import Any

from ragkit.ingest.archive import check_office_xml, open_archive
from ragkit.ingest.formats.base import Converted, Format, TextBuilder
from ragkit.ingest.markup import html_to_markdown

_STYLES = """
p[style-name='Title'] => h1:fresh
p[style-name='Subtitle'] => p:fresh
p[style-name='Code'] => pre:separator('\\n')
p[style-name='HTML Preformatted'] => pre:separator('\\n')
p[style-name='macro'] => pre:separator('\\n')
"""


def convert(data: bytes, name: str) -> Converted:
    """Headings, lists, tables, footnotes and the alternative texts of pictures.

    Raises:
        ConversionError: If it is a bomb, encrypted, damaged, or holds no text.
    """
    import mammoth

    with open_archive(data) as archive:
        check_office_xml(archive)
    result = mammoth.convert_to_html(
        io.BytesIO(data),
        style_map=_STYLES,
        include_embedded_style_map=False,
        external_file_access=False,
        convert_image=mammoth.images.img_element(_no_picture),
    )
    text, _ = html_to_markdown(result.value)
    builder = TextBuilder()
    builder.add(text)
    return builder.build()


def _no_picture(image: Any) -> dict[str, str]:
    """The picture itself is left out; mammoth adds its alternative text."""
    return {"src": ""}


FORMAT = Format(
    name="Word",
    suffixes=frozenset({".docx", ".docm", ".dotx"}),
    convert=convert,
    packages=("mammoth", "markdownify"),
)
