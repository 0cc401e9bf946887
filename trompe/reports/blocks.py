"""What a report is made of: numbers, tables, curves, intervals and grids of images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Block",
    "Cell",
    "Constellation",
    "Curve",
    "Forest",
    "Grid",
    "Image",
    "Metric",
    "Series",
    "Table",
    "plain",
    "store",
]

Cell: TypeAlias = str | bool | int | float | None
Image: TypeAlias = NDArray[np.uint8]


def plain(value: Any) -> Any:
    """A NumPy or tensor scalar as the Python number it holds; anything else as it is.

    Every NaN becomes the one NaN of ``math``, so that equal documents compare equal.
    """
    value = value.item() if hasattr(value, "item") else value
    return math.nan if isinstance(value, float) and math.isnan(value) else value


def store(instance: object, **values: Any) -> None:
    """Set fields of a frozen dataclass while it is being made."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def _number(value: Any) -> float:
    return float(plain(float(plain(value))))


def _floats(values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(math.nan if value is None else _number(value) for value in map(plain, values))


@dataclass(frozen=True)
class Metric:
    """One number that a machine may read: what ``trompe compare`` and ``--fail-under`` look at.

    Args:
        name: unique within the report and the same in every report that measures the same thing.
        value: the estimate; a fraction in [0, 1] where ``unit`` is ``"rate"``.
        low: lower end of the interval, in the same unit; None where there is no interval.
        high: upper end of the interval.
        n: how many examples (or training seeds) the value stands on.
        unit: ``"rate"`` is shown in per cent; anything else is written after the number.
        better: ``"higher"`` or ``"lower"``; empty where neither is an improvement.
        interval: which interval it is, as ``"Wilson 95%"``.
        threat: the threat model of this number, one sentence.

    Raises:
        ValueError: where ``low`` or ``high`` stands alone, or ``better`` is another word.

    Example:
        >>> Metric("clean accuracy", 0.974, 0.967, 0.980, n=2000, unit="rate").value
        0.974
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    better: Literal["", "higher", "lower"] = ""
    interval: str = ""
    threat: str = ""

    def __post_init__(self) -> None:
        store(self, value=_number(self.value), n=plain(self.n))
        if (self.low is None) != (self.high is None):
            raise ValueError(f"metric {self.name!r} has one end of an interval; give low and high")
        if self.low is not None and self.high is not None:
            store(self, low=_number(self.low), high=_number(self.high))
        if self.better not in ("", "higher", "lower"):
            raise ValueError(f"better is 'higher', 'lower' or '', got {self.better!r}")


@dataclass(frozen=True)
class Table:
    """Rows under column names; the first column names the row.

    Raises:
        ValueError: where a row has another number of cells than there are columns.

    Example:
        >>> Table("Accuracy", ("model", "clean"), [("MLP", 0.97)]).rows
        (('MLP', 0.97),)
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    threat: str = ""

    def __post_init__(self) -> None:
        rows = tuple(tuple(plain(cell) for cell in row) for row in self.rows)
        store(self, columns=tuple(self.columns), rows=rows)
        for row in rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.caption!r} has {len(self.columns)} columns and a row of "
                    f"{len(row)} cells"
                )


@dataclass(frozen=True)
class Series:
    """One line of a curve: points (x, y) and, where known, the interval [low, high] at each x.

    A NaN in ``y`` breaks the line; a NaN in ``low`` or ``high`` breaks the band. Series of one label share
    colour and marker.

    Args:
        published: numbers of a publication: open markers without a line.

    Raises:
        ValueError: where the lengths differ.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    published: bool = False

    def __post_init__(self) -> None:
        names = ("x", "y", "low", "high")
        store(self, **{name: _floats(getattr(self, name)) for name in names})
        size = len(self.x)
        if len(self.y) != size or len(self.low) not in (0, size) or len(self.high) != len(self.low):
            raise ValueError(
                f"series {self.label!r} needs as many y, low and high as its {size} values of x"
            )


@dataclass(frozen=True)
class Curve:
    """A figure of lines with interval bands.

    Args:
        series: the lines; each is labelled where it ends.
        log_x: a logarithmic x axis; points at x <= 0 are then left out of the drawing, not of
            the data beneath it.
        log_y: a logarithmic y axis; a point at y = 0 is then drawn as an upper bound, an arrow down
            from the upper end of its interval.
        percent: y values are fractions: shown in per cent on an axis from 0 to 100.
        y_range: the ends of the y axis; by default the data decide.
        marks: upright lines, as ``((8.5, "trained here"),)``.
    """

    caption: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False
    percent: bool = False
    y_range: tuple[float, float] | None = None
    note: str = ""
    threat: str = ""
    log_y: bool = False
    marks: tuple[tuple[float, str], ...] = ()

    def __post_init__(self) -> None:
        marks = tuple((_number(x), words) for x, words in self.marks)
        store(self, series=tuple(self.series), marks=marks)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, each once: a label's place is that of its colour."""
        return tuple(dict.fromkeys(series.label for series in self.series))


