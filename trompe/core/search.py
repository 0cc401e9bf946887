"""Per-example optimisation: the hot loop of the package.

`search` minimises a loss per example over a variable per example and returns each example's best
iterate. One forward pass a step serves the descent, the ranking and the decision to leave; examples
that are done leave the batch, and come back in their place at the end.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import flushed_denormals, has_convolutions, policy, spend, working_copy
from trompe.core.geometry import per_example
from trompe.core.objective import (
    COMMON,
    Evaluation,
    GradientWarning,
    Live,
    Objective,
    Problem,
    remembered,
)
from trompe.core.protocols import Region
from trompe.core.tree import take, tensors, tree_map

__all__ = [
    "Evaluation",
    "Found",
    "GradientWarning",
    "Objective",
    "Solver",
    "Start",
    "search",
    "unroll",
]


class Solver(Protocol):
    """A rule that turns an iterate and its gradient into the next iterate.

    `start(v)` makes the state, a tree of `(B, ...)` tensors; `step(...)` returns the next iterate inside
    `region` and the next state. `number` is the step, `total` the number of steps. A solver may also have
    `settled(seen, state, number, total) -> (B,)` booleans, or None: who leaves, as there is no more to win.
    """

    def start(self, v: Tensor) -> Any: ...
    def step(
        self,
        v: Tensor,
        grad: Tensor,
        seen: Evaluation,
        state: Any,
        region: Region,
        number: int,
        total: int,
    ) -> tuple[Tensor, Any]: ...


class Found(NamedTuple):
    """The best iterates `(B, *)`, their scores `(B,)` and whether each was done `(B,)`."""

    best: Tensor
    score: Tensor
    done: Tensor


Start = Tensor | Callable[[Any, Tensor, int], Tensor]
Callback = Callable[[int, Tensor, Tensor, Evaluation], None]


def search(
    objective: Objective,
    model: nn.Module,
    start: Start,
    solver: Solver,
    *,
    steps: int,
    region: Region,
    data: Any = None,
    seeds: Tensor | None = None,
    restarts: int = 1,
    leave: bool = True,
    verify: bool = False,
    callback: Callback | None = None,
) -> Found:
    """Minimise `objective(model, v, data).loss` over each example's `v` and return the best iterates.

    Args:
        objective: maps the model, iterates `(B, *)` and their data to an `Evaluation`.
        model: differentiated on a private copy that the policy in force chooses; left as found.
        start: the first iterates `(B, *)`, or a function of (data, seeds, restart number) that makes them.
        solver: the rule of descent.
        steps: gradients spent on each example, per restart.
        region: where iterates may lie.
        data: a tree of `(B, ...)` tensors that belong to the examples: labels, targets, weights.
        seeds: `(B,)`, the examples' random streams; `random.seeds(0, B)` by default.
        restarts: searches from new starts, on the examples that are not done; none that could only repeat.
        leave: whether examples that are done leave at once; otherwise all spend all steps.
        verify: check each better success at once in full precision, where ranks put the least certain first.
        callback: called at each step with its number, the rows searched, their iterates and evaluation.

    Raises:
        UserError: no gradient path, or a gradient that is NaN.

    Works inside `no_grad`. An example leaves a random model only on k of n fresh draws (`Execution.confirm`).
    """
    given = start if isinstance(start, Tensor) else None
    total = len(_first_tensor((given, data, seeds)))
    seeds = random.seeds(0, total) if seeds is None else seeds
    everything = (given, data, region, seeds.to(_first_tensor((given, data)).device))
    problem = Problem(objective, working_copy(model), model, policy())
    plan = _Plan(start, solver, steps, restarts, leave, verify, callback)
    found: list[Found] = []
    at, chunk = 0, problem.how.chunk or _chunk(model, everything[3])
    chunk = math.ceil(total / math.ceil(total / chunk))  # parts of equal size
    with flushed_denormals(), torch.inference_mode(False):
        everything = tree_map(_recordable, everything)
        while at < total:
            rows = torch.arange(at, min(at + chunk, total), device=everything[3].device)
            part = everything if len(rows) == total else take(everything, rows)
            try:
                found.append(_restarted(problem, plan, part, rows))
            except torch.OutOfMemoryError:
                if len(rows) == 1:
                    raise
                chunk = (len(rows) + 1) // 2
                torch.cuda.empty_cache()
            else:
                at += len(rows)
    return found[0] if len(found) == 1 else Found(*map(torch.cat, zip(*found, strict=True)))


@dataclass(frozen=True)
class _Plan:
    """What a search was asked to do."""

    start: Start
    solver: Solver
    steps: int
    restarts: int
    leave: bool
    verify: bool
    callback: Callback | None


def _recordable(values: Tensor) -> Tensor:
    """The same values as autograd may save them: those made in inference mode are copied."""
    return values.clone() if values.is_inference() else values


def _first_tensor(tree: Any) -> Tensor:
    """Any tensor of the tree: it tells the number of examples and the device."""
    return next(tensors(tree))


def _chunk(model: nn.Module, seeds: Tensor) -> int:
    """Small batches keep a convolution's activations in a processor's cache; other models want large ones."""
    if seeds.device.type != "cpu":
        return len(seeds)
    small = 128 if policy().precision == "bf16" else 64  # the same number of bytes
    return small if has_convolutions(model) else 512


def _restarted(problem: Problem, plan: "_Plan", part: Any, rows: Tensor) -> Found:
    """One chunk: a first search of all its examples, and further ones of those that are not done."""
    found = _descend(problem, plan, part, rows, 0)
    repeats = not callable(plan.start) and not problem.random  # the same start, the same end
    for restart in range(1, 1 if repeats else plan.restarts):
        left = (~found.done).nonzero()[:, 0]
        if len(left) == 0:
            break
        again = _descend(problem, plan, take(part, left), rows[left], restart)
        keep = again.done | (again.score < found.score[left])
        found = Found(
            *(_put(old, left[keep], new[keep]) for old, new in zip(found, again, strict=True))
        )
    return found


def _put(values: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    return values.index_copy(0, rows, new)


def _descend(problem: Problem, plan: "_Plan", part: Any, rows: Tensor, restart: int) -> Found:
    """One search of some examples from one start."""
    given, data, region, seeds = part
    v = plan.start(data, seeds, restart) if callable(plan.start) else given
    live = _enter(v, plan.solver, data, region, seeds)
    found = Found(live.best, live.score, live.done)
    for step in range(plan.steps):
        count = restart * plan.steps + step
        seen, traced = problem.see(live, count)
        if plan.verify:
            seen = problem.verified(live, seen)
        if plan.callback is not None:
            plan.callback(step, rows[live.rows], live.v, seen)
        _improve(live, seen)
        gone = _leavers(problem, plan, live, seen, step, count)
        if gone is not None:
            found = _merge(found, take(live, gone.nonzero()[:, 0]))
            stay = (~gone).nonzero()[:, 0]
            if len(stay) == 0:
                return found
            live, seen = take((live, seen), stay)
            traced = problem.without(traced, live, stay, count)
        grad = problem.gradient(traced)
        if step in (0, plan.steps - 1):
            _check(grad, seen.done, first=count == 0)
        live.v, live.state = plan.solver.step(
            live.v, grad, seen, live.state, live.region, step, plan.steps
        )
        live.data = remembered(live.data, seen.terms)
        del traced, grad  # their memory, still in the cache, serves the next step
    _finish(problem, plan, live, rows, (restart + 1) * plan.steps)
    return _merge(found, live)


def _leavers(
    problem: Problem, plan: "_Plan", live: Live, seen: Evaluation, step: int, count: int
) -> Tensor | None:
    """Who leaves now: the done, once confirmed, and those whose solver has settled; None if nobody."""
    gone = None
    if plan.leave and bool(seen.done.any()):
        gone = problem.confirmed(live, seen.done, count)
        # Who leaves takes along what was confirmed: an iterate of better score that did not leave was not.
        live.best = torch.where(per_example(gone, live.v), live.v, live.best)
        live.score = torch.where(gone, seen.score, live.score)
        live.done = live.done | gone
    settled = getattr(plan.solver, "settled", None)
    idle = None if settled is None else settled(seen, live.state, step, plan.steps)
    if idle is not None and bool(idle.any()):
        judged = replace(live, v=live.best)
        live.done = torch.where(idle, problem.confirmed(judged, live.done & idle, count), live.done)
        gone = idle if gone is None else gone | idle
    return gone if gone is not None and bool(gone.any()) else None


def _enter(v: Tensor, solver: Solver, data: Any, region: Any, seeds: Tensor) -> Live:
    """The state of a search before its first step. The start is copied: inputs stay untouched."""
    v = v.detach().clone(memory_format=torch.contiguous_format)
    score = torch.full((len(v),), torch.inf, dtype=v.dtype, device=v.device)
    done = torch.zeros(len(v), dtype=torch.bool, device=v.device)
    rows = torch.arange(len(v), device=v.device)
    return Live(rows, v, v.clone(), score, done, solver.start(v), data, region, seeds)


def _improve(live: Live, seen: Evaluation) -> None:
    """Keep the iterates that are the best so far, copying as few single rows as can be."""
    better = seen.score < live.score
    rows = better.nonzero()[:, 0]
    if len(rows) == 0:
        return
    if len(rows) == len(better):
        live.best.copy_(live.v)
        live.score, live.done = seen.score, seen.done
        return
    if 2 * len(rows) < len(better):
        live.best.index_copy_(0, rows, live.v.index_select(0, rows))
    else:
        others = (~better).nonzero()[:, 0]
        kept = live.best.index_select(0, others)
        live.best.copy_(live.v).index_copy_(0, others, kept)
    live.score = torch.where(better, seen.score, live.score)
    live.done = torch.where(better, seen.done, live.done)


def _finish(problem: Problem, plan: "_Plan", live: Live, rows: Tensor, count: int) -> None:
    """Look at the last iterates, which no gradient was spent on, and confirm what is claimed."""
    with torch.no_grad():
        seen = problem.look(live, COMMON, draws=problem.how.draws)
    if plan.verify:
        seen = problem.verified(live, seen)
    if plan.callback is not None:
        plan.callback(plan.steps, rows[live.rows], live.v, seen)
    _improve(live, seen)
    live.v = live.best
    live.done = problem.confirmed(live, live.done, count)


def _merge(found: Found, live: Live) -> Found:
    """Put examples back in their place."""
    if len(live.rows) == len(found.score):
        return Found(live.best, live.score, live.done)
    new = (live.best, live.score, live.done)
    return Found(*(_put(old, live.rows, part) for old, part in zip(found, new, strict=True)))


def _check(grad: Tensor, done: Tensor, first: bool) -> None:
    low, high = map(float, grad.aminmax())  # NaN, if there is one, is both
    if not math.isfinite(high - low):
        raise UserError(
            "the gradient is NaN or infinite: check the model for logs, roots or divisions at zero"
        )
    if first and low == high == 0 and not bool(done.all()):
        warnings.warn(
            "every gradient is exactly zero at the start of the search: the loss is saturated or the model "
            "masks its gradients; use the margin or DLR loss, and run the doctor",
            GradientWarning,
            stacklevel=2,
        )


def unroll(
    objective: Objective,
    model: nn.Module,
    start: Tensor,
    solver: Solver,
    *,
    steps: int,
    region: Region,
    data: Any = None,
) -> Tensor:
    """The differentiable form: the last iterate `(B, *)`, as a function of `start` and of `data`.

    Every step stays in the autograd graph, so that a purifier that searches can be attacked through its
    search. Memory grows with `steps`.
    """
    with torch.enable_grad():
        v = start if start.requires_grad else start.detach().requires_grad_()
        state = solver.start(v)
        for step in range(steps):
            seen = objective(model, v, data)
            spend(forwards=len(v), backwards=len(v))
            (grad,) = torch.autograd.grad(seen.loss.sum(), v, create_graph=True)
            v, state = solver.step(v, grad, seen, state, region, step, steps)
            data = remembered(data, seen.terms)
    return v
