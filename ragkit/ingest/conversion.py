"""Runs converters: our own right here, the others in one child process that serves many files.

The child is started at the first document that needs it, ended with the batch, and replaced when
a document took it down.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from ragkit.ingest.formats.base import MAX_CHARACTERS, ConversionError, Converted, Format
from ragkit.ingest.worker import CPU_SECONDS, MEMORY

CONVERTERS_VERSION: Final = "1"
"""Counted up when a file that was too much before may not be any more."""
WALL_SECONDS: Final = 60.0
_FILES_PER_CHILD: Final = 200
_LONGEST_REPLY: Final = 8 * MAX_CHARACTERS
_PACKAGE_ROOT: Final = str(Path(__file__).resolve().parents[2])
_KEPT: Final = ("PATH", "SYSTEMROOT", "SYSTEMDRIVE", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "LD_LIBRARY_PATH")


class LimitError(ConversionError):
    """A file took too much time or memory, or took the child process down."""


class Converter:
    """Converts documents one after another; a context manager that owns the child process."""

    def __init__(self, wall_seconds: float = WALL_SECONDS) -> None:
        self._wall = wall_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._served = 0

    def __enter__(self) -> Converter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the child process."""
        child, self._child, self._served = self._child, None, 0
        if child is None:
            return
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def document(self, file: Path, name: str, one: Format) -> tuple[Converted, str]:
        """Convert a file.

        Args:
            file: Where it is.
            name: Its path in the index.
            one: Its format; must not be one that is not isolated.

        Returns:
            The document, and the SHA-256 of the bytes it was made of.

        Raises:
            LimitError: If it takes too much time or memory.
            ConversionError: If it cannot be converted; the message is the reason.
        """
        reply = self._ask({"job": "text", "file": str(file), "name": name})
        try:
            metadata = {str(key): str(value) for key, value in reply["metadata"].items()}
            pages = tuple((int(offset), int(number)) for offset, number in reply["pages"])
            text, title, warning = str(reply["text"]), str(reply["title"]), str(reply["warning"])
            return Converted(text=text, title=title, metadata=metadata, pages=pages, warning=warning), reply["sha256"]
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise ConversionError(f"the converter of {one.name} gave no sensible answer") from exc

    def picture(self, file: Path, side: int, max_bytes: int) -> tuple[int, int, bytes, str]:
        """Decode a picture and shrink it so that no side is longer than `side` pixels.

        Returns:
            Width, height, RGB bytes (width * height * 3), SHA-256 of the file.

        Raises:
            ConversionError: As `document`.
        """
        reply = self._ask({"job": "picture", "file": str(file), "side": side, "max_bytes": max_bytes})
        try:
            width, height, pixels = int(reply["width"]), int(reply["height"]), bytes.fromhex(reply["pixels"])
            if len(pixels) != width * height * 3:
                raise ValueError("a picture of another size")
            return width, height, pixels, str(reply["sha256"])
        except (KeyError, TypeError, ValueError) as exc:
            raise ConversionError("the picture decoder gave no sensible answer") from exc

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        child = self._started()
        assert child.stdin is not None and child.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(self._wall, give_up)
        timer.start()
        try:
            # Half a surrogate pair in a name stays an escape, and so the name stays what it was.
            child.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            child.stdin.flush()
            line = child.stdout.readline(_LONGEST_REPLY)
        except OSError:
            line = b""
        finally:
            timer.cancel()
        self._served += 1
        if not line.endswith(b"\n"):
            with suppress(subprocess.TimeoutExpired):
                child.wait(0 if line else 1)  # so that its own cause of death is seen, not ours
            self.close()
            raise LimitError(_cause(child.returncode, late.is_set(), self._wall, bool(line)))
        reply = json.loads(line)
        if reply.get("limit") or self._served >= _FILES_PER_CHILD:
            self.close()
        if "reason" in reply:
            raise (LimitError if reply.get("limit") else ConversionError)(str(reply["reason"]))
        return dict(reply)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            # Keys and other secrets in the environment are nothing that a converter needs.
            environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
            paths = [_PACKAGE_ROOT, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
            environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-B", "-X", "utf8", "-m", "ragkit.ingest.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                # Ctrl-C is for the parent, which then ends the child.
                start_new_session=True,
            )
        return self._child


def _cause(status: int | None, late: bool, wall: float, cut: bool) -> str:
    """Why the child is gone without a whole answer."""
    if late:
        return f"takes longer than {wall:g} s"
    if cut:
        return f"holds more than {MAX_CHARACTERS:,} characters of text"
    if hasattr(signal, "SIGXCPU") and status == -signal.SIGXCPU:
        return f"takes more than {CPU_SECONDS} s of CPU time"
    if status == -getattr(signal, "SIGKILL", 9):
        return f"takes more than {MEMORY // 1024**2} MiB of memory or {CPU_SECONDS} s of CPU time"
    return f"the converter broke down on it (status {status})"
