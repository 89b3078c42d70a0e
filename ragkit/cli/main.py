"""The command ``ragkit``: global options, exit codes, one clear line for every expected failure.

Exit codes: 0 success, 1 expected failure, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from ragkit.cli import (
    agents,
    ask,
    chat,
    doctor,
    evals,
    feedback,
    index,
    memory,
    models,
    search,
    sessions,
    train,
    verify,
)
from ragkit.cli.common import drop_closed_output, ensure_streams, path_given, set_up_logging, state, stderr
from ragkit.errors import RagkitError, UsageError
from ragkit.redact import redacted
from ragkit.text.sanitize import one_line, printable

_INTERRUPTED = 130
_GLOBAL_FLAGS = re.compile(r"--(?:json|debug|verbose|quiet)|-[vq]+")
_GLOBAL_VALUES = {"--index", "--config", "--notes", "--backend", "--uri", "--collection"}
_EPILOG = (
    "Global options (anywhere): --index DIR, --notes DIR, --backend NAME, --uri ADDRESS, --collection NAME, "
    "--config FILE, --json, -v, -q, --debug."
)

# typer carries click inside; its public exceptions lead to the base class of all usage errors.
_ClickException: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=_EPILOG,
    help="Ask your notes, in Chinese or English, and get answers with citations that hold.",
)


def _version(value: bool) -> None:
    if value:
        from ragkit import __version__

        typer.echo(f"ragkit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    index_dir: Annotated[
        list[Path] | None,
        typer.Option("--index", metavar="DIR", help="Index folder; for search also several.", parser=path_given),
    ] = None,
    notes: Annotated[
        Path | None, typer.Option("--notes", metavar="DIR", help="Notes to work on.", parser=path_given)
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="NAME", help="Where the index is: faiss, milvus or pinecone.")
    ] = None,
    uri: Annotated[
        str | None, typer.Option("--uri", metavar="ADDRESS", help="Address of the backend, or a Milvus Lite file.")
    ] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", metavar="NAME", help="Collection in the backend.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Configuration file.", parser=path_given)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="More on stderr.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the global options."""
    state.indexes, state.notes, state.config = tuple(index_dir or ()), notes, config
    state.index = state.indexes[-1] if state.indexes else None
    if len(state.indexes) > 1 and context.invoked_subcommand != "search":
        raise UsageError("--index was given more than once.", "Only `ragkit search` takes several indexes.")
    state.backend, state.uri, state.collection = backend, uri, collection
    state.json, state.debug = as_json, debug
    state.verbosity = -1 if quiet else verbose
    set_up_logging(state.verbosity)


app.command("index", epilog=_EPILOG)(index.run)
app.command("search", epilog=_EPILOG)(search.run)
app.command("ask", epilog=_EPILOG)(ask.run)
app.command("chat", epilog=_EPILOG)(chat.run)
app.command("verify", epilog=_EPILOG)(verify.run)
app.command("doctor", epilog=_EPILOG)(doctor.run)
app.add_typer(evals.app, name="eval")
app.add_typer(models.app, name="models")
app.add_typer(agents.app, name="agents")
app.add_typer(sessions.app, name="sessions")
app.add_typer(feedback.app, name="feedback")
app.add_typer(memory.app, name="memory")
app.add_typer(train.app, name="train")


def globals_first(arguments: list[str]) -> list[str]:
    """Move global options in front of the command, so that they may stand anywhere before ``--``."""
    front: list[str] = []
    rest: list[str] = []
    i = 0
    while i < len(arguments):
        argument = arguments[i]
        if argument == "--":
            rest.extend(arguments[i:])
            break
        if _GLOBAL_FLAGS.fullmatch(argument) or any(argument.startswith(f"{name}=") for name in _GLOBAL_VALUES):
            front.append(argument)
        elif argument in _GLOBAL_VALUES and i + 1 < len(arguments):
            front.extend(arguments[i : i + 2])
            i += 1
        else:
            rest.append(argument)
        i += 1
    return front + rest


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; never returns."""
    ensure_streams()
    if hasattr(os, "umask"):
        # Notes, questions and answers are nobody else's business, whatever file they end up in.
        os.umask(os.umask(0o077) | 0o077)
    given = globals_first(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal with another encoding gets replacement signs instead of a traceback.
            stream.reconfigure(errors="replace")
    state.debug = "--debug" in given
    code = _run(given)
    drop_closed_output()
    if code == _INTERRUPTED:
        # A library's worker may sit in a model call that cannot be cancelled; leaving must not wait for it.
        os._exit(code)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        result = app(arguments, standalone_mode=False)
        if result == _INTERRUPTED:
            stderr.print("interrupted")  # typer makes an exit code of Ctrl-C, without a word
        return result if isinstance(result, int) else 0
    except typer.Exit as exc:
        return exc.exit_code
    except _ClickException as exc:
        # The message repeats what was typed, which may have been pasted from anywhere; help does not.
        if type(exc).__name__ != "NoArgsIsHelpError":
            exc.message = one_line(str(exc.message), 600)
        shown = io.StringIO()
        exc.show(file=shown)
        stderr.print(printable(shown.getvalue()), end="")
        return int(exc.exit_code)
    except SystemExit as exc:
        # This is how typer and rich leave when nobody reads their output any more.
        if not isinstance(exc.__context__, BrokenPipeError):
            raise
        return 0
    except (KeyboardInterrupt, typer.Abort):
        _show_trace()
        stderr.print("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        return 0
    except RagkitError as exc:
        _show_trace()
        stderr.print(f"Error: {one_line(redacted(str(exc)), 600)}", style="red")
        return exc.exit_code
    except Exception as exc:
        _show_trace()
        stderr.print(
            f"Error: {type(exc).__name__}: {one_line(redacted(str(exc)), 300)} (--debug shows where)", style="red"
        )
        return 1


def _show_trace() -> None:
    if state.debug:
        sys.stderr.write(redacted(printable(traceback.format_exc())))
