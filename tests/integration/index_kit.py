"""What the tests of the index share: a few notes, questions, and everything that a search says of them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ragkit.api import Index
from ragkit.retrieval.retriever import MODES
from ragkit.testing import HashingEmbedder

NOTES = {
    "attention.md": "# 注意力\n\n注意力机制让每个词元看到所有其他词元，复杂度是序列长度的平方。\n",
    "rnn.md": "# RNN\n\nLSTM 用门控缓解梯度消失，GRU 的参数更少。\n\n## 缺点\n\n循环网络不能并行训练。\n",
    "deep/lora.md": "# LoRA\n\nLoRA freezes the weights and trains two low-rank matrices beside them.\n",
}
QUERIES = ("注意力的复杂度", "LSTM 和 GRU 的区别", "low-rank matrices", "训练", "zebra")
SECTION = "{} 的说明：这一段足够长，自成一块，不会与相邻的小节合并到一起，因为它的宽度超过了最小值。再补一句，保证足够长，编号 {}。"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


def answers(index: Index) -> list[object]:
    """Everything that searches return: chunks, scores, ranks, legs, coverage."""
    return [index.search(query, k=20, mode=mode) for query in QUERIES for mode in MODES]


def open_and_ask(folder: Path, notes: Path | None = None, embedder: HashingEmbedder | None = None) -> list[object]:
    with contextlib.closing(Index.open(notes, folder, embedding=embedder or HashingEmbedder())) as index:
        return answers(index)


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("seg-*"))


def index_files(folder: Path) -> list[Path]:
    """Every file that the MANIFEST names, and the MANIFEST."""
    kinds = ("seg-", "axis-", "dead-")
    inside = [
        file
        for entry in folder.iterdir()
        if entry.name.startswith(kinds)
        for file in ([entry] if entry.is_file() else entry.iterdir())
    ]
    return [folder / "MANIFEST.json", *sorted(inside)]
