"""Goals of an attacker who knows of a detector: what the model says, and how suspicious it looks."""

from collections.abc import Callable

import torch
from torch import Tensor

from trompe.attacks.universal import Goal
from trompe.core.errors import UserError

__all__ = ["evading", "watched"]


def watched(
    tail: Callable[[Tensor], Tensor], detector: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """A tail with the detector's score of the value at the site for one more column: `(B, K + 1)`.

    >>> watched(lambda v: v, lambda v: v.square().sum(1))(torch.tensor([[1.0, 2.0]])).tolist()
    [[1.0, 2.0, 5.0]]
    """
    return lambda v: torch.cat([tail(v), detector(v)[:, None]], 1)


def evading(goal: Goal, weight: float) -> Goal:
    """The same goal for a `watched` tail, and besides a low score: `loss + weight * score` for each example.

    An attacker who knows a detector adds its score to what he descends (Carlini & Wagner 2017, "Adversarial
    examples are not easily detected", section 3), here for one perturbation of all values.

    Args:
        goal: what the tail itself is to be brought to.
        weight: of the score, in the loss's units for one of the score.

    Raises:
        UserError: a weight that is negative.

    >>> from trompe.attacks.universal import FLIP
    >>> shy = evading(FLIP, weight=2.0)
    >>> shy.loss(torch.tensor([[0.0, 99.0, 0.25]]), torch.tensor([0]))
    tensor([0.5000])
    """
    if not 0 <= weight < float("inf"):
        raise UserError(f"the weight of a detector's score must be zero or more, got {weight}")

    def loss(output: Tensor, reference: Tensor) -> Tensor:
        return goal.loss(output[:, :-1], reference) + weight * output[:, -1]

    return Goal(f"{goal.name}, unseen at weight {weight:g}", loss, goal.two_way)
