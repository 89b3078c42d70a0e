"""Embedding throughput against a bare sentence-transformers call and LangChain's default path.

    python evals/bench/embedding.py [--passages 128] [--rounds 3]

One process, the same weights (the bundled multilingual-e5-small), the same passages of the shipped
corpus, the ways one after the other in every round; medians of the rounds and their ratios. On
a machine that others use too only the ratios mean something. LangChain computes in the type of the
weights: float32 for the model as it is published, bfloat16 for the folder that ragkit makes of it.
Its ``HuggingFaceEmbeddings`` comes with ``pip install langchain-huggingface``; without it these rows are
left out, which is said.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ragkit.content import default_corpus
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import read_all, scan
from ragkit.models.embeddings import BundledE5Model
from ragkit.models.threads import available_cores, cpu_has_bf16
from ragkit.settings import load_settings
from ragkit.values import Document

TARGETS = {
    "bare bfloat16 SentenceTransformer.encode": 0.95,
    "LangChain HuggingFaceEmbeddings, float32 as published": 3.0,
}


def passages(count: int) -> list[str]:
    """The first chunks of the shipped corpus as they are embedded."""
    sources, _ = scan([Path(default_corpus())])
    documents = [result for _, result in read_all(sources) if isinstance(result, Document)]
    return [chunk.search_text for document in documents for chunk in chunk_document(document)][:count]


def ways(model: BundledE5Model) -> dict[str, Callable[[Sequence[str]], Any]]:
    """What is measured, by name."""
    import torch
    from sentence_transformers import SentenceTransformer

    folder = str(model.prepare())
    dtype = torch.bfloat16 if cpu_has_bf16() or torch.cuda.is_available() else torch.float32
    bare = SentenceTransformer(folder, model_kwargs={"dtype": dtype})
    found: dict[str, Callable[[Sequence[str]], Any]] = {
        "ragkit": model.encode_documents,
        "bare bfloat16 SentenceTransformer.encode": lambda texts: bare.encode(
            list(texts), prompt_name="passage", normalize_embeddings=True
        ),
    }
    try:
        from langchain_huggingface import HuggingFaceEmbeddings
    except ImportError:
        print("LangChain left out: pip install langchain-huggingface")
        return found
    published = HuggingFaceEmbeddings(model_name=folder, model_kwargs={"model_kwargs": {"dtype": torch.float32}})
    folders = HuggingFaceEmbeddings(model_name=folder)
    found["LangChain HuggingFaceEmbeddings, float32 as published"] = lambda texts: published.embed_documents(
        list(texts)
    )
    found["LangChain HuggingFaceEmbeddings, ragkit's folder"] = lambda texts: folders.embed_documents(list(texts))
    return found


def main() -> None:
    """Measure in turns and print medians, ratios and targets as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    texts = passages(given.passages)
    measured = ways(BundledE5Model(load_settings().ensure_home()))
    seconds: dict[str, list[float]] = {name: [] for name in measured}
    for encode in measured.values():
        encode(texts[:16])
    for _ in range(given.rounds):
        for name, encode in measured.items():
            began = time.perf_counter()
            encode(texts)
            seconds[name].append(time.perf_counter() - began)
    ours = statistics.median(seconds["ragkit"])
    rows = []
    for name, times in seconds.items():
        middle = statistics.median(times)
        row: dict[str, Any] = {"way": name, "passages_per_second": round(len(texts) / middle, 1)}
        if name in TARGETS:
            row |= {"ragkit_is_faster_by": round(middle / ours, 2), "target": TARGETS[name]}
        rows.append(row)
    print(json.dumps({"passages": len(texts), "threads": available_cores(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
