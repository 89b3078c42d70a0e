"""The e5 tokenizer, rebuilt from the weights file for the ``tokenizers`` library.

Owns the normaliser's double array and the assembly of the tokenizer; the only module of ragkit
that imports ``tokenizers``. Token ids equal those of the published XLM-R sentencepiece model.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import ModelError
from ragkit.models.e5_format import E5Model

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BLANK: Final = "\N{LOWER ONE EIGHTH BLOCK}"
# Layout of one unit, as the reader of sentencepiece character maps expects it.
_HAS_LEAF: Final = 1 << 8
_OFFSET_SHIFT: Final = 10
_IS_VALUE: Final = 1 << 31
# The short form of an offset; the long one (bit 9) starts above this and is never needed here.
_OFFSET_LIMIT: Final = 1 << 21
_LEAF_LABEL: Final = 0
# No UTF-8 text contains this byte, so a search can never walk into an unused unit.
_UNUSED: Final = 0xFF
_PAGE: Final = 256

_Trie = dict[int, "_Trie | int"]


def build_tokenizer(model: E5Model) -> Tokenizer:
    """Build the tokenizer of ``model``; it adds ``<s>`` and ``</s>`` and neither pads nor truncates.

    Raises:
        ModelError: The ``tokenizers`` library is not installed.
    """
    try:
        from tokenizers import (
            AddedToken,
            Regex,
            Tokenizer,
            decoders,
            models,
            normalizers,
            pre_tokenizers,
            processors,
        )
    except ImportError as exc:
        raise ModelError("The library tokenizers is missing.", 'Install it: pip install "ragkit[local]"') from exc

    header = model.header
    bos, eos, pad, unk = (model.pieces[i] for i in (header.bos, header.eos, header.pad, header.unk))
    vocabulary = list(zip(model.pieces, model.scores.tolist(), strict=True))
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=header.unk, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(build_charsmap(model.norms)),
            # Sentencepiece drops trailing blanks; kept, they would add a token to "text " and to
            # the bare "passage: " of an empty text. Leading ones merge into the first word's mark.
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(_BLANK, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(_BLANK, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, header.bos), (eos, header.eos)],
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (bos, pad, eos, unk)])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    return tokenizer


def build_charsmap(norms: Mapping[int, tuple[int, ...]]) -> bytes:
    """Serialise a normalisation table as a sentencepiece "precompiled character map".

    Layout: the double array's size in bytes (u32), its units (u32 each), then the replacement
    strings, each ended by a NUL. The value stored for a key is a byte position in those strings.

    Args:
        norms: Code point to replacement code points.
    """
    strings = bytearray()
    positions: dict[bytes, int] = {}
    values: dict[bytes, int] = {}
    for codepoint, replacement in norms.items():
        text = "".join(map(chr, replacement)).encode("utf-8")
        if text not in positions:
            positions[text] = len(strings)
            strings += text + b"\0"
        values[chr(codepoint).encode("utf-8")] = positions[text]
    units = build_double_array(values).astype("<u4").tobytes()
    return struct.pack("<I", len(units)) + units + bytes(strings)


def build_double_array(values: Mapping[bytes, int]) -> NDArray[np.uint32]:
    """Lay out a byte trie as a double array in the Darts unit format.

    A node at index ``p`` has a base ``p ^ offset(p)``; its child for byte ``c`` sits at
    ``base ^ c`` and carries ``c`` as label; its value, if any, sits at ``base`` with bit 31 set.

    Args:
        values: Key (no NUL bytes) to value (below 2**31).

    Returns:
        Units, shape ``(n,)``, uint32, with ``n`` a multiple of 256: readers look at
        ``base ^ byte`` for any byte without a bounds check.
    """
    units: dict[int, int] = {0: 0}
    bases: set[int] = set()
    # Units and bases are only ever added, so a slot refused to one set of labels is refused for
    # good: each set goes on where its last search ended, else thousands of leaves rescan it all.
    starts: dict[tuple[int, ...], int] = {}
    # Breadth first, so that the few wide nodes are placed while there is room and the thousands
    # of single leaves fill the gaps.
    queue: list[tuple[int, _Trie]] = [(0, _build_trie(values))]
    for index, node in queue:
        labels = tuple(sorted(node)) or (_LEAF_LABEL,)
        slot = _find_slot(labels, units, bases, starts.get(labels, 1))
        starts[labels] = slot
        base = slot ^ labels[0]
        bases.add(base)
        units[index] |= _pack_offset(index ^ base)
        for label, child in node.items():
            if isinstance(child, int):
                units[index] |= _HAS_LEAF
                units[base] = child | _IS_VALUE
            else:
                units[base ^ label] = label
                queue.append((base ^ label, child))
    highest = max(max(units), *bases)
    array = np.full((highest // _PAGE + 1) * _PAGE, _UNUSED, dtype=np.uint32)
    array[list(units)] = list(units.values())
    return array


def _build_trie(values: Mapping[bytes, int]) -> _Trie:
    """Nest ``values`` by byte; the value of a key sits under label 0 of its last node."""
    root: _Trie = {}
    for key, value in values.items():
        if _LEAF_LABEL in key:
            # Label 0 marks the end of a key, so a NUL inside one cannot be told from the end.
            raise ValueError(f"key {key!r} contains a NUL byte")
        node = root
        for byte in key:
            child = node.setdefault(byte, {})
            assert isinstance(child, dict)  # only label 0 holds a number
            node = child
        node[_LEAF_LABEL] = value
    return root


def _find_slot(labels: tuple[int, ...], units: Mapping[int, int], bases: set[int], start: int) -> int:
    """Return the first index from ``start`` on where a child ``labels[0]`` leaves room for all others.

    The base that follows from it must be new: two nodes with one base would see each other's
    children as their own. It must not be 0 either, or the root would point at itself.
    """
    slot = start
    while True:
        base = slot ^ labels[0]
        if base and base not in bases and not any((base ^ label) in units for label in labels):
            return slot
        slot += 1


def _pack_offset(offset: int) -> int:
    if offset >= _OFFSET_LIMIT:
        raise ValueError(f"offset {offset} needs the long form, which is not written here")
    return offset << _OFFSET_SHIFT
