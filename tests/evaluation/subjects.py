"""Models and attacks whose outcomes are known."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trompe.attacks.base import ClassifierAttack
from trompe.core import random
from trompe.core.domains import Images
from trompe.core.geometry import Ball

IMAGES = Images()


class Threshold(nn.Module):
    """Class 1 where the mean of an image exceeds a half; its robust radius in Linf is the distance to it.

    Every forward and backward of one example is counted.
    """

    def __init__(self, gain: float = 10.0) -> None:
        super().__init__()
        self.gain = gain
        self.counts = {"forwards": 0, "backwards": 0}
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.counts["forwards"] += len(x)
        if x.requires_grad:
            x.register_hook(self._backward)
        m = self.gain * (x.flatten(1).mean(1) - 0.5)
        return torch.stack([-m, m], 1)

    def _backward(self, grad: Tensor) -> None:
        self.counts["backwards"] += len(grad)


class Noisy(nn.Module):
    """A threshold on the mean plus noise: right with a probability that is known."""

    def __init__(self, spread: float, controlled: bool = True) -> None:
        super().__init__()
        self.spread, self.controlled = spread, controlled
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        noise = random.normal((len(x),), x) if self.controlled else torch.randn(len(x))
        m = x.flatten(1).mean(1) - 0.5 + self.spread * noise
        return torch.stack([-m, m], 1)


class Rejecting(nn.Module):
    """A threshold that gives no answer within a distance of it."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        m = x.flatten(1).mean(1) - 0.5
        return torch.stack([-m, m], 1)

    def decide(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self(x)
        return logits, logits[:, 1].abs() > self.width


@dataclass(frozen=True)
class Shift(ClassifierAttack):
    """Adds a number to every value, whatever its ball says; remembers whom it met."""

    ball: Ball = field(default_factory=lambda: Ball(0.1))
    by: float = 0.1
    met: list[int] = field(default_factory=list, compare=False, repr=False)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        self.met.extend(seeds.tolist())
        towards = torch.where(y == 1, -1.0, 1.0).view(-1, 1, 1, 1)
        return x + self.by * towards


def flat(*levels: float, side: int = 2) -> Tensor:
    """Images of one grey each."""
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 1, side, side).contiguous()


def truth(x: Tensor) -> Tensor:
    """The class of the threshold."""
    return (x.flatten(1).mean(1) > 0.5).long()
