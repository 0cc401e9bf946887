"""What each section of an audit contributes, and where finished work is kept."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

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
        for name in (
            "findings",
            "sections",
            "metrics",
            "doctor",
            "verdicts",
            "untested",
            "records",
        ):
            getattr(self, name).extend(getattr(other, name))
        self.complete = self.complete and other.complete
        return self


class Store:
    """Finished pieces of work, as JSON under one folder, each under the hash of what it depends on."""

    def __init__(self, folder: Path, mark: str) -> None:
        self.folder, self.mark = folder, mark

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """The piece of that name, made if it is not there."""
        path = self.folder / f"{name}.json"
        try:
            kept = json.loads(path.read_text())
            if kept["mark"] == self.mark:
                return kept["value"]
        except (OSError, ValueError, KeyError):
            pass
        value = make()
        replace_file(path, json.dumps({"mark": self.mark, "value": value}))
        return value


def severity(rate: float, scale: Sequence[float] = (0.75, 0.5, 0.25, 0.05)) -> Severity:
    """How bad a rate of success of an attack is: critical from 75%, high from 50%, and so on down."""
    names: tuple[Severity, ...] = ("critical", "high", "medium", "low")
    return next((name for name, least in zip(names, scale, strict=True) if rate >= least), "info")
