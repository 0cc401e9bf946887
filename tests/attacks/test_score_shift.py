"""The shift learned from scores: exact on linear losses, honest about its queries; and broken variants."""

import math
import random as python_random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trompe.attacks.evasion import evading, watched
from trompe.attacks.score_shift import ScoreShift, ScoreStep
from trompe.attacks.universal import FLIP, Goal, NormPenalty, Perturbation, Universal
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import metered
from trompe.core.geometry import Ball

LINEAR = Goal("linear", lambda output, y: (1 - 2 * y) * output[:, 0], two_way=True)
"""A loss that is linear in the tail's output, and so in the shift where the tail is linear."""
NORMAL = torch.tensor([3.0, 0.0, -4.0, 0.0, 0.0], dtype=torch.float64)


class Linear(nn.Module):
    """Logits of a linear decoder behind a linear classifier, which must never be differentiated."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.noise, self.asked = noise, 0
        self.weight = nn.Parameter(torch.stack([-NORMAL, NORMAL]) / 2)
        self.eval()

    def forward(self, v: Tensor) -> Tensor:
        assert not torch.is_grad_enabled(), "a gradient was asked for"
        self.asked += len(v)
        logits = v @ self.weight.T
        return logits + self.noise * random.normal(tuple(logits.shape), logits)


def codes(n: int = 40) -> tuple[Tensor, Tensor]:
    """Codes on either side of the plane `NORMAL @ v = 0`."""
    with random.streams(random.seeds(0, n)):
        v = random.normal((n, 5), NORMAL)
    y = torch.arange(n) % 2
    side = (2 * y - 1)[:, None] * NORMAL / 5
    return v - (v @ NORMAL / 25)[:, None] * NORMAL + side, y


def how(**changes: Any) -> ScoreShift:
    plain = ScoreShift(NormPenalty(0.5), LINEAR, steps=60, lr=0.05, start=0.1, pairs=5, width=0.1)
    return replace(plain, **changes)


def slope(step: ScoreStep, v: Tensor, y: Tensor) -> Tensor:
    with random.streams(random.seeds(9, len(v))):
        return step.slope(v, y)[2]


def exact_for_a_linear_loss(kind: Callable[..., ScoreStep]) -> None:
    """With all directions the estimate is the gradient: that of the goal, and `rho * delta/|delta|`."""
    v, y = codes()
    step = kind(how(), Linear(), (5,))
    step.shift.double()
    delta = step.shift.delta.detach()
    expected = -NORMAL / 2 + 0.5 * delta / delta.norm()
    torch.testing.assert_close(slope(step, v, y), expected, rtol=1e-7, atol=1e-9)


def unbiased_with_fewer_directions(kind: Callable[..., ScoreStep]) -> None:
    v, y = codes()
    step = kind(how(budget=Ball(9.0, "L2"), pairs=2), Linear(), (5,))
    step.shift.double()
    mean = torch.stack([slope(step, v, y) for _ in range(200)]).mean(0)[0]
    torch.testing.assert_close(mean, -NORMAL / 2, rtol=0, atol=0.4)


def noise_is_common_to_a_pair(kind: Callable[..., ScoreStep]) -> None:
    """The tail's noise, a thousand times what a width of 1e-4 changes, cancels."""
    v, y = codes()
    step = kind(how(width=1e-4, budget=Ball(9.0, "L2")), Linear(noise=1.0), (5,))
    step.shift.double()
    torch.testing.assert_close(slope(step, v, y)[0], -NORMAL / 2, rtol=0, atol=1e-3)
    assert not torch.equal(slope(step, v, y), slope(step, v, y)), "each step has its own draws"


CHECKS = (exact_for_a_linear_loss, unbiased_with_fewer_directions, noise_is_common_to_a_pair)


@pytest.mark.parametrize("check", CHECKS)
def test_the_estimate(check: Callable[[Callable[..., ScoreStep]], None]) -> None:
    check(ScoreStep)


class Uphill(ScoreStep):
    def _ends(self, u: Tensor, v: Tensor, reference: Tensor) -> Tensor:
        return super()._ends(u, v, reference).flip(0)


class OneSided(ScoreStep):
    """Forgets the second query of a pair, as if the loss were zero there."""

    def _ends(self, u: Tensor, v: Tensor, reference: Tensor) -> Tensor:
        return super()._ends(u, v, reference) * torch.tensor([1.0, 0.0])


