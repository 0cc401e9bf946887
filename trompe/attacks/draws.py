"""What every search for a shared perturbation does with its batches: draw, compare, differentiate."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.errors import UserError, is_severed

__all__ = ["Draw", "best", "drawn", "endless", "gradient", "keys", "require_eval"]

T = TypeVar("T")
Tail = Callable[[Tensor], Tensor]
_CHECKS = 20  # batches of the first comparison


@dataclass(frozen=True)
class Draw:
    """Values at a site `(B, *site)` and their labels; all that is done to them may meet the same noise."""

    v: Tensor
    y: Tensor
    seeds: Tensor
    number: int

    def noise(self) -> AbstractContextManager[object]:
        """Let modules draw what belongs to these values."""
        return random.streams(self.seeds, self.number)


def drawn(batch: Sequence[Tensor], head: Tail | None, seeds: Tensor, number: int) -> Draw:
    """What the head makes of a batch with the noise of that number."""
    with torch.no_grad(), random.streams(seeds, 2 * number):
        v = batch[0] if head is None else head(batch[0])
    return Draw(v, batch[1], seeds, 2 * number + 1)


def keys(seed: int, batch: Sequence[Tensor]) -> Tensor:
    """The streams `(B,)` of a batch's examples: by their index, where it has one."""
    index = batch[2] if len(batch) > 2 else torch.arange(len(batch[0]))
    return random.seeds(seed, index)


def require_eval(tail: Tail, head: Tail | None) -> None:
    """Raise a `UserError` where a module is in train mode."""
    for part in (tail, head):
        if isinstance(part, nn.Module) and part.training:
            raise UserError("the model is in train mode; call model.eval() first")


def endless(batches: Iterable[Sequence[Tensor]]) -> Iterator[Sequence[Tensor]]:
    """The batches, begun again when they end; a `UserError` where they cannot be."""
    seen, before = 0, -1
    while seen > before:
        before = seen
        for batch in batches:
            seen += 1
            yield batch
    if seen:
        raise UserError(
            f"the batches ended after {seen} and cannot be begun again; give a list, or fewer steps"
        )


def best(loss: Callable[[T, Draw], Tensor], candidates: Sequence[T], draws: Iterator[Draw]) -> T:
    """Of several candidates the one of the least loss, by halving (Jamieson & Talwalkar 2016).

    All are compared on the same further draws; the better half of them goes on to twice as many.
    """
    checks = _CHECKS
    while len(candidates) > 1:
        with torch.no_grad():
            totals = [
                [float(loss(candidate, draw)) for candidate in candidates]
                for draw in islice(draws, checks)
            ]
        order = torch.tensor(totals, dtype=torch.float64).sum(0).argsort(stable=True).tolist()
        candidates = [candidates[place] for place in order[: len(candidates) // 2]]
        checks *= 2
    return candidates[0]


def gradient(loss: Tensor, delta: Tensor) -> Tensor:
    """The derivative of a loss, or a `UserError` where no path leads to it."""
    try:
        return torch.autograd.grad(loss, delta)[0]
    except RuntimeError as error:
        if is_severed(error):
            raise UserError(
                "no gradient path leads from the tail's output to the site: it detaches its input "
                "or is not differentiable"
            ) from None
        raise
