"""The supervised VAE: an autoencoder whose codes also tell the label, and what separates them from the prior.

Reference: S. Tang, X. Huang, M. Chen, C. Sun, J. Yang, "Adversarial Attack Type I: Cheat Classifiers by
Significant Changes", 2019.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn
from torch.nn import functional as F

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.losses import kl_to_prior
from trompe.models import blocks
from trompe.models.autoencoders import Autoencoder
from trompe.models.config import Architecture, AutoencoderConfig

__all__ = ["SVAE", "SVAEConfig"]

_ABSENT = ("input_noise", "contractive", "contractive_deviation", "total_correlation", "scale")


@dataclass(frozen=True)
class SVAEConfig(AutoencoderConfig):
    """The settings of a supervised VAE: those of its autoencoder, and of the two heads on its codes.

    The defaults are the published networks for 28x28 digits; `sized` has those for other images.

    Args:
        classes: number of labels, two or more.
        supervision: weight of the label's likelihood; the paper's 1 is little beside the thousands of nats
            of a large picture.
        head: widths of the classifier of codes.
        critic: widths of the discriminator of codes.

    Raises:
        UserError: a setting that is out of range, or one that a supervised VAE does not have.

    >>> SVAEConfig(classes=10).head, SVAEConfig.sized((3, 64, 64), 2).latent
    ((256, 128), 128)
    """

    latent: int = 32
    architecture: Architecture = "bilinear"
    channels: tuple[int, ...] = (16, 32, 32, 64)
    dense: tuple[int, ...] = (128,)
    activation: blocks.Activation = "elu"
    classes: int = 10
    supervision: float = 1.0
    head: tuple[int, ...] = (256, 128)
    critic: tuple[int, ...] = (256, 128, 64)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("head", "critic"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.classes < 2:
            raise UserError(f"a supervised VAE needs two classes or more, got {self.classes}")
        if any(not isinstance(width, int) or width < 1 for width in (*self.head, *self.critic)):
            raise UserError(
                f"head and critic must be positive widths, got {self.head} and {self.critic}"
            )
        if not 0 < self.supervision < math.inf:
            raise UserError(f"supervision must be positive, got {self.supervision}")
        if not self.stochastic or any(getattr(self, name) for name in _ABSENT):
            raise UserError(
                f"a supervised VAE is stochastic, and its objective has no {', '.join(_ABSENT)}"
            )

    @classmethod
    def sized(cls, shape: Sequence[int], classes: int) -> Self:
        """Networks of a size that fits the images: an MLP for vectors and up to 16 pixels a side, then the
        published network (with twice the latent coordinates for colour), and a third halving beyond 40.

        The published network for 64x64 faces has four times these channels, 5x5 kernels, 1024 latent
        coordinates and batch normalisation: `channels=(32, 64, 64, 128, 128, 256), kernel=5, latent=1024,
        dense=(2048,), head=(512, 256, 128)`.
        """
        size = tuple(shape)
        if len(size) != 3 or max(size[1:]) <= 16:
            small: dict[str, object] = {"architecture": "mlp", "dense": (), "hidden": (256,)}
            return cls(size, classes=classes, latent=16, **small)  # type: ignore[arg-type]
        if max(size[1:]) > 40:
            wide = (8, 16, 16, 32, 32, 64)
            return cls(size, classes=classes, latent=128, channels=wide, dense=(256,))
        return cls(size, classes=classes, latent=32 if size[0] == 1 else 64)


class SVAE(Autoencoder):
    r"""A VAE of images and labels: `encode`, `decode`, `classify(z)` and `discriminate(z)`.

    .. math::
        \log p(x, y) \ge -KL(q(z|x) \,\|\, p(z)) + E_q \log p(y|z) + E_q \log p(x|z)

    (equation 6): the label is taken to be a function of the code. `classify` gives the logits of `p(y|z)`,
    the attacker's own opinion of a code; `discriminate` tells codes of images from draws of the prior
    (equation 7), so that a search among codes stays where images are.

    `trompe.training.SupervisedStep` trains the first stage of algorithm 1, `DiscriminatorStep` the second.

    Where we depart from the authors' program: grey values are taken as they are instead of cut at a half
    (`Recipe.binarize` brings that back), the encoder's dense layer has the activation of all others, and
    there is no batch normalisation, so that no output depends on its batch.

    >>> import torch
    >>> model = SVAE(SVAEConfig.sized((1, 8, 8), 10))
    >>> z = model.encode(torch.rand(3, 1, 8, 8)).mean
    >>> model.classify(z).shape, model.discriminate(z).shape, model.decode(z).shape
    (torch.Size([3, 10]), torch.Size([3]), torch.Size([3, 1, 8, 8]))
    """

    config: SVAEConfig

    def __init__(self, config: SVAEConfig, *, seed: int = 0) -> None:
        super().__init__(config, seed=seed)
        with blocks.seeded(seed + 1):
            self.head = _head((config.latent, *config.head, config.classes), config.activation)
            self.critic = _head((config.latent, *config.critic, 1), config.activation)

    def classify(self, z: Tensor) -> Tensor:
        """The logits of `p(y|z)`, `(B, classes)`."""
        return self.head(z)  # type: ignore[no-any-return]

    def discriminate(self, z: Tensor) -> Tensor:
        """The logit `(B,)` of "this is the code of an image", against "a draw of the prior"."""
        return self.critic(z)[:, 0]  # type: ignore[no-any-return]

    def losses(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """The terms of minus the bound for each example, in nats, `(B,)` each: one draw of the posterior.

        `loss = reconstruction + beta * kl + supervision * label`; without labels the last term is absent,
        and the bound is that of `log p(x)`.
        """
        posterior = self.encode(x)
        code = random.sample(posterior)
        terms = {"reconstruction": self.nll(code, x), "kl": kl_to_prior(posterior)}
        loss = terms["reconstruction"] + self.config.beta * terms["kl"]
        if y is not None:
            terms["label"] = F.cross_entropy(self.classify(code), y, reduction="none")
            loss = loss + self.config.supervision * terms["label"]
        return {"loss": loss, **terms}


def _head(sizes: Sequence[int], activation: blocks.Activation) -> nn.Sequential:
    return nn.Sequential(*blocks.mlp(sizes[:-1], activation), nn.Linear(sizes[-2], sizes[-1]))
