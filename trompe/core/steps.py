"""What steps share, wherever they are: optimisers, a schedule, and a state that resumes.

`trompe.training` runs steps; those of a defence live with the defence.
"""

import copy
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError

__all__ = ["ModelStep", "Optimizer", "PartsStep", "Schedule", "constant", "one_cycle"]

Schedule = Callable[[float], float]
Optimizer = Callable[..., torch.optim.Optimizer]
_ADAMW = partial(torch.optim.AdamW, fused=True)


def constant(progress: float) -> float:
    """The learning rate stays as it is."""
    return 1.0


def one_cycle(progress: float, warm: float = 0.3, start: float = 0.04, end: float = 1e-4) -> float:
    """The factor of the peak learning rate: up from `start` until `warm`, then down to `end`.

    Both parts are half cosines (Smith & Topin, "Super-convergence", 2018).

    >>> one_cycle(0.0), one_cycle(0.3), one_cycle(1.0)
    (0.04, 1.0, 0.0001)
    """
    if progress < warm:
        low, place = start, progress / warm
    else:
        low, place = end, (1 - progress) / (1 - warm)
    return low + (1 - low) * 0.5 * (1 - math.cos(math.pi * place))


class ModelStep:
    """What the steps of a single model share: an optimiser, a schedule, clipping, and the state.

    Args:
        model: any module with parameters.
        lr: peak learning rate; the schedule multiplies it.
        schedule: from progress in [0, 1] to a factor; the loop sets the rates by it.
        weight_decay: decoupled (AdamW); other optimisers have their own way with it.
        clip: largest norm of the gradient, or None.
        optimizer: makes the optimiser from the parameters, `lr` and `weight_decay`.
        parameters: those to train, where it is not all of the model's.

    Raises:
        UserError: if the model has no parameters that can be trained.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 4e-3,
        *,
        schedule: Schedule = one_cycle,
        weight_decay: float = 0.0,
        clip: float | None = None,
        optimizer: Optimizer = _ADAMW,
        parameters: Iterable[Tensor] | None = None,
    ) -> None:
        self.model = model
        self.schedule = schedule
        self.clip = clip
        chosen = model.parameters() if parameters is None else parameters
        self._parameters = [p for p in chosen if p.requires_grad]
        if not self._parameters:
            raise UserError("the model has no trainable parameters; there is nothing to train")
        self.optimizer = optimizer(self._parameters, lr=lr, weight_decay=weight_decay)

    def modules(self) -> dict[str, nn.Module]:
        """The modules whose parameters are trained."""
        return {"model": self.model}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers, under the names of what they train."""
        return {"model": self.optimizer}

    def update(self, loss: Tensor) -> None:
        """Descend a scalar loss."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self._parameters, self.clip)
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.model.load_state_dict(state["model"])
        # an optimiser keeps the tensors that it is given: they must not be another's
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))


class PartsStep:
    """What steps share whose model has parts that are trained apart: their optimisers, and the state.

    Who extends it sets `model`, and `_optimizers` under the names of what they train.
    """

    model: Any
    _optimizers: dict[str, torch.optim.Optimizer]

    def modules(self) -> dict[str, nn.Module]:
        """The model, which holds all its networks."""
        return {"model": self.model}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers, under the names of what they train."""
        return dict(self._optimizers)

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs."""
        states = {name: each.state_dict() for name, each in self._optimizers.items()}
        return {"model": self.model.state_dict(), "optimizers": states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.model.load_state_dict(state["model"])
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(copy.deepcopy(state["optimizers"][name]))
