"""An embedder without a model: texts that share words get similar vectors, in every process the same."""

from __future__ import annotations

import hashlib
import math
from typing import Final

from ragkit.text.tokens import tokenize

_REVISION: Final = "1"


class HashingEmbedder:
    """Hashes the tokens of a text into a unit vector; has the shape of LangChain's ``Embeddings``.

    Args:
        name: What an index remembers as the model's name.
        dimension: Length of the vectors.
    """

    def __init__(self, name: str = "hashing", dimension: int = 64) -> None:
        if dimension < 1:
            raise ValueError(f"dimension must be at least 1, not {dimension}")
        self.model = name
        self.revision = _REVISION
        self.dimension = dimension
        self.documents_embedded = 0
        """Texts that `embed_documents` was given so far."""
        self.queries_embedded = 0
        """Calls of `embed_query` so far."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One unit vector for each text."""
        self.documents_embedded += len(texts)
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The unit vector of a question: the same as that of a passage with this text."""
        self.queries_embedded += 1
        return self._vector(text)

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dimension
        for token in tokenize(text):
            place, sign = self._place(token)
            vector[place] += sign
        norm = math.sqrt(sum(value * value for value in vector))
        if norm == 0:
            # No token, or tokens that cancel each other out.
            vector[self._place(text)[0]] = norm = 1.0
        return [value / norm for value in vector]

    def _place(self, token: str) -> tuple[int, float]:
        # Python's own hash() is salted and would differ between processes.
        digest = hashlib.blake2b(token.encode("utf-8", "replace"), digest_size=8).digest()
        return int.from_bytes(digest[1:]) % self.dimension, 1.0 if digest[0] & 1 else -1.0
