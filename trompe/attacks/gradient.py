"""Attacks that follow the gradient inside a ball: FGSM and its descendants.

They differ in start, step and momentum, and in nothing else: each is a solver and a start for `search`.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from trompe.attacks.base import ClassifierAttack, classification, margin_of
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import predict
from trompe.core.geometry import Ball, per_example
from trompe.core.losses import targeted_dlr
from trompe.core.protocols import Domain, Region
from trompe.core.search import Evaluation, Found, Solver, Start, search
from trompe.core.solvers import Steepest

__all__ = ["APGD", "APGDT", "BIM", "FGSM", "MIFGSM", "PGD", "RandFGSM", "uniform_start"]

Loss = Literal["ce", "margin", "dlr"]


def uniform_start(ball: Ball, domain: Domain) -> Start:
    """A start for `search`: uniform in the ball around each example, clipped to the domain.

    Each restart of each example is a stream of its own.
    """

    def start(data: Any, seeds: Tensor, restart: int) -> Tensor:
        center = data["x"]
        return domain.project(center + ball.sample(center, seeds + restart))

    return start


@dataclass(frozen=True)
class InBall(ClassifierAttack):
    """What the attacks of this file share: a ball, a loss, and one search.

    Args:
        ball: the perturbations allowed.
        steps: gradients spent on each example, per restart.
        loss: `"ce"`, `"margin"` or `"dlr"`. Cross-entropy's gradient vanishes on over-confident models;
            the other two do not. Iterates are ranked by margin in any case.
        restarts: further searches of the examples that still resist, from new starts.
        early_stop: whether an example leaves once it is adversarial. It changes the cost, not the success.
    """

    ball: Ball
    steps: int = field(default=1, kw_only=True)
    loss: Loss = field(default="ce", kw_only=True)
    restarts: int = field(default=1, kw_only=True)
    early_stop: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if self.loss not in get_args(Loss):
            raise UserError(f"loss must be one of {', '.join(get_args(Loss))}, got {self.loss!r}")
        if self.steps < 1 or self.restarts < 1:
            raise UserError("steps and restarts must be at least 1")
        step_size = getattr(self, "step_size", None)
        if step_size is not None and not step_size > 0:
            raise UserError(f"step_size must be above 0, got {step_size}")

    @abstractmethod
    def solver(self) -> Solver:
        """The rule of descent."""

    def start(self, x: Tensor) -> Start:
        """The first iterates: the inputs themselves, unless the attack begins elsewhere."""
        return x

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """Search from the start with the solver."""
        return search(
            classification(self.loss, self.targeted),
            model,
            self.start(x),
            self.solver(),
            steps=self.steps,
            region=self.domain.region(x, self.ball),
            data={"x": x, "y": y},
            seeds=seeds,
            restarts=self.restarts,
            leave=self.early_stop,
        ).best


@dataclass(frozen=True)
class FGSM(InBall):
    """One step of the whole radius: `x' = x + eps * d(grad)` (Goodfellow et al. 2015, section 4).

    `d` is the sign for Linf and the normalised gradient for L2. Where the step lowers the loss, the clean
    input is returned.

    >>> FGSM(Ball(eps=0.3))(nn.Flatten().eval(), torch.rand(2, 1, 1, 3), torch.tensor([0, 1])).shape
    torch.Size([2, 1, 1, 3])
    """

    def solver(self) -> Solver:
        """One steepest step."""
        return Steepest(self.ball.eps, self.ball)


@dataclass(frozen=True)
class RandFGSM(InBall):
    """FGSM from a random sign, `x0 = x + alpha * sign(N(0, I))`, by `eps - alpha` (Tramer et al. 2018).

    Args:
        alpha: the first, random step; a sixth of the radius by default (0.05 at eps 0.3).
    """

    alpha: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha is not None and not self.alpha >= 0:
            raise UserError(f"alpha must be zero or more, got {self.alpha}")

    def _alpha(self) -> float:
        return self.ball.eps / 6 if self.alpha is None else min(self.alpha, self.ball.eps)

    def solver(self) -> Solver:
        """One steepest step of what is left of the radius."""
        return Steepest(self.ball.eps - self._alpha(), self.ball)

    def start(self, x: Tensor) -> Start:
        """A random step of length alpha."""

        def start(data: Any, seeds: Tensor, restart: int) -> Tensor:
            with random.streams(seeds + restart):
                noise = random.normal(tuple(data["x"].shape), data["x"])
            return self.domain.project(data["x"] + self._alpha() * self.ball.steepest(noise))

        return start


@dataclass(frozen=True)
class BIM(InBall):
    """FGSM in small steps from the input itself (Kurakin et al. 2017).

    Args:
        step_size: length of a step, in the ball's norm; a fifth of the radius by default (0.06 at eps 0.3).
    """

    steps: int = field(default=10, kw_only=True)
    step_size: float | None = field(default=None, kw_only=True)

    def solver(self) -> Solver:
        """Projected steepest descent."""
        return Steepest(self.ball.eps / 5 if self.step_size is None else self.step_size, self.ball)


@dataclass(frozen=True)
class PGD(InBall):
    """Projected gradient descent from a random start in the ball (Madry et al. 2018, section 2.1).

    `x_{t+1} = P(x_t + step_size * d(grad_t))`, with `d` the sign for Linf, the normalised gradient for L2 and
    a sparse sign for L1. The best iterate by margin is returned.

    Args:
        steps: gradients per example and restart.
        step_size: length of a step, in the ball's norm; `2.5 * eps / steps` by default.
        random_start: whether to begin at a uniform draw from the ball.

    >>> PGD(Ball(eps=8 / 255, norm="Linf"), steps=40).describe()["steps"]
    40
    """

    steps: int = field(default=40, kw_only=True)
    step_size: float | None = field(default=None, kw_only=True)
    random_start: bool = field(default=True, kw_only=True)

    def solver(self) -> Solver:
        """Projected steepest descent."""
        relative = 2.5 * self.ball.eps / self.steps
        return Steepest(relative if self.step_size is None else self.step_size, self.ball)

    def start(self, x: Tensor) -> Start:
        """Uniform in the ball, or the input itself."""
        return uniform_start(self.ball, self.domain) if self.random_start else x


@dataclass(frozen=True)
class MIFGSM(InBall):
    """Momentum iterative FGSM: `g <- mu g + grad / ||grad||_1`, then a step along `d(g)` (Dong et al. 2018).

    Args:
        momentum: the decay factor mu.
        step_size: a tenth of the radius by default.
    """

    steps: int = field(default=10, kw_only=True)
    momentum: float = field(default=1.0, kw_only=True)
    step_size: float | None = field(default=None, kw_only=True)

    def solver(self) -> Solver:
        """Projected steepest descent along the accumulated gradient."""
        size = self.ball.eps / 10 if self.step_size is None else self.step_size
        return Steepest(size, self.ball, momentum=self.momentum)


@dataclass(frozen=True)
class APGD(InBall):
    """Auto-PGD: momentum, restarts from the best point, no step size (Croce & Hein 2020, algorithm 1).

    The step starts at twice the radius and halves, per example, whenever fewer than `rho` of the steps since
    the last checkpoint improved the loss, or neither step nor best loss changed between two checkpoints. It
    then goes on from the best point so far, without momentum (the paper keeps that of the point it left).

    Args:
        steps: gradients per example and restart.
        loss: `"ce"` or `"dlr"` (the paper's), or `"margin"`.
        rho: the share of steps that must improve.
    """

    steps: int = field(default=100, kw_only=True)
    rho: float = field(default=0.75, kw_only=True)

    def solver(self) -> Solver:
        """The adaptive rule."""
        return AutoSteps(self.ball, self.rho)

    def start(self, x: Tensor) -> Start:
        """Uniform in the ball."""
        return uniform_start(self.ball, self.domain)


@dataclass(frozen=True)
class APGDT(InBall):
    """Auto-PGD towards each of the likeliest wrong classes in turn (Croce & Hein 2020, section 4.1).

    Descends `(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)` for target t, on the examples that still stand.
    An untargeted loss changes its mind between rival classes; this one does not, and finds what is left.

    Args:
        steps: gradients per example, target and restart.
        targets: how many classes to try, from the likeliest on.
        rho: the share of steps that must improve.
    """

    steps: int = field(default=100, kw_only=True)
    loss: Loss = field(default="dlr", init=False, repr=False)  # of the target; there is no choice
    targets: int = field(default=9, kw_only=True)
    rho: float = field(default=0.75, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targets < 1:
            raise UserError(f"targets must be at least 1, got {self.targets}")

    def solver(self) -> Solver:
        """The adaptive rule of Auto-PGD."""
        return AutoSteps(self.ball, self.rho)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """One search per target, each on what the searches before it left standing."""
        if self.targeted:
            raise UserError("APGDT chooses its targets; for one target use APGD(targeted=True)")
        with random.streams(seeds):
            logits = predict(model, x)
        rivals = logits.scatter(1, y[:, None], -torch.inf).topk(
            min(self.targets, logits.shape[1] - 1), dim=1
        )
        best, score = x, torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
        left = torch.arange(len(x), device=x.device)
        for target in rivals.indices.unbind(1):
            found = self._towards(model, x[left], y[left], target[left], seeds[left])
            better = found.done | (found.score < score[left])
            best = best.index_copy(0, left[better], found.best[better])
            score = score.index_copy(0, left[better], found.score[better])
            left = left[~found.done]
            if len(left) == 0:
                break
        return best

    def _towards(
        self, model: nn.Module, x: Tensor, y: Tensor, target: Tensor, seeds: Tensor
    ) -> Found:
        return search(
            _towards_target,
            model,
            uniform_start(self.ball, self.domain),
            self.solver(),
            steps=self.steps,
            region=self.domain.region(x, self.ball),
            data={"x": x, "y": y, "target": target},
            seeds=seeds,
            restarts=self.restarts,
            leave=self.early_stop,
        )


def _towards_target(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
    logits = model(v)
    score = margin_of(logits.detach(), data["y"], targeted=False)
    return Evaluation(targeted_dlr(logits, data["y"], data["target"]), score, score < 0)


def checkpoints(steps: int) -> set[int]:
    """The steps at which Auto-PGD looks back: at 22% of them, then after gaps that shrink by 3% to 6%.

    >>> sorted(checkpoints(100))
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    previous, at, found = 0, 22, set()
    while at < 100:
        found.add(math.ceil(at * steps / 100))
        previous, at = at, at + max(at - previous - 3, 6)
    return found


@dataclass(frozen=True)
class AutoSteps:
    """The rule of Auto-PGD as a solver."""

    ball: Ball
    rho: float

    def start(self, v: Tensor) -> Any:
        """Per example: previous and best points, their losses, the step, and the count of improvements."""
        worst = v.new_full((len(v),), torch.inf)
        return {
            "previous": v,
            "loss": -worst,  # the first look is no improvement
            "best": v,
            "best_grad": torch.zeros_like(v),
            "best_loss": worst,
            "size": v.new_full((len(v),), 2 * self.ball.eps),
            "rises": v.new_zeros(len(v)),
            "marked_loss": worst,
            "halved": torch.ones(len(v), dtype=torch.bool, device=v.device),
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
        """One step with momentum, after looking back where a checkpoint says so."""
        now = self._note(v, grad, seen.loss, state)
        marks = checkpoints(total)
        if number in marks:
            gap = number - max((mark for mark in marks if mark < number), default=0)
            v, grad, now = self._look_back(v, grad, now, gap)
        direct = region.project(
            v - per_example(now["size"], v) * Steepest(1.0, self.ball).direction(v, grad, region)
        )
        if number == 0:
            return direct, {**now, "previous": v}
        ahead = region.project(v + 0.75 * (direct - v) + 0.25 * (v - now["previous"]))
        return ahead, {**now, "previous": v}

    def _note(self, v: Tensor, grad: Tensor, loss: Tensor, state: Any) -> Any:
        better = loss < state["best_loss"]
        wide = per_example(better, v)
        return {
            **state,
            "rises": state["rises"] + (loss < state["loss"]),
            "loss": loss,
            "best": torch.where(wide, v, state["best"]),
            "best_grad": torch.where(wide, grad, state["best_grad"]),
            "best_loss": torch.where(better, loss, state["best_loss"]),
        }

    def _look_back(self, v: Tensor, grad: Tensor, now: Any, gap: int) -> tuple[Tensor, Tensor, Any]:
        few = now["rises"] < self.rho * gap
        stuck = ~now["halved"] & (now["best_loss"] >= now["marked_loss"])
        halve = few | stuck
        wide = per_example(halve, v)
        now = {
            **now,
            "size": torch.where(halve, now["size"] / 2, now["size"]),
            "rises": torch.zeros_like(now["rises"]),
            "marked_loss": now["best_loss"],
            "halved": halve,
            "previous": torch.where(wide, now["best"], now["previous"]),
        }
        return torch.where(wide, now["best"], v), torch.where(wide, now["best_grad"], grad), now
