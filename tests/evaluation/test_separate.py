"""Each attack of a suite alone: what it would be by itself, beside the worst case over all."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import pytest
import torch
from torch import Tensor, nn

from tests.evaluation.subjects import Noisy, Rejecting, Shift, Threshold, flat, truth
from trompe.attacks import PGD, Square
from trompe.attacks.base import Attack
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import execution
from trompe.core.geometry import Ball
from trompe.defenses import Reconstruct
from trompe.evaluation import Record, Result, evaluate, rounds, wilson
from trompe.evaluation.results import any_of_k

X = flat(0.0, 0.2, 0.35, 0.45, 0.55, 0.65, 0.8, 1.0)
Y = truth(X)
EPS = (0.1, 0.2, 0.4)
PHI = NormalDist().cdf


def suite() -> Mapping[str, Attack]:
    return {"PGD": PGD(Ball(0.2), steps=4), "near": Shift(by=0.1), "far": Shift(by=0.2)}


def bare(record: Record) -> Record:
    """Without the clock, the means, and what a test's attack remembers."""
    return replace(record, seconds=0.0, created="", extra={}, config={})


@pytest.mark.parametrize("model", [Threshold(), Rejecting(0.1)])
def test_a_rung_is_what_its_attack_is_by_itself(model: nn.Module) -> None:
    found = evaluate(model, suite(), (X, Y), eps=EPS, separate=True, batch=3)
    places = [(name, eps) for eps in EPS for name in suite()]
    for (name, eps), rung in zip(places, found.rungs, strict=True):
        record = evaluate(model, {name: suite()[name]}, (X, Y), eps=(eps,), batch=3).records[-1]
        assert bare(rung) == bare(record)
        assert rung.extra["wrong"] == record.extra["wrong"]
        assert rung.extra["attacked"] == record.extra["attacked"]


def test_the_worst_case_is_that_of_the_cascade() -> None:
    plain = evaluate(Threshold(), suite(), (X, Y), eps=EPS)
    found = evaluate(Threshold(), suite(), (X, Y), eps=EPS, separate=True)
    assert [r.value for r in found.records] == [r.value for r in plain.records]
    assert [c.shares for c in found.cases] == [c.shares for c in plain.cases]
    assert plain.rungs == ()
    assert all(case.alone == {} for case in plain.cases)


def test_each_attack_meets_all_who_are_right_clean() -> None:
    near, far = Shift(by=0.1), Shift(by=0.2)
    wrong = Y.clone()
    wrong[0] = 1 - wrong[0]
    found = evaluate(Threshold(), {"a": near, "b": far}, (X, wrong), eps=EPS, separate=True)
    met = random.seeds(0, 8).tolist()[1:] * len(EPS)
    assert near.met == met
    assert far.met == met
    assert [(s.tested, s.broken) for s in found.stages] == [(7, 2), (7, 2), *[(7, 2), (7, 4)] * 2]


def test_what_is_refused_is_counted_by_attack() -> None:
    """Shifted by 0.2, five of the six that are accepted clean land within 0.1 of the threshold or on it."""
    far = {"far": Shift(Ball(0.2), by=0.2)}
    found = evaluate(Rejecting(0.1), far, (X, Y), separate=True)
    with torch.no_grad():
        accepted, moved = Rejecting(0.1).decide(X)[1], X - 0.2 * (2 * Y - 1).view(-1, 1, 1, 1)
        refused = accepted & ~Rejecting(0.1).decide(moved)[1]
    assert found.stages[0].refused == found.rungs[0].extra["refused"] == int(refused.sum()) > 0
    assert evaluate(Threshold(), far, (X, Y), separate=True).rungs[0].extra["refused"] == 0


def test_the_worst_rung_is_the_lowest_at_the_largest_radius() -> None:
    found = evaluate(Threshold(), suite(), (X, Y), eps=EPS, separate=True)
    assert (found.worst_rung.attack, found.worst_rung.eps, found.worst_rung.value) == (
        "PGD",
        0.4,
        0.25,
    )
    with pytest.raises(UserError, match="separate=True"):
        _ = evaluate(Threshold(), suite(), (X, Y)).worst_rung


def test_a_rung_forgets_what_fell_at_a_smaller_radius_and_the_worst_case_does_not() -> None:
    class Weary(Shift):
        def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
            return super().run(model, x, y, seeds) if self.ball.eps < 0.3 else x

    found = evaluate(Threshold(), {"w": Weary(by=0.2)}, (X, Y), eps=(0.2, 0.4), separate=True)
    assert [r.value for r in found.rungs] == [0.5, 1.0]
    assert [r.value for r in found.records[1:]] == [0.5, 0.5]
    assert found.standing("w").tolist() == found.standing().tolist()


def test_a_rung_says_who_uses_it() -> None:
    found = evaluate(
        Threshold(), suite(), (X, Y), separate=True, threat="anyone", knows={"PGD": "all"}
    )
    assert [r.threat for r in found.rungs] == ["all", "anyone", "anyone"]
    assert list(found.rungs[0].config["suite"]) == ["PGD"]


# Randomness


def test_success_on_a_random_model_is_a_probability() -> None:
    """P(right) = Phi((level - by - 1/2) / spread), and right on all of k draws with that to the k."""
    n, k, y = 400, 5, torch.ones(400, dtype=torch.int64)
    attacks = {"a": Shift(Ball(0.2), by=0.05), "b": Shift(Ball(0.2), by=0.1)}
    found = evaluate(Noisy(0.1), attacks, (flat(*[0.65] * n), y), draws=k, separate=True)
    for rung, by in zip(found.rungs, (0.05, 0.1), strict=True):
        right = PHI((0.15 - by) / 0.1)
        assert rung.low is not None
        assert rung.high is not None
        assert rung.low < right < rung.high
        any_draw = any_of_k(rung)
        assert any_draw.value == rung.extra["wrong on any draw"]
        assert (any_draw.low, any_draw.high) == wilson(any_draw.value * n, n)
        assert any_draw.value == pytest.approx(1 - right**k, abs=0.06)
        assert any_draw.metric == "wrong on any of 5 draws"


