"""ROC curves and areas: closed forms, coverage of the interval, thresholds that saw no test data."""

import math

import pytest
import torch
from torch import Tensor

from trompe.core import random
from trompe.core.errors import UserError
from trompe.defenses import Tail
from trompe.defenses.detectors import CalibratedDetector
from trompe.evaluation.detection import area, detection, roc


def normal(n: int, seed: int = 0, width: int = 1) -> Tensor:
    with random.streams(random.seeds(seed, n)):
        return random.normal((n, width), torch.empty(0, dtype=torch.float64)).squeeze(1)


def phi(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


@pytest.mark.parametrize("delta", [0.0, 0.5, 2.0])
def test_the_area_for_two_gaussians_is_phi_of_delta_over_root_two(delta: float) -> None:
    found = roc(normal(6000, 3), normal(6000, 6) + delta)
    assert found.auc == pytest.approx(phi(delta / math.sqrt(2)), abs=0.012)
    assert found.low < found.auc < found.high
    # Threshold 1.645: a false-positive rate of .05, and the rate Phi(delta - 1.645) of true ones.
    assert found.at(0.05) == pytest.approx(phi(delta - 1.645), abs=0.025)


def test_the_interval_covers_the_truth_19_times_of_20() -> None:
    truth = phi(1.0 / math.sqrt(2))
    clean, moved = normal(60, 1, 400).T, normal(40, 2, 400).T + 1.0
    ends = [area(a, b)[1:] for a, b in zip(clean, moved, strict=True)]
    covered = sum(low <= truth <= high for low, high in ends) / len(ends)
    assert 0.92 <= covered <= 0.98


def test_the_area_is_sklearns_with_ties_too() -> None:
    from sklearn.metrics import roc_auc_score

    clean, moved = (normal(200, s).round(decimals=1) for s in (1, 2))
    scores = torch.cat([clean, moved + 0.3]).numpy()
    expected = roc_auc_score([0] * 200 + [1] * 200, scores)
    assert area(clean, moved + 0.3)[0] == pytest.approx(expected, abs=1e-12)
    found = roc(clean, moved + 0.3)
    assert float(torch.trapezoid(found.tpr, found.fpr)) == pytest.approx(expected, abs=1e-12)


def test_delongs_variance_is_that_of_the_bootstrap() -> None:
    clean, moved = normal(150, 3), normal(100, 4) + 1
    with random.streams(random.seeds(5, 600)):
        rows = [(random.uniform((600, n)) * n).long() for n in (150, 100)]
    areas = [area(clean[a], moved[b])[0] for a, b in zip(*rows, strict=True)]
    _, low, high = area(clean, moved)
    width = torch.tensor(areas).std() * 2 * 1.96
    assert high - low == pytest.approx(float(width), rel=0.1)


@pytest.mark.parametrize("sign", [1, -1])
def test_where_nothing_overlaps_the_interval_still_has_a_width(sign: int) -> None:
    auc, low, high = area(normal(30), normal(50) + 99 * sign)
    assert auc == (1.0 if sign > 0 else 0.0)
    assert 0.1 < high - low < 0.13


class Plain(CalibratedDetector):
    """The score is the input."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_the_threshold_is_set_on_held_out_inputs_and_measured_on_others() -> None:
    found = detection(Plain(), normal(4000, 3), normal(4000, 6) + 2, held_out=normal(4000, 8))
    assert found.alarms / 4000 == pytest.approx(0.05, abs=0.015)
    assert found.caught / 4000 == pytest.approx(phi(2 - 1.645), abs=0.025)
    auc, true, false = found.records(subject="a")
    assert (auc.metric, auc.interval, auc.n) == ("ROC AUC", "DeLong 95%", 4000)
    assert true.value == found.caught / 4000
    assert false.value == found.alarms / 4000
    assert true.low is not None


class SetOnWhatItMeasures(Tail):
    """A detector that refits its threshold to whatever it meets."""

    def forward(self, codes: Tensor) -> Tensor:
        scores = super().forward(codes)
        self.threshold.fill_(float(scores.quantile(0.95)))
        return scores


def test_thresholds_refitted_on_the_test_data_are_seen() -> None:
    """Nineteen of twenty tampered codes then pass, however far they are."""
    with random.streams(random.seeds(0, 900)):
        codes = random.normal((900, 4))
    parts = codes[:300], codes[300:600], codes[600:] + 9
    honest = detection(Tail(parts[0]), parts[1], parts[2], held_out=parts[0])
    broken = detection(SetOnWhatItMeasures(parts[0]), parts[1], parts[2], held_out=parts[0])
    assert honest.caught == 300
    assert broken.caught < 300


def test_slips_are_told() -> None:
    clean = normal(50)
    with pytest.raises(UserError, match="hold others out"):
        detection(Plain(), clean, clean + 1, held_out=clean)
    with pytest.raises(UserError, match="needs at least 19"):
        detection(Plain(), clean, clean + 1, held_out=clean[:9])
    for bad in (torch.empty(0), torch.tensor([math.nan])):
        with pytest.raises(UserError, match="finite scores"):
            roc(clean, bad)
