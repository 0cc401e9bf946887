"""What the figures of transitions and attacks share: rows of images, rates in words, and verdicts."""

import base64
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from trompe.reports.wording import number, percent

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record

__all__ = [
    "beside",
    "drawn",
    "find",
    "mean",
    "mean_rate",
    "median",
    "most",
    "one",
    "picture",
    "rate",
    "rise",
    "strips",
]


def strips(
    rows: Sequence["Tensor"], words: Sequence[Sequence[str]] = (), titles: Sequence[str] = ()
) -> bytes:
    """One PNG of several rows of images.

    Args:
        rows: images `(S, C, H, W)` in [0, 1], one row of the picture each, all of one length.
        words: what stands over each image, row by row; nothing where empty.
        titles: what stands over each column.

    >>> import torch
    >>> strips([torch.zeros(3, 1, 8, 8)], [["99%", "60%", "98%"]], ["0", "10", "20"])[1:4]
    b'PNG'
    """
    from trompe.core.domains import Images
    from trompe.reports import Grid
    from trompe.reports.images import png_bytes
    from trompe.reports.pictures import mosaic

    heads = tuple(titles) or ("",) * len(rows[0])
    images = tuple(tuple(Images().render(row)) for row in rows)
    grid = Grid("", heads, images, captions=tuple(map(tuple, words)))
    return png_bytes(mosaic(grid, rows=len(rows), titled=bool(titles)))


def picture(file: str, content: bytes, n: int, **rest: Any) -> "Record":
    """A record that carries a picture of `n` examples, to be drawn beside the page."""
    from trompe.evaluation.records import Record

    held = {"file": file, "picture": base64.b64encode(content).decode("ascii")}
    return Record("examples shown", n, n, config={**rest.pop("config", {}), **held}, **rest)


def drawn(records: Iterable["Record"]) -> dict[str, bytes]:
    """The pictures that records carry, by the names of their files."""
    return {
        str(r.config["file"]): base64.b64decode(str(r.config["picture"]))
        for r in records
        if "picture" in r.config
    }


def find(records: Iterable["Record"], metric: str, **where: Any) -> list["Record"]:
    """The records of a metric whose subject or configuration says all that is asked."""
    return [
        r
        for r in records
        if r.metric == metric
        and all(
            {"subject": r.subject, **r.config}.get(key) == value for key, value in where.items()
        )
    ]


def one(records: Iterable["Record"], metric: str, **where: Any) -> "Record | None":
    """The first of them, if there is one."""
    return next(iter(find(records, metric, **where)), None)


def rate(record: "Record | None", digits: int = 1) -> str | None:
    """A share with its interval.

    >>> from trompe.evaluation.records import Record
    >>> rate(Record.rate("m", 90, 100))
    '90.0% [82.6%, 94.5%]'
    """
    if record is None:
        return None
    low, high = percent(record.low or 0.0, digits), percent(record.high or 0.0, digits)
    return f"{percent(record.value, digits)} [{low}, {high}]"


def mean(record: "Record | None") -> str | None:
    """A number with its interval, where it has one."""
    if record is None or record.low is None or record.high is None:
        return None if record is None else number(record.value)
    return f"{number(record.value)} [{number(record.low)}, {number(record.high)}]"


def mean_rate(record: "Record") -> str:
    """A mean of probabilities with its interval; of a single example, the probability."""
    if record.low is None or record.high is None:
        return percent(record.value, 2)
    return f"{percent(record.value)} [{percent(record.low)}, {percent(record.high)}]"


def median(metric: str, values: "Tensor", **rest: Any) -> "Record":
    """A median with the 95% interval of order statistics, which assumes no distribution.

    >>> import torch
    >>> found = median("m", torch.arange(101.0))
    >>> found.value, found.low, found.high
    (50.0, 40.0, 60.0)
    """
    from trompe.evaluation.records import Record

    ranked, n = values.double().sort().values, len(values)
    half = 1.96 * math.sqrt(n) / 2
    low, high = max(0, math.floor(n / 2 - half)), min(n - 1, math.ceil(n / 2 + half) - 1)
    middle = float(ranked.quantile(0.5))
    ends = (float(ranked[low]), float(ranked[high]))
    return Record(metric, middle, n, *ends, "order statistics 95%", **rest)


def beside(record: "Record", published: float) -> str:
    """Where a share lies beside a published one, by its interval.

    >>> from trompe.evaluation.records import Record
    >>> [beside(Record.rate("m", wins, 100), 0.5) for wins in (90, 50, 10)]
    ['lies above', 'is not told apart from', 'lies below']
    """
    if record.low is not None and record.low > published:
        return "lies above"
    below = record.high is not None and record.high < published
    return "lies below" if below else "is not told apart from"


def most(record: "Record | None", bound: float = 0.5) -> str:
    """Whether a share lies above a bound: by its interval, `"holds"`, `"does not hold"` or `"is unresolved"`.

    >>> from trompe.evaluation.records import Record
    >>> [most(Record.rate("m", wins, 100)) for wins in (90, 50, 10)]
    ['holds', 'is unresolved', 'does not hold']
    """
    if record is None or record.low is None or record.high is None:
        return "is unresolved"
    if record.low > bound:
        return "holds"
    return "does not hold" if record.high < bound else "is unresolved"


def rise(metric: str, after: "Tensor", before: "Tensor", **rest: Any) -> "Record":
    """A difference of two rates on the same examples, with Agresti & Min's interval for pairs (2005).

    >>> import torch
    >>> one, none = torch.tensor([True] * 3 + [False] * 97), torch.zeros(100, dtype=torch.bool)
    >>> found = rise("m", one, none)
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (0.03, -0.009, 0.067)
    """
    from trompe.evaluation.records import Record

    up, down, n = int((after & ~before).sum()), int((before & ~after).sum()), len(after)
    middle = (up - down) / (n + 2)
    half = 1.96 * math.sqrt(up + down + 1 - (up - down) * middle) / (n + 2)
    low, high = max(-1.0, middle - half), min(1.0, middle + half)
    return Record(metric, (up - down) / n, n, low, high, "Agresti-Min 95%", **rest)


def difference(one: "Record", other: "Record") -> tuple[float, float, float]:
    """How far one share lies above another, with the 95% interval of Newcombe 1998 (method 10).

    Samples are taken as independent.

    >>> from trompe.evaluation.records import Record
    >>> [round(x, 3) for x in difference(Record.rate("m", 56, 70), Record.rate("m", 48, 80))]
    [0.2, 0.052, 0.334]
    """
    shares = [(r.value, r.low or 0.0, 1.0 if r.high is None else r.high) for r in (one, other)]
    (p, p_low, p_high), (q, q_low, q_high) = shares
    below = math.hypot(p - p_low, q_high - q)
    above = math.hypot(p_high - p, q - q_low)
    return p - q, p - q - below, p - q + above


def points(gap: tuple[float, float, float]) -> str:
    """A difference of shares with its interval, in points.

    >>> points((0.2, 0.052, 0.334))
    '+20.0 points [+5.2, +33.4]'
    """
    middle, low, high = (f"{100 * x:+.1f}".replace("-", "\N{MINUS SIGN}") for x in gap)
    return f"{middle} points [{low}, {high}]"
