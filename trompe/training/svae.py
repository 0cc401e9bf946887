"""The two stages in which a supervised VAE is trained (Tang et al. 2019, algorithm 1)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.core import random
from trompe.core.errors import UserError
from trompe.training.steps import ModelStep

__all__ = ["DiscriminatorStep", "SupervisedStep"]


class SupervisedStep(ModelStep):
    """The first stage: encoder, decoder and classifier of codes descend minus the bound of `log p(x, y)`.

    Args:
        model: a `trompe.models.SVAE`, or anything with its `losses(x, y)` and a `critic`, which rests.

    Raises:
        UserError: the model has no discriminator of codes.
    """

    def __init__(self, model: nn.Module, lr: float = 1e-3, **options: Any) -> None:
        critic = {id(p) for p in _critic(model).parameters()}
        trained = [p for p in model.parameters() if id(p) not in critic]
        super().__init__(model, lr, parameters=trained, **options)

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One update on inputs `(B, *)` and labels `(B,)`; an index after them is not looked at."""
        x, y = batch[:2]
        model: Any = self.model
        terms = {name: term.mean() for name, term in model.losses(x, y).items()}
        self.update(terms["loss"])
        return {name: term.detach() for name, term in terms.items()}


class DiscriminatorStep(ModelStep):
    r"""The second stage: the discriminator of codes, on a frozen encoder.

    .. math:: -E_{z \sim q(z|x)} \log d(z) - E_{z \sim N(0, I)} \log (1 - d(z))

    Where we depart from the paper: equation (7) has no logarithms; its authors' program has them.

    Args:
        model: a `trompe.models.SVAE`, or anything with `encode`, `discriminate` and a `critic`.

    Raises:
        UserError: the model has no discriminator of codes.
    """

    def __init__(self, model: nn.Module, lr: float = 1e-3, **options: Any) -> None:
        super().__init__(model, lr, parameters=_critic(model).parameters(), **options)

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One update on inputs `(B, *)`; labels and an index after them are not looked at."""
        model: Any = self.model
        with torch.no_grad():
            codes = random.sample(model.encode(batch[0]))
        drawn = random.normal(tuple(codes.shape), codes)
        real, fake = model.discriminate(torch.cat([codes, drawn])).float().chunk(2)
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        self.update(loss)
        right = torch.cat([real.detach() > 0, fake.detach() <= 0]).float().mean()
        return {"loss": loss.detach(), "accuracy": right}


def _critic(model: nn.Module) -> nn.Module:
    critic = getattr(model, "critic", None)
    if not isinstance(critic, nn.Module):
        raise UserError(f"{type(model).__name__} has no discriminator of codes; build a SVAEConfig")
    return critic
