"""The cells of one item: measured once, kept at once, and not measured again under the same settings."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trompe.core.errors import UserError

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["Progress", "Store", "settings_hash"]

Progress = Callable[[int, int | None, str], None]


def settings_hash(config: Any) -> str:
    """A short hash of a configuration's values.

    >>> from dataclasses import make_dataclass
    >>> one = make_dataclass("Config", [("n", int)], frozen=True)
    >>> settings_hash(one(1)) == settings_hash(one(1)), settings_hash(one(1)) == settings_hash(one(2))
    (True, False)
    """
    if not is_dataclass(config) or isinstance(config, type):
        raise UserError(f"an item's configuration is a dataclass, got {type(config).__name__}")
    text = json.dumps(asdict(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Store:
    """Where the records of one item at one scale gather.

    While the item runs they stand in a file of their own, which takes the final name when the last
    cell is done: an interrupted run leaves the earlier results whole, and its own cells to resume from.

    Args:
        path: the final file; beside it lies the unfinished one.
        resume: whether cells of either file, under the same hash, are taken as they are.
        total: how many cells there will be, once the item has said so.
    """

    path: Path
    paper: str
    item: str
    scale: str
    config: Any
    resume: bool = False
    progress: Progress | None = None
    total: int | None = None
    cells: dict[str, list["Record"]] = field(default_factory=dict)
    _known: dict[str, list["Record"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.hash = settings_hash(self.config)
        for file in (self.path, self.unfinished) if self.resume else ():
            if file.exists():
                self._recall(file)

    @property
    def unfinished(self) -> Path:
        """The file of a run that is not over."""
        return self.path.with_suffix(".partial.json")

    def _recall(self, file: Path) -> None:
        from trompe.evaluation.records import read_records

        kept: dict[str, list[Record]] = {}
        for record in read_records(file):
            if record.config.get("hash") == self.hash:
                kept.setdefault(str(record.config["cell"]), []).append(record)
        self._known |= kept

    def cell(self, name: str, measure: Callable[[], Iterable["Record"]]) -> Iterator["Record"]:
        """The records of one cell: those at hand, or those that `measure` makes now.

        What is common to an item (paper, scale, configuration, versions) is filled in here; a record
        without a time of its own gets an equal share of the cell's.
        """
        if self.progress is not None:
            self.progress(len(self.cells), self.total, name)
        if name not in self._known:
            start = time.perf_counter()
            made = list(measure())
            share = (time.perf_counter() - start) / max(1, len(made))
            self._known[name] = [self._stamped(name, record, share) for record in made]
        self.cells[name] = self._known[name]
        self._write(self.unfinished)
        yield from self.cells[name]

    def _stamped(self, cell: str, record: "Record", share: float) -> "Record":
        config = {**asdict(self.config), **record.config, "cell": cell, "hash": self.hash}
        return replace(
            record,
            paper=self.paper,
            item=self.item,
            scale=self.scale,
            seed=record.seed or getattr(self.config, "seed", 0),
            seconds=record.seconds or round(share, 3),
            config=config,
        )

    def _write(self, path: Path) -> None:
        from trompe.evaluation.records import write_records

        write_records(path, [record for cell in self.cells.values() for record in cell])

    def finish(self) -> Path:
        """All cells are done: the file takes its final name."""
        self._write(self.path)
        self.unfinished.unlink(missing_ok=True)
        return self.path
