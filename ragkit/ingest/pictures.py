"""Pictures: decoded and shrunk (in the child process), and where notes show them."""

from __future__ import annotations

import io
import warnings
from typing import Final

from ragkit.ingest.formats.base import ConversionError

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"})
_DECODERS: Final = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
_MOST_PIXELS: Final = 60_000_000


def thumbnail(data: bytes, side: int) -> tuple[int, int, str]:
    """Decode a picture; its first frame if it moves.

    Args:
        data: The file.
        side: Longest side of the result, in pixels.

    Returns:
        Width, height, and the RGB bytes as hexadecimal digits.

    Raises:
        ConversionError: If it is too large or no picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            file = Image.open(io.BytesIO(data), formats=_DECODERS)
            file.draft("RGB", (side, side))
            picture = ImageOps.exif_transpose(file)
            picture.thumbnail((side, side))
            # What shines through is paper, not night.
            layer = picture.convert("RGBA")
            paper = Image.new("RGBA", layer.size, "white")
            paper.alpha_composite(layer)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise ConversionError(f"a picture of more than {_MOST_PIXELS // 1_000_000} million pixels") from exc
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as exc:
        raise ConversionError("a damaged picture, or none") from exc
    width, height = paper.size
    return width, height, paper.convert("RGB").tobytes().hex()
