"""How far an input lies from real ones of its class, in the features of a classifier."""

from typing import Self

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.core.layers import activations
from trompe.defenses.detectors import CalibratedDetector
from trompe.defenses.tamper import shrunk_covariance

__all__ = ["FeatureDistance"]

_ROWS = 500


class FeatureDistance(CalibratedDetector):
    r"""Scores an input by the Mahalanobis distance of its features to the nearest class.

    .. math:: \min_k \; (f(x) - \mu_k)^\top \Sigma^{-1} (f(x) - \mu_k)

    with the classes' means and one (shrunk) covariance for all (Lee, Lee, Lee & Shin, "A simple unified framework for
    detecting out-of-distribution samples and adversarial attacks", 2018, equations 1 and 2; of their
    ensemble over layers, this is one).

    Args:
        model: any module with a layer of that name.
        layer: whose outputs, flattened, are the features; see `trompe.core.layers.activations`.
        classes: number of classes.
        width: of the features, F.

    >>> detector = FeatureDistance(nn.Sequential(nn.Identity()), "0", classes=2, width=1)
    >>> x = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    >>> detector.fit(x, torch.tensor([0, 0, 1, 1]))(torch.tensor([[0.5], [5.5]])).round().tolist()
    [0.0, 100.0]
    """

    means: Tensor
    root: Tensor

    def __init__(self, model: nn.Module, layer: str, classes: int, width: int) -> None:
        super().__init__()
        self.model, self.layer = model, layer
        self.training = model.training
        self.register_buffer("means", torch.full((classes, width), torch.nan))
        self.register_buffer("root", torch.full((width, width), torch.nan))

    def forward(self, x: Tensor) -> Tensor:
        """Squared distances `(B,)`."""
        seen = activations(self.model, self.layer, x) @ self.root
        return torch.cdist(seen, self.means @ self.root).square().amin(1)

    @torch.no_grad()
    def fit(self, x: Tensor, y: Tensor) -> Self:
        """Take means and covariance from examples `(n, *)` of labels `(n,)`; the classifier stays as it is.

        Raises:
            UserError: a class without examples.
        """
        parts = [activations(self.model, self.layer, part) for part in x.split(_ROWS)]
        seen = torch.cat(parts).double()
        member = nn.functional.one_hot(y, len(self.means)).to(seen)
        sizes = member.sum(0)
        if bool((sizes == 0).any()):
            raise UserError(
                f"class {int(sizes.argmin())} has no example to learn what is usual from"
            )
        means = member.T @ seen / sizes[:, None]
        covariance = shrunk_covariance(seen - means[y])
        self.means.copy_(means)
        # L with L L^T = inverse covariance, so that a distance between f L is Mahalanobis
        self.root.copy_(torch.linalg.cholesky(torch.linalg.inv(covariance)))
        return self
