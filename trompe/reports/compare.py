"""Two reports side by side: what differs by more than the intervals allow."""

from __future__ import annotations

from typing import Literal, TypeAlias

from trompe.reports.document import (
    Block,
    Cell,
    Finding,
    Forest,
    Metric,
    Report,
    Section,
    Severity,
    Table,
    now,
)
from trompe.reports.wording import measured, number, plain

__all__ = ["Outcome", "compare", "outcome"]

Outcome: TypeAlias = Literal["better", "worse", "different", "same", "unclear", "no interval"]
WORDS: dict[str, str] = {
    "better": "B is better",
    "worse": "B is worse",
    "different": "different",
    "same": "the same",
    "unclear": "no clear difference",
    "no interval": "no interval to judge by",
}
COUNTED: dict[str, str] = {
    "worse": "clearly worse",
    "better": "clearly better",
    "different": "clearly different",
    "unclear": "not clearly different",
    "no interval": "not to be judged for want of an interval",
    "same": "the same",
}
LARGE = 0.2


def outcome(a: Metric, b: Metric) -> Outcome:
    """How the second of two measurements stands to the first.

    They differ where their intervals do not overlap. That is stricter than a test at the
    intervals' level, and overlap is no proof that the two are equal.

    Example:
        >>> outcome(Metric("x", 0.9, 0.8, 1.0, better="higher"), Metric("x", 0.5, 0.4, 0.6))
        'worse'
    """
    if (a.value, a.low, a.high) == (b.value, b.low, b.high):
        return "same"
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return "no interval"
    if b.low <= a.high and a.low <= b.high:
        return "unclear"
    better = a.better or b.better
    if not better:
        return "different"
    return "better" if (b.value > a.value) == (better == "higher") else "worse"


def compare(a: Report, b: Report, *, command: str = "", created: str = "") -> Report:
    """A report that sets the metrics of two reports side by side and says which differ.

    Args:
        a: the first, to which the second is compared.
        b: the second; "better" and "worse" are said of it.
        command: the command that repeats the comparison.
        created: when; now, unless given.

    Returns:
        A report whose findings are the metrics with intervals that do not overlap, the losses
        before the gains.
    """
    both = _shared(a, b)
    judged = [(first, second, outcome(first, second)) for first, second in both]
    changed = [(x, y, o) for x, y, o in judged if o in ("better", "worse", "different")]
    return Report(
        title="Comparison of two reports",
        subject=f"A: {a.subject}. B: {b.subject}.",
        command=command or "trompe compare A B",
        created=created or now(),
        summary=_summary(judged),
        findings=tuple(_finding(x, y, o) for x, y, o in changed),
        sections=tuple(_sections(a, b, judged)),
        verdict=_verdict(a, b),
        untested=tuple(dict.fromkeys((*a.untested, *b.untested))),
        partial=a.partial or b.partial,
        missing=" ".join(
            f"{name} is a partial report. {report.missing}".strip()
            for name, report in (("A", a), ("B", b))
            if report.partial
        ),
    )


def _shared(a: Report, b: Report) -> list[tuple[Metric, Metric]]:
    """The metrics that both have, in one unit."""
    pairs = ((metric, b.metric(metric.name)) for metric in a.metrics)
    return [(x, y) for x, y in pairs if y is not None and x.unit == y.unit]


def _summary(judged: list[tuple[Metric, Metric, Outcome]]) -> str:
    if not judged:
        return "The two reports have no number in common, so nothing can be compared."
    count = {name: sum(o == name for _, _, o in judged) for name in WORDS}
    parts = [f"{words} in {count[name]}" for name, words in COUNTED.items() if count[name]]
    text = f"Numbers that both reports have: {len(judged)}. B is {', '.join(parts)}."
    overlap = " Where intervals overlap, that is no proof that the two are equal."
    return text + (overlap if count["unclear"] else "")


