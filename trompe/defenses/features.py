"""How far an input lies from real ones, in the features of a classifier."""

from typing import Self

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.core.layers import activations
from trompe.defenses.detectors import CalibratedDetector

__all__ = ["FeatureDistance"]

_ROWS = 250


class FeatureDistance(CalibratedDetector):
    r"""Scores an input by the mean distance of its features to those of the k nearest real examples.

    .. math:: \frac{1}{k} \sum_{j=1}^{k} \| (f(x) - f(x_{(j)})) / \sigma \|_2

    with sigma the features' standard deviations over the real examples (Sun, Ming, Zhu & Li,
    "Out-of-distribution detection with deep nearest neighbors", 2022, who take the k-th distance between
    features of unit length).

    Args:
        model: any module with a layer of that name.
        layer: whose outputs, flattened, are the features; see `trompe.core.layers.activations`.
        size: how many real examples are kept.
        width: of the features.
        k: neighbours looked at.

    Raises:
        UserError: fewer real examples kept than neighbours looked at.

    >>> detector = FeatureDistance(nn.Sequential(nn.Identity()), "0", size=4, width=1, k=2)
    >>> detector.fit(torch.tensor([[0.0], [1.0], [3.0], [4.0]])).scale
    tensor([1.5811])
    >>> detector(torch.tensor([[0.5], [7.0]])) * detector.scale
    tensor([0.5000, 3.5000])
    """

    known: Tensor
    scale: Tensor

    def __init__(self, model: nn.Module, layer: str, size: int, width: int, *, k: int = 5) -> None:
        super().__init__()
        if not 0 < k <= size:
            raise UserError(f"k must lie in 1..{size}, the number of examples kept, got {k}")
        self.model, self.layer, self.k = model, layer, k
        self.training = model.training
        self.register_buffer("known", torch.full((size, width), torch.nan))
        self.register_buffer("scale", torch.full((width,), torch.nan))

    def forward(self, x: Tensor) -> Tensor:
        """Distances `(B,)`."""
        seen = activations(self.model, self.layer, x) / self.scale
        return torch.cdist(seen, self.known).topk(self.k, largest=False).values.mean(1)

    @torch.no_grad()
    def fit(self, x: Tensor) -> Self:
        """Learn what is usual from real examples, as many as are kept; the classifier stays as it is.

        Raises:
            UserError: another number of examples.
        """
        if len(x) != len(self.known):
            raise UserError(f"expected {len(self.known)} real examples, got {len(x)}")
        seen = torch.cat([activations(self.model, self.layer, part) for part in x.split(_ROWS)])
        spread = seen.std(0, correction=0)
        self.scale.copy_(spread.clamp_min(1e-3 * float(spread.mean())))
        self.known.copy_(seen / self.scale)
        return self
