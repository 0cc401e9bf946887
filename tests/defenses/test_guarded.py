"""Guarded classifiers: thresholds that hold their promise, and three outcomes."""

import copy

import pytest
import torch
from torch import nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.protocols import Detector
from trompe.defenses import Guarded, ReconstructionError, Rejecting, guarded
from trompe.defenses.detectors import threshold_at
from trompe.models import VAE


class Coordinate(nn.Module):
    """Reconstructs all but one coordinate, which it sets to zero: the L1 score is its size."""

    def __init__(self, which):
        super().__init__()
        self.which = which

    def forward(self, x):
        return x.index_fill(1, torch.tensor(self.which), 0.0)


def detector(which):
    return ReconstructionError(Coordinate(which), norm="L1")


def points(n, d=3, seed=0):
    with random.streams(random.seeds(seed, n)):
        return random.normal((n, d), torch.empty(0, dtype=torch.float64))


@pytest.mark.parametrize("norm", ["L1", "L2", "Linf"])
def test_the_score_is_the_distance_to_the_reconstruction(norm):
    autoencoder = VAE((1, 8, 8), 2, hidden=(4,))
    with random.streams(random.seeds(0, 4)):
        x = random.uniform((4, 1, 8, 8))
    order = {"L1": 1, "L2": 2, "Linf": torch.inf}[norm]
    expected = torch.linalg.vector_norm((x - autoencoder(x)).flatten(1), order, dim=1)
    found = ReconstructionError(autoencoder, norm)
    torch.testing.assert_close(found(x), expected)
    assert isinstance(found, Detector)


@pytest.mark.parametrize("n", [19, 99, 1000])
def test_a_threshold_refuses_at_most_the_rate_it_was_given(n):
    clean = points(n)
    found = detector(0).calibrate(clean, fpr=0.05)
    refused = (found(clean) > found.threshold).double().mean()
    assert 0 <= float(refused) <= 0.05


def test_the_promise_holds_on_average_over_calibration_sets():
    """Conformal: P(fresh clean score > threshold) is k / (n + 1), here exactly 0.1."""
    with random.streams(random.seeds(0, 4000)):
        scores = random.uniform((4000, 20))
    thresholds = torch.stack([threshold_at(row[:19], 0.1) for row in scores])
    rate = float((scores[:, 19] > thresholds).double().mean())
    assert abs(rate - 0.1) < 0.015


def test_several_detectors_share_the_rate_between_them():
    clean, fresh = points(2000), points(4000, seed=1)
    guarded = Guarded(nn.Identity(), [detector(0), detector(1), detector(2)])
    guarded.calibrate(clean, fpr=0.1)
    assert float((~guarded.decide(clean)[1]).double().mean()) <= 0.1
    assert abs(float((~guarded.decide(fresh)[1]).double().mean()) - 0.1) < 0.025
    alone = [(d(fresh) > d.threshold).double().mean() for d in guarded.detectors.values()]
    assert float(max(alone) - min(alone)) < 0.02


def test_detectors_that_agree_cost_nothing():
    clean = points(500)
    one = Guarded(nn.Identity(), {"a": detector(0)}).calibrate(clean, 0.1)
    two = Guarded(nn.Identity(), {"a": detector(0), "b": detector(0)}).calibrate(clean, 0.1)
    single = detector(0).calibrate(clean, 0.1)
    assert float(one.detectors["a"].threshold) == float(two.detectors["b"].threshold)
    assert float(one.detectors["a"].threshold) == float(single.threshold)


def test_an_answer_is_given_where_every_detector_accepts():
    guarded = Guarded(nn.Linear(3, 2).double(), {"first": detector(0), "second": detector(1)})
    for each in guarded.detectors.values():
        each.threshold.fill_(1.0)
    x = torch.tensor([[0, 0, 9], [2, 0, 0], [0, 2, 0], [1, 1, 0], [torch.nan, 0, 0]]).double()
    logits, accepted = guarded.decide(x)
    assert accepted.tolist() == [True, False, False, True, False]
    torch.testing.assert_close(logits, guarded(x), equal_nan=True)
    assert set(guarded.scores(x)) == {"first", "second"}


def test_it_takes_over_the_mode_of_its_parts():
    parts = nn.Identity().eval(), detector(0).eval()
    assert not any(m.training for m in Guarded(parts[0], [parts[1]]).modules())
    assert not ReconstructionError(nn.Identity().eval()).training
    assert Guarded(nn.Identity(), [parts[1]]).training


def test_scores_are_differentiable_for_an_attacker_who_knows():
    x = points(2).requires_grad_()
    (gradient,) = torch.autograd.grad(detector(0)(x).sum(), x)
    assert torch.equal(gradient[:, 0], x.detach()[:, 0].sign())


