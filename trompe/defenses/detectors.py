"""What every detector shares: a score that is high where an input is suspicious, and a threshold."""

import math
from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.core.geometry import Norm, norm

__all__ = ["CalibratedDetector", "ReconstructionError", "scored", "threshold_at"]

_ROWS = 256  # clean examples scored at once
_SMALL = 1e-3  # the norm below which an input counts as empty


def threshold_at(scores: Tensor, fpr: float) -> Tensor:
    """The threshold that a clean example's score exceeds with probability at most `fpr`.

    The `ceil((1 - fpr)(n + 1))`-th smallest of n held-out clean scores: the bound holds for any
    distribution of scores, averaged over calibration sets (Vovk, Gammerman & Shafer 2005,
    proposition 4.1).

    Args:
        scores: of clean examples that nothing was trained on, `(n,)`.
        fpr: the rate of clean examples to refuse, in (0, 1).

    Raises:
        UserError: a rate outside (0, 1), or too few examples for the rate.

    >>> float(threshold_at(torch.arange(99.0), fpr=0.05))
    94.0
    """
    if not 0 < fpr < 1:
        raise UserError(f"fpr must lie between 0 and 1, got {fpr}")
    rank = math.ceil((1 - fpr) * (len(scores) + 1) - 1e-9)
    if rank > len(scores):
        needed = math.ceil(1 / fpr - 1 - 1e-9)
        raise UserError(
            f"fpr={fpr} needs at least {needed} clean examples to be estimated, got {len(scores)}"
        )
    return scores.sort().values[rank - 1]


def scored(detector: nn.Module, clean: Tensor) -> Tensor:
    """Scores `(n,)` of all clean examples, in pieces that fit, without gradients.

    Raises:
        UserError: no examples, or a score that is not finite.
    """
    if len(clean) == 0:
        raise UserError("calibrate needs clean examples, got an empty set")
    with torch.no_grad():
        pieces = range(0, len(clean), _ROWS)
        scores = torch.cat([detector(clean[start : start + _ROWS]) for start in pieces])
    if not bool(scores.isfinite().all()):
        raise UserError("a detector's scores on clean examples are not all finite")
    return scores


class CalibratedDetector(nn.Module, ABC):
    """A score `(B,)`, high where an input is suspicious, and the `threshold` that `calibrate` sets."""

    threshold: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(math.nan))

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Scores `(B,)`; differentiable, for attackers who know of the detector."""

    def calibrate(self, clean: Tensor, fpr: float) -> Self:
        """Set `threshold` so that at most `fpr` of clean inputs exceed it; see `threshold_at`."""
        self.threshold.fill_(threshold_at(scored(self, clean), fpr))
        return self


class ReconstructionError(CalibratedDetector):
    """Scores an input by its distance to its reconstruction, `||x - AE(x)||` (Meng & Chen 2017).

    Args:
        autoencoder: `model(x)` is the reconstruction.
        norm: `"L1"`, `"L2"` or `"Linf"`, over all of an example.
        relative: divide by `||x||`, so that an image with more ink in it is allowed more.

    >>> detector = ReconstructionError(nn.ReLU(), norm="L1")
    >>> detector(torch.tensor([[1.0, 2.0], [-1.0, -2.0]])).tolist()
    [0.0, 3.0]
    """

    def __init__(
        self, autoencoder: nn.Module, norm: Norm = "L2", *, relative: bool = False
    ) -> None:
        super().__init__()
        if norm not in ("L1", "L2", "Linf"):
            raise UserError(f"norm must be one of L1, L2, Linf, got {norm!r}")
        self.autoencoder = autoencoder
        self.training = autoencoder.training
        self.norm = norm
        self.relative = relative

    def forward(self, x: Tensor) -> Tensor:
        """The distances `(B,)`."""
        found = norm(x - self.autoencoder(x), self.norm)
        return found / norm(x, self.norm).clamp_min(_SMALL) if self.relative else found
