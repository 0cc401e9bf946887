"""Axes of a figure: round ticks, linear and logarithmic, and the way from values to places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Axis", "Frame", "axis", "fit", "label", "ticks"]

MINUS = "\N{MINUS SIGN}"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Axis:
    """A range of values laid on a range of places; ``end`` lies above ``start`` on a y axis."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """The place of a value; values beyond the axis stay at its ends, NaN stays NaN."""
        if math.isnan(value):
            return math.nan
        if self.log and value <= 0:
            return self.start
        low, high, x = self.low, self.high, value
        if self.log:
            low, high, x = math.log10(low), math.log10(high), math.log10(x)
        share = min(max((x - low) / (high - low), 0.0), 1.0)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class Frame:
    """The two axes of a drawing."""

    x: Axis
    y: Axis


def _step(span: float, about: int) -> float:
    """The round step (1, 2, 2.5 or 5 times a power of ten) that makes about so many ticks."""
    rough = span / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)


def _decimals(step: float) -> int:
    """How many decimals tell one tick from the next."""
    return next((d for d in range(15) if abs(round(step, d) - step) < 1e-6 * step), 15)


def _power(tick: float) -> str:
    """A small number as its leading figure times a power of ten, a power of ten alone where that is 1."""
    lead, exponent = f"{tick:.0e}".split("e")
    power = "10" + str(int(exponent)).translate(_RAISED)
    return power if lead == "1" else f"{lead}\N{MULTIPLICATION SIGN}{power}"


def label(axis: Axis, tick: float, *, percent: bool = False) -> str:
    """A tick in words, with as many decimals as tell it from its neighbours.

    Example:
        >>> [label(axis([0.0, 0.1], 0, 300), tick) for tick in (0.0, 0.02, 0.1)]
        ['0', '0.02', '0.1']
    """
    if axis.log and axis.ticks and min(axis.ticks) < 1e-3:
        return _power(tick)
    if axis.log or len(axis.ticks) < 2:
        return f"{tick:g}".replace("-", MINUS, 1) if tick < 0 else f"{tick:g}"
    scale = 100 if percent else 1
    decimals = _decimals(scale * (axis.ticks[1] - axis.ticks[0]))
    text = f"{scale * tick:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", MINUS) + ("%" if percent else "")


def ticks(low: float, high: float, about: int = 5) -> tuple[float, ...]:
    """Round values between two ends.

    Example:
        >>> ticks(0.0, 1.0)
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """
    step = _step(high - low, about)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(step * i, _decimals(step)) for i in range(first, last + 1))


def _decades(low: float, high: float, room: int) -> tuple[float, ...]:
    """Ticks of a logarithmic axis: powers of ten, and 2 and 5 between them where there is room."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    few = 3 * math.log10(high / low) <= room
    stride = max(1, (last - first) // max(room, 1))
    every = [10.0**k for k in range(first, last + 1, stride)]
    if few:
        every = [10.0**k * m for k in range(first, last + 1) for m in (1, 2, 5)]
    return tuple(float(f"{v:.10g}") for v in every if low * 0.999 <= v <= high * 1.001)


def fit(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis for these values: from zero where zero is near, never of no length."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low >= 0 and low < 0.5 * high:
        low = 0.0
    if high == low:
        pad = abs(high) * 0.1 or 1.0
        return low - pad, high + pad
    return low, high


def axis(
    values: Sequence[float], start: float, end: float, *, log: bool = False, tight: bool = False
) -> Axis:
    """An axis that holds the values; unless ``tight`` its ends are moved out to round ticks."""
    low, high = min(values), max(values)
    log = log and low > 0
    if log:
        if low == high:
            low, high = low / 2, high * 2
        return Axis(
            low, high, start, end, _decades(low, high, int(abs(end - start) / 44)), log=True
        )
    if low == high:
        low, high = fit([low])
    room = max(3, min(6, int(abs(end - start) / 62)))
    if not tight:
        step = _step(high - low, room)
        low, high = step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)
    return Axis(low, high, start, end, ticks(low, high, room))
