"""`trompe compare` and `trompe reproduce`: reports side by side, and published tables again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from trompe.cli.command import Command, option
from trompe.cli.console import progress, say, show_table
from trompe.cli.files import require_folder
from trompe.core.errors import UserError

__all__ = ["Compare", "Reproduce"]


@dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Set two audits side by side, and say which numbers differ by more than their intervals allow."""

    a: Annotated[
        tyro.conf.Positional[Path],
        option(
            "A report's folder, or its report.json.",
            metavar="A",
        ),
    ]

    b: Annotated[
        tyro.conf.Positional[Path],
        option(
            "The report to compare with it: better and worse are said of this one.",
            metavar="B",
        ),
    ]

    out: Annotated[
        Path | None,
        option(
            "Write the comparison as a report of its own.",
            metavar="FOLDER",
            default="print only",
        ),
    ] = None

    def run(self, command: str) -> int:
        """Read both, compare, show and write."""
        from trompe import reports

        if self.out is not None:
            require_folder(self.out)
        found = reports.compare(reports.read(self.a), reports.read(self.b), command=command)
        say(found.summary)
        for finding in found.ranked:
            say(f"{finding.severity:>8}  {finding.headline}")
            say(f"{'':8}  {finding.interval}", style="dim")
        if self.out is not None:
            for path in reports.write(found, self.out):
                say(str(path))
        return 0


@dataclass(frozen=True, kw_only=True)
class Reproduce(Command):
    """Compute published tables and figures again, with the published number beside ours."""

    target: Annotated[
        tyro.conf.Positional[str | None],
        option(
            "A paper, one table or figure of it, or all.",
            metavar="PAPER[/ITEM]",
            default="list them",
        ),
    ] = None

    scale: Annotated[
        Literal["smoke", "cpu", "paper"],
        option(
            "smoke takes seconds and shows that it runs, cpu is for one machine, paper is "
            "as published.",
        ),
    ] = "smoke"

    resume: Annotated[
        bool,
        option(
            "Go on with what an interrupted run left.",
        ),
    ] = False

    examples: Annotated[
        Path | None,
        option(
            "Also write what no page shows, such as pictures of faces, and pairs with questions for people.",
            metavar="FOLDER",
            default="nothing",
        ),
    ] = None

    list: Annotated[
        bool,
        option(
            "List papers and items; so does leaving the target out.",
        ),
    ] = False

    def run(self, command: str) -> int:
        """Show the list, or run the items and say what was written."""
        from trompe import experiments

        if self.list or self.target is None:
            if self.resume or self.examples is not None:
                raise UserError("--resume and --examples go with a PAPER or PAPER/ITEM")
            show_table(("Item", "What it is"), self._listed(experiments.listing()))
            return 0
        target = None if self.target == "all" else self.target
        folder = None if self.examples is None else require_folder(self.examples)
        with progress(self.target) as told:
            written = experiments.reproduce(target, self.scale, self.resume, told, examples=folder)
        for path in written:
            say(str(path))
        return 0

    def _listed(self, rows: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
        """The items of the paper that was named, or all of them."""
        found = [row for row in rows if self.target in (None, "all", row[0], row[0].split("/")[0])]
        if not found:
            known = ", ".join(name for name, _ in rows)
            raise UserError(f"there is no paper or item {self.target!r}; there are {known}")
        return found
