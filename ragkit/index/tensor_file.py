"""Arrays in one file of the safetensors format, written in blocks and read through a memory map.

The format is a little-endian length, a JSON header and the raw arrays; nothing in it can run. The
``safetensors`` package reads these files, but copies what it reads and wants all arrays in memory
when it writes. A checksum is not part of the format: the MANIFEST has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ragkit.errors import IndexCorruptError

Array = npt.NDArray[Any]

REBUILD: Final = "Rebuild: ragkit index --rebuild."
_NAMES: Final = {
    "U8": "|u1",
    "BOOL": "|b1",
    "U16": "<u2",
    "F16": "<f2",
    "I32": "<i4",
    "U32": "<u4",
    "F32": "<f4",
    "I64": "<i8",
    "U64": "<u8",
    "F64": "<f8",
}
_KINDS: Final = {np.dtype(kind): name for name, kind in _NAMES.items()}
_ALIGNMENT: Final = 64


@dataclass(frozen=True)
class Blocks:
    """An array that comes in pieces along its first axis, so that it is never in memory as a whole."""

    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    pieces: Iterable[Array]


@dataclass(frozen=True)
class TensorFile:
    """What `open_tensors` returns: views into the map, and where each begins in the file."""

    path: Path
    tensors: dict[str, Array]
    offsets: dict[str, int]
    """Bytes from the beginning of the file."""
    metadata: dict[str, str]


def write_tensors(path: Path, tensors: Mapping[str, Array | Blocks], metadata: Mapping[str, str]) -> None:
    """Write arrays and a few words about them; the same input gives the same bytes.

    Raises:
        ValueError: If the pieces of an array do not add up to its shape.
    """
    # Wider numbers first, so that every array starts at a multiple of its item size.
    names = sorted(tensors, key=lambda name: (-np.dtype(tensors[name].dtype).itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name in names:
        dtype = np.dtype(tensors[name].dtype)
        begin, end = end, end + int(np.prod(tensors[name].shape, dtype=np.int64)) * dtype.itemsize
        header[name] = {"dtype": _KINDS[dtype], "shape": list(tensors[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            tensor = tensors[name]
            written = 0
            for piece in tensor.pieces if isinstance(tensor, Blocks) else [tensor]:
                written += file.write(np.ascontiguousarray(piece, dtype=tensor.dtype).reshape(-1).view(np.uint8).data)
            if written != header[name]["data_offsets"][1] - header[name]["data_offsets"][0]:
                raise ValueError(f"the pieces of {name} do not add up to {tensor.shape}")


def open_tensors(path: Path) -> TensorFile:
    """Map a file whose checksum was verified before.

    Raises:
        IndexCorruptError: If it is no such file or was cut off.
        OSError: If it cannot be opened.
    """
    size = path.stat().st_size
    try:
        # An empty file cannot be mapped.
        data = np.memmap(path, dtype=np.uint8, mode="r") if size else np.zeros(0, dtype=np.uint8)
        start = 8 + int.from_bytes(data[:8].tobytes(), "little")
        if start > size:
            raise ValueError("the header is longer than the file")
        header = json.loads(data[8:start].tobytes())
        metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        tensors: dict[str, Array] = {}
        offsets: dict[str, int] = {}
        for name, entry in header.items():
            begin, end = (start + int(at) for at in entry["data_offsets"])
            if not start <= begin <= end <= size:
                raise ValueError(f"{name} lies outside the file")
            tensors[name] = np.asarray(data[begin:end]).view(_NAMES[entry["dtype"]]).reshape(entry["shape"])
            offsets[name] = begin
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise IndexCorruptError(f"{path} is damaged ({exc}).", REBUILD) from exc
    return TensorFile(path, tensors, offsets, metadata)
