"""Exponential moving averages of weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["Averages"]


class Averages:
    """`average <- d average + (1 - d) weight` after each step, for all floating-point parameters.

    After n steps d is `min(decay, (1 + n) / (10 + n))`, so that short trainings forget where they
    began. Buffers are copied: the mean of directions, such as a spectral norm keeps, is none.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> averages = Averages({"m": model}, decay=0.5)
    >>> start = model.weight.detach().clone()
    >>> model.weight.data += 1
    >>> averages.update(8)
    >>> bool((averages.state["m"]["weight"] == start + 0.5).all())
    True
    """

    def __init__(self, modules: Mapping[str, nn.Module], decay: float) -> None:
        self.modules = modules
        self.decay = decay
        self.state = {
            name: {key: value.detach().clone() for key, value in module.state_dict().items()}
            for name, module in modules.items()
        }

    @torch.no_grad()
    def update(self, number: int) -> None:
        """Take in the weights after step `number`, counted from 1."""
        decay = min(self.decay, (1 + number) / (10 + number))
        for name, module in self.modules.items():
            weights = dict(module.named_parameters())
            for key, value in module.state_dict().items():
                average = self.state[name][key]
                if key in weights and average.is_floating_point():
                    average.lerp_(value, 1 - decay)
                else:
                    average.copy_(value)

    def restore(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continue from a checkpoint."""
        for name, tensors in state.items():
            for key, value in tensors.items():
                self.state[name][key].copy_(value)

    def apply(self) -> None:
        """Put the averages into the modules."""
        for name, module in self.modules.items():
            module.load_state_dict(self.state[name])
