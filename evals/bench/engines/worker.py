"""One engine in one process: JSON commands on standard input, JSON answers on standard output."""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from corpus import read, read_questions
from engine import LOOKUP


def memory(field: str) -> float:
    """A field of /proc/self/status, in MB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def timed(action: Callable[[], Any]) -> float:
    """Seconds that `action` takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


class Worker:
    """Carries out the commands of `run.py`."""

    def __init__(self, name: str, data: Path, n: int) -> None:
        self._engine = importlib.import_module(name).ENGINE()
        self._data, self._n = data, n
        self._imports = timed(self._engine.load_libraries)
        self._rss = memory("VmRSS")
        self._questions = read_questions(data, n)
        LOOKUP.update({question.text: question.vector for question in self._questions})

    def build(self, folder: str) -> dict[str, Any]:
        part, _ = read(self._data, self._n)
        LOOKUP.update(zip(part.texts, part.vectors, strict=True))
        Path(folder).mkdir(parents=True)
        gc.collect()
        before = memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        seconds = timed(lambda: self._engine.build(part, Path(folder)))
        return {"seconds": seconds, "peak": memory("VmHWM") - before}

    def open(self, folder: str) -> dict[str, Any]:
        loaded = timed(lambda: self._engine.open(Path(folder)))
        first = timed(lambda: self._engine.search(self._questions[0], 10))
        for question in self._questions[1:10]:
            self._engine.search(question, 10)
        return {
            "imports": self._imports,
            "open": loaded,
            "first": first,
            "seconds": self._imports + loaded + first,
            "memory": memory("VmRSS") - self._rss,
        }

    def search(self, start: int, stop: int, budget: float) -> dict[str, Any]:
        seconds: list[float] = []
        for question in self._questions[start:stop]:
            seconds.append(timed(lambda asked=question: self._engine.search(asked, 10)))  # type: ignore[misc]
            if sum(seconds) > budget:
                break
        return {"seconds": seconds}

    def answers(self, count: int) -> dict[str, Any]:
        asked = self._questions[:count]
        return {"answers": [[name for name, _ in self._engine.search(question, 10)] for question in asked]}

    def update(self, folder: str) -> dict[str, Any]:
        _, extra = read(self._data, self._n)
        LOOKUP.update(zip(extra.texts, extra.vectors, strict=True))
        added = timed(lambda: self._engine.add(extra, Path(folder)))
        deleted = timed(lambda: self._engine.delete(extra.ids, Path(folder)))
        return {"add": added, "delete": deleted}


def main() -> None:
    """Answer commands until standard input ends; whatever an engine prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(worker, command.pop("do"))(**command)
        except Exception as exc:  # a peer may raise anything; the table says what
            answer = {"error": f"{type(exc).__name__}: {exc}"[:300]}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
