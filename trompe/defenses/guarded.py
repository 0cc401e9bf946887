"""Guarded classifiers: detectors beside a classifier, so that an answer may be refused."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.defenses.detectors import scored, threshold_at

__all__ = ["Guarded", "Rejecting"]


class Guarded(nn.Module):
    """A classifier with detectors: `decide(x) -> (logits, accepted)`; the call gives the logits.

    An input is accepted where every detector's score is at most its threshold. So each answer is
    correct, wrong or rejected.

    Args:
        classifier: `model(x) -> logits`.
        detectors: by name, or in a sequence; each with `threshold` and `calibrate`.

    Raises:
        UserError: no detectors; or a decision is asked for before `calibrate`.

    >>> from trompe.defenses.detectors import ReconstructionError
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

    def excess(self, x: Tensor) -> Tensor:
        """`max_d (s_d / t_d - 1)` `(B,)`, of scores s and thresholds t.

        At most zero where the input is accepted; differentiable, for an attacker who knows the detectors.

        Raises:
            UserError: a threshold that is not above 0, or not set.
        """
        thresholds = {name: float(d.threshold) for name, d in self.detectors.items()}  # type: ignore[arg-type]
        if not all(threshold > 0 for threshold in thresholds.values()):
            raise UserError(
                f"the thresholds must be above 0, got {thresholds}; call calibrate(clean, fpr) first"
            )
        scores = self.scores(x)
        relative = [(scores[name] - t) / t for name, t in thresholds.items()]
        return torch.stack(relative).amax(0)

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
        scores = torch.stack([scored(detector, clean) for detector in self.detectors.values()])
        # How many scores of the same detector are at most this one: ties share the highest rank.
        ranks = torch.searchsorted(scores.sort(1).values, scores, right=True).double()
        limit = threshold_at(ranks.amax(0), fpr)
        for own, rank, detector in zip(scores, ranks, self.detectors.values(), strict=True):
            detector.threshold.fill_(own[rank <= limit].amax())  # type: ignore[operator]
        return self


class Rejecting(nn.Module):
    r"""A guarded classifier as one of K + 1 classes, the last of which is *rejected*: what an attacker knows.

    .. math:: z_{K+1} = \max_i z_i + w \max_d (s_d / t_d - 1)

    with scores s and thresholds t of the detectors, after Carlini & Wagner 2017 ("Adversarial examples are
    not easily detected"), who have the logit of one detector there. It is largest where some detector
    refuses. So an attack that reaches another class as its *target* is wrong and accepted: the detectors
    stand in one differentiable model, on which any targeted attack runs. An untargeted one would take a
    rejection for a success.

    Args:
        guarded: with its thresholds set, all above 0.
        weight: w, of the detectors against the classes, in logits for a score of twice the threshold.

    Raises:
        UserError: a weight that is not above 0; on the call, a threshold that is not.

    >>> from trompe.defenses.detectors import ReconstructionError
    >>> guarded = Guarded(nn.Identity(), [ReconstructionError(nn.ReLU())])
    >>> _ = guarded.detectors["0"].threshold.fill_(0.5)
    >>> Rejecting(guarded)(torch.tensor([[3.0, -0.25], [3.0, -1.0]])).argmax(1).tolist()
    [0, 2]
    """

    def __init__(self, guarded: Guarded, weight: float = 10.0) -> None:
        super().__init__()
        if not weight > 0:
            raise UserError(f"the weight must be above 0, got {weight}")
        self.guarded = guarded
        self.weight = weight
        self.training = guarded.training

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, K + 1)`."""
        logits = self.guarded(x)
        refusal = logits.amax(1) + self.weight * self.guarded.excess(x)
        return torch.cat([logits, refusal[:, None]], 1)
