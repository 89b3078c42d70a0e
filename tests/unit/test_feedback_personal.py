"""Personal data goes, the numbers of the notes stay."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.feedback.personal import is_chinese_id, luhn, mask


def chinese_id(first17: str) -> str:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return first17 + "10X98765432"[sum(w * int(c) for w, c in zip(weights, first17, strict=True)) % 11]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("邮箱是zhang.san+x@mail.example.com吗", "邮箱是<EMAIL>吗"),
        ("手机13812345678，谢谢", "手机<PHONE>，谢谢"),
        ("打 138 1234 5678 或 +86-138-1234-5678", "打 <PHONE> 或 <PHONE>"),
        ("我的号码是１３８１２３４５６７８。", "我的号码是<PHONE>。"),
        ("座机 010-62345678 / (0755) 26712345", "座机 <PHONE> / <PHONE>"),
        ("call +1 (415) 555-2671 or (415) 555-2671", "call <PHONE> or <PHONE>"),
        ("+442079460958", "<PHONE>"),
        ("Tel: 5550 1992", "Tel: <PHONE>"),
        ("身份证 11010519491231002X", "身份证 <ID>"),
        ("身份证号：110105194912310021", "身份证号：<ACCOUNT>"),  # wrong check digit, but named
        ("QQ：123456789，微信wx13812345678", "QQ：<ACCOUNT>，微信<ACCOUNT>"),
        ("微信号是zhangsan_88。", "微信号是<ACCOUNT>。"),
        ("护照 E12345678, passport no. E12345678", "护照 <ACCOUNT>, passport no. <ACCOUNT>"),
        ("我的密码是abc12345678，password is hunter2abc", "我的密码是<KEY>，password is <KEY>"),
        ("sk_live_51H8abcdefghijklmnop", "<KEY>"),
        ("card 4111 1111 1111 1111.", "card <CARD>."),
        ("卡号 6222021001116245702", "卡号 <CARD>"),
        ("6222021001116245703", "6222021001116245703"),  # wrong check digit
        ("from 192.168.1.20 to host 10.0.0.1", "from <IP> to host <IP>"),
        ("fe80::1ff:fe23:4567:890a", "<IP>"),
        ("key sk-proj-abcDEF1234567890abcd", "key <KEY>"),
        ("ghp_0123456789abcdefghijklmnopqrstuvwxyz", "<KEY>"),
        ("AKIAIOSFODNN7EXAMPLE", "<KEY>"),
        ("Authorization: Bearer abc.def-1234567890", "Authorization: Bearer <TOKEN>"),
        ("api_key = 'a1b2c3d4e5f6'", "api_key = '<KEY>'"),
        ("密码：hunter2abc", "密码：<KEY>"),
        ("postgres://user:pa55w0rd@db.example.com/x", "postgres://<CREDENTIALS>@db.example.com/x"),
        ("https://x.example/?api_key=abcdef123&b=1", "https://x.example/?api_key=<KEY>&b=1"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- x", "<KEY> x"),
    ],
)
def test_personal_data_is_replaced(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "GPT-3 有 175B 参数，2017 年的 Transformer 用 1.3e6 步",
        "13000000000 个参数，15000000000 tokens",
        "2^64-1 = 18446744073709551615，2^31-1=2147483647",
        "层宽 256-512-1024，512-768-1024",
        "arXiv:1706.03762，2017-06-12，12:30:45",
        "见 3.2.1.4 节，版本 2.10.30.40，torch==1.13.1.0，v1.2.3.4",
        "127.0.0.1 和 0.0.0.0",
        "x[::2], a::b, std::vector<int>, 学习率 +0.001",
        "hit@5 与 mrr@10，@decorator.name",
        "sk-learn-contrib-something-long, bearer authentication-schemes",
        "token = tokenizer.encode(text), max_position_embeddings=4096",
        "微信 transformer2 版，QQ GPT4-base，微信号很长，passport control, password is required",
        "4096 4096 4096 4096",
        "1700000000000 毫秒，0.123456789012345678",
        "123456789012345678",
    ],
)
def test_ordinary_numbers_stay(text: str) -> None:
    assert mask(text) == text


def test_nothing_in_the_shipped_notes_and_questions_is_taken_for_personal(repository: Path) -> None:
    found: Counter[str] = Counter()
    files = [*(repository / "corpora").rglob("*.md"), *(repository / "evals").rglob("*.jsonl")]
    for file in files:
        mask(file.read_text(encoding="utf-8"), found)
    assert len(files) > 30 and found == Counter()


def test_what_was_found_is_counted_by_kind() -> None:
    counts: Counter[str] = Counter()
    mask("a@b.com c@d.org 13812345678", counts)
    assert counts == {"EMAIL": 2, "PHONE": 1}


@given(st.integers(1970, 2020), st.integers(1, 12), st.integers(1, 28), st.integers(0, 999), st.integers(0, 9))
def test_every_right_identity_number_is_found_and_no_wrong_one(y: int, m: int, d: int, n: int, off: int) -> None:
    right = chinese_id(f"110105{y}{m:02}{d:02}{n:03}")
    assert is_chinese_id(right) and mask(f"号 {right} ") == "号 <ID> "
    if str(off) != right[-1]:
        assert not is_chinese_id(right[:-1] + str(off))


@given(st.text())
def test_masking_never_fails_and_twice_is_once(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


@pytest.mark.parametrize(
    "piece", ["a@", "1 ", "12-", "+1 ", "eyJaaaaaaaa.", "://a:", "1.", "a:", "password=", "Bearer ", "QQ ", "密码是 "]
)
def test_hostile_text_takes_no_longer_than_its_length(piece: str) -> None:
    began = time.monotonic()
    mask(piece * (200_000 // len(piece)))
    assert time.monotonic() - began < 10


def test_luhn() -> None:
    assert luhn("79927398713") and not luhn("79927398710")
