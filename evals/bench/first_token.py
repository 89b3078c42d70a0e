"""Time to the first token of an answer: the 1st and the 3rd question of a session with a local model.

    RAGKIT_HOME=/tmp/rk python evals/bench/first_token.py [--model local] [--notes DIR] [--cold]

The 1st question pays for what the 3rd finds in llama.cpp's cache: rules, tools and format at the beginning of the
prompt. The models are loaded before, so that their files are in neither of them; with ``--cold`` the 1st question
loads them, as that of a fresh ``ragkit chat`` does. Counted is the time from the question to
the first piece of the answer that can be shown, with search and all model calls before it. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from ragkit import Agent, Index, load_settings
from ragkit.content import default_corpus

QUESTIONS = ("为什么自注意力要除以 √d_k？", "LSTM 有哪几个门？", "BM25 的 k1 和 b 是什么意思？")


def first_token(agent: Agent, question: str) -> dict[str, float]:
    """Seconds until the first token and until the end; the end counts where nothing was streamed."""
    began, first = time.monotonic(), 0.0
    for event in agent.stream(question):
        if event.type == "token" and not first:
            first = time.monotonic() - began
    whole = time.monotonic() - began
    return {"first_token": round(first or whole, 2), "done": round(whole, 2)}


def main() -> None:
    """Ask three questions in one session and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="local")
    parser.add_argument("--notes", type=Path, default=None)
    parser.add_argument("--cold", action="store_true")
    given = parser.parse_args()
    settings = load_settings(embedding_model="bundled", sentence_vectors="off")
    index = Index.open(given.notes or default_corpus(), settings=settings)
    agent = Agent.load("interview", index=index, model=given.model)
    if not given.cold:
        agent.chat.model()
        index.search("warm")
    rows = [{"question": question, **first_token(agent, question)} for question in QUESTIONS]
    ratio = rows[2]["first_token"] / rows[0]["first_token"]  # type: ignore[operator]
    print(
        json.dumps({"model": agent.chat.name, "questions": rows, "third_of_first": round(ratio, 2)}, ensure_ascii=False)
    )


if __name__ == "__main__":
    main()