class Unscaled(ScoreStep):
    """Without the factor n / m."""

    def slope(self, v: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        goal, price, found = super().slope(v, reference)
        return goal, price, found * min(self.how.pairs, 5) / 5


class Free(ScoreStep):
    """Forgets the price."""

    def slope(self, v: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        kept, self.how = self.how, replace(self.how, budget=NormPenalty(0.0))
        found = super().slope(v, reference)
        self.how = kept
        return found


class FreshNoise(ScoreStep):
    """Meets other noise at every query."""

    def _ends(self, u: Tensor, v: Tensor, reference: Tensor) -> Tensor:
        ends = []
        for end in (0, 1):
            self.seed += 1
            ends.append(super()._ends(u, v, reference)[end])
        return torch.stack(ends)


class SameDirections(ScoreStep):
    def _directions(self, delta: Tensor) -> Tensor:
        self.taken, kept = 0, self.taken
        found = super()._directions(delta)
        self.taken = kept
        return found


@pytest.mark.parametrize("mutant", [Uphill, OneSided, Unscaled, Free, FreshNoise, SameDirections])
def test_broken_estimates_fail(mutant: type[ScoreStep]) -> None:
    failed = 0
    for check in CHECKS:
        try:
            check(mutant)
        except AssertionError:
            failed += 1
    assert failed


def learned(seed: int = 0, tail: Any = None, **changes: Any) -> Perturbation:
    v, y = codes()
    return how(**changes).fit(tail or Linear(), [(v.float(), y)], seed=seed)


def as_floats(tail: nn.Module) -> nn.Module:
    return tail.float()


def test_on_a_linear_decoder_and_classifier_it_is_the_closed_form() -> None:
    """Along the plane's normal; of length t where another step gains what it costs, `5 s(5 - 5t) = rho`."""
    shift = learned(tail=as_floats(Linear()), goal=FLIP, steps=200, lr=0.2, width=0.01)
    length = 1 - math.log(0.1 / 0.9) / 5
    torch.testing.assert_close(
        shift.delta[0].detach(), length * NORMAL.float() / 5, rtol=0, atol=0.02
    )


def test_it_finds_what_gradients_find() -> None:
    class Open(Linear):
        def forward(self, v: Tensor) -> Tensor:
            return v @ self.weight.T

    v, y = codes()
    common = {"goal": FLIP, "budget": NormPenalty(0.1), "steps": 200}
    asked = learned(tail=as_floats(Open()), **common, width=0.01)
    plain = how(**common)
    white = Universal(plain.budget, FLIP, steps=200, lr=plain.lr, start=plain.start)
    known = white.fit(as_floats(Open()), [(v.float(), y)])
    torch.testing.assert_close(asked.delta, known.delta, rtol=0, atol=0.02)
    flipped = as_floats(Open())(asked(v.float(), FLIP.directions(y))).argmax(1)
    assert torch.equal(flipped, 1 - y)


def test_every_query_is_counted() -> None:
    tail = as_floats(Linear())
    with metered() as cost:
        learned(tail=tail, pairs=3, steps=7)
    assert cost.forwards == tail.asked == how(pairs=3, steps=7).queries(batch=40, site=(5,))
    assert cost.forwards == 2 * 3 * 7 * 40


def test_the_same_seed_gives_the_same_bits_and_global_generators_are_left_alone() -> None:
    tail = as_floats(Linear(noise=0.3))
    kept = torch.get_rng_state(), np.random.get_state()[1].copy(), python_random.getstate()  # noqa: NPY002
    first, again, other = (learned(seed=s, tail=tail, pairs=2).delta for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(kept[0], torch.get_rng_state())
    assert (kept[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert kept[2] == python_random.getstate()
    assert tail.weight.grad is None
    assert tail.weight.requires_grad


def test_a_tail_that_cannot_be_differentiated_will_do() -> None:
    def scores(v: Tensor) -> Tensor:
        return torch.from_numpy(v.detach().numpy() @ np.stack([-NORMAL, NORMAL], 1) / 2).float()

    v, y = codes()
    shift = learned(tail=scores, goal=FLIP, steps=200)
    assert torch.equal(scores(shift(v.float(), FLIP.directions(y))).argmax(1), 1 - y)


def test_it_resumes_in_mid_training() -> None:
    v, y = codes()
    step = ScoreStep(how(pairs=2), Linear(), (5,))
    step.shift.double()
    for _ in range(3):
        step(v, y)
    again = ScoreStep(how(pairs=2), Linear(), (5,), seed=0)
    again.shift.double()
    again.load_state_dict(step.state_dict())
    for each in (step, again):
        each(v, y)
    assert torch.equal(step.shift.delta, again.shift.delta)


def test_an_attacker_who_knows_the_detector_stays_where_it_is_blind() -> None:
    """Both coordinates turn the label, and the detector watches the first: the shift leaves it alone."""
    y = torch.arange(20) % 2
    v = torch.stack([torch.zeros(20), 2.0 * y - 1], 1)
    tail = watched(lambda z: torch.stack([-z.sum(1), z.sum(1)], 1), lambda z: z[:, 0].square())
    deltas = []
    for weight in (0.0, 3.0):
        how = Universal(NormPenalty(0.05), evading(FLIP, weight), steps=200, lr=0.1, start=0.0)
        shift = how.fit(tail, [(v, y)])
        assert torch.equal(tail(shift(v, FLIP.directions(y)))[:, :2].argmax(1), 1 - y)
        deltas.append(shift.delta.detach()[0].tolist())
    assert deltas[0][0] == pytest.approx(deltas[0][1], abs=0.1)
    assert abs(deltas[1][0]) < 0.1 < 1 < deltas[1][1]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: how(pairs=0), "pairs must be"),
        (lambda: how(width=0.0), "width positive"),
        (lambda: how(steps=0), "steps must be"),
        (lambda: evading(FLIP, -1.0), "zero or more"),
    ],
)
def test_slips_are_told(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        make()
