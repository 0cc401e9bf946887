"""Further training of an embedder with examples sent back: as people of their own, or as the face's."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.core import random
from trompe.core.losses import squared_distance
from trompe.evaluation.verification import embeddings
from trompe.training import Batches, MarginStep, train

if TYPE_CHECKING:
    from trompe.data import Dataset
    from trompe.experiments.type_one.table_3 import Config
    from trompe.zoo import Recipe

__all__ = ["APART", "SentBackStep", "strengthen"]

APART = 2.0
"""The squared distance up to which two people are pushed: that of orthogonal embeddings of length one."""


class SentBackStep(MarginStep):
    r"""A margin step on the training data and on faces and examples sent back, a few at each step.

    .. math::
        L(x, y) + L(x_s, y_s) + L(x'_s, y'_s) + \lambda \begin{cases}
            d^2 & y'_s = y_s \\ \max(0, 2 - d^2) & y'_s \ne y_s
        \end{cases}
        \qquad d = \| f(x_s) - f(x'_s) \|_2

    with the margin loss L, of training data with the traits. The last term is adversarial logit pairing in
    the form for embeddings (Kannan et al. 2018) where both are one person, and the contrastive loss of
    Hadsell, Chopra & LeCun 2006 where they are two: L parts an example from the direction of its face by the
    margin, which is less than the threshold of distance asks; FaceNet's loss compares pairs itself.

    Args:
        pairs: `(x_s, x'_s, y_s, y'_s)`, m of each.
        count: of them at each step.
        pairing: lambda.
        moved: whether they are augmented too. Resampling an image takes a small perturbation away.
    """

    def __init__(
        self,
        embedder: nn.Module,
        classes: int,
        dimension: int,
        lr: float,
        *,
        pairs: tuple[Tensor, Tensor, Tensor, Tensor],
        count: int,
        pairing: float,
        moved: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(embedder, classes, dimension, lr, **options)
        self.pairs, self.count, self.pairing, self.moved = pairs, count, pairing, moved

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One update on inputs and labels, and on pairs drawn from the ambient streams."""
        x, y = batch[:2]
        rows = (random.uniform((len(x),))[: self.count] * len(self.pairs[0])).long()
        first, second, label, other = (part[rows] for part in self.pairs)
        model: Any = self.model
        sent = [self._augmented(x, part) if self.moved else part for part in (first, second)]
        z = model.embedder(torch.cat([self._augmented(x, x), *sent]))
        known, here, there = z.split((len(x), len(rows), len(rows)))
        losses = [
            self.margin_loss(model.cosines(some), names)
            for some, names in ((known, y), (here, label), (there, other))
        ]
        if model.traits is not None:
            losses.append(self.weight * model.traits.loss(known, y))
        distance = squared_distance(here, there)
        paired = torch.where(label == other, distance, F.relu(APART - distance)).mean()
        loss = torch.stack(losses).sum() + self.pairing * paired
        self.update(loss)
        return {"loss": loss.detach(), "pairing": paired.detach()}

    def _augmented(self, batch: Tensor, part: Tensor) -> Tensor:
        """A part no longer than the batch, augmented; the ambient streams are as many as the batch."""
        if self.augment is None:
            return part
        return self.augment(torch.cat([part, batch])[: len(batch)])[: len(part)]


def strengthen(
    config: "Config",
    kind: str,
    network: nn.Module,
    training: "Dataset",
    sent: tuple[Tensor, Tensor, Tensor],
    folder: Path,
) -> dict[str, Any]:
    """Train a network on, in place, with the recipe's augmentation and traits; returns its card.

    Directions of people are those of their mean embeddings to begin with.

    Args:
        kind: `"type one"` gives examples people of their own.
        training: what it was trained on, the labels counting from 0.
        sent: faces `(m, *)`, examples `(m, *)`, and who is on the faces `(m,)`.
    """
    from trompe import zoo

    recipe = zoo.recipe(config.faces.embedder)
    assert training.y is not None
    x, found, person = sent
    label = person.unique(return_inverse=True)[1] + int(training.y.max()) + 1
    own = int(kind == "type one") * (int(label.max()) + 1 - int(label.min()))
    pairs = (x, found, label, label + own)
    step = _step(config, kind, network, training, pairs, recipe)
    history = train(
        step,
        Batches(training.x, training.y, size=config.batch, seed=config.seed),
        epochs=config.epochs,
        seed=config.seed,
        directory=folder,
        precision=recipe.precision,
        log=False,
        progress=False,
    )
    network.eval()
    return {"steps": history.total, "seconds": round(history.seconds, 3)}


def _step(
    config: "Config",
    kind: str,
    network: nn.Module,
    training: "Dataset",
    pairs: tuple[Tensor, Tensor, Tensor, Tensor],
    recipe: "Recipe",
) -> SentBackStep:
    from trompe.zoo.making import margin_options

    x, found, label, other = pairs
    names = training.y
    assert names is not None
    everything = torch.cat([names, label, other])
    z = torch.cat([embeddings(network, part) for part in (training, x, found)])
    step = SentBackStep(
        network,
        int(everything.max()) + 1,
        z.shape[1],
        config.lr,
        pairs=pairs,
        count=config.batch // 4,
        pairing=config.weight,
        moved=kind in ("clean", "type one"),
        **margin_options(recipe),
    )
    with torch.no_grad():
        directions: Any = step.model.directions
        directions.zero_().index_add_(0, everything, z)
    return step
