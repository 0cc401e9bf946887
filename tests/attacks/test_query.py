"""Square: what is peculiar to it; what it shares with all attacks is in the contract."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.attacks.contract import classifier, misled
from trompe.attacks import PGD, Square
from trompe.attacks.query import share, squares
from trompe.core import random
from trompe.core.domains import Images, Vectors
from trompe.core.errors import UserError
from trompe.core.execution import execution, metered
from trompe.core.geometry import Ball, norm


def linear(weight: Tensor) -> nn.Module:
    """A two-class model whose margin is `weight @ x`."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(len(weight), 2, bias=False)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([weight, -weight]) / 2)  # type: ignore[union-attr]
    return model.eval()


class Masked(nn.Module):
    """A classifier whose gradient is zero everywhere: it answers in steps."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return (self.model(x) * 8).round() / 8


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 7), (2, 9, 1), (1, 1, 6), (4, 1, 1)])
@pytest.mark.parametrize("kind", ["Linf", "L2"])
def test_any_channels_and_size(shape: tuple[int, ...], kind: Any) -> None:
    size = shape[0] * shape[1] * shape[2]
    weight = torch.linspace(1, 3, size, dtype=torch.float64).sin()
    x = torch.full((3, *shape), 0.5, dtype=torch.float64)
    y = torch.zeros(3, dtype=torch.int64)
    ball = Ball(0.2, kind)
    found = Square(ball, steps=200, early_stop=False)(linear(weight), x, y)
    assert float(norm(found - x, kind).max()) <= 0.2 + 1e-12
    # The margin of a linear model falls at most by eps times the dual norm of its weight.
    best = 0.2 * float(weight.abs().sum() if kind == "Linf" else weight.norm())
    fall = (x - found).flatten(1) @ weight
    assert float(fall.max()) <= best + 1e-9
    assert float(fall.min()) >= (0.5 if kind == "Linf" else 0.25) * best


def test_vectors_of_a_linear_model_are_solved_coordinate_by_coordinate() -> None:
    weight = torch.linspace(-1, 1.2, 12, dtype=torch.float64)
    x = torch.zeros(4, 12, dtype=torch.float64)
    attack = Square(Ball(0.5), steps=600, early_stop=False, domain=Vectors())
    found = attack(linear(weight), x, torch.zeros(4, dtype=torch.int64))
    best = -0.5 * weight.abs().sum()
    assert float((found @ weight - best).max()) <= 0.05 * float(best.abs())


def test_a_masked_gradient_does_not_stop_it() -> None:
    victim = classifier(Images())
    model, ball = Masked(victim.model), Ball(0.3)
    with pytest.warns(UserWarning, match="exactly zero"):
        held = PGD(ball, steps=10, random_start=False)(model, victim.x, victim.y)
    fallen = Square(ball, steps=150)(model, victim.x, victim.y)
    before = misled(model, held, victim.x, victim.y) > 0
    after = misled(model, fallen, victim.x, victim.y) > 0
    assert float(before.double().mean()) < 0.1
    assert float(after.double().mean()) > 0.8


def test_each_query_is_one_forward_and_nobody_pays_for_the_fallen() -> None:
    victim = classifier(Images())
    with metered() as all_steps:
        Square(Ball(0.3), steps=20, early_stop=False)(victim.model, victim.x, victim.y)
    # One look at the door; then 64 examples, 20 queries; those who claim success are looked at again.
    assert 64 * 20 + 1 <= all_steps.forwards <= 64 * 21 + 1
    assert all_steps.backwards == 0
    with metered() as leaving:
        Square(Ball(0.3), steps=20)(victim.model, victim.x, victim.y)
    assert leaving.forwards < 0.75 * all_steps.forwards


def test_restarts_are_spent_on_survivors_and_do_not_hurt() -> None:
    victim = classifier(Images())
    once = Square(Ball(0.12), steps=10)(victim.model, victim.x, victim.y)
    thrice = Square(Ball(0.12), steps=10, restarts=3)(victim.model, victim.x, victim.y)
    before, after = (
        misled(victim.model, found, victim.x, victim.y).detach() for found in (once, thrice)
    )
    assert bool((after >= before - 1e-12).all())
    fallen = before > 0
    assert torch.equal(once[fallen], thrice[fallen])
    assert bool((after > 0).sum() > fallen.sum())


class Noisy(nn.Module):
    """A coin per call decides for whatever input."""

    def forward(self, x: Tensor) -> Tensor:
        coin = random.normal((len(x), 1), x)
        return torch.cat([coin + 1.5, torch.zeros_like(coin)], 1)


def test_a_lucky_draw_is_no_success() -> None:
    """The answer has nothing to do with the input, so nobody may leave: all spend all their queries."""
    x, y = torch.full((16, 1, 4, 4), 0.5), torch.zeros(16, dtype=torch.int64)
    with metered() as cost:
        Square(Ball(0.1), steps=8)(Noisy().eval(), x, y)
    assert cost.forwards >= 16 * 8 + 1


def test_draws_are_averaged_in_one_batch() -> None:
    x, y = torch.full((2, 1, 4, 4), 0.5), torch.zeros(2, dtype=torch.int64)
    with execution(draws=5), metered() as cost:
        Square(Ball(0.1), steps=3)(Noisy().eval(), x, y)
    assert cost.forwards >= 2 * 3 * 5


def test_chunks_agree_with_the_whole() -> None:
    victim = classifier(Images())
    attack = Square(Ball(0.12), steps=30)
    whole = attack(victim.model, victim.x[:10], victim.y[:10])
    with execution(chunk=3):
        parts = attack(victim.model, victim.x[:10], victim.y[:10])
    assert float((whole - parts).abs().max()) < 1e-9


def test_windows_shrink_as_the_paper_says() -> None:
    marks = [0, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001]
    assert [share(i, 10000, 0.8) for i in marks] == [0.8 / 2**k for k in range(10)]
    assert [share(i, 100, 0.8) for i in (0, 81)] == [0.8, 0.8 / 2**9]


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8])
def test_bumps_have_unit_norm_and_opposite_halves(side: int) -> None:
    shape = squares(side, torch.empty(0, dtype=torch.float64))
    assert float(shape.norm()) == pytest.approx(1)
    assert bool((shape[: side // 2] > 0).all())
    assert bool((shape[side // 2 :] < 0).all())
    peak = shape[side // 2 :].abs().amax()
    assert float(shape[side // 2 :].abs()[-1, 0]) <= float(peak)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ball": Ball(1.0, "L1")}, "Linf and L2"),
        ({"steps": 0}, "at least 1"),
        ({"first_share": 0.0}, "first_share"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Square(**{"ball": Ball(0.1), **settings})
