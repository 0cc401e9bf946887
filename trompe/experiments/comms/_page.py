"""What the pages of all items say alike: rates over the noise, beside published points, and verdicts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from trompe.experiments.comms._links import CLEAN, JAMMING, at_psr
from trompe.reports import Table, markdown_table
from trompe.reports.wording import MINUS, number

if TYPE_CHECKING:
    from trompe.evaluation.block_error import Count
    from trompe.evaluation.records import Record

__all__ = [
    "Curves",
    "Published",
    "Ratio",
    "beside",
    "costs",
    "curves_of",
    "decibels",
    "difference",
    "drawn",
    "rate",
    "rates",
    "ratio",
    "verdict",
    "within",
]

Curves = Mapping[str, Mapping[float, "Record"]]
"""Block error rates by the curve's name and Eb/N0 in dB."""
Published = Mapping[str, tuple[tuple[tuple[float, float], ...], str]]
"""Points `(Eb/N0, rate)` by the name of the curve that they stand beside, with their source."""
Z = 1.959963984540054


def curves_of(records: "Iterable[Record]") -> "dict[str, dict[float, Record]]":
    """The records that are points of a curve; of two at one place the later."""
    found: dict[str, dict[float, Record]] = {}
    for record in records:
        if name := record.config.get("curve"):
            found.setdefault(str(name), {})[record.extra["snr"]] = record
    return {name: dict(sorted(points.items())) for name, points in found.items()}


def rate(record: "Record | None") -> str | None:
    """A block error rate with its interval and blocks; without an error, what it is below."""
    if record is None or record.low is None or record.high is None:
        return None
    if not record.value:
        return f"below {number(record.high, 2)} ({record.n:,} blocks)"
    return difference(record)


def difference(record: "Record | None") -> str | None:
    """A difference of rates with its interval and pairs."""
    if record is None or record.low is None or record.high is None:
        return None
    ends = f"{number(record.low, 2)}, {number(record.high, 2)}"
    return f"{number(record.value, 2)} [{ends}] ({record.n:,})"


def rates(curves: Curves, names: Mapping[str, str]) -> str:
    """A row for each Eb/N0; names say which curves are columns, and their titles."""
    levels = sorted({snr for name in names for snr in curves.get(name, {})})
    rows = [
        (f"{snr:g}", *(rate(curves.get(name, {}).get(snr)) for name in names)) for snr in levels
    ]
    return markdown_table(Table("", ("Eb/N0, dB", *names.values()), tuple(rows)))


# --------------------------------------------------------------------------- comparisons


