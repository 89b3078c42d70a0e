"""Settings, from the strongest source to the weakest: argument, environment, ragkit.toml, default.

Environment variables start with ``RAGKIT_`` (``RAGKIT_CHAT_MODEL``). ``ragkit.toml`` is read from
the working folder, then from ``$RAGKIT_HOME``; ``--config FILE`` names another. Unknown keys are errors.

The file in the working folder may have come with somebody else's notes. An address in it gets a key
from the same file only, never the user's own.
"""

from __future__ import annotations

import logging
import os
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from platformdirs import user_data_path
from pydantic import Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ragkit.errors import ConfigError
from ragkit.redact import keep_secret

logger = logging.getLogger(__name__)
_FOUND_HERE: Final = Path("ragkit.toml")


class Settings(BaseSettings):
    """All settings of ragkit. Every field can be set in ``ragkit.toml`` by its name."""

    model_config = SettingsConfigDict(env_prefix="RAGKIT_", env_ignore_empty=True, extra="forbid", frozen=True)

    home: Path = Field(default_factory=lambda: user_data_path("ragkit", appauthor=False))
    """Folder for indexes, prepared models, sessions and history."""
    index: Path | None = None
    """Index folder; None: one below `home`, named after the notes."""
    notes: Path | None = None
    """Notes to answer from; None: those indexed last, else the shipped corpus."""
    embedding_model: str = "auto"
    chat_model: str = "auto"
    agent: str = "interview"
    agents_dir: Path | None = None
    """Folder of agent files, besides the shipped ones and ``./agents``."""
    allow_tools: tuple[str, ...] = ()
    """Names of tools that may write or reach the network without asking, as far as a call is made of the words
    of the question; what comes from anywhere else is asked about, see `ragkit.agent.provenance`."""
    tool_calling: Literal["auto", "native", "json"] = "auto"
    """How function calls reach the model: its own tool calls, or JSON under a schema."""
    chat_timeout: float = Field(default=120.0, gt=0)
    """Seconds until the first token of a reply after which a model endpoint counts as dead."""
    chat_connect_timeout: float = Field(default=10.0, gt=0)
    """Seconds until its connection stands."""
    chat_token_timeout: float = Field(default=60.0, gt=0)
    """Seconds from one token to the next."""
    chat_total_timeout: float = Field(default=600.0, gt=0)
    """Seconds for one call of the model, with its retries."""
    context_tokens: int = Field(default=8192, ge=2048, le=131_072)
    """Context window of a local model, in tokens."""
    endpoint_context_tokens: int | None = Field(default=None, ge=2048, le=10_000_000)
    """The same for a model behind an endpoint; None: what is known of the model, else 32,768 until it says less."""
    max_question_steps: int | None = Field(default=None, ge=1)
    """Tool calls per question. Of this and the agent file's ``max_steps`` the smaller one counts; so it is
    with the budgets below, which have the same names there."""
    max_question_tokens: int | None = Field(default=200_000, ge=1)
    """Tokens read and written per question."""
    max_question_seconds: float | None = Field(default=600.0, gt=0)
    max_question_cost: float | None = Field(default=None, gt=0)
    """In the currency of `price_read` and `price_written`."""
    max_session_steps: int | None = Field(default=None, ge=1)
    max_session_tokens: int | None = Field(default=None, ge=1)
    max_session_seconds: float | None = Field(default=None, gt=0)
    """Seconds spent on answering, not those in between."""
    max_session_cost: float | None = Field(default=None, gt=0)
    price_read: float | None = Field(default=None, ge=0)
    """Price of a million tokens read by an endpoint's model; local models cost nothing."""
    price_written: float | None = Field(default=None, ge=0)
    tool_seconds: float = Field(default=30.0, gt=0, le=3600)
    """Time that one call of a tool has."""
    chunk_target: float = Field(default=350, ge=50, le=2000)
    chunk_maximum: float = Field(default=600, ge=50, le=4000)
    sentence_vectors: Literal["auto", "on", "off"] = "auto"
    """Embed single sentences too, which hybrid search ranks candidates by: as much embedding again.
    ``auto``: with models on this machine, not with endpoints and LangChain ``Embeddings``."""
    sentence_share: float = Field(default=0.4, ge=0, le=1)
    """Share of the best sentence in the dense part of a hybrid score."""
    candidates: int = Field(default=50, ge=5, le=1000)
    """Hits each leg proposes."""
    coverage_weight: float = Field(default=10.0, ge=0)
    coverage_floor: float = Field(default=0.05, ge=0, lt=1)
    temperature: float | None = Field(default=None, gt=0)
    """Softmax temperature of the embedding model; None: known value, or estimated per query."""
    question_centring: float = Field(default=0.7, ge=0, le=1)
    """How much of what all questions have in common is taken off a question's vector; 0: plain cosine."""
    language_correction: float = Field(default=1.0, ge=0, le=2)
    """0: passages in the question's language come first; 1: the measured language offset is taken back whole."""
    bm25_variant: Literal["lucene", "okapi", "rank-bm25"] = "lucene"
    """``okapi`` scores like rank_bm25's BM25Okapi, ``rank-bm25`` with that package itself (slow, for comparison).
    The index must be rebuilt after a change of any bm25 setting."""
    bm25_k1: float = Field(default=0.4, ge=0, le=10)
    bm25_b: float = Field(default=0.3, ge=0, le=1)
    rewrite: Literal["auto", "always", "never"] = "never"
    """Whether the chat model makes follow-ups self-contained (``auto``, ``always``) and adds differently worded
    queries (``always``). This and the next two are about searches; agents have keys of their own in their files."""
    translate: Literal["auto", "always", "never"] = "never"
    """Whether it puts questions into the notes' language, or into their other one; ``auto``: where that pays, see
    `ragkit.retrieval.planner`."""
    hyde: Literal["auto", "always", "never"] = "never"
    """Whether it adds a hypothetical passage to search for; ``auto``: where the first search is unsure."""
    transform_seconds: float = Field(default=15.0, gt=0)
    """Time that the chat model has for each of these; the search goes on without it then."""
    transform_cache: bool = True
    """Keep the chat model's replies to these below `home`, so that the same question costs nothing again."""
    faiss_factory: str | None = None
    """FAISS ``index_factory`` string for new segments, ``Flat`` to compare all; None: chosen by measured recall. A
    segment too small to be trained compares all until it is merged."""
    rerank_model: str = "chat"
    """``chat``, or a cross-encoder by hub name or path; used only where reranking is asked for."""
    images: str | None = None
    """CLIP model for pictures in notes, by hub name or path, such as ``clip-ViT-B-32``; None: they are left alone."""
    diversity: float = Field(default=0.0, ge=0, le=1)
    """Above 0, of several hits that say the same the later ones give way (maximal marginal relevance)."""
    merge_neighbours: bool = False
    """Join adjacent chunks of one section that were both found into one passage."""
    enrich: bool = False
    """Let the chat model write the questions that each chunk answers whenever ``ragkit index`` runs."""
    enrichment_share: float = Field(default=0.3, ge=0, le=1)
    """Of those questions in the dense score, where an index has them; 0 leaves them out."""
    conversation_tokens: int = Field(default=1200, ge=200, le=100_000)
    """Of the conversation before a question, in tokens: the newest turns as they were, the others summarised."""
    memory: Literal["on", "off"] = "on"
    """Whether what is remembered of the user takes part in answers; ``on`` costs nothing while nothing is."""
    memory_user: str = "default"
    """Whose memories: lower case letters, digits, ``-`` and ``_``. Each user has a folder of its own."""
    memory_items: int = Field(default=2000, ge=10, le=100_000)
    """How many memories a user may have, superseded ones included; the least trusted and oldest give way."""
    on_unsupported: Literal["remove", "retry", "strike"] = "remove"
    """What becomes of a sentence that no passage says: taken out and reported, sent back to the chat model once
    and then taken out, or shown struck with the reason."""
    entailment: str = "off"
    """Judge of sentences that comparison with their source leaves undecided: ``off``, ``chat`` (the chat model), or a
    cross-encoder for natural language inference by hub name or path."""
    entailment_seconds: float = Field(default=5.0, gt=0, le=120)
    """Time it has for one answer; what it does not get to keeps its verdict and its citation."""
    safety: Literal["off", "input", "both"] = "off"
    """Harmful-content filter: none, over questions, over questions and answers."""
    moderation_model: str | None = None
    """Model of the endpoint's ``/moderations``; judges texts, which are sent there, not the offline classifier."""
    backend: Literal["faiss", "milvus", "pinecone"] = "faiss"
    """Where the index is kept: in a local folder (``faiss``), or in a vector database that several readers share."""
    backend_uri: str | None = None
    """Address of the database: ``http://HOST:19530``, or a file such as ``notes.db`` for Milvus Lite."""
    backend_token: SecretStr | None = None
    """What the database asks for: ``user:password`` or an API key."""
    backend_collection: str = "ragkit"
    """Name of the collection in the database."""
    backend_vector_index: str = "auto"
    """Milvus only: index type of a new collection's vectors, such as ``FLAT`` (exact), ``HNSW``, ``AUTOINDEX``."""
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    _found_here: frozenset[str] = PrivateAttr(default=frozenset())
    """Settings whose value is that of the ragkit.toml in the working folder, which nobody named."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings)

    @cached_property
    def api_key(self) -> str | None:
        """Key for OpenAI-compatible endpoints, from the settings or ``OPENAI_API_KEY``."""
        if self.openai_api_key is not None:
            return self.openai_api_key.get_secret_value()
        return os.environ.get("OPENAI_API_KEY") or None

    @cached_property
    def base_url(self) -> str | None:
        """Address of the OpenAI-compatible endpoint, from the settings or ``OPENAI_BASE_URL``."""
        return self.openai_base_url or os.environ.get("OPENAI_BASE_URL") or None

    def check_address(self, name: str, model: str) -> None:
        """Refuse a model string with an address that would get a key from elsewhere.

        Args:
            name: Setting that `model` comes from, if only indirectly.
            model: Model string, or the address itself.

        Raises:
            ConfigError: If the setting is that of the ragkit.toml in the working folder, `model` names
                an address, and the key is not from the same file.
        """
        here = self._found_here
        if name in here and "openai_api_key" not in here and self.api_key and ("@" in model or "//" in model):
            raise ConfigError(
                f"Setting {name!r} in {_FOUND_HERE.resolve()} names an address that would get your API key.",
                f"If you trust it, set RAGKIT_{name.upper()} or pass --config {_FOUND_HERE}; "
                "else put openai_api_key beside it.",
            )

    def check_backend(self) -> None:
        """Refuse a database that only the ragkit.toml in the working folder names: it would get the notes.

        Raises:
            ConfigError: If the backend or its address is that file's, and leads off this machine.
        """
        here = self._found_here & {"backend", "backend_uri"}
        remote = self.backend == "pinecone" or "//" in (self.backend_uri or "")
        if self.backend != "faiss" and here and remote:
            name = min(here)
            raise ConfigError(
                f"Setting {name!r} in {_FOUND_HERE.resolve()} names a database that would get your notes.",
                f"If you trust it, set RAGKIT_{name.upper()} or pass --config {_FOUND_HERE}.",
            )

    def check_tools(self) -> None:
        """Refuse that the ragkit.toml in the working folder, which nobody named, allows effects.

        Raises:
            ConfigError: If ``allow_tools`` is that file's.
        """
        if self.allow_tools and "allow_tools" in self._found_here:
            raise ConfigError(
                f"Setting 'allow_tools' in {_FOUND_HERE.resolve()} would let tools act without asking you.",
                f"If you trust it, set RAGKIT_ALLOW_TOOLS or pass --config {_FOUND_HERE}.",
            )

    def ensure_home(self) -> Path:
        """Create `home` readable by its owner only, and return it.

        Raises:
            ConfigError: If it cannot be created or is no folder.
        """
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise ConfigError(
                f"Cannot use {self.home} as RAGKIT_HOME: {exc.strerror}.",
                "Set RAGKIT_HOME to a folder you may write to.",
            ) from exc
        return self.home


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings.

    Args:
        config: Configuration file; None looks for ``ragkit.toml``.
        overrides: Values that win over everything; None values are ignored.

    Raises:
        ConfigError: If the file is missing or malformed, a key is unknown or a value is wrong.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    file, values = _read_config(config, given)
    try:
        from_env = Settings(**given)
        merged = {**values, **{key: getattr(from_env, key) for key in from_env.model_fields_set}}
        settings = Settings(**merged)
    except ValidationError as exc:
        first = exc.errors()[0]
        name = ".".join(map(str, first["loc"])) or "settings"
        from_file = name in values and not os.environ.get(f"RAGKIT_{name.upper()}") and name not in given
        source = f" in {file}" if file and from_file else ""
        remedy = f"Allowed: {', '.join(sorted(Settings.model_fields))}." if first["type"] == "extra_forbidden" else ""
        raise ConfigError(f"Setting {name!r}{source}: {first['msg']}.", remedy) from exc
    for secret in (settings.openai_api_key, settings.backend_token):
        keep_secret(secret.get_secret_value() if secret else None)
    keep_secret(os.environ.get("OPENAI_API_KEY"))
    if file == _FOUND_HERE and config is None:
        settings._found_here = frozenset(key for key in values if key not in from_env.model_fields_set)
        for key in ("openai_base_url", "chat_model", "embedding_model"):
            settings.check_address(key, getattr(settings, key) or "")
        settings.check_backend()
        settings.check_tools()
    return settings


def _read_config(config: Path | None, given: dict[str, Any]) -> tuple[Path | None, dict[str, Any]]:
    if config is not None and not _is_file(config):
        raise ConfigError(f"Configuration file not found: {config}", "Check the path given with --config.")
    home = given.get("home") or os.environ.get("RAGKIT_HOME")
    home = Path(home) if home else user_data_path("ragkit", appauthor=False)
    candidates = [config] if config else [_FOUND_HERE, home / "ragkit.toml"]
    for file in candidates:
        if file is not None and _is_file(file):
            try:
                values = tomllib.loads(file.read_text(encoding="utf-8"))
                _warn_of_readers(file, values)
                return file, values
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
                raise ConfigError(f"{file} is not valid TOML: {exc}.", "Mend the line it names.") from exc
            except OSError as exc:
                raise ConfigError(f"{file} cannot be read: {exc.strerror}.", "Check its permissions.") from exc
    return None, {}


def _is_file(file: Path) -> bool:
    """Whether it is one, as far as anybody can tell: what cannot be looked at is said when it is read."""
    try:
        return file.is_file()
    except OSError:
        return True


def _warn_of_readers(file: Path, values: dict[str, Any]) -> None:
    """Say so if others can read a file with a key in it."""
    keys = [key for key in ("openai_api_key", "backend_token") if values.get(key)]
    if keys and os.name == "posix" and file.stat().st_mode & 0o077:
        logger.warning("%s holds %s and others may read it; chmod 600 %s", file, keys[0], file)
