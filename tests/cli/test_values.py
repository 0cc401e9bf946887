"""How radii, times and shares are written."""

import pytest

from trompe.cli.values import duration, radii, radius, rate
from trompe.core.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", (8 / 255,)),
        ("0.1,0.2,0.3", (0.1, 0.2, 0.3)),
        ("0.3, 0.1", (0.1, 0.3)),
        (".5", (0.5,)),
        ("1e-3", (0.001,)),
        ("0.1,0.1", (0.1,)),
    ],
)
def test_radii(text: str, value: tuple[float, ...]) -> None:
    assert radii(text) == value


@pytest.mark.parametrize(
    "text", ["", "abc", "0", "-0.1", "1/0", "0.1,,0.2", "nan", "inf", "8/-255"]
)
def test_radii_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="expected positive radii such as 8/255"):
        radii(text)


def test_one_radius() -> None:
    assert radius("1/2") == 0.5
    with pytest.raises(UserError, match="takes one radius"):
        radius("0.1,0.2")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("20m", 1200),
        ("1h", 3600),
        ("1h30m", 5400),
        ("45", 45),
        ("0.5h", 1800),
        ("2M", 120),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "-5m", "5d", "m", "1h soon"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="expected a time such as 90s, 20m or 1h"):
        duration(text)


def test_shares() -> None:
    assert rate(0.5, "--fail-under") == 0.5
    with pytest.raises(UserError, match=r"for 50 per cent write 0\.5"):
        rate(50, "--fail-under")
    with pytest.raises(UserError, match="between 0 and 1"):
        rate(float("nan"), "--fail-under")
