"""Where the console script and ``python -m ragkit.cli`` begin: Ctrl-C counts before anything is imported."""

from __future__ import annotations

import os
import signal

_INTERRUPTED = 130


def main() -> None:
    """Import the command line and run it; never returns.

    Ctrl-C in the middle of an import would show where the import was, and some libraries turn it
    into an error of their own. Nothing needs clearing up that early.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # a job in the background is not to be interrupted
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(_INTERRUPTED))
    from ragkit.cli.main import main as run

    signal.signal(signal.SIGINT, before)
    run()


if __name__ == "__main__":
    main()
