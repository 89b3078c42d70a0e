"""Replies held to a JSON schema, in the form that the server at hand understands.

There is one idea and a form of it for each server. Which one works is remembered for the model; a form that is
refused gives way to the next, down to asking in the prompt alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk

FORMS: Final = ("openai", "json_schema", "llama.cpp", "vllm", "ollama", "json_object", "none")
"""``openai``: json_schema in strict mode (OpenAI, and what follows it); ``json_schema``: the same without the limits
of strict mode; ``llama.cpp``: json_object with a schema (older llama.cpp, Together, Fireworks); ``vllm``:
structured_outputs, or guided_json of older versions; ``ollama``: format; ``json_object``: JSON, but any; ``none``."""
FORM: Final = "ragkit_form"
"""Key of a model's metadata: the form that it was found to take."""
LLGUIDANCE: Final = "ragkit_llguidance"
"""Marks clients of our own llama.cpp, whose grammar engine takes options inside the schema."""
_REFUSED: Final = ("response_format", "json_schema", "schema", "format", "grammar", "guided", "structured", "strict")
_UNKNOWN: Final = ("unsupported", "not supported", "unrecognized", "unexpected", "extra", "unknown")
_NOT_IN_STRICT: Final = frozenset({"minLength", "maxLength", "default", "title", "uniqueItems", "examples"})
T = TypeVar("T")


def constrained(model: BaseChatModel, schema: dict[str, Any], max_tokens: int | None, form: str) -> Any:
    """`model` bound so that the server holds its reply to `schema`, asked for in one of `FORMS`."""
    more: dict[str, Any] = {"max_tokens": max_tokens} if max_tokens else {}
    fields = request_fields(form, schema)
    if (model.metadata or {}).get(LLGUIDANCE):
        # Models like to indent; white space is a third of the tokens of such a reply.
        fields = request_fields("json_schema", {**schema, "x-guidance": {"whitespace_flexible": False}})
    if not fields:
        return model.bind(**more)
    if hasattr(model, "root_client"):
        # Sent as an extra of the body: the client library would otherwise take a slower parsing route.
        return model.bind(extra_body=fields, **more)
    return model.bind(**fields, **more)


def request_fields(form: str, schema: dict[str, Any]) -> dict[str, Any]:
    """What a request says about the form of its reply."""
    match form:
        case "openai":
            wrapped = {"name": "reply", "strict": True, "schema": strict_schema(schema)}
            return {"response_format": {"type": "json_schema", "json_schema": wrapped}}
        case "json_schema":
            return {"response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}}
        case "llama.cpp":
            return {"response_format": {"type": "json_object", "schema": schema}}
        case "vllm":
            return {"structured_outputs": {"json": schema}, "guided_json": schema}
        case "ollama":
            return {"format": schema}
        case "json_object":
            return {"response_format": {"type": "json_object"}}
    return {}


def strict_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema as OpenAI's strict mode takes it: every property required, optional ones nullable, no lengths.

    https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
    """
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NOT_IN_STRICT:
            continue
        if key == "properties":
            required = schema.get("required") or []
            fields = {name: strict_schema(field) for name, field in value.items()}
            out[key] = {n: f if n in required else {"anyOf": [f, {"type": "null"}]} for n, f in fields.items()}
            out["required"], out["additionalProperties"] = list(value), False
        elif isinstance(value, dict):
            out[key] = strict_schema(value)
        elif key in {"anyOf", "oneOf", "allOf", "prefixItems"}:
            out["anyOf" if key == "oneOf" else key] = [strict_schema(branch) for branch in value]
        elif key not in out:
            out[key] = value
    return out


def stream_constrained(
    model: BaseChatModel, messages: Any, schema: dict[str, Any], max_tokens: int | None, config: Any = None
) -> Iterator[AIMessageChunk]:
    """The pieces of a reply held to `schema`, asked for in the first form that the server does not refuse."""
    for form in _forms(model):
        with closing(constrained(model, schema, max_tokens, form).stream(messages, config=config)) as pieces:
            try:
                first = next(pieces, None)
            except Exception as exc:
                if not _give_way(model, form, exc):
                    raise
                continue
            if first is not None:
                yield first
                yield from pieces
            return


def with_constraint(model: BaseChatModel, schema: dict[str, Any], max_tokens: int | None, ask: Callable[[Any], T]) -> T:
    """The result of `ask`, given the bound model, with the first form that the server does not refuse."""
    for form in _forms(model):
        try:
            return ask(constrained(model, schema, max_tokens, form))
        except Exception as exc:
            if not _give_way(model, form, exc):
                raise
    raise AssertionError("the last form is never given way from")


def _forms(model: BaseChatModel) -> tuple[str, ...]:
    known = (model.metadata or {}).get(FORM, FORMS[0])
    return FORMS[FORMS.index(known) :]


def _give_way(model: BaseChatModel, form: str, exc: Exception) -> bool:
    """Whether a server refused this form, so that the next one is tried, now and from now on."""
    if form == FORMS[-1] or (model.metadata or {}).get(LLGUIDANCE) or not form_refused(exc):
        return False
    if model.metadata is None:
        model.metadata = {}
    model.metadata[FORM] = FORMS[FORMS.index(form) + 1]
    return True


def form_refused(exc: Exception) -> bool:
    """Whether an error says that the server does not know a field or a schema, and not that a prompt is too long."""
    if getattr(exc, "status_code", None) not in {400, 404, 415, 422, 501}:
        return False
    said = str(exc).lower()
    if "context length" in said or "maximum context" in said or "too many tokens" in said:
        return False
    return any(word in said for word in (*_REFUSED, *_UNKNOWN))
