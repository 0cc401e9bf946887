"""Toys whose oracle is known: two concentric spheres, and a feature that is missed.

Both are rules, not collections. A `Stream` of one never shows a point twice, so that a network is trained on
as many as are wanted while none are kept; `load("spheres")` and `load("features")` are fixed draws.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from trompe.core import random
from trompe.core.errors import UserError
from trompe.data.dataset import Dataset

__all__ = ["TOYS", "Features", "Rule", "Spheres", "Stream", "Toy", "toy"]

COUNT = 10_000
"""Points of a fixed set, of each split."""
HELD_OUT = {"train": -1, "test": -2}
"""What a fixed set is drawn under; the batches of a stream are numbered from zero."""


class Rule(Protocol):
    """Draws examples with their classes."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Spheres:
    """Points spread evenly over two spheres around the origin; the class is the sphere, 0 the inner one.

    `x = r g / ||g||` with `g ~ N(0, I)` (Gilmer et al. 2018, section 3; Tang et al. 2019, section II-B).

    Args:
        dimension: of the space.
        radii: of the inner and the outer sphere; the paper's are 0.8 and 1.0.

    Raises:
        UserError: fewer than two dimensions, or radii that do not rise from above zero.

    >>> x, y = Spheres(3).draw(4, torch.Generator().manual_seed(0))
    >>> bool(torch.allclose(x.norm(dim=1), torch.tensor([0.8, 1.0])[y]))
    True
    """

    dimension: int = 100
    radii: tuple[float, float] = (0.8, 1.0)

    def __post_init__(self) -> None:
        if self.dimension < 2:
            raise UserError(f"a sphere needs two dimensions or more, got {self.dimension}")
        inner, outer = self.radii
        if not 0 < inner < outer < float("inf"):
            raise UserError(f"the radii must rise from above zero, got {inner} and {outer}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one point."""
        return (self.dimension,)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points `(count, dimension)` and their spheres `(count,)`."""
        y = torch.randint(2, (count,), generator=generator)
        g = torch.randn(count, self.dimension, generator=generator)
        size = torch.tensor(self.radii)[y] / g.norm(dim=1)
        return g * size[:, None], y


@dataclass(frozen=True)
class Features:
    r"""Three coordinates: the first and either of the others tell the classes; the oracle reads the second.

    It is :math:`f_2(x) = x_1 + x_2 / \text{small}`. The third says the same as the second and as loudly as
    the first, :math:`x_3 = x_2 / \text{small}` up to noise that never blurs the classes, so that a network
    trained by gradient descent learns :math:`x_1 + x_3`. Then x_3 is the unnecessary feature and x_2 the
    missing one (Tang et al. 2019, section II-A and figure 2; they give no formula, this one is ours).

    Args:
        small: how much smaller the second coordinate is than the others.
        gap: the least `|f_2|` of a sample; the noise stays within half of it.

    Raises:
        UserError: a number that is not above zero.

    >>> x, y = Features(small=0.1).draw(100, torch.Generator().manual_seed(0))
    >>> [bool(((x[:, 0] + other > 0) == (y == 1)).all()) for other in (10 * x[:, 1], x[:, 2])]
    [True, True]
    """

    small: float = 0.1
    gap: float = 0.5

    def __post_init__(self) -> None:
        if not (self.small > 0 and self.gap > 0):
            raise UserError(f"small and gap must be above 0, got {self.small} and {self.gap}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one point."""
        return (3,)

    def oracle(self, x: Tensor) -> Tensor:
        """f_2 `(B,)` of points `(B, 3)`; above zero is the second class."""
        return x[:, 0] + x[:, 1] / self.small

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points `(count, 3)` and the oracle's classes `(count,)`."""
        y = torch.randint(2, (count,), generator=generator)
        first, away = torch.randn(2, count, generator=generator)
        blur = self.gap * (torch.rand(count, generator=generator) - 0.5)
        rest = (2 * y - 1) * (self.gap + away.abs()) - first
        return torch.stack([first, self.small * rest, rest + blur], 1), y


class Stream:
    """Fresh independent batches `(x, y)`, each a pure function of (seed, number): a `Source` for `train`.

    Args:
        rule: what draws them.
        size: examples in a batch, over all processes together.
        seed: names the stream; any two share nothing.
        epoch: batches that count as one pass, for `epochs` and checkpoints; the stream has no end.

    Raises:
        UserError: a size or an epoch below 1.

    >>> stream = Stream(Spheres(), size=8)
    >>> x, y = stream.at(10**6)
    >>> x.shape, bool((x == stream.at(10**6)[0]).all())
    (torch.Size([8, 100]), True)
    """

    def __init__(self, rule: Rule, size: int = 64, seed: int = 0, epoch: int = 1000) -> None:
        if size < 1 or epoch < 1:
            raise UserError(f"size and epoch must be at least 1, got {size} and {epoch}")
        self.rule, self.size, self.seed, self.epoch = rule, size, seed, epoch

    def __len__(self) -> int:
        return self.epoch

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return (self.at(number) for number in range(self.epoch))

    def to(self, device: torch.device) -> Self:
        """Batches are moved one at a time, by the loop."""
        return self

    def at(self, number: int, rank: int = 0, world: int = 1) -> tuple[Tensor, ...]:
        """Batch `number`, or the share of process `rank` of `world`."""
        drawn = self.rule.draw(self.size, _generator(self.seed, number))
        return tuple(part[rank::world] for part in drawn)


def _generator(seed: int, number: int) -> torch.Generator:
    """A generator of its own for each (seed, number)."""
    (key,) = random.seeds(seed, torch.tensor([number])).tolist()
    return torch.Generator().manual_seed(key)


class Toy(NamedTuple):
    """A rule, and the names of its classes."""

    rule: Rule
    classes: tuple[str, str]


TOYS = {
    "spheres": Toy(Spheres(), ("inner", "outer")),
    "features": Toy(Features(), ("negative", "positive")),
}
"""The toys that `load` knows."""


def toy(name: str, split: str = "test", count: int = COUNT, seed: int = 0) -> Dataset:
    """A fixed draw of one of the `TOYS`; no stream of any seed holds it.

    >>> toy("spheres", count=5)
    Dataset('spheres', test: 5 vectors 100, 2 classes)
    """
    x, y = TOYS[name].rule.draw(count, _generator(seed, HELD_OUT[split]))
    return Dataset(name, x, y, TOYS[name].classes, split)
