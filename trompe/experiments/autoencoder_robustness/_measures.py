"""What the items measure: how far code or output went, means with intervals, and noise to compare with."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.core.geometry import Ball

__all__ = ["Mean", "Site", "change", "mean", "noise", "read"]

Site = Literal["code", "output"]


class Mean(NamedTuple):
    """A mean with its normal 95% interval over `n` examples."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean(values: "Tensor") -> Mean:
    """Of one number per example.

    >>> import torch
    >>> str(mean(torch.tensor([1.0, 3.0])))
    '2.000 [0.040, 3.960]'
    """
    n = len(values)
    middle = float(values.double().mean())
    half = 1.96 * float(values.double().std()) / n**0.5 if n > 1 else float("nan")
    return Mean(middle, middle - half, middle + half, n)


def read(model: Any, x: "Tensor", site: Site) -> "Tensor":
    """The mean code, or the reconstruction from it, `(B, F)`."""
    import torch

    with torch.no_grad():
        code = model.encode(x).mean
        found: Tensor = (code if site == "code" else model.decode(code)).flatten(1)
    return found


def change(model: Any, x: "Tensor", moved: "Tensor", site: Site) -> "Tensor":
    """How far code or output went, `(B,)`, in L2."""
    from trompe.core.geometry import norm

    return norm(read(model, moved, site) - read(model, x, site), "L2")


def noise(x: "Tensor", ball: "Ball", seed: int) -> "Tensor":
    """Images moved in a random direction, to the edge of ball or box: signs for Linf, else normal numbers."""
    from trompe.core import random
    from trompe.core.domains import Images

    shape = tuple(x.shape)
    with random.streams(random.seeds(seed, len(x))):
        way = random.signs(shape, x) if ball.norm == "Linf" else random.normal(shape, x)
    return Images().region(x, ball).project(x + 1e3 * ball.eps * way)
