"""Guarded classifiers: detectors beside a classifier, so that an answer may be refused."""

import math
from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.core.geometry import Norm, norm

__all__ = ["Guarded", "ReconstructionError", "threshold_at"]

_ROWS = 256  # clean examples scored at once


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


class ReconstructionError(nn.Module):
    """Scores an input by its distance to its reconstruction, `||x - AE(x)||` (Meng & Chen 2017).

    Args:
        autoencoder: `model(x)` is the reconstruction.
        norm: `"L1"`, `"L2"` or `"Linf"`, over all of an example.

    >>> detector = ReconstructionError(nn.ReLU(), norm="L1")
    >>> detector(torch.tensor([[1.0, 2.0], [-1.0, -2.0]])).tolist()
    [0.0, 3.0]
    """

    threshold: Tensor

    def __init__(self, autoencoder: nn.Module, norm: Norm = "L2") -> None:
        super().__init__()
        if norm not in ("L1", "L2", "Linf"):
            raise UserError(f"norm must be one of L1, L2, Linf, got {norm!r}")
        self.autoencoder = autoencoder
        self.training = autoencoder.training
        self.norm = norm
        self.register_buffer("threshold", torch.tensor(math.nan))

    def forward(self, x: Tensor) -> Tensor:
        """Scores `(B,)`, high is suspicious; differentiable, for attackers who know of it."""
        return norm(x - self.autoencoder(x), self.norm)

    def calibrate(self, clean: Tensor, fpr: float) -> Self:
        """Set `threshold` so that at most `fpr` of clean inputs exceed it; see `threshold_at`."""
        self.threshold.fill_(threshold_at(_scored(self, clean), fpr))
        return self


class Guarded(nn.Module):
    """A classifier with detectors: `decide(x) -> (logits, accepted)`; the call gives the logits.

    An input is accepted where every detector's score is at most its threshold. So each answer is
    correct, wrong or rejected.

    Args:
        classifier: `model(x) -> logits`.
        detectors: by name, or in a sequence; each with `threshold` and `calibrate`.

    Raises:
        UserError: no detectors; or a decision is asked for before `calibrate`.

    >>> guarded = Guarded(nn.Identity(), [ReconstructionError(nn.ReLU())])
    >>> _ = guarded.calibrate(torch.rand(40, 2), fpr=0.05)
    >>> guarded.decide(torch.tensor([[0.5, 0.5], [-0.5, 0.5]]))[1].tolist()
    [True, False]
    """

    def __init__(
        self, classifier: nn.Module, detectors: Mapping[str, nn.Module] | Sequence[nn.Module]
    ) -> None:
        super().__init__()
        if not detectors:
            raise UserError("a guarded classifier needs at least one detector")
        if not isinstance(detectors, Mapping):
            detectors = {str(index): detector for index, detector in enumerate(detectors)}
        self.classifier = classifier
        self.detectors = nn.ModuleDict(detectors)
        mode = any(module.training for module in (classifier, *detectors.values()))
        self.training = self.detectors.training = mode

    def forward(self, x: Tensor) -> Tensor:
        """The classifier's logits `(B, K)`, whatever the detectors say."""
        return self.classifier(x)  # type: ignore[no-any-return]

    def scores(self, x: Tensor) -> dict[str, Tensor]:
        """Each detector's scores `(B,)`; differentiable."""
        return {name: detector(x) for name, detector in self.detectors.items()}

    def accept(self, x: Tensor) -> Tensor:
        """Whether every detector accepts, `(B,)` bool; a score that is NaN does not."""
        verdicts = []
        for name, detector in self.detectors.items():
            threshold: Tensor = detector.threshold  # type: ignore[assignment]
            if bool(threshold.isnan()):
                raise UserError(
                    f"detector {name!r} has no threshold; call calibrate(clean, fpr) first"
                )
            verdicts.append(detector(x) <= threshold)
        return torch.stack(verdicts).all(0)

    def decide(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `(B, K)` and whether each answer is given, `(B,)` bool."""
        return self.classifier(x), self.accept(x)

    def calibrate(self, clean: Tensor, fpr: float) -> Self:
        """Set all thresholds so that at most `fpr` of clean inputs are rejected by *any* detector.

        Each detector refuses the same number of clean inputs by itself, the largest for which their
        union stays within `fpr`: detectors that agree cost nothing. The bound holds on `clean`, and
        beyond it up to terms of order 1/n.

        Args:
            clean: held-out inputs `(n, *)` on the detectors' device; nothing was trained on them.
            fpr: in (0, 1).

        Raises:
            UserError: as `threshold_at`, or a score that is not finite.
        """
        scores = torch.stack([_scored(detector, clean) for detector in self.detectors.values()])
        # How many scores of the same detector are at most this one: ties share the highest rank.
        ranks = torch.searchsorted(scores.sort(1).values, scores, right=True).double()
        limit = threshold_at(ranks.amax(0), fpr)
        for own, rank, detector in zip(scores, ranks, self.detectors.values(), strict=True):
            detector.threshold.fill_(own[rank <= limit].amax())  # type: ignore[operator]
        return self


def _scored(detector: nn.Module, clean: Tensor) -> Tensor:
    """Scores of all clean examples, in pieces that fit."""
    if len(clean) == 0:
        raise UserError("calibrate needs clean examples, got an empty set")
    with torch.no_grad():
        pieces = range(0, len(clean), _ROWS)
        scores = torch.cat([detector(clean[start : start + _ROWS]) for start in pieces])
    if not bool(scores.isfinite().all()):
        raise UserError("a detector's scores on clean examples are not all finite")
    return scores
