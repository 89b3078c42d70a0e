"""The shapes of replies of OpenAI-compatible servers: what is tolerated is mended, what is no reply is refused.

Client libraries trust the server: a page of HTML with status 200, ``choices: null`` or a tool call without an
index ends in an ``AttributeError``, or in a call that is lost without a word. Here each reply is looked at first.
"""

from __future__ import annotations

import base64
import json
import math
from array import array
from typing import Any, Final

from ragkit.errors import EndpointReplyError
from ragkit.text.strict_json import JsonFault, strict_json

_REMEDY: Final = "Check that the base URL leads to an OpenAI-compatible server (it mostly ends in /v1)."


def garbage(reason: str) -> EndpointReplyError:
    """An error that says what came in place of a reply."""
    return EndpointReplyError(f"the endpoint's reply cannot be used: {reason}", _REMEDY)


def parsed(body: bytes, kind: str) -> dict[str, Any]:
    """The JSON object that a body holds.

    Args:
        body: Bytes of the reply, or of one event.
        kind: Its content type, for the error.

    Raises:
        EndpointReplyError: If it is none, or an error object.
    """
    if not body.strip():
        raise garbage("it is empty")
    try:
        value = strict_json(body.decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        raise garbage("it is not UTF-8") from exc
    except JsonFault as exc:
        reason = str(exc) if "json" in kind else f"{kind[:40] or 'no content type'}, and {exc}"
        raise garbage(reason[:150]) from exc
    if not isinstance(value, dict):
        raise garbage(f"a JSON {type(value).__name__} in place of an object")
    if error := value.get("error"):
        said = error.get("message") if isinstance(error, dict) else error
        raise EndpointReplyError(f"the endpoint reports an error: {' '.join(str(said).split())[:150]}", "Try again.")
    return value


def completion(value: dict[str, Any]) -> dict[str, Any]:
    """A chat completion, its tool calls in their full form.

    Raises:
        EndpointReplyError: If it has no message.
    """
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise garbage("it has no choices[0].message")
    if not isinstance(message.get("content"), str | list | None):
        raise garbage("choices[0].message.content is no text")
    if not isinstance(value.get("usage"), dict):
        value.pop("usage", None)
    message.setdefault("role", "assistant")
    message["tool_calls"] = _calls(message.get("tool_calls"))
    if not message["tool_calls"]:
        del message["tool_calls"]
    return {"id": "", "created": 0, "model": "", "object": "chat.completion", **value, "choices": [choice]}


def _calls(value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise garbage("tool_calls is no list")
    calls = []
    for number, call in enumerate(value):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise garbage(f"tool_calls.{number} has no function")
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # Ollama's own form
            arguments = json.dumps(arguments, ensure_ascii=False)
        calls.append(
            {**call, "type": "function", "function": {**function, "arguments": "" if arguments is None else arguments}}
        )
    return calls


def embeddings(value: dict[str, Any], asked: int) -> dict[str, Any]:
    """An embeddings reply with its rows in the order of the texts.

    Args:
        value: The reply.
        asked: Number of texts that were sent.

    Raises:
        EndpointReplyError: If rows are missing, differ in length, or hold what is no finite number.
    """
    rows = value.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise garbage("it has no data")
    if len(rows) != asked:
        raise garbage(f"{len(rows)} vectors for {asked} texts")
    indexes = [row.get("index") for row in rows]
    if sorted(i for i in indexes if type(i) is int) == list(range(asked)):
        rows = sorted(rows, key=lambda row: int(row["index"]))
    elif any(i is not None for i in indexes):
        raise garbage("the indexes of its vectors are not those of the texts")
    vectors = [_vector(row.get("embedding")) for row in rows]
    if len({len(vector) for vector in vectors}) > 1:
        raise garbage("its vectors differ in length")
    data = [{**row, "object": "embedding", "embedding": vector} for row, vector in zip(rows, vectors, strict=True)]
    return {"object": "list", "model": "", **value, "data": data}


def _vector(value: Any) -> list[float]:
    """The numbers of a vector that came as a list, or as base64 of 32-bit floats, which the client asks for."""
    if isinstance(value, str):
        try:
            raw = base64.b64decode(value, validate=True)
            value = array("f", raw).tolist()
        except (ValueError, TypeError) as exc:
            raise garbage("a vector is no base64 of 32-bit floats") from exc
    if not isinstance(value, list) or not all(type(x) in {int, float} and math.isfinite(x) for x in value):
        raise garbage("a vector is no list of finite numbers")
    if not any(value):
        raise garbage("a vector of zeros only")
    return value


class ChunkReader:
    """Follows the chunks of one streamed completion, mends them, and knows whether it came to its end."""

    def __init__(self) -> None:
        self.finished = False
        """A finish reason or ``[DONE]`` was seen: what came before is whole."""
        self.spoke = False
        """The model began to reply: a chunk with text, a call or an end was seen."""
        self._places: dict[str, int] = {}
        """Id of a call -> its index."""
        self._meant: dict[int, int] = {}
        """Index as the server counts -> index of the call that it means now."""
        self._last = 0

    def read(self, data: str) -> dict[str, Any] | None:
        """The chunk of one event, as client libraries expect it; None for events that say nothing.

        Raises:
            EndpointReplyError: If it is no JSON object, or an error object.
        """
        chunk = parsed(data.encode("utf-8", "replace"), "json")
        choices = chunk.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        usage = chunk.get("usage") if isinstance(chunk.get("usage"), dict) else None
        head = {"id": "", "created": 0, "model": "", "object": "chat.completion.chunk", **chunk, "usage": usage}
        if not isinstance(first, dict):
            # Azure opens with its content filter's results, OpenAI closes with the usage.
            return {**head, "choices": []} if usage else None
        delta = first.get("delta", first.get("message"))
        delta = dict(delta) if isinstance(delta, dict) else {}
        if calls := _calls(delta.get("tool_calls")):
            delta["tool_calls"] = [self._numbered(call) for call in calls]
        else:
            delta.pop("tool_calls", None)
        if not isinstance(delta.get("content"), str | list | None):
            raise garbage("choices[0].delta.content is no text")
        if first.get("finish_reason"):
            self.finished = True
        if self.finished or calls or delta.get("content") or delta.get("reasoning_content"):
            self.spoke = True
        choice = {"index": 0, "finish_reason": None, **first, "delta": delta}
        choice.pop("message", None)
        return {**head, "choices": [choice]}

    def _numbered(self, call: dict[str, Any]) -> dict[str, Any]:
        """A piece of a call with its index: some servers leave it out, others count every call as 0."""
        name, index = call.get("id"), call.get("index")
        if name:
            if name not in self._places:
                taken = set(self._places.values())
                free = index if isinstance(index, int) and index not in taken else None
                self._places[name] = max(taken, default=-1) + 1 if free is None else free
            self._last = self._places[name]
            if isinstance(index, int):
                self._meant[index] = self._last
        elif isinstance(index, int):
            self._last = self._meant.setdefault(index, index)
        return {**call, "index": self._last}
