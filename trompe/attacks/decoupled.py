"""DDN: a small L2 perturbation in few steps, its direction and its norm updated apart."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trompe.attacks.base import ClassifierAttack, classification
from trompe.attacks.minimal import Patient, ranking
from trompe.core.errors import UserError
from trompe.core.geometry import norm, per_example
from trompe.core.protocols import Region
from trompe.core.search import Evaluation, Objective, search

__all__ = ["DDN"]

_TINY = 1e-12


@dataclass(frozen=True)
class DDN(ClassifierAttack):
    """Decoupled direction and norm (Rony et al. 2019, algorithm 1): C&W's distance at a fraction of its cost.

    `delta <- delta - a_t g / ||g||_2`, then `delta <- r delta / ||delta||_2`, where the radius r shrinks by
    the factor `1 - gamma` after an adversarial iterate and grows by `1 + gamma` after any other, and the step
    `a_t` falls from 1 to 0.01 by a cosine. The smallest adversarial iterate is returned.

    Args:
        steps: gradients per example.
        radius: the first L2 radius.
        gamma: the relative change of the radius in a step.
        loss: `"ce"` (the paper's), `"margin"` or `"dlr"`. Cross-entropy's gradient vanishes on over-confident
            models.

    >>> DDN(steps=20)(torch.nn.Flatten().eval(), torch.rand(2, 1, 1, 3), torch.tensor([0, 1])).shape
    torch.Size([2, 1, 1, 3])
    """

    steps: int = field(default=100, kw_only=True)
    radius: float = field(default=1.0, kw_only=True)
    gamma: float = field(default=0.05, kw_only=True)
    loss: str = field(default="ce", kw_only=True)

    def __post_init__(self) -> None:
        if self.loss not in ("ce", "margin", "dlr"):
            raise UserError(f"loss must be one of ce, margin, dlr, got {self.loss!r}")
        if self.steps < 1 or not self.radius > 0 or not 0 < self.gamma < 1:
            raise UserError("steps must be at least 1, radius above 0 and gamma between 0 and 1")

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """Search, all steps for all examples."""
        return search(
            by_distance(classification(self.loss, self.targeted)),
            model,
            x,
            Patient(Decoupled(self.radius, self.gamma)),
            steps=self.steps,
            region=self.domain.region(x),
            data={"x": x, "y": y},
            seeds=seeds,
            leave=False,
            verify=True,
        ).best


def by_distance(objective: Objective) -> Objective:
    """The same objective, its adversarial iterates ranked by their L2 distance to `data["x"]`."""

    def ranked(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        seen = objective(model, v, data)
        distance = norm(v.detach() - data["x"], "L2")
        return Evaluation(seen.loss, ranking(distance, seen.score), seen.done)

    return ranked


@dataclass(frozen=True)
class Decoupled:
    """The rule of DDN as a solver."""

    radius: float
    gamma: float

    def start(self, v: Tensor) -> Any:
        """The clean input and the radius."""
        return {"x": v, "radius": v.new_full((len(v),), self.radius)}

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
        """A step along the gradient, brought back to the sphere of the new radius."""
        length = 0.01 + 0.99 * (1 + math.cos(math.pi * number / total)) / 2
        scale = length / norm(grad, "L2").clamp_min(_TINY)
        delta = v - state["x"] - per_example(scale, v) * grad
        factor = torch.where(seen.score < 0, 1 - self.gamma, 1 + self.gamma)
        radius = state["radius"] * factor.to(v.dtype)
        onto = radius / norm(delta, "L2").clamp_min(_TINY)
        ahead = region.project(state["x"] + per_example(onto, v) * delta)
        return ahead, {"x": state["x"], "radius": radius}
