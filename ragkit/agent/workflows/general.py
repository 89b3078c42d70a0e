"""General knowledge: offered where the notes hold no answer, if the agent file allows it, given only after a yes.

It is the one text of ragkit that no passage stands behind, so it says so in its first line, carries no
marker and no link, and ``general`` of the answer is true.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from ragkit.agent.answer import Thought
from ragkit.agent.compose import Composed
from ragkit.agent.parts import AgentParts
from ragkit.agent.workflows.task import Outcome, Task
from ragkit.citations.markers import without_markers
from ragkit.errors import ModelError
from ragkit.text.language import answer_language
from ragkit.text.links import addresses, unlinked
from ragkit.text.sanitize import printable

OFFER: Final = {
    "zh": "要不要我凭通用知识回答？那样没有笔记可以引用。回复“好”即可。",
    "en": "Shall I answer from general knowledge, without any note to cite? Say yes.",
}
NOTICE: Final = {
    "zh": "通用知识，不是来自你的笔记，没有引用，也没有核对：",
    "en": "General knowledge, not from your notes: nothing here is cited or checked.",
}
_SYSTEM: Final = {
    "zh": "用户的笔记没有回答下面的问题。请凭你的通用知识用中文回答，最多五句。没有把握的地方要说明；不知道就说不知道。"
    "不要编造出处、链接或引用编号。",
    "en": "The user's notes do not answer the question below. Answer it in English from general knowledge, in at most "
    "five sentences. Say what you are unsure of, or that you do not know. Invent no source, link or citation number.",
}
_WORKING: Final = {"zh": "凭通用知识回答…", "en": "answering from general knowledge…"}
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "minLength": 1}},
    "required": ["answer"],
    "additionalProperties": False,
}
_YES: Final = re.compile(
    r"^(?:yes|y|yep|yeah|sure|ok(?:ay)?|please(?: do)?|go ahead|好[的呀啊吧]?|可以|要|行|是的?|嗯|请(?:回答|说)?)"
    r"(?:[,，\s]*(?:please|谢谢))?[\s。.!！~]*$",
    re.IGNORECASE,
)


def _allowed(parts: AgentParts) -> bool:
    return parts.spec.header.general_knowledge == "ask" and not parts.chat.extractive


def offered(parts: AgentParts, outcome: Outcome) -> Outcome:
    """An abstention with the offer below it, where the agent file allows one and there is a model to keep it."""
    if not _allowed(parts) or not outcome.composed.abstained or not outcome.composed.text:
        return outcome
    text = f"{outcome.composed.text}\n{OFFER[answer_language(outcome.turn.question)]}"
    return replace(outcome, composed=replace(outcome.composed, text=text))


def accepted(parts: AgentParts, reply: str) -> str:
    """The question that was offered to be answered from general knowledge, if `reply` is the yes to it; else empty."""
    last = parts.session.answers[-1] if parts.session.answers else None
    if last is None or not last.abstained or not _YES.match(reply.strip()):
        return ""
    return last.standalone if _allowed(parts) and last.text.endswith(tuple(OFFER.values())) else ""


def general(task: Task) -> Outcome:
    """Answer the question of the turn before from what the model knows.

    Raises:
        ModelError: If the model gives no answer.
    """
    question = accepted(task.parts, task.question)
    language = answer_language(question)
    turn = task.turn()
    chat = task.parts.chat.structured(turn.budget.spend)
    task.emit(Thought(_WORKING[language]))
    if chat is None:
        raise ModelError(f"{task.parts.chat.name} cannot answer from general knowledge.", "Use another model.")
    tokens = task.parts.spec.header.max_answer_tokens
    said = str(chat.complete_json(_SYSTEM[language], question, _SCHEMA, tokens).get("answer", ""))
    clean = unlinked(without_markers(printable(said)), addresses([question]), "").text.strip()
    if not clean:
        raise ModelError(f"{task.parts.chat.name} gave no answer.", "Ask again, or use another model.")
    composed = Composed(f"{NOTICE[language]}\n{clean}", (), (), 0, abstained=False)
    return Outcome(composed, turn, question, general=True)
