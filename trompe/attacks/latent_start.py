"""From the codes: the nearest code that is read wrongly, and an input that is reconstructed as its image."""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from trompe.attacks.adaptive import Purified
from trompe.attacks.base import ClassifierAttack, classification, margin_of
from trompe.attacks.gradient import AutoSteps
from trompe.attacks.minimal import Patient, ranking, weights
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.execution import execution, spend
from trompe.core.geometry import Ball, per_example
from trompe.core.losses import squared_distance
from trompe.core.protocols import Autoencoder
from trompe.core.search import Evaluation, Found, Objective, search
from trompe.core.solvers import Adam

__all__ = ["Coded", "LatentStart", "has_codes"]

_TINY = 1e-12


@runtime_checkable
class Coded(Purified, Protocol):
    """A purified classifier whose purifier is an autoencoder, such as `trompe.defenses.Reconstruct`."""

    autoencoder: nn.Module


def has_codes(model: nn.Module) -> bool:
    """Whether a model is purified by what has `encode` and `decode`, so that its codes can be searched."""
    return isinstance(model, Coded) and isinstance(model.autoencoder, Autoencoder)


@dataclass(frozen=True)
class LatentStart(ClassifierAttack):
    r"""Search the codes of a purifier first, then the inputs that are reconstructed as what was found.

    .. math:: z^* = \arg\min_z \|z - E(x)\|^2 \; \text{ such that } C(D(z)) \ne y, \qquad
        x' = \arg\min_{v \in B(x)} \|R(v) - D(z^*)\|^2

    The first is C&W's penalty among codes, its weight searched for each example (Carlini & Wagner 2017,
    section VI-A); the second starts at `D(z*)` projected on the ball. Iterates are ranked by the margin of
    the defended model itself, and descended along it at the end. What an autoencoder makes, it gives back
    nearly unchanged: the range attack on Defense-GAN (Athalye et al. 2018, section 5.4.2), for purifiers
    of one pass.

    Args:
        ball: the perturbations allowed.
        steps: gradients spent on each input to match the image; as many follow on the margin.
        code_steps: gradients spent on each code, per round.
        rounds: weights tried for each code.
        lr: Adam's step among codes, in units of the root mean square of the example's own code.
        confidence: by how much of the logits' difference the code's image should be wrong; more gives the
            reconstruction, which undoes a part of it, something to lose.
        early_stop: whether an example leaves once it is adversarial. It changes the cost, not the success.

    Raises:
        UserError: on the call, when the model has no `autoencoder`, `reconstruct` and `classifier`.

    >>> LatentStart(Ball(eps=0.3)).at(0.1).ball
    Ball(eps=0.1, norm='Linf')
    """

    ball: Ball
    steps: int = field(default=50, kw_only=True)
    code_steps: int = field(default=50, kw_only=True)
    rounds: int = field(default=5, kw_only=True)
    lr: float = field(default=0.1, kw_only=True)
    confidence: float = field(default=10.0, kw_only=True)
    early_stop: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if min(self.steps, self.code_steps, self.rounds) < 1:
            raise UserError("steps, code_steps and rounds must be at least 1")
        if not (self.lr > 0 and self.confidence >= 0):
            raise UserError("lr must be above 0, and confidence zero or more")

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """Labels, and a model whose codes can be searched."""
        if not has_codes(model):
            raise UserError(
                f"{type(model).__name__} has no codes to search: LatentStart needs a model with autoencoder, "
                "reconstruct and classifier, such as trompe.defenses.Reconstruct"
            )
        return super().check(model, x, y, seeds)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """The code, its image, the input that shows it, and the margin from there."""
        image = decoded(model, self.code(model, x, y, seeds).best)
        near = self.match(model, image, x, y, seeds).best
        along = classification("margin", self.targeted)
        return self._in_ball(along, model, near, x, {"y": y}, seeds).best

    def code(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Found:
        """The nearest code that is read wrongly, else the one that is nearest to it: `best` is `(B, *)`."""
        home = encoded(model, x)
        unit = home.flatten(1).square().mean(1).sqrt().clamp_min(_TINY)

        def attempt(c: Tensor) -> Found:
            return search(
                _displaced(self.targeted, self.confidence),
                model,
                torch.zeros_like(home),
                Patient(Adam(self.lr)),
                steps=self.code_steps,
                region=Vectors().region(home),
                data={"home": home, "unit": unit, "y": y, "c": c},
                seeds=seeds,
                leave=False,
                verify=True,
            )

        with execution(draws=1):  # there is nothing random about a code
            found = weights(attempt, torch.ones_like(unit), self.rounds)
        return found._replace(best=home + per_example(unit, home) * found.best)

    def match(self, model: nn.Module, image: Tensor, x: Tensor, y: Tensor, seeds: Tensor) -> Found:
        """Inputs around `x` that are reconstructed as an image, the best of them by the margin."""
        data = {"y": y, "image": image}
        return self._in_ball(_resembling(self.targeted), model, image, x, data, seeds)

    def _in_ball(
        self,
        objective: Objective,
        model: nn.Module,
        start: Tensor,
        x: Tensor,
        data: Any,
        seeds: Tensor,
    ) -> Found:
        region = self.domain.region(x, self.ball)
        return search(
            objective,
            model,
            region.project(start),
            AutoSteps(self.ball, 0.75),
            steps=self.steps,
            region=region,
            data=data,
            seeds=seeds,
            leave=self.early_stop,
        )


def encoded(model: Any, x: Tensor) -> Tensor:
    """The mean codes `(B, *)` of inputs."""
    spend(forwards=len(x))
    with torch.no_grad():
        mean: Tensor = model.autoencoder.encode(x).mean
    return mean


def decoded(model: Any, z: Tensor) -> Tensor:
    """The images `(B, *)` of codes."""
    spend(forwards=len(z))
    with torch.no_grad():
        image: Tensor = model.autoencoder.decode(z)
    return image


def _displaced(targeted: bool, confidence: float) -> Objective:
    """C&W's objective over displacements of codes: their length, and the margin of what they decode to."""

    def objective(model: Any, v: Tensor, data: Any) -> Evaluation:
        z = data["home"] + per_example(data["unit"], v) * v
        logits = model.classifier(model.autoencoder.decode(z))
        excess = margin_of(logits, data["y"], targeted) + confidence
        squared = v.flatten(1).square().sum(1)
        loss = squared + data["c"] * excess.clamp_min(0)
        with torch.no_grad():
            score = ranking(squared.sqrt(), excess)
        return Evaluation(loss, score, score < 0)

    return objective


def _resembling(targeted: bool) -> Objective:
    """How far the reconstruction is from the image; iterates are ranked by what the classifier says of it."""

    def objective(model: Any, v: Tensor, data: Any) -> Evaluation:
        shown = model.reconstruct(v)
        far = squared_distance(shown, data["image"])
        with torch.no_grad():
            score = margin_of(model.classifier(shown), data["y"], targeted)
        return Evaluation(far, score, score < 0)

    return objective
