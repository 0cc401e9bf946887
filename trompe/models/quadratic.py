"""A network of one hidden layer with squares as activation: all that it sees is a quadratic form."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.models import blocks

__all__ = ["QuadraticConfig", "QuadraticNet"]


@dataclass(frozen=True)
class QuadraticConfig:
    """The settings of a quadratic network.

    Args:
        size: n, coordinates of the input.
        hidden: h, hidden units; with fewer than n the network is blind to n - h directions.
        gain: of the first weights, drawn from N(0, gain / n). Optimisers that move all weights alike spoil
            their balance while they make them larger; a large gain leaves less of that to be done.

    Raises:
        UserError: a size that is no whole number above zero, or a gain that is not above it.
    """

    size: int = 100
    hidden: int = 90
    gain: float = 1.0

    def __post_init__(self) -> None:
        for number in (self.size, self.hidden):
            if not isinstance(number, int) or number < 1:
                raise UserError(
                    f"size and hidden must be positive integers, got {self.size} and {self.hidden}"
                )
        if not self.gain > 0:
            raise UserError(f"gain must be above 0, got {self.gain}")


class QuadraticNet(nn.Module):
    r"""Two logits, :math:`(-f/2, f/2)`, of a quadratic form of the input.

    .. math:: f(x) = w \mathbf{1} \cdot (W x)^2 + b

    with :math:`W \in \mathbb{R}^{h \times n}` and scalars w, b (Tang et al. 2019, equation (3); Gilmer et al.
    2018, section 4). Fresh, it is of rank `min(h, n)` and large where the input is.

    Args:
        config: the settings.
        seed: of the initial weights; the global generators are left alone.

    >>> net = QuadraticNet(QuadraticConfig(4, 3))
    >>> net(torch.zeros(2, 4)).shape
    torch.Size([2, 2])
    """

    def __init__(self, config: QuadraticConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(config.hidden, config.size, generator=generator)
        self.weight = nn.Parameter(rows * math.sqrt(config.gain / config.size))
        self.scale = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.tensor(-config.gain * config.hidden / config.size))

    def f(self, x: Tensor) -> Tensor:
        """The quadratic form `(B,)` of inputs `(B, n)`; positive is the second class."""
        blocks.check_shape(x, (self.config.size,))
        seen = nn.functional.linear(x, self.weight)
        return self.scale * seen.square().sum(1) + self.bias

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, 2)`."""
        half = self.f(x)[:, None] / 2
        return torch.cat([-half, half], 1)

    @torch.no_grad()
    def eigen(self) -> tuple[Tensor, Tensor]:
        r"""Curvatures `(n,)` and a rotation `(n, n)`, in which the form is a weighted sum of squares.

        .. math:: f(x) = \sum_i \lambda_i z_i^2 + b, \qquad z = R^T x

        Tang et al. 2019, equation (4), which divides by -b: their :math:`\alpha_i` is
        :math:`-\lambda_i / b`. The largest come first; what the network does not see has exactly zero.

        >>> net = QuadraticNet(QuadraticConfig(4, 3)).double()
        >>> x = torch.ones(1, 4, dtype=torch.float64)
        >>> curvature, rotation = net.eigen()
        >>> z = x @ rotation
        >>> bool(torch.isclose((curvature * z.square()).sum() + net.bias, net.f(x)[0]))
        True
        >>> curvature[3].item()
        0.0
        """
        _, singular, rows = torch.linalg.svd(self.weight)
        tiny = singular[0] * self.config.size * torch.finfo(singular.dtype).eps
        squares = torch.where(singular > tiny, singular.square(), 0)
        unseen = squares.new_zeros(self.config.size - len(squares))
        return self.scale * torch.cat([squares, unseen]), rows.T
