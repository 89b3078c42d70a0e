"""From ``e5-small-q4.bin`` to an ordinary sentence-transformers folder in bfloat16.

Owns the names and contents of that folder's files. Needs numpy and ``tokenizers`` only: torch and
safetensors read the result, they do not take part in making it. A folder appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import ModelError
from ragkit.models.e5_format import E5_BYTES, E5_SHA256, WEIGHTS_REMEDY, E5Header, E5Model, E5Tensor, read_e5
from ragkit.models.e5_tokenizer import build_tokenizer

_WEIGHTS: Final = "model.safetensors"
_MODULES: Final = "modules.json"
_TOKENIZER: Final = "tokenizer.json"
_LAYER_PARTS: Final = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
# "document" must be named: sentence-transformers adds an empty prompt of that name otherwise, and
# encode_document() would embed passages without the prefix they were trained with.
_PROMPTS: Final = {"query": "query: ", "passage": "passage: ", "document": "passage: "}

_Planned = tuple[str, tuple[int, ...], E5Tensor | None]
"""Name in the folder, shape, and where it comes from (None: zeros)."""


def convert_e5(source: Path, target: Path) -> None:
    """Write the model in ``source`` as the sentence-transformers folder ``target`` (244 MB).

    A folder that another process finished first is kept.

    Raises:
        ModelError: ``source`` is not the known weights file, or ``target`` cannot be written.
    """
    _check_source(source)
    if _is_complete(target):
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        (temporary / "1_Pooling").mkdir(parents=True)
        _write_folder(read_e5(source), temporary)
        _publish(temporary, target)
    except OSError as exc:
        raise ModelError(
            f"The embedding model cannot be written to {target}: {exc}.",
            "Check that the folder is writable and has 250 MB free.",
        ) from exc
    finally:
        # Nothing is left here after success; after a failure or Ctrl-C a quarter of a gigabyte is.
        shutil.rmtree(temporary, ignore_errors=True)


def _check_source(source: Path) -> None:
    try:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise ModelError(f"The e5 weights {source} cannot be read: {exc}.", WEIGHTS_REMEDY) from exc
    if digest != E5_SHA256:
        raise ModelError(
            f"{source} is not the expected weights file: SHA-256 {digest}, {source.stat().st_size} bytes; "
            f"expected {E5_SHA256}, {E5_BYTES} bytes.",
            WEIGHTS_REMEDY,
        )


def _is_complete(folder: Path) -> bool:
    """Tell whether ``folder`` holds a finished conversion (folders are only ever renamed into place)."""
    return all((folder / name).is_file() for name in (_MODULES, _TOKENIZER, _WEIGHTS))


def _publish(temporary: Path, target: Path) -> None:
    try:
        os.replace(temporary, target)
    except OSError:
        # A non-empty folder is never replaced. The same input gives the same folder, so if one
        # was finished meanwhile it serves as well as ours.
        if not _is_complete(target):
            raise
    _sync_folder(target.parent)


def _write_folder(model: E5Model, folder: Path) -> None:
    for name, value in _json_files(model).items():
        _write_bytes(folder / name, json.dumps(value, ensure_ascii=False, indent=2).encode("utf-8"))
    _write_bytes(folder / _TOKENIZER, build_tokenizer(model).to_str().encode("utf-8"))
    with (folder / _WEIGHTS).open("wb") as file:
        _write_safetensors(model, file)
        _sync_file(file)
    _sync_folder(folder / "1_Pooling")
    _sync_folder(folder)


def _json_files(model: E5Model) -> dict[str, Any]:
    """Return every small file of the folder, by path relative to it."""
    header = model.header
    special = {
        "bos_token": model.pieces[header.bos],
        "eos_token": model.pieces[header.eos],
        "unk_token": model.pieces[header.unk],
        "sep_token": model.pieces[header.eos],
        "pad_token": model.pieces[header.pad],
        "cls_token": model.pieces[header.bos],
        "mask_token": "<mask>",
    }
    return {
        "config.json": _bert_config(header),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": header.max_positions,
            # Without token_type_ids: the model has one type in use, and it is the default.
            "model_input_names": ["input_ids", "attention_mask"],
            "clean_up_tokenization_spaces": False,
            **special,
        },
        "special_tokens_map.json": special,
        "sentence_bert_config.json": {"max_seq_length": header.max_positions, "do_lower_case": False},
        _MODULES: [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": header.hidden,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        "config_sentence_transformers.json": {
            "prompts": _PROMPTS,
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }


def _bert_config(header: E5Header) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": header.hidden,
        "num_hidden_layers": header.layers,
        "num_attention_heads": header.heads,
        "intermediate_size": header.feed_forward,
        "vocab_size": header.vocab,
        "max_position_embeddings": header.max_positions,
        "type_vocab_size": header.token_types,
        "layer_norm_eps": header.layer_norm_eps,
        "hidden_act": "gelu",
        "pad_token_id": header.pad,
        "torch_dtype": "bfloat16",
    }


def _plan_tensors(model: E5Model) -> Iterator[_Planned]:
    """Yield every tensor that ``BertModel`` expects; weights of linear layers are ``[out, in]``."""
    header, stored = model.header, model.tensors
    hidden = header.hidden
    tables = {
        "word": ("word_embeddings", header.vocab),
        "pos": ("position_embeddings", header.max_positions),
        "type": ("token_type_embeddings", header.token_types),
    }
    for short, (long, rows) in tables.items():
        yield f"embeddings.{long}.weight", (rows, hidden), stored[f"emb.{short}"]
    for short, long in (("w", "weight"), ("b", "bias")):
        yield f"embeddings.LayerNorm.{long}", (hidden,), stored[f"emb.ln.{short}"]
    for layer in range(header.layers):
        for part, module in _LAYER_PARTS.items():
            name, key = f"encoder.layer.{layer}.{module}", f"l{layer}.{part}"
            rows = header.feed_forward if part == "fi" else hidden
            columns = header.feed_forward if part == "fo" else hidden
            shape = (rows,) if part.endswith("ln") else (rows, columns)
            yield f"{name}.weight", shape, stored[f"{key}.w"]
            yield f"{name}.bias", (rows,), stored[f"{key}.b"]
    # Mean pooling does not use BERT's pooler, but without its weights every load warns about them.
    yield "pooler.dense.weight", (hidden, hidden), None
    yield "pooler.dense.bias", (hidden,), None


def _write_safetensors(model: E5Model, file: BinaryIO) -> None:
    """Write all tensors in bfloat16: u64 header size, JSON header padded to 8, raw data."""
    plan = list(_plan_tensors(model))
    index: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape, tensor in plan:
        elements = int(np.prod(shape))
        if tensor is not None and tensor.elements != elements:
            raise ModelError(
                f"{model.path}: tensor {tensor.name!r} holds {tensor.elements} weights, not {elements}.",
                WEIGHTS_REMEDY,
            )
        start, end = end, end + 2 * elements
        index[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    head = json.dumps(index, separators=(",", ":")).encode("ascii")
    head += b" " * (-len(head) % 8)
    file.write(struct.pack("<Q", len(head)) + head)
    for _name, shape, tensor in plan:
        if tensor is None:
            file.write(bytes(2 * int(np.prod(shape))))
            continue
        for part in model.slices(tensor):
            file.write(_to_bfloat16(part).tobytes())


def _to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round finite float32 values to bfloat16 bit patterns, halves to even; the shape is kept."""
    bits = values.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return rounded.astype("<u2")


def _write_bytes(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        _sync_file(file)


def _sync_file(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut, so that a visible folder is a whole one."""
    if os.name == "nt":  # Windows cannot open a folder for syncing
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
