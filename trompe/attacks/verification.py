"""Attacks on verification: the decision of an embedder that two inputs show one person."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trompe.attacks.base import Attack
from trompe.attacks.gradient import uniform_start
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import predict
from trompe.core.geometry import Ball
from trompe.core.losses import squared_distance
from trompe.core.search import Evaluation, Start, search
from trompe.core.solvers import Steepest

__all__ = ["VerificationFGSM", "VerificationPGD"]


@dataclass(frozen=True)
class VerificationAttack(Attack):
    r"""What the attacks of this file share: a ball, a threshold, a direction, and one search.

    .. math:: \mp \| f(x') - f(y) \|_2^2 \quad \text{over} \quad \| x' - x \| \le \epsilon

    `attack(embedder, x, other, seeds=seeds)`. Untargeted, x' is to be told apart from `other`, which is x
    itself where it is left out ("dodging"); targeted, it is to be taken for `other` ("impersonation"; both
    words are those of Sharif et al. 2016). What has got there has no reason to go further: it leaves.

    Args:
        ball: the perturbations allowed.
        threshold: the distance up to which two embeddings are one person's. Without one an example spends all
            its steps, and goes as far (or as near) as it can.
        targeted: towards `other` instead of away from it.
    """

    ball: Ball
    threshold: float | None = field(default=None, kw_only=True)
    targeted: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.threshold is not None and not self.threshold > 0:
            raise UserError(f"threshold must be above 0, got {self.threshold}")

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """The others are inputs too; of an untargeted attack the input is its own reference."""
        if y is None and self.targeted:
            raise UserError("who is to be impersonated? call attack(embedder, x, other)")
        if y is not None and (not isinstance(y, Tensor) or y.shape != x.shape):
            shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise UserError(
                f"expected one other picture per input, of shape {tuple(x.shape)}, got {shape}"
            )
        found = predict(model, x[:1])
        if not isinstance(found, Tensor) or found.ndim != 2:
            raise UserError("an attack on verification needs an embedder: model(x) -> (B, D)")
        if y is None:
            return x
        self.domain.validate(y)
        return y.detach().to(x)

    def searched(
        self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor, start: Start, **how: Any
    ) -> Tensor:
        """The best inputs of one search."""
        if self.ball.eps == 0:
            return x.clone()
        data = {"x": x, "other": predict(model, y)}
        region = self.domain.region(x, self.ball)
        return search(
            self.objective, model, start, region=region, data=data, seeds=seeds, **how
        ).best

    def objective(self, model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        """The squared distance, away or towards; ranked by the distance past the threshold."""
        apart = squared_distance(model(v), data["other"])
        sign = 1.0 if self.targeted else -1.0
        score = sign * (apart.detach().sqrt() - (self.threshold or 0.0))
        done = score < 0 if self.threshold is not None else torch.zeros_like(score).bool()
        return Evaluation(sign * apart, score, done)


@dataclass(frozen=True)
class VerificationFGSM(VerificationAttack):
    """One step of the whole radius along the gradient of the distance (Goodfellow et al. 2015, section 4).

    Where `other` is the input itself the distance has no gradient: such an example first moves by a random
    sign of `alpha`, as in RandFGSM (Tramer et al. 2018), and then by `eps - alpha`; so do all examples of an
    untargeted attack, that one may be compared with another.

    Args:
        alpha: the random step of an untargeted attack; a sixth of the radius by default.

    >>> model = nn.Flatten().eval()
    >>> VerificationFGSM(Ball(eps=0.1))(model, torch.full((1, 1, 1, 2), 0.5)).sub(0.5).abs().max() > 0.09
    tensor(True)
    """

    alpha: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha is not None and not self.alpha > 0:
            raise UserError(f"alpha must be above 0, got {self.alpha}")

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """A random step where it is needed, and the steepest one."""
        alpha = self.ball.eps / 6 if self.alpha is None else min(self.alpha, self.ball.eps)
        alpha = 0.0 if self.targeted else alpha

        def start(data: Any, seeds: Tensor, restart: int) -> Tensor:
            with random.streams(seeds):
                noise = random.normal(tuple(data["x"].shape), data["x"])
            return self.domain.project(data["x"] + alpha * self.ball.steepest(noise))

        solver = Steepest(self.ball.eps - alpha, self.ball)
        return self.searched(model, x, y, seeds, start, solver=solver, steps=1)


@dataclass(frozen=True)
class VerificationPGD(VerificationAttack):
    """Projected steepest descent (or ascent) of the distance from a random point of the ball.

    The start is random in any case, as the distance of an input to itself has no gradient (Madry et al. 2018
    begin there too).

    Args:
        steps: gradients spent on each example, per restart.
        step_size: length of a step, in the ball's norm; a quarter of the radius by default, and then
            falling to zero along a cosine.
        restarts: further searches of the examples that have not got there.

    >>> x = torch.full((1, 1, 1, 2), 0.5)
    >>> far = VerificationPGD(Ball(eps=0.1), steps=10)(nn.Flatten().eval(), x)
    >>> bool((far - x).abs().min() > 0.099)
    True
    """

    steps: int = field(default=40, kw_only=True)
    step_size: float | None = field(default=None, kw_only=True)
    restarts: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.restarts < 1:
            raise UserError("steps and restarts must be at least 1")
        if self.step_size is not None and not self.step_size > 0:
            raise UserError(f"step_size must be above 0, got {self.step_size}")

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """Search from a random start."""
        schedule: Any = "cosine" if self.step_size is None else "constant"
        solver = Steepest(self.step_size or self.ball.eps / 4, self.ball, schedule=schedule)
        start = uniform_start(self.ball, self.domain)
        limits: dict[str, Any] = {"steps": self.steps, "restarts": self.restarts}
        return self.searched(model, x, y, seeds, start, solver=solver, **limits)