class Ratio(NamedTuple):
    """How many times one rate is another, with a 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "not measured"
        if not self.value:
            return f"below {number(self.high, 2)}"
        return f"{number(self.value, 2)} [{number(self.low, 2)}, {number(self.high, 2)}]"


UNKNOWN = Ratio(math.nan, 0.0, math.inf)


def ratio(one: "Record | None", other: "Record | None") -> Ratio:
    """The ratio of two rates; the interval is that of independent ones, which is wide for paired ones.

    The logarithm of a rate p with e errors has about the variance (1 - p) / e. Without an error in `one` the
    ratio is known by what it is below; without one in `other` it is not.
    """
    if one is None or other is None or not other.value:
        return UNKNOWN
    value = one.value / other.value
    spread = sum((1 - r.value) / (r.value * r.n) for r in (one, other) if r.value)
    factor = math.exp(Z * math.sqrt(spread))
    most = value * factor if one.value else (one.high or 0.0) / other.value * factor
    return Ratio(value, value / factor, most)


def verdict(holds: bool, fails: bool) -> str:
    """What is said of a claim that an interval affirms, denies or leaves open."""
    return "**holds**" if holds else "**does not hold**" if fails else "is **unresolved**"


def within(record: "Record | None", asked: float, factor: float = 2.0) -> str:
    """Whether a rate lies within a factor of another: with all of its interval, none of it, or some."""
    if record is None or record.low is None or record.high is None:
        return verdict(False, False)
    low, high = asked / factor, asked * factor
    inside = low <= record.low and record.high <= high
    return verdict(inside, record.high < low or record.low > high)


def beside(curves: Curves, published: Published) -> str:
    """Each published point beside ours, and the ratio of the two."""
    rows: list[tuple[str | None, ...]] = []
    for name, (points, _) in published.items():
        for snr, value in points:
            ours = curves.get(name, {}).get(snr)
            times = None
            if ours is not None and ours.low is not None and ours.high is not None and ours.value:
                times = str(Ratio(*(at / value for at in (ours.value, ours.low, ours.high))))
            rows.append((name, f"{snr:g}", number(value, 2), rate(ours), times))
    columns = ("Curve", "Eb/N0, dB", "Published", "Ours", "Ours / published")
    sources = "; ".join(dict.fromkeys(source for _, source in published.values()))
    return f"Published: {sources}.\n\n" + markdown_table(Table("", columns, tuple(rows)))


def _counts(curve: "Mapping[float, Record]", end: str) -> "dict[float, Count]":
    """A curve as counts: its own, or those of one end of its intervals."""
    from trompe.evaluation.block_error import Count

    return {
        snr: Count(round((getattr(record, end) or 0.0) * record.n), record.n)
        for snr, record in curve.items()
    }


def decibels(
    curve: "Mapping[float, Record]", other: "Mapping[float, Record]", level: float
) -> str | None:
    """How many dB later a curve reaches a rate than another does, with the interval that theirs leave."""
    from trompe.evaluation.block_error import gain_db

    ends = (("value", "value"), ("low", "high"), ("high", "low"))
    value, low, high = (gain_db(_counts(curve, a), _counts(other, b), level) for a, b in ends)
    if math.isnan(value):
        return None
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]".replace("-", MINUS)


def _gains(curves: Curves, pairs: Mapping[str, tuple[str, str]], levels: Sequence[float]) -> str:
    """For each pair of curves, how many dB more the first needs for each block error rate."""
    rows = [
        (title, *(decibels(curves[one], curves[other], at) for at in levels))
        for title, (one, other) in pairs.items()
        if one in curves and other in curves
    ]
    told = (
        "How much more Eb/N0 a curve needs for a block error rate than the one it is set over; the logarithm "
        "of the rate is linear between points, and the brackets are what the points' intervals leave. Empty "
        "where a curve does not pass the rate within the measured levels."
    )
    columns = ("Curve", *(f"at {number(at, 1)}" for at in levels))
    return told + "\n\n" + markdown_table(Table("", columns, tuple(rows)))


def costs(
    curves: Curves, psrs: Iterable[float], attackers: Sequence[str], levels: Sequence[float]
) -> str:
    """What jamming costs over a clean channel, and every attacker over jamming of the same power."""
    pairs: dict[str, tuple[str, str]] = {}
    for psr in psrs:
        jammed = at_psr(psr, JAMMING)
        pairs[f"{jammed}, over {CLEAN}"] = jammed, CLEAN
        for name in attackers:
            pairs[f"{at_psr(psr, name)}, over {JAMMING}"] = at_psr(psr, name), jammed
    return _gains(curves, pairs, levels)


# --------------------------------------------------------------------------- drawings


def drawn(
    curves: Curves, names: Mapping[str, str], published: Published | None = None, title: str = ""
) -> str:
    """The curves that are named, each with its published points, as SVG."""
    from trompe.reports.radio import ErrorCurve, error_curves

    made: list[ErrorCurve] = []
    for name, shown in names.items():
        if points := curves.get(name):
            made.append(ErrorCurve(shown, tuple(_point(s, r) for s, r in points.items())))
        if published and name in published:
            at = tuple((snr, value, value, value) for snr, value in published[name][0])
            made.append(ErrorCurve(shown, at, measured=False))
    return error_curves(made, title=title) + "\n"


def _point(snr: float, record: "Record") -> tuple[float, float, float, float]:
    return snr, record.value, record.low or 0.0, record.high or 0.0
