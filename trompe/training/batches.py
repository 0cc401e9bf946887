"""Batches from tensors that stay in memory, addressed by the number of the step.

A set of 60,000 images of 28 x 28 is 47 MB as bytes: it lives in one tensor, and a batch is one
gather. Because batch `number` is a pure function of (seed, number), a training resumes at any step
without replaying what came before, and several processes agree on who takes which rows.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor

from trompe.core.errors import UserError

__all__ = ["Batches", "Replay", "Source", "source"]


class Source(Protocol):
    """Batches by number: `at(number)` is the same batch whenever and wherever it is asked for."""

    def __len__(self) -> int: ...
    def at(self, number: int, rank: int = 0, world: int = 1) -> tuple[Tensor, ...]: ...
    def to(self, device: torch.device) -> Self: ...


class Batches:
    """Shuffled batches `(x, y, index)` of a set that stays in memory.

    Every epoch is a permutation drawn from (seed, epoch), cut into `n // size` full batches; the
    few examples left over differ from epoch to epoch. Bytes are turned into floats in [0, 1] after
    the gather.

    Args:
        x: `(N, *)` examples; uint8 in 0..255, or floats passed on as they are.
        y: `(N,)` labels, or None, in which case every label is -1.
        size: examples in a batch, over all processes together.
        seed: names the order.

    Raises:
        UserError: for an empty set, a size below 1, or labels that do not match the examples.

    >>> x = torch.arange(10, dtype=torch.float32)
    >>> batches = Batches(x, size=4)
    >>> len(batches), batches.at(0)[0].shape
    (2, torch.Size([4]))
    >>> bool((batches.at(7)[0] == batches.at(7)[0]).all())
    True
    """

    def __init__(self, x: Tensor, y: Tensor | None = None, size: int = 128, seed: int = 0) -> None:
        if len(x) == 0:
            raise UserError("cannot train on an empty set; give at least one example")
        if size < 1:
            raise UserError(f"expected a batch size of at least 1, got {size}")
        if y is not None and len(y) != len(x):
            raise UserError(f"got {len(x)} examples but {len(y)} labels; each example needs one")
        self.x = x
        self.y = torch.full((len(x),), -1) if y is None else y
        self.size = min(size, len(x))
        self.seed = seed
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.x) // self.size

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return (self.at(number) for number in range(len(self)))

    def to(self, device: torch.device) -> Self:
        """The same batches, of the whole set moved to a device."""
        moved = copy.copy(self)
        moved.x, moved.y = self.x.to(device), self.y.to(device)
        return moved

    def order(self, epoch: int) -> Tensor:
        """The permutation of an epoch, `(N,)`; a pure function of (seed, epoch)."""
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
            self._order = torch.randperm(len(self.x), generator=generator)
            self._epoch = epoch
        return self._order

    def at(self, number: int, rank: int = 0, world: int = 1) -> tuple[Tensor, ...]:
        """Batch `number`, counted over all epochs, or the share of process `rank` of `world`."""
        epoch, place = divmod(number, len(self))
        index = self.order(epoch)[place * self.size : (place + 1) * self.size][rank::world]
        index = index.to(self.x.device)
        x = self.x[index]
        return (x.float().div_(255) if x.dtype == torch.uint8 else x), self.y[index], index


class Replay:
    """Numbered batches out of any iterable of tuples, which is begun again when it ends.

    A resumed training passes over the batches it has seen, so the iterable must give the same
    batches each time.
    """

    def __init__(self, batches: Iterable[Sequence[Tensor]]) -> None:
        self.batches = batches
        self._next = 0
        self._iterator: Iterator[Sequence[Tensor]] | None = None

    def __len__(self) -> int:
        try:
            return len(self.batches)  # type: ignore[arg-type]
        except TypeError:
            raise UserError("these batches have no length; say how many `steps` to train") from None

    def to(self, device: torch.device) -> Self:
        """Batches are moved one at a time, by the loop."""
        return self

    def _draw(self) -> Sequence[Tensor]:
        if self._iterator is None:
            self._iterator = iter(self.batches)
        batch = next(self._iterator, None)
        if batch is None:
            self._iterator = iter(self.batches)
            batch = next(self._iterator, None)
        if batch is None:
            raise UserError("cannot train on an empty set of batches; give at least one")
        self._next += 1
        return batch

    def at(self, number: int, rank: int = 0, world: int = 1) -> tuple[Tensor, ...]:
        """Batch `number`; earlier ones are passed over, so ask in increasing order."""
        if number < self._next:
            self._iterator, self._next = None, 0
        while self._next < number:
            self._draw()
        return tuple(item[rank::world] for item in self._draw())


def source(batches: Source | Iterable[Sequence[Tensor]]) -> Source:
    """The batches as numbered batches."""
    return batches if hasattr(batches, "at") else Replay(batches)  # type: ignore[return-value]
