"""The search: what it returns, who leaves, what random losses may claim, and the differentiable form."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.domains import Box, Images, Vectors
from trompe.core.errors import UserError
from trompe.core.execution import execution, metered
from trompe.core.geometry import Ball
from trompe.core.search import Evaluation, Found, GradientWarning, search, unroll
from trompe.core.solvers import Adam, Steepest

FREE = Box(-torch.inf, torch.inf)


class Scale(nn.Module):
    """`w * x`, without convolutions: it is searched as it is."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def towards(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
    """The squared distance of the output to each example's target; done within its own radius."""
    loss = (model(v) - data["goal"]).square().sum(1)
    return Evaluation(loss, loss.detach(), loss.detach() < data["near"])


def problem(rows: int = 9, size: int = 3) -> dict[str, Tensor]:
    goal = torch.linspace(-2, 2, rows * size, dtype=torch.float64).view(rows, size)
    return {"goal": goal, "near": torch.logspace(-6, 0, rows, dtype=torch.float64)}


def run(data: Any, start: Tensor | None = None, **settings: Any) -> Found:
    v = torch.zeros_like(data["goal"]) if start is None else start
    settings = {"steps": 60, "region": FREE, "solver": Adam(0.1), **settings}
    return search(towards, Scale(), v, data=data, **settings)


def test_it_minimises_and_says_so() -> None:
    data = problem()
    found = run(data, steps=200)
    assert bool(found.done.all())
    assert torch.allclose(found.score, (found.best - data["goal"]).square().sum(1))
    assert bool((found.score < data["near"]).all())


def test_leaving_changes_the_cost_and_not_the_success() -> None:
    data = problem()
    with metered() as early:
        first = run(data, leave=True)
    with metered() as late:
        second = run(data, leave=False)
    assert torch.equal(first.done, second.done)
    assert early.forwards < late.forwards
    assert late.forwards == 9 * 61
    assert late.backwards == 9 * 60
    assert bool((second.score <= first.score + 1e-12).all())


def test_who_left_comes_back_in_place() -> None:
    data = problem()
    order = torch.tensor([4, 0, 8, 2, 6, 1, 7, 3, 5])
    found, shuffled = run(data), run({k: v[order] for k, v in data.items()})
    assert torch.equal(found.best[order], shuffled.best)
    assert torch.equal(found.done[order], shuffled.done)


def test_the_best_iterate_is_returned_and_not_the_last() -> None:
    """A step far too long jumps over the minimum and back; the nearest visit counts."""
    data = {"goal": torch.full((2, 1), 1.0, dtype=torch.float64), "near": torch.zeros(2)}
    visits: list[Tensor] = []
    found = run(
        data,
        solver=Steepest(0.7, Ball(1.0)),
        steps=6,
        leave=False,
        callback=lambda step, rows, v, seen: visits.append(v[:, 0].clone()),
    )
    seen = torch.stack(visits)
    assert len(seen) == 7, "every step and the last look"
    best = (seen - 1).abs().min(0).values
    assert torch.allclose((found.best[:, 0] - 1).abs(), best)
    assert float((seen[-1] - 1).abs().max()) > float(best.max()) + 0.05


def test_the_callback_names_the_rows() -> None:
    data = problem()
    seen: list[tuple[int, list[int]]] = []
    run(data, callback=lambda step, rows, v, e: seen.append((step, rows.tolist())))
    assert seen[0] == (0, list(range(9)))
    assert all(set(b[1]) <= set(a[1]) for a, b in pairwise(seen))
    assert seen[-1][1] != list(range(9))


