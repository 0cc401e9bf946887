"""The step of an embedder: names of people, told apart by angles with a margin."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.steps import ModelStep

__all__ = ["MarginStep", "Prototypes", "Traits"]


class Traits(nn.Module):
    """`model(z) -> logits (B, T)`: what an embedding says of its person's traits.

    Args:
        traits: of each class, shares in [0, 1], `(K, T)`.
        dimension: D.
        scale: of an embedding of length one.
    """

    traits: Tensor

    def __init__(self, traits: Tensor, dimension: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("traits", traits)
        self.scale = scale
        self.weight = nn.Parameter(torch.zeros(traits.shape[1], dimension))
        self.bias = nn.Parameter(torch.zeros(traits.shape[1]))

    def loss(self, z: Tensor, y: Tensor) -> Tensor:
        """The cross-entropy of the traits of classes `y` `(B,)`, summed over traits, on average."""
        with torch.autocast(z.device.type, enabled=False):
            logits = F.linear(self.scale * F.normalize(z.to(self.weight)), self.weight, self.bias)
            each = F.binary_cross_entropy_with_logits(logits, self.traits[y], reduction="none")
        return each.sum(1).mean()


class Prototypes(nn.Module):
    """`model(x) -> cosines (B, K)` between the embedding of x and one learned direction for each class.

    Args:
        embedder: `embedder(x) -> (B, D)`.
        classes: number of directions.
        dimension: D.
        seed: of the first directions.
    """

    def __init__(self, embedder: nn.Module, classes: int, dimension: int, *, seed: int = 0) -> None:
        super().__init__()
        self.embedder = embedder
        with random.streams(random.seeds(seed, classes)):
            self.directions = nn.Parameter(random.normal((classes, dimension)) / dimension**0.5)
        self.traits: Traits | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Cosines `(B, K)` of inputs `(B, *)`."""
        return self.cosines(self.embedder(x))

    def cosines(self, z: Tensor) -> Tensor:
        """Cosines of embeddings `(B, D)`, in float32: a margin is smaller than bfloat16 tells apart."""
        with torch.autocast(z.device.type, enabled=False):
            return F.normalize(z.to(self.directions)) @ F.normalize(self.directions).T


class MarginStep(ModelStep):
    r"""Train an embedder to tell the classes of its training set apart by angle, with room to spare.

    .. math::
        -\log \frac{e^{s (\cos\theta_y - m)}}{e^{s (\cos\theta_y - m)} + \sum_{k \ne y} e^{s \cos\theta_k}}

    with the angles :math:`\theta_k` between embedding and the direction of class k (Wang et al., "CosFace:
    Large margin cosine loss for deep face recognition", 2018, equation 4). The directions are the step's own:
    the embedder is used without them, on classes that it never saw.

    Where little is known of many people, what distinguishes those of the training set need not distinguish
    others. With `traits` the embedding has to tell, by a linear map, those of its person as well (the idea of
    Kumar et al., "Attribute and simile classifiers for face verification", 2009): their cross-entropy is
    added.

    Args:
        embedder: `embedder(x) -> (B, D)`.
        classes: how many there are to train on.
        dimension: D.
        margin, scale: m and s.
        augment: what is done to the inputs of each step first; its draws come from the ambient streams.
        traits: of each class, shares in [0, 1], `(K, T)`, or None.
        weight: of their cross-entropy.
        seed: of the first directions.

    Raises:
        UserError: a margin or a scale that is out of range.

    >>> step = MarginStep(nn.Linear(2, 2), 3, 2)
    >>> sorted(step(torch.ones(4, 2), torch.tensor([0, 1, 2, 0])))
    ['accuracy', 'loss']
    """

    def __init__(
        self,
        embedder: nn.Module,
        classes: int,
        dimension: int,
        lr: float = 3e-3,
        *,
        margin: float = 0.3,
        scale: float = 24.0,
        augment: Callable[[Tensor], Tensor] | None = None,
        traits: Tensor | None = None,
        weight: float = 0.25,
        seed: int = 0,
        **options: Any,
    ) -> None:
        if not 0 <= margin < 2 or not scale > 0:
            raise UserError(
                f"margin must be in [0, 2) and scale positive, got {margin} and {scale}"
            )
        model = Prototypes(embedder, classes, dimension, seed=seed)
        if traits is not None:
            model.traits = Traits(traits, dimension, scale)
        super().__init__(model, lr, **options)
        self.margin, self.scale, self.augment, self.weight = margin, scale, augment, weight

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One update on inputs `(B, *)` and labels `(B,)`; an index after them is not looked at."""
        x, y = batch[:2]
        model: Any = self.model
        z = model.embedder(x if self.augment is None else self.augment(x))
        cosines = model.cosines(z)
        loss = self.margin_loss(cosines, y)
        if model.traits is not None:
            loss = loss + self.weight * model.traits.loss(z, y)
        self.update(loss)
        return {"loss": loss.detach(), "accuracy": (cosines.detach().argmax(1) == y).float().mean()}

    def margin_loss(self, cosines: Tensor, y: Tensor) -> Tensor:
        """The loss above, on average over cosines `(B, K)` and labels `(B,)`."""
        asked = self.margin * F.one_hot(y, cosines.shape[1])
        return F.cross_entropy(self.scale * (cosines - asked), y)
