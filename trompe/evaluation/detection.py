"""How well a detector tells tampered inputs from clean ones: its ROC, and what its threshold catches."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.evaluation.records import Record, wilson

__all__ = ["Detection", "Roc", "area", "detection", "roc", "roc_curve"]

_Z = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Roc:
    """A ROC curve and its area.

    Args:
        fpr, tpr: shares of clean and of tampered inputs above each threshold, `(P,)`, from (0, 0) to (1, 1).
        auc: the area: how often a tampered input scores higher than a clean one, ties counted half.
        low, high: its 95% interval; see `area`.
        clean, tampered: how many scores of each it rests on.
    """

    fpr: Tensor
    tpr: Tensor
    auc: float
    low: float
    high: float
    clean: int
    tampered: int

    def at(self, fpr: float) -> float:
        """The largest true-positive rate on the curve whose false-positive rate is at most `fpr`."""
        return float(self.tpr[self.fpr <= fpr].max())

    def record(self, metric: str = "ROC AUC", **rest: Any) -> Record:
        """The area as a record; n is the smaller of the two numbers of inputs."""
        n = min(self.clean, self.tampered)
        return Record(metric, self.auc, n, self.low, self.high, "DeLong 95%", **rest)


def roc(clean: Tensor, tampered: Tensor) -> Roc:
    """The ROC of scores `(n,)` of clean and `(m,)` of tampered inputs, high is suspicious.

    Raises:
        UserError: no scores, or some that are not finite.

    >>> found = roc(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.5, 3.0, 4.0]))
    >>> round(found.auc, 3), found.at(0.0)
    (0.889, 0.6666666666666666)
    """
    auc, low, high = area(clean, tampered)
    fpr, tpr = roc_curve(clean, tampered)
    return Roc(fpr, tpr, auc, low, high, len(clean), len(tampered))


def roc_curve(clean: Tensor, tampered: Tensor) -> tuple[Tensor, Tensor]:
    """False and true positive rates at every threshold that changes either, `(P,)` each."""
    from sklearn import metrics

    scores = torch.cat([clean, tampered]).double().cpu().numpy()
    truth = np.repeat([0, 1], [len(clean), len(tampered)])
    fpr, tpr, _ = metrics.roc_curve(truth, scores)
    return torch.from_numpy(fpr), torch.from_numpy(tpr)


def area(clean: Tensor, tampered: Tensor) -> tuple[float, float, float]:
    r"""The area under the ROC with a 95% interval: DeLong's variance on the logit scale.

    .. math:: \hat A = \frac{1}{nm}\sum_{ij} [s_i < t_j] + \tfrac12 [s_i = t_j], \qquad
        \mathrm{Var} = S_{10}/m + S_{01}/n

    with the variances of the placements of tampered scores among clean ones and of clean among tampered
    (DeLong, DeLong & Clarke-Pearson 1988, equations 4 to 6). Where no two overlap that variance is zero; then
    of `min(n, m)` disjoint pairs each was won (or lost), and Wilson's interval for such a share is given.

    >>> auc, low, high = area(torch.arange(100.0), torch.arange(100.0) + 200)
    >>> auc, round(low, 3), high
    (1.0, 0.963, 1.0)
    """
    for scores in (clean, tampered):
        if scores.ndim != 1 or len(scores) == 0 or not bool(scores.isfinite().all()):
            raise UserError(
                "a ROC needs finite scores (n,) of clean and (m,) of tampered inputs, at least one of each"
            )
    above, below = _placements(clean, tampered), 1 - _placements(tampered, clean)
    auc, n = float(above.mean()), min(len(clean), len(tampered))
    spread = sum(float(p.var()) / len(p) if len(p) > 1 else math.nan for p in (above, below))
    if not (0 < auc < 1 and spread > 0):
        return auc, *wilson(auc * n, n)
    middle, half = math.log(auc / (1 - auc)), _Z * math.sqrt(spread) / (auc * (1 - auc))
    low, high = (1 / (1 + math.exp(-(middle + side * half))) for side in (-1, 1))
    return auc, low, high


def _placements(others: Tensor, scores: Tensor) -> Tensor:
    """The share of `others` that each score exceeds, ties counted half, `(len(scores),)`."""
    ordered = others.double().sort().values
    scores = scores.double().contiguous()
    under, upto = (torch.searchsorted(ordered, scores, right=side) for side in (False, True))
    return (under + upto).double() / (2 * len(others))


@dataclass(frozen=True, eq=False)
class Detection:
    """A detector at work: its ROC, and what the threshold that was set beforehand lets through.

    Args:
        roc: on inputs that set no threshold.
        fpr: the false-positive rate that the threshold was set for.
        alarms: clean inputs above the threshold.
        caught: tampered inputs above it.
    """

    roc: Roc
    fpr: float
    alarms: int
    caught: int

    def records(self, **rest: Any) -> list[Record]:
        """The area, and the two rates at the threshold with Wilson intervals."""
        at = f"at {self.fpr:.3g} set on other data"
        return [
            self.roc.record(**rest),
            Record.rate(f"true positives {at}", self.caught, self.roc.tampered, **rest),
            Record.rate(f"false positives {at}", self.alarms, self.roc.clean, **rest),
        ]


def detection(
    detector: nn.Module,
    clean: Tensor,
    tampered: Tensor,
    *,
    held_out: Tensor,
    fpr: float = 0.05,
) -> Detection:
    """Set the detector's threshold on held-out clean inputs, and measure it on others.

    Args:
        detector: a `trompe.core.protocols.Detector`; its `threshold` is set.
        clean: clean inputs that the threshold does not see, `(n, *)`.
        tampered: tampered inputs `(m, *)`.
        held_out: clean inputs for the threshold, on which nothing was fitted.
        fpr: the rate of clean inputs that may raise the alarm.

    Raises:
        UserError: too few held-out inputs for the rate, or held-out inputs that are measured too.
    """
    if held_out.shape == clean.shape and torch.equal(held_out, clean):
        raise UserError(
            "the threshold was to be set on the inputs it is measured on; hold others out"
        )
    detector.calibrate(held_out, fpr)  # type: ignore[operator]
    with torch.no_grad():
        honest, forged = (
            torch.cat([detector(part) for part in x.split(256)]) for x in (clean, tampered)
        )
    threshold: Tensor = detector.threshold  # type: ignore[assignment]
    alarms, caught = (int((scores > threshold).sum()) for scores in (honest, forged))
    return Detection(roc(honest, forged), fpr, alarms, caught)
