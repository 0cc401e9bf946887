"""What every verb is: a frozen dataclass of its options, and what it does."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

__all__ = ["Command", "DataRoot", "Device", "Pictures", "Seed", "option"]


@dataclass(frozen=True)
class Command(ABC):
    """A verb with its options. Each field is annotated with its help."""

    @abstractmethod
    def run(self, command: str) -> int:
        """Do it, and return the exit code.

        Args:
            command: what was typed, for reports to repeat.

        Raises:
            UserError: a slip of the user's.
        """


def option(text: str, *, metavar: str | None = None, default: str = "") -> object:
    """How an option is shown in the help.

    Args:
        text: what it is for.
        metavar: how its value is written.
        default: what is said of its default, where the value itself would say little.
    """
    hint = f"(default: {default})" if default else None
    return tyro.conf.arg(help=text, metavar=metavar, help_behavior_hint=hint)


DataRoot = Annotated[
    Path | None,
    option(
        "Where published data sets lie.",
        metavar="FOLDER",
        default="$TROMPE_DATA, else your cache",
    ),
]
Device = Annotated[str, option("Where to compute: cpu, cuda, cuda:1.", metavar="DEVICE")]
Pictures = Annotated[
    int, option("How many of the examples to write as 8-bit PNG files too.", metavar="N")
]
Seed = Annotated[int, option("Of every random draw.", metavar="N")]
"""Options that several verbs have."""
