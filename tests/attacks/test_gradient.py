"""The rules of the attacks inside a ball, step by step."""

from typing import Any

import pytest
import torch
from torch import nn

from trompe.attacks import APGDT, BIM, PGD, RandFGSM
from trompe.attacks.gradient import AutoSteps
from trompe.core.domains import Box
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.core.search import Evaluation

FREE = Box(-torch.inf, torch.inf)


def sizes_under(losses: list[float]) -> list[float]:
    """Auto-PGD's step after each look, at losses that are given."""
    rule = AutoSteps(Ball(1.0), rho=0.75)
    v = torch.zeros(1, 2)
    state, seen = rule.start(v), []
    for number, loss in enumerate(losses):
        look = Evaluation(torch.tensor([loss]), torch.zeros(1), torch.zeros(1, dtype=torch.bool))
        v, state = rule.step(v, torch.ones(1, 2), look, state, FREE, number, len(losses))
        seen.append(float(state["size"]))
    return seen


def test_autopgd_keeps_its_step_while_three_quarters_of_the_looks_improve() -> None:
    falling = [-float(k) for k in range(100)]
    assert set(sizes_under(falling)) == {2.0}


def test_autopgd_does_not_count_the_first_look_as_an_improvement() -> None:
    """Of the 22 steps to the first checkpoint 17 would do; 16 improve."""
    for better, size in ((17, 2.0), (16, 1.0)):
        first = [-float(min(k, better)) for k in range(100)]
        assert sizes_under(first)[21:23] == [2.0, size]


def test_autopgd_halves_a_step_that_gains_nothing() -> None:
    sizes = sizes_under([0.0] * 100)
    assert [sizes[k] for k in (21, 22, 40, 41, 57)] == [2.0, 1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    "make",
    [
        lambda: PGD(Ball(0.1), step_size=-0.1),
        lambda: BIM(Ball(0.1), step_size=0.0),
        lambda: RandFGSM(Ball(0.1), alpha=-0.1),
        lambda: APGDT(Ball(0.1), targets=0),
    ],
)
def test_settings_that_would_do_nothing_or_harm_are_refused(make: Any) -> None:
    with pytest.raises(UserError):
        make()


def test_basic_steps_are_a_fifth_of_the_radius() -> None:
    model = nn.Flatten().eval()
    x = torch.full((1, 1, 1, 2), 0.4)
    found = BIM(Ball(0.3), steps=1, early_stop=False)(model, x, torch.tensor([0]))
    assert torch.allclose((found - x).abs(), torch.full_like(x, 0.06), atol=1e-6)
