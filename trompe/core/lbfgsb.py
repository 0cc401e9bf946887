"""SciPy's L-BFGS-B, one example at a time in float64: the published solver behind the call of `search`.

It is slow, and a reference: what the batched solvers are measured against, and what older papers used.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trompe.core.domains import Box, Near
from trompe.core.errors import UserError
from trompe.core.execution import flushed_denormals, policy
from trompe.core.objective import Live, Objective, Problem
from trompe.core.protocols import Region
from trompe.core.search import Found
from trompe.core.tree import take, tree_map

__all__ = ["doubled", "scipy_search"]

MEMORY, FACTOR = 25, 10.0
"""Curvature pairs, and the relative decrease (in units of rounding) below which the solver stops."""


def scipy_search(
    objective: Objective,
    model: nn.Module,
    start: Callable[[Any, Tensor, int], Tensor],
    *,
    steps: int,
    region: Region,
    data: Any,
    seeds: Tensor,
    restarts: int = 1,
) -> Found:
    """Minimise each example's loss by `scipy.optimize`'s L-BFGS-B and return the best iterates.

    The settings are those of Tabacof et al. 2016: 25 corrections, `factr` 10, bounds on each coordinate.
    Model, data and iterates are taken to float64, so that the line search is not stopped by rounding. A
    random model meets the same draws at every evaluation. An interrupt ends it between two evaluations.

    Args:
        objective, model, data, seeds, restarts: as for `search`.
        start: makes the first iterates from (data, seeds, restart number).
        steps: evaluations allowed for each example, per restart; the last line search may pass it.
        region: a `Box`, or an Linf ball around a point: bounds on coordinates.

    Raises:
        UserError: another region, no gradient path, a gradient that is NaN.
    """
    with flushed_denormals(), torch.inference_mode(False):
        exact = doubled(model)
        problem = Problem(objective, exact, exact, policy())
        everything = tree_map(_doubled, (data, region, seeds))
        found = []
        for row in range(len(seeds)):
            data, region, key = take(everything, torch.tensor([row], device=seeds.device))
            starts = [start(data, key, restart) for restart in range(restarts)]
            tries = [_minimised(problem, v, data, region, key, steps) for v in starts]
            found.append(min(tries, key=lambda one: float(one.score)))
    return Found(*map(torch.cat, zip(*found, strict=True)))


def doubled(model: nn.Module) -> nn.Module:
    """A private, frozen copy of the model in float64."""
    return copy.deepcopy(model).requires_grad_(False).double()


def _bounds(region: Region, v: Tensor) -> np.ndarray:
    """The lowest and the highest value of each coordinate, `(D, 2)`.

    Raises:
        UserError: a region that is no box.
    """
    low: Any
    high: Any
    if isinstance(region, Box):
        low, high = region.low, region.high
    elif isinstance(region, Near) and region.ball.norm == "Linf" and region.low is None:
        low, high = region.center - region.ball.eps, region.center + region.ball.eps
    else:
        raise UserError("SciPy's L-BFGS-B bounds single coordinates: the region must be a box")
    edges = [torch.as_tensor(edge).to(v).expand_as(v).cpu().numpy().ravel() for edge in (low, high)]
    return np.stack(edges, 1)


def _doubled(values: Tensor) -> Tensor:
    return values.to(torch.float64, copy=True) if values.is_floating_point() else values.clone()


def _minimised(
    problem: Problem, v: Tensor, data: Any, region: Region, seeds: Tensor, steps: int
) -> Found:
    """One example from one start."""
    from scipy.optimize import minimize

    nothing = torch.zeros(1, dtype=torch.bool, device=v.device)
    worst = torch.full((1,), torch.inf, dtype=v.dtype, device=v.device)
    live = Live(seeds, v, v, worst, nothing, None, data, region, seeds)

    def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        live.v = torch.from_numpy(flat.copy()).to(v.device).view_as(v)
        seen, traced = problem.trace(live, 0)  # always the same draw
        slope = problem.gradient(traced)
        if not bool(torch.isfinite(slope).all()):
            raise UserError(
                "the gradient is NaN or infinite: check the model for logs, roots or divisions at zero"
            )
        if bool(seen.score < live.score):
            live.best, live.score, live.done = live.v, seen.score, seen.done
        return float(seen.loss), slope.cpu().numpy().ravel()

    minimize(
        value_and_slope,
        region.project(v).cpu().numpy().ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=_bounds(region, v),
        options={
            "maxcor": MEMORY,
            "ftol": FACTOR * np.finfo(np.float64).eps,
            "gtol": 1e-5,
            "maxfun": steps,
            "maxiter": steps,
        },
    )
    return Found(live.best, live.score, live.done)