def test_thresholds_travel_with_the_weights():
    guarded = Guarded(nn.Identity(), [detector(0)]).calibrate(points(100), 0.1)
    fresh = Guarded(nn.Identity(), [detector(0)])
    fresh.load_state_dict(copy.deepcopy(guarded).state_dict())
    assert torch.equal(fresh.detectors["0"].threshold, guarded.detectors["0"].threshold)


def test_excess_is_the_worst_share_over_a_threshold():
    guarded = Guarded(nn.Identity(), [detector(0), detector(1)])
    guarded.detectors["0"].threshold.fill_(2.0)
    guarded.detectors["1"].threshold.fill_(0.5)
    x = torch.tensor([[1.0, 0.25, 9.0], [2.0, 0.0, 0.0], [3.0, 2.0, 0.0]])
    assert guarded.excess(x).tolist() == [-0.5, 0.0, 3.0]
    assert (guarded.excess(x) <= 0).tolist() == guarded.accept(x).tolist()
    with pytest.raises(UserError, match="above 0"):
        Guarded(nn.Identity(), [detector(0)]).excess(x)


def test_slips_are_told():
    with pytest.raises(UserError, match="at least one detector"):
        Guarded(nn.Identity(), [])
    with pytest.raises(UserError, match="norm"):
        ReconstructionError(nn.Identity(), norm="L3")
    guarded = Guarded(nn.Identity(), {"error": detector(0)})
    with pytest.raises(UserError, match="'error' has no threshold"):
        guarded.decide(points(2))
    with pytest.raises(UserError, match="at least 99 clean examples"):
        guarded.calibrate(points(98), fpr=0.01)
    with pytest.raises(UserError, match="between 0 and 1"):
        guarded.calibrate(points(98), fpr=0.0)
    with pytest.raises(UserError, match="empty"):
        guarded.calibrate(torch.empty(0, 3), fpr=0.1)
    with pytest.raises(UserError, match="finite"):
        guarded.calibrate(points(20) * torch.nan, fpr=0.1)


def test_rejected_is_one_more_class_where_any_detector_refuses():
    """Exactly where `accept` says no; elsewhere the classes answer as they did."""
    both = Guarded(nn.Identity(), [detector(0), detector(1)]).calibrate(points(199), fpr=0.2)
    x = points(400, seed=1)
    logits, accepted = both.decide(x)
    answers = Rejecting(both, weight=0.5)(x)
    assert answers.shape == (400, 4)
    assert torch.equal(answers[:, :3], logits)
    assert torch.equal(answers.argmax(1) == 3, ~accepted)
    assert torch.equal(answers.argmax(1)[accepted], logits.argmax(1)[accepted])
    thresholds = torch.stack([d.threshold for d in both.detectors.values()])
    worst = (x[:, :2].abs() / thresholds - 1).amax(1)
    assert torch.allclose(answers[:, 3], logits.amax(1) + 0.5 * worst)


def test_a_targeted_attack_on_it_is_wrong_and_accepted_where_a_plain_one_is_refused():
    """Class 1 needs `x_1 > x_0`; x_1 itself is watched: only the attacker who knows lowers x_0 instead."""
    from trompe.attacks.gradient import PGD
    from trompe.core.domains import Vectors
    from trompe.core.geometry import Ball

    watched = Guarded(nn.Identity(), [detector(1)]).eval()
    watched.detectors["0"].threshold.fill_(1.0)
    x, target = torch.tensor([[1.5, 0.5], [1.4, 0.9]]), torch.tensor([1, 1])
    attack = PGD(Ball(1.5), steps=40, targeted=True, random_start=False, domain=Vectors())
    early = PGD(
        Ball(1.5), steps=1, step_size=1.5, targeted=True, random_start=False, domain=Vectors()
    )
    for model, how, passes in ((watched, early, False), (Rejecting(watched), attack, True)):
        found = how(model, x, target)
        logits, accepted = watched.decide(found)
        assert logits.argmax(1).tolist() == [1, 1]
        assert accepted.tolist() == [passes, passes]


class TurnedRound(Rejecting):
    def forward(self, x):
        answers = super().forward(x)
        top = answers[:, :-1].amax(1, keepdim=True)
        return torch.cat([answers[:, :-1], 2 * top - answers[:, -1:]], 1)


class RefusedByTheFirst(Rejecting):
    def forward(self, x):
        first = Guarded(self.guarded.classifier, [self.guarded.detectors["0"]])
        return guarded.Rejecting(first, self.weight)(x)


@pytest.mark.parametrize("broken", [TurnedRound, RefusedByTheFirst])
def test_a_class_of_rejections_that_is_not_the_detectors_is_noticed(broken, monkeypatch):
    monkeypatch.setitem(globals(), "Rejecting", broken)
    with pytest.raises(AssertionError):
        test_rejected_is_one_more_class_where_any_detector_refuses()
