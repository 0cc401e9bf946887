"""Balls: projections against independent solvers, directions against duality, samples against their law."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch import Tensor

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.geometry import Ball, norm, per_example

NORMS: list[Any] = ["L1", "L2", "Linf"]
DUAL: dict[Any, Any] = {"L1": "Linf", "L2": "L2", "Linf": "L1"}

numbers = st.floats(-3, 3, allow_nan=False, width=32)
bounds = st.floats(0, 2, allow_nan=False, width=32)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensor, float, Tensor, Tensor]:
    """A batch of perturbations, a radius, and boxes around zero."""
    size = draw(st.integers(1, 6))
    rows = draw(st.integers(1, 3))

    def table(of: st.SearchStrategy[float]) -> Tensor:
        values = draw(st.lists(of, min_size=size * rows, max_size=size * rows))
        return torch.tensor(values, dtype=torch.float64).view(rows, size)

    return table(numbers), draw(st.floats(0, 4)), -table(bounds), table(bounds)


def nearest(
    delta: np.ndarray, eps: float, kind: str, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """The projection by its multiplier: a root of the norm along the path of penalised solutions."""

    def along(multiplier: float) -> np.ndarray:
        if kind == "L2":
            return np.clip(delta / (1 + multiplier), low, high)
        if kind == "L1":
            return np.clip(np.sign(delta) * np.maximum(np.abs(delta) - multiplier, 0), low, high)
        return np.clip(delta, np.maximum(low, -eps), np.minimum(high, eps))

    def size(value: np.ndarray) -> float:
        return float({"L1": np.abs(value).sum(), "L2": np.sqrt((value**2).sum())}[kind])

    if kind == "Linf" or size(along(0.0)) <= eps:
        return along(0.0)
    if eps < 1e-9:
        return np.zeros_like(delta)
    most = 1.0
    while size(along(most)) > eps:
        most *= 2
    return along(brentq(lambda t: size(along(t)) - eps, 0.0, most, xtol=1e-14, rtol=1e-14))


@pytest.mark.parametrize("kind", NORMS)
@given(problem=problems(), boxed=st.booleans())
@settings(max_examples=120, deadline=None, derandomize=True)
def test_projection_is_the_nearest_point(kind: Any, problem: Any, boxed: bool) -> None:
    delta, eps, low, high = problem
    if not boxed:
        low, high = torch.full_like(delta, -math.inf), torch.full_like(delta, math.inf)
    ball = Ball(eps, kind)
    found = ball.project(delta, low, high) if boxed else ball.project(delta)
    assert float((norm(found, kind) - eps).clamp_min(0).max()) <= 1e-9
    for row in range(len(delta)):
        parts = (t[row].numpy() for t in (delta, low, high))
        value, least, most = parts
        wanted = nearest(value, eps, kind, least, most)
        reached = np.linalg.norm(found[row].numpy() - value)
        assert np.allclose(found[row].numpy(), wanted, atol=1e-6), (found[row], wanted)
        assert reached <= np.linalg.norm(wanted - value) + 1e-7
    again = ball.project(found, low, high) if boxed else ball.project(found)
    assert torch.allclose(again, found, atol=1e-9)


@pytest.mark.parametrize("kind", NORMS)
@given(problem=problems())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_point_of_the_ball_is_nearer(kind: Any, problem: Any) -> None:
    """Against chance: two hundred feasible points, none nearer than the projection."""
    delta, eps, low, high = problem
    found = Ball(eps, kind).project(delta, low, high)
    best = (found - delta).square().sum(1)
    generator = torch.Generator().manual_seed(0)
    tries = torch.randn(200, *delta.shape, dtype=delta.dtype, generator=generator)
    tries = torch.minimum(torch.maximum(found + tries, low), high)
    size = norm(tries.flatten(0, 1), kind).view(200, -1, 1)
    tries = tries * (eps / size.clamp_min(1e-12)).clamp(max=1)
    assert bool(((tries - delta).square().sum(2) >= best - 1e-9 * (1 + best)).all())


@pytest.mark.parametrize("kind", NORMS)
def test_projection_of_images_is_that_of_the_flat_vector(kind: Any) -> None:
    delta = torch.randn(5, 2, 3, 4, dtype=torch.float64)
    low, high = -torch.rand_like(delta), torch.rand_like(delta)
    ball = Ball(0.7, kind)
    flat = ball.project(delta.flatten(1), low.flatten(1), high.flatten(1))
    assert torch.equal(ball.project(delta, low, high).flatten(1), flat)


@pytest.mark.parametrize("kind", NORMS)
def test_steepest_directions_attain_the_dual_norm(kind: Any) -> None:
    grad = torch.randn(50, 3, 4, dtype=torch.float64)
    direction = Ball(1.0, kind).steepest(grad)
    assert torch.allclose(norm(direction, kind), torch.ones(50, dtype=torch.float64))
    gained = (direction * grad).flatten(1).sum(1)
    assert torch.allclose(gained, norm(grad, DUAL[kind]))
    assert not Ball(1.0, kind).steepest(torch.zeros(2, 3)).any()


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_samples_fill_the_ball(kind: Any, size: int) -> None:
    """The radius of a uniform point has the law r^d, and no direction is preferred."""
    count = 4000
    like = torch.zeros(count, size, dtype=torch.float64)
    found = Ball(2.0, kind).sample(like, random.seeds(0, count))
    radius = norm(found, kind) / 2
    assert float(radius.max()) <= 1 + 1e-12
    law = radius.pow(size).sort().values
    gap = (law - torch.linspace(0, 1, count, dtype=torch.float64)).abs().max()
    assert float(gap) < 1.63 / math.sqrt(count), "Kolmogorov-Smirnov at 1%"
    assert float(found.mean(0).abs().max()) < 4 * 2 / math.sqrt(count)
    assert float((found > 0).double().mean(0).sub(0.5).abs().max()) < 4 * 0.5 / math.sqrt(count)


@pytest.mark.parametrize("kind", NORMS)
def test_samples_belong_to_examples(kind: Any) -> None:
    like, key = torch.zeros(6, 2, 3, dtype=torch.float64), random.seeds(4, 6)
    together = Ball(0.5, kind).sample(like, key)
    alone = torch.cat([Ball(0.5, kind).sample(like[i : i + 1], key[i : i + 1]) for i in range(6)])
    assert torch.equal(together, alone)


def test_radius_zero_leaves_nothing() -> None:
    delta = torch.randn(4, 5)
    for kind in NORMS:
        assert not Ball(0.0, kind).project(delta).any()
        assert not Ball(0.0, kind).project(delta, -torch.ones(4, 5), torch.ones(4, 5)).any()
        assert not Ball(0.0, kind).sample(delta, random.seeds(0, 4)).any()


def test_an_infinite_radius_changes_nothing() -> None:
    delta = torch.randn(4, 5)
    for kind in NORMS:
        assert torch.equal(Ball(math.inf, kind).project(delta), delta)


def test_norms_and_views() -> None:
    delta = torch.tensor([[[3.0, 0.0], [0.0, -4.0]]])
    assert [float(norm(delta, kind)) for kind in NORMS] == [7.0, 5.0, 4.0]
    assert per_example(torch.ones(2), torch.zeros(2, 3, 4)).shape == (2, 1, 1)


@pytest.mark.parametrize(("eps", "kind"), [(-1.0, "L2"), (math.nan, "L2"), (1.0, "L3")])
def test_balls_that_are_none(eps: float, kind: Any) -> None:
    with pytest.raises(UserError):
        Ball(eps, kind)


def test_a_coordinate_that_is_zero_takes_no_room_in_the_ball() -> None:
    """The box alone binds here: what could move but does not, must not count."""
    delta = torch.tensor([[1.0, 2.0, 0.0, 0.0]], dtype=torch.float64)
    low, high = torch.tensor([[0.0, 0.0, -1.0, -1.0]]), torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    found = Ball(1.5, "L2").project(delta, low.double(), high.double())
    assert found.tolist() == [[1.0, 1.0, 0.0, 0.0]]
