"""Bytes to text, whatever the editor wrote."""

from __future__ import annotations

import codecs
import os
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.ingest.decode import UndecodableError, decode

SIMPLIFIED = "# 机器学习\n\n梯度下降是一种优化算法，用于最小化损失函数。一般先随机初始化，再迭代更新参数。\n"
TRADITIONAL = "# 機器學習\n\n梯度下降法是最常用的最佳化演算法，透過資料訓練模型來進行預測。\n"
ENGLISH = "# Notes\n\nGradient descent minimises the loss; the step size is 0.01.\n"
TEXTS = {"simplified": SIMPLIFIED, "traditional": TRADITIONAL, "english": ENGLISH}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"])
def test_text_comes_back_from_this_encoding(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("mark", "encoding"), [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")], ids=["LE", "BE"]
)
def test_a_utf16_byte_order_mark_is_no_part_of_the_text(mark: bytes, encoding: str) -> None:
    assert decode(mark + SIMPLIFIED.encode(encoding)) == SIMPLIFIED


def test_big5_is_told_from_gb18030() -> None:
    assert decode(TRADITIONAL.encode("big5")) == TRADITIONAL


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_newlines_are_normalised(newline: str) -> None:
    assert decode("一\nb\n\nc".replace("\n", newline).encode()) == "一\nb\n\nc"


def test_nothing_decodes_to_nothing() -> None:
    assert decode(b"") == ""


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n" + zlib.compress(SIMPLIFIED.encode() * 40, 9),
        b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<20I", *range(20)),
        struct.pack("<200I", *range(200)),
        bytes(512),
        bytes(range(1, 32)) * 20,
    ],
    ids=["png", "elf", "integers", "zeros", "control characters"],
)
def test_binary_data_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(UndecodableError, match=r"binary|encoding"):
        decode(data)


def test_a_broken_file_with_a_mark_is_refused_by_the_encoding_it_claims() -> None:
    with pytest.raises(UndecodableError, match="starts like UTF-8 but breaks at byte"):
        decode(codecs.BOM_UTF8 + b"\xff\xfe\xff")


@given(st.binary(max_size=400))
def test_any_bytes_give_text_or_the_one_error(data: bytes) -> None:
    try:
        text = decode(data)
    except UndecodableError as exc:
        assert str(exc)
    else:
        assert "\r" not in text
        assert not text.startswith("\ufeff")


def test_random_data_is_not_taken_for_a_note() -> None:
    refused = 0
    for _ in range(20):
        try:
            decode(os.urandom(4000))
        except UndecodableError:
            refused += 1
    assert refused == 20