def test_restarts_are_for_survivors() -> None:
    data = problem()
    asked: list[int] = []

    def start(data: Any, seeds: Tensor, restart: int) -> Tensor:
        asked.append(len(seeds))
        return torch.full_like(data["goal"], float(restart))

    found = run(data, start, steps=15, restarts=4)  # type: ignore[arg-type]
    assert asked[0] == 9
    assert asked == sorted(asked, reverse=True)
    assert asked[-1] < 9
    once = run(data, torch.zeros_like(data["goal"]), steps=15)
    assert bool((found.score <= once.score).all())
    assert torch.equal(found.best[once.done], once.best[once.done])


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_chunks_are_the_whole(size: int) -> None:
    data = problem()
    with execution(chunk=size):
        found = run(data, region=Vectors().region(torch.zeros(9, 3).double(), Ball(1.0, "L2")))
    whole = run(data, region=Vectors().region(torch.zeros(9, 3).double(), Ball(1.0, "L2")))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(found, whole, strict=True))


def test_what_does_not_fit_is_split() -> None:
    data = problem()
    sizes: list[int] = []

    def hungry(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        sizes.append(len(v))
        if len(v) > 3:
            raise torch.OutOfMemoryError("no room")
        return towards(model, v, data)

    start = torch.zeros_like(data["goal"])
    found = search(hungry, Scale(), start, Adam(0.1), steps=60, region=FREE, data=data)
    assert sizes[:3] == [9, 5, 3]
    assert torch.allclose(found.best, run(data).best)


def test_iterates_stay_in_their_regions() -> None:
    data = problem()
    region = Images().region(torch.rand(9, 1, 1, 3, dtype=torch.float64), Ball(0.2))
    start = torch.rand(9, 1, 1, 3, dtype=torch.float64)
    visits: list[Tensor] = []

    def objective(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        return towards(model, v.flatten(1), data)

    def note(step: int, rows: Tensor, v: Tensor, seen: Evaluation) -> None:
        visits.append(v)

    search(objective, Scale(), region.project(start), Adam(0.1), steps=9, region=region, data=data,
           leave=False, callback=note)  # fmt: skip
    assert all(torch.equal(region.project(v), v) for v in visits)


# What an objective remembers.


def counting(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
    """Each example's weight counts its steps; the loss says what the weight was."""
    loss = (model(v) - data["goal"]).square().sum(1)
    terms = {"weight": data["weight"] + 1, "loss": loss}
    return Evaluation(loss, loss.detach(), loss.detach() < data["near"], terms)


def test_a_term_that_the_data_name_is_found_there_at_the_next_step() -> None:
    """Once for each step, whoever leaves and however often an iterate is looked at."""
    data = problem() | {"weight": torch.zeros(9, dtype=torch.float64)}
    seen: list[tuple[int, Tensor]] = []
    found = search(
        counting, Scale(), torch.zeros_like(data["goal"]), Adam(0.1), steps=60, region=FREE, data=data,
        callback=lambda step, rows, v, e: seen.append((step, e.terms["weight"])),
    )  # fmt: skip
    assert len({len(weights) for _, weights in seen}) > 1, "nobody leaves on the way"
    assert all(bool((weights == step + 1).all()) for step, weights in seen)
    assert not any(e.requires_grad for _, e in seen)
    assert not data["weight"].any()
    assert torch.equal(found.best, run(data).best)


def test_a_differentiable_search_remembers_too() -> None:
    data = problem() | {"weight": torch.zeros(9, dtype=torch.float64)}

    def growing(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        seen = counting(model, v, data)
        return seen._replace(loss=seen.loss * (1 + data["weight"]))

    settings: dict[str, Any] = {"steps": 3, "region": FREE, "data": data}
    v, visits = torch.zeros_like(data["goal"]), []
    last = unroll(growing, Scale(), v, Steepest(0.01, Ball(1.0, "L2")), **settings)
    search(growing, Scale(), v, Steepest(0.01, Ball(1.0, "L2")), leave=False, **settings,
           callback=lambda step, rows, v, seen: visits.append(v))  # fmt: skip
    assert torch.allclose(last.detach(), visits[-1], atol=1e-12)
    assert last.detach().any()


# Random losses.


class Coin(nn.Module):
    """Whatever the input, the answer is noise."""

    def forward(self, x: Tensor) -> Tensor:
        return x + random.normal(tuple(x.shape), x)


def lucky(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
    value = model(v).sum(1) + 0.5
    return Evaluation(value, value.detach(), value.detach() < 0)


def test_a_lucky_draw_does_not_leave() -> None:
    """About a third of the draws claim success; nine of ten fresh ones never do."""
    rows: list[int] = []
    start = torch.zeros(50, 1, dtype=torch.float64)
    found = search(
        lucky, Coin().eval(), start, Steepest(1e-9, Ball(1.0)), steps=5, region=FREE,
        callback=lambda step, left, v, seen: rows.append(len(left)),
    )  # fmt: skip
    assert rows == [50] * 6
    assert not found.done.any()


def test_iterates_are_ranked_on_common_draws() -> None:
    """With noise far larger than the loss, only a common draw ranks the iterates rightly."""

    def noisy(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        loss = (v - 1).square().sum(1) + 100 * random.normal((len(v),), v)
        return Evaluation(loss, loss.detach(), torch.zeros_like(loss, dtype=torch.bool))

    start = torch.zeros(20, 1, dtype=torch.float64)
    found = search(noisy, Coin(), start, Steepest(0.3, Ball(1.0)), steps=8, region=FREE)
    assert torch.allclose(found.best, torch.full_like(found.best, 0.9))


def test_a_refuted_claim_is_not_returned_for_a_confirmed_one() -> None:
    """At 0 only the common draw is lucky; from 1 on success is certain, if less brilliant."""

    def deceptive(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        noise = random.uniform((len(v),), v)
        value = -v[:, 0]
        common = data["common"]
        trap = torch.where(noise == common, -5.0, 1.0)
        score = torch.where(v[:, 0] < 0.5, trap, torch.full_like(trap, -1.0)).detach()
        return Evaluation(value, score, score < 0)

    from trompe.core.objective import COMMON

    start = torch.zeros(4, 1, dtype=torch.float64)
    with random.streams(random.seeds(0, 4), COMMON):
        common = random.uniform((4,), start)
    found = search(
        deceptive, Coin(), start, Steepest(1.0, Ball(1.0)), steps=3, region=FREE,
        data={"common": common},
    )  # fmt: skip
    assert bool(found.done.all())
    assert torch.equal(found.best, torch.ones_like(start))


def test_who_leaves_takes_along_what_was_confirmed() -> None:
    """At 0 the score is better and claims nothing: it does not stand in for the success at 1."""

    def split(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        there = v[:, 0].detach() > 0.5
        return Evaluation(-v[:, 0], torch.where(there, -1.0, -5.0).to(v.dtype), there)

    start = torch.zeros(3, 1, dtype=torch.float64)
    found = search(split, Scale(), start, Steepest(1.0, Ball(1.0)), steps=3, region=FREE)
    assert bool(found.done.all())
    assert torch.equal(found.best, torch.ones_like(start))


def test_a_later_success_replaces_an_earlier_refuted_one() -> None:
    """The first start's score is better, and no fresh draw confirms it; the second start is certain."""

    def start(data: Any, seeds: Tensor, restart: int) -> Tensor:
        return torch.full((len(seeds), 1), float(restart), dtype=torch.float64)

    def doubtful(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        trap = torch.where(random.uniform((len(v),), v) == data["common"], -5.0, -4.0)
        certain = v[:, 0].detach() > 0.5
        score = torch.where(certain, -1.0, trap.double())
        return Evaluation(0 * v[:, 0], score, certain | (score == -5))

    from trompe.core.objective import COMMON

    with random.streams(random.seeds(0, 4), COMMON):
        common = random.uniform((4,), torch.zeros(1, dtype=torch.float64))
    found = search(
        doubtful, Coin(), start, Steepest(1e-9, Ball(1.0)), steps=2, region=FREE,
        data={"common": common}, restarts=2,
    )  # fmt: skip
    assert bool(found.done.all())
    assert torch.equal(found.best, torch.ones_like(found.best))


def test_a_search_that_could_only_repeat_itself_is_left_out() -> None:
    data = problem()
    with metered() as once:
        run(data, steps=3)
    with metered() as thrice:
        run(data, steps=3, restarts=3)
    assert thrice == once


def test_draws_are_averaged() -> None:
    spread: list[Tensor] = []

    def noisy(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        loss = (v * random.normal(tuple(v.shape), v)).sum(1)
        return Evaluation(loss, loss.detach(), torch.zeros_like(loss, dtype=torch.bool))

    class Note(Steepest):
        def step(self, v: Tensor, grad: Tensor, *rest: Any) -> Any:
            spread.append(grad)
            return super().step(v, grad, *rest)

    start = torch.zeros(200, 1, dtype=torch.float64)
    for draws in (1, 25):
        with execution(draws=draws):
            search(noisy, Coin(), start, Note(0.1, Ball(1.0)), steps=1, region=FREE)
    assert float(spread[0].std()) == pytest.approx(1.0, rel=0.2)
    assert float(spread[1].std()) == pytest.approx(0.2, rel=0.2)


# What it refuses, and what it leaves alone.


def test_a_severed_gradient_is_an_error() -> None:
    class Severed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach()

    data = problem()
    with pytest.raises(UserError, match="no gradient path"):
        search(towards, Severed(), data["goal"] * 0 + 5, Adam(), steps=2, region=FREE, data=data)


def test_a_gradient_of_zero_is_a_warning_and_nan_an_error() -> None:
    data = problem()
    data["near"] = data["near"] * 0
    with pytest.warns(GradientWarning, match="exactly zero"):
        search(towards, Scale(0.0), data["goal"] * 0, Adam(), steps=2, region=FREE, data=data)

    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / x

    with pytest.raises(UserError, match="NaN"):
        search(towards, Broken(), data["goal"] * 0, Adam(), steps=2, region=FREE, data=data)


def test_start_and_model_are_left_alone() -> None:
    data, start, model = problem(), torch.zeros(9, 3, dtype=torch.float64), Scale()
    with torch.no_grad():
        found = search(towards, model, start, Adam(0.1), steps=5, region=FREE, data=data)
    assert not start.any()
    assert not found.best.requires_grad
    assert model.factor.grad is None
    assert model.factor.requires_grad
    with torch.inference_mode():
        made = {k: v.clone() for k, v in data.items()}
        again = search(towards, model, start.clone(), Adam(0.1), steps=5, region=FREE, data=made)
    assert torch.equal(found.best, again.best)


# The differentiable form.


@pytest.mark.parametrize(
    "solver", [Adam(0.1), Adam(0.1, schedule="cosine"), Steepest(0.2, Ball(9.0, "L2"))]
)
def test_unrolled_gradients_agree_with_finite_differences(solver: Any) -> None:
    goal = torch.tensor([[0.7, -0.4], [1.5, 0.2]], dtype=torch.float64)
    start = torch.tensor([[0.1, 0.3], [-0.2, 0.4]], dtype=torch.float64)
    near = torch.zeros(2, dtype=torch.float64)

    class Bent(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x) + 0.3 * x

    def answer(start: Tensor, goal: Tensor) -> Tensor:
        data = {"goal": goal, "near": near}
        return unroll(towards, Bent(), start, solver, steps=4, region=FREE, data=data)

    assert torch.autograd.gradcheck(
        answer, (start.requires_grad_(), goal.requires_grad_()), eps=1e-6, atol=1e-5
    )


def test_unrolled_and_searched_iterates_are_the_same() -> None:
    data = problem()
    visits: list[Tensor] = []
    run(data, steps=5, leave=False, callback=lambda step, rows, v, seen: visits.append(v))
    start = torch.zeros_like(data["goal"])
    last = unroll(towards, Scale(), start, Adam(0.1), steps=5, region=FREE, data=data)
    assert torch.allclose(last.detach(), visits[-1], atol=1e-12)
