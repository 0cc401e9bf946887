"""Steps: one update of the shared parameters of a model.

A step owns its modules and its optimisers and is plain PyTorch: forward, backward, update. Devices,
precision, compilation, several processes, averages and checkpoints are the loop's affair.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.steps import ModelStep, Schedule, constant, one_cycle

__all__ = ["AutoencoderStep", "ClassifierStep", "ModelStep", "Schedule", "constant", "one_cycle"]

Losses = Callable[[Tensor], Mapping[str, Tensor]]


class ClassifierStep(ModelStep):
    """Minimise the cross-entropy of a classifier.

    Args:
        smoothing: mass of the label that is spread over all classes.
        augment: what is done to the inputs of each step first; its draws come from the ambient streams.

    >>> import torch
    >>> step = ClassifierStep(nn.Linear(2, 3))
    >>> sorted(step(torch.ones(4, 2), torch.tensor([0, 1, 2, 0])))
    ['accuracy', 'loss']
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 4e-3,
        *,
        smoothing: float = 0.0,
        augment: Callable[[Tensor], Tensor] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, lr, **options)
        self.smoothing = smoothing
        self.augment = augment

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One update on inputs `(B, *)` and labels `(B,)`; an index after them is not looked at."""
        x, y = batch[:2]
        logits = self.model(x if self.augment is None else self.augment(x))
        loss = F.cross_entropy(logits, y, label_smoothing=self.smoothing)
        self.update(loss)
        return {"loss": loss.detach(), "accuracy": (logits.detach().argmax(1) == y).float().mean()}


class AutoencoderStep(ModelStep):
    """Minimise the training objective of an autoencoder of the grid, noise and penalties included.

    The objective is the model's own `losses(x)`, per example; `trompe.models.Autoencoder` has the
    whole grid of AE, DAE, CAE, VAE, DVAE and CVAE there. Its noise (of the input, the posterior and
    the penalty's probes) comes from the ambient streams, which the loop keys by (seed, example,
    step).

    Args:
        model: an autoencoder.
        losses: `losses(x) -> {name: (B,)}`, of which "loss" is minimised and all are reported; by
            default the model's method of that name.
        dynamic: draw every pixel anew from Bernoulli(x) at each step (dynamic binarisation).

    Raises:
        UserError: if there is no such method and none was given.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 4e-3,
        *,
        losses: Losses | None = None,
        dynamic: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(model, lr, **options)
        self.dynamic = dynamic
        if losses is None and not hasattr(model, "losses"):
            raise UserError(
                f"{type(model).__name__} has no method losses(x) -> {{name: (B,)}}; "
                "give AutoencoderStep one as `losses`"
            )
        self.losses: Losses = cast(Any, model).losses if losses is None else losses

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One update on clean inputs `(B, *)`; labels and an index are not looked at."""
        x = batch[0]
        if self.dynamic:
            x = (random.uniform(tuple(x.shape), x) < x).to(x.dtype)
        terms = {name: term.mean() for name, term in self.losses(x).items()}
        self.update(terms["loss"])
        return {name: term.detach() for name, term in terms.items()}
