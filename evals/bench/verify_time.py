"""How long `verify` takes for answers of ten sentences, passages read anew for each.

    python evals/bench/verify_time.py

Answers and passages are those of the corruption set. Nothing is kept between answers: what was analysed is forgotten.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from ragkit.citations.atoms import analyse
from ragkit.citations.verify import verify

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments"))
from verifier import load

ANSWERS = 100
SENTENCES = 10


def main() -> None:
    """Print median, 95th percentile and size."""
    items = load("dev")
    verify("Warm [1].", ["Warm."])
    times, chars = [], []
    cpu: list[float] = []
    for number in range(ANSWERS):
        part = [items[(number * SENTENCES + i) % len(items)] for i in range(SENTENCES)]
        passages = part[0][1]
        answer = "\n".join(f"{item['sentence']}[{1 + i % len(passages)}]" for i, (item, _) in enumerate(part))
        chars.append(sum(len(passage.text) for passage in passages))
        analyse.cache_clear()
        began, worked = time.perf_counter(), time.process_time()
        found = verify(answer, passages)
        times.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - worked))
        assert found
    times.sort()
    cpu.sort()
    print(
        f"{ANSWERS} answers of {SENTENCES} sentences over {statistics.mean(chars):.0f} characters of passages: "
        f"median {statistics.median(times):.1f} ms, 95th percentile {times[int(0.95 * ANSWERS)]:.1f} ms; "
        f"of processor time {statistics.median(cpu):.1f} and {cpu[int(0.95 * ANSWERS)]:.1f} ms"
    )


if __name__ == "__main__":
    main()
