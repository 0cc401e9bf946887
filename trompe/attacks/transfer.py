"""Transfer: attack one model, deliver to another."""

from dataclasses import dataclass

from torch import Tensor, nn

from trompe.attacks.adaptive import Wrapper
from trompe.core.errors import UserError

__all__ = ["Transfer"]


@dataclass(frozen=True)
class Transfer(Wrapper):
    """Run an attack on a surrogate and return what it finds, whatever the victim is.

    With the undefended classifier as surrogate this is the oblivious attacker, who does not know of a
    defence; with another model, the transfer attack of Papernot et al. 2017. Hand the surrogate in by
    `Transfer(attack).using(surrogate=model)`.

    >>> from trompe.attacks.gradient import FGSM
    >>> from trompe.core.geometry import Ball
    >>> Transfer(FGSM(Ball(0.1))).at(0.2).ball
    Ball(eps=0.2, norm='Linf')
    """

    keeps_surrogate = True

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """What the attack inside checks, on the surrogate."""
        surrogate = self.network("surrogate")
        if surrogate.training:
            raise UserError(
                "the surrogate is in train mode; call surrogate.eval() before attacking it"
            )
        return self.attack.check(surrogate, x, y, seeds)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """The attack inside, on the surrogate."""
        return self.attack.run(self.network("surrogate"), x, y, seeds)
