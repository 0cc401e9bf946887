"""What an audit will cost: timed passes, and how many images fit a budget."""

import time
from dataclasses import dataclass

import torch
from torch import nn

from trompe import models, zoo
from trompe.core.execution import device_of
from trompe.data import Dataset

__all__ = ["CHANGED", "PAIRS", "Estimate", "Price", "fitted", "timed", "training"]

PAIRS = 96
"""The most pairs of images on which an autoencoder is attacked."""
CHANGED = 100
"""The most images that a classifier's Type I attack changes."""
_DEFAULT_N = 500
_FIXED = 10.0  # seconds, whatever the model
_LEARNING = 2.0  # a step of training, in gradients of an input


@dataclass(frozen=True)
class Estimate:
    """What an audit will cost, before it starts.

    Args:
        n: images.
        effort: share of the usual steps.
        seconds: of everything.
        training: of these, what is trained on the way takes.
        learning: share of the usual passes in that training; 0 leaves out what needs it.
        surrogate: whether an attacker's own defended classifier is trained, for the ladder.
    """

    n: int
    effort: float
    seconds: float
    training: float = 0.0
    learning: float = 1.0
    surrogate: bool = True

    def __str__(self) -> str:
        reduced = f", at {self.effort:.0%} of the usual steps" if self.effort < 1 else ""
        first = f", of which training takes {_duration(self.training)}" if self.training > 1 else ""
        return f"About {_duration(self.seconds)} for {self.n} images{reduced}{first}."


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@dataclass(frozen=True)
class Price:
    """Seconds at full effort: of a pair of images for the autoencoder, of its codes' shifts whatever the
    number of images, of an image that is changed for a Type I attack, and of an image for the rest; and, at
    any effort, of what is trained on the way, at some share of the usual passes, with a surrogate or not."""

    pair: float
    codes: float
    image: float
    changed: float = 0.0
    training: float = 0.0
    learning: float = 1.0
    surrogate: bool = True

    def at(self, n: int, effort: float) -> float:
        """Seconds for n images; the doctor sees 64 more."""
        work = min(n, PAIRS) * self.pair + self.codes + (n + 64) * self.image
        return self.fixed + effort * (work + min(n, CHANGED) * self.changed)

    @property
    def fixed(self) -> float:
        """Seconds that no number of images changes, nor effort."""
        return _FIXED + self.training


def fitted(price: Price, total: int, n: int | None = None, budget: float | None = None) -> Estimate:
    """How many of `total` images, and what share of the usual steps, fit a budget in seconds.

    Args:
        n: as many as asked for, if there are so many and they fit; None chooses.
    """
    n = min(total, n or (_DEFAULT_N if budget is None else total))
    if budget is None:
        return _estimate(price, n, 1.0)
    room = 0.7 * budget
    work = price.at(min(n, 200), 1.0) - price.fixed
    effort = min(1.0, max(0.1, (room - price.fixed) / max(work, 1e-9)))
    fits = (k for k in range(n, 20, -1) if price.at(k, effort) <= room)
    n = next(fits, min(n, 20))
    return _estimate(price, n, effort)


def _estimate(price: Price, n: int, effort: float) -> Estimate:
    trained = price.training, price.learning, price.surrogate
    return Estimate(n, effort, price.at(n, effort), *trained)


def training(recipe: zoo.Recipe, train: Dataset) -> float:
    """Seconds that training by a recipe takes; what is at hand takes none."""
    if zoo.path(recipe).exists():
        return 0.0
    return _LEARNING * recipe.epochs * len(train) * timed(models.build(recipe.model), train)


def timed(model: nn.Module, data: Dataset) -> float:
    """Seconds of one gradient of one example, in a batch."""
    x, _ = data.tensors(slice(0, 64))
    x = x.to(device_of(model, x)).requires_grad_()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        value = model(x).square().sum()
        if value.requires_grad:
            torch.autograd.grad(value, x, allow_unused=True)
        times.append(time.perf_counter() - start)
    return min(times) / len(x)
