"""The way of a Type I attack from an image to another one, as a grid of pictures."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.data import Dataset
from trompe.reports import Grid

__all__ = ["trajectories"]

_SHARES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Of the steps, where the way is looked at: most of the change comes early."""


def trajectories(
    victim: nn.Module,
    attack: Any,
    x: Tensor,
    y: Tensor,
    data: Dataset,
    *,
    index: Sequence[int] | None = None,
    seed: int = 0,
    labels: Sequence[str] = (),
) -> Grid:
    """A row for each image: itself, its reconstruction, some steps of its way, and what the attack returns.

    Under each picture stands the victim's confidence in the class that the image was of. (Tang et al. 2019,
    figure 7, which has faces and distances.)

    Args:
        victim: a classifier.
        attack: a bound `ImageTransition` or `TypeI`.
        x, y: the images `(B, C, H, W)` and their labels.
        data: whose images they are.
        index: their places among the examples that were attacked together; 0, 1, ... by default.
        seed: of the attack's draws.
        labels: a few words for each row.
    """
    places = torch.arange(len(x)) if index is None else torch.tensor(index)
    seeds = random.seeds(seed, places).to(x.device)
    at = sorted({0, *(round(share * attack.steps) for share in _SHARES)})
    way = attack.trace(victim, x, y, seeds=seeds, at=at)
    columns = [x, *way.images, way.best]
    titles = ("image", *(f"step {step}" for step in way.steps), "returned")
    shown = [data.domain.render(images) for images in columns]
    told = [_confidence(victim, images, y) for images in columns]
    names = [data.classes[label] for label in y.tolist()]
    captions = tuple(
        tuple(f"{name}: {p:.0%}" for p in row)
        for name, row in zip(names, zip(*told, strict=True), strict=True)
    )
    note = "The victim's confidence in the class that the image was of stands at each picture."
    rows = tuple(zip(*shown, strict=True))
    return Grid("Changed while the answer stays", titles, rows, tuple(labels), captions, note)


@torch.no_grad()
def _confidence(victim: nn.Module, x: Tensor, y: Tensor) -> list[float]:
    told: list[float] = victim(x).softmax(1).gather(1, y[:, None])[:, 0].tolist()
    return told
