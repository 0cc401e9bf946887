"""The models under attack, and images that they classify correctly."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trompe import data, zoo

__all__ = ["Victim", "counted", "victim"]

NAMES = {"conv4": "mnist-conv4", "mlp": "mnist-mlp"}


@dataclass(frozen=True)
class Victim:
    """A trained classifier and images of the test set that it classifies correctly."""

    name: str
    model: nn.Module
    x: Tensor
    y: Tensor
    accuracy: float

    def bare(self, passes: int = 1) -> None:
        """Forward and backward to the input of the model as handed over, for all images."""
        for _ in range(passes):
            v = self.x.detach().requires_grad_()
            torch.autograd.grad(F.cross_entropy(self.model(v), self.y, reduction="sum"), v)

    def fooled(self, x: Tensor) -> Tensor:
        """Which of these images are classified wrongly, `(B,)`."""
        with torch.no_grad():
            return self.model(x).argmax(1) != self.y


def victim(name: str, count: int) -> Victim:
    """The zoo's classifier of that name, with `count` images."""
    model = zoo.get(NAMES[name])
    accuracy = zoo.card(NAMES[name])["metrics"]["accuracy"]
    x, y = data.load("mnist").take(2 * count).tensors()
    assert y is not None
    with torch.no_grad():
        right = (model(x).argmax(1) == y).nonzero()[:count, 0]
    return Victim(name, model, x[right].contiguous(), y[right], accuracy)


class _Counted(nn.Module):
    def __init__(self, model: nn.Module, counts: dict[str, int]) -> None:
        super().__init__()
        self.model, self.counts = model, counts

    def forward(self, x: Tensor) -> Any:
        self.counts["forwards"] += len(x)
        logits = self.model(x)
        if logits.requires_grad:
            logits.register_hook(self._backward)
        return logits

    def _backward(self, grad: Tensor) -> None:
        self.counts["backwards"] += len(grad)


def counted(model: nn.Module) -> tuple[nn.Module, dict[str, int]]:
    """The model in a shell that counts the passes of single examples through it."""
    counts = {"forwards": 0, "backwards": 0}
    return _Counted(model, counts).eval(), counts
