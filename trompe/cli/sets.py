"""`trompe data`: what data is at hand, whether it is whole, and how to get it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from trompe.cli.command import Command, DataRoot, option
from trompe.cli.console import notice, progress, say, show_table
from trompe.cli.subjects import users_code
from trompe.core.user_code import refuse_pickles

if TYPE_CHECKING:
    from trompe.cli.console import Told

__all__ = ["DataFetch", "DataList", "DataVerify"]


@dataclass(frozen=True, kw_only=True)
class DataList(Command):
    """List the data sets known by name, and whether they are at hand."""

    data_root: DataRoot = None

    def run(self, command: str) -> int:
        """Show one line per set."""
        from trompe import data

        rows = [
            (row.name, row.state, f"{row.train} + {row.test}", "x".join(map(str, row.shape)),
             row.classes, row.licence, row.place)
            for row in data.listing(self.data_root)
        ]  # fmt: skip
        show_table(("Name", "State", "Train + test", "Shape", "Classes", "Licence", "Place"), rows)
        say("Besides these: an .npz file, a folder of class folders, or module:function.")
        return 0


@dataclass(frozen=True, kw_only=True)
class DataVerify(Command):
    """Check the files of data sets by their checksums, or your own data by reading it.

    Exit code 0 if all is well, 1 if something is missing or damaged.
    """

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        option(
            "Sets to verify: all that are at hand, if none is named. module:function runs "
            "your code.",
            metavar="NAME",
        ),
    ] = ()

    data_root: DataRoot = None

    def run(self, command: str) -> int:
        """Show one line per file."""
        from trompe import data

        rows: list[tuple[str, str, str]] = []
        for name in self.names or self._present():
            refuse_pickles(data=name)
            with users_code(name):
                found = data.verify(name, self.data_root)
            rows += [(name, state.state, state.file) for state in found]
        show_table(("Name", "State", "File"), rows)
        return 0 if all(state == "ok" for _, state, _ in rows) else 1

    def _present(self) -> list[str]:
        from trompe import data

        return [row.name for row in data.listing(self.data_root) if row.state != "missing"]


@dataclass(frozen=True, kw_only=True)
class DataFetch(Command):
    """Download a published data set; what is there is kept, a broken download is resumed."""

    name: Annotated[
        tyro.conf.Positional[str],
        option(
            "A name of trompe data list.",
            metavar="NAME",
        ),
    ]

    base_url: Annotated[
        str | None,
        option(
            "Address of a mirror that holds the original .gz files.",
            metavar="URL",
            default="the publisher's",
        ),
    ] = None

    data_root: DataRoot = None

    def run(self, command: str) -> int:
        """Download, verify, and say where the files are."""
        from trompe import data

        with progress(self.name) as told:
            paths = data.fetch(self.name, self.data_root, self.base_url, _bytes(told))
        for path in paths:
            say(str(path))
        if not paths:
            notice(f"{self.name} comes with the package; there is nothing to fetch")
        return 0


def _bytes(told: "Told") -> Callable[[str, int, int | None], None] | None:
    """Bytes as the bar counts them, under the file's name."""
    if told is None:
        return None
    tell = told

    def passed_on(name: str, done: int, total: int | None) -> None:
        tell(done, total, f"{name} {done / 1e6:.1f} MB")

    return passed_on
