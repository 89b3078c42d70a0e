"""The tool that asks an interview question from the notes and grades the user's reply to it."""

from __future__ import annotations

from typing import Any, Final

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, ConfigDict, Field

from ragkit.agent.quiz import Asked, ask, choose, grade, passage_of
from ragkit.agent.tools.results import cite_result
from ragkit.agent.turn import TurnState, show_passages
from ragkit.text.language import answer_language
from ragkit.text.sanitize import one_line
from ragkit.values import Hit

KEY: Final = "quiz_me"


class QuizMe(BaseModel):
    """Ask or grade."""

    model_config = ConfigDict(extra="forbid")
    topic: str = Field(default="", max_length=200, description="what to ask about; empty for anything")
    reply: str = Field(
        default="", max_length=4000, description="the user's reply to the question that was asked, word for word"
    )


def quiz_me(turn: TurnState) -> BaseTool:
    """The quiz of one turn; the question that waits for a reply is kept in the session."""

    def run(topic: str = "", reply: str = "") -> tuple[str, list[Hit]]:
        state: dict[str, Any] = turn.state.get(KEY) or {}
        seen = [(str(document), int(line)) for document, line in state.get("seen", ())]
        if reply:
            asked = Asked(**state["asked"]) if state.get("asked") else None
            place = passage_of(turn.index, asked) if asked else None
            if asked is None or place is None:
                return "Error: no question waits for a reply; call quiz_me with a topic first.", []
            hit, part = place
            graded = grade(turn.index, asked, hit, part, reply, turn.structured)
            turn.state[KEY] = {"asked": None, "seen": seen}
            shown = show_passages(turn.add([hit]), turn.spotlight)
            lines = [
                f"{graded.grade}: {len(graded.made)} of {len(graded.made) + len(graded.missed)} points",
                *(f"made: {one_line(point, 300)}" for point in graded.made),
                *(f"missing: {one_line(point, 300)}" for point in graded.missed),
                *(f"not in the notes: {sentence}" for sentence in graded.unfounded),
            ]
            text, hits = cite_result(turn, "quiz_me", "\n".join(lines))
            return f"{text}\n\n{shown}", [*hits, hit]
        found = choose(turn.index, topic, seen)
        if found is None:
            return "Error: the notes have nothing (more) to ask about that.", []
        hit, part = found
        asked = ask(hit, part, topic, answer_language(topic or turn.question), turn.structured)
        turn.state[KEY] = {"asked": asked.to_json(), "seen": [*seen, (hit.document, part.line)]}
        return cite_result(turn, "quiz_me", asked.question)

    return StructuredTool.from_function(
        run,
        name="quiz_me",
        description="ask the user an interview question from the notes, or grade the user's reply to the last one",
        args_schema=QuizMe,
        response_format="content_and_artifact",
    )