class Spread(nn.Module):
    """An autoencoder whose code is the input, with a known deviation."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def encode(self, x: Tensor) -> torch.distributions.Normal:
        return torch.distributions.Normal(x, torch.full_like(x, self.deviation))

    def decode(self, z: Tensor) -> Tensor:
        return z


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_success_on_a_drawn_reconstruction_is_a_probability(scale: float) -> None:
    """Four pixels with deviation 2 s d have a mean of deviation s d: P(right) = Phi((m - eps) / (s d))."""
    n, k, y = 300, 8, torch.ones(300, dtype=torch.int64)
    model = Reconstruct(Spread(0.2), Threshold(), scale=scale).eval()
    with execution(draws=4):
        found = evaluate(
            model, {"PGD": PGD(Ball(0.1), steps=5, early_stop=False), "Square": Square(Ball(0.1), steps=30)},
            (flat(*[0.65] * n), y), draws=k, separate=True,
        )  # fmt: skip
    right = PHI(0.05 / (0.1 * scale))
    assert found.clean_accuracy == pytest.approx(PHI(0.15 / (0.1 * scale)), abs=0.02)
    rung = found.rungs[0]
    assert rung.value == pytest.approx(right, abs=3 * math.sqrt(right * (1 - right) / (n * k)))
    assert any_of_k(rung).value == pytest.approx(1 - right**k, abs=0.08)
    assert found.robust_accuracy == pytest.approx(right, abs=0.03)


def test_luck_is_no_success_alone_either() -> None:
    """Of the draws that choose, the luckiest of twelve ways is wrong on most; of fresh ones on a half."""

    class Fickle(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            m = random.normal((len(x),), x) * (x[:, 0, 0, 0] - 0.5).sign()
            return torch.stack([-m, m], 1)

    y = torch.ones(300, dtype=torch.int64)
    attacks = {str(by): Shift(Ball(0.1), by=by) for by in (-0.02, -0.01, 0.01, 0.02)}
    found = evaluate(Fickle().eval(), attacks, (flat(*[0.55] * 300), y), draws=4, separate=True)
    for rung in found.rungs:
        assert rung.value == pytest.approx(0.5, abs=0.05)
    assert found.standing(*attacks).mean() == pytest.approx(0.5, abs=0.05)


# Pairs


def gap(found: Result, one: str, other: str) -> Record:
    return Record.difference("gap", found.standing(one), found.standing(other))


def test_two_attacks_are_compared_image_by_image() -> None:
    found = evaluate(Threshold(), suite(), (X, Y), eps=EPS, separate=True)
    record = gap(found, "near", "PGD")
    assert record.value == found.rungs[-2].value - found.rungs[-3].value == 0.5
    assert record.n == 8
    assert found.standing("near", "PGD").tolist() == found.standing("PGD").tolist()
    assert found.standing("PGD", level=0).tolist() == [1, 1, 1, 0, 0, 1, 1, 1]
    with pytest.raises(UserError, match="'C&W' was not measured alone; measured were PGD, near"):
        found.standing("C&W")
    with pytest.raises(UserError, match="separate=True"):
        evaluate(Threshold(), suite(), (X, Y)).standing("PGD")


def test_the_interval_of_a_difference_is_that_of_agresti_and_min() -> None:
    """Their Table: b and c discordant of n give (c - b) / (n + 2), with half an example in each cell."""
    n, b, c = 100, 12, 4
    one = torch.tensor([1.0] * b + [0.0] * c + [1.0] * (n - b - c))
    other = torch.tensor([0.0] * b + [1.0] * c + [1.0] * (n - b - c))
    record = Record.difference("gap", one, other)
    p12, p21, m = (b + 0.5) / (n + 2), (c + 0.5) / (n + 2), n + 2
    half = 1.96 * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / m)
    assert record.value == pytest.approx(0.08)
    assert record.low == pytest.approx(p12 - p21 - half, abs=1e-4)
    assert record.high == pytest.approx(p12 - p21 + half, abs=1e-4)
    with pytest.raises(UserError, match="cannot pair 3"):
        Record.difference("gap", torch.ones(3), torch.ones(4))


# Resuming


def test_what_was_measured_together_is_not_taken_for_alone(tmp_path: Path) -> None:
    evaluate(Threshold(), suite(), (X, Y), eps=EPS, folder=tmp_path, batch=3)
    first = evaluate(Threshold(), suite(), (X, Y), eps=EPS, folder=tmp_path, batch=3, separate=True)
    model = Threshold()
    again = evaluate(model, suite(), (X, Y), eps=EPS, folder=tmp_path, batch=3, separate=True)
    assert model.counts["forwards"] == 0
    assert again.cases == first.cases
    assert [bare(r) for r in again.rungs] == [bare(r) for r in first.rungs]
    assert len(first.rungs) == 9


def test_cases_of_another_meaning_are_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(Threshold(), suite(), (X, Y), folder=tmp_path)
    monkeypatch.setattr(rounds, "_MEANING", 0)
    model = Threshold()
    evaluate(model, suite(), (X, Y), folder=tmp_path)
    assert model.counts["forwards"] > 0


def test_a_deadline_leaves_rungs_of_what_was_done() -> None:
    part = evaluate(Threshold(), suite(), (X, Y), batch=3, deadline=time.monotonic(), separate=True)
    assert not part.complete
    assert [rung.n for rung in part.rungs] == [3, 3, 3]
