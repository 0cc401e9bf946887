"""The step of a VAE-GAN: three networks, three losses, three optimisers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.losses import kl_to_prior, squared_distance
from trompe.core.steps import PartsStep, Schedule, one_cycle

__all__ = ["VAEGANStep"]


class VAEGANStep(PartsStep):
    r"""Train encoder, decoder and discriminator together (Larsen et al. 2016, algorithm 1).

    .. math::
        \theta_{enc} &: \quad L_{prior} + L_{llike} \\
        \theta_{dec} &: \quad \gamma L_{llike} - \log c(D(z)) - \log c(D(z_p)) \\
        \theta_{dis} &: \quad -\log c(x) - \log (1 - c(D(z))) - \log (1 - c(D(z_p)))

    `L_prior` is the KL from the posterior to the prior, `L_llike` half the squared distance of features,
    `z` a posterior draw, `z_p` one of the prior, `c` the discriminator's probability of "real". Each network
    descends its own loss only, on one forward pass of all.

    Where we depart from the paper: the decoder descends the non-saturating loss of Goodfellow et al. 2014,
    and Adam takes the place of RMSProp.

    Args:
        model: a `trompe.models.VAEGAN`, or anything with its calls and a `critic`.
        lr: peak learning rate of all three.
        schedule: from progress in [0, 1] to a factor; the loop sets the rates by it.
        weight_decay: decoupled (AdamW).
        clip: largest norm of each network's gradient, or None.

    Raises:
        UserError: the model has no discriminator.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 1e-3,
        *,
        schedule: Schedule = one_cycle,
        weight_decay: float = 0.0,
        clip: float | None = None,
    ) -> None:
        if not isinstance(getattr(model, "critic", None), nn.Module):
            raise UserError(f"{type(model).__name__} has no discriminator; build a VAEGANConfig")
        self.model = model
        self.schedule = schedule
        self.clip = clip
        named = dict(model.named_parameters())
        parts: dict[str, list[Tensor]] = {"encoder": [], "decoder": [], "critic": []}
        for name, parameter in named.items():
            part = name.partition(".")[0]
            parts[part if part in parts else "encoder"].append(parameter)
        self._parts = parts
        self._optimizers = {
            name: torch.optim.AdamW(
                some, lr=lr, betas=(0.5, 0.999), weight_decay=weight_decay, fused=True
            )
            for name, some in parts.items()
        }

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One update of all three on images `(B, C, H, W)`; labels and an index are not looked at."""
        x, model = batch[0], self.model
        posterior = model.encode(x)
        z = random.sample(posterior)
        rebuilt = model.decode(z)
        made = model.decode(random.normal(tuple(z.shape), z))
        features, scores = model.critic(torch.cat([x, rebuilt.to(x.dtype), made.to(x.dtype)]))
        seen, again = features[: len(x)].detach(), features[len(x) : 2 * len(x)]
        real, fake = scores[: len(x)], scores[len(x) :]
        similarity = 0.5 * squared_distance(seen, again).mean()
        prior = kl_to_prior(posterior).mean()
        fooling = 2 * F.softplus(-fake).mean()
        critic = F.softplus(-real).mean() + 2 * F.softplus(fake).mean()
        self._update(
            encoder=model.config.beta * prior + similarity,
            decoder=model.config.gamma * similarity + fooling,
            critic=critic,
        )
        told = {"prior": prior, "similarity": similarity, "fooling": fooling, "critic": critic}
        error = F.mse_loss(rebuilt.detach().float(), x)
        return {name: value.detach() for name, value in told.items()} | {"mse": error}

    def _update(self, **losses: Tensor) -> None:
        """All gradients first, then all steps."""
        last = len(losses) - 1
        for number, (name, loss) in enumerate(losses.items()):
            some = self._parts[name]
            grads = torch.autograd.grad(loss, some, retain_graph=number < last)
            _give(some, grads, self.clip)
        for optimizer in self._optimizers.values():
            optimizer.step()


def _give(parameters: Sequence[Tensor], grads: Sequence[Tensor], clip: float | None) -> None:
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad
    if clip is not None:
        nn.utils.clip_grad_norm_(parameters, clip)
