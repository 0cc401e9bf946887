"""Trunks that cut an image into patches and contain no other convolution: a mixer and a transformer.

Both treat each example on its own: they normalise the channels of a patch, never a batch.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.core.errors import UserError

__all__ = ["Attention", "Mixing", "Patches", "patch_trunk"]

_SPREAD = 2  # hidden units of a block's networks, per unit of width


class Patches(nn.Module):
    """Patches of `side` x `side` pixels as vectors, each with a learned vector of its place.

    Images whose sides `side` does not divide are padded with zeros on the right and below.

    >>> Patches((1, 7, 9), width=5, side=4)(torch.zeros(2, 1, 7, 9)).shape
    torch.Size([2, 6, 5])
    """

    def __init__(self, shape: tuple[int, ...], width: int, side: int) -> None:
        super().__init__()
        channels, height, wide = shape
        self.padding = (0, -wide % side, 0, -height % side)
        self.count = -(-height // side) * -(-wide // side)
        self.project = nn.Conv2d(channels, width, side, side)
        self.place = nn.Parameter(torch.zeros(self.count, width))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, T, width)`."""
        return self.project(F.pad(x, self.padding)).flatten(2).transpose(1, 2) + self.place  # type: ignore[no-any-return]


class Mixing(nn.Module):
    """`x + A(N(x)^T)^T`, then `x + C(N(x))`: one network over patches, one over channels.

    Tolstikhin et al., "MLP-Mixer: An all-MLP architecture for vision", 2021, equation 1.
    """

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.places, self.channels = _network(patches), _network(width)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, width)` to the same."""
        x = x + self.places(self.before(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.between(x))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """`x + A(N(x))`, then `x + C(N(x))`, where A lets every patch look at all (heads of 16 channels).

    Dosovitskiy et al., "An image is worth 16x16 words", 2021, equations 2 and 3.

    Raises:
        UserError: a width that 16 does not divide.
    """

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        if width % 16:
            raise UserError(f"a transformer's width must be a multiple of 16, got {width}")
        self.heads = width // 16
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.look, self.told = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.channels = _network(width)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, width)` to the same."""
        parts = self.look(self.before(x)).unflatten(-1, (3, self.heads, 16)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*parts.unbind(0))
        x = x + self.told(seen.transpose(1, 2).flatten(2))
        return x + self.channels(self.between(x))  # type: ignore[no-any-return]


class Pooled(nn.Module):
    """The mean over patches, `(B, T, width)` to `(B, width)`."""

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, width)` to `(B, width)`."""
        return x.mean(1)


def _network(width: int) -> nn.Sequential:
    wide = _SPREAD * width
    return nn.Sequential(nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, width))


def patch_trunk(
    kind: type[nn.Module], shape: tuple[int, ...], widths: tuple[int, ...], side: int
) -> nn.Sequential:
    """Patches, one block for each of the (equal) widths, and the mean of what they end at.

    Raises:
        UserError: widths that differ.
    """
    if len(set(widths)) != 1:
        raise UserError(f"all blocks over patches have one width, got {widths}")
    patches = Patches(shape, widths[0], side)
    blocks = [kind(patches.count, width) for width in widths]
    return nn.Sequential(patches, *blocks, nn.LayerNorm(widths[0]), Pooled())
