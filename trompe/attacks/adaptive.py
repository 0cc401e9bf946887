"""Attacks that know the defence: through what has no gradient, and over what is random.

Both wrap another attack and change how it meets the model, not what it does.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from trompe.attacks.base import Attack, ClassifierAttack
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import execution, predict
from trompe.core.geometry import Ball

__all__ = [
    "BPDA",
    "EOT",
    "Drawing",
    "Purified",
    "Still",
    "StraightThrough",
    "Wrapper",
    "differentiable",
    "repeats",
    "straight_through",
]


@runtime_checkable
class Purified(Protocol):
    """A classifier behind a purifier: `model(x) = model.classifier(model.reconstruct(x))`."""

    classifier: nn.Module

    def reconstruct(self, x: Tensor, /) -> Tensor: ...


@runtime_checkable
class Drawing(Protocol):
    """A model that draws, and has a form that does not: `model.deterministic()`."""

    def deterministic(self) -> nn.Module: ...


class StraightThrough(nn.Module):
    """A module whose value is the purifier's and whose derivative is a surrogate's.

    The value is exact, bit for bit: the surrogate adds zero. Without a surrogate the derivative is the
    identity's, as for purifiers with `g(x) ~ x` (Athalye et al. 2018, section 4.1).

    Args:
        purifier: any callable from inputs to inputs; it is run without gradients.
        surrogate: a differentiable module of the same shapes that resembles the purifier.

    Raises:
        UserError: when the purifier's and the surrogate's outputs differ in shape.

    >>> x = torch.tensor([0.2, 0.7], requires_grad=True)
    >>> y = StraightThrough(torch.round)(x)
    >>> y.tolist(), torch.autograd.grad(y.sum(), x)[0].tolist()
    ([0.0, 1.0], [1.0, 1.0])
    """

    def __init__(
        self, purifier: Callable[[Tensor], Tensor], surrogate: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.purifier = purifier
        self.surrogate = surrogate
        self.training = getattr(purifier, "training", False)

    def forward(self, x: Tensor) -> Tensor:
        """The purifier's output, `(B, *)`."""
        with torch.no_grad():
            value = self.purifier(x)
        if not torch.is_grad_enabled():
            return value
        way: Tensor = x if self.surrogate is None else self.surrogate(x)
        if way.shape != value.shape:
            kind = "the identity" if self.surrogate is None else "the surrogate"
            raise UserError(
                f"the purifier returns {tuple(value.shape)} and {kind} {tuple(way.shape)}; "
                "give a surrogate of the purifier's shapes: BPDA(attack).using(surrogate=...)"
            )
        return value.detach() + (way - way.detach())


class _Straightened(nn.Module):
    """A purified classifier whose `reconstruct` is replaced by its straight-through form."""

    def __init__(self, model: Purified, surrogate: nn.Module | None) -> None:
        super().__init__()
        self.model = model
        self.surrogate = surrogate
        self.training = False  # of this shell alone: the model's own modes are its user's

    def forward(self, x: Tensor) -> Tensor:
        straight = StraightThrough(self.model.reconstruct, self.surrogate)
        return self.model.classifier(straight(x))  # type: ignore[no-any-return]


def straight_through(
    model: nn.Module, surrogate: nn.Module | None = None, site: str | None = None
) -> nn.Module:
    """The model with its purifier replaced by a `StraightThrough` of it. The model itself is not changed.

    Args:
        model: a `Purified` classifier, or any model of which `site` names a submodule.
        surrogate: see `StraightThrough`.
        site: the dotted name of the submodule to replace, as in `model.named_modules()`.

    Raises:
        UserError: a model without `reconstruct` and `classifier` and no site, or a site it does not have.

    >>> defended = nn.Sequential(nn.Threshold(0.5, 0.0), nn.Linear(2, 2))
    >>> straight_through(defended, site="0")[0]
    StraightThrough(
      (purifier): Threshold(threshold=0.5, value=0.0)
    )
    """
    if site is not None:
        known = dict(model.named_modules())
        if site not in known or not site:
            names = ", ".join(name for name in known if name)
            raise UserError(f"the model has no submodule {site!r}; it has {names or 'none'}")
        return _replaced(model, site.split("."), surrogate)
    if not isinstance(model, Purified):
        raise UserError(
            f"BPDA does not know what to straighten in {type(model).__name__}: it has no reconstruct and "
            "classifier; name the submodule that purifies, BPDA(attack, site=...)"
        )
    return _Straightened(model, surrogate)


def _replaced(model: nn.Module, path: list[str], surrogate: nn.Module | None) -> nn.Module:
    """A copy of the modules along the path, which shares everything else with the model."""
    if not path:
        return StraightThrough(model, surrogate)
    twin = copy.copy(model)
    child = model._modules[path[0]]
    assert child is not None
    changed = {**model._modules, path[0]: _replaced(child, path[1:], surrogate)}
    twin.__dict__["_modules"] = changed
    return twin


