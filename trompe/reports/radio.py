"""A radio link drawn: block error rates over the noise, what is sent, and a perturbation of it.

Each drawing is an SVG document of its own: crisp, without scripts, the same for the same numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trompe.core.errors import UserError
from trompe.reports.axes import Axis, axis, label, ticks
from trompe.reports.blocks import Curve, Series
from trompe.reports.figures import ink, lettering, marker
from trompe.reports.pictures import sheet, standalone
from trompe.reports.wording import number

__all__ = ["ErrorCurve", "constellation", "error_curves", "stems"]

Blocks = NDArray[np.complex128]
SIDE, GAP, COLUMNS, LINE = 186, 14, 4, 22
"""Pixels: a panel's side, and between two panels; panels in a row; the height of a line of words."""


@dataclass(frozen=True)
class ErrorCurve:
    """Block error rates of one link over the noise.

    Args:
        name: what the curve is called; a curve and published points of one name share colour and marker.
        points: `(x, rate, low, high)` each, the ends of its interval last; a published point has its rate
            three times.
        measured: False for the numbers of a publication.
    """

    name: str
    points: tuple[tuple[float, float, float, float], ...]
    measured: bool = True


def error_curves(
    curves: Sequence[ErrorCurve],
    *,
    x: str = "Eb/N0, dB",
    title: str = "",
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """Block error rates on a logarithmic axis, with their intervals.

    What was measured is a line, what was published hollow markers; a point without any error is an arrow down
    from the upper end of its interval.

    Args:
        curves: in the order of their colours.
        x: what stands on the horizontal axis.
        title: on top; none is drawn without it.
        marks: upright lines with their words, as `((8.5, "trained here"),)`.

    Example:
        >>> clean = ErrorCurve("clean", ((5, 8e-3, 7e-3, 9e-3), (9, 0.0, 0.0, 3e-6)))
        >>> paper = ErrorCurve("clean", ((5, 5e-3, 5e-3, 5e-3),), measured=False)
        >>> "hollow: published, arrow: at most" in error_curves([clean, paper])
        True
    """
    lines = tuple(_series(curve) for curve in curves)
    figure = Curve(title, x, "block error rate", lines, log_y=True, marks=tuple(marks))
    return standalone(figure, titled=True)


def _series(curve: ErrorCurve) -> Series:
    x, rate, low, high = zip(*curve.points, strict=True) if curve.points else ((), (), (), ())
    return Series(curve.name, x, rate, low, high, published=not curve.measured)


def constellation(
    codebook: ArrayLike,
    uses: int,
    perturbation: ArrayLike | None = None,
    deviation: float = 0.0,
    title: str = "",
) -> str:
    """What is sent for every message, a panel for each channel use: in phase across, in quadrature up.

    Args:
        codebook: `(M, 2 uses)`, first all in phase, then all in quadrature; or `(M, uses)`, in phase only.
        uses: channel uses of a block.
        perturbation: of the shape of one block; every point is drawn with the place it is moved to.
        deviation: of the noise in each real dimension; a disc of this radius lies around every point.
        title: on top; none is drawn without it.

    Raises:
        UserError: where a number is not finite, a block has neither `uses` nor `2 uses` numbers, or there are
            several perturbations.

    Example:
        >>> drawn = constellation([[1.0, 0.0], [-1.0, 0.0]], 1, perturbation=[0.0, 0.5])
        >>> drawn.count("<circle"), drawn.count("<rect")
        (3, 3)
    """
    sent = _blocks(codebook, uses, "a codebook")
    shift = None if perturbation is None else _perturbation(perturbation, uses)
    every = sent if shift is None else np.concatenate([sent, sent + shift])
    reach = 1.08 * (max(np.abs(every.real).max(), np.abs(every.imag).max()) + deviation) or 1.0
    columns, across, down = min(uses, COLUMNS), SIDE + GAP, SIDE + 2 * LINE
    drawn = []
    for use in range(uses):
        moved = None if shift is None else sent[:, use] + shift[use]
        panel = _panel(use, sent[:, use], moved, deviation, reach)
        left, top = GAP + use % columns * across, use // columns * down
        drawn.append(f'<g transform="translate({left} {top + LINE})">{panel}</g>')
    below = math.ceil(uses / columns) * down + LINE
    keys = ("sent",) if shift is None else ("sent", "sent and perturbed")
    drawn.append(_key(keys, GAP, below, "disc: one deviation of the noise" if deviation else ""))
    words = f"{title or 'Constellation'}. {len(sent)} messages in {uses} channel uses"
    if shift is not None:
        words += f", each also moved by a perturbation of norm {_norm(shift)}"
    return sheet(max(GAP + columns * across, 490), below + GAP, drawn, title, words=words)


def stems(delta: ArrayLike, uses: int, title: str = "") -> str:
    """A perturbation over the channel uses of its block: each of its numbers as a stem from zero.

    Args:
        delta: `(2 uses,)`, first all in phase, then all in quadrature; or `(uses,)`, in phase only.
        uses: channel uses of a block.
        title: on top; none is drawn without it.

    Raises:
        UserError: where a number is not finite, or there are neither `uses` nor `2 uses` of them in one row.

    Example:
        >>> drawn = stems([0.5, -0.25, 0.1, 0.0], uses=2)
        >>> drawn.count("<circle"), drawn.count("<rect"), ">in quadrature<" in drawn
        (3, 3, True)
    """
    block = _perturbation(delta, uses)
    keys = ("in phase", "in quadrature")[: np.shape(delta)[-1] // uses]
    values = np.stack([block.real, block.imag], axis=1)[:, : len(keys)]
    left, step, bottom = 50, max(56, 330 // uses), 270
    right = left + step * uses
    reach = float(np.abs(values).max()) or 1.0
    y = _symmetric(1.1 * reach, bottom, LINE)
    drawn = [_levels(y, left, right)]
    for use, pair in enumerate(values.tolist()):
        middle = left + (use + 0.5) * step
        drawn.append(lettering(middle, bottom + 18, str(use + 1), anchor="middle"))
        for part, value in enumerate(pair):
            drawn.append(_stem(part, middle + 14 * (part - (len(pair) - 1) / 2), y, value))
    drawn.append(lettering((left + right) / 2, bottom + 38, "channel use", anchor="middle"))
    drawn.append(_key(keys, left, bottom + 3 * LINE))
    words = f"{title or 'Perturbation'}. {uses} channel uses, norm {_norm(block)}"
    return sheet(right + GAP, bottom + 3 * LINE + GAP, drawn, title, words=words)


def _blocks(values: ArrayLike, uses: int, what: str) -> Blocks:
    """Blocks as complex numbers `(B, uses)`, of arrays, lists, or tensors with a gradient or without."""
    held = values.detach().cpu() if hasattr(values, "detach") else values
    found = np.atleast_2d(np.asarray(held, dtype=np.float64))
    if uses < 1 or found.ndim != 2 or not len(found) or found.shape[1] not in (uses, 2 * uses):
        raise UserError(
            f"{what} for {uses} channel uses has {uses} or {2 * uses} numbers in each block, "
            f"got the shape {found.shape}"
        )
    if not np.isfinite(found).all():
        raise UserError(f"{what} with a number that is not finite cannot be drawn")
    quadrature = found[:, uses:] if found.shape[1] > uses else np.zeros_like(found)
    return found[:, :uses] + 1j * quadrature


def _perturbation(values: ArrayLike, uses: int) -> Blocks:
    """One block `(uses,)`, given as a row or as the only row."""
    found = _blocks(values, uses, "a perturbation")
    if len(found) != 1:
        raise UserError(f"one perturbation is drawn, got {len(found)}")
    block: Blocks = found[0]
    return block


def _norm(block: Blocks) -> str:
    return number(float(np.linalg.norm(block)))


def _symmetric(reach: float, start: float, end: float) -> Axis:
    """An axis from -reach to reach with zero in its middle."""
    whole = axis([-reach, reach], start, end, tight=True)
    return replace(whole, ticks=ticks(-reach, reach, 6))


def _panel(use: int, sent: Blocks, moved: Blocks | None, deviation: float, reach: float) -> str:
    """One channel use: axes of equal scale from -reach to reach, and its points."""
    x, y = _symmetric(reach, 0, SIDE), _symmetric(reach, SIDE, 0)
    parts = [lettering(0, -7, f"channel use {use + 1}"), _cross(x, y)]
    places = [(x.at(p.real), y.at(p.imag)) for p in sent.tolist()]
    ends = [] if moved is None else [(x.at(p.real), y.at(p.imag)) for p in moved.tolist()]
    radius = deviation * SIDE / (2 * reach)
    for a, b in places if radius else ():
        parts.append(
            f'<ellipse cx="{a:.1f}" cy="{b:.1f}" rx="{radius:.1f}" ry="{radius:.1f}" fill="{ink(0)}" '
            'fill-opacity=".1"/>'
        )
    for (a, b), (c, d) in zip(places, ends, strict=bool(ends)):
        parts.append(
            f'<path d="M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" stroke="{ink(1)}" stroke-opacity=".6"/>'
        )
    parts += [marker(1, c, d, hollow=True) for c, d in ends]
    parts += [marker(0, a, b, str(s)) for s, (a, b) in enumerate(places)]
    return "".join(parts)


def _cross(x: Axis, y: Axis) -> str:
    """The frame of a panel, the axes through zero, and lines of the grid with their values."""
    parts = [f'<path class="rule" d="M0 0H{SIDE}V{SIDE}H0z" fill="none"/>']
    for tick in x.ticks:
        kind = "axis" if tick == 0 else "rule faint"
        a, b = x.at(tick), y.at(tick)
        parts.append(f'<path class="{kind}" d="M{a:.1f} 0V{SIDE}M0 {b:.1f}H{SIDE}"/>')
        parts.append(lettering(a, SIDE + 15, label(x, tick), anchor="middle"))
    return "".join(parts)


def _levels(y: Axis, left: float, right: float) -> str:
    """Level lines with their values; that of zero is the axis."""
    parts = []
    for tick in y.ticks:
        kind = "axis" if tick == 0 else "rule"
        parts.append(f'<path class="{kind}" d="M{left} {y.at(tick):.1f}H{right:.1f}"/>')
        parts.append(lettering(left - 8, y.at(tick) + 4, label(y, tick), anchor="end"))
    return "".join(parts)


def _stem(part: int, x: float, y: Axis, value: float) -> str:
    line = f'<path d="M{x:.1f} {y.at(0):.1f}V{y.at(value):.1f}" stroke="{ink(part)}" stroke-width="2"/>'
    return line + marker(part, x, y.at(value), number(value), hollow=part == 1)


def _key(names: Sequence[str], left: float, top: float, note: str = "") -> str:
    """Markers with their names, and a note, in one line."""
    parts = []
    for index, name in enumerate(names):
        parts.append(marker(index, left + 6, top - 4, hollow=index == 1))
        parts.append(lettering(left + 18, top, name))
        left += 46 + 8 * len(name)
    return "".join([*parts, lettering(left, top, note) if note else ""])
