"""The attack on a variational autoencoder through its own training loss."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from trompe.attacks.autoencoder import OutputAttack
from trompe.core import random
from trompe.core.checks import posterior
from trompe.core.errors import UserError
from trompe.core.losses import kl_to_prior, squared_distance

__all__ = ["ElboAttack"]


@dataclass(frozen=True)
class ElboAttack(OutputAttack):
    r"""Make the model's own loss explain the target: `min_d  L_VAE(y, x + d) + c ||d||^2`.

    .. math:: L_{VAE}(y, x^*) = -\log p(y | z^*) + \beta \, KL(q(z | x^*) \| p(z))

    The L_VAE attack of Kos et al. 2018, section 4.2: the negative evidence bound, in nats, for the pair of
    the target and the attacked input. The likelihood is the one that the model was trained with, its
    `nll(z, y)`; for a VAE-GAN that is the learned similarity. Untargeted, the loss for the input's own
    reconstruction is maximised.

    The survey of the attack compares with the target's reconstruction, the default here; its authors also
    describe the target itself. They do not say which code is decoded: here it is the mean, unless `sampled`.

    Args:
        match: `"reconstruction"` of the target, or the target `"image"` itself.
        likelihood: `"model"`, what `model.nll` says; or `"pixels"`, half the squared error of the output,
            which every autoencoder has.
        beta: weight of the KL; None is the model's own, `model.config.beta`, or 1.
        sampled: decode a posterior draw instead of the mean: one draw of the training loss, whose mean over
            `Execution.draws` is descended.

    Raises:
        UserError: a model without `nll` under `likelihood="model"`.

    >>> import torch
    >>> from trompe.core.domains import Vectors
    >>> from trompe.core.geometry import Ball
    >>> from trompe.core.protocols import PointMass
    >>> class Same(nn.Module):
    ...     def encode(self, x):
    ...         return PointMass(x)
    ...     def decode(self, z):
    ...         return z
    ...     def forward(self, x):
    ...         return x
    >>> attack = ElboAttack(Ball(0.25), likelihood="pixels", domain=Vectors())
    >>> attack(Same().eval(), torch.zeros(1, 2), torch.ones(1, 2))
    tensor([[0.2500, 0.2500]])
    """

    match: Literal["image", "reconstruction"] = field(default="reconstruction", kw_only=True)
    likelihood: Literal["model", "pixels"] = field(default="model", kw_only=True)
    beta: float | None = field(default=None, kw_only=True)
    sampled: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.likelihood not in ("model", "pixels"):
            raise UserError(f"likelihood must be model or pixels, got {self.likelihood!r}")
        if self.beta is not None and not 0 <= self.beta < math.inf:
            raise UserError(f"beta must be zero or more, got {self.beta}")

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """The model must say how likely an image is, unless pixels are compared."""
        if self.likelihood == "model" and not callable(getattr(model, "nll", None)):
            raise UserError(
                f"{type(model).__name__} has no nll(z, y), the likelihood it was trained with; pass "
                "likelihood='pixels' to compare outputs by their squared error instead"
            )
        return super().check(model, x, y, seeds)

    def distance(self, model: nn.Module, v: Tensor, reference: Any) -> Tensor:
        """The training loss of the pair, `(B,)` in nats."""
        code = posterior(model, v)
        z = random.sample(code) if self.sampled else code.mean
        return self._unlikeliness(model, z, reference) + self._weight(model) * kl_to_prior(code)

    def _unlikeliness(self, model: Any, z: Tensor, target: Tensor) -> Tensor:
        value: Tensor = (
            model.nll(z, target)
            if self.likelihood == "model"
            else 0.5 * squared_distance(model.decode(z), target)
        )
        return value

    def _weight(self, model: nn.Module) -> float:
        if self.beta is not None:
            return self.beta
        return float(getattr(getattr(model, "config", None), "beta", 1.0))
