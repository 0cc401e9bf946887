"""What attacks share that look for the smallest perturbation: ranking, penalty, and its weight.

Iterates that are adversarial are ranked by their distance, all others after them by their margin: where
an attack fails, it returns the input that came nearest to success.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trompe.attacks.base import margin_of
from trompe.core.geometry import norm, per_example
from trompe.core.losses import squared_distance
from trompe.core.protocols import Region
from trompe.core.search import Evaluation, Found, Objective, Solver

__all__ = [
    "Distance",
    "Patient",
    "best_of",
    "elastic",
    "patience",
    "penalised",
    "ranking",
    "weights",
]

Distance = Callable[[Tensor, Tensor], Tensor]
_LARGEST = 1e10


def ranking(distance: Tensor, excess: Tensor) -> Tensor:
    """The score of iterates `(B,)`: `-1 / (1 + distance)` where `excess < 0`, else `excess`.

    `excess` is the margin that is left to win, so a negative score means adversarial, and -1 means
    adversarial at distance zero.

    >>> ranking(torch.tensor([1.0, 3.0, 0.0]), torch.tensor([-2.0, -9.0, 5.0]))
    tensor([-0.5000, -0.2500,  5.0000])
    """
    return torch.where(excess < 0, -1 / (1 + distance), excess)


def elastic(beta: float) -> Distance:
    """`||x' - x||_2^2 + beta ||x' - x||_1`, `(B,)`: the distance of the elastic net."""

    def distance(x: Tensor, other: Tensor) -> Tensor:
        return squared_distance(x, other) + beta * norm(other - x, "L1")

    return distance


def penalised(
    to_input: Callable[[Tensor], Tensor],
    targeted: bool,
    confidence: float,
    distance: Distance | None = None,
) -> Objective:
    """The objective of Carlini & Wagner: `||x' - x||_2^2 + c max(m(x') + confidence, 0)`, `m` the margin.

    The margin of class y is to become negative, that of a target is to become positive (2017, equation
    f_6). `data` holds `x`, `y` and each example's weight `c`; `to_input` maps the variable to an input.

    Args:
        distance: ranks adversarial iterates; L2 unless given.
    """

    def objective(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        x = to_input(v)
        excess = margin_of(model(x), data["y"], targeted) + confidence
        squared = squared_distance(x, data["x"])
        loss = squared + data["c"] * excess.clamp_min(0)
        with torch.no_grad():
            far = squared.sqrt() if distance is None else distance(x, data["x"])
            score = ranking(far, excess)
        return Evaluation(loss, score, score < 0)

    return objective


def weights(attempt: Callable[[Tensor], Found], c: Tensor, rounds: int) -> Found:
    """Search each example's weight `c` `(B,)`, smallest that succeeds, and keep the best of all rounds.

    A weight that fails is multiplied by ten until one succeeds; then the interval between the largest failure
    and the smallest success is halved (Carlini & Wagner 2017, section VI-A).
    """
    low, high = torch.zeros_like(c), torch.full_like(c, torch.inf)
    best: Found | None = None
    for _ in range(rounds):
        found = attempt(c)
        best = found if best is None else best_of(best, found)
        high = torch.where(found.done, c, high)
        low = torch.where(found.done, low, c)
        middle = (low + high) / 2
        c = torch.where(high.isinf(), (10 * c).clamp_max(_LARGEST), middle)
    assert best is not None
    return best


def best_of(one: Found, other: Found) -> Found:
    """Each example's better result; a claim that was not confirmed counts as none."""
    scores = [torch.where(f.done, f.score, f.score.clamp_min(0)) for f in (one, other)]
    better = scores[1] < scores[0]
    return Found(
        torch.where(per_example(better, one.best), other.best, one.best),
        torch.where(better, scores[1], scores[0]),
        torch.where(better, other.done, one.done),
    )


@dataclass(frozen=True)
class Patient:
    """A solver whose examples leave when there is nothing left to win.

    An example settles where its start is adversarial already (no distance is smaller than zero) and, with a
    `window`, where over the last so many steps neither its least loss nor its best score fell by more than
    0.01%. The authors of C&W watch the loss alone, summed over the batch.
    """

    solver: Solver
    window: int | None = None

    def start(self, v: Tensor) -> Any:
        """The solver's own state; the least loss and score so far, and at the last look back."""
        none = torch.full((2, len(v)), torch.inf, dtype=v.dtype, device=v.device).T
        return {"inner": self.solver.start(v), "least": none, "mark": none}

    def settled(self, seen: Evaluation, state: Any, number: int, total: int) -> Tensor | None:
        """Who need not go on; None where this step is no time to ask."""
        if number == 0:
            return seen.score <= -1
        if not self._looks_back(number):
            return None
        mark: Tensor = state["mark"]
        return (_least(state, seen) >= mark - 1e-4 * mark.abs()).all(1)

    def step(
        self,
        v: Tensor,
        grad: Tensor,
        seen: Evaluation,
        state: Any,
        region: Region,
        number: int,
        total: int,
    ) -> tuple[Tensor, Any]:
        """One step of the solver."""
        v, inner = self.solver.step(v, grad, seen, state["inner"], region, number, total)
        if self.window is None:
            return v, {**state, "inner": inner}
        least = _least(state, seen)
        mark = least if self._looks_back(number) else state["mark"]
        return v, {"inner": inner, "least": least, "mark": mark}

    def _looks_back(self, number: int) -> bool:
        return self.window is not None and number % self.window == 0


def patience(solver: Solver, steps: int, abort_early: bool) -> Patient:
    """The solver with a window of a tenth of the steps, at least 50: momentum makes losses rise and fall."""
    return Patient(solver, max(50, math.ceil(steps / 10)) if abort_early else None)


def _least(state: Any, seen: Evaluation) -> Tensor:
    """The least loss and score so far, `(B, 2)`."""
    return torch.minimum(state["least"], torch.stack([seen.loss, seen.score], 1))
