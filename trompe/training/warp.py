"""Small random deformations of images, for classifiers that must read what was not scanned so neatly."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from trompe.core import random

__all__ = ["recoloured", "warped"]

_GRID = 4  # displacements are drawn on a grid of so many points a side


def warped(x: Tensor, *, strength: float = 1.0, mirror: bool = False) -> Tensor:
    """Images turned, scaled, slanted, moved and bent a little, each in its own way.

    At strength 1: up to 12 degrees, 12% in size, 0.15 of slant, 8% of a side in position, and a smooth field
    of displacements of 2% (Simard, Steinkraus & Platt, "Best practices for convolutional neural networks",
    2003). Draws come from the ambient streams.

    Args:
        x: images `(B, C, H, W)`; what is moved in from outside is their nearest border.
        strength: scales every range; 0 returns the images as they are.
        mirror: also swap left and right, of every second image on average.

    >>> bool((warped(torch.ones(2, 1, 8, 8)) - 1).abs().max() < 1e-6)
    True
    """
    if strength == 0 and not mirror:
        return x
    draw = 2 * random.uniform((len(x), 6 + 2 * _GRID**2), x.new_empty(0, dtype=torch.float32)) - 1
    turn, scale, slant, right, down, side = draw[:, :6].unbind(1)
    angle = strength * turn * math.radians(12)
    size = 1 + strength * 0.12 * scale
    flip = torch.where(side < 0, -1.0, 1.0) if mirror else torch.ones_like(side)
    cos, sin = size * angle.cos(), size * angle.sin()
    lean, shift = strength * 0.15 * slant, strength * 0.16
    rows = [flip * cos, lean - sin, shift * right, flip * sin, cos, shift * down]
    theta = torch.stack(rows, 1).view(-1, 2, 3)
    places = F.affine_grid(theta, list(x.shape), align_corners=False)
    coarse = strength * 0.04 * draw[:, 6:].reshape(-1, 2, _GRID, _GRID)
    field = F.interpolate(coarse, x.shape[2:], mode="bicubic", align_corners=True)
    places = (places + field.permute(0, 2, 3, 1)).to(x.dtype)
    return F.grid_sample(x, places, padding_mode="border", align_corners=False)


def recoloured(x: Tensor) -> Tensor:
    """Images of other contrast (up to 30%), lightness (0.15) and tint (0.1), a grey square over each.

    The square has up to half a side, and hides what a network would otherwise rely on alone (DeVries &
    Taylor, "Improved regularization of convolutional neural networks with cutout", 2017). Draws come from the
    ambient streams. Values may leave [0, 1].

    Args:
        x: images `(B, C, H, W)`.

    >>> recoloured(torch.ones(2, 3, 8, 8)).shape
    torch.Size([2, 3, 8, 8])
    """
    channels, (height, width) = x.shape[1], x.shape[2:]
    draw = random.uniform((len(x), 5 + channels), x.new_empty(0, dtype=torch.float32)).to(x.dtype)
    contrast, light, down, right, size, tint = (
        part[:, :, None, None] for part in draw.split([1, 1, 1, 1, 1, channels], 1)
    )
    other = (x - 0.5) * (0.7 + 0.6 * contrast) + 0.5 + 0.3 * (light - 0.5) + 0.2 * (tint - 0.5)
    rows = (torch.arange(height, device=x.device).to(x)[:, None] + 0.5) / height
    columns = (torch.arange(width, device=x.device).to(x) + 0.5) / width
    hidden = ((rows - down).abs() < size / 4) & ((columns - right).abs() < size / 4)
    return torch.where(hidden, 0.5, other)
