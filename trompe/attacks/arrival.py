"""How what an attacker sends meets a block that it is not synchronised with, and what jamming is.

Reference: M. Sadeghi, E. G. Larsson, "Physical Adversarial Attacks Against End-to-End Autoencoder
Communication Systems", 2019: the random sign, the cyclic shift, and jamming of the same power as a baseline.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.errors import UserError

__all__ = ["Arrival", "Forms", "Jamming"]

Shift = Literal["none", "time", "entries"]


class Forms(Protocol):
    """The forms in which a perturbation may meet a value, each as likely as the others."""

    def variants(self, delta: Tensor, /) -> Tensor:
        """All forms `(V, *site)` of a perturbation `(*site)`."""
        ...


@dataclass(frozen=True)
class Arrival:
    """The forms in which a perturbation may arrive, each as likely as the others.

    Args:
        sign: with either sign.
        shift: delayed by 0 to n - 1 channel uses, cyclically. `"time"` delays a use as a whole, what is in
            phase and what is in quadrature alike. `"entries"` rolls the 2n numbers as one row, as in the
            authors' program, so that some cross from one to the other.
        uses: n, of a site of n or 2n numbers; a shift needs it.

    Raises:
        UserError: an unknown shift, or one without uses.

    >>> Arrival(shift="time", uses=2).variants(torch.tensor([1.0, 2, 30, 40])).tolist()
    [[1.0, 2.0, 30.0, 40.0], [2.0, 1.0, 40.0, 30.0]]
    """

    sign: bool = False
    shift: Shift = "none"
    uses: int | None = None

    def __post_init__(self) -> None:
        if self.shift not in get_args(Shift):
            raise UserError(
                f"shift must be one of {', '.join(get_args(Shift))}, got {self.shift!r}"
            )
        if self.shift != "none" and (self.uses is None or self.uses < 1):
            raise UserError(
                f"a shift goes over the channel uses of a block; say how many, got {self.uses}"
            )

    def variants(self, delta: Tensor) -> Tensor:
        """All forms `(V, *site)` of a perturbation `(*site)`; the first is the perturbation itself."""
        forms = delta[None]
        if self.uses is not None and self.shift != "none":
            forms = torch.stack([self._delayed(delta, delay) for delay in range(self.uses)])
        return torch.cat([forms, -forms]) if self.sign else forms

    def _delayed(self, delta: Tensor, delay: int) -> Tensor:
        if delta.ndim != 1 or len(delta) not in (self.uses, 2 * (self.uses or 0)):
            raise UserError(
                f"a shift over {self.uses} channel uses takes as many numbers or twice as many, got "
                f"{tuple(delta.shape)}"
            )
        if self.shift == "entries":
            return delta.roll(delay)
        return delta.view(-1, self.uses or 1).roll(delay, 1).flatten()


class Jamming(nn.Module):
    r"""Noise of a fixed power, drawn anew for every block: `jamming(v) -> v'`, `(B, *site)` to the same.

    .. math:: v' = v + r \, g / \|g\|_2, \qquad g \sim N(0, I)

    Args:
        radius: r, the length of what is added, as that of a perturbation of the same power.

    Raises:
        UserError: a radius that is not above zero and finite.

    >>> [round(size, 4) for size in Jamming(2.0)(torch.zeros(3, 14)).norm(dim=1).tolist()]
    [2.0, 2.0, 2.0]
    """

    def __init__(self, radius: float) -> None:
        super().__init__()
        if not 0 < radius < math.inf:
            raise UserError(f"jamming needs a radius above zero, got {radius}")
        self.radius = radius

    def forward(self, v: Tensor) -> Tensor:
        """What is jammed, each with a draw of its own."""
        g = random.normal(tuple(v.shape), v)
        size = g.flatten(1).norm(dim=1).clamp_min(torch.finfo(g.dtype).tiny)
        jam: Tensor = g * (self.radius / size).view(-1, *[1] * (v.ndim - 1))
        return v + jam

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"radius={self.radius:.4g}"
