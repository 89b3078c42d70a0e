"""Arithmetic without evaluating code: a whitelisting expression parser with size limits."""

from __future__ import annotations

import ast
import math
from typing import Final

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, ConfigDict, Field
from simpleeval import DEFAULT_OPERATORS, InvalidExpression, SimpleEval

from ragkit.agent.turn import TurnState
from ragkit.text.sanitize import one_line

MAX_CHARS: Final = 200
_MAX_NESTING: Final = 30
_MAX_BITS: Final = 4000
_FUNCTIONS: Final = {
    "abs": abs,
    "round": round,
    "min": min,
    "max": max,
    "sqrt": math.sqrt,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "exp": math.exp,
    "ceil": math.ceil,
    "floor": math.floor,
}
_NAMES: Final = {"pi": math.pi, "e": math.e}
_SIGNS: Final = str.maketrans({"×": "*", "÷": "/", "－": "-", "（": "(", "）": ")", "^": "**", "，": ","})


class Calculate(BaseModel):
    """Evaluate an arithmetic expression."""

    model_config = ConfigDict(extra="forbid")
    expression: str = Field(description="for example 2 * 32 * 4096 * 2 / 1024**2", min_length=1, max_length=MAX_CHARS)


def _power(base: float, exponent: float) -> float:
    """``base ** exponent``, refused before it is computed if the result would have over 4,000 bits."""
    if (
        isinstance(base, int)
        and isinstance(exponent, int)
        and abs(base) > 1
        and abs(exponent) * base.bit_length() > _MAX_BITS
    ):
        raise ValueError("the result is too large")
    result: float = base**exponent
    return result


def evaluate(expression: str) -> float:
    """Value of an arithmetic expression with + - * / // % ** and a few functions.

    Raises:
        ValueError: If it is no such expression, too large, or has no value; the message says which.
    """
    text = expression.translate(_SIGNS).strip()
    if len(text) > MAX_CHARS or text.count("(") > _MAX_NESTING:
        raise ValueError(f"the expression is too long (at most {MAX_CHARS} characters, {_MAX_NESTING} parentheses)")
    if ";" in text or "\n" in text:
        raise ValueError("one expression at a time")
    if '"' in text or "'" in text or "[" in text:
        raise ValueError("only numbers and operators are allowed")
    # Its own functions would include some on strings; powers are bounded in the size of their result.
    evaluator = SimpleEval(
        functions=dict(_FUNCTIONS), names=dict(_NAMES), operators={**DEFAULT_OPERATORS, ast.Pow: _power}
    )
    try:
        value = evaluator.eval(text)
    except (
        LookupError,
        InvalidExpression,
        SyntaxError,
        ArithmeticError,
        TypeError,
        ValueError,
        RecursionError,
        MemoryError,
    ) as exc:
        raise ValueError(one_line(str(exc), 120) or type(exc).__name__) from exc
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("the expression has no number as its value")
    return value


def calculate(turn: TurnState) -> BaseTool:
    """The calculator; it needs nothing of the turn."""

    def run(expression: str) -> str:
        try:
            value = evaluate(expression)
        except (ValueError, OverflowError) as exc:
            return f"Error: {exc}"
        return f"{expression} = {value:.10g}"[:500] if isinstance(value, float) else f"{expression} = {value}"[:500]

    return StructuredTool.from_function(
        run, name="calculate", description="evaluate an arithmetic expression", args_schema=Calculate
    )
