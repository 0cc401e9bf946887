"""What a model makes of inputs: correct, wrong or rejected, as a share of fresh random draws.

A deterministic model is looked at once. A random one is looked at on many draws that no attack has
seen; whether a model is random, and whether its randomness is under control, is measured here too.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.execution import spend
from trompe.core.random import REPORT

__all__ = [
    "REPORT",
    "SELECT",
    "Nature",
    "Outcomes",
    "decide",
    "nature",
    "outcomes",
]

SELECT = 2**41  # the first of the draws by which the harness chooses between attacks


class Outcomes(NamedTuple):
    """Shares of draws, each `(B,)`: they sum to one. `ever` says whether any draw was wrong."""

    correct: Tensor
    wrong: Tensor
    rejected: Tensor
    ever: Tensor


class Nature(NamedTuple):
    """Whether a model's output varies between draws, and whether our streams control it."""

    random: bool
    controlled: bool


def decide(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits `(B, K)` and acceptance `(B,)`: a model without detectors accepts everything."""
    spend(forwards=len(x))
    with torch.no_grad():
        guarded: Any = model
        if hasattr(model, "decide"):
            logits, accepted = guarded.decide(x)
            return logits, accepted
        return model(x), torch.ones(len(x), dtype=torch.bool, device=x.device)


def nature(model: nn.Module, x: Tensor, seeds: Tensor) -> Nature:
    """Look at the same inputs three times: twice on one draw, once on another."""
    looks = []
    for number in (SELECT, SELECT, SELECT + 1):
        with random.streams(seeds, number):
            looks.append(decide(model, x))
    same = _alike(looks[0], looks[1])
    return Nature(random=not same or not _alike(looks[0], looks[2]), controlled=same)


def _alike(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> bool:
    """Whether two looks agree, but for rounding: some devices add in any order."""
    close = torch.allclose(a[0], b[0], rtol=1e-5, atol=1e-6, equal_nan=True)
    return close and bool(torch.equal(a[1], b[1]))


def _draws(
    model: nn.Module, x: Tensor, seeds: Tensor, first: int, draws: int
) -> Iterator[tuple[Tensor, Tensor]]:
    for draw in range(draws):
        with random.streams(seeds, first + draw):
            yield decide(model, x)


def outcomes(
    model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor, first: int, draws: int
) -> Outcomes:
    """The outcomes of inputs `x` with labels `y` over `draws` draws, from number `first` on.

    An answer that is NaN is wrong.
    """
    correct, wrong, rejected = (torch.zeros(len(x), device=x.device) for _ in range(3))
    for logits, accepted in _draws(model, x, seeds, first, draws):
        right = (logits.argmax(1) == y) & ~logits.isnan().any(1)
        correct += right & accepted
        wrong += ~right & accepted
        rejected += ~accepted
    return Outcomes(correct / draws, wrong / draws, rejected / draws, wrong > 0)
