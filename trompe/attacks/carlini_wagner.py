"""The attacks of Carlini & Wagner: the smallest L2 perturbation that changes the answer, by a penalty."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trompe.attacks.base import ClassifierAttack
from trompe.attacks.minimal import Patient, patience, penalised, weights
from trompe.core.domains import Box
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.core.protocols import Region
from trompe.core.search import Found, search
from trompe.core.solvers import Adam

__all__ = ["CW", "ProjectedCW", "Squashed"]


@dataclass(frozen=True)
class Squashed:
    """A variable without bounds for a box: `x = mid + half * tanh(w) / shrink`, with `|tanh(w)| <= shrink`.

    Without the shrink a pixel on the box's edge would sit at infinity, where nothing moves it; with it the
    edge is reached exactly at a finite `w`, and left as easily.
    """

    low: float
    high: float
    shrink: float

    def to_variable(self, x: Tensor) -> Tensor:
        """The `w` of each pixel."""
        mid, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        return ((x - mid) * (self.shrink / half)).clamp(-self.shrink, self.shrink).atanh()

    def to_input(self, w: Tensor) -> Tensor:
        """The pixel of each `w`."""
        mid, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        return torch.add(mid, w.tanh(), alpha=half / self.shrink)

    @property
    def region(self) -> Region:
        """Where `w` may lie."""
        edge = math.atanh(self.shrink)
        return Box(-edge, edge)


@dataclass(frozen=True)
class _Plain:
    """The variable is the input itself, where there is no box."""

    region: Region

    def to_variable(self, x: Tensor) -> Tensor:
        return x

    def to_input(self, w: Tensor) -> Tensor:
        return w


def _variable(region: Region, shrink: float) -> Squashed | _Plain:
    low, high = getattr(region, "low", None), getattr(region, "high", None)
    bounded = isinstance(low, float) and isinstance(high, float) and math.isfinite(high - low)
    return Squashed(low, high, shrink) if bounded else _Plain(region)  # type: ignore[arg-type]


@dataclass(frozen=True)
class CW(ClassifierAttack):
    """Carlini & Wagner's L2 attack (2017): `min ||x' - x||_2^2 + c max(m(x') + confidence, 0)`, by Adam.

    `m` is the margin, `z_y - max_{i != y} z_i` (its negative for a target). On a domain with a box the
    variable is `w` in `x' = mid + half * tanh(w) / shrink` (section V-B); the shrink, which the authors leave
    to their program, lets pixels on the box's edge move. Without a box the variable is the input. The weight
    c is searched for each example alone. Where none succeeds the iterate of the best margin is returned.

    Args:
        steps: gradients per example and round.
        rounds: how many weights c are tried: tenfold until one succeeds, then halving the interval.
        lr: Adam's step, in the units of `w`.
        c: the first weight.
        confidence: by how much of the logits' difference the answer must be wrong (kappa).
        abort_early: whether an example's round ends once neither its loss nor its distance falls, by 0.01% in
            a tenth of the steps (at least 50).
        shrink: where on the tanh the box's edges lie, `atanh(shrink)`. With 0.999999, other programs' value,
            a pixel at 0 or 1 needs hundreds of steps to move, and short attacks fail or go far.

    >>> attack = CW(steps=20, rounds=2, c=1.0)
    >>> attack(torch.nn.Flatten().eval(), torch.rand(2, 1, 1, 3), torch.tensor([0, 1])).shape
    torch.Size([2, 1, 1, 3])
    """

    steps: int = field(default=1000, kw_only=True)
    rounds: int = field(default=9, kw_only=True)
    lr: float = field(default=0.01, kw_only=True)
    c: float = field(default=1e-3, kw_only=True)
    confidence: float = field(default=0.0, kw_only=True)
    abort_early: bool = field(default=True, kw_only=True)
    shrink: float = field(default=0.99, kw_only=True)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rounds < 1:
            raise UserError("steps and rounds must be at least 1")
        if not (self.lr > 0 and self.c > 0 and self.confidence >= 0):
            raise UserError("lr and c must be above 0, and confidence zero or more")
        if not 0 < self.shrink < 1:
            raise UserError(f"shrink must lie between 0 and 1, got {self.shrink}")

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """One search for each weight."""
        variable = _variable(self.domain.region(x), self.shrink)
        objective = penalised(variable.to_input, self.targeted, self.confidence)
        solver = patience(Adam(self.lr), self.steps, self.abort_early)
        start = variable.to_variable(x)

        def attempt(c: Tensor) -> Found:
            return search(
                objective,
                model,
                start,
                solver,
                steps=self.steps,
                region=variable.region,
                data={"x": x, "y": y, "c": c},
                seeds=seeds,
                leave=False,
                verify=True,
            )

        best = weights(attempt, x.new_full((len(x),), self.c), self.rounds).best
        return variable.to_input(best)


@dataclass(frozen=True)
class ProjectedCW(ClassifierAttack):
    """Carlini & Wagner's objective in an Linf ball, projected, with a fixed weight (Hlihor et al. 2020).

    `min ||d||_2^2 + c max(m(x + d), -confidence)` by Adam; after every step d is clipped to the ball and
    `x + d` to the domain. The adversarial iterate of the smallest L2 norm is returned, else that of the best
    margin (the paper keeps the last).

    The weight is not searched: with c = 1 the L2 term may stop the attack before the answer changes, so a
    high accuracy under it is no evidence of robustness. Try c of 1, 10, 30 and 100, and PGD beside it.

    Args:
        ball: the perturbations allowed; any norm, the paper's is Linf.
        steps: gradients per example.
        lr: Adam's step, in the units of the input.
        c: the weight (the paper's nu).
        confidence: by how much of the logits' difference the answer should be wrong (kappa).
        early_stop: whether an example leaves once it is adversarial, by any norm. The accuracy is the same,
            and cheaper; the norms are no longer the smallest.

    >>> attack = ProjectedCW(Ball(eps=0.3), steps=5)
    >>> attack(torch.nn.Flatten().eval(), torch.rand(2, 1, 1, 3), torch.tensor([0, 1])).shape
    torch.Size([2, 1, 1, 3])
    """

    ball: Ball
    steps: int = field(default=100, kw_only=True)
    lr: float = field(default=0.1, kw_only=True)
    c: float = field(default=1.0, kw_only=True)
    confidence: float = field(default=0.0, kw_only=True)
    early_stop: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.steps < 1 or not (self.lr > 0 and self.c > 0 and self.confidence >= 0):
            raise UserError(
                "steps must be at least 1, lr and c above 0, and confidence zero or more"
            )

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """One search with the given weight."""
        return search(
            penalised(lambda v: v, self.targeted, self.confidence),
            model,
            x,
            Patient(Adam(self.lr)),
            steps=self.steps,
            region=self.domain.region(x, self.ball),
            data={"x": x, "y": y, "c": x.new_full((len(x),), self.c)},
            seeds=seeds,
            leave=self.early_stop,
            verify=True,
        ).best