def _finding(a: Metric, b: Metric, how: Outcome) -> Finding:
    severity: Severity = "info"
    if how == "worse":
        severity = "high" if a.unit == "rate" and abs(b.value - a.value) >= LARGE else "medium"
    verb = "rose" if b.value > a.value else "fell"
    first, second = plain(a), plain(b)
    name = a.name[:1].upper() + a.name[1:]
    detail = "" if a.threat == b.threat else f"A: {a.threat or '-'} B: {b.threat or '-'}"
    return Finding(
        severity,
        f"{name} {verb} from {first} to {second}" + (f": {how}" if how != "different" else ""),
        f"The two were measured under different threat models. {detail}" if detail else "",
        a.threat if not detail else "",
        f"A: {measured(a)}. B: {measured(b)}.",
    )


def _sections(a: Report, b: Report, judged: list[tuple[Metric, Metric, Outcome]]) -> list[Section]:
    what = Table(
        "The two reports",
        ("", "A", "B"),
        tuple(
            (n, getattr(a, n), getattr(b, n)) for n in ("title", "subject", "created", "command")
        ),
    )
    sections = [Section("What is compared", blocks=(what, *_different(a, b)))]
    if judged:
        text = (
            "A difference is called clear where the two intervals do not overlap. Both numbers "
            "stand on their own examples; where they share them, smaller differences may be real."
        )
        sections.append(Section("Side by side", text, tuple(_blocks(judged))))
    alone = _alone(a, b)
    return [*sections, Section("In one report only", blocks=(alone,))] if alone.rows else sections


def _blocks(judged: list[tuple[Metric, Metric, Outcome]]) -> list[Block]:
    rates = [(x, y) for x, y, _ in judged if x.unit == "rate"]
    rows: list[tuple[Cell, ...]] = [
        (x.name, measured(x), measured(y), _difference(x, y), WORDS[how]) for x, y, how in judged
    ]
    columns = ("Number", "A", "B", "B minus A", "Outcome")
    blocks: list[Block] = [Table("Every number that both have", columns, tuple(rows))]
    if rates:
        lines = tuple((x.name, (x, y)) for x, y in rates)
        drawing = Forest("The rates with their intervals", "", ("A", "B"), lines, percent=True)
        blocks.insert(0, drawing)
    return blocks


def _difference(a: Metric, b: Metric) -> str:
    gap = b.value - a.value
    if gap == 0:
        return "none"
    sign = "+" if gap > 0 else ""
    if a.unit == "rate":
        return f"{sign}{number(100 * gap)} points"
    return f"{sign}{number(gap)} {a.unit}".strip()


def _different(a: Report, b: Report) -> list[Table]:
    """The settings and versions in which the two runs differ; they may be the reason."""
    tables = []
    for title, name in (("Settings that differ", "settings"), ("Environment", "environment")):
        first: dict[str, Cell] = getattr(a, name)
        second: dict[str, Cell] = getattr(b, name)
        keys = [
            key for key in dict.fromkeys((*first, *second)) if first.get(key) != second.get(key)
        ]
        rows = tuple((key, first.get(key), second.get(key)) for key in keys)
        if rows:
            title_ = title if name == "settings" else "Environment in which they differ"
            tables.append(Table(title_, ("", "A", "B"), rows))
    return tables


def _alone(a: Report, b: Report) -> Table:
    shared = {metric.name for metric, _ in _shared(a, b)}
    rows: list[tuple[Cell, ...]] = []
    for name in dict.fromkeys(m.name for m in (*a.metrics, *b.metrics)):
        if name not in shared:
            first, second = a.metric(name), b.metric(name)
            rows.append((name, *(measured(m) if m else None for m in (first, second))))
    note = "What both have is here where its unit differs."
    return Table("Numbers without a counterpart", ("Number", "A", "B"), tuple(rows), note)


def _verdict(a: Report, b: Report) -> str:
    parts = [f"{name}: {r.verdict}" for name, r in (("A", a), ("B", b)) if r.verdict]
    return "\n\n".join(parts)
