"""What an input is: images in a box, or plain vectors.

Attacks and `evaluate` know inputs only through a domain, so a new kind of input is a new domain here
and nothing elsewhere.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trompe.core.errors import UserError
from trompe.core.geometry import Ball, norm

__all__ = ["Box", "Images", "Near", "Vectors"]

_SLACK = 1e-6


@dataclass(frozen=True)
class Box:
    """The points between `low` and `high`: numbers, or tensors that broadcast against the batch."""

    low: Tensor | float
    high: Tensor | float

    def project(self, v: Tensor) -> Tensor:
        """The nearest point of the box."""
        return torch.clamp(v, self.low, self.high)  # type: ignore[arg-type]

    def project_(self, v: Tensor) -> Tensor:
        """The same, in the memory of `v`."""
        return torch.clamp(v, self.low, self.high, out=v)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Near:
    """The points within `ball` around `center` and, where `low` and `high` are given, inside the box."""

    center: Tensor
    ball: Ball
    low: Tensor | None = None
    high: Tensor | None = None

    def project(self, v: Tensor) -> Tensor:
        """The nearest such point."""
        return self.center + self.ball.project(v - self.center, self.low, self.high)


def _require_floats(x: Tensor, what: str) -> None:
    if not isinstance(x, Tensor):
        raise UserError(
            f"expected a tensor of {what}, got {type(x).__name__}; torch.as_tensor makes one"
        )
    if not x.is_floating_point():
        raise UserError(
            f"expected floating-point {what}, got {x.dtype}; divide 8-bit images by 255"
        )
    if x.ndim > 0 and len(x) == 0:
        raise UserError(f"the set of {what} is empty")
    low, high = map(float, x.detach().aminmax())  # NaN, if there is one, is both
    if not math.isfinite(high - low):
        raise UserError(
            f"{what} must be finite, got {int((~torch.isfinite(x)).sum())} NaN or infinite values"
        )


@dataclass(frozen=True)
class Images:
    """Images `(B, C, H, W)` whose values lie in `[low, high]`, delivered as 8-bit files.

    >>> Images().as_delivered(torch.tensor([[[[0.5]]]]))
    tensor([[[[0.5020]]]])
    """

    low: float = 0.0
    high: float = 1.0

    def validate(self, x: Tensor) -> None:
        """Raise a `UserError` unless `x` is a batch of finite images in range."""
        _require_floats(x, "images")
        if x.ndim != 4:
            raise UserError(f"expected images of shape (B, C, H, W), got {tuple(x.shape)}")
        least, most = float(x.min()), float(x.max())
        if least < self.low - _SLACK or most > self.high + _SLACK:
            shown = (
                f"a maximum of {most:.4g}"
                if most > self.high + _SLACK
                else f"a minimum of {least:.4g}"
            )
            hint = (
                "; divide by 255"
                if most > 2 * self.high
                else "; put the normalisation into the model"
            )
            raise UserError(f"expected images in [{self.low:g}, {self.high:g}], got {shown}{hint}")

    def project(self, x: Tensor) -> Tensor:
        """Clip to the range."""
        return x.clamp(self.low, self.high)

    def distances(self, x: Tensor, other: Tensor) -> dict[str, Tensor]:
        """L0 (pixels that differ in any channel), L1, L2, Linf and RMS difference, each `(B,)`."""
        delta = (other - x).detach()
        l2 = norm(delta, "L2")
        return {
            "L0": (delta != 0).any(1).flatten(1).sum(1).to(delta.dtype),
            "L1": norm(delta, "L1"),
            "L2": l2,
            "Linf": norm(delta, "Linf"),
            "rmsd": l2 / math.sqrt(delta[0].numel()),
        }

    def as_delivered(self, x: Tensor) -> Tensor:
        """The images after a round trip through an 8-bit file: 256 levels, rounded to the nearest."""
        levels = ((x - self.low) / (self.high - self.low) * 255).round().clamp(0, 255)
        return levels / 255 * (self.high - self.low) + self.low

    def render(self, x: Tensor) -> np.ndarray:
        """8-bit pictures `(B, H, W, 3)` of the images; grey ones are repeated over three channels."""
        levels = (
            ((x.detach().float().cpu() - self.low) / (self.high - self.low) * 255)
            .round()
            .clamp(0, 255)
        )
        channels = levels if levels.shape[1] == 3 else levels[:, :1].expand(-1, 3, -1, -1)
        return channels.permute(0, 2, 3, 1).to(torch.uint8).numpy()

    def region(self, x: Tensor, ball: Ball | None = None) -> Box | Near:
        """The images an attack may return for each `x`: in range and, where given, within the ball."""
        if ball is None:
            return Box(self.low, self.high)
        if ball.norm == "Linf":
            return Box((x - ball.eps).clamp_min(self.low), (x + ball.eps).clamp_max(self.high))
        return Near(x, ball, self.low - x, self.high - x)


@dataclass(frozen=True)
class Vectors:
    """Plain points `(B, D)`: codes, features, messages. No bounds; delivered as 32-bit floats."""

    def validate(self, x: Tensor) -> None:
        """Raise a `UserError` unless `x` is a batch of finite vectors."""
        _require_floats(x, "vectors")
        if x.ndim != 2:
            raise UserError(f"expected vectors of shape (B, D), got {tuple(x.shape)}")

    def project(self, x: Tensor) -> Tensor:
        """Every vector is legal."""
        return x

    def distances(self, x: Tensor, other: Tensor) -> dict[str, Tensor]:
        """L1, L2 and Linf, each `(B,)`."""
        delta = (other - x).detach()
        return {"L1": norm(delta, "L1"), "L2": norm(delta, "L2"), "Linf": norm(delta, "Linf")}

    def as_delivered(self, x: Tensor) -> Tensor:
        """The vectors after a round trip through 32-bit floats."""
        return x.to(torch.float32).to(x.dtype)

    def render(self, x: Tensor) -> np.ndarray:
        """Bar charts `(B, 32, 3 * D, 3)`, one bar a coordinate, scaled to each vector's largest size."""
        values = x.detach().float().cpu()
        heights = values / values.abs().amax(1, keepdim=True).clamp_min(1e-12) * 15
        level = torch.arange(16, -16, -1, dtype=torch.float32)[None, :, None] - 0.5
        lit = torch.where(
            heights[:, None] > 0,
            (level > 0) & (level <= heights[:, None]),
            (level < 0) & (level >= heights[:, None]),
        )
        bars = lit.repeat_interleave(3, dim=2)
        bars[:, :, 2::3] = False
        return np.repeat(np.where(bars.numpy(), 40, 255).astype(np.uint8)[..., None], 3, axis=3)

    def region(self, x: Tensor, ball: Ball | None = None) -> Box | Near:
        """The vectors an attack may return for each `x`: within the ball where one is given."""
        return Box(-math.inf, math.inf) if ball is None else Near(x, ball)
