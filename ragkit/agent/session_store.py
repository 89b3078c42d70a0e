"""All conversations of a home folder: list, delete for good, export as Markdown with citations."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from ragkit.agent.answer import Citation
from ragkit.agent.sessions import TURN_SUFFIX, PastAnswer, Session, UnfinishedTurn, folder_of, session_path
from ragkit.errors import AgentError, RagkitError, SessionBusyError, UsageError
from ragkit.index.fsops import fsync_folder, write_text_atomically
from ragkit.models.cache import KeyValueFile
from ragkit.retrieval.replies import FILE as REPLIES
from ragkit.text.links import unlinked
from ragkit.text.sanitize import clean_question, one_line, printable

HISTORY: Final = "history"
"""Of the lines typed in `ragkit chat`, below the home folder."""
_SHORT: Final = 4
"""Characters up to which a text is too common to say where it came from."""
_QUOTE_CHARS: Final = 2000
_MARKUP: Final = re.compile(r"<(?=[a-zA-Z/!?])")


@dataclass(frozen=True)
class SessionInfo:
    """One line of the list."""

    id: str
    turns: int
    first_question: str
    changed: str
    """ISO 8601, local time."""
    unfinished: str
    """Question of the turn that was broken off; ``(running)`` while another process answers; else empty."""


def known_session(home: str | Path, identity: str) -> Session:
    """A session that is there.

    Raises:
        UsageError: If the name is not allowed.
        AgentError: If there is no such session, or it cannot be read.
    """
    path = session_path(home, identity)
    if not path.is_file() and not path.with_suffix(TURN_SUFFIX).is_file():
        names = [info.id for info in list_sessions(home)[:5]]
        raise AgentError(
            f"There is no session {identity!r}.",
            f"Newest: {', '.join(names)}." if names else "No session was kept yet.",
        )
    return Session(path)


def list_sessions(home: str | Path) -> list[SessionInfo]:
    """Every session that was kept, the one changed last first. Files that cannot be read are left out."""
    folder = folder_of(home)
    paths = {path.with_suffix(".jsonl") for path in (*folder.glob("*.jsonl"), *folder.glob(f"*{TURN_SUFFIX}"))}
    found = []
    for path in paths:
        with suppress(AgentError, OSError, UsageError):
            session_path(home, path.stem)
            files = [file for file in (path, path.with_suffix(TURN_SUFFIX)) if file.exists()]
            changed = max(file.stat().st_mtime for file in files)
            session = Session(path)
            left = _left(session)
            if not session.answers and not left:
                continue
            first = session.answers[0].question if session.answers else left
            at = datetime.fromtimestamp(changed).astimezone().isoformat(timespec="seconds")
            found.append((changed, SessionInfo(path.stem, len(session.answers), first, at, left)))
    return [info for _, info in sorted(found, key=lambda item: (-item[0], item[1].id))]


def delete_session(home: str | Path, identity: str) -> None:
    """Remove a conversation, so that nothing of it stays.

    That is its turns, an unfinished one, its questions in the history of typed lines, and replies of
    the chat model that were kept about them. Rated answers and memories stay: they were given for keeping.

    Raises:
        UsageError: If the name is not allowed.
        SessionBusyError: If another process is answering in it.
        AgentError: If there is no such session, or a file cannot be removed.
    """
    session = known_session(home, identity)
    path, folder = session_path(home, identity), Path(home).expanduser()
    left: UnfinishedTurn | None = None
    try:
        left = session.unfinished()
    except SessionBusyError:
        raise
    except AgentError:
        left = None  # damaged: nothing can be read of it, and it goes with the rest
    texts = {text for answer in session.answers for text in (answer.question, answer.standalone)}
    texts |= {left.question} if left else set()
    try:
        for file in (*path.parent.glob(f"{identity}{TURN_SUFFIX}*"), path):
            file.unlink(missing_ok=True)
        fsync_folder(path.parent)
        _forget_typed(folder / HISTORY, texts)
        _forget_replies(folder / "cache" / REPLIES, texts)
    except OSError as exc:
        raise AgentError(
            f"The session {identity} cannot be deleted: {exc.strerror}.", f"Check {exc.filename}, then delete it again."
        ) from exc


def to_markdown(session: Session) -> str:
    """A conversation as Markdown: each question with its answer, and below it every citation with its quote.

    Nothing in it loads anything: pictures, links behind words and HTML of notes and models are taken apart.
    """
    parts = [f"# {_inline(session.id or 'Conversation')}"]
    for n, answer in enumerate(session.answers, start=1):
        parts.append(f"## {n}. {_inline(answer.question)}")
        facts = [part for part in (answer.time, answer.model, "abstained" if answer.abstained else "") if part]
        if facts:
            parts.append(f"*{_inline(' · '.join(facts))}*")
        parts.append(_block(answer.text))
        parts.extend(_cited(citation) for citation in answer.citations)
    return "\n\n".join(parts) + "\n"


def as_json(answer: PastAnswer) -> dict[str, object]:
    """A turn as ``ragkit sessions show --json`` gives it."""
    return {
        "question": answer.question,
        "standalone": answer.standalone,
        "answer": answer.text,
        "abstained": answer.abstained,
        "model": answer.model,
        "time": answer.time,
        "citations": [{**vars(citation), "heading": list(citation.heading)} for citation in answer.citations],
    }


def _left(session: Session) -> str:
    try:
        left = session.unfinished()
    except SessionBusyError:
        return "(running)"
    except AgentError:
        return "(damaged)"
    return left.question if left else ""


def _cited(citation: Citation) -> str:
    heading = f" — {_inline(' > '.join(citation.heading))}" if citation.heading else ""
    flag = f" {_inline(citation.flag)}" if citation.flag else ""
    line = f"**[{citation.marker}]** `{one_line(citation.where).replace('`', '')}`{heading}{flag}"
    quote = citation.quote if len(citation.quote) <= _QUOTE_CHARS else f"{citation.quote[:_QUOTE_CHARS]}…"
    return f"{line}\n\n" + "\n".join(f"> {row}".rstrip() for row in _block(quote).split("\n"))


def _block(text: str) -> str:
    """Text of several lines that stays text: no HTML, no picture, no address that is not in sight."""
    return _MARKUP.sub("&lt;", unlinked(printable(text), frozenset(), "(link removed)").text)


def _inline(text: str) -> str:
    return _block(one_line(text, 400))


def _forget_typed(path: Path, texts: set[str]) -> None:
    """Take questions out of the history: blocks of ``# time`` and a ``+`` in front of each line."""
    if not path.is_file():
        return
    blocks = re.split(r"(?m)^(?=# )", path.read_text(encoding="utf-8", errors="surrogateescape"))
    kept = [block for block in blocks if _typed(block) not in texts]
    if len(kept) != len(blocks):
        mode = path.stat().st_mode
        write_text_atomically(path, "".join(kept).encode("utf-8", "replace").decode("utf-8"))
        path.chmod(mode & 0o777)


def _typed(block: str) -> str:
    return clean_question("\n".join(row[1:] for row in block.split("\n") if row.startswith("+"))).strip()


def _forget_replies(path: Path, texts: set[str]) -> None:
    """Take what a model wrote about these questions out of the cache of query transforms."""
    told = [text for text in texts if len(text) > _SHORT]
    if not path.is_file() or not told:
        return
    with suppress(RagkitError):  # a cache that cannot be used holds nothing that would be found again
        file = KeyValueFile(path)
        try:
            entries = file.get(file.keys())
            file.drop([key for key, value in entries.items() if any(text in _reply(value) for text in told)])
        finally:
            file.close()


def _reply(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    with suppress(ValueError):
        return json.dumps(json.loads(text), ensure_ascii=False)
    return text
