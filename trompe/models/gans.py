"""Generative adversarial networks: a GAN, and one whose discriminator also names the class."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from trompe.core.errors import UserError
from trompe.models import blocks
from trompe.models.autoencoders import gaussian
from trompe.models.objectives import full

__all__ = ["ACGAN", "GAN", "ACGANConfig", "Discriminator", "GANConfig"]


@dataclass(frozen=True)
class GANConfig:
    """The settings of a GAN; plain values, so that they print, compare, hash and save.

    Args:
        shape: of one image, `(C, H, W)`.
        latent: number of latent coordinates.
        channels: of the generator's 3x3 convolutions, outermost first; each doubles height and width.
        critic: of the discriminator's 4x4 convolutions of stride 2, outermost first.
        flips: mirror training images left to right at random.
        shift: shift what the discriminator sees, real and made alike, at random by up to so many pixels,
            so that it cannot learn few images by heart (Zhao et al. 2020, "Differentiable augmentation").

    Raises:
        UserError: a setting that is out of range.

    >>> GANConfig((1, 28, 28), channels=[64, 128]).channels
    (64, 128)
    """

    shape: tuple[int, ...] = (3, 64, 64)
    latent: int = 128
    channels: tuple[int, ...] = (32, 64, 128, 256)
    critic: tuple[int, ...] = (32, 64, 128, 256)
    flips: bool = False
    shift: int = 0

    def __post_init__(self) -> None:
        for name in ("shape", "channels", "critic"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        sizes = (*self.shape, self.latent, *self.channels, *self.critic)
        if any(not isinstance(size, int) or size < 1 for size in sizes):
            raise UserError(
                f"shape, latent, channels and critic must be positive integers, got {sizes}"
            )
        if len(self.shape) != 3 or not self.channels or not self.critic:
            raise UserError(
                f"a GAN needs images (C, H, W), and channels in both networks, got {self.shape}, "
                f"{self.channels} and {self.critic}"
            )
        if min(self.shape[1:]) < 2 ** len(self.critic):
            raise UserError(
                f"each of the {len(self.critic)} convolutions of critic halves the image: "
                f"{self.shape[1:]} is too small"
            )
        if not isinstance(self.shift, int) or not 0 <= self.shift < min(self.shape[1:]):
            raise UserError(
                f"shift must be a number of pixels less than the image's side, got {self.shift!r}"
            )


@dataclass(frozen=True)
class ACGANConfig(GANConfig):
    """The settings of an AC-GAN: those of a GAN, and the number of classes.

    Raises:
        UserError: fewer than two classes.

    >>> ACGANConfig().classes
    10
    """

    shape: tuple[int, ...] = (1, 28, 28)
    channels: tuple[int, ...] = (64, 128)
    critic: tuple[int, ...] = (32, 64, 128)
    classes: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.classes, int) or self.classes < 2:
            raise UserError(f"classes must be two or more, got {self.classes!r}")


class Discriminator(nn.Module):
    """`critic(x) -> (score (B,), class logits (B, K))`; a high score means real; K may be 0.

    The spectral norm of every layer is held at one (Miyato et al. 2018, "Spectral normalization for
    generative adversarial networks"), which depends on the weights alone: examples stay apart.
    """

    def __init__(self, shape: blocks.Shape, channels: blocks.Shape, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide, narrow in zip((shape[0], *channels), channels, strict=False):
            layers += [spectral_norm(nn.Conv2d(wide, narrow, 4, 2, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            width = self.layers(torch.zeros(1, *shape)).shape[1]
        self.score = spectral_norm(nn.Linear(width, 1))
        self.label = nn.Linear(width, classes) if classes else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Score and class logits in one pass, in float32 at least."""
        seen = self.layers(x)
        logits = seen.new_zeros(len(x), 0) if self.label is None else self.label(seen)
        return full(self.score(seen)[:, 0]), full(logits)


class GAN(nn.Module):
    """A generator of images and its discriminator: `G(z) -> x` in [0, 1], `prior` over codes.

    The generator is convolutional (Radford et al. 2016). Where we depart from it: images grow by nearest
    neighbours and 3x3 convolutions, and features are normalised per example (Wu & He 2018) instead of by
    batch statistics, so that no image depends on its batch. `trompe.training.GANStep` trains both networks.

    Args:
        config: the settings.
        seed: of the initial weights; the global generators are left alone.

    References:
        Goodfellow et al., "Generative adversarial nets", 2014.

    >>> model = GAN(GANConfig((3, 8, 8), latent=4, channels=(4, 8), critic=(4, 8)))
    >>> z = torch.randn(2, 4)
    >>> model(z).shape, model.realness(model(z)).shape
    (torch.Size([2, 3, 8, 8]), torch.Size([2]))
    """

    classes = 0

    def __init__(self, config: GANConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        with blocks.seeded(seed):
            self.generator = _generator(config, config.latent + self.classes)
            self.critic = Discriminator(config.shape, config.critic, self.classes)

    @property
    def prior(self) -> Distribution:
        """`p(z) = N(0, I)` over one code, on the device and in the dtype of the weights."""
        weight = next(self.generator.parameters())
        zero = weight.new_zeros(1, self.config.latent)
        return gaussian(zero, torch.ones_like(zero))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The images `(B, *shape)` of codes `(B, latent)`.

        Raises:
            UserError: codes of another size; classes, which a plain GAN does not have.
        """
        if y is not None:
            raise UserError("this GAN was trained without classes: call it with codes alone")
        return self._made(z)

    def realness(self, x: Tensor) -> Tensor:
        """The discriminator's score `(B,)`: the higher, the more like a training image."""
        blocks.check_shape(x, self.config.shape)
        return self.critic(x)[0]  # type: ignore[no-any-return]

    def _made(self, z: Tensor, *conditions: Tensor) -> Tensor:
        if z.ndim != 2 or z.shape[1] != self.config.latent:
            raise UserError(
                f"expected codes of shape (B, {self.config.latent}), got {tuple(z.shape)}"
            )
        return full(self.generator(torch.cat([z, *conditions], 1))).sigmoid()


class ACGAN(GAN):
    """A GAN with classes: `G(z, y) -> x`, and `classify(x)`, its discriminator's opinion of the class.

    The class enters the generator as an indicator beside the code; the discriminator has a second head,
    the auxiliary classifier.

    References:
        Odena, Olah & Shlens, "Conditional image synthesis with auxiliary classifier GANs", 2017.

    >>> model = ACGAN(ACGANConfig((1, 8, 8), latent=4, channels=(4,), critic=(4, 8), classes=3))
    >>> x = model(torch.randn(2, 4), torch.tensor([0, 2]))
    >>> x.shape, model.classify(x).shape
    (torch.Size([2, 1, 8, 8]), torch.Size([2, 3]))
    """

    config: ACGANConfig

    def __init__(self, config: ACGANConfig, *, seed: int = 0) -> None:
        self.classes = config.classes
        super().__init__(config, seed=seed)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The images `(B, *shape)` of codes `(B, latent)` and classes `(B,)`.

        Raises:
            UserError: codes of another size; no classes, or unknown ones.
        """
        if y is None:
            raise UserError(f"an AC-GAN draws a class: give y, (B,) in 0 to {self.classes - 1}")
        if not bool(((y >= 0) & (y < self.classes)).all()):
            found = f"{int(y.min())} to {int(y.max())}"
            raise UserError(f"classes lie in 0 to {self.classes - 1}, got {found}")
        return self._made(z, F.one_hot(y, self.classes).to(z.dtype))

    def classify(self, x: Tensor) -> Tensor:
        """The auxiliary classifier's logits `(B, classes)`."""
        blocks.check_shape(x, self.config.shape)
        return self.critic(x)[1]  # type: ignore[no-any-return]


def _generator(config: GANConfig, inputs: int) -> nn.Sequential:
    """From codes to what a sigmoid makes an image of."""
    sizes = blocks.halvings(config.shape, len(config.channels))
    wide = config.channels[-1]
    low = (wide, *sizes[-1])
    layers: list[nn.Module] = [nn.Linear(inputs, wide * low[1] * low[2]), blocks.Unflatten(low)]
    outputs = (config.shape[0], *config.channels[:-1])
    for level in reversed(range(len(config.channels))):
        wide = config.channels[level]
        layers += [nn.GroupNorm(math.gcd(8, wide), wide), nn.ReLU(), nn.Upsample(sizes[level])]
        layers.append(nn.Conv2d(wide, outputs[level], 3, 1, 1))
    return nn.Sequential(*layers)
