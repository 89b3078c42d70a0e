"""The prompting strategies of the agent file: sampling by step, hidden thoughts, several answers to choose from.

Stands inside of `TurnControl`, which decides what may be called: a step without tools can only answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage

from ragkit.agent.budget import OutOfBudget
from ragkit.agent.json_protocol import GAVE_UP, HIDDEN_THOUGHT, THOUGHT
from ragkit.agent.said import reply_of
from ragkit.agent.spec import AgentHeader
from ragkit.agent.turn import TurnState
from ragkit.errors import ModelError
from ragkit.models.sampling import Sampling, with_sampling

Handler = Callable[[ModelRequest[Any]], ModelResponse[Any]]


class Strategy(AgentMiddleware[Any, Any]):
    """Calls the model as the agent file says.

    Args:
        turn: Gets the further answers in `samples`.
        header: The agent file.
    """

    def __init__(self, turn: TurnState, header: AgentHeader) -> None:
        super().__init__()
        self._turn = turn
        self._header = header

    def wrap_model_call(self, request: ModelRequest[Any], handler: Handler) -> ModelResponse[Any]:
        kind = self._header.sampling.act if request.tools else self._header.sampling.answer
        response = handler(_sampled(request, kind))
        message = reply_of(response)
        final = not message.tool_calls and not message.invalid_tool_calls
        if final and self._header.samples > 1 and not message.additional_kwargs.get(GAVE_UP):
            self._sample(request, handler)
        if self._header.thought == "hidden" and THOUGHT in message.additional_kwargs:
            message.additional_kwargs[HIDDEN_THOUGHT] = message.additional_kwargs.pop(THOUGHT)
        return response

    def _sample(self, request: ModelRequest[Any], handler: Handler) -> None:
        """Ask for the answer again, over the same evidence."""
        turn = self._turn
        turn.samples.clear()
        again = _sampled(request.override(tools=[]), self._header.answer_sampling)
        while len(turn.samples) < self._header.samples - 1 and not turn.cancelled.is_set():
            turn.model_calls += 1
            try:
                response = handler(again)
            except OutOfBudget as exc:
                # The answers that there are decide; that there are no more is said.
                turn.stop = exc.stop
                return
            except ModelError:
                # One reply that cannot be used is a vote that is not cast.
                turn.samples.append(AIMessage("", additional_kwargs={GAVE_UP: "the reply could not be used"}))
                continue
            message = reply_of(response)
            turn.samples.append(message)


def _sampled(request: ModelRequest[Any], sampling: Sampling) -> ModelRequest[Any]:
    return request.override(model=with_sampling(request.model, sampling)) if sampling.given else request
