"""Pictures that a decoder draws: its manifold, and what it makes of draws from the prior."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record
    from trompe.models import Autoencoder

__all__ = ["grid", "lattice", "likeness", "portrait", "sampled"]


def lattice(side: int) -> "Tensor":
    """Codes `(side^2, 2)` at equal steps of probability under N(0, I): the quantiles of bin middles.

    >>> lattice(3)[4].tolist()
    [0.0, 0.0]
    """
    import torch

    steps = torch.special.ndtri((torch.arange(side, dtype=torch.float64) + 0.5) / side).float()
    across, down = torch.meshgrid(steps, steps.flip(0), indexing="xy")
    return torch.stack([across, down], dim=-1).view(-1, 2)


def grid(model: "Autoencoder", side: int) -> "Tensor":
    """What a model of two coordinates decodes on the lattice, `(side^2, 1, H, W)`."""
    import torch

    with torch.no_grad():
        return model.decode(lattice(side))


def likeness(tiles: "Tensor", side: int) -> dict[str, float]:
    """The mean squared difference per pixel of neighbouring tiles, and of any two.

    >>> import torch
    >>> ramp = torch.arange(4.0).view(4, 1, 1, 1)
    >>> likeness(ramp, 2)
    {'neighbours': 2.5, 'any two': 3.3333332538604736}
    """
    flat = tiles.flatten(1)
    far = (flat[:, None] - flat).square().mean(2)
    place = flat.new_tensor([divmod(n, side) for n in range(len(flat))])
    beside = (place[:, None] - place).abs().sum(2) == 1
    apart = (place[:, None] - place).abs().sum(2) > 0
    return {"neighbours": float(far[beside].mean()), "any two": float(far[apart].mean())}


def sampled(model: "Autoencoder", count: int, seed: int = 0) -> "Tensor":
    """The decoded means `(count, 1, H, W)` of draws from the prior."""
    import torch

    from trompe.core import random

    with torch.no_grad(), random.streams(random.seeds(seed, count)):
        return model.decode(random.normal((count, model.config.latent)))


def portrait(
    model: "Autoencoder",
    x: "Tensor",
    decoded: "Tensor",
    columns: int,
    file: str,
    extra: Mapping[str, float] | None = None,
    **config: Any,
) -> "Record":
    """The model's bound on test images, with its picture."""
    from trompe.experiments.aevb._shown import bound, mean, tiles

    place = {**config, "file": file, "picture": tiles(decoded, columns)}
    return mean("lower bound", bound(model, x), subject="AEVB", extra=extra or {}, config=place)
