"""The step of a GAN: a generator and a discriminator that learn from each other."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.steps import PartsStep, Schedule

__all__ = ["GANStep", "late_decay", "shifted"]


def late_decay(progress: float) -> float:
    """The rate stays for the first half, then falls to zero in a straight line.

    >>> late_decay(0.2), late_decay(0.75), late_decay(1.0)
    (1.0, 0.5, 0.0)
    """
    return min(1.0, 2 - 2 * progress)


class GANStep(PartsStep):
    r"""Train a discriminator and a generator in turn, on the hinge loss.

    .. math::
        L_D &= E \max(0, 1 - D(x)) + E \max(0, 1 + D(G(z, y))) + L_C \\
        L_G &= - E D(G(z, y)) + L_C \\
        L_C &= - E \log p(y | x) - E \log p(y | G(z, y))

    `L_C` is the cross-entropy of the auxiliary classifier on real and made images, of which the generator
    descends its part (Odena et al. 2017, equations 2 and 3); a GAN without classes has none. Made images take
    the classes of the batch, so that both come equally often.

    Where we depart from the papers: the hinge loss (Lim & Ye 2017; Miyato et al. 2018) takes the place of
    the logarithmic one.

    Args:
        model: a `trompe.models.GAN` or `ACGAN`, or any module with a `generator`, a
            `critic(x) -> (score, logits)`, the call `G(z[, y])` and a `config`.
        lr: peak learning rate of both.
        schedule: from progress in [0, 1] to a factor; the loop sets the rates by it.
        weight_decay: decoupled (AdamW).
        clip: largest norm of each network's gradient, or None.

    Raises:
        UserError: the model has no discriminator; classes that it does not know.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 1e-3,
        *,
        schedule: Schedule = late_decay,
        weight_decay: float = 0.0,
        clip: float | None = None,
    ) -> None:
        self.model = model
        self.schedule = schedule
        self.clip = clip
        self._optimizers = {
            name: torch.optim.AdamW(
                _part(model, name).parameters(),
                lr=lr,
                betas=(0.0, 0.99),
                weight_decay=weight_decay,
                fused=True,
            )
            for name in ("generator", "critic")
        }

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One update of both on images `(B, C, H, W)` and their classes, which a plain GAN ignores."""
        model, config = self.model, self.model.config
        x = _mirrored(batch[0]) if config.flips else batch[0]
        y = batch[1] if model.classes else None
        _check_classes(y, model.classes)
        z = random.normal((len(x), config.latent), x)
        made = model(z) if y is None else model(z, y)

        both = shifted(torch.cat([x, made.detach()]), config.shift)
        score, logits = model.critic(both)
        real, fake = score.chunk(2)
        hinge = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        named = F.cross_entropy(logits, y.repeat(2)) * 2 if y is not None else hinge.new_zeros(())
        self._update("critic", hinge + named)

        model.critic.requires_grad_(False)
        score, logits = model.critic(shifted(made, config.shift))
        model.critic.requires_grad_(True)
        named = F.cross_entropy(logits, y) if y is not None else hinge.new_zeros(())
        self._update("generator", named - score.mean())
        told = {"critic": hinge, "fooling": -score.mean()}
        if y is not None:
            told |= {"class": named}
        return {name: value.detach() for name, value in told.items()}

    def _update(self, part: str, loss: Tensor) -> None:
        optimizer = self._optimizers[part]
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self.clip is not None:
            nn.utils.clip_grad_norm_(_part(self.model, part).parameters(), self.clip)
        optimizer.step()


def shifted(x: Tensor, most: int) -> Tensor:
    """Each image moved by up to `most` pixels either way, zeros coming in; from the ambient streams.

    >>> shifted(torch.ones(2, 1, 4, 4), 0).shape
    torch.Size([2, 1, 4, 4])
    """
    if not most:
        return x
    height, width = x.shape[2:]
    moves = (random.uniform((len(x), 2), torch.empty(0, device=x.device)) * (2 * most + 1)).long()
    rows = moves[:, :1] + torch.arange(height, device=x.device)
    columns = moves[:, 1:] + torch.arange(width, device=x.device)
    framed = F.pad(x, (most, most, most, most)).permute(0, 2, 3, 1)
    which = torch.arange(len(x), device=x.device)[:, None, None]
    return framed[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _mirrored(x: Tensor) -> Tensor:
    flips = random.uniform((len(x), 1, 1, 1), torch.empty(0, device=x.device)) < 0.5
    return torch.where(flips, x.flip(-1), x)


def _part(model: nn.Module, name: str) -> nn.Module:
    part = getattr(model, name, None)
    if not isinstance(part, nn.Module):
        raise UserError(f"{type(model).__name__} has no {name}; build a GANConfig or ACGANConfig")
    return part


def _check_classes(y: Tensor | None, classes: int) -> None:
    if y is not None and not bool(((y >= 0) & (y < classes)).all()):
        raise UserError(
            f"an AC-GAN of {classes} classes needs labels in 0 to {classes - 1} with its images, "
            f"got {int(y.min())} to {int(y.max())}"
        )
