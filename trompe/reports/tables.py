"""Tables and whole reports as Markdown, and tables made from records."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from trompe.reports.document import (
    Block,
    Cell,
    Check,
    Constellation,
    Curve,
    Finding,
    Forest,
    Grid,
    Metric,
    Report,
    Section,
    Table,
)
from trompe.reports.wording import amount, cell, interval, measured, number, percent, plain, value

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = [
    "curve_table",
    "doctor_summary",
    "markdown",
    "markdown_table",
    "metric",
    "metrics_table",
    "perturbation_table",
    "pivot",
    "records_table",
    "threat_models",
]

_SPECIAL = re.compile(r"([\\*_\[\]#|~])")


def threat_models(metrics: Sequence[Metric]) -> dict[str, str]:
    """The threat models that the metrics name, each with a letter to refer to it by."""
    named = dict.fromkeys(m.threat for m in metrics if m.threat)
    return {threat: chr(ord("A") + place) for place, threat in enumerate(named)}


def metrics_table(metrics: Sequence[Metric]) -> Table:
    """Every metric with its interval, n and threat model (a letter); columns nobody fills are left out."""
    letters = threat_models(metrics)
    rows: list[tuple[Cell, ...]] = [
        (m.name, plain(m), interval(m), m.interval, m.n, letters.get(m.threat)) for m in metrics
    ]
    columns = ("Number", "Value", "Interval", "Kind", "n", "Threat model")
    keep = [i for i in range(6) if i < 2 or any(row[i] not in (None, "") for row in rows)]
    return Table(
        "Every number",
        tuple(columns[i] for i in keep),
        tuple(tuple(row[i] for i in keep) for row in rows),
        note="\n\n".join(f"{letter}. {threat}" for threat, letter in letters.items()),
    )


def curve_table(curve: Curve) -> Table:
    """The numbers of a figure: one row per x, one column per series."""
    say = percent if curve.percent else number
    xs = sorted({x for series in curve.series for x in series.x})
    rows: list[tuple[Cell, ...]] = []
    for x in xs:
        row: list[Cell] = [number(x)]
        for series in curve.series:
            i = series.x.index(x) if x in series.x else -1
            if i < 0 or math.isnan(series.y[i]):
                row.append(None)
                continue
            ends = f" ({say(series.low[i])} to {say(series.high[i])})" if series.low else ""
            row.append(say(series.y[i]) + ends)
        rows.append(tuple(row))
    columns = (curve.x_label, *(series.label for series in curve.series))
    return Table(curve.caption, columns, tuple(rows), curve.note, curve.threat)


def forest_table(forest: Forest) -> Table:
    """The numbers of a figure of intervals."""
    rows: list[tuple[Cell, ...]] = [
        (name, *(measured(m) if m else None for m in metrics)) for name, metrics in forest.rows
    ]
    columns = (forest.x_label, *forest.groups)
    return Table(forest.caption, columns, tuple(rows), forest.note, forest.threat)


def perturbation_table(drawn: Constellation) -> Table:
    """The perturbation of a constellation, one row per channel use."""
    parts = ("in phase", "in quadrature")[: len(drawn.perturbation) // drawn.uses]
    rows: list[tuple[Cell, ...]] = [
        (use + 1, *(f"{x:+.3f}" for x in drawn.perturbation[use :: drawn.uses]))
        for use in range(drawn.uses)
    ]
    return Table(drawn.caption, ("channel use", *parts), tuple(rows), drawn.note, drawn.threat)


def doctor_summary(checks: Sequence[Check]) -> str:
    """How many checks passed, failed and could not be made."""
    states = [check.passed for check in checks]
    parts = [f"{states.count(True)} of {len(states)} passed"]
    parts += [f"{states.count(False)} failed"] * (False in states)
    parts += [f"{states.count(None)} not made"] * (None in states)
    return ", ".join(parts)


# ---------------------------------------------------------------------------- records


def metric(record: Record, name: str = "", better: Literal["", "higher", "lower"] = "") -> Metric:
    """A record as a report's metric; a value with a Wilson interval is a rate.

    Args:
        record: the record; a value that is missing becomes "not measured".
        name: the metric's name in the report; by default made of metric, subject, attack and budget.
        better: ``"higher"`` or ``"lower"`` where a change has a direction.
    """
    budget = f"{record.norm} eps {number(record.eps)}" if record.eps is not None else ""
    parts = (record.metric, record.subject, record.attack, budget)
    return Metric(
        name or ", ".join(part for part in parts if part),
        math.nan if record.value is None else record.value,
        record.low,
        record.high,
        record.n,
        "rate" if record.interval.startswith("Wilson") else "",
        better,
        record.interval,
        record.threat,
    )


def _cell(record: Record) -> str:
    """A record's value with its interval, as far as it has one."""
    return measured(replace(metric(record), n=None, interval=""))