@dataclass(frozen=True)
class Forest:
    """Several metrics of one unit on one axis, each with its interval: groups side by side.

    Args:
        groups: what is set side by side, as ``("A", "B")``.
        rows: per line a name and one metric per group, None where a group lacks it.
        percent: values are fractions, shown in per cent on an axis from 0 to 100.
    """

    caption: str
    x_label: str
    groups: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Metric | None, ...]], ...]
    percent: bool = False
    note: str = ""
    threat: str = ""

    def __post_init__(self) -> None:
        rows = tuple((name, tuple(metrics)) for name, metrics in self.rows)
        store(self, groups=tuple(self.groups), rows=rows)
        for name, metrics in rows:
            if len(metrics) != len(self.groups):
                raise ValueError(f"row {name!r} needs one metric for each of {self.groups}")


def _picture(value: Any) -> Image | None:
    """A uint8 image (H, W), (H, W, 1) or (H, W, 3) as (H, W, 3)."""
    if value is None:
        return None
    array = np.asarray(value)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3):
        raise ValueError(
            "expected a uint8 image of shape (H, W) or (H, W, 3), got "
            f"{array.dtype} of shape {array.shape}; make it with domain.render(x)"
        )
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


@dataclass(frozen=True, eq=False)
class Grid:
    """Images in rows and columns, as original, perturbation, adversarial, reconstruction, target.

    Args:
        column_titles: one title per column.
        rows: uint8 images (H, W) or (H, W, 3), as ``domain.render`` makes them; None is a gap.
        row_labels: one label per row, or none at all.
        captions: a few words beneath each image, as ``"7, 99%"``; same layout as ``rows``.

    Raises:
        ValueError: for another dtype or shape, or where the layout is not rectangular.
    """

    caption: str
    column_titles: tuple[str, ...]
    rows: tuple[tuple[Image | None, ...], ...]
    row_labels: tuple[str, ...] = ()
    captions: tuple[tuple[str, ...], ...] = ()
    note: str = ""
    threat: str = ""

    def __post_init__(self) -> None:
        rows = tuple(tuple(_picture(image) for image in row) for row in self.rows)
        captions = tuple(tuple(row) for row in self.captions)
        titles, labels = tuple(self.column_titles), tuple(self.row_labels)
        store(self, rows=rows, captions=captions, column_titles=titles, row_labels=labels)
        if any(len(row) != len(titles) for row in (*rows, *captions)):
            raise ValueError(f"every row of grid {self.caption!r} needs {len(titles)} images")
        if len(labels) not in (0, len(rows)) or len(captions) not in (0, len(rows)):
            raise ValueError(f"grid {self.caption!r} needs a label and captions for every row")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        words = [(g.caption, g.column_titles, g.row_labels, g.captions) for g in (self, other)]
        notes = [(g.note, g.threat, tuple(map(len, g.rows))) for g in (self, other)]
        return words[0] == words[1] and notes[0] == notes[1] and self._same_images(other)

    def _same_images(self, other: Grid) -> bool:
        pairs = zip(
            (image for row in self.rows for image in row),
            (image for row in other.rows for image in row),
            strict=True,
        )
        return all(
            a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs
        )


@dataclass(frozen=True)
class Constellation:
    """What a radio link sends, in the plane of each channel use, and one perturbation of it.

    Args:
        uses: channel uses of a block, n.
        codebook: the block of each message, n numbers in phase and, where there are any, n in quadrature;
            none of them where there are too many to be seen.
        perturbation: the same numbers of what an attacker adds.
        deviation: of the noise in each real dimension.

    Raises:
        ValueError: for a block of another length than n or 2n.
    """

    caption: str
    uses: int
    codebook: tuple[tuple[float, ...], ...]
    perturbation: tuple[float, ...]
    deviation: float = 0.0
    note: str = ""
    threat: str = ""

    def __post_init__(self) -> None:
        codebook = tuple(_floats(block) for block in self.codebook)
        store(self, codebook=codebook, perturbation=_floats(self.perturbation))
        sizes = {len(block) for block in (*codebook, self.perturbation)}
        if self.uses < 1 or len(sizes) > 1 or not sizes <= {self.uses, 2 * self.uses}:
            raise ValueError(
                f"constellation {self.caption!r} needs {self.uses} or {2 * self.uses} numbers in each block"
            )


Block: TypeAlias = Table | Curve | Forest | Grid | Constellation
