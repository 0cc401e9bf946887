"""What a training says while it runs: the history, a progress bar, TensorBoard events."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trompe.core.errors import UserError

__all__ = ["History", "Monitor", "bar", "reporting"]

WINDOW = 50  # steps that one point of the history averages
logger = logging.getLogger("trompe.training")
Listener = Callable[[int, int | None, str], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@dataclass(frozen=True)
class History:
    """How a training went: the means of what the step reported, one point per 50 steps.

    Attributes:
        steps: number of steps done at each point.
        values: for each name that the step reported, its mean up to each point.
        total: number of steps done in all.
        resumed: number of steps that had been done when this call began.
        seconds: time spent training, over all resumed parts.
    """

    steps: tuple[int, ...] = ()
    values: dict[str, tuple[float, ...]] = field(default_factory=dict)
    total: int = 0
    resumed: int = 0
    seconds: float = 0.0

    @property
    def losses(self) -> tuple[float, ...]:
        """The points of the value called "loss"."""
        return self.values.get("loss", ())


class Monitor:
    """Collects what steps report; a window is read from the device once, when it is full."""

    def __init__(self, directory: Path | None, begin: int) -> None:
        self.steps: list[int] = []
        self.values: dict[str, list[float]] = {}
        self.latest = math.nan
        self._pending: dict[str, list[Tensor]] = {}
        self._writer = None if directory is None else _writer(directory, begin)

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Remember one step's scalars."""
        for name, value in values.items():
            self._pending.setdefault(name, []).append(torch.as_tensor(value).detach())

    def means(self) -> dict[str, Tensor]:
        """The means over the open window."""
        return {name: torch.stack(v).float().mean() for name, v in self._pending.items()}

    def close_window(self, number: int, means: Mapping[str, Tensor]) -> None:
        """Put the means over a window into the history.

        Raises:
            UserError: if a loss is no longer finite.
        """
        self._pending.clear()
        self.steps.append(number)
        for name, mean in means.items():
            value = float(mean)
            self.values.setdefault(name, []).append(value)
            if self._writer is not None:
                self._writer.add_scalar(f"train/{name}", value, number)
            if not math.isfinite(value):
                raise UserError(f"{name} became {value} by step {number}; lower the learning rate")
        self.latest = self.values.get("loss", [math.nan])[-1]

    def state(self) -> dict[str, Any]:
        """The history and the open window, for a checkpoint."""
        pending = {name: torch.stack(v) for name, v in self._pending.items()}
        return {"steps": self.steps, "values": self.values, "pending": pending}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.steps, self.values = (
            list(state["steps"]),
            {k: list(v) for k, v in state["values"].items()},
        )
        self._pending = {name: list(values) for name, values in state["pending"].items()}

    def close(self) -> None:
        """Flush the events to the disk."""
        if self._writer is not None:
            self._writer.close()


def _writer(directory: Path, begin: int) -> Any:
    """A TensorBoard writer, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("TensorBoard is not installed: no events are written to %s", directory)
        return None
    return SummaryWriter(str(directory), purge_step=begin or None)


class _Bar:
    """A progress bar that is told how far the training is."""

    def __init__(self, show: Callable[[int, str], None] | None = None) -> None:
        self._show = show

    def at(self, number: int, loss: float) -> None:
        """Show that `number` steps are done."""
        if self._show is not None:
            self._show(number, "" if math.isnan(loss) else f"loss {loss:.4g}")


@contextmanager
def reporting(listener: Listener | None) -> Iterator[None]:
    """Let trainings inside tell `listener(done, total, title)` instead of drawing bars of their own.

    >>> with reporting(lambda done, total, title: print(f"{title}: {done} of {total}")):
    ...     with bar("classifier", 90, shown=False) as progress:
    ...         progress.at(30, 0.5)
    classifier: 30 of 90
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def bar(title: str, total: int, shown: bool) -> Iterator[_Bar]:
    """A progress bar on standard error, if `shown` and that is a terminal; or the listener of `reporting`."""
    listener = _listener.get()
    if listener is not None:
        yield _Bar(lambda number, loss: listener(number, total, title))
        return
    if not shown:
        yield _Bar()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Bar()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=total, loss="")
        yield _Bar(lambda number, loss: progress.update(task, completed=number, loss=loss))