def records_table(records: Iterable[Record], caption: str = "") -> Table:
    """One row per record: what was measured, under which attack, and the value with its n."""
    rows: list[tuple[Cell, ...]] = [
        (r.subject, r.attack or None, r.norm or None, r.eps, r.metric, _cell(r), r.n)
        for r in records
    ]
    columns = ("Subject", "Attack", "Norm", "eps", "Metric", "Value", "n")
    keep = [i for i in range(7) if i == 0 or any(row[i] is not None for row in rows)]
    return Table(
        caption,
        tuple(columns[i] for i in keep),
        tuple(tuple(row[i] for i in keep) for row in rows),
    )


def pivot(
    records: Iterable[Record],
    rows: str = "subject",
    columns: str = "eps",
    caption: str = "",
) -> Table:
    """Records as a matrix: one row per value of one field, one column per value of another.

    Args:
        records: of one metric; the later of two records for one place stands.
        rows: the field that names a row, as ``"subject"`` or ``"attack"``.
        columns: the field that names a column, as ``"eps"`` or ``"attack"``.

    Returns:
        The table, in the order in which the values first appear.
    """
    found: dict[tuple[Cell, Cell], str] = {}
    for record in records:
        found[getattr(record, rows), getattr(record, columns)] = _cell(record)
    names = list(dict.fromkeys(row for row, _ in found))
    titles = list(dict.fromkeys(column for _, column in found))
    prefix = "eps " if columns == "eps" else ""
    return Table(
        caption,
        (rows.capitalize(), *(prefix + value(title) for title in titles)),
        tuple((value(name), *(found.get((name, t)) for t in titles)) for name in names),
    )


# --------------------------------------------------------------------------- Markdown


