"""What every attack shares: the checks at the door, and what is returned."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.checks import check_labels, check_logits
from trompe.core.domains import Images
from trompe.core.errors import UserError
from trompe.core.execution import predict, working_copies
from trompe.core.geometry import Ball
from trompe.core.losses import cross_entropy, dlr, margin
from trompe.core.protocols import Domain
from trompe.core.search import Evaluation, Objective

__all__ = ["Attack", "ClassifierAttack", "classification", "margin_of"]


@dataclass(frozen=True)
class Attack(ABC):
    """A configuration of numbers that is called on a model: `attack(model, x, y, *, seeds=None) -> x_adv`.

    Two attacks with equal settings are equal, hash alike and print alike. Networks that an attack needs
    are handed in by `using`, and are no part of that identity. The model is left as found: its modes,
    its gradients, its inputs; no global generator is touched.

    Args:
        domain: what an input is; images in [0, 1] unless told otherwise.
    """

    domain: Domain = field(default_factory=Images, kw_only=True)
    _networks: dict[str, nn.Module] = field(
        default_factory=dict, init=False, repr=False, compare=False, hash=False
    )

    independent = True
    """Whether each example's result is its own, whatever the rest of its batch."""

    def using(self, **networks: nn.Module) -> Self:
        """The same attack, with the networks it needs (a judge, a surrogate, an autoencoder)."""
        bound = replace(self)
        object.__setattr__(bound, "_networks", {**self._networks, **networks})
        return bound

    def network(self, name: str) -> nn.Module:
        """A network handed in by `using`.

        Raises:
            UserError: none of that name was.
        """
        if name not in self._networks:
            raise UserError(f"{type(self).__name__} needs a network: call .using({name}=...)")
        return self._networks[name]

    def at(self, eps: float) -> Self:
        """The same attack with another radius, for attacks that have a ball."""
        ball = getattr(self, "ball", None)
        if not isinstance(ball, Ball):
            raise UserError(
                f"{type(self).__name__} has no radius: it looks for the smallest perturbation"
            )
        return self._bound(replace(self, ball=ball.at(eps)))  # type: ignore[call-arg]

    def _bound(self, other: Self) -> Self:
        object.__setattr__(other, "_networks", self._networks)
        return other

    def describe(self) -> dict[str, Any]:
        """Class and settings as plain values, for records."""
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        plain = {
            k: v if isinstance(v, int | float | str | bool) or v is None else str(v)
            for k, v in settings.items()
        }
        return {"attack": type(self).__name__, **plain}

    @final
    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor | None = None, *, seeds: Tensor | None = None
    ) -> Tensor:
        """The adversarial inputs, of the shape of `x`, inside the domain.

        Args:
            model: an `nn.Module` in eval mode.
            x: a batch of inputs of the attack's domain.
            y: what the loss refers to: labels `(B,)`, or on an autoencoder the target images.
            seeds: `(B,)` int64, each example's random stream; by default those of seed 0.

        Raises:
            UserError: inputs out of range, labels that do not fit, a model in train mode, no gradient path.
        """
        with torch.no_grad(), working_copies():
            x, y, seeds = self.admitted(model, x, y, seeds)
            found = self.run(model, x, y, seeds)
        return self.domain.project(found.detach())

    def admitted(
        self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The inputs, what the attack refers to and the seeds, once checked and completed."""
        x = x.detach() if isinstance(x, Tensor) else x
        self.domain.validate(x)
        if isinstance(model, nn.Module) and model.training:
            raise UserError("the model is in train mode; call model.eval() before attacking it")
        seeds = random.seeds(0, len(x)) if seeds is None else seeds
        if seeds.shape != (len(x),):
            raise UserError(f"seeds must have shape ({len(x)},), got {tuple(seeds.shape)}")
        return x, self.check(model, x, y, seeds), seeds.to(x.device)

    @abstractmethod
    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """Check what the attack refers to, and complete it."""

    @abstractmethod
    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """The attack itself, on checked inputs."""


@dataclass(frozen=True)
class ClassifierAttack(Attack):
    """An attack whose `y` are labels: the true ones, or with `targeted` those to be reached."""

    targeted: bool = field(default=False, kw_only=True)

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """Labels are whole numbers below the number of classes; outputs are logits."""
        with random.streams(seeds[:1]):
            logits = predict(model, x[:1])
        check_logits(logits, 1)
        if y is None:
            raise UserError("an attack on a classifier needs labels: attack(model, x, y)")
        return check_labels(y, len(x), logits.shape[1]).to(x.device)


def margin_of(logits: Tensor, y: Tensor, targeted: bool) -> Tensor:
    """The score of an iterate: negative exactly where the attack has what it wants."""
    return -margin(logits, y) if targeted else margin(logits, y)


def classification(loss: str = "ce", targeted: bool = False) -> Objective:
    """The objective of most attacks on classifiers, over iterates that are inputs.

    `loss` is `"ce"` (cross-entropy), `"margin"` or `"dlr"`; whichever is descended, iterates are ranked by
    their margin, which does not saturate, and are done where it is negative.
    """
    sign = 1.0 if targeted else -1.0

    def objective(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        logits = model(v)
        if loss == "margin":
            value = margin_of(logits, data["y"], targeted)
            score = value.detach()
        else:
            value = (
                sign * cross_entropy(logits, data["y"])
                if loss == "ce"
                else -sign * dlr(logits, data["y"], towards=targeted)
            )
            score = margin_of(logits.detach(), data["y"], targeted)
        return Evaluation(value, score, score < 0)

    return objective
