"""What each section of an audit contributes, and where finished work is kept."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from trompe.core.errors import UserError
from trompe.evaluation.records import Record, replace_file
from trompe.reports import Check, Finding, Metric, Section, Severity

__all__ = ["Part", "Progress", "Store", "severity"]


class Progress(Protocol):
    """Told how far the work is: (done, total or None, what is running)."""

    def __call__(self, done: int, total: int | None, text: str, /) -> None: ...


@dataclass
class Part:
    """Findings, sections and numbers of one question; a report is the sum of its parts."""

    findings: list[Finding] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    doctor: list[Check] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    untested: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    complete: bool = True

    def __iadd__(self, other: "Part") -> "Part":
        for name in (f.name for f in fields(self) if f.name != "complete"):
            getattr(self, name).extend(getattr(other, name))
        self.complete = self.complete and other.complete
        return self


class Store:
    """Finished pieces of work, as JSON under one folder, each under the hash of what it depends on.

    Args:
        folder: where they lie. Nothing there but pieces of these names is ever touched.
        mark: the hash.
        resume: whether pieces that an earlier run left may be used.
    """

    def __init__(self, folder: Path, mark: str, resume: bool = True) -> None:
        self.folder, self.mark, self.resume = folder, mark, resume
        self._ours: set[str] = set()

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """The piece of that name, made if it is not there."""
        path = self.folder / f"{name}.json"
        if self.resume or name in self._ours:
            try:
                kept = json.loads(path.read_text())
                if kept["mark"] == self.mark:
                    return kept["value"]
            except (OSError, ValueError, KeyError, TypeError):
                pass
        value = make()
        replace_file(path, json.dumps({"mark": self.mark, "value": value}))
        self._ours.add(name)
        return value

    def place(self, name: str) -> Path:
        """A folder for the cases of an evaluation, which goes on with what it finds there."""
        path = self.folder / name
        if not self.resume and name not in self._ours:
            try:
                for log in ("cases.jsonl", "pairs.jsonl"):
                    (path / log).unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f"cannot write {path}: {error.strerror or error}") from None
        self._ours.add(name)
        return path


def severity(rate: float, scale: Sequence[float] = (0.75, 0.5, 0.25, 0.05)) -> Severity:
    """How bad a rate of success of an attack is: critical from 75%, high from 50%, and so on down."""
    names: tuple[Severity, ...] = ("critical", "high", "medium", "low")
    return next((name for name, least in zip(names, scale, strict=True) if rate >= least), "info")
