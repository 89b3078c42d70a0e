"""Bytes to text, whatever the editor wrote."""

from __future__ import annotations

import codecs
import os
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.ingest.decode import UndecodableError, decode, decode_note

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


JAPANESE = "# 勾配降下法\n\n勾配降下法は、損失関数を最小化するための手法である。学習率が重要である。\n"
KOREAN = "# 경사하강법\n\n경사하강법은 손실 함수를 최소화하는 방법이다. 학습률이 중요하다.\n"
RUSSIAN = "# Внимание\n\nМеханизм внимания позволяет модели видеть всю последовательность.\n"
GERMAN = "# Gedächtnis\n\nDas Gedächtnis größerer Modelle wächst natürlich; Schlüssel sind gefährlich.\n"
FRENCH = "# Réseaux\n\nUne note naïve sur les réseaux entraînés à Besançon l'été dernier.\n"
ONE_ACCENT = "# Attention\n\nA naïve note of which nearly everything is plain ASCII.\n"
QUOTES = "He said “hello” — it’s fine. The price was €5 at 20 °C.\n"
ASCII = "# Plain\n\nA paragraph of plain ASCII comes first: x = f(y).\n\n" * 10


@pytest.mark.parametrize("before", ["", ASCII], ids=["alone", "behind much ASCII"])
@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        (TRADITIONAL, "big5", "Big5"),
        (JAPANESE, "shift_jis", "Shift_JIS"),
        (JAPANESE, "euc_jp", "EUC-JP"),
        (KOREAN, "euc_kr", "EUC-KR"),
        (RUSSIAN, "cp1251", "Windows-1251"),
        (RUSSIAN, "koi8-r", "KOI8-R"),
        (GERMAN, "latin-1", "Windows-1252"),
        (FRENCH, "latin-1", "Windows-1252"),
        (ONE_ACCENT, "latin-1", "Windows-1252"),
        (QUOTES, "cp1252", "Windows-1252"),
    ],
    ids=lambda value: value if len(value) < 20 else value.split()[1],
)
def test_a_legacy_encoding_is_guessed_and_named(text: str, encoding: str, name: str, before: str) -> None:
    found = decode_note((before + text).encode(encoding))
    assert found.text == before + text
    assert found.warning == f"read as {name}, which is a guess; save it as UTF-8"


@pytest.mark.parametrize("text", [SIMPLIFIED, TRADITIONAL, "- LoRA 的秩 rank=8\n- 用 GPU 训练\n", "你好", "联通"])
def test_gb18030_is_no_guess_worth_a_warning(text: str) -> None:
    assert decode_note(text.encode("gb18030")) == decode_note(text.encode())
    assert not decode_note(text.encode()).warning


@pytest.mark.parametrize("text", [JAPANESE, KOREAN, RUSSIAN, GERMAN, SIMPLIFIED], ids=["ja", "ko", "ru", "de", "zh"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_wide_encodings_need_no_mark_in_any_script(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


def test_one_bad_byte_in_utf8_costs_one_character_and_a_warning() -> None:
    data = SIMPLIFIED.encode()
    at = data.index("用于".encode())
    found = decode_note(data[:at] + b"\xff" + data[at:])
    assert found.text == SIMPLIFIED.replace("用于", "\ufffd用于")
    assert found.warning == f"not valid UTF-8 at one place, byte {at}; read as U+FFFD"


@pytest.mark.parametrize("cut", range(1, 9))
def test_utf8_that_lost_a_byte_stays_utf8(cut: int) -> None:
    data = (SIMPLIFIED * 5).encode()
    found = decode_note(data[: 90 + cut] + data[91 + cut :])
    assert found.text.startswith(SIMPLIFIED[:20])
    assert found.text.endswith(SIMPLIFIED)
    assert "UTF-8" in found.warning


def test_a_truncated_file_keeps_what_is_there() -> None:
    assert decode(SIMPLIFIED.encode().rstrip()[:-1]).startswith(SIMPLIFIED.rstrip()[:-1])
    assert decode(SIMPLIFIED.encode("utf-16")[:-1]).startswith(SIMPLIFIED[:-1])
    assert decode(SIMPLIFIED.rstrip().encode("gbk")[:-1]).startswith(SIMPLIFIED.rstrip()[:-1])


def test_a_replacement_character_that_was_written_is_no_damage() -> None:
    assert decode_note("already � lost".encode()).warning == ""


def test_a_stray_byte_in_ascii_is_replaced_not_read_as_a_letter_nobody_writes() -> None:
    found = decode_note(b"plain \xff ASCII with a bad byte")
    assert found.text == "plain \ufffd ASCII with a bad byte"
    assert "byte 6" in found.warning


@pytest.mark.parametrize("text", [SIMPLIFIED, ENGLISH])
def test_a_nul_is_one_character_and_moves_nothing(text: str) -> None:
    found = decode_note((text[:8] + "\0" + text[8:]).encode())
    assert found.text == text[:8] + "\ufffd" + text[8:]
    assert found.warning == "1 NUL character read as U+FFFD"


def test_padding_with_nul_at_the_end_is_left_out() -> None:
    found = decode_note(SIMPLIFIED.encode() + bytes(4096))
    assert found.text == SIMPLIFIED
    assert "4096 NUL" in found.warning


def test_a_coloured_log_is_text() -> None:
    log = "\x1b[31mERROR\x1b[0m \x1b[1;32mok\x1b[m \x1b]0;title\x07done\n" * 300
    assert decode_note(log.encode()).text == log


def test_random_bytes_with_text_in_between_are_still_binary() -> None:
    with pytest.raises(UndecodableError):
        decode(b"".join(os.urandom(50) + b" some text " for _ in range(40)))
