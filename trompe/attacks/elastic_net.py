"""EAD: sparse perturbations by an elastic net, `L2^2 + beta L1`."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trompe.attacks.base import ClassifierAttack
from trompe.attacks.minimal import elastic, patience, penalised, weights
from trompe.core.errors import UserError
from trompe.core.geometry import norm
from trompe.core.protocols import Region
from trompe.core.search import Evaluation, Found, search

__all__ = ["EAD"]


@dataclass(frozen=True)
class EAD(ClassifierAttack):
    """The elastic net (Chen et al. 2018): `min c max(m(x + d) + confidence, 0) + ||d||_2^2 + beta ||d||_1`.

    Minimised by the shrinkage of FISTA (Beck & Teboulle 2009): a gradient step of the smooth part at a
    point extrapolated from the last two iterates, then every coordinate of d shrinks by `beta` towards
    zero. The step falls with the square root of what is left of `steps`. As in the authors' program the
    threshold is `beta` itself, not `beta` times the step.

    Iterates are judged where the gradient is taken, at the extrapolated point, clipped to the domain: one
    pass serves both. The authors spend a second one on the point before extrapolation.

    Args:
        steps: gradients per example and round.
        rounds: how many weights c are tried.
        lr: the first step.
        beta: weight of the L1 norm.
        rule: what makes an adversarial iterate the best: `"EN"`, `||d||_2^2 + beta ||d||_1`; `"L1"`, the
            L1 norm.
        c: the first weight.
        confidence: by how much of the logits' difference the answer must be wrong (kappa).
        abort_early: whether an example's round ends once neither its loss nor its distance falls, by 0.01% in
            a tenth of the steps (at least 50).

    >>> attack = EAD(steps=20, rounds=2, c=1.0)
    >>> attack(torch.nn.Flatten().eval(), torch.rand(2, 1, 1, 3), torch.tensor([0, 1])).shape
    torch.Size([2, 1, 1, 3])
    """

    steps: int = field(default=1000, kw_only=True)
    rounds: int = field(default=9, kw_only=True)
    lr: float = field(default=1e-2, kw_only=True)
    beta: float = field(default=1e-3, kw_only=True)
    rule: Literal["EN", "L1"] = field(default="EN", kw_only=True)
    c: float = field(default=1e-3, kw_only=True)
    confidence: float = field(default=0.0, kw_only=True)
    abort_early: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if self.rule not in ("EN", "L1"):
            raise UserError(f"rule must be EN or L1, got {self.rule!r}")
        if self.steps < 1 or self.rounds < 1:
            raise UserError("steps and rounds must be at least 1")
        if not (self.lr > 0 and self.c > 0 and self.beta >= 0 and self.confidence >= 0):
            raise UserError("lr and c must be above 0, beta and confidence zero or more")

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """One search for each weight."""
        distance = elastic(self.beta) if self.rule == "EN" else lambda a, b: norm(b - a, "L1")
        objective = penalised(lambda v: v, self.targeted, self.confidence, distance)
        solver = patience(Shrinkage(self.lr, self.beta), self.steps, self.abort_early)

        def attempt(c: Tensor) -> Found:
            return search(
                objective,
                model,
                x,
                solver,
                steps=self.steps,
                region=self.domain.region(x),
                data={"x": x, "y": y, "c": c},
                seeds=seeds,
                leave=False,
                verify=True,
            )

        return weights(attempt, x.new_full((len(x),), self.c), self.rounds).best


@dataclass(frozen=True)
class Shrinkage:
    """FISTA around the clean input as a solver: the variable is the extrapolated point."""

    lr: float
    beta: float

    def start(self, v: Tensor) -> Any:
        """The clean input, and the point before extrapolation."""
        return {"x": v, "point": v}

    def step(
        self,
        v: Tensor,
        grad: Tensor,
        seen: Evaluation,
        state: Any,
        region: Region,
        number: int,
        total: int,
    ) -> tuple[Tensor, Any]:
        """A gradient step, shrinkage, extrapolation."""
        moved = torch.sub(v, grad, alpha=self.lr * math.sqrt(1 - number / total)) - state["x"]
        point = region.project(state["x"] + F.softshrink(moved, self.beta))
        ahead = point + number / (number + 3) * (point - state["point"])
        return region.project(ahead), {"x": state["x"], "point": point}
