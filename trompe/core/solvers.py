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
        schedule: `"constant"`, or `"cosine"` from `step_size` to zero.
    """

    step_size: float
    ball: Ball
    momentum: float | None = None
    top: float = 0.05
    schedule: Schedule = "constant"

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
        length = self.step_size * _rate(self.schedule, number, total)
        if torch.is_grad_enabled():
            return region.project(torch.sub(v, direction, alpha=length)), state
        # The direction's memory, still in the cache, serves for the next iterate.
        project = getattr(region, "project_", region.project)
        return project(torch.sub(v, direction, alpha=length, out=direction)), state

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

    The direction is the compact form `-H g` (Byrd, Nocedal & Schnabel 1994, theorem 2.2) on the coordinates
    that the bounds leave free: curvature pairs are restricted to them (two-metric projection, Bertsekas
    1982; Schmidt et al. 2009), so that H is that of the free subspace. Every step of the search is one
    evaluation. A trial point is accepted if its loss is below the largest of the last `window` accepted
    ones (Grippo, Lampariello & Lucidi 1986); otherwise the step is shortened by interpolation.

    Bounds cut steps short, and the losses of networks are flatter than a few pairs say, so trial steps
    begin at `1 + overshoot` and end at 1: about a quarter fewer evaluations (measured on autoencoders).

    Args:
        memory: curvature pairs kept per example.
        first_step: length, in L2, of the very first trial step.
        window: accepted losses that a new one is compared with; 1 descends monotonically.
        overshoot: how much longer than one the first trial steps are; it fades to zero at the end.
    """

    memory: int = 6
    first_step: float = 3.0
    window: int = 5
    overshoot: float = 0.6

    def start(self, v: Tensor) -> Any:
        """No accepted point, no curvature pairs."""
        rows, size = v.flatten(1).shape
        nothing = torch.zeros_like(v).flatten(1)
        return {
            "point": v.flatten(1),
            "grad": nothing,
            "direction": nothing,
            "loss": v.new_full((rows,), torch.inf),
            "recent": v.new_full((rows, self.window), -torch.inf),
            "length": v.new_zeros(rows),
            "pairs": v.new_zeros(rows, 2 * self.memory, size),
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
        begun = torch.isfinite(old["loss"])
        bar = old["recent"].amax(1) + 1e-4 * expected.clamp(max=0)
        accepted = (seen.loss <= bar) | ~begun
        shorter = self._shorten(old["length"], expected, seen.loss - old["loss"])
        stuck = (shorter < 1e-8) & ~accepted
        new = self._remember(old, moved, slope, accepted & begun, stuck)
        new |= self._accept(old, trial, slope, seen.loss, accepted)
        fresh = self._direction(new, self._free(new, region, v))
        turn = accepted | stuck
        new["direction"] = torch.where(turn[:, None], fresh, old["direction"])
        unit = self.first_step / new["direction"].norm(dim=1).clamp_min(_TINY)
        longer = 1 + self.overshoot * (1 - (number / total) ** 3)
        first = torch.where(new["count"] > 0, longer, unit.clamp(max=1.0))
        new["length"] = torch.where(turn, first, shorter)
        ahead = new["point"] + new["length"][:, None] * new["direction"]
        return region.project(ahead.view_as(v)), new

    def _accept(
        self, old: Any, trial: Tensor, slope: Tensor, loss: Tensor, accepted: Tensor
    ) -> Any:
        """Points, gradients and losses of the rows that moved."""
        keep = accepted[:, None]
        window = torch.cat([old["recent"][:, 1:], loss[:, None]], 1)
        return {
            "point": torch.where(keep, trial, old["point"]),
            "grad": torch.where(keep, slope, old["grad"]),
            "loss": torch.where(accepted, loss, old["loss"]),
            "recent": torch.where(keep, window, old["recent"]),
        }

    def _remember(
        self, old: Any, moved: Tensor, slope: Tensor, accepted: Tensor, stuck: Tensor
    ) -> Any:
        """Store accepted steps of positive curvature; forget everything where no step helps."""
        change = slope - old["grad"]
        curvature = (moved * change).sum(1)
        rows = (accepted & (curvature > 1e-10 * change.square().sum(1))).nonzero()[:, 0]
        slot = old["count"][rows] % self.memory
        # The memory is the solver's own: it is written in place unless autograd is watching.
        pairs = old["pairs"].clone() if change.requires_grad else old["pairs"]
        pairs[rows, slot] = moved[rows]
        pairs[rows, slot + self.memory] = change[rows]
        count = old["count"].index_add(0, rows, torch.ones_like(rows))
        if bool(stuck.any()):
            pairs, count = pairs * ~stuck[:, None, None], count * ~stuck
        return {**old, "pairs": pairs, "count": count}

    def _free(self, now: Any, region: Region, v: Tensor) -> Tensor:
        """Coordinates that a small step down the gradient would really move."""
        point: Tensor = now["point"]
        ahead = region.project((point - now["grad"]).view_as(v)).flatten(1)
        return (ahead != point).to(v.dtype)

    def _direction(self, now: Any, free: Tensor) -> Tensor:
        """`-H g` on the free coordinates; `-g` where there is no memory or that is no descent."""
        pairs, m = now["pairs"], self.memory
        q = now["grad"] * free
        right = torch.cat([pairs[:, m:] * free[:, None], q[:, None]], 1)
        inner = torch.bmm(pairs, right.transpose(1, 2))
        order = (now["count"][:, None] + torch.arange(m, device=q.device)) % m  # oldest first
        both = torch.cat([order, order + m], 1)[:, :, None]
        inner = inner.gather(1, both.expand_as(inner))
        products = inner[:, :, :m].gather(2, order[:, None].expand(-1, 2 * m, -1))
        weights, scale = _compact(products, inner[:, :, m:])
        weights = torch.zeros_like(weights).scatter(1, both[:, :, 0], weights)
        direction = -scale * q - torch.bmm(weights[:, None], pairs)[:, 0] * free
        descends = (direction * q).sum(1) < 0
        return torch.where(descends[:, None], direction, -q)

    def _shorten(self, length: Tensor, expected: Tensor, rise: Tensor) -> Tensor:
        """The minimum of the parabola through both values and the slope, within 0.1 and 0.5 of it."""
        factor = -expected / (2 * (rise - expected)).clamp_min(_TINY)
        return length * torch.nan_to_num(factor, nan=0.5).clamp(0.1, 0.5)


def _compact(inner: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    """`H g = scale * g + [S Y] weights` from inner products alone, pairs in order of age.

    With R the upper triangle of `S'Y`, D its diagonal, `p = S'g`, `w = Y'g` and c the scale, the weights
    are `R^-T ((D + c Y'Y) R^-1 p - c w)` on S and `-c R^-1 p` on Y. Pairs without positive curvature on the
    free coordinates are left out. The scale is `s'y / y'y` of the newest pair.

    Args:
        inner: `S'Y` above `Y'Y`, `(B, 2m, m)`.
        along: p above w, `(B, 2m, 1)`.
    """
    m = inner.shape[2]
    sy, yy = inner[:, :m], inner[:, m:]
    curvature, size = sy.diagonal(dim1=1, dim2=2), yy.diagonal(dim1=1, dim2=2)
    good = (curvature > 1e-10 * size) & (size > 0)
    used = good.to(inner.dtype)[:, :, None]
    pairs = used * used.transpose(1, 2)
    upper = torch.triu(sy * pairs) + torch.diag_embed(1 - used[:, :, 0])
    newest = (good * torch.arange(1, m + 1, device=good.device)).argmax(1, keepdim=True)
    ratio = curvature / torch.where(good, size, 1.0)
    scale = torch.where(good.any(1, keepdim=True), ratio.gather(1, newest), 1.0)
    c = scale[:, :, None]
    u = torch.linalg.solve_triangular(upper, along[:, :m] * used, upper=True)
    right = curvature[:, :, None] * u + c * (torch.bmm(yy * pairs, u) - along[:, m:] * used)
    t = torch.linalg.solve_triangular(upper.transpose(1, 2), right * used, upper=False)
    return torch.cat([t, -c * u], 1)[:, :, 0], scale
