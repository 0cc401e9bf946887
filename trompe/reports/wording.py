"""How numbers are written in a report: the same in a page, in Markdown and on the terminal."""

from __future__ import annotations

import math

from trompe.reports.document import Cell, Metric

__all__ = [
    "amount",
    "cell",
    "duration",
    "interval",
    "measured",
    "number",
    "percent",
    "plain",
    "value",
]

MINUS = "\N{MINUS SIGN}"
MINUTE, HOUR = 60, 3600


def number(x: float, digits: int = 3) -> str:
    """A number to a few significant digits, without an exponent where that can be helped.

    Example:
        >>> number(0.012345), number(1234.5), number(float("inf"))
        ('0.0123', '1234', 'infinite')
    """
    if math.isnan(x):
        return "not measured"
    if math.isinf(x):
        return "infinite" if x > 0 else f"{MINUS}infinite"
    text = f"{x:.0f}" if 1000 <= abs(x) < 1e7 else f"{x:.{digits}g}".replace("e-0", "e-")
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def percent(x: float, digits: int = 1) -> str:
    """A fraction in per cent.

    Example:
        >>> percent(0.4125)
        '41.2%'
    """
    if not math.isfinite(x):
        return number(x)
    text = f"{100 * x:.{digits}f}%"
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def duration(seconds: float) -> str:
    """A time in the units a person would say.

    Example:
        >>> duration(0.21), duration(81.2), duration(7384)
        ('0.21 s', '1 min 21 s', '2 h 3 min')
    """
    if not math.isfinite(seconds) or seconds < 10:
        return f"{number(seconds, 2)} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"


def value(content: Cell) -> str:
    """A table's cell in words: nothing is a dash, a truth is yes or no.

    Example:
        >>> value(None), value(True), value(7), value(0.5)
        ('–', 'yes', '7', '0.5')
    """
    if content is None:
        return "\N{EN DASH}"
    if isinstance(content, bool):
        return "yes" if content else "no"
    if isinstance(content, float):
        return number(content)
    return str(content)


def cell(content: Cell) -> str:
    """A table's cell: as ``value``, and whole numbers from ten thousand on with separators.

    Example:
        >>> cell(2026), cell(211874)
        ('2026', '211,874')
    """
    if isinstance(content, int) and abs(content) >= 10_000:
        return f"{content:,}"
    return value(content)


def amount(name: str, content: Cell) -> str:
    """One entry of a report's cost: times as times, counts with separators.

    Example:
        >>> amount("forward passes", 120000), amount("seconds", 81.2)
        ('120,000', '1 min 21 s')
    """
    if isinstance(content, int | float) and not isinstance(content, bool):
        if name.startswith(("seconds", "time")):
            return duration(float(content))
        if isinstance(content, int):
            return f"{content:,}"
    return value(content)


def plain(metric: Metric) -> str:
    """The value alone, with its unit."""
    if metric.unit == "rate":
        return percent(metric.value)
    return f"{number(metric.value)} {metric.unit}".strip()


def interval(metric: Metric) -> str:
    """The interval alone, as ``38.1% to 44.4%``; empty where there is none."""
    if metric.low is None or metric.high is None:
        return ""
    say = percent if metric.unit == "rate" else number
    return f"{say(metric.low)} to {say(metric.high)}"


def measured(metric: Metric) -> str:
    """The value with everything that says how far to trust it.

    Example:
        >>> clean = Metric("clean", 0.974, 0.967, 0.98, 2000, "rate", interval="Wilson 95%")
        >>> measured(clean)
        '97.4% (Wilson 95%: 96.7% to 98.0%, n = 2000)'
    """
    ends = interval(metric)
    kind = f"{metric.interval}: " if metric.interval and ends else ""
    parts = [kind + ends] if ends else []
    if metric.n is not None:
        parts.append(f"n = {metric.n}")
    text = plain(metric)
    return f"{text} ({', '.join(parts)})" if parts else text
