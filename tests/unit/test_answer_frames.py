"""Tables, announcements and courtesies of an answer: they stay as they were written, around what holds."""

from __future__ import annotations

import pytest
from turn_kit import turn_of

from ragkit.agent.answer import Event, SentenceChecked, Token
from ragkit.agent.compose import Composed, compose
from ragkit.agent.live import LiveCheck

SOURCE = "# Models\n\n| Model | Params |\n|---|---|\n| BERT | 110M |\n| GPT-2 | 1.5B |\n| T5 | 11B |\n"
TABLE = "| Name | Parameters |\n|---|---|\n| BERT | 110M [1] |\n| GPT-2 | 1.5B [1] |"
QUESTION = "How many parameters do BERT and GPT-2 have?"


def composed(written: str) -> Composed:
    return compose(turn_of([SOURCE], QUESTION), written, None)


@pytest.mark.parametrize(
    "written",
    [
        TABLE,
        f"Here are the models you asked for:\n\n{TABLE}",
        "You can run it like this:\n\n```python\nload('BERT')\n```\n\n- BERT has 110M params [1]",
        f"Hello! The models differ widely in what they need, as follows:\n\n{TABLE}\n\nI hope this helps!",
        f"{TABLE}\n\nAnd the other one:\n\n| Name | Parameters |\n|---|---|\n| T5 | 11B [1] |",
    ],
)
def test_what_frames_an_answer_stays(written: str) -> None:
    found = composed(written)
    assert (found.text, found.removed) == (written, ())


def test_an_announcement_that_is_not_checked_carries_no_marker() -> None:
    assert composed(f"Here are the models you asked for [1][7]:\n\n{TABLE}").text.startswith("Here are the models you")
    assert "for:\n" in composed(f"Here are the models you asked for [1][7]:\n\n{TABLE}").text


@pytest.mark.parametrize("claim", ["Ada Lovelace trained these models in 1843:", "There are seven models by OpenAI:"])
def test_an_announcement_with_facts_of_its_own_is_checked(claim: str) -> None:
    found = composed(f"{claim}\n\n{TABLE}")
    assert [removed.sentence for removed in found.removed] == [claim]
    assert found.text == TABLE


def test_a_table_whose_rows_do_not_hold_goes_with_its_head() -> None:
    found = composed(
        "BERT has 110M params [1].\n\nBananas are fine:\n\n| Fruit | Colour |\n|---|---|\n| Banana | yellow [1] |"
    )
    assert found.text == "BERT has 110M params. [1]"


def test_courtesies_alone_are_no_answer() -> None:
    assert composed("Hello! I hope this helps.").abstained


def test_a_table_is_shown_whole_while_it_is_written() -> None:
    events: list[Event] = []
    live = LiveCheck(turn_of([SOURCE], QUESTION), events.append)
    for char in f"Here are the models you asked for:\n\n{TABLE}\n":
        live.feed(char)
    live.flush()
    shown = "".join(event.text for event in events if isinstance(event, Token))
    assert shown.strip().endswith(TABLE)
    judged = [event.verdict for event in events if isinstance(event, SentenceChecked)]
    assert [verdict.sentence for verdict in judged] == ["| BERT | 110M |", "| GPT-2 | 1.5B |"]
