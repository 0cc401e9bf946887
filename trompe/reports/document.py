"""What a report says, before it is a page: a tree of frozen dataclasses of plain values.

Everything a report shows is in this tree, so the HTML page, the Markdown and the JSON are three
renderings of one value, and a report read back from its JSON is equal to the one that was written.

Sequences may be given as lists, tuples, NumPy arrays or tensors; they are stored as tuples of
plain Python values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol, TypeAlias, get_args

from trompe.reports.blocks import (
    Block,
    Cell,
    Constellation,
    Curve,
    Forest,
    Grid,
    Image,
    Metric,
    Series,
    Table,
    plain,
    store,
)

__all__ = [
    "SEVERITIES",
    "Block",
    "Cell",
    "Check",
    "Constellation",
    "Curve",
    "Finding",
    "Forest",
    "Grid",
    "Image",
    "Metric",
    "Report",
    "Section",
    "Series",
    "Severity",
    "Table",
    "checks",
    "now",
]

Severity: TypeAlias = Literal["critical", "high", "medium", "low", "info"]
SEVERITIES: tuple[str, ...] = get_args(Severity)


def now() -> str:
    """The present moment as a report states it: UTC, to the second, ISO 8601."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()


@dataclass(frozen=True)
class Finding:
    """A headline in plain words, how bad it is, how sure we are, and against whom it holds.

    Args:
        severity: ``critical``, ``high``, ``medium``, ``low`` or ``info``.
        headline: one sentence that a reader without the field's vocabulary understands.
        detail: what stands behind it; paragraphs are separated by an empty line.
        threat: the threat model, one sentence: what the attacker knows, changes and wants.
        interval: the number with its interval and n, as ``wording.measured(metric)`` writes it.

    Raises:
        ValueError: where the severity is another word.
    """

    severity: Severity
    headline: str
    detail: str = ""
    threat: str = ""
    interval: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity is one of {', '.join(SEVERITIES)}, got {self.severity!r}")


@dataclass(frozen=True)
class Section:
    """A heading, a few paragraphs (separated by an empty line), and tables, figures and grids."""

    title: str
    text: str = ""
    blocks: tuple[Block, ...] = ()
    threat: str = ""

    def __post_init__(self) -> None:
        store(self, blocks=tuple(self.blocks))


@dataclass(frozen=True)
class Check:
    """One row of the doctor's table: what was checked, how it came out, and why it matters.

    ``passed`` is None where the check could not be made; ``detail`` then says why not.
    """

    name: str
    passed: bool | None
    detail: str = ""
    why: str = ""
    subject: str = ""


class _CheckLike(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def passed(self) -> bool | None: ...
    @property
    def detail(self) -> str: ...
    @property
    def why(self) -> str: ...


def checks(rows: Iterable[_CheckLike], subject: str = "") -> tuple[Check, ...]:
    """The doctor's checks as rows of a report, under the name of what was examined."""
    return tuple(Check(row.name, row.passed, row.detail, row.why, subject) for row in rows)


@dataclass(frozen=True)
class Report:
    """Everything that one run has to say.

    Args:
        title: the heading of the page.
        subject: what was examined, in a few words.
        command: the exact command that repeats the run.
        created: when, as ``now()`` gives it.
        summary: the answer in two or three sentences.
        findings: headlines; every rendering orders them by severity.
        sections: the measurements behind them.
        metrics: the same numbers for machines; names are unique.
        doctor: the checks that say whether the numbers can be believed.
        verdict: the doctor's conclusion in one sentence.
        cost: what it took, as ``{"seconds": 81.2, "forward passes": 120_000}``.
        untested: what this run did *not* test, one sentence each.
        settings: the configuration, seeds included.
        environment: versions, device, threads.
        partial: the run did not finish; what it measured before that stands.
        missing: what a partial report lacks and why, one sentence.

    Raises:
        ValueError: where two metrics have one name.
    """

    title: str
    subject: str
    command: str
    created: str
    summary: str = ""
    findings: tuple[Finding, ...] = ()
    sections: tuple[Section, ...] = ()
    metrics: tuple[Metric, ...] = ()
    doctor: tuple[Check, ...] = ()
    verdict: str = ""
    cost: dict[str, Cell] = field(default_factory=dict)
    untested: tuple[str, ...] = ()
    settings: dict[str, Cell] = field(default_factory=dict)
    environment: dict[str, Cell] = field(default_factory=dict)
    partial: bool = False
    missing: str = ""

    def __post_init__(self) -> None:
        for name in ("findings", "sections", "metrics", "doctor", "untested"):
            store(self, **{name: tuple(getattr(self, name))})
        for name in ("cost", "settings", "environment"):
            store(self, **{name: {k: plain(v) for k, v in getattr(self, name).items()}})
        names = [metric.name for metric in self.metrics]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two metrics are named {twice[0]!r}; names are unique in a report")

    @property
    def ranked(self) -> Sequence[Finding]:
        """The findings from the most severe to the least, otherwise in their own order."""
        return sorted(self.findings, key=lambda finding: SEVERITIES.index(finding.severity))

    def metric(self, name: str) -> Metric | None:
        """The metric of that name, or None."""
        return next((metric for metric in self.metrics if metric.name == name), None)
