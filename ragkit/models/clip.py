"""Pictures and texts in one vector space: CLIP models of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ragkit.errors import ModelError
from ragkit.models.embeddings import SentenceTransformerModel, Vectors, unit

SIDE: Final = 512
"""Pictures are handed over with no side longer than this, in pixels; CLIP itself looks at 224 to 336."""
_BATCH: Final = 16


class ClipModel(SentenceTransformerModel):
    """A CLIP model (Radford et al. 2021) by hub name or path, such as ``clip-ViT-B-32``; loaded at first use."""

    def encode_pictures(self, pictures: Sequence[tuple[int, int, bytes]]) -> Vectors:
        """Embed pictures.

        Args:
            pictures: Width, height and RGB bytes of each.

        Returns:
            (n, dimension) float32 unit vectors.

        Raises:
            ModelError: If the model cannot be loaded, or takes no pictures.
        """
        from PIL import Image

        images: list[Any] = [Image.frombytes("RGB", (width, height), pixels) for width, height, pixels in pictures]
        try:
            vectors = self._model.encode(images, batch_size=_BATCH, show_progress_bar=False, convert_to_numpy=True)
        except (ValueError, TypeError, AttributeError, KeyError) as exc:
            raise ModelError(
                f"The model {self.name!r} takes no pictures: {' '.join(str(exc).split())[:200]}.",
                'Set images to a CLIP model, such as "clip-ViT-B-32".',
            ) from exc
        return unit(np.asarray(vectors, dtype=np.float32))
