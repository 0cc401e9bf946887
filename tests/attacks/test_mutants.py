"""Broken attacks must fail the contract, by the very checks that the package's attacks pass."""

import copy
import math
import random as python_random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.attacks.contract import CHECKS, Subject, Victim, classifier, misled
from trompe.attacks.base import ClassifierAttack, margin_of
from trompe.attacks.carlini_wagner import ProjectedCW
from trompe.core import random
from trompe.core.domains import Images
from trompe.core.execution import predict, spend
from trompe.core.geometry import Ball, norm, per_example


@dataclass(frozen=True)
class Plain(ClassifierAttack):
    """A correct PGD, written out so that each mutant changes one thing."""

    ball: Ball
    steps: int = field(default=10, kw_only=True)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        region = self.domain.region(x, self.ball)
        v = self.within(region, x + self.noise(x, seeds))
        best, score = v, torch.full((len(x),), torch.inf, dtype=x.dtype)
        with torch.inference_mode(False):
            x, v, y = x.clone(), v.clone(), y.clone()
            for step in range(self.steps):
                v = v.detach().requires_grad_()
                with torch.enable_grad():
                    grad = self.gradient(model, v, y)
                now = margin_of(predict(model, v.detach()), y, self.targeted)
                best, score = self.keep(best, score, v.detach(), now)
                v = self.within(region, self.move(v.detach(), grad, step))
        now = margin_of(predict(model, v), y, self.targeted)
        return self.keep(best, score, v, now)[0]

    def within(self, region: Any, v: Tensor) -> Tensor:
        return region.project(v)

    def noise(self, x: Tensor, seeds: Tensor) -> Tensor:
        return self.ball.sample(x, seeds)

    def loss(self, model: nn.Module, v: Tensor, y: Tensor) -> Tensor:
        spend(forwards=len(v))
        return (1 if self.targeted else -1) * F.cross_entropy(model(v), y, reduction="none")

    def gradient(self, model: nn.Module, v: Tensor, y: Tensor) -> Tensor:
        return torch.autograd.grad(self.loss(model, v, y).sum(), v)[0]

    def move(self, v: Tensor, grad: Tensor, step: int) -> Tensor:
        return v - 0.25 * self.ball.eps * grad.sign()

    def keep(self, best: Tensor, score: Tensor, v: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
        better = now < score
        return torch.where(per_example(better, v), v, best), torch.where(better, now, score)


class WrongSign(Plain):
    def move(self, v: Tensor, grad: Tensor, step: int) -> Tensor:
        return v + 0.25 * self.ball.eps * grad.sign()


class NoProjection(Plain):
    def within(self, region: Any, v: Tensor) -> Tensor:
        return v


class ClippedToTheDomainOnly(Plain):
    def within(self, region: Any, v: Tensor) -> Tensor:
        return self.domain.project(v)


class WrongNorm(Plain):
    """Noise and projection on an L2 ball twice as wide, whatever was asked for."""

    def within(self, region: Any, v: Tensor) -> Tensor:
        return v

    def noise(self, x: Tensor, seeds: Tensor) -> Tensor:
        return Ball(2 * self.ball.eps, "L2").sample(x, seeds)

    def move(self, v: Tensor, grad: Tensor, step: int) -> Tensor:
        return v - 2 * self.ball.eps / self.steps * Ball(1.0, "L2").steepest(grad)


class DetachedPurifier(Plain):
    """Differentiates the classifier at the purified input and forgets the purifier."""

    def gradient(self, model: nn.Module, v: Tensor, y: Tensor) -> Tensor:
        if not hasattr(model, "reconstruct"):
            return super().gradient(model, v, y)
        shown = model.reconstruct(v).detach().requires_grad_()
        return super().gradient(model.classifier, shown, y)


class GlobalTorch(Plain):
    def noise(self, x: Tensor, seeds: Tensor) -> Tensor:
        return (torch.rand_like(x) * 2 - 1) * self.ball.eps


class GlobalNumpy(Plain):
    def noise(self, x: Tensor, seeds: Tensor) -> Tensor:
        return torch.as_tensor(np.random.uniform(-self.ball.eps, self.ball.eps, x.shape))  # noqa: NPY002


class GlobalPython(Plain):
    def noise(self, x: Tensor, seeds: Tensor) -> Tensor:
        return (2 * python_random.random() - 1) * self.ball.eps * torch.ones_like(x)


class GlobalSeed(Plain):
    """Reproducible, at the expense of everybody else's draws."""

    def noise(self, x: Tensor, seeds: Tensor) -> Tensor:
        torch.manual_seed(int(seeds[0]) % 2**31)
        return (torch.rand_like(x) * 2 - 1) * self.ball.eps


class BatchGenerator(Plain):
    """A generator of its own, whose draws belong to the batch."""

    def noise(self, x: Tensor, seeds: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(int(seeds[0]) % 2**31)
        draws = torch.rand(x.shape, generator=generator, dtype=x.dtype)
        return (draws * 2 - 1) * self.ball.eps


class DeafToSeeds(Plain):
    def noise(self, x: Tensor, seeds: Tensor) -> Tensor:
        return self.ball.sample(x, random.seeds(0, len(x)) * 0)


class LastIterate(Plain):
    def keep(self, best: Tensor, score: Tensor, v: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
        return v, now


class BestByLoss(Plain):
    """Keeps the iterate of the smallest damage."""

    def keep(self, best: Tensor, score: Tensor, v: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
        better = (now > score) | torch.isinf(score)
        return torch.where(per_example(better, v), v, best), torch.where(better, now, score)


class BatchMean(Plain):
    """Scales each step by the gradients of the whole batch."""

    def move(self, v: Tensor, grad: Tensor, step: int) -> Tensor:
        return v - 0.25 * self.ball.eps * (grad / grad.abs().mean()).clamp(-1, 1)


class BatchBest(Plain):
    """Decides for all examples at once."""

    def keep(self, best: Tensor, score: Tensor, v: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
        return (v, now) if bool(now.sum() < score.sum()) else (best, score)


class FirstLabel(Plain):
    def loss(self, model: nn.Module, v: Tensor, y: Tensor) -> Tensor:
        return super().loss(model, v, y[:1].expand(len(v)))


class ForgetsTheTarget(Plain):
    """Flees the target as it would flee a label."""

    def loss(self, model: nn.Module, v: Tensor, y: Tensor) -> Tensor:
        return super().loss(model, v, y) * (-1 if self.targeted else 1)


class Idle(Plain):
    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        return x.clone()


class Noise(Plain):
    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        return x + self.ball.eps * self.noise(x, seeds).sign()


class Timid(Plain):
    """Its steps shrink so fast that it hardly leaves its start."""

    def noise(self, x: Tensor, seeds: Tensor) -> Tensor:
        return 0.01 * super().noise(x, seeds)

    def move(self, v: Tensor, grad: Tensor, step: int) -> Tensor:
        return v - 0.01 * self.ball.eps * 0.5**step * grad.sign()


class WeakerWithSteps(Plain):
    """Divides its radius by its steps twice."""

    def noise(self, x: Tensor, seeds: Tensor) -> Tensor:
        return 0.01 * super().noise(x, seeds)

    def move(self, v: Tensor, grad: Tensor, step: int) -> Tensor:
        return v - 2 * self.ball.eps / self.steps**2 * grad.sign()


class LeavesGradients(Plain):
    def gradient(self, model: nn.Module, v: Tensor, y: Tensor) -> Tensor:
        v.retain_grad()
        self.loss(model, v, y).sum().backward()
        assert v.grad is not None
        return v.grad


class TrainsTheModel(Plain):
    """Switches the whole model to eval mode, and so a part that was not."""

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        model.eval()
        return super().run(model, x, y, seeds)


class FreezesTheModel(Plain):
    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        model.requires_grad_(False)
        return super().run(model, x, y, seeds)


class RoundsTheWeights(Plain):
    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
        return super().run(model, x, y, seeds)


class WritesInPlace(Plain):
    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        return x.copy_(super().run(model, x, y, seeds))


class NeedsGradMode(Plain):
    """Relies on the caller's grad mode."""

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        v = (x + self.noise(x, seeds)).requires_grad_()
        with torch.set_grad_enabled(not torch.is_inference_mode_enabled()):
            grad = self.gradient(model, v, y)
        return self.within(self.domain.region(x, self.ball), x - self.ball.eps * grad.sign())


class Uncounted(Plain):
    def loss(self, model: nn.Module, v: Tensor, y: Tensor) -> Tensor:
        return (1 if self.targeted else -1) * F.cross_entropy(model(v), y, reduction="none")


class WidensTheBall(Plain):
    """Off by rounding in the wrong place: eight-bit levels rounded up."""

    def within(self, region: Any, v: Tensor) -> Tensor:
        return (region.project(v) * 255).ceil() / 255


class RadiusIsFixed(Plain):
    def at(self, eps: float) -> Any:
        return replace(self)


MUTANTS: list[tuple[type[Plain], str]] = [
    (WrongSign, "beats_noise_of_its_norm"),
    (NoProjection, "inside_ball_and_domain"),
    (ClippedToTheDomainOnly, "inside_ball_and_domain"),
    (WrongNorm, "inside_ball_and_domain"),
    (WidensTheBall, "inside_ball_and_domain"),
    (RadiusIsFixed, "identity_at_radius_zero"),
    (DetachedPurifier, "sees_the_whole_model"),
    (GlobalTorch, "global_generators_untouched"),
    (GlobalNumpy, "global_generators_untouched"),
    (GlobalPython, "global_generators_untouched"),
    (GlobalSeed, "global_generators_untouched"),
    (BatchGenerator, "alone_as_in_a_batch"),
    (DeafToSeeds, "seeds_decide"),
    (LastIterate, "never_worse_than_seen"),
    (BestByLoss, "never_worse_than_seen"),
    (BatchMean, "alone_as_in_a_batch"),
    (BatchBest, "alone_as_in_a_batch"),
    (FirstLabel, "alone_as_in_a_batch"),
    (ForgetsTheTarget, "reaches_each_target"),
    (Idle, "beats_noise_of_its_norm"),
    (Noise, "beats_noise_of_its_norm"),
    (Timid, "reaches_each_target"),
    (WeakerWithSteps, "more_steps_not_worse"),
    (LeavesGradients, "model_and_inputs_left_as_found"),
    (TrainsTheModel, "model_and_inputs_left_as_found"),
    (FreezesTheModel, "model_and_inputs_left_as_found"),
    (RoundsTheWeights, "model_and_inputs_left_as_found"),
    (WritesInPlace, "model_and_inputs_left_as_found"),
    (NeedsGradMode, "works_without_gradients"),
    (Uncounted, "counts_its_passes"),
]


def subject(kind: type[Plain]) -> Subject:
    return Subject(
        kind.__name__,
        lambda domain: kind(Ball(0.12), domain=domain),
        "classifier",
        misled,
        draws=True,
    )


def fails(check: Callable[[Subject, Victim], None], kind: type[Plain]) -> bool:
    """Whether the check catches the mutant; on a copy, since mutants soil what they touch."""
    victim = classifier(Images())
    state = torch.get_rng_state()
    own = replace(victim, model=copy.deepcopy(victim.model), x=victim.x.clone(), y=victim.y.clone())
    try:
        check(subject(kind), own)
    except (AssertionError, RuntimeError):
        return True
    finally:
        torch.set_rng_state(state)
    return False


def test_the_attack_that_mutants_are_made_from_keeps_the_contract() -> None:
    assert [check.__name__ for check in CHECKS if fails(check, Plain)] == []


@pytest.mark.parametrize(
    ("kind", "caught"), MUTANTS, ids=lambda value: getattr(value, "__name__", value)
)
def test_mutant_is_caught(kind: type[Plain], caught: str) -> None:
    (check,) = (check for check in CHECKS if check.__name__ == caught)
    assert fails(check, kind), f"{kind.__name__} passes {caught}"


class ProjectsNothing(ProjectedCW):
    """Descends C&W's objective wherever it leads."""

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        free = ProjectedCW(Ball(math.inf), steps=self.steps)
        return free.run(model, x, y, seeds)


class ProjectsTheResultOnly(ProjectsNothing):
    """Descends wherever it leads, and clips what it found: a weaker attack, as no result shows."""

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        return self.domain.region(x, self.ball).project(super().run(model, x, y, seeds))


def projects_after_each_step(kind: type[ProjectedCW]) -> None:
    """All that the model is shown lies in the ball."""
    victim, ball = classifier(Images()), Ball(0.05)
    x, y, farthest = victim.x[:1], victim.y[:1], [0.0]

    class Watched(nn.Module):
        training = False

        def forward(self, v: Tensor) -> Tensor:
            farthest.append(float((v - x).detach().abs().max()))
            return victim.model(v)

    kind(ball, steps=5)(Watched().eval(), x, y)
    assert max(farthest) <= ball.eps + 1e-12


def test_carlini_and_wagner_without_projection_is_caught() -> None:
    projects_after_each_step(ProjectedCW)
    for kind in (ProjectsNothing, ProjectsTheResultOnly):
        with pytest.raises(AssertionError):
            projects_after_each_step(kind)


def test_noise_is_measured_in_the_norm_of_the_ball() -> None:
    """The control that attacks are measured against really has their norm."""
    victim = classifier(Images())
    delta = Plain(Ball(0.6, "L2"))(victim.model, victim.x[:4], victim.y[:4]) - victim.x[:4]
    assert float(norm(delta, "L2").max()) <= 0.6 + 1e-12
