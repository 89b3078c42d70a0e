"""Text from outside cannot steer the terminal."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable

import pytest
from hazards import HAZARDS
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.sanitize import clean_question, escape_json, one_line, printable

ALLOWED_CONTROLS = {"\n", "\t"}


@pytest.mark.parametrize("text", HAZARDS.values(), ids=HAZARDS.keys())
def test_no_control_or_invisible_character_is_left(text: str) -> None:
    left = printable(text)
    assert left != text
    assert not [c for c in left if unicodedata.category(c) in {"Cc", "Cf", "Cs"} and c not in ALLOWED_CONTROLS]


def test_a_text_may_come_in_pieces_cut_anywhere() -> None:
    for text in HAZARDS.values():
        assert "".join(map(printable, text)) == printable(text)


@pytest.mark.parametrize("clean", [printable, escape_json, one_line])
def test_it_is_quick_on_clean_and_on_hostile_text(clean: Callable[[str], str]) -> None:
    text = "自注意力对词的顺序不敏感。The KV cache keeps keys.\u200b\x1b[31m" * 20_000
    seconds = min(timed(clean, text) for _ in range(5))
    assert len(text.encode()) / seconds > 10e6


def timed(clean: Callable[[str], str], text: str) -> float:
    began = time.process_time()
    clean(text)
    return time.process_time() - began


def test_a_carriage_return_becomes_a_line_break_and_cannot_overwrite_the_line() -> None:
    assert printable("100%\rsafe") == "100%\nsafe"


FILLERS = "\u115f\u1160\u3164\uffa0"


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters=FILLERS)))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_line_breaks_and_tabs_stay() -> None:
    assert printable("一\n\tb") == "一\n\tb"


def test_one_line_joins_lines() -> None:
    assert one_line(" 一\n\n  two\t三 ") == "一 two 三"


def test_one_line_cuts_to_the_limit_with_an_ellipsis() -> None:
    assert one_line("abcdef", limit=4) == "abc…"
    assert one_line("abcd", limit=4) == "abcd"


def test_one_line_holds_no_escape_sequence() -> None:
    assert "\x1b" not in one_line("\x1b[31mred")


@pytest.mark.parametrize("text", HAZARDS.values(), ids=HAZARDS.keys())
def test_json_shows_hazards_as_escapes_and_keeps_the_value(text: str) -> None:
    shown = escape_json(json.dumps({"text": text, "line": "一\n"}, ensure_ascii=False, indent=1))
    assert not [c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs"} and c != "\n"]
    assert json.loads(shown)["text"] == text.replace("\ud83d", "\ufffd")
    assert "一" in shown


@given(st.text())
def test_json_keeps_every_text_without_lone_surrogates(text: str) -> None:
    assert json.loads(escape_json(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("\udcff\udcfequokka", "quokka"),
        ("\ufffdquokka\x1b", "quokka"),
        ("\udce7\udc8c\udcab", "猫"),
        ("a\udce7\udc8cb", "a  b"),
        ("\ud83d\ude00", "\U0001f600"),
        ("注\u200b意\u00ad力\u202e", "注意力"),
        ("a\nb\tc", "a\nb\tc"),
        ("👨\u200d👩", "👨\u200d👩"),
    ],
)
def test_a_question_is_cleaned_of_what_nobody_types(typed: str, asked: str) -> None:
    assert clean_question(typed).strip() == asked


@given(st.text())
def test_a_cleaned_question_can_be_encoded_and_stays_as_it_is(text: str) -> None:
    cleaned = clean_question(text)
    cleaned.encode("utf-8")
    assert clean_question(cleaned) == cleaned
