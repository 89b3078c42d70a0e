"""One hierarchy of errors. Every error says what happened, to which file or setting, and what to do.

Every layer may raise these. Their texts may repeat what an endpoint or a library said, so keys are taken out.
"""

from __future__ import annotations

from ragkit.redact import redacted


class RagkitError(Exception):
    """Root of all expected failures; the command line turns it into one line and exit code 1.

    Args:
        message: What happened, naming the file or setting.
        remedy: What the reader can do about it, or an empty string.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        message = redacted(message)
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        if not self.remedy:
            return self.message
        stop = "" if self.message.endswith((".", "!", "?", "。")) else "."
        return f"{self.message}{stop} {self.remedy}"


class UsageError(RagkitError):
    """The caller asked for something that cannot be meant (exit code 2)."""

    exit_code = 2


class IndexClosedError(UsageError):
    """An index was read or changed after it had been closed."""

    def __init__(self) -> None:
        super().__init__("This index is closed.", "Open it again with Index.open, or close it when all is done.")


class ConfigError(UsageError):
    """A setting or a configuration file is wrong."""


class IngestError(RagkitError):
    """Notes cannot be read at all (single broken files are skipped, not raised)."""


class ModelError(RagkitError):
    """A model is missing, damaged or failed."""


class EndpointError(ModelError):
    """A model endpoint or a vector database refused, timed out or broke off."""


class EndpointDownError(EndpointError):
    """An endpoint cannot be used now: not reached, too slow, overloaded, or replying with what is no reply."""


class EndpointReplyError(EndpointDownError):
    """An endpoint answered with what is no reply: HTML, broken JSON, too much of it, an error with status 200."""


class ReplyCutError(EndpointDownError):
    """A reply broke off before its end; what had arrived is no whole answer and no whole call."""


class IndexFailure(RagkitError):
    """The index on disk cannot be used."""


class IndexCorruptError(IndexFailure):
    """A file of the index does not match its checksum."""


class IndexMismatchError(IndexFailure):
    """The index was built with another model, analyser or chunker."""


class IndexLockedError(IndexFailure):
    """Another process is writing to the index."""


class AgentError(RagkitError):
    """An agent file is wrong, or a run could not go on."""


class SessionBusyError(AgentError):
    """Another question is being answered in the session, by another process or another thread of this one."""


class DatasetError(RagkitError):
    """An evaluation data set is missing or malformed."""


class UnknownRunError(DatasetError, UsageError):
    """A run, or a split, is named that there cannot be (exit code 2)."""


class MemoryFailure(RagkitError):
    """The long-term memory cannot be used."""


class UnknownMemoryError(MemoryFailure, UsageError):
    """No memory has the id that was named, or several have: what was asked is well said, but cannot be done."""

    exit_code = 1


class FeedbackError(RagkitError):
    """Feedback cannot be kept or read."""


class TrainingError(RagkitError):
    """A model cannot be trained here, or from these data."""


class CheckFailed(RagkitError):
    """A measurement was made, and missed what a suite asks of it."""
