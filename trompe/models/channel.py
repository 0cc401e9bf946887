"""What lies between the antennas: noise, fading and decibels, and what every radio link is.

A block is sent in n complex channel uses. Its numbers stand side by side: first the n in phase, then,
where the link uses them, the n in quadrature. The mean energy of a block is n, one for each use.

References: T. O'Shea, J. Hoydis, "An Introduction to Deep Learning for the Physical Layer", 2017; M. Sadeghi,
E. G. Larsson, "Physical Adversarial Attacks Against End-to-End Autoencoder Communication Systems", 2019.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from numbers import Real
from typing import Literal, get_args

from torch import Tensor, nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.models import blocks

__all__ = ["Channel", "Fading", "Link", "noise_deviation", "radius_of"]

Fading = Literal["none", "rayleigh"]
FARTHEST = 300.0  # dB from zero: the ratio and its root stay within single precision
MOST_BITS = 12  # of a message: scores of every block for every message are held at once


def _finite(level: float, name: str) -> float:
    """A level in dB as a ratio."""
    if isinstance(level, bool) or not isinstance(level, Real) or not abs(level) <= FARTHEST:
        raise UserError(
            f"{name} must be a finite number of dB, {FARTHEST:g} at most either way, got {level!r}"
        )
    return float(10 ** (float(level) / 10))


def noise_deviation(snr: float, rate: float) -> float:
    r"""The deviation of the noise in each real dimension, for channel uses of unit energy.

    .. math:: \sigma = \frac{1}{\sqrt{2 R \, E_b / N_0}}

    Args:
        snr: Eb/N0 in dB; negative, too.
        rate: R = k / n, bits per channel use.

    Raises:
        UserError: a level that is no finite number, or a rate that is not above zero.

    >>> round(noise_deviation(0.0, 0.5), 6)
    1.0
    """
    if not rate > 0:
        raise UserError(f"the rate must be above zero, got {rate}")
    return float((2 * rate * _finite(snr, "Eb/N0")) ** -0.5)


def radius_of(psr: float, n: int) -> float:
    r"""The length of a perturbation of a given power, :math:`\sqrt{n \cdot 10^{\mathrm{PSR}/10}}`.

    PSR is the energy of the perturbation over the mean energy n of a block: the radius of an L2 ball.

    Args:
        psr: in dB; above zero, too.
        n: channel uses of a block.

    Raises:
        UserError: a ratio that is no finite number (no power at all is no attack), or no channel uses.

    >>> round(radius_of(-6.0, 7) ** 2 / 7, 4)
    0.2512
    """
    if not n >= 1:
        raise UserError(f"n must be at least 1, got {n}")
    return math.sqrt(n * _finite(psr, "the PSR"))


class Channel(nn.Module):
    r"""What becomes of a block on its way: `channel(x) -> y`, both `(B, dimensions)`.

    .. math:: y_t = x_t + w_t / h_t, \qquad w_t \sim N(0, \sigma^2) \text{ in each real dimension}

    with :math:`h = 1` (white Gaussian noise), or :math:`h_t \sim CN(0, 1)` drawn for every use and known to
    the receiver, which divides by it (Rayleigh). Draws come from the ambient streams of `trompe.core.random`.

    Args:
        deviation: sigma.
        uses: n; a block has n numbers, or 2n, of which the second n are in quadrature.
        fading: `"none"` or `"rayleigh"`.

    Raises:
        UserError: a negative deviation or an unknown fading.

    >>> from torch import ones
    >>> Channel(0.0, 2)(ones(1, 4)).tolist()
    [[1.0, 1.0, 1.0, 1.0]]
    """

    def __init__(self, deviation: float, uses: int, fading: Fading = "none") -> None:
        super().__init__()
        if not 0 <= deviation < math.inf:
            raise UserError(f"the deviation must be zero or more, got {deviation}")
        if fading not in get_args(Fading):
            raise UserError(f"fading must be one of {', '.join(get_args(Fading))}, got {fading!r}")
        self.deviation, self.uses, self.fading = deviation, uses, fading

    def forward(self, x: Tensor) -> Tensor:
        """What the receiver is given."""
        noise = random.normal(tuple(x.shape), x)
        if self.fading == "rayleigh":
            drawn = random.normal((len(x), 2 * self.uses), x)
            noise = self.faded(noise, drawn)
        return x + self.deviation * noise

    def faded(self, noise: Tensor, drawn: Tensor) -> Tensor:
        """Noise `(B, dimensions)` after it was divided by the gains that `(B, 2n)` normal numbers make.

        The gain's phase only turns the noise, which is as likely in any direction.
        """
        gain = (drawn.view(len(drawn), 2, self.uses).square().sum(1) / 2).sqrt()
        return noise / gain.repeat(1, noise.shape[1] // self.uses)

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"deviation={self.deviation:.4g}, uses={self.uses}, fading={self.fading!r}"


class Link(nn.Module, ABC):
    r"""A transmitter and a receiver with a channel between them: `link(s) -> scores (B, M)`.

    Messages are whole numbers `(B,)` below M = 2^k. What a message is sent as does not depend on what is sent
    beside it: the codebook of all messages has the mean energy n per block,
    :math:`\frac1M \sum_s \|x(s)\|^2 = n`.

    Who extends it sets `receiver`, a module from blocks `(B, dimensions)` to scores `(B, M)`.

    Args:
        uses: n, channel uses of a block.
        bits: k, bits of a message.
        dimensions: real numbers of a block: n, or 2n.
        snr: Eb/N0 in dB of the channel that `forward` uses.
        fading: of the channel.
    """

    receiver: nn.Module

    def __init__(
        self, uses: int, bits: int, dimensions: int, snr: float, fading: Fading = "none"
    ) -> None:
        super().__init__()
        self.uses, self.bits, self.dimensions, self.fading = uses, bits, dimensions, fading
        self.channel = self.channel_at(snr)

    @property
    def rate(self) -> float:
        """R, in bits per channel use; it may be above one."""
        return self.bits / self.uses

    @property
    def messages(self) -> int:
        """M, how many there are."""
        return int(2**self.bits)

    @abstractmethod
    def codebook(self) -> Tensor:
        """What is sent for every message, `(M, dimensions)`, of mean energy n."""

    def channel_at(self, snr: float) -> Channel:
        """The channel at an Eb/N0, in dB."""
        return Channel(noise_deviation(snr, self.rate), self.uses, self.fading)

    def transmit(self, s: Tensor) -> Tensor:
        """The blocks `(B, dimensions)` of messages `(B,)`."""
        return self.codebook()[s]

    def receive(self, y: Tensor) -> Tensor:
        """Scores `(B, M)` of what arrived, `(B, dimensions)`."""
        blocks.check_shape(y, (self.dimensions,))
        return self.receiver(y)  # type: ignore[no-any-return]

    def heard(self, snr: float) -> Callable[[Tensor], Tensor]:
        """What arrives of messages at an Eb/N0 in dB: `s (B,) -> y (B, dimensions)`, with fresh noise.

        It is the head of a universal search whose tail is the receiver.
        """
        channel = self.channel_at(snr)
        return lambda s: channel(self.transmit(s))

    def forward(self, s: Tensor) -> Tensor:
        """Scores of messages sent over the channel, with fresh noise."""
        return self.receive(self.channel(self.transmit(s)))
