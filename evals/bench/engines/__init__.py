"""Retrieval engines side by side: one file an engine, one process an engine, interleaved rounds.

`python evals/bench/engines/run.py` prints the table. What is compared is the engine, not the
embedding model or the tokenizer: all get the same vectors, and texts whose words every tokenizer
cuts alike.
"""
