"""The command line: `trompe audit`, `trompe doctor`, `trompe attack` and the rest.

One file for each verb; nothing here imports torch until a verb runs, so that `trompe --help` answers
at once.
"""

from trompe.cli.entry import main

__all__ = ["main"]
