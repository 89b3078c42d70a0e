"""``python -m ragkit.cli``: the same as the console script."""

from ragkit.cli.main import main

main()
