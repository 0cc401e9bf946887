"""The batched L-BFGS against SciPy's, closed forms, and its own contract."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from trompe.core.domains import Box
from trompe.core.objective import Evaluation
from trompe.core.search import search, unroll
from trompe.core.solvers import LBFGS

NOTHING = nn.Identity().eval()
EVERYWHERE = Box(-math.inf, math.inf)


def seen(loss: Tensor) -> Evaluation:
    return Evaluation(loss, loss.detach(), torch.zeros_like(loss, dtype=torch.bool))


def quadratic(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
    """`1/2 v'Av - b'v` of each example."""
    return seen(0.5 * torch.einsum("bi,bij,bj->b", v, data["a"], v) - (data["b"] * v).sum(1))


def rosenbrock(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
    return seen((100 * (v[:, 1:] - v[:, :-1] ** 2) ** 2 + (1 - v[:, :-1]) ** 2).sum(1))


def problem(count: int = 6, size: int = 12) -> dict[str, Tensor]:
    root = torch.randn(count, size, size, dtype=torch.float64)
    a = root @ root.transpose(1, 2) + 0.1 * torch.eye(size)
    return {"a": a, "b": torch.randn(count, size, dtype=torch.float64)}


def test_solves_quadratics() -> None:
    data = problem()
    start = torch.zeros_like(data["b"])
    found = search(quadratic, NOTHING, start, LBFGS(), steps=150, region=EVERYWHERE, data=data).best
    torch.testing.assert_close(found, torch.linalg.solve(data["a"], data["b"]), atol=1e-5, rtol=0)


def test_solves_quadratics_in_a_box_like_scipy() -> None:
    data = problem()
    start = torch.zeros_like(data["b"])
    found = search(
        quadratic, NOTHING, start, LBFGS(), steps=150, region=Box(-0.2, 0.1), data=data
    ).best
    assert found.min() >= -0.2
    assert found.max() <= 0.1
    for a, b, ours in zip(data["a"].numpy(), data["b"].numpy(), found, strict=True):
        best = minimize(
            lambda v, a=a, b=b: (0.5 * v @ a @ v - b @ v, a @ v - b),
            np.zeros(len(b)),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-0.2, 0.1)] * len(b),
            options={"ftol": 1e-14, "gtol": 1e-9},
        )
        torch.testing.assert_close(ours, torch.from_numpy(best.x), atol=1e-5, rtol=0)


def test_bends_with_the_valley() -> None:
    start = torch.tensor([[-1.2, 1.0], [0.0, 0.0], [2.0, -1.0]], dtype=torch.float64)
    found = search(rosenbrock, NOTHING, start, LBFGS(), steps=200, region=EVERYWHERE)
    torch.testing.assert_close(found.best, torch.ones_like(start), atol=1e-4, rtol=0)


def test_an_example_does_not_depend_on_its_batch() -> None:
    data = problem()
    start = torch.zeros_like(data["b"])
    box = Box(-0.2, 0.1)
    together = search(quadratic, NOTHING, start, LBFGS(), steps=25, region=box, data=data).best
    for i in range(len(start)):
        one = {key: value[i : i + 1] for key, value in data.items()}
        alone = search(
            quadratic, NOTHING, start[i : i + 1], LBFGS(), steps=25, region=box, data=one
        ).best
        torch.testing.assert_close(alone, together[i : i + 1], atol=1e-9, rtol=0)


@pytest.mark.parametrize("window", [1, 5])
def test_a_cliff_only_shortens_steps(window: int) -> None:
    def edge(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        inside = (v < 2).all(1)
        loss = ((v - 1.9) ** 2).sum(1)
        return seen(torch.where(inside, loss, loss + 1e6))

    start = torch.zeros(3, 4, dtype=torch.float64)
    solver = LBFGS(first_step=20.0, window=window)
    found = search(edge, NOTHING, start, solver, steps=60, region=EVERYWHERE)
    torch.testing.assert_close(found.best, torch.full_like(start, 1.9), atol=1e-4, rtol=0)


def test_the_differentiable_form_follows_the_solution() -> None:
    """The minimum of the quadratic moves with b as `A^-1`."""
    data = problem(count=1, size=4)
    b = data["b"].requires_grad_()
    start = torch.zeros_like(b, requires_grad=False)
    found = unroll(
        quadratic, NOTHING, start, LBFGS(), steps=40, region=EVERYWHERE, data={**data, "b": b}
    )
    (slope,) = torch.autograd.grad(found[0, 0], b)
    torch.testing.assert_close(
        slope[0], torch.linalg.inv(data["a"][0].detach())[0], atol=1e-3, rtol=1e-3
    )
