"""What is shown: results on standard output, notices and progress on standard error."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Progress", "Told", "notice", "progress", "say", "show_table"]

Progress = Callable[[int, int | None, str], None]
Told = Progress | None
_WIDE = 160  # columns where nobody looks: a file or a pipe must not be folded to a narrow screen


def _console(stream: TextIO) -> "Console":
    from rich.console import Console

    shown = stream.isatty()
    return Console(
        file=stream, width=None if shown else _WIDE, highlight=False, soft_wrap=not shown
    )


def say(text: str = "", *, style: str | None = None) -> None:
    """One piece of a result, on standard output."""
    _console(sys.stdout).print(text, style=style, markup=False)


def notice(text: str) -> None:
    """Something about the run that is no result, on standard error."""
    sys.stderr.write(f"trompe: {text}\n")
    sys.stderr.flush()


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table on standard output."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    _console(sys.stdout).print(table, soft_wrap=False)


@contextmanager
def progress(title: str) -> Iterator[Told]:
    """A bar on standard error, where that is a terminal; None where it is not."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=_console(sys.stderr), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def tell(done: int, total: int | None, text: str) -> None:
            bar.update(task, completed=done, total=total, description=text or title)

        yield tell
