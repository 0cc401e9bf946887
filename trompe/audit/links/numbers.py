"""Block error rates in words, and where a curve passes a rate."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from trompe.audit.links.bench import Levels
from trompe.evaluation.block_error import Count
from trompe.evaluation.records import Record
from trompe.reports import Metric, Series
from trompe.reports.wording import number

__all__ = ["Passed", "crossing", "db", "metric_of", "passing", "rate", "series", "shown", "times"]


class Passed(NamedTuple):
    """The level at which a curve passes a rate, and where it does so at the ends of all intervals."""

    level: float
    low: float
    high: float


def db(level: float) -> str:
    """A level in words.

    >>> db(7.0), db(0.5)
    ('7 dB', '0.5 dB')
    """
    return f"{number(level)} dB"


def rate(count: Count) -> str:
    """A block error rate; without any error its upper bound.

    >>> rate(Count(52, 100_000)), rate(Count(0, 3000))
    ('0.00052', 'at most 0.001')
    """
    record = count.record()
    return number(count.rate, 2) if count.errors else f"at most {number(record.high or 1.0, 2)}"


def shown(count: Count) -> str:
    """A block error rate with its interval."""
    record = count.record()
    return f"{rate(count)} ({number(record.low or 0.0, 2)} to {number(record.high or 1.0, 2)})"


def times(one: Count, other: Count) -> float:
    """How many times as large one rate is; where the other has no errors, at least."""
    below = other.rate if other.errors else other.record().high or 1.0
    return one.rate / below


def metric_of(record: Record, name: str) -> Metric:
    """A block error rate for machines; not in per cent, as most are far below one."""
    ends = record.low, record.high
    kind, threat = record.interval, record.threat
    return Metric(name, record.value, *ends, record.n, "", "lower", kind, threat)


def series(label: str, levels: Levels) -> Series:
    """A curve as a figure takes it."""
    records = [count.record() for count in levels.values()]
    rates = tuple(count.rate for count in levels.values())
    low = tuple(record.low or 0.0 for record in records)
    high = tuple(record.high or 0.0 for record in records)
    return Series(label, tuple(levels), rates, low, high)


def crossing(points: Mapping[float, float], target: float) -> float:
    """The least level at which a rising curve passes a rate; between points its logarithm is linear.

    NaN where it does not.

    >>> crossing({-10.0: 1e-3, -6.0: 1e-1}, 1e-2)
    -8.0
    """
    known = [(level, value) for level, value in sorted(points.items()) if value > 0]
    for (left, below), (right, above) in pairwise(known):
        if below <= target <= above and below < above:
            share = math.log(target / below) / math.log(above / below)
            return left + (right - left) * share
    return math.nan


def passing(levels: Levels, targets: Sequence[float]) -> Passed:
    """Where a rising curve passes a rate that is known to lie in an interval.

    Args:
        levels: the curve.
        targets: the rate, and the ends of its interval.

    Returns:
        The level, and those at which the upper ends pass the lower rate and the lower ends the upper one.
    """
    records = {level: count.record() for level, count in levels.items()}
    curves = (
        {level: count.rate for level, count in levels.items()},
        {level: record.high or 0.0 for level, record in records.items()},
        {level: record.low or 0.0 for level, record in records.items()},
    )
    found = [crossing(curve, target) for curve, target in zip(curves, targets, strict=True)]
    return Passed(*found)
