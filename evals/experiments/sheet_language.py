"""How often the language that a sheet of lines is answered in is that of the passage which holds the answer.

    RAGKIT_EMBEDDING_MODEL=bundled python evals/experiments/sheet_language.py

For each answerable question of ``evals/llm-interview`` without a conversation the four passages of a search are
found and the lines nearest to the question chosen, as an agent does for a small model. Of the questions whose answer
is among the passages it counts those whose sheet would be answered in the other language, apart for questions whose
notes are in the language of the question and for those whose notes are not. No chat model takes part.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ragkit.agent.excerpt import body_of, nearest
from ragkit.agent.line_answers import Line
from ragkit.agent.sheets import foreign_language
from ragkit.evaluation.datasets import load_dataset
from ragkit.evaluation.retrieval import open_dataset
from ragkit.settings import load_settings
from ragkit.text.language import answer_language

ROOT = Path(__file__).resolve().parents[2]
PASSAGES = 4
TOKENS = 400


def main() -> None:
    """Print the table."""
    dataset = load_dataset(ROOT / "evals" / "llm-interview")
    index = open_dataset(dataset, load_settings())
    asked: Counter[tuple[bool, str]] = Counter()
    seen: Counter[tuple[bool, str]] = Counter()
    for question in [q for q in dataset.questions if q.gold and not q.history]:
        hits = index.search(question.text, k=PASSAGES)
        if not {hit.document for hit in hits} & {gold.document for gold in question.gold}:
            continue
        texts = {number: body_of(hit) for number, hit in enumerate(hits, start=1) if hit.text.strip()}
        pieces, chosen = nearest(index, [question.text], texts, hits, TOKENS)
        lines = [
            Line(number, text[pieces[number][at].start : pieces[number][at].end])
            for number, text in texts.items()
            for at in sorted(chosen[number])
        ]
        language = answer_language(question.text)
        key = (question.type == "cross-lingual", language)
        asked[key] += 1
        seen[key] += foreign_language(lines, language) is not None
    print("| questions | answer among the passages | answered in the other language |")
    print("|---|---|---|")
    for key in sorted(asked):
        across, language = key
        print(f"| {language}, notes in {'the other' if across else 'its'} language | {asked[key]} | {seen[key]} |")


if __name__ == "__main__":
    main()
