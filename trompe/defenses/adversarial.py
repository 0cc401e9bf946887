"""Training against attacks: steps that attack what they train, and Type I examples sent back with new labels.

A step is handed its attack, any object that is called as `attack(model, x, y, seeds=seeds)`;
`trompe.training.train` runs, resumes and distributes it like any other.
"""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.protocols import Attack
from trompe.core.steps import ModelStep

__all__ = ["AdversarialStep", "LogitPairingStep", "Strengthened", "strengthened"]


class _AttackedStep(ModelStep):
    """One update on a batch and on what an attack makes of it against the present weights."""

    def __init__(
        self, model: nn.Module, attack: Attack, lr: float = 4e-3, *, warm: int = 0, **options: Any
    ) -> None:
        super().__init__(model, lr, **options)
        if warm < 0 or (warm and not hasattr(attack, "at")):
            raise UserError(
                f"the radius of {type(attack).__name__} cannot grow over {warm} steps: that takes an attack "
                "with a radius, and at least 0 steps"
            )
        self.attack, self.warm, self.number = attack, warm, 0

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One update on inputs `(B, *)` and labels `(B,)`; an index after them is not looked at.

        "accuracy" is that on the attacked inputs, before the update.
        """
        x, y = batch[:2]
        x_adv = self.attacked(x, y)
        terms, logits = self.terms(x, x_adv, y)
        self.update(terms["loss"])
        self.number += 1
        found = {name: term.detach() for name, term in terms.items()}
        return {**found, "accuracy": (logits.detach().argmax(1) == y).float().mean()}

    def attacked(self, x: Tensor, y: Tensor) -> Tensor:
        """The batch attacked, `(B, *)`; each example's draws are those of its ambient stream at this step."""
        drawn = random.uniform((len(x),), torch.empty(0, dtype=torch.float64, device=x.device))
        with _evaluated(self.model):
            return self.present(self.model, x, y, seeds=(drawn * 2**53).long()).detach()

    @property
    def present(self) -> Attack:
        """The attack with the radius of this step."""
        if self.number >= self.warm:
            return self.attack
        attack: Any = self.attack
        return attack.at(attack.ball.eps * (self.number + 1) / self.warm)  # type: ignore[no-any-return]

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs."""
        return {**super().state_dict(), "number": self.number}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        super().load_state_dict(state)
        self.number = state["number"]

    @abstractmethod
    def terms(self, x: Tensor, x_adv: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """What is reported, of which "loss" is descended, and the logits of the attacked inputs."""


class AdversarialStep(_AttackedStep):
    r"""Adversarial training: the cross-entropy of attacked inputs (Madry et al. 2018, section 2).

    .. math:: (1 - c) \, CE(f(x'), y) + c \, CE(f(x), y), \qquad x' = \mathrm{attack}(f, x, y)

    The attack meets the weights of each step, in eval mode, and is no part of the gradient (Danskin's
    theorem). At radius zero this is plain training, bit for bit.

    Args:
        model: `model(x) -> logits (B, K)`.
        attack: any that is given labels; see `trompe.attacks`. One that stops early trains on inputs that are
            barely wrong: `early_stop=False` spends all its steps.
        lr: peak learning rate.
        clean: c, the share of untouched inputs in the loss: 0 is Madry et al.'s, 0.5 that of Goodfellow et
            al. 2015.
        warm: over so many first steps the attack's radius grows to its own; from the first step on, a large
            one drives a small network to an answer that is always the same.
        options: as for `trompe.training.ModelStep`: schedule, weight_decay, clip, optimizer.

    Raises:
        UserError: a share outside [0, 1], an attack whose radius cannot grow, or a model without parameters.

    >>> step = AdversarialStep(nn.Linear(2, 3), lambda model, x, y, seeds: 1 - x)
    >>> sorted(step(torch.ones(4, 2), torch.tensor([0, 1, 2, 0])))
    ['accuracy', 'loss']
    """

    def __init__(
        self,
        model: nn.Module,
        attack: Attack,
        lr: float = 4e-3,
        *,
        clean: float = 0.0,
        **options: Any,
    ) -> None:
        if not 0 <= clean <= 1:
            raise UserError(f"the share of clean inputs must lie between 0 and 1, got {clean}")
        super().__init__(model, attack, lr, **options)
        self.clean = clean

    def terms(self, x: Tensor, x_adv: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The loss, and the logits of the attacked inputs."""
        logits = self.model(x_adv)
        loss = F.cross_entropy(logits, y)
        if self.clean:
            loss = (1 - self.clean) * loss + self.clean * F.cross_entropy(self.model(x), y)
        return {"loss": loss}, logits


class LogitPairingStep(_AttackedStep):
    r"""Adversarial logit pairing: an input and its attacked copy are to have the same logits.

    .. math:: CE(f(x), y) + CE(f(x'), y) + \lambda \, \| f(x) - f(x') \|_2^2

    (Kannan, Kurakin & Goodfellow 2018), each term a mean over the batch and the last a sum over the classes.
    The gradient passes through both sides of the pair. It has been broken since (Engstrom et al. 2018): what
    says something about it is a strong attack on the paired network, not examples made on another.

    Args:
        model: `model(x) -> logits (B, K)`.
        attack: as for `AdversarialStep`; the authors' is PGD.
        lr: peak learning rate.
        weight: lambda.
        warm: as for `AdversarialStep`. A large radius from the first step on drives the logits to zero, where
            every pair agrees.
        options: as for `trompe.training.ModelStep`.

    Raises:
        UserError: a negative weight, an attack whose radius cannot grow, or a model without parameters.

    >>> step = LogitPairingStep(nn.Linear(2, 3), lambda model, x, y, seeds: x)
    >>> float(step(torch.ones(1, 2), torch.tensor([0]))["pairing"])
    0.0
    """

    def __init__(
        self,
        model: nn.Module,
        attack: Attack,
        lr: float = 4e-3,
        *,
        weight: float = 0.5,
        **options: Any,
    ) -> None:
        if not weight >= 0:
            raise UserError(f"the weight of the pairing must be zero or more, got {weight}")
        super().__init__(model, attack, lr, **options)
        self.weight = weight

    def terms(self, x: Tensor, x_adv: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The loss and its pairing, and the logits of the attacked inputs."""
        plain, logits = self.model(torch.cat([x, x_adv])).chunk(2)
        pairing = (plain - logits).square().sum(1).mean()
        fit = F.cross_entropy(plain, y) + F.cross_entropy(logits, y)
        return {"loss": fit + self.weight * pairing, "pairing": pairing}, logits


@contextmanager
def _evaluated(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, and afterwards every module in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


class Strengthened(NamedTuple):
    """A training set with examples sent back to it.

    Args:
        x, y: all that is trained on, `(N + m, *)` and `(N + m,)`, in the type of the training images.
        sent: which of the examples are among them, `(m,)` indices.
        held_out: the others, on which the result is measured.
    """

    x: Tensor
    y: Tensor
    sent: Tensor
    held_out: Tensor


def strengthened(
    clean: tuple[Tensor, Tensor],
    found: tuple[Tensor, Tensor],
    *,
    share: float = 0.5,
    times: int = 1,
    seed: int = 0,
) -> Strengthened:
    """A random half of generated examples beside the clean data, for vanilla training.

    (Tang et al. 2019, section IV-D.) Where an attack leaves the class as it was, `AdversarialStep` makes
    examples anew at each step. Type I examples have another class, which an oracle tells once: they are made
    on the original network, and fixed.

    Args:
        clean: images `(N, *)`, floats in [0, 1] or bytes, and labels `(N,)`.
        found: examples `(n, *)`, floats in [0, 1], and the labels that an oracle gives them `(n,)`. Beside
            bytes they are rounded to bytes, as an 8-bit file has them.
        share: of the examples, sent back.
        times: each of them stands in the set this often, as few of them are lost among many clean images.
        seed: of the split.

    Raises:
        UserError: examples of another shape, or a share that leaves none to train on or none to measure.

    >>> x, y = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    >>> made = strengthened((x, y), (torch.ones(6, 2), torch.ones(6, dtype=torch.int64)))
    >>> len(made.x), int(made.y.sum()), len(made.held_out)
    (7, 3, 3)
    """
    (x, y), (x_new, y_new) = clean, found
    if x.shape[1:] != x_new.shape[1:]:
        raise UserError(
            f"examples of shape {tuple(x_new.shape[1:])} cannot be sent back to images of shape "
            f"{tuple(x.shape[1:])}"
        )
    count = round(share * len(x_new))
    if not 0 < count < len(x_new) or times < 1:
        raise UserError(
            f"a share of {share} of {len(x_new)} examples, {times} times, leaves none to train on or none "
            "to measure"
        )
    order = torch.randperm(len(x_new), generator=torch.Generator().manual_seed(seed))
    sent, held_out = order[:count].sort().values, order[count:].sort().values
    back = x_new[sent].repeat(times, *[1] * (x.ndim - 1))
    back = (back * 255).round().to(x.dtype) if x.dtype == torch.uint8 else back.to(x.dtype)
    return Strengthened(
        torch.cat([x, back]), torch.cat([y, y_new[sent].repeat(times)]), sent, held_out
    )
