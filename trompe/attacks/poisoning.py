"""Poisoning: an autoencoder and the shift of its codes, learned in one loop.

Creswell, Bharath & Sengupta 2017, section 3.1.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trompe.attacks.universal import Universal
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.losses import cross_entropy

__all__ = ["PoisoningStep"]


class PoisoningStep:
    r"""One update of an autoencoder, then one of a shift of its codes.

    .. math:: J_\mathrm{vae} = \mathrm{loss}(x) + \phi \, BCE(y, C(D(z))), \qquad
        J_z = BCE(1 - y, C(D(z + t\,\delta))) + \rho\,\|\delta\|_p, \qquad z \sim q(z|x)

    The first is descended by the autoencoder, the second by the shift alone, on codes drawn anew after the
    autoencoder's step. `phi = 0` is *poisoning*; with `phi > 0`, *poisoning + class*, the autoencoder is also
    trained to make reconstructions that the attacker's classifier reads rightly.

    Departures from the authors' code: it steps the autoencoder twice per batch, lets the attack's gradient
    flow into it, and computes the attack's loss on the clean reconstruction; here the equations hold.
    `loss(x)` sums over an image what the paper averages, so the same relative weight is `phi` times the
    number of pixels.

    Args:
        model: an autoencoder with `losses(x) -> {"loss": (B,), ...}`.
        classifier: the attacker's, frozen: `classifier(x) -> logits (B, 2)`.
        how: the settings of the shift.
        latent: number of coordinates of a code.
        lr: the autoencoder's peak rate.
        schedule: of both rates, from progress in [0, 1] to a factor.
        phi: weight of the classification term.
        seed: of the first shift.
    """

    def __init__(
        self,
        model: Any,
        classifier: nn.Module,
        how: Universal,
        latent: int,
        lr: float,
        *,
        schedule: Callable[[float], float],
        phi: float = 0.0,
        seed: int = 0,
    ) -> None:
        if not phi >= 0:
            raise UserError(f"phi must be zero or more, got {phi}")
        self.model, self.classifier, self.phi, self.schedule = model, classifier, phi, schedule
        self.attack = how.step(self._read, (latent,), head=self._drawn, seed=seed)
        self._weights = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self._weights, lr=lr, weight_decay=0.0, fused=True)

    @property
    def shift(self) -> nn.Module:
        """The perturbation that is learned."""
        return self.attack.shift

    def _drawn(self, x: Tensor) -> Tensor:
        return random.sample(self.model.encode(x))

    def _read(self, z: Tensor) -> Tensor:
        return self.classifier(self.model.decode(z))  # type: ignore[no-any-return]

    def __call__(self, *batch: Tensor) -> Mapping[str, Tensor]:
        """One update on images `(B, *)` and labels `(B,)` that are 0 or 1."""
        x, y = batch[:2]
        terms = {name: value.mean() for name, value in self.model.losses(x).items()}
        loss = terms["loss"]
        if self.phi:
            terms["class"] = cross_entropy(self._read(self._drawn(x)), y).mean()
            loss = loss + self.phi * terms["class"]
        for weight, grad in zip(
            self._weights, torch.autograd.grad(loss, self._weights), strict=True
        ):
            weight.grad = grad
        self.optimizer.step()
        shifted = self.attack(x, y)
        return {**{name: value.detach() for name, value in terms.items()}, **shifted}

    def modules(self) -> Mapping[str, nn.Module]:
        """The autoencoder and the shift."""
        return {"model": self.model, **self.attack.modules()}

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """One for each."""
        return {"model": self.optimizer, **self.attack.optimizers()}

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs."""
        own = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {**own, "attack": self.attack.state_dict()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Continue from a state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.attack.load_state_dict(state["attack"])
