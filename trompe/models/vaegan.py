"""The VAE-GAN: an autoencoder whose reconstructions are compared by what a discriminator sees in them."""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.core.losses import squared_distance
from trompe.models import blocks
from trompe.models.autoencoders import Autoencoder
from trompe.models.config import Architecture, AutoencoderConfig
from trompe.models.objectives import full

__all__ = ["VAEGAN", "Critic", "VAEGANConfig"]

_ABSENT = ("input_noise", "contractive", "contractive_deviation", "total_correlation")


@dataclass(frozen=True)
class VAEGANConfig(AutoencoderConfig):
    """The settings of a VAE-GAN: those of its autoencoder, and of its discriminator.

    Args:
        critic: channels of the discriminator's 3x3 convolutions of stride 2, outermost first.
        feature: the discriminator's layer, counted from 1, whose activations are compared; None is its
            last convolution.
        gamma: weight of the learned similarity, beside the adversarial loss, in the decoder's objective.

    `likelihood` and `variance` play no part: the likelihood is that of the features.

    Raises:
        UserError: a setting that is out of range, or one that a VAE-GAN does not have.

    >>> VAEGANConfig(latent=8, critic=[16, 32]).critic
    (16, 32)
    """

    architecture: Architecture = "conv"
    critic: tuple[int, ...] = (32, 64)
    feature: int | None = None
    gamma: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "critic", tuple(self.critic))
        if len(self.shape) != 3 or not self.critic or min(self.critic) < 1:
            raise UserError(
                f"a VAE-GAN needs images (C, H, W) and a discriminator with channels, got "
                f"{self.shape} and {self.critic}"
            )
        if self.feature is not None and not 1 <= self.feature <= len(self.critic):
            raise UserError(
                f"feature is a layer of the discriminator, 1 to {len(self.critic)}, got {self.feature}"
            )
        if not 0 < self.gamma < math.inf:
            raise UserError(f"gamma must be positive, got {self.gamma}")
        if not self.stochastic or any(getattr(self, name) for name in _ABSENT):
            raise UserError(
                f"a VAE-GAN is stochastic, and its objective has no {', '.join(_ABSENT)}"
            )


class Critic(nn.Module):
    """The discriminator: `critic(x) -> (features (B, F), score (B,))`; a high score means real.

    Each convolution is normalised over the whole example, so that features have a fixed scale and examples
    stay apart.
    """

    def __init__(self, shape: tuple[int, ...], channels: tuple[int, ...], feature: int) -> None:
        super().__init__()
        self.feature = feature
        pairs = zip((shape[0], *channels), channels, strict=False)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(wide, narrow, 3, 2, 1), nn.GroupNorm(1, narrow), nn.LeakyReLU(0.2)
                )
                for wide, narrow in pairs
            )
        )
        height, width = blocks.halvings(shape, len(channels))[-1]
        self.head = nn.Linear(channels[-1] * height * width, 1)

    def features(self, x: Tensor) -> Tensor:
        """The activations that are compared, `(B, F)`, in float32 at least."""
        return full(self.layers[: self.feature](x).flatten(1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features and score in one pass."""
        seen = self.layers[: self.feature](x)
        score = self.head(self.layers[self.feature :](seen).flatten(1))
        return full(seen.flatten(1)), full(score[:, 0])


class VAEGAN(Autoencoder):
    r"""An autoencoder of the grid whose likelihood is learned by a discriminator.

    .. math:: -\log p(x | z) = \frac{1}{2} \| f_l(x) - f_l(D(z)) \|_2^2 + \text{const}

    with the features `f_l` of the discriminator's layer `l` (Larsen et al. 2016, equations 6 to 8). `losses`
    and `nll` are those of a VAE with this likelihood, constant left out: the encoder's objective.
    `trompe.training.VAEGANStep` trains all three networks.

    Where we depart from the paper: features are normalised per example instead of by batch statistics, so
    that no output depends on its batch.

    >>> import torch
    >>> model = VAEGAN(VAEGANConfig((1, 8, 8), latent=4, channels=(4,), critic=(4,)))
    >>> x = torch.rand(3, 1, 8, 8)
    >>> model(x).shape, model.nll(model.encode(x).mean, x).shape
    (torch.Size([3, 1, 8, 8]), torch.Size([3]))
    """

    config: VAEGANConfig

    def __init__(self, config: VAEGANConfig, *, seed: int = 0) -> None:
        super().__init__(config, seed=seed)
        with blocks.seeded(seed + 1):
            depth = config.feature or len(config.critic)
            self.critic = Critic(config.shape, config.critic, depth)

    def nll(self, code: Tensor, target: Tensor) -> Tensor:
        """Half the squared distance between the features of target and output, `(B,)`."""
        seen = self.critic.features(target)
        return 0.5 * squared_distance(seen, self.critic.features(self.decode(code)))
