"""What figures 1 to 4 compare: lines of records, and claims about pairs of them, image by image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from trompe.experiments.reconstruction._attacked import CONTROL, NONE, PAPER, Defended

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record

__all__ = ["BARE", "BY", "LITTLE", "Board", "Claim", "Figure", "Line", "Panel"]

BY = (PAPER, CONTROL)
LITTLE = 0.05
"""A gain below this is little."""


class Line(NamedTuple):
    """One curve: an autoencoder, and the scale of its deviation when predicting."""

    kind: str
    stp: float = 0.0
    weight: float = 0.0
    scale: float = 0.0

    def __str__(self) -> str:
        """As a sentence calls it."""
        penalty = f", weight {self.weight:g}" if self.weight else ""
        scale = f", scale {self.scale:g}" if self.scale else ""
        return f"{self.kind.upper()}, stp {self.stp:g}{penalty}{scale}"

    @classmethod
    def of(cls, kind: str, stp: float = 0.0, weight: float = 0.0, scale: float = 0.0) -> "Line":
        """Without noise a DAE is an AE, and without a penalty so is a CAE.

        >>> str(Line.of("dae")), str(Line.of("cvae", 0.1, 0.01))
        ('AE, stp 0', 'CVAE, stp 0.1, weight 0.01')
        """
        return cls(Defended("", kind, stp, weight).kind, stp, weight, scale)


BARE = Line(NONE)


@dataclass(frozen=True)
class Panel:
    """A drawing: its lines by their names."""

    title: str
    lines: dict[str, Line]


@dataclass(frozen=True)
class Claim:
    """That some lines lie above others, over all radii, at the largest, or clean.

    Args:
        says: the claim in words.
        little: whether it says that they do not, by `LITTLE` or more.
    """

    says: str
    above: Sequence[Line]
    below: Sequence[Line]
    at: Literal["all radii", "the largest", "none"] = "all radii"
    little: bool = False

    def verdict(self, gap: "Record") -> str:
        """By the interval of the difference: holds, does not hold, unresolved."""
        low, high = gap.low, gap.high
        if low is None or high is None:
            return "is unresolved"
        if self.little:
            return (
                "holds" if high < LITTLE else "does not hold" if low > LITTLE else "is unresolved"
            )
        return "holds" if low > 0 else "does not hold" if high < 0 else "is unresolved"


@dataclass(frozen=True)
class Figure:
    """What a figure shows, and what is said of it.

    Args:
        ways: lines in an order in which each is said to lie above the one before.
    """

    number: int
    panels: tuple[Panel, ...]
    claims: tuple[Claim, ...]
    ways: tuple[tuple[Line, ...], ...] = ()

    @property
    def lines(self) -> list[Line]:
        """Every defended line once."""
        return list(dict.fromkeys(line for panel in self.panels for line in panel.lines.values()))


class Board:
    """The records of one figure by data set, line, attack and radius."""

    def __init__(self, records: Iterable["Record"]) -> None:
        self._all: dict[tuple[str, Line, str, float], Record] = {}
        for r in records:
            about = r.config
            line = Line(about["kind"], about["stp"], about["weight"], about["scale"])
            self._all[about["data"], line, about["by"], r.eps or 0.0] = r
        self.datasets = list(dict.fromkeys(data for data, *_ in self._all))

    def radii(self, data: str) -> list[float]:
        """Those above zero."""
        return sorted({eps for name, *_, eps in self._all if name == data and eps > 0})

    def record(self, data: str, line: Line, by: str, eps: float) -> "Record":
        """An accuracy; at radius 0 the clean one."""
        return self._all[data, line, by if eps else "", eps]

    def right(self, data: str, lines: Iterable[Line], by: str, radii: Iterable[float]) -> "Tensor":
        """The share of lines, radii and draws on which each image is read correctly, `(B,)`."""
        import torch

        rows = []
        for line in lines:
            for eps in radii:
                r = self.record(data, line, by, eps)
                rows.append([int(count) / r.config["drawn"] for count in r.config["right"]])
        return torch.tensor(rows, dtype=torch.float64).mean(0)

    def gap(self, data: str, claim: Claim, by: str) -> "Record":
        """How far the claim's lines lie apart, paired image by image."""
        from trompe.evaluation.records import Record

        radii = self.radii(data)
        over = {"all radii": radii, "the largest": radii[-1:], "none": [0.0]}[claim.at]
        above, below = (self.right(data, lines, by, over) for lines in (claim.above, claim.below))
        return Record.difference("difference of accuracy", above, below)

    def flattery(self, data: str, lines: Iterable[Line]) -> "Record":
        """How much more the paper's attack leaves than the control, at the largest radius."""
        from trompe.evaluation.records import Record

        lines = list(lines)
        ours = [self.right(data, lines, by, self.radii(data)[-1:]) for by in BY]
        return Record.difference("difference of accuracy", ours[0], ours[1])
