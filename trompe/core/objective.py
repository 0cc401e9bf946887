"""One look at the iterates of a search: evaluation, gradient, ranking and confirmation.

An objective gives, per example, what is descended, what ranks iterates, and whether the example may
leave. Random objectives are ranked on common draws and confirmed on fresh ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.errors import UserError, is_severed
from trompe.core.execution import Execution, has_convolutions, is_lowered, spend
from trompe.core.tree import repeat, take, tree_map

__all__ = ["Evaluation", "GradientWarning", "Live", "Objective", "Problem", "Traced", "remembered"]

COMMON = 2**39  # the draw by which iterates of a random loss are ranked; starts are drawn at 0
FRESH = 1  # the first of the draws used for gradients
CONFIRM = 2**40  # the first of the draws that confirm a success


class GradientWarning(UserWarning):
    """Every gradient of a search was exactly zero at its start: it cannot move."""


class Evaluation(NamedTuple):
    """One look at the iterates: what is descended, what ranks them, and who may leave.

    Args:
        loss: `(B,)`, or `(B, K)` where a solver works on several functions at once.
        score: `(B,)`, lower is better; kept comparable between steps even where the loss is not.
        done: `(B,)` booleans.
        terms: a dictionary of `(B,)` tensors besides, for callbacks and solvers. A name that the data have
            too is remembered: the objective finds the value there at its next step.
    """

    loss: Tensor
    score: Tensor
    done: Tensor
    terms: Any = None


Objective = Callable[[nn.Module, Tensor, Any], Evaluation]


@dataclass
class Live:
    """Everything that belongs to the examples still searched; compacted as one tree."""

    rows: Tensor
    v: Tensor
    best: Tensor
    score: Tensor
    done: Tensor
    state: Any
    data: Any
    region: Any
    seeds: Tensor


class Traced(NamedTuple):
    """A loss, the iterates that it is a function of, and the rows whose gradient is wanted (None: all)."""

    loss: Tensor
    v: Tensor
    rows: Tensor | None = None


@dataclass
class Problem:
    """The objective on the working copy, and on the true model where decisions need it."""

    objective: Objective
    fast: nn.Module
    true: nn.Module
    how: Execution
    random: bool = False

    def look(self, live: Live, number: int, *, true: bool = False, draws: int = 1) -> Evaluation:
        """Evaluate the iterates on draw `number`, averaged over `draws` copies of the batch."""
        model = self.true if true else self.fast
        v, data = (
            (live.v, live.data)
            if draws == 1
            else (torch.cat([live.v] * draws), repeat(live.data, draws))
        )
        spend(forwards=len(v))
        with random.streams(live.seeds, number) as used:
            seen = self.objective(model, v, data)
        self.random = self.random or used.calls > 0
        if draws == 1:
            return seen
        mean = tree_map(lambda p: p.to(v.dtype).view(draws, -1, *p.shape[1:]).mean(0), seen)
        return mean._replace(done=mean.done * self.how.confirm[1] >= self.how.confirm[0])

    def see(self, live: Live, step: int) -> tuple[Evaluation, Traced]:
        """What the iterates are worth, and the way back to the gradient of their loss."""
        seen, traced = self.trace(live, step)
        return (self.ranked(live, seen) if self.random else seen), traced

    def trace(self, live: Live, step: int) -> tuple[Evaluation, Traced]:
        """One look whose loss remembers how it was computed."""
        live.v = live.v.detach().requires_grad_()
        with torch.enable_grad():
            seen = self.look(live, FRESH + step, draws=self.how.draws)
        traced = Traced(seen.loss, live.v)
        live.v = live.v.detach()
        return tree_map(Tensor.detach, seen), traced

    def without(self, traced: Traced, live: Live, stay: Tensor, step: int) -> Traced:
        """The trace of those who stay: looked at anew where that costs less than the leavers' gradients."""
        functions = traced.loss[0].numel()
        if len(stay) * (functions + 1) < len(traced.v) * functions:
            return self.trace(live, step)[1]
        return Traced(traced.loss, traced.v, stay)

    def gradient(self, traced: Traced) -> Tensor:
        """The gradient of the loss: `(B, *)`, or `(B, K, *)` where the loss is `(B, K)`."""
        grad = _gradient(traced.loss, traced.v, self.fast, self.how.draws)
        return grad if traced.rows is None else grad.index_select(0, traced.rows)

    def ranked(self, live: Live, seen: Evaluation) -> Evaluation:
        """The same look, its score and leave taken on the draws common to all iterates."""
        with torch.no_grad():
            common = self.look(live, COMMON, draws=self.how.draws)
        return seen._replace(score=common.score, done=common.done)

    def verified(self, live: Live, seen: Evaluation) -> Evaluation:
        """The same look; who claims the best success so far is judged in the model's own precision.

        A claim that only the lower one believes would push out the true ones before it.
        """
        if not is_lowered(self.fast):
            return seen
        rows = (seen.done & (seen.score < live.score)).nonzero()[:, 0]
        if len(rows) == 0:
            return seen
        some = take(replace(live, state=None), rows)
        with torch.no_grad():
            true = self.look(some, COMMON, true=True, draws=self.how.draws)
        score = seen.score.index_copy(0, rows, true.score.to(seen.score))
        return seen._replace(score=score, done=seen.done.index_copy(0, rows, true.done))

    def confirmed(self, live: Live, done: Tensor, step: int) -> Tensor:
        """Who really may leave: in the model's own precision, and on k of n fresh draws if it is random."""
        if (self.fast is self.true and not self.random) or not bool(done.any()):
            return done
        rows = done.nonzero()[:, 0]
        some = take(live, rows)
        need, tries = self.how.confirm if self.random else (1, 1)
        with torch.no_grad():
            number = CONFIRM + step if self.random else COMMON
            wins = sum(
                self.look(some, number + (t << 20), true=True).done.long() for t in range(tries)
            )
        return done.index_put((rows,), torch.as_tensor(wins >= need))


def remembered(data: Any, terms: Any) -> Any:
    """The data with the values that the objective gave for their names: a weight that adapts."""
    if terms is None:
        return data
    return {**data, **{name: terms[name] for name in terms.keys() & data.keys()}}


def _gradient(loss: Tensor, v: Tensor, model: nn.Module, draws: int) -> Tensor:
    """The gradient of each example's loss; `(B, K, *)` where the loss is `(B, K)`."""
    try:
        if loss.ndim == 1:
            (grad,) = torch.autograd.grad(loss, v, torch.ones_like(loss))
            spend(backwards=len(v) * draws)
            return grad
        spend(backwards=loss.numel() * draws)
        if has_convolutions(model):
            last = loss.shape[1] - 1
            parts = [
                torch.autograd.grad(loss[:, k].sum(), v, retain_graph=k < last)[0]
                for k in range(last + 1)
            ]
            return torch.stack(parts, 1)
        basis = torch.eye(loss.shape[1], dtype=loss.dtype, device=loss.device)[:, None].expand(
            -1, len(v), -1
        )
        (grads,) = torch.autograd.grad(loss, v, basis, is_grads_batched=True)
        return grads.transpose(0, 1)
    except RuntimeError as error:
        if is_severed(error):
            raise UserError(
                "no gradient path leads from the loss to the input: the model detaches it or is not "
                "differentiable; attack through BPDA, or with Square"
            ) from None
        raise
