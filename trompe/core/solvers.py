"""Rules of descent for `search`: steepest descent, Adam, and a batched L-BFGS.

Every rule works per example, without in-place changes of what it is given, so that the same code
serves the fast loop and the differentiable one.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from trompe.core.geometry import Ball, per_example
from trompe.core.protocols import Region
from trompe.core.search import Evaluation

__all__ = ["LBFGS", "Adam", "Steepest"]

Schedule = Literal["constant", "cosine"]
_TINY = 1e-12


def _rate(schedule: Schedule, number: int, total: int) -> float:
    return 1.0 if schedule == "constant" else 0.5 * (1 + math.cos(math.pi * number / total))


@dataclass(frozen=True)
class Steepest:
    """Steepest descent under a norm, projected: `v <- P(v - step_size * d(g))`.

    `d` is the sign for Linf, the normalised gradient for L2, a sparse sign for L1 (Tramer & Boneh 2019).
    With `momentum` mu the direction is that of `m <- mu m + g / ||g||_1` (Dong et al. 2018, equation 6).

    Args:
        step_size: length of a step in the ball's norm.
        ball: whose norm defines the direction; its radius plays no part here.
        momentum: the decay factor mu; None steps along the gradient itself.
        top: for L1, the share of coordinates a step moves.
    """

    step_size: float
    ball: Ball
    momentum: float | None = None
    top: float = 0.05

    def start(self, v: Tensor) -> Any:
        """The accumulated gradient, where there is momentum."""
        return None if self.momentum is None else torch.zeros_like(v)

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
        """One projected step."""
        if self.momentum is not None:
            size = grad.flatten(1).abs().sum(1).clamp_min(_TINY)
            state = self.momentum * state + grad / per_example(size, grad)
            grad = state
        direction = self.direction(v, grad, region)
        return region.project(torch.sub(v, direction, alpha=self.step_size)), state

    def direction(self, v: Tensor, grad: Tensor, region: Region) -> Tensor:
        """The steepest direction of norm one; for L1 a sparse one."""
        return self._sparse(v, grad, region) if self.ball.norm == "L1" else self.ball.steepest(grad)

    def _sparse(self, v: Tensor, grad: Tensor, region: Region) -> Tensor:
        """The sign of the largest coordinates that can still move, with L1 norm one."""
        movable = (region.project(v - grad.sign() * 1e-3) != v).flatten(1)
        size = grad.flatten(1).abs() * movable
        count = max(1, round(self.top * size.shape[1]))
        chosen = torch.zeros_like(size).scatter(1, size.topk(count, dim=1).indices, 1.0)
        direction = grad.flatten(1).sign() * chosen * (size > 0)
        return (direction / direction.abs().sum(1, keepdim=True).clamp_min(1.0)).view_as(grad)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015) with projection after each step.

    Args:
        lr: step size.
        betas: decay of the first and second moments.
        schedule: `"constant"`, or `"cosine"` from `lr` to zero.
    """

    lr: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Schedule = "constant"

    def start(self, v: Tensor) -> Any:
        """Both moments at zero."""
        return torch.zeros_like(v), torch.zeros_like(v)

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
        """One projected step with bias-corrected moments."""
        (first, second), (b1, b2) = state, self.betas
        first = torch.lerp(first, grad, 1 - b1)
        second = torch.addcmul(second * b2, grad, grad, value=1 - b2)
        rate = self.lr * _rate(self.schedule, number, total) / (1 - b1 ** (number + 1))
        scale = (second / (1 - b2 ** (number + 1))).sqrt() + 1e-8
        return region.project(torch.addcdiv(v, first, scale, value=-rate)), (first, second)


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS, batched: each example has its own memory, step length and acceptance.

    Nocedal & Wright 2006, algorithm 7.5 (two-loop recursion), with the projected backtracking search of
    Bertsekas 1982 for the box: coordinates held at a bound by the gradient stay out of the direction. Every
    step of the search is one evaluation; a trial point that fails Armijo's test shortens the step.

    Args:
        memory: curvature pairs kept per example.
        first_step: length, in L2, of the very first trial step.
    """

    memory: int = 10
    first_step: float = 1.0

    def start(self, v: Tensor) -> Any:
        """No accepted point, no curvature pairs."""
        rows, size = v.flatten(1).shape
        return {
            "point": v.flatten(1),
            "loss": torch.full((rows,), torch.inf, dtype=v.dtype, device=v.device),
            "grad": torch.zeros_like(v).flatten(1),
            "direction": torch.zeros_like(v).flatten(1),
            "length": torch.zeros(rows, dtype=v.dtype, device=v.device),
            "s": v.new_zeros(rows, self.memory, size),
            "y": v.new_zeros(rows, self.memory, size),
            "rho": v.new_zeros(rows, self.memory),
            "count": torch.zeros(rows, dtype=torch.int64, device=v.device),
        }

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
        """Accept the trial points or shorten their steps, and try the next points."""
        old, trial, slope = state, v.flatten(1), grad.flatten(1)
        moved = trial - old["point"]
        expected = (old["grad"] * moved).sum(1)
        accepted = (seen.loss <= old["loss"] + 1e-4 * expected) | ~torch.isfinite(old["loss"])
        new = self._remember(old, moved, slope, accepted & torch.isfinite(old["loss"]))
        keep = accepted[:, None]
        new["point"] = torch.where(keep, trial, old["point"])
        new["grad"] = torch.where(keep, slope, old["grad"])
        new["loss"] = torch.where(accepted, seen.loss, old["loss"])
        free = self._free(new, region, v)
        fresh = self._direction(new, free)
        shorter = self._shorten(old["length"], expected, seen.loss - old["loss"])
        stuck = shorter < 1e-8
        new["direction"] = torch.where((accepted | stuck)[:, None], fresh, old["direction"])
        unit = self.first_step / new["direction"].norm(dim=1).clamp_min(_TINY)
        first = torch.where(new["count"] > 0, torch.ones_like(unit), unit.clamp(max=1.0))
        new["length"] = torch.where(accepted | stuck, first, shorter)
        ahead = new["point"] + new["length"][:, None] * new["direction"]
        return region.project(ahead.view_as(v)), new

    def _remember(self, old: Any, moved: Tensor, slope: Tensor, accepted: Tensor) -> Any:
        """Store the curvature pairs of accepted steps whose curvature is positive."""
        change = slope - old["grad"]
        curvature = (moved * change).sum(1)
        rows = (accepted & (curvature > 1e-10 * change.square().sum(1))).nonzero()[:, 0]
        where = (rows, old["count"][rows] % self.memory)
        return {
            **old,
            "s": old["s"].index_put_(where, moved[rows]),
            "y": old["y"].index_put_(where, change[rows]),
            "rho": old["rho"].index_put_(where, 1 / curvature[rows]),
            "count": old["count"].index_add(0, rows, torch.ones_like(rows)),
        }

    def _free(self, now: Any, region: Region, v: Tensor) -> Tensor:
        """Coordinates that a small step down the gradient would really move."""
        ahead = (now["point"] - now["grad"]).view_as(v)
        moves: Tensor = region.project(ahead).flatten(1) != now["point"]
        return moves.to(v.dtype)

    def _direction(self, now: Any, free: Tensor) -> Tensor:
        """`-H g` on the free coordinates by the two-loop recursion; `-g` where that is no descent."""
        q = now["grad"] * free
        steepest = -q
        alphas = []
        rows = torch.arange(len(q), device=q.device)
        newest = now["count"] - 1
        slots = [(rows, (newest - back) % self.memory) for back in range(self.memory)]
        for slot in slots:
            s, y, rho = now["s"][slot], now["y"][slot], now["rho"][slot]
            alphas.append(rho * (s * q).sum(1))
            q = q - alphas[-1][:, None] * y
        y, rho = now["y"][slots[0]], now["rho"][slots[0]]
        scale = 1 / (rho * y.square().sum(1)).clamp_min(_TINY)
        q = q * torch.where(now["count"] > 0, scale, torch.ones_like(scale))[:, None]
        for slot, alpha in zip(reversed(slots), reversed(alphas), strict=True):
            s, y, rho = now["s"][slot], now["y"][slot], now["rho"][slot]
            q = q + (alpha - rho * (y * q).sum(1))[:, None] * s
        direction = -q * free
        descends = (direction * now["grad"]).sum(1) < 0
        return torch.where(descends[:, None], direction, steepest)

    def _shorten(self, length: Tensor, expected: Tensor, rise: Tensor) -> Tensor:
        """The minimum of the parabola through both values and the slope, between 0.1 and 0.5 of the step."""
        factor = -expected / (2 * (rise - expected)).clamp_min(_TINY)
        return length * torch.nan_to_num(factor, nan=0.5).clamp(0.1, 0.5)
