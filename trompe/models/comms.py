"""Autoencoders as radios: transmitter and receiver are networks, trained end to end over a channel.

References: T. O'Shea, J. Hoydis, "An Introduction to Deep Learning for the Physical Layer", 2017; M. Sadeghi,
E. G. Larsson, "Physical Adversarial Attacks Against End-to-End Autoencoder Communication Systems", 2019.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.models import blocks
from trompe.models.channel import MOST_BITS, Fading, Link

__all__ = ["CommsAutoencoder", "CommsConfig"]


@dataclass(frozen=True)
class CommsConfig:
    """The settings of an (n, k) autoencoder; plain values, so that they print, compare, hash and save.

    Args:
        n: complex channel uses of a block.
        k: bits of a message, 1 to 12: both ends have layers as wide as there are messages.
        architecture: `"mlp"` or `"cnn"`, as Sadeghi & Larsson 2019.
        snr: Eb/N0 in dB of the channel that it is trained on.
        fading: of that channel.
        activation: of the transmitter's first layer.

    Raises:
        UserError: a number that is out of range.

    >>> CommsConfig(7, 4)
    CommsConfig(n=7, k=4, architecture='mlp', snr=8.5, fading='none', activation='elu')
    """

    n: int = 7
    k: int = 4
    architecture: Literal["mlp", "cnn"] = "mlp"
    snr: float = 8.5
    fading: Fading = "none"
    activation: blocks.Activation = "elu"

    def __post_init__(self) -> None:
        for name, value in (("n", self.n), ("k", self.k)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(
                    f"{name} must be a whole number of at least 1, got {value!r}"
                    + ("; there would be one message, and nothing to tell" if name == "k" else "")
                )
        if self.k > MOST_BITS:
            raise UserError(
                f"k must be at most {MOST_BITS}, got {self.k}: layers are as wide as there are messages, and "
                f"there would be {2**self.k}"
            )
        if self.architecture not in ("mlp", "cnn"):
            raise UserError(f"architecture must be mlp or cnn, got {self.architecture!r}")


class CommsAutoencoder(Link):
    r"""An (n, k) autoencoder: `model(s) -> logits (B, M)` of messages `(B,)` sent over its channel.

    The MLP's transmitter is an embedding, ELU and a linear layer to 2n numbers, its receiver a hidden layer
    of M ReLU units and a linear one. The CNN has a convolution of 16 filters of length 6 in the transmitter
    and two of 16 and 8 filters of 2 x 3 in the receiver (Sadeghi & Larsson 2019; sizes by their program).

    Where that program differs: it scales by the power of each batch, this by the codebook's.

    Args:
        config: the settings.
        seed: of the initial weights; the global generators are left alone.

    >>> model = CommsAutoencoder(CommsConfig(7, 4)).eval()
    >>> x = model.transmit(torch.arange(16))
    >>> x.shape, round(x.square().sum(1).mean().item(), 4)
    (torch.Size([16, 14]), 7.0)
    >>> model.receive(x).shape
    torch.Size([16, 16])
    """

    def __init__(self, config: CommsConfig, *, seed: int = 0) -> None:
        super().__init__(config.n, config.k, 2 * config.n, config.snr, config.fading)
        self.config = config
        with blocks.seeded(seed):
            self.transmitter = _transmitter(config)
            self.receiver = _receiver(config)

    def codebook(self) -> Tensor:
        """What is sent for every message, `(M, 2n)`."""
        device = next(self.parameters()).device
        raw: Tensor = self.transmitter(torch.arange(self.messages, device=device))
        return raw / (2 * raw.square().mean()).sqrt()


def _transmitter(config: CommsConfig) -> nn.Module:
    width = 2**config.k
    first = [nn.Embedding(width, width), blocks.activation_of(config.activation)]
    if config.architecture == "mlp":
        return nn.Sequential(*first, nn.Linear(width, 2 * config.n))
    return nn.Sequential(
        *first,
        nn.Unflatten(1, (1, width)),
        nn.ConstantPad1d((2, 3), 0.0),
        nn.Conv1d(1, 16, 6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * width, 2 * config.n),
    )


def _receiver(config: CommsConfig) -> nn.Module:
    width, size = 2**config.k, 2 * config.n
    if config.architecture == "mlp":
        return nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width))
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, config.n)),  # in phase and in quadrature as rows of an image
        nn.ZeroPad2d((1, 1, 0, 1)),
        nn.Conv2d(1, 16, (2, 3)),
        nn.ReLU(),
        nn.ZeroPad2d((1, 1, 0, 1)),
        nn.Conv2d(16, 8, (2, 3)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * size, 2 * width),
        nn.ReLU(),
        nn.Linear(2 * width, width),
    )
