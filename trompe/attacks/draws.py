"""What every search for a shared perturbation does with its batches: draw, compare, differentiate."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.errors import UserError, is_severed

__all__ = ["CHECKS", "endless", "gradient", "keys", "least", "require_eval"]

CHECKS = 20
"""Batches on which what was found in several ways is compared."""
T = TypeVar("T")
Draw = TypeVar("Draw")
Tail = Callable[[Tensor], Tensor]


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


def least(loss: Callable[[T, Draw], Tensor], candidates: Sequence[T], draws: Iterable[Draw]) -> T:
    """Of several candidates the one of the least total loss over the next `CHECKS` draws."""
    with torch.no_grad():
        totals = [
            [float(loss(candidate, draw)) for candidate in candidates]
            for draw in islice(draws, CHECKS)
        ]
    return candidates[int(torch.tensor(totals, dtype=torch.float64).sum(0).argmin())]


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
