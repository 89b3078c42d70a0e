"""Measure retrieval engines side by side and print the table of ratios.

    python evals/bench/engines/run.py --install            # one environment an engine, about 4 GB, once
    python evals/bench/engines/run.py --chunks 100000

Every engine runs in a process of its own with one compute thread. Builds and cold opens happen in
fresh processes; query rounds go A B C A B C over processes that stay alive, and a ratio is the median over
the rounds of (engine / floor), so that a busy machine changes both sides. Peak memory counts from a
process that has the corpus loaded; serving memory from one that has imported its libraries.
LangChain's BM25 has no file format, so that its cold open tokenises again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE))
PACKAGES: Final[dict[str, tuple[str, ...]]] = {
    "floor": ("bm25s", "faiss-cpu", "numpy", "scipy"),
    "langchain": ("langchain", "langchain-classic", "langchain-community", "faiss-cpu", "rank-bm25"),
    "llamaindex": (
        "llama-index-core",
        "llama-index-retrievers-bm25",
        "llama-index-vector-stores-faiss",
        "faiss-cpu",
    ),
    "txtai": ("txtai", "faiss-cpu", "torch<2.14"),
    "milvus": ("pymilvus", "milvus-lite"),
}
MODULES: Final = {"floor": "floor", "ragkit": "ragkit_engine"} | {
    name: f"{name}_engine" for name in PACKAGES if name != "floor"
}
QUERIES, ROUND = 200, 20
BUDGET: Final = 20.0
"""Seconds after which a slow engine's round is cut short."""


class Process:
    """A worker with a pipe."""

    def __init__(self, name: str, environments: Path, data: Path, n: int) -> None:
        python = sys.executable if name == "ragkit" else str(environments / name / "bin" / "python")
        one = {key: "1" for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}
        # txtai takes vectors from outside through a function, which it has to be allowed to look up.
        one["ALLOW_RESOLVE_TRANSFORM"] = "True"
        self._log = (data / f"{name}.log").open("ab")
        self._process = subprocess.Popen(
            [python, str(HERE / "worker.py"), MODULES[name], str(data), str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **one},
        )
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the process died, see its log"}
        return answer

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"error": "the process died, see its log"}
        return self._read()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died already; its answers say so
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()


def install(names: Sequence[str], environments: Path) -> None:
    """Make the environments of the peers that are missing."""
    for name in names:
        if name == "ragkit" or (environments / name / "bin" / "python").exists():
            continue
        print(f"installing {name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(environments / name)], check=True)
        pip = str(environments / name / "bin" / "pip")
        subprocess.run([pip, "install", "--quiet", *PACKAGES[name]], check=True)


def measure(names: Sequence[str], environments: Path, data: Path, n: int, repeats: int) -> dict[str, dict[str, Any]]:
    """All figures of all engines, by engine."""
    found: dict[str, dict[str, Any]] = {name: {"cold": [], "rounds": []} for name in names}

    def folder(name: str) -> Path:
        return data / "indexes" / f"{name}-{n}"

    for name in names:
        shutil.rmtree(folder(name), ignore_errors=True)
        folder(name).parent.mkdir(parents=True, exist_ok=True)
        say(f"{name}: build")
        found[name]["build"] = alone(name, environments, data, n, "build", folder=str(folder(name)))
    for _ in range(repeats):
        for name in names:
            say(f"{name}: cold open")
            found[name]["cold"].append(alone(name, environments, data, n, "open", folder=str(folder(name))))
    alive = {name: Process(name, environments, data, n) for name in names}
    for name, process in alive.items():
        process.ask("open", folder=str(folder(name)))
        found[name]["answers"] = process.ask("answers", count=50).get("answers", [])
    for start in range(0, QUERIES, ROUND):
        say(f"queries {start} to {start + ROUND}")
        for name, process in alive.items():
            answer = process.ask("search", start=start, stop=start + ROUND, budget=BUDGET / 10)
            found[name]["rounds"].append(answer.get("seconds", []))
    for name, process in alive.items():
        say(f"{name}: add and delete")
        found[name]["update"] = [process.ask("update", folder=str(folder(name))) for _ in range(repeats)]
        process.close()
        found[name]["disk"] = sum(p.stat().st_size for p in folder(name).rglob("*") if p.is_file()) / 1e6
    return found


def alone(name: str, environments: Path, data: Path, n: int, do: str, **arguments: Any) -> dict[str, Any]:
    """One command in a fresh process."""
    process = Process(name, environments, data, n)
    try:
        return process.ask(do, **arguments)
    finally:
        process.close()


def say(text: str) -> None:
    """One line about where the run stands."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def ratio(rounds: Sequence[Sequence[float]], floor: Sequence[Sequence[float]]) -> float:
    """Median over the rounds of an engine's median against the floor's."""
    pairs = [(a, b) for a, b in zip(rounds, floor, strict=True) if a and b]
    return statistics.median(statistics.median(a) / statistics.median(b) for a, b in pairs) if pairs else float("nan")


def middle(rows: Sequence[dict[str, Any]], key: str) -> float:
    """Median of a figure over the repetitions that have it."""
    values = [row[key] for row in rows if key in row]
    return statistics.median(values) if values else float("nan")


def table(found: dict[str, dict[str, Any]]) -> str:
    """The figures as a Markdown table; the first engine is the floor of the ratio."""
    names = list(found)
    floor = found[names[0]]
    exact = [set(answer) for answer in floor["answers"]]
    lines = [
        "| engine | query p50 ms | against the floor | same hits | build s | peak MB | cold open s | serving MB "
        "| add 100 s | delete 100 s | disk MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        row = found[name]
        seconds = [value for part in row["rounds"] for value in part]
        same = [len(set(a) & b) / max(len(b), 1) for a, b in zip(row["answers"], exact, strict=False)]
        cells = [
            f"{statistics.median(seconds) * 1000:.1f}" if seconds else "-",
            f"{ratio(row['rounds'], floor['rounds']):.2f}",
            f"{statistics.fmean(same):.2f}" if same else "-",
            f"{row['build'].get('seconds', float('nan')):.1f}",
            f"{row['build'].get('peak', float('nan')):.0f}",
            f"{middle(row['cold'], 'seconds'):.2f}",
            f"{middle(row['cold'], 'memory'):.0f}",
            f"{middle(row['update'], 'add'):.3f}",
            f"{middle(row['update'], 'delete'):.3f}",
            f"{row['disk']:.0f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, nargs="+", default=[10_000])
    parser.add_argument("--engines", nargs="+", default=list(MODULES), choices=list(MODULES))
    parser.add_argument("--folder", type=Path, default=Path("bench-work"), help="environments, corpora, indexes")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--install", action="store_true", help="make the environments first")
    options = parser.parse_args()
    from corpus import write

    environments = options.folder / "environments"
    names = ["floor", *(name for name in options.engines if name != "floor")]
    if options.install:
        install(names, environments)
    for n in options.chunks:
        say(f"corpus of {n} chunks")
        write(options.folder / "data", n)
        found = measure(names, environments, options.folder / "data", n, options.repeats)
        (options.folder / f"n{n}.json").write_text(json.dumps(found), encoding="utf-8")
        print(f"\n{n} chunks\n\n{table(found)}")


if __name__ == "__main__":
    main()
