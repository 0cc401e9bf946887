"""Norm balls: exact projections, steepest directions and uniform samples, per example.

Perturbations `delta` have shape `(B, *)`; a norm is taken over everything but the batch.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from trompe.core import random
from trompe.core.errors import UserError

__all__ = ["Ball", "Norm", "norm", "per_example"]

Norm = Literal["L1", "L2", "Linf"]
_TINY = 1e-12


def per_example(values: Tensor, like: Tensor) -> Tensor:
    """View `(B,)` values so that they broadcast against `like` `(B, *)`."""
    return values.view(-1, *([1] * (like.ndim - 1)))


def norm(delta: Tensor, kind: Norm) -> Tensor:
    """The norm of each example, `(B,)`.

    >>> [float(norm(torch.tensor([[3.0, -4.0]]), kind)) for kind in ("L1", "L2", "Linf")]
    [7.0, 5.0, 4.0]
    """
    flat = delta.flatten(1)
    if kind == "L1":
        return flat.abs().sum(1)
    if kind == "L2":
        length: Tensor = torch.linalg.vector_norm(flat, dim=1)
        return length
    return flat.abs().amax(1)


@dataclass(frozen=True)
class Ball:
    """The perturbations of norm at most `eps` (in the units of the input: images live in [0, 1]).

    Args:
        eps: the radius, zero or more; `math.inf` is legal.
        norm: `"Linf"`, `"L2"` or `"L1"`.

    Raises:
        UserError: a negative or NaN radius, or a norm of another name.

    >>> Ball(eps=8 / 255, norm="Linf").project(torch.tensor([[0.5, -0.01]]))
    tensor([[ 0.0314, -0.0100]])
    """

    eps: float
    norm: Norm = "Linf"

    def __post_init__(self) -> None:
        if not self.eps >= 0:
            raise UserError(f"eps must be zero or more, got {self.eps}")
        if self.norm not in get_args(Norm):
            raise UserError(f"norm must be one of L1, L2, Linf, got {self.norm!r}")

    def at(self, eps: float) -> "Ball":
        """The ball of the same norm with another radius."""
        return replace(self, eps=eps)

    def project(
        self, delta: Tensor, low: Tensor | None = None, high: Tensor | None = None
    ) -> Tensor:
        """The nearest perturbation (in L2) of norm at most `eps` and, where given, `low <= delta <= high`.

        `low <= 0 <= high`: the clean input is inside its domain. Exact for all three norms, with and
        without the box: clamping for Linf, scaling and its breakpoints for L2, soft thresholding by
        sorting for L1 (Duchi et al. 2008; with the box, Croce & Hein 2021, proposition 3.1).
        """
        if self.norm == "Linf":
            clipped = delta.clamp(-self.eps, self.eps)
            return clipped if low is None or high is None else clipped.clamp(low, high)
        box = (low, high) if low is not None and high is not None else None
        solve = _project_l2 if self.norm == "L2" else _project_l1
        return solve(delta, self.eps, box)

    def steepest(self, grad: Tensor) -> Tensor:
        """The direction of norm one that raises a linear function with this gradient the most.

        `sign(g)` for Linf, `g / ||g||_2` for L2, the largest coordinate's sign for L1. Where the
        gradient is zero, so is the direction.
        """
        if self.norm == "Linf":
            return grad.sign()
        if self.norm == "L2":
            return grad / per_example(norm(grad, "L2").clamp_min(_TINY), grad)
        flat = grad.flatten(1)
        top = flat.abs().argmax(1, keepdim=True)
        return torch.zeros_like(flat).scatter(1, top, flat.gather(1, top).sign()).view_as(grad)

    def sample(self, like: Tensor, key: Tensor) -> Tensor:
        """A perturbation drawn uniformly from the ball for each example.

        `key` `(B,)` are the seeds of the examples' streams. Uniform in volume: L2 by a normal
        direction and radius u^(1/d), L1 by d exponentials and one more (Barthe et al. 2005).
        """
        with random.streams(key):
            if self.norm == "Linf":
                return random.uniform(tuple(like.shape), like).sub_(0.5).mul_(2 * self.eps)
            if self.norm == "L2":
                direction = self.steepest(random.normal(tuple(like.shape), like))
                radius = random.uniform((len(like),), like) ** (1 / like[0].numel())
                return direction * per_example(radius * self.eps, like)
            size = -random.uniform(tuple(like.shape), like).log()
            total = size.flatten(1).sum(1) - random.uniform((len(like),), like).log()
            return (
                random.signs(tuple(like.shape), like) * size / per_example(total, like) * self.eps
            )


def _project_l2(delta: Tensor, eps: float, box: tuple[Tensor, Tensor] | None) -> Tensor:
    scale = (eps / norm(delta, "L2").clamp_min(_TINY)).clamp(max=1.0)
    scaled = delta * per_example(scale, delta)
    if box is None:
        return scaled
    clipped = torch.minimum(torch.maximum(scaled, box[0]), box[1])
    # Inside the ball the clipped point is the answer; where scaling and clipping both bind, the
    # multiplier is smaller than scaling alone says, and is found among the breakpoints.
    both = (scale < 1) & (clipped != scaled).flatten(1).any(1)
    if not bool(both.any()):
        return clipped
    low, high = (edge.expand_as(delta)[both] for edge in box)
    exact = _scale_into_box(delta[both], eps, low, high)
    return clipped.masked_scatter(per_example(both, delta).expand_as(delta), exact)


def _scale_into_box(delta: Tensor, eps: float, low: Tensor, high: Tensor) -> Tensor:
    """`clip(s * delta, low, high)` with the s in (0, 1] that gives it norm `eps` (or s = 1).

    ||clip(s delta)||^2 = s^2 * (sum of delta^2 below its bound) + (sum of bound^2 above): rising in s
    and quadratic between the sorted breakpoints bound / |delta|.
    """
    size = delta.flatten(1).abs()
    bound = torch.where(delta > 0, high, -low).flatten(1).masked_fill(size == 0, 0.0)  # zero stays
    breakpoints, order = (bound / size.clamp_min(_TINY)).sort(1)
    free = size.gather(1, order).square()
    stuck = bound.gather(1, order).square()
    stuck_before = stuck.cumsum(1) - stuck
    free_after = free.flip(1).cumsum(1).flip(1)
    reached = stuck_before + breakpoints.square() * free_after
    segment = (reached < eps**2).sum(1, keepdim=True).clamp(max=size.shape[1] - 1)
    rest = (eps**2 - stuck_before.gather(1, segment)).clamp_min(0)
    s = (rest / free_after.gather(1, segment).clamp_min(_TINY)).sqrt().clamp(max=1.0)
    return torch.minimum(torch.maximum(delta * per_example(s[:, 0], delta), low), high)


def _project_l1(delta: Tensor, eps: float, box: tuple[Tensor, Tensor] | None) -> Tensor:
    size = delta.flatten(1).abs()
    bound = torch.full_like(size, torch.inf)
    if box is not None:
        bound = torch.where(delta > 0, box[1], -box[0]).flatten(1).expand_as(size)
    inside = torch.minimum(size, bound).sum(1) <= eps
    if bool(inside.all()):
        kept = torch.minimum(size, bound)
    else:
        shrink = _shrinkage(size, bound, eps).masked_fill(inside, 0.0)
        kept = torch.minimum((size - shrink[:, None]).clamp_min(0), bound)
        kept = kept * (eps / kept.sum(1, keepdim=True).clamp_min(_TINY)).clamp(max=1.0)  # rounding
    return (kept * delta.flatten(1).sign()).view_as(delta)


def _shrinkage(size: Tensor, bound: Tensor, eps: float) -> Tensor:
    """The t with `sum min(max(size - t, 0), bound) = eps`: piecewise linear and falling in t.

    A coordinate starts at its bound, leaves it at t = size - bound with slope -1, and stops at zero
    at t = size; sorting these breakpoints gives the segment in which the sum passes `eps`.
    """
    leaves = (size - bound).clamp_min(0)
    knots, order = torch.cat([leaves, size], 1).sort(1)
    slopes = (
        torch.cat([-torch.ones_like(size), torch.ones_like(size)], 1).gather(1, order).cumsum(1)
    )
    widths = knots.diff(dim=1)
    start = torch.minimum(size, bound).sum(1, keepdim=True)
    totals = torch.cat([start, start + (slopes[:, :-1] * widths).cumsum(1)], 1)
    segment = (totals > eps).sum(1, keepdim=True).sub(1).clamp_min(0)
    excess = totals.gather(1, segment) - eps
    slope = slopes.gather(1, segment).clamp(max=-1.0)
    return (knots.gather(1, segment) - excess / slope)[:, 0]
