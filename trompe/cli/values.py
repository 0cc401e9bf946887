"""What options are written as: radii, times, rates."""

import math
import re
from contextlib import suppress

from trompe.core.errors import UserError

__all__ = ["duration", "levels", "radii", "radius", "rate"]

_NUMBER = r"\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?"
_RADIUS = re.compile(rf"({_NUMBER})(?:/({_NUMBER}))?", re.IGNORECASE)
_MOST = 1000  # levels of a range
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|m|s|)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "": 1.0}


def radii(text: str, option: str = "--eps") -> tuple[float, ...]:
    """The radii in `8/255` or `0.1,0.2,0.3`, in rising order and each once.

    Raises:
        UserError: something else.

    >>> radii("0.3, 51/255")
    (0.2, 0.3)
    """
    return tuple(sorted({_radius(part.strip(), text, option) for part in text.split(",")}))


def radius(text: str, option: str = "--eps") -> float:
    """The one radius in `8/255`.

    Raises:
        UserError: several radii, or none.
    """
    found = radii(text, option)
    if len(found) > 1:
        raise UserError(
            f"{option} takes one radius here, got {text!r}; trompe audit draws the curve over several"
        )
    return found[0]


def _radius(part: str, text: str, option: str) -> float:
    match = _RADIUS.fullmatch(part)
    value = math.nan
    if match:
        top, bottom = float(match[1]), float(match[2] or 1)
        value = top / bottom if bottom else math.nan
    if not (value > 0 and math.isfinite(value)):
        raise UserError(
            f"{option}: expected positive radii such as 8/255 or 0.1,0.2,0.3, got {text!r}"
        )
    return value


def duration(text: str, option: str = "--budget") -> float:
    """The seconds in `90s`, `20m`, `1h` or `1h30m`; a bare number is seconds.

    Raises:
        UserError: something else, or no time at all.

    >>> duration("20m"), duration("1h30m"), duration("90")
    (1200.0, 5400.0, 90.0)
    """
    clean = text.strip().lower()
    parts = _PART.findall(clean)
    whole = "".join(number + unit for number, unit in parts) == clean
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not (whole and total > 0):
        raise UserError(f"{option}: expected a time such as 90s, 20m or 1h, got {text!r}")
    return total


def levels(text: str, option: str) -> tuple[float, ...]:
    """The levels in dB in `-10,-6,-2` or in `0:14:2`, a range with both its ends.

    Raises:
        UserError: something else.

    >>> levels("-10,-6,-2", "--psr"), levels("0:3:1.5", "--snr")
    ((-10.0, -6.0, -2.0), (0.0, 1.5, 3.0))
    """
    try:
        parts = [float(part) for part in text.split(":")]
        if len(parts) == 1:
            return (parts[0],)
        start, stop, step = (*parts, 1.0)[:3]
        count = math.floor((stop - start) / step + 1e-9) + 1
        if len(parts) <= 3 and step > 0 and 1 <= count <= _MOST:
            return tuple(round(start + step * place, 9) for place in range(count))
    except (ValueError, ZeroDivisionError, OverflowError):
        with suppress(ValueError):
            return tuple(float(part) for part in text.split(","))
    raise UserError(
        f"{option}: expected levels in dB such as -10,-6,-2 or a range such as 0:14:1, got {text!r}"
    )


def rate(value: float, option: str) -> float:
    """A share between 0 and 1, as given.

    Raises:
        UserError: another number, with a hint where it looks like per cent.
    """
    if not 0 <= value <= 1:
        hint = f"; for {value:g} per cent write {value / 100:g}" if 1 < value <= 100 else ""
        raise UserError(f"{option}: expected a share between 0 and 1, got {value:g}{hint}")
    return value
