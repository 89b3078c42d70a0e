"""``python -m ragkit``: the command line."""

from ragkit.cli.__main__ import main

if __name__ == "__main__":
    main()
