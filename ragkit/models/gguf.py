"""A GGUF file looked over before llama.cpp gets it.

A parser in C is no place for a file that was cut short or made by a stranger. So the whole header is walked here,
with every length and offset compared with the file's size, and a chat template that reaches for Python is refused:
such templates have been code execution in renderers without a sandbox. llama.cpp's own renderer knows no Python;
another program that opens the same file may.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path
from typing import Any, Final

from ragkit.errors import ModelError

_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_KEYS, _MOST_TENSORS, _MOST_ITEMS = 4096, 65_536, 8_000_000
_BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
    18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2),
    26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
"""Type of a tensor -> elements of a block, bytes of a block; of other types only the beginning is checked."""
_HOSTILE: Final = re.compile(r"__\w+__|\battr\s*\(|\b(?:import|eval|exec|open|popen|system)\s*\(|\.mro\b")
_LONGEST_TEMPLATE: Final = 200_000


class _Reader:
    def __init__(self, data: Any, size: int) -> None:
        self.data, self.size, self.at = data, size, 0

    def take(self, count: int) -> bytes:
        if count < 0 or count > self.size - self.at:
            raise ValueError(f"it ends within its header (byte {self.at} of {self.size})")
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def string(self) -> bytes:
        return self.take(self.number("Q"))

    def skip_strings(self, count: int) -> None:
        """Go past `count` strings; a vocabulary has hundreds of thousands."""
        at, size, length = self.at, self.size, struct.Struct("<Q")
        for _ in range(count):
            if at > size - length.size:
                break
            at += length.size + length.unpack_from(self.data, at)[0]
        else:
            if at <= size:
                self.at = at
                return
        raise ValueError(f"it ends within its header (an array of strings from byte {self.at} of {size})")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY or depth > 2:
            raise ValueError(f"it has a value of the unknown type {kind}")
        item, count = self.number("I"), self.number("Q")
        if count > _MOST_ITEMS:
            raise ValueError(f"it has an array of {count} items")
        if item in _SCALARS:
            self.take(count * struct.calcsize("<" + _SCALARS[item]))
            return None
        if item == _STRING:
            self.skip_strings(count)
            return None
        for _ in range(count):
            self.value(item, depth + 1)
        return None


def check_gguf(path: Path) -> None:
    """Refuse a file that llama.cpp should not get.

    Raises:
        ModelError: If it is no GGUF file, is cut short, points outside itself, or has a hostile chat template.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size < 24:
                raise ValueError(f"it has {size} bytes")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _check(_Reader(data, size))
    except OSError as exc:
        raise ModelError(f"Cannot read {path}: {exc.strerror}.", "Check the path after gguf:.") from exc
    except (ValueError, struct.error) as exc:
        raise ModelError(
            f"{path} is no usable GGUF model file: {exc}.", "Download it again or name another file."
        ) from exc


def _check(reader: _Reader) -> None:
    if (magic := reader.take(4)) != b"GGUF":
        raise ValueError("it is a web page" if magic.lstrip()[:1] == b"<" else "it does not begin with GGUF")
    if (version := reader.number("I")) not in {2, 3}:
        raise ValueError(f"its version is {version}")
    tensors, keys = reader.number("Q"), reader.number("Q")
    if tensors > _MOST_TENSORS or keys > _MOST_KEYS:
        raise ValueError(f"it says that it has {tensors} tensors and {keys} keys")
    alignment = 32
    for _ in range(keys):
        name = reader.string()
        value = reader.value(reader.number("I"))
        if name == b"general.alignment":
            alignment = value
        if name.startswith(b"tokenizer.chat_template") and isinstance(value, bytes):
            _check_template(value)
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
        raise ValueError(f"its alignment is {alignment}")
    ends = [_tensor_end(reader) for _ in range(tensors)]
    start = -(-reader.at // alignment) * alignment
    if ends and start + max(ends) > reader.size:
        raise ValueError(f"it is cut short: {start + max(ends)} bytes belong to it, {reader.size} are there")


def _tensor_end(reader: _Reader) -> int:
    reader.string()
    dimensions = reader.number("I")
    if dimensions > 8:
        raise ValueError(f"it has a tensor of {dimensions} dimensions")
    elements = 1
    for _ in range(dimensions):
        elements *= reader.number("Q")
    kind, offset = reader.number("I"), int(reader.number("Q"))
    block, size = _BLOCKS.get(kind, (1, 0))
    return offset + elements // block * size


def _check_template(template: bytes) -> None:
    if len(template) > _LONGEST_TEMPLATE:
        raise ValueError(f"its chat template has {len(template)} bytes")
    if found := _HOSTILE.search(template.decode("utf-8", "replace")):
        raise ValueError(f"its chat template reaches for what a template has no use for ({found.group()[:40]!r})")
