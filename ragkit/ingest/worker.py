"""The child process that converts documents: ``python -m ragkit.ingest.worker``.

It reads one request a line from its standard input and answers with one line of JSON. Each
request may take so much CPU time and memory and no more; where the system cannot limit that, the
parent's clock still can. Nothing it does can write a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ragkit.ingest.decode import UndecodableError
from ragkit.ingest.formats import format_of
from ragkit.ingest.formats.base import ConversionError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

CPU_SECONDS: Final = 20
MEMORY: Final = 512 * 1024 * 1024
"""Bytes of address space that one conversion may take on top of the interpreter and its libraries."""
_REASON: Final = 200


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what one request asks: ``{"file": path, "name": path in the index, "job": "text" or "picture"}``."""
    try:
        return _JOBS[request["job"]](request)
    except (ConversionError, UndecodableError) as exc:
        return {"reason": _short(str(exc))}
    except MemoryError:
        return {"reason": f"takes more than {MEMORY // 1024**2} MiB of memory", "limit": True}
    except RecursionError:
        return {"reason": "nested too deeply", "limit": True}
    except OSError as exc:
        return {"reason": exc.strerror or _short(f"damaged ({exc})")}
    except Exception as exc:  # libraries raise anything on a damaged file, and one file must not sink the batch
        return {"reason": _short(f"damaged, or not what its name says ({type(exc).__name__}: {exc})")}


def _text(request: dict[str, Any]) -> dict[str, Any]:
    one = format_of(request["name"])
    if one is None:
        raise ConversionError("of no known format")
    data = _read(request["file"], one.max_bytes)
    done = one.convert(data, request["name"].rpartition("/")[2])
    return {
        "text": done.text,
        "title": done.title,
        "metadata": done.metadata,
        "pages": done.pages,
        "warning": done.warning,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _picture(request: dict[str, Any]) -> dict[str, Any]:
    from ragkit.ingest.pictures import thumbnail

    data = _read(request["file"], request["max_bytes"])
    width, height, pixels = thumbnail(data, request["side"])
    return {"width": width, "height": height, "pixels": pixels, "sha256": hashlib.sha256(data).hexdigest()}


_JOBS: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {"text": _text, "picture": _picture}


def _read(file: str, most: int) -> bytes:
    with Path(file).open("rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ConversionError(f"larger than {most // 1024 // 1024} MiB")
    if not data:
        raise ConversionError("empty")
    return data


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _REASON else f"{text[: _REASON - 1]}…"


def limit(memory: int = MEMORY, seconds: int = CPU_SECONDS) -> None:
    """Cap what this process may take from now on; called before each request."""
    if resource is None:
        return
    _set(resource.RLIMIT_CPU, int(time.process_time()) + 1 + seconds)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_CORE, 0)
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return
    _set(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)


def _set(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # Only the soft limit: the next request raises it again.
    resource.setrlimit(what, (allowed, hard))


def main() -> None:
    """Answer requests until the input ends."""
    # Whatever a library prints must not end up between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    sys.stdout = sys.stderr = open(nowhere, "w", encoding="utf-8", errors="replace", closefd=False)
    for line in sys.stdin.buffer:
        limit()
        reply = answer(json.loads(line))
        text = json.dumps(reply, ensure_ascii=False).encode("utf-8", "replace")
        answers.write(text + b"\n")
        answers.flush()
        if reply.get("limit"):
            return  # what is left of this heap is not worth going on with


if __name__ == "__main__":
    main()
