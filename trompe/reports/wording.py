"""How numbers are written in a report: the same in a page, in Markdown and on the terminal."""

from __future__ import annotations

import math

from trompe.reports.document import Cell, Metric

__all__ = ["amount", "duration", "interval", "measured", "number", "percent", "value"]

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
    text = f"{x:.0f}" if 1000 <= abs(x) < 1e7 else f"{x:.{digits}g}"
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


def value(cell: Cell) -> str:
    """A table's cell in words: nothing is a dash, a truth is yes or no.

    Example:
        >>> value(None), value(True), value(7), value(0.5)
        ('–', 'yes', '7', '0.5')
    """
    if cell is None:
        return "\N{EN DASH}"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return number(cell)
    return str(cell)


def amount(name: str, cell: Cell) -> str:
    """One entry of a report's cost: times as times, counts with separators.

    Example:
        >>> amount("forward passes", 120000), amount("seconds", 81.2)
        ('120,000', '1 min 21 s')
    """
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        if name.startswith(("seconds", "time")):
            return duration(float(cell))
        if isinstance(cell, int):
            return f"{cell:,}"
    return value(cell)


def _unit(metric: Metric, x: float) -> str:
    if metric.unit == "rate":
        return percent(x)
    return f"{number(x)} {metric.unit}".strip()


def interval(metric: Metric) -> str:
    """The interval alone, as ``38.1% to 44.4%``; empty where there is none."""
    if metric.low is None or metric.high is None:
        return ""
    return f"{_unit(metric, metric.low)} to {_unit(metric, metric.high)}"


def measured(metric: Metric) -> str:
    """The value with everything that says how far to trust it.

    Example:
        >>> measured(Metric("clean", 0.974, 0.967, 0.98, n=2000, unit="rate", interval="Wilson 95%"))
        '97.4% (Wilson 95%: 96.7% to 98.0%, n = 2000)'
    """
    ends = interval(metric)
    kind = f"{metric.interval}: " if metric.interval and ends else ""
    parts = [kind + ends] if ends else []
    if metric.n is not None:
        parts.append(f"n = {metric.n}")
    text = _unit(metric, metric.value)
    return f"{text} ({', '.join(parts)})" if parts else text
