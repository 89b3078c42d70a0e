"""What an answer depends on: equal keys, equal answers, so that one that is kept need not be asked for again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import ragkit
from ragkit.agent.runtime import Agent
from ragkit.api import Index, index_settings
from ragkit.evaluation.datasets import Question
from ragkit.text.tokens import ANALYSER_VERSION

FORMAT: Final = 4
"""Raised with any change of what a kept answer holds or how it is computed."""
_NO_MATTER: Final = {"openai_api_key", "home", "index", "notes", "chat_model", "agent", "embedding_model"}
"""Keys, places of files, and what is named by its contents instead."""


def run_facts(agent: Agent) -> dict[str, Any]:
    """What an answer depends on besides its question; equal facts, equal answers.

    The notes count by their contents: an index that was built anew of the same notes, or moved,
    gives the same answers. Judges are no part of it, they see an answer when it is there.
    """
    spec, index = agent.spec, agent.index
    made = index_settings(index.settings)
    return {
        "format": FORMAT,
        "ragkit": ragkit.__version__,
        "agent": [spec.header.model_dump(mode="json"), spec.prompt, [asdict(example) for example in spec.examples]],
        "model": agent.chat.name,
        "tool_calling": agent.chat.tool_calling,
        "embedding": index.model.identity.fingerprint,
        "corpus": corpus_digest(index),
        "chunker": made.chunks.fingerprint,
        "analyser": [ANALYSER_VERSION, made.bm25.fingerprint],
        # Anything that decides what is retrieved or said.
        "settings": index.settings.model_dump(mode="json", exclude=_NO_MATTER),
    }


def corpus_digest(index: Index) -> str:
    """SHA-256 (hex) over paths and contents of all documents, in the order of their paths."""
    digest = hashlib.sha256()
    for path in sorted(index.documents()):
        document = index.document(path)
        text = document.text if document is not None else ""
        for part in (path, text):
            data = part.encode("utf-8", "replace")
            digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()


def question_key(facts: Mapping[str, Any], question: Question) -> str:
    """Fingerprint of one question in one run; any change of the question changes it."""
    return row_key(facts, asdict(question))


def row_key(facts: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Fingerprint (24 hex digits) of what was asked in one run."""
    text = json.dumps([facts, asked], ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]
