"""Further training of an embedder with examples sent back: as people of their own, or paired with faces."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.losses import squared_distance
from trompe.evaluation.verification import embeddings
from trompe.training import Batches, MarginStep, train, warped

if TYPE_CHECKING:
    from trompe.data import Dataset
    from trompe.experiments.type_one.table_3 import Config

__all__ = ["SentBackStep", "strengthen"]


class SentBackStep(MarginStep):
    r"""A margin step on the training data and on faces and examples sent back, a few at each step.

    .. math:: L(x, y) + L(x_s, y_s) + L(x'_s, y'_s) + \lambda \, \| f(x_s) - f(x'_s) \|_2^2

    with the margin loss L. With `y'_s = y_s` and a positive lambda this is adversarial logit pairing in the
    form for embeddings (Kannan et al. 2018); with people of their own as `y'_s` and no pairing, vanilla
    training. What is sent back is not augmented: resampling an image takes its perturbation away.

    Args:
        pairs: `(x_s, x'_s, y_s, y'_s)`, m of each.
        count: of them at each step.
        weight: lambda.
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
        weight: float,
        **options: Any,
    ) -> None:
        super().__init__(embedder, classes, dimension, lr, **options)
        self.pairs, self.count, self.weight = pairs, count, weight

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One update on inputs and labels, and on pairs drawn from the ambient streams."""
        x, y = batch[:2]
        rows = (random.uniform((len(x),))[: self.count] * len(self.pairs[0])).long()
        first, second, label, other = (part[rows] for part in self.pairs)
        x = x if self.augment is None else self.augment(x)
        model: Any = self.model
        z = model.embedder(torch.cat([x, first, second]))
        parts = (len(x), len(rows), len(rows))
        losses = [
            self.margin_loss(cosines, some)
            for cosines, some in zip(model.cosines(z).split(parts), (y, label, other), strict=True)
        ]
        _, here, there = z.split(parts)
        pairing = squared_distance(here, there).mean()
        loss = torch.stack(losses).sum() + self.weight * pairing
        self.update(loss)
        return {"loss": loss.detach(), "pairing": pairing.detach()}


def strengthen(
    config: "Config",
    kind: str,
    network: nn.Module,
    training: "Dataset",
    sent: tuple[Tensor, Tensor, Tensor],
    folder: Path,
) -> dict[str, Any]:
    """Train a network on, in place; returns its card.

    Directions of people are those of their mean embeddings to begin with.

    Args:
        kind: `"type one"` gives examples people of their own; `"clean"` pairs nothing; others are paired.
        training: what it was trained on, the labels counting from 0.
        sent: faces `(m, *)`, examples `(m, *)`, and who is on the faces `(m,)`.
    """
    x, found, person = sent
    assert training.y is not None
    label = person.unique(return_inverse=True)[1] + int(training.y.max()) + 1
    own = int(kind == "type one") * (int(label.max()) + 1 - int(label.min()))
    everything = torch.cat([training.y, label, label + own])
    z = torch.cat([embeddings(network, part) for part in (training, x, found)])
    step = SentBackStep(
        network,
        int(everything.max()) + 1,
        z.shape[1],
        config.lr,
        pairs=(x, found, label, label + own),
        count=config.batch // 4,
        weight=0.0 if kind in ("clean", "type one") else config.weight,
        augment=partial(warped, mirror=True) if x.shape[1] == 3 else None,
    )
    with torch.no_grad():
        directions: Any = step.model.directions
        directions.zero_().index_add_(0, everything, z)
    history = train(
        step,
        Batches(training.x, training.y, size=config.batch, seed=config.seed),
        epochs=config.epochs,
        seed=config.seed,
        directory=folder,
        precision="bf16-mixed" if x.shape[1] == 3 else "32-true",
        log=False,
        progress=False,
    )
    network.eval()
    return {"steps": history.total, "seconds": round(history.seconds, 3)}
