"""Solvers against independent implementations."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from trompe.core.domains import Box
from trompe.core.geometry import Ball, norm
from trompe.core.search import Evaluation, search
from trompe.core.solvers import LBFGS, Adam, Steepest

FREE = Box(-torch.inf, torch.inf)


def objective(function: Callable[[Tensor], Tensor]) -> Any:
    def look(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        loss = function(v)
        return Evaluation(loss, loss.detach(), torch.zeros_like(loss, dtype=torch.bool))

    return look


def quadratic(v: Tensor) -> Tensor:
    """Ill-conditioned, a minimum of its own for each example."""
    size = v.shape[1]
    weights = torch.logspace(0, 3, size, dtype=v.dtype)
    shift = torch.linspace(-1, 2, size, dtype=v.dtype)
    return (weights * (v - shift).square()).sum(1) + (v.sum(1) - 1).square()


def rosenbrock(v: Tensor) -> Tensor:
    return (100 * (v[:, 1:] - v[:, :-1] ** 2) ** 2 + (1 - v[:, :-1]) ** 2).sum(1)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_adam_is_torchs_step_by_step(schedule: Any) -> None:
    start = torch.randn(4, 5, dtype=torch.float64)
    visits: list[Tensor] = []
    search(
        objective(rosenbrock), nn.Identity(), start, Adam(0.05, schedule=schedule), steps=25,
        region=FREE, leave=False, callback=lambda step, rows, v, seen: visits.append(v.clone()),
    )  # fmt: skip
    v = start.clone().requires_grad_()
    theirs = torch.optim.Adam([v], 0.05)
    plan = torch.optim.lr_scheduler.LambdaLR(
        theirs, lambda n: 0.5 * (1 + np.cos(np.pi * n / 25)) if schedule == "cosine" else 1.0
    )
    for mine in visits[:-1]:
        assert torch.allclose(mine, v.detach(), atol=1e-12)
        theirs.zero_grad()
        rosenbrock(v).sum().backward()
        theirs.step()
        plan.step()
    assert torch.allclose(visits[-1], v.detach(), atol=1e-12)


@pytest.mark.parametrize(("function", "steps"), [(quadratic, 120), (rosenbrock, 200)])
@pytest.mark.parametrize("box", [None, (-0.5, 0.8)])
def test_lbfgs_finds_what_scipy_finds(
    function: Callable[[Tensor], Tensor], steps: int, box: tuple[float, float] | None
) -> None:
    torch.manual_seed(1)
    start = torch.rand(6, 5, dtype=torch.float64) - 0.3
    region = FREE if box is None else Box(*box)
    found = search(
        objective(function), nn.Identity(), start, LBFGS(), steps=steps, region=region, leave=False
    )
    for row in range(6):

        def value(v: np.ndarray) -> tuple[float, np.ndarray]:
            point = torch.tensor(v[None], requires_grad=True)
            loss = function(point)[0]
            (grad,) = torch.autograd.grad(loss, point)
            return float(loss.detach()), grad[0].numpy()

        bounds = None if box is None else [box] * 5
        theirs = minimize(value, start[row].numpy(), jac=True, method="L-BFGS-B", bounds=bounds,
                          options={"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-10})  # fmt: skip
        assert float(found.score[row]) <= theirs.fun + 1e-5 * max(1.0, abs(theirs.fun))


def test_lbfgs_examples_do_not_share_anything() -> None:
    torch.manual_seed(0)
    start = torch.rand(4, 5, dtype=torch.float64)
    settings: Any = {"steps": 25, "region": FREE, "leave": False}
    together = search(objective(quadratic), nn.Identity(), start, LBFGS(), **settings)
    for row in range(4):
        one = start[row : row + 1]
        alone = search(objective(quadratic), nn.Identity(), one, LBFGS(), **settings)
        assert torch.allclose(alone.best[0], together.best[row], atol=1e-9)


@pytest.mark.parametrize("kind", ["L1", "L2", "Linf"])
def test_a_steepest_step_has_its_length(kind: Any) -> None:
    solver = Steepest(0.3, Ball(1.0, kind))
    v, grad = torch.zeros(5, 20, dtype=torch.float64), torch.randn(5, 20, dtype=torch.float64)
    seen = Evaluation(*(torch.zeros(5) for _ in range(3)))
    ahead, _ = solver.step(v, grad, seen, None, FREE, 0, 1)
    assert torch.allclose(norm(ahead, kind), torch.full((5,), 0.3, dtype=torch.float64))
    assert bool(((ahead * grad).sum(1) < 0).all())


def test_momentum_accumulates_normalised_gradients() -> None:
    """Dong et al. 2018, equation 6, by hand."""
    solver = Steepest(1.0, Ball(1.0), momentum=0.5)
    v = torch.zeros(1, 2, dtype=torch.float64)
    seen = Evaluation(*(torch.zeros(1) for _ in range(3)))
    first = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    second = torch.tensor([[-1.0, 3.0]], dtype=torch.float64)
    _, state = solver.step(v, first, seen, solver.start(v), FREE, 0, 2)
    ahead, state = solver.step(v, second, seen, state, FREE, 1, 2)
    assert torch.allclose(state, torch.tensor([[0.125, 0.875]], dtype=torch.float64))
    assert ahead.tolist() == [[-1.0, -1.0]]


def test_sparse_steps_move_what_can_move() -> None:
    solver = Steepest(0.1, Ball(1.0, "L1"), top=0.25)
    v = torch.tensor([[0.0, 0.5, 0.5, 0.5]], dtype=torch.float64)
    grad = torch.tensor([[9.0, 1.0, 3.0, -2.0]], dtype=torch.float64)
    seen = Evaluation(*(torch.zeros(1) for _ in range(3)))
    ahead, _ = solver.step(v, grad, seen, None, Box(0.0, 1.0), 0, 1)
    assert torch.allclose(ahead, torch.tensor([[0.0, 0.5, 0.4, 0.5]], dtype=torch.float64))
