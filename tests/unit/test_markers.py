"""Citation markers in generated text, in all the forms that models write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.citations.markers import CitedSentence, parse_answer, render, with_markers, without_markers


def markers(text: str) -> tuple[int, ...]:
    return tuple(number for sentence in parse_answer(text) for number in sentence.markers)


def plain(text: str) -> str:
    return "\n".join(sentence.text for sentence in parse_answer(text))


FORMS = {
    "[1]": (1,),
    "[0]": (0,),
    "[99]": (99,),
    "[1,2]": (1, 2),
    "[1, 2，3]": (1, 2, 3),
    "[1、2]": (1, 2),
    "[1][2]": (1, 2),
    "[１]": (1,),
    "【3】": (3,),
    "［4］": (4,),
    "[^1]": (1,),
    "[[2]]": (2,),
    "[ 5 ]": (5,),
    "[2][2]": (2,),
    "[1-3]": (1, 2, 3),
    "[1–3]": (1, 2, 3),
    "[1, 4-5]": (1, 4, 5),
    "【2-3】": (2, 3),
    "[3-1]": (1, 3),
    "[1-300]": (1, 300),
    "[-1]": (-1,),
}
NO_MARKERS = ["[0, 1]", "[-1, 1]", "[0-9]", "[a]", "[]", "[1](http://x)", "[1.5]", "[1234]", "(1)", "[x1]", "[1"]


@pytest.mark.parametrize(
    "where", ["门控缓解梯度消失{}。", "门控缓解梯度消失。{}", "Gates help {}.", "Gates help. {}", "Gates help{}."]
)
@pytest.mark.parametrize(("form", "numbers"), FORMS.items())
def test_a_marker_is_read_and_leaves_nothing_behind(form: str, numbers: tuple[int, ...], where: str) -> None:
    [sentence] = parse_answer(where.format(form))
    assert sentence.markers == numbers
    assert sentence.text == where.replace(" {}", "").replace("{}", "")


@pytest.mark.parametrize("where", ["门控缓解梯度消失{}。", "Gates help {}."])
@pytest.mark.parametrize("text", NO_MARKERS)
def test_brackets_that_are_no_marker_stay_text(text: str, where: str) -> None:
    assert markers(where.format(text)) == ()
    assert text in plain(where.format(text))


CODE = {
    "indexing": "取 `a[1]` 的值。",
    "list": "写成 `x = [1]` 即可。",
    "after a semicolon": "用 `x = 0; y = [1]` 初始化。",
    "after a full stop": "Call `f(). [1, 2]` now.",
    "block": "如下：\n\n```python\nx = a[1]  # [2]\ny = [3]. [4]\n```\n",
    "formula": "即 $x[1]$ 与 $$\n y = z [2]\n$$。",
    "formula in brackets": "即 \\(x [1]\\)。",
    "block never closed": "如下：\n\n```python\nx = [1]",
}


@pytest.mark.parametrize("text", CODE.values(), ids=CODE.keys())
def test_brackets_in_code_are_no_markers_and_the_code_stays_as_it_is(text: str) -> None:
    assert markers(text) == ()
    mark = next(mark for mark in ("```", "`", "$", "\\") if mark in text)
    code = mark + text.split(mark)[1]
    assert code in plain(text)


def test_a_marker_beside_code_is_read() -> None:
    assert parse_answer("用 `a[1]` 取值。[3]") == [CitedSentence("用 `a[1]` 取值。", (3,))]


def test_a_code_block_is_one_verbatim_part() -> None:
    parts = parse_answer("前文[1]。\n\n```\nx = 1\n```\n\n后文[2]。")
    assert [(part.markers, part.verbatim) for part in parts] == [((1,), False), ((), True), ((2,), False)]
    assert parts[1].text == "```\nx = 1\n```"


def test_each_sentence_carries_its_own_markers() -> None:
    assert parse_answer("甲是乙[1]。丙是丁[2][3]！戊？") == [
        CitedSentence("甲是乙。", (1,)),
        CitedSentence("丙是丁！", (2, 3)),
        CitedSentence("戊？", ()),
    ]


def test_markers_behind_the_full_stop_stay_with_their_sentence() -> None:
    assert parse_answer("甲是乙。[1][2]丙是丁。[3]") == [
        CitedSentence("甲是乙。", (1, 2)),
        CitedSentence("丙是丁。", (3,)),
    ]


def test_markers_on_a_line_of_their_own_belong_to_the_sentence_before() -> None:
    assert parse_answer("甲是乙。\n[1][2]\n丙是丁。") == [
        CitedSentence("甲是乙。", (1, 2)),
        CitedSentence("丙是丁。", (), lead="\n"),
    ]


@pytest.mark.parametrize(("gap", "lead"), [("", ""), (" ", ""), ("\n", "\n"), ("\n\n", "\n\n"), ("\n\n\n", "\n\n")])
def test_line_breaks_between_sentences_are_kept_up_to_an_empty_line(gap: str, lead: str) -> None:
    text = f"甲是乙。[1]{gap}丙是丁。[2]"
    assert [sentence.lead for sentence in parse_answer(text)] == ["", lead]
    assert render(parse_answer(text)) == f"甲是乙。[1]{lead}丙是丁。[2]"


@pytest.mark.parametrize("text", ["", "  \n", "[1]", "。[1]"])
def test_text_that_says_nothing_has_no_sentence(text: str) -> None:
    assert parse_answer(text) == []


@pytest.mark.parametrize(
    ("text", "numbers", "marked"),
    [("是的。", (1, 2), "是的。[1][2]"), ("Yes.", (1,), "Yes. [1]"), ("是的。", (), "是的。")],
)
def test_markers_are_written_behind_the_sentence(text: str, numbers: tuple[int, ...], marked: str) -> None:
    assert with_markers(text, numbers) == marked


def test_rendered_sentences_read_as_text() -> None:
    parts = [
        CitedSentence("甲。", (1,)),
        CitedSentence("乙。", ()),
        CitedSentence("Latin here.", (2,)),
        CitedSentence("- 列表项", (3,)),
        CitedSentence("```\nx\n```", (), verbatim=True),
        CitedSentence("丙。", ()),
    ]
    assert render(parts) == "甲。[1]乙。 Latin here. [2]\n- 列表项[3]\n\n```\nx\n```\n\n丙。"


@given(st.text(alphabet="甲乙a 。.;[]123^,【】`\n", max_size=60))
def test_what_is_rendered_is_parsed_to_the_same_markers(text: str) -> None:
    sentences = parse_answer(text)
    numbers = [number for sentence in sentences for number in sentence.markers]
    assert set(markers(render(sentences))) >= set(numbers)


@given(st.text(max_size=80))
def test_no_text_makes_the_parser_fail(text: str) -> None:
    assert all(isinstance(sentence, CitedSentence) for sentence in parse_answer(text))


@pytest.mark.parametrize("index", ["a[1]", "x[-1]", "dp[i][1]", "self.h[0]", "hidden_states[-1]", "nums[2]"])
@pytest.mark.parametrize("where", ["取 {} 的值。", "取{}。", "It takes {} here."])
def test_an_index_is_no_marker(index: str, where: str) -> None:
    assert parse_answer(where.format(index)) == [CitedSentence(where.format(index), ())]
    assert without_markers(where.format(index)) == where.format(index)


@pytest.mark.parametrize(
    "text", ["得到 Q、K 和 V[1]。", "参见 GPT-4[1]。", "复杂度是 O(n^2)[1]。", "It costs $5 [1] and not $6."]
)
def test_what_stands_before_a_marker_does_not_make_it_an_index(text: str) -> None:
    assert markers(text) == (1,)


def test_a_marker_we_write_behind_a_latin_letter_is_read_again() -> None:
    assert markers(with_markers("设为 x", (1,))) == (1,)


def test_foreign_markers_leave_text_or_become_parentheses() -> None:
    text = "As shown in [3], gates help【12】; see `a[1]` and x[2]."
    assert without_markers(text) == "As shown in, gates help; see `a[1]` and x[2]."
    assert without_markers(text, keep_numbers=True) == "As shown in (3), gates help(12); see `a[1]` and x[2]."


@given(st.text(alphabet="甲a 。.[]123-^,【】`$\\n", max_size=40))
def test_no_marker_is_left_after_they_were_taken_out(text: str) -> None:
    assert markers(without_markers(text, keep_numbers=True)) == ()


TABLE = "| Name | Parameters |\n|---|:--:|\n| BERT | It has 110M. It is old. [1] |\n| GPT-2 | 1.5B [1][2] |"


def test_a_table_comes_out_as_it_was_written() -> None:
    assert render(parse_answer(TABLE)) == TABLE
    assert [(s.text, s.markers, s.frame) for s in parse_answer(TABLE)] == [
        ("| Name | Parameters |", (), True),
        ("|---|:--:|", (), True),
        ("| BERT | It has 110M. It is old. |", (1,), False),
        ("| GPT-2 | 1.5B |", (1, 2), False),
    ]


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        (f"Here they are [1]:\n\n{TABLE}", [True, True, True, False, False]),
        ("You can run it like this:\n\n```\nrun()\n```", [True, False]),
        ("There are two:\n- one.\n- two.", [True, False, False]),
        ("Its law is this: it grows.\nThe law:\nIt grows.", [False, False, False]),
        ("| a lone row |", [False]),
        ("Hello!\nHello world.", [True, False]),
    ],
)
def test_what_frames_an_answer_is_told_from_what_stands_below(text: str, frames: list[bool]) -> None:
    assert [sentence.frame for sentence in parse_answer(text)] == frames


def test_an_absolute_value_begins_no_row() -> None:
    assert [s.text for s in parse_answer("|x| grows with it. Then it falls [1].")] == [
        "|x| grows with it.",
        "Then it falls.",
    ]


def test_an_announcement_knows_how_much_stands_below() -> None:
    assert [parse_answer(f"Here:\n{below}")[0].items for below in ("- a\n- b\n- c", TABLE, "```\nx\n```")] == [3, 2, 0]
