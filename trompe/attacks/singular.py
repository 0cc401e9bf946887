"""One step along the direction that an autoencoder stretches most: no target, no search."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from trompe.attacks.base import Attack
from trompe.core import random
from trompe.core.checks import posterior
from trompe.core.errors import UserError
from trompe.core.execution import has_convolutions, policy, spend, working_copy
from trompe.core.geometry import Ball, per_example
from trompe.core.jacobian import stretched
from trompe.core.losses import squared_distance
from trompe.core.protocols import Region
from trompe.core.tree import take

__all__ = ["SingularDirection", "farther_end"]

_FAR = 1e3  # radii; a ray cut off at the edge of ball and box


@dataclass(frozen=True)
class SingularDirection(Attack):
    r"""Move along the top singular direction of the encoder, or of the whole reconstruction.

    .. math:: x' = x \pm \epsilon v, \qquad v = \operatorname{argmax}_{\|v\|_p = 1} \|J(x) v\|_2

    with `J` the Jacobian of the posterior's mean, or of `model(x)` (Kuzina et al. 2021, the unsupervised
    attack). It is the best attack on a linear model, and on any other in the limit of small radii. Of both
    signs, each cut off where ball or box ends, the one that changes the code or the output more is returned.

    Departure: for Linf and L1 balls the direction that maximises `||J v||_2` over that ball is sought, not
    the L2 singular vector rescaled.

    Args:
        ball: the budget; the perturbation fills it, where the box leaves room.
        of: `"code"`, the mean of `encode(x)`, or `"output"`, `model(x)`.
        steps: of the power iteration; two backward passes each.

    >>> from trompe.core.domains import Vectors
    >>> from trompe.core.protocols import PointMass
    >>> class Linear(nn.Module):
    ...     def encode(self, x):
    ...         return PointMass(x * torch.tensor([1.0, 3.0]))
    >>> attack = SingularDirection(Ball(0.5, "L2"), domain=Vectors())
    >>> attack(Linear().eval(), torch.zeros(1, 2)).abs().round(decimals=4)
    tensor([[0.0000, 0.5000]])
    """

    ball: Ball
    of: Literal["code", "output"] = field(default="code", kw_only=True)
    steps: int = field(default=20, kw_only=True)

    targeted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.ball, Ball):
            raise UserError(f"SingularDirection fills a Ball, got {self.ball!r}")
        if self.of not in ("code", "output"):
            raise UserError(f"of must be code or output, got {self.of!r}")
        if self.steps < 1:
            raise UserError("steps must be at least 1")

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """It has no target."""
        if y is not None and y.shape != x.shape:
            raise UserError("the singular direction has no target: leave y out")
        with random.streams(seeds[:1]):
            self.read(model, x[:1])
        return x

    def read(self, model: nn.Module, x: Tensor) -> Tensor:
        """What is to change, `(B, *)`."""
        return posterior(model, x).mean if self.of == "code" else model(x)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """Both signs of each example's direction, the better kept."""
        if self.ball.eps == 0:
            return x
        region = self.domain.region(x, self.ball)
        return farther_end(self.read, model, x, self.ball, region, steps=self.steps, seeds=seeds)


def farther_end(
    read: Callable[[nn.Module, Tensor], Tensor],
    model: nn.Module,
    x: Tensor,
    ball: Ball,
    region: Region,
    *,
    steps: int,
    seeds: Tensor,
) -> Tensor:
    """The end of the direction that `read(model, x)` stretches most: of both, the one that moves it more.

    Args:
        read: what is to change, `(B, *)`, each row a function of its own input.
        ball, region: the budget, and where inputs may lie within it.
        steps: of the power iteration.
    """
    shown = working_copy(model)
    size = policy().chunk or (64 if has_convolutions(model) else 512)
    found = []
    for rows in torch.arange(len(x), device=x.device).split(size):
        part, keys = x[rows], seeds[rows]

        def of(v: Tensor, keys: Tensor = keys) -> Tensor:
            with random.streams(keys):
                return read(shown, v)

        v = stretched(of, part, ball, steps=steps, seeds=keys)
        ends = [part + sign * _FAR * ball.eps * v for sign in (1, -1)]
        ends = [take(region, rows).project(end) for end in ends]
        spend(forwards=3 * len(rows))
        clean = of(part)
        far = [squared_distance(of(end), clean) for end in ends]
        found.append(torch.where(per_example(far[0] >= far[1], part), ends[0], ends[1]))
    return torch.cat(found)
