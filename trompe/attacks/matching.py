"""What attacks on autoencoders share: a budget as a value, a direction, and one search.

The budget is a `Ball` that is never left, or a `Penalty` on the squared distance; the solver is a value
too. A sweep searches all weights of a penalty in one batch.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from trompe.attacks.base import Attack
from trompe.attacks.singular import farther_end
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.core.lbfgsb import doubled, scipy_search
from trompe.core.losses import squared_distance
from trompe.core.objective import Evaluation
from trompe.core.protocols import Region
from trompe.core.search import Solver, search
from trompe.core.solvers import LBFGS, Adam, Steepest

__all__ = ["AutoencoderAttack", "Penalty", "priced"]

Rule = Literal["auto", "lbfgs", "adam", "steepest", "scipy"]
_BESIDE = 1e-8  # how far from its input the published procedure starts
_NUDGE = 0.01  # how far, per coordinate, a damage attack without a radius starts from its input
_POWER = 10  # steps of a power iteration, two gradients each


@dataclass(frozen=True)
class Penalty:
    """A price instead of a radius: `c * ||x' - x||_2^2` is added to the loss (Tabacof et al. 2016, eq. 4).

    Only the domain bounds the input. A sweep of `c` traces the curve of success against distortion; its
    unit is that of the loss, so that values compare within a model and not between models.

    Raises:
        UserError: a negative or infinite weight.

    >>> Penalty(0.5)
    Penalty(c=0.5)
    """

    c: float

    def __post_init__(self) -> None:
        if not 0 <= self.c < math.inf:
            raise UserError(f"the penalty's weight must be zero or more, got {self.c}")


@dataclass(frozen=True)
class AutoencoderAttack(Attack):
    """What the attacks of this file share: a budget, a direction, and one search.

    Targeted, `y` are target images of the shape of `x`; otherwise the attack does the most damage, away
    from `x` itself, and `y` is left out.

    Args:
        budget: a `Ball` the perturbation stays in, or a `Penalty` on it.
        targeted: towards the target, or as far as possible from the input's own code or output.
        solver: `"lbfgs"`, `"adam"` or `"steepest"`, the last two on a cosine schedule. `"auto"` takes
            steepest descent in an L2 ball and for maximum damage in an Linf ball, and L-BFGS for all else
            (measured best on VAEs of digits). `"scipy"` is SciPy's L-BFGS-B, one example at a time in
            float64 and from within 1e-8 of the input: the published procedure, slow, and not for L2 balls.
        steps: gradients spent on each example, per restart.
        step_size: Adam's rate (0.02, less in a small box, by default), or the first steepest step: the
            radius for L2, half of it for other norms.
        restarts: searches; the first targeted one begins at the input, all others at a random point of
            the ball. The best is returned.
        start: of the first search for maximum damage: a `"random"` point of the ball, or the end of the
            `"singular"` direction (see `SingularDirection`), found by power iteration for 20 more gradients.
    """

    budget: Ball | Penalty
    targeted: bool = field(default=True, kw_only=True)
    solver: Rule = field(default="auto", kw_only=True)
    steps: int = field(default=100, kw_only=True)
    step_size: float | None = field(default=None, kw_only=True)
    restarts: int = field(default=1, kw_only=True)
    start: Literal["random", "singular"] = field(default="random", kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.budget, Ball | Penalty):
            raise UserError(f"the budget is a Ball or a Penalty, got {self.budget!r}")
        if self.solver not in get_args(Rule):
            raise UserError(
                f"solver must be one of {', '.join(get_args(Rule))}, got {self.solver!r}"
            )
        if self.steps < 1 or self.restarts < 1:
            raise UserError("steps and restarts must be at least 1")
        if self.start not in ("random", "singular"):
            raise UserError(f"start must be random or singular, got {self.start!r}")
        if self.start == "singular" and self.targeted:
            raise UserError("the singular start is for maximum damage: set targeted=False")
        if self.solver == "scipy" and self.ball is not None and self.ball.norm != "Linf":
            raise UserError(
                "SciPy's L-BFGS-B bounds single coordinates: give a Penalty or an Linf ball, "
                "or another solver"
            )
        if (
            isinstance(self.budget, Penalty)
            and self.solver == "steepest"
            and self.step_size is None
        ):
            raise UserError(
                "steepest descent under a penalty has no radius to scale by: give a step_size"
            )

    @property
    def ball(self) -> Ball | None:
        """The ball, where the budget is one."""
        return self.budget if isinstance(self.budget, Ball) else None

    def at(self, eps: float) -> Self:
        """The same attack with another radius."""
        if self.ball is None:
            raise UserError(f"{type(self).__name__} with a penalty has no radius; sweep its weight")
        return self._bound(replace(self, budget=self.ball.at(eps)))

    def sweep(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor | None = None,
        *,
        weights: Sequence[float],
        seeds: Tensor | None = None,
    ) -> Tensor:
        """All examples at all weights of the penalty, in one batch: `(K, B, *)`.

        Args:
            weights: the K values of `c`; that of the budget is not used.
        """
        many = len(weights)
        seeds = random.seeds(0, len(x)) if seeds is None else seeds
        wide = _Sweep(replace(self, budget=Penalty(0.0)), tuple(weights), domain=self.domain)
        object.__setattr__(wide.inner, "_networks", self._networks)
        images = None if y is None else y.repeat(many, *[1] * (y.ndim - 1))
        found = wide(model, x.repeat(many, *[1] * (x.ndim - 1)), images, seeds=seeds.repeat(many))
        return found.view(many, *x.shape)

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """The targets are inputs too; of a damage attack the input is its own reference."""
        if not self.targeted:
            if y is not None and y.shape != x.shape:
                raise UserError(
                    "a damage attack moves away from x itself: leave y out, or set targeted=True"
                )
            return x if y is None else y.detach()
        if y is None:
            raise UserError("a targeted attack needs target images: attack(model, x, targets)")
        if not isinstance(y, Tensor) or y.shape != x.shape:
            shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise UserError(
                f"expected one target image per input, of shape {tuple(x.shape)}, got {shape}"
            )
        self.domain.validate(y)
        return y.detach().to(x)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """Search with the budget's own weight."""
        return self.found(model, x, y, seeds, None)

    def found(
        self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor, weights: Tensor | None
    ) -> Tensor:
        """The best inputs; `weights` `(B,)` are the examples' own prices, where they have any."""
        if self.ball is not None and self.ball.eps == 0:
            return x
        if isinstance(self.budget, Penalty) and weights is None:
            weights = x.new_full((len(x),), self.budget.c)
        with random.streams(seeds):
            reference = self.reference(model, y)
        data = {"x": x, "reference": reference, "c": weights}
        if self.start == "singular":
            around = self._around()
            data["first"] = farther_end(
                self.read,
                model,
                x,
                around,
                self.domain.region(x, around),
                steps=_POWER,
                seeds=seeds,
            )
        limits: dict[str, Any] = {"steps": self.steps, "region": self._region(x), "data": data}
        limits |= {"seeds": seeds, "restarts": self.restarts}
        if self.solver == "scipy":
            exact = self.using(**{k: doubled(net) for k, net in self._networks.items()})
            return scipy_search(exact.objective, model, self._start, **limits).best.to(x)
        return search(self.objective, model, self._start, self.rule(), **limits).best

    @abstractmethod
    def reference(self, model: nn.Module, y: Tensor) -> Any:
        """What the loss compares with, computed once: a tree of `(B, *)` tensors."""

    def read(self, model: nn.Module, x: Tensor) -> Tensor:
        """What is damaged, `(B, *)`, as far as a singular direction of it is asked for."""
        raise UserError(f"{type(self).__name__} has no singular direction to start along")

    @abstractmethod
    def distance(self, model: nn.Module, v: Tensor, reference: Any) -> Tensor:
        """How far the iterates are from the reference, `(B,)`."""

    def objective(self, model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        """The distance, or what is left of it to gain, plus the price of the perturbation."""
        far = self.distance(model, v, data["reference"])
        loss = priced(far if self.targeted else -far, v, data)
        return Evaluation(loss, loss.detach(), torch.zeros_like(loss, dtype=torch.bool))

    def rule(self) -> Solver:
        """The rule of descent."""
        ball, choice = self.ball, self.solver
        if choice == "auto":
            along = ball is not None and (
                ball.norm == "L2" or (ball.norm == "Linf" and not self.targeted)
            )
            choice = "steepest" if along else "lbfgs"
        if choice == "lbfgs":
            return LBFGS()
        if choice == "adam":
            boxed = ball is not None and ball.norm == "Linf"
            usual = min(0.02, self.budget.eps / 5) if boxed else 0.02  # type: ignore[union-attr]
            return Adam(usual if self.step_size is None else self.step_size, schedule="cosine")
        around = Ball(1.0, "L2") if ball is None else ball
        usual = around.eps if around.norm == "L2" else around.eps / 2
        size = usual if self.step_size is None else self.step_size
        return Steepest(size, around, schedule="cosine")

    def _region(self, x: Tensor) -> Region:
        return self.domain.region(x, self.ball)

    def _start(self, data: Any, seeds: Tensor, restart: int) -> Tensor:
        """The input, or a random point around it: at the input itself damage has no gradient."""
        x: Tensor = data["x"]
        if self.targeted and restart == 0:
            near = Ball(_BESIDE).sample(x, seeds) if self.solver == "scipy" else 0
            return x + near
        if restart == 0 and "first" in data:
            first: Tensor = data["first"]
            return first
        return self._region(x).project(x + self._around().sample(x, seeds + restart))

    def _around(self) -> Ball:
        """Where starts are drawn from."""
        return Ball(_NUDGE) if self.ball is None else self.ball


def priced(loss: Tensor, v: Tensor, data: Any) -> Tensor:
    """The loss plus each example's price of its perturbation, where it has one."""
    return loss if data["c"] is None else loss + data["c"] * squared_distance(v, data["x"])


@dataclass(frozen=True)
class _Sweep(Attack):
    """One attack at several prices: the batch holds all examples once per weight."""

    inner: AutoencoderAttack
    weights: tuple[float, ...]

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """As the attack itself."""
        return self.inner.check(model, x, y, seeds)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """Each copy of the batch at its own weight."""
        each = x.new_tensor([Penalty(c).c for c in self.weights])
        return self.inner.found(model, x, y, seeds, each.repeat_interleave(len(x) // len(each)))