@dataclass(frozen=True)
class Wrapper(Attack):
    """An attack around an attack: same inputs, labels, ball and domain.

    Networks handed in by `using` go to the attack inside.
    """

    keeps_surrogate = False

    attack: Attack
    domain: Any = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "domain", self.attack.domain)
        object.__setattr__(self, "independent", self.attack.independent)

    @property
    def ball(self) -> Ball:
        """The ball of the attack inside.

        Raises:
            AttributeError: it has none.
        """
        return self.attack.ball  # type: ignore[attr-defined, no-any-return]

    @property
    def targeted(self) -> bool:
        """Whether labels are those to be reached."""
        return getattr(self.attack, "targeted", False)

    def at(self, eps: float) -> Self:
        """The same attacks with another radius."""
        return self._bound(replace(self, attack=self.attack.at(eps)))

    def using(self, **networks: nn.Module) -> Self:
        """The same attacks: a `surrogate` goes to those that keep one, other networks to the one inside."""
        own = {k: v for k, v in networks.items() if k == "surrogate" and self.keeps_surrogate}
        rest = {k: v for k, v in networks.items() if k not in own}
        bound = replace(self, attack=self.attack.using(**rest)) if rest else replace(self)
        object.__setattr__(bound, "_networks", {**self._networks, **own})
        return bound

    def describe(self) -> dict[str, Any]:
        """Both classes, as in `EOT(PGD)`, and both settings."""
        inside, own = self.attack.describe(), super().describe()
        settings = {k: v for k, v in own.items() if k not in ("attack", "domain")}
        return {**inside, **settings, "attack": f"{type(self).__name__}({inside['attack']})"}

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """As the attack inside does."""
        return self.attack.check(model, x, y, seeds)


@dataclass(frozen=True)
class BPDA(Wrapper):
    """Backward pass differentiable approximation (Athalye et al. 2018, section 4.1).

    The attack meets the defence's true forward pass; the derivative of its purifier is replaced by the
    identity, or by that of a network given with `BPDA(attack).using(surrogate=network)`. Where a purifier
    is differentiable the exact gradient is stronger: run both.

    Args:
        attack: any attack that follows gradients.
        site: the dotted name of the submodule that purifies. By default the model is a `Purified` one, such
            as `trompe.defenses.Reconstruct`, and its `reconstruct` is straightened.

    Raises:
        UserError: on the call, when the model has no such part.

    >>> from trompe.attacks.gradient import PGD
    >>> defended = nn.Sequential(nn.Threshold(0.5, 0.0), nn.Flatten()).eval()
    >>> attack = BPDA(PGD(Ball(eps=0.1), steps=5), site="0")
    >>> attack(defended, torch.rand(2, 1, 1, 3), torch.tensor([0, 1])).shape
    torch.Size([2, 1, 1, 3])
    """

    keeps_surrogate = True

    site: str | None = None

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """The attack inside, on the straightened model."""
        straight = straight_through(model, self._networks.get("surrogate"), self.site)
        return self.attack.run(straight, x, y, seeds)


@dataclass(frozen=True)
class EOT(Wrapper):
    """Expectation over transformation: gradients and ranks are averaged over draws.

    Athalye et al. 2018, section 4.2. All draws of a step go through the model as one batch. Iterates are
    ranked on draws common to all steps; an example leaves only after `Execution.confirm` of fresh ones
    succeed. A classifier that draws nothing is attacked as without the wrapper, bit for bit.

    Args:
        attack: any attack.
        draws: of the model's randomness, averaged in each step.

    Raises:
        UserError: fewer than one draw.

    >>> from trompe.attacks.gradient import PGD
    >>> EOT(PGD(Ball(eps=0.1)), draws=20).at(0.3).ball
    Ball(eps=0.3, norm='Linf')
    """

    draws: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < 1:
            raise UserError(f"draws must be at least 1, got {self.draws}")

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """The attack inside, under a policy of that many draws."""
        draws = 1 if _classifies(self.attack) and repeats(model, x[:1], seeds[:1]) else self.draws
        with execution(draws=draws):
            return self.attack.run(model, x, y, seeds)


@dataclass(frozen=True)
class Still(Wrapper):
    """Attack a random defence as if it drew nothing, and deliver to it as it is.

    Hlihor et al. 2020 switch the sampling off while attacking, and call that the worst case. It is a
    transfer from the posterior's mean to its samples: `EOT` is the attack on what is deployed. Run both.

    Args:
        attack: any attack.

    Raises:
        UserError: on the call, when the model has no `deterministic()`.

    >>> from trompe.attacks.gradient import FGSM
    >>> Still(FGSM(Ball(0.1))).at(0.2).describe()["attack"]
    'Still(FGSM)'
    """

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """What the attack inside checks, on the model without its draws."""
        return self.attack.check(_still(model), x, y, seeds)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """The attack inside, on the model without its draws."""
        return self.attack.run(_still(model), x, y, seeds)


def _still(model: nn.Module) -> nn.Module:
    if not isinstance(model, Drawing):
        raise UserError(
            f"{type(model).__name__} has no deterministic(), so its draws cannot be switched off; "
            "EOT averages over them instead"
        )
    return model.deterministic()


def _classifies(attack: Attack) -> bool:
    """Whether all that the attack asks of a model is its logits."""
    inside = attack
    while isinstance(inside, Wrapper):
        inside = inside.attack
    return isinstance(inside, ClassifierAttack)


def differentiable(model: nn.Module, x: Tensor) -> bool:
    """Whether a path leads from a classifier's logits to its input, as far as one look tells.

    >>> differentiable(nn.Flatten().eval(), torch.rand(1, 1, 2))
    True
    """
    with torch.inference_mode(False), torch.enable_grad():
        v = x.detach().clone().requires_grad_()
        value = model(v).sum()
        if not value.requires_grad:
            return False
        return torch.autograd.grad(value, v, allow_unused=True)[0] is not None


def repeats(model: nn.Module, x: Tensor, seeds: Tensor) -> bool:
    """Whether the model draws nothing, from the streams or from a generator of its own.

    >>> repeats(nn.Flatten().eval(), torch.rand(1, 1, 2), random.seeds(0, 1))
    True
    """
    with random.streams(seeds) as used:
        first = predict(model, x)
    with random.streams(seeds):
        second = predict(model, x)
    return used.calls == 0 and torch.equal(first, second)
