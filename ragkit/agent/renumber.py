"""An answer that another turn gave, with its passages and markers taken over into this turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ragkit.agent.answer import Answer
from ragkit.agent.turn import TurnState
from ragkit.citations.markers import parse_answer, render
from ragkit.values import Hit


def renumbered(answer: Answer, turn: TurnState) -> tuple[str, list[Hit]]:
    """Add the passages that `answer` cites to `turn`.

    Returns:
        Its text with the numbers that the passages have in `turn`, those of them that are new below it,
        and the passages. A marker whose passage found no room is left out.
    """
    cited = {citation.marker: answer.passages[citation.marker - 1] for citation in answer.citations}
    numbers: dict[int, int] = {}
    sources: list[str] = []
    for marker, hit in cited.items():
        for number, _, new in turn.add([hit]):
            numbers[marker] = number
            if new:
                sources.append(f"[{number}] {hit.where}\n{hit.text}")
    return "\n\n".join([with_numbers(answer.text, numbers), *sources]), list(cited.values())


def with_numbers(text: str, numbers: Mapping[int, int]) -> str:
    """`text` with every marker n written as ``numbers[n]``; one that is not in `numbers` is left out."""
    sentences = [
        replace(sentence, markers=tuple(dict.fromkeys(numbers[m] for m in sentence.markers if m in numbers)))
        for sentence in parse_answer(text)
    ]
    return render(sentences)
