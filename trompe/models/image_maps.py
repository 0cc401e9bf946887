"""Shallow autoencoders whose code is an image too: the reformers and detectors of MagNet."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.protocols import PointMass
from trompe.models import blocks

__all__ = ["ImageMap", "ImageMapConfig"]

_HALVE = "average"


@dataclass(frozen=True)
class ImageMapConfig:
    """The settings of an `ImageMap`.

    Args:
        shape: of one image, `(C, H, W)`.
        layers: of the encoder, outermost first: the channels of a 3x3 convolution, or "average" for a mean
            over 2x2 pixels. The decoder mirrors them.
        input_noise: standard deviation of the noise on training inputs, in input units; what is noisy is
            clipped to [0, 1], and the target is clean.

    Raises:
        UserError: a layer of another kind, no convolution, a side that cannot be halved as often as asked, or
            noise below zero.

    >>> ImageMapConfig((1, 28, 28), [3, "average", 3]).layers
    (3, 'average', 3)
    """

    shape: tuple[int, ...] = (1, 28, 28)
    layers: tuple[int | Literal["average"], ...] = (3, "average", 3)
    input_noise: float = 0.1

    def __post_init__(self) -> None:
        for name in ("shape", "layers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        widths = [layer for layer in self.layers if layer != _HALVE]
        if not widths or any(not isinstance(w, int) or w < 1 for w in widths):
            raise UserError(
                f'layers are channels of convolutions, or "average"; there is at least one convolution, '
                f"got {self.layers}"
            )
        times = 2 ** (len(self.layers) - len(widths))
        if len(self.shape) != 3 or any(side % times for side in self.shape[1:]):
            raise UserError(
                f"shape must be (C, H, W) with sides that {times} divides, got {self.shape}"
            )
        if not self.input_noise >= 0:
            raise UserError(f"input_noise must be zero or more, got {self.input_noise}")


class ImageMap(nn.Module):
    r"""A denoising autoencoder of few convolutions without a bottleneck: `model(x) -> x_hat`.

    .. math:: \min \mathbb{E} \|D(E(x + \sigma \epsilon)) - x\|_2^2, \qquad \epsilon \sim N(0, I)

    Every convolution is followed by a sigmoid, the last one too. With `layers=(3, "average", 3)` and `(3,)`
    these are the two autoencoders that MagNet has for MNIST (Meng & Chen 2017, table 1). Noise comes from
    the ambient streams of `trompe.core.random`.

    Args:
        config: the settings.
        seed: of the initial weights; the global generators are left alone.

    >>> import torch
    >>> model = ImageMap(ImageMapConfig((1, 8, 8)))
    >>> x = torch.rand(2, 1, 8, 8)
    >>> model.encode(x).mean.shape, model(x).shape
    (torch.Size([2, 3, 4, 4]), torch.Size([2, 1, 8, 8]))
    """

    def __init__(self, config: ImageMapConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        channels = config.shape[0]
        with blocks.seeded(seed):
            inward: list[nn.Module] = []
            outward: list[nn.Module] = []
            width = channels
            for layer in config.layers:
                inward += [nn.AvgPool2d(2)] if layer == _HALVE else _convolution(width, layer)
                width = width if layer == _HALVE else int(layer)
            for layer in reversed(config.layers):
                outward += (
                    [nn.Upsample(scale_factor=2)] if layer == _HALVE else _convolution(width, layer)
                )
                width = width if layer == _HALVE else int(layer)
            self.encoder = nn.Sequential(*inward)
            self.decoder = nn.Sequential(*outward, *_convolution(width, channels))

    def encode(self, x: Tensor) -> PointMass:
        """The code, an image `(B, channels, H', W')` itself."""
        blocks.check_shape(x, self.config.shape)
        return PointMass(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """The image of a code, `(B, *shape)` in [0, 1]."""
        return self.decoder(z)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction `(B, *shape)`; no noise is added."""
        return self.decode(self.encode(x).mean)

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """The training objective `(B,)` of clean images: the squared error of what is made of noisy ones."""
        seen = x
        if self.config.input_noise:
            noise = random.normal(tuple(x.shape), x)
            seen = (x + self.config.input_noise * noise).clamp(0, 1)
        return {"loss": (self(seen) - x).square().flatten(1).sum(1)}


def _convolution(inner: int, outer: int | str) -> list[nn.Module]:
    return [nn.Conv2d(inner, int(outer), 3, padding=1), nn.Sigmoid()]
