"""Transfer: attack one model, deliver to another."""

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor, nn

from trompe.attacks.base import Attack

__all__ = ["Transfer"]


@dataclass(frozen=True)
class Transfer(Attack):
    """Run an attack on a surrogate and return what it finds, whatever the victim is.

    With the undefended classifier as surrogate this is the oblivious attacker, who does not know of a
    defence; with another model, the transfer attack of Papernot et al. 2017. Hand the surrogate in by
    `Transfer(attack).using(surrogate=model)`. Already successful examples on the surrogate are pushed
    on only as far as `attack` pushes them.

    >>> from trompe.attacks import FGSM
    >>> from trompe.core.geometry import Ball
    >>> Transfer(FGSM(Ball(0.1))).at(0.2).attack.ball.eps
    0.2
    """

    attack: Attack

    @property
    def ball(self) -> object:
        """The ball of the attack that is carried over."""
        return getattr(self.attack, "ball", None)

    def at(self, eps: float) -> Self:
        """The same transfer with another radius."""
        return self._bound(replace(self, attack=self.attack.at(eps)))

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """What the carried attack checks, on the surrogate."""
        return self.attack.check(self.network("surrogate"), x, y, seeds)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """The carried attack, on the surrogate."""
        return self.attack.run(self.network("surrogate"), x, y, seeds)