def _escape(text: str) -> str:
    """Text that Markdown shows as it is; words between backticks stay code."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:
        parts = ["'".join(parts)]
    return "`".join(
        part.replace("|", "\\|") if i % 2 else _SPECIAL.sub(r"\\\1", part).replace("<", "&lt;")
        for i, part in enumerate(parts)
    )


def _paragraphs(text: str) -> list[str]:
    return [_escape(part) for part in re.split(r"\n\s*\n", text.strip()) if part]


def markdown_table(table: Table) -> str:
    """The rows of a table as a Markdown table, without its caption.

    Example:
        >>> print(markdown_table(Table("", ("model", "clean"), [("MLP", 0.97)])))
        | model | clean |
        |:--|--:|
        | MLP | 0.97 |
    """
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    right = [
        bool(c) and all(isinstance(v, int | float | None) and v is not True for v in c)
        for c in columns
    ]
    lines = [[_escape(name) for name in table.columns]]
    lines += [[_escape(cell(item)) for item in row] for row in table.rows]
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    rule = "|" + "|".join("--:" if numeric else ":--" for numeric in right) + "|"
    return "\n".join([head, rule, *body])


def _captioned(table: Table) -> list[str]:
    lines = [f"**{_escape(table.caption)}**"] if table.caption else []
    lines += _paragraphs(table.note) + _threat(table.threat)
    return [*lines, markdown_table(table)]


def _threat(threat: str) -> list[str]:
    return [f"*Threat model.* {_escape(threat)}"] if threat else []


def _grid(grid: Grid) -> list[str]:
    """A grid in words: the images themselves are in the page and in the JSON."""
    lines = [f"**{_escape(grid.caption)}**", *_paragraphs(grid.note), *_threat(grid.threat)]
    rows: list[tuple[Cell, ...]] = [
        (label, *captions)
        for label, captions in zip(
            grid.row_labels or [str(i + 1) for i in range(len(grid.rows))],
            grid.captions or [("image",) * len(grid.column_titles)] * len(grid.rows),
            strict=True,
        )
    ]
    table = Table("", ("Example", *grid.column_titles), tuple(rows))
    return [*lines, "The images are in `report.html`.", markdown_table(table)]


def _block(block: Block) -> list[str]:
    match block:
        case Table():
            return _captioned(block)
        case Curve():
            return _captioned(curve_table(block))
        case Forest():
            return _captioned(forest_table(block))
        case Grid():
            return _grid(block)
        case Constellation():
            return [*_captioned(perturbation_table(block)), "It is drawn in `report.html`."]


def _section(section: Section) -> list[str]:
    lines = [f"## {_escape(section.title)}", *_paragraphs(section.text)]
    lines += _threat(section.threat)
    return lines + [line for block in section.blocks for line in _block(block)]


def _finding(finding: Finding) -> list[str]:
    lines = [f"### {finding.severity.capitalize()}: {_escape(finding.headline)}"]
    lines += _paragraphs(finding.detail)
    lines += [f"*Measured.* {_escape(finding.interval)}"] if finding.interval else []
    return lines + _threat(finding.threat)


def _doctor(report: Report) -> list[str]:
    lines = ["## Can these numbers be believed?", *_paragraphs(report.verdict)]
    words = {True: "passed", False: "**failed**", None: "not made"}
    table = Table(
        "",
        ("Check", "Of", "Outcome", "What was seen", "Why it matters"),
        tuple((c.name, c.subject, "\0", c.detail, c.why) for c in report.doctor),
    )
    text = markdown_table(table)
    for check in report.doctor:
        text = text.replace("\0", words[check.passed], 1)
    return [*lines, text] if report.doctor else lines


def _fenced(text: str) -> str:
    runs = re.findall(r"`+", text)
    fence = "`" * max(3, *(len(run) + 1 for run in runs), 3)
    return f"{fence}sh\n{text}\n{fence}"


def _pairs(title: str, entries: dict[str, Cell], counted: bool = False) -> list[str]:
    if not entries:
        return []
    say = amount if counted else lambda _, entry: value(entry)
    rows = tuple((name, say(name, entry)) for name, entry in entries.items())
    return [f"### {title}", markdown_table(Table("", (title, ""), rows))]


def markdown(report: Report) -> str:
    """The whole report as Markdown; curves become tables, images are named and left out.

    Example:
        >>> text = markdown(Report("Audit", "a model", "trompe audit", "2026-11-20"))
        >>> text.splitlines()[0]
        '# Audit'
    """
    lines = [f"# {_escape(report.title)}", _escape(report.subject), _escape(report.created)]
    if report.partial:
        missing = report.missing or "The run was stopped before it was done."
        lines.append(f"> **Partial report.** {_escape(missing)}")
    lines += _paragraphs(report.summary)
    lines.append("## Findings")
    lines += [line for finding in report.ranked for line in _finding(finding)]
    lines += [] if report.findings else ["None."]
    lines += [line for section in report.sections for line in _section(section)]
    lines += _doctor(report) if report.doctor or report.verdict else []
    if report.untested:
        lines += ["## What was not tested", "\n".join(f"- {_escape(t)}" for t in report.untested)]
    if report.metrics:
        lines += ["## Every number", markdown_table(metrics_table(report.metrics))]
    lines += ["## How to repeat it", _fenced(report.command)]
    lines += _pairs("Cost", report.cost, counted=True) + _pairs("Settings", report.settings)
    lines += _pairs("Environment", report.environment)
    return "\n\n".join(line for line in lines if line) + "\n"
