"""Small random deformations of images, for classifiers that must read what was not scanned so neatly."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from trompe.core import random

__all__ = ["warped"]

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
