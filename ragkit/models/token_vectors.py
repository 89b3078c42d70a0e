"""Vectors of the single tokens of a text, for metrics that match token by token.

They come from the middle layer of a sentence-transformers model. Zhang et al. 2020 choose the
layer by its agreement with people, and it is never the last; here there is one more reason: the
last layer of an embedding model says nearly the same at every token, so it cannot tell a sentence
from its shuffled words.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ragkit.models.embeddings import BundledE5Model, EmbeddingModel, SentenceTransformerModel, Vectors

_MAX_TOKENS = 512


def token_vectors(model: EmbeddingModel, texts: Sequence[str]) -> list[Vectors] | None:
    """Contextual vectors of the tokens of each text, without special tokens.

    Returns:
        For each text a float32 array of shape (tokens, dimension), not normalised; None if the
        model gives vectors of whole texts only (an endpoint, a LangChain ``Embeddings``).

    Raises:
        ModelError: If the model cannot be loaded.
    """
    if not isinstance(model, SentenceTransformerModel):
        return None
    if isinstance(model, BundledE5Model):
        model.prepare()
    return model._turns.run(partial(_of_tokens, model, texts))


def _of_tokens(model: SentenceTransformerModel, texts: Sequence[str]) -> list[Vectors] | None:
    import torch

    encoder = model._model[0]
    network = getattr(encoder, "auto_model", None)
    if network is None:
        return None
    tokenizer = model._model.tokenizer
    out: list[Vectors] = []
    for text in texts:
        features = tokenizer(
            text, return_tensors="pt", truncation=True, max_length=_MAX_TOKENS, return_special_tokens_mask=True
        )
        plain = features.pop("special_tokens_mask")[0] == 0
        with torch.inference_mode():
            layers = network(**features.to(network.device), output_hidden_states=True).hidden_states
        # hidden_states begins with the word embeddings, so half of the layers is at this place.
        middle = layers[(len(layers) - 1) // 2][0][plain.to(network.device)]
        out.append(np.asarray(middle.float().cpu().numpy(), dtype=np.float32))
    return out
