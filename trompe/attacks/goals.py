"""What a perturbation shared by all values at a site is to achieve."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trompe.core.errors import UserError
from trompe.core.losses import cross_entropy, squared_distance

__all__ = ["DAMAGE", "FLIP", "MISLEAD", "MISREAD", "Goal", "misread"]


@dataclass(frozen=True)
class Goal:
    """What a shared perturbation is to achieve, as a loss of each example; it needs no gradient of its own.

    Args:
        name: what it is called.
        loss: `(tail(v'), reference) -> (B,)`, to be descended.
        two_way: whether labels 0 are sent one way and labels 1 the other; else all go the same way.

    >>> FLIP.directions(torch.tensor([0, 1]))
    tensor([ 1, -1])
    """

    name: str
    loss: Callable[[Tensor, Tensor], Tensor] = field(repr=False)
    two_way: bool = False

    def directions(self, reference: Tensor) -> Tensor:
        """+1 `(B,)` for 0 -> 1 and for all where there is one way only, -1 for 1 -> 0."""
        if not self.two_way:
            return torch.ones(len(reference), dtype=torch.int64, device=reference.device)
        return _directions(reference)


def _directions(y: Tensor) -> Tensor:
    if y.ndim != 1 or y.is_floating_point() or bool(((y != 0) & (y != 1)).any()):
        raise UserError(
            "a shift between two classes needs labels (B,) that are 0 or 1; cut the data to two "
            "classes, as in mnist[3,8]"
        )
    return 1 - 2 * y


FLIP = Goal("flip", lambda logits, y: cross_entropy(logits, 1 - y), two_way=True)
"""Each of two classes is read as the other: `BCE(1 - y, C(v'))` (Creswell et al. 2017, section 3.2)."""
MISLEAD = Goal("mislead", lambda logits, y: -cross_entropy(logits, y))
"""The label is lost, whichever takes its place; the reference is the label."""


def misread(sharpness: float = 1.0) -> Goal:
    r"""`MISREAD` of scores that are multiplied first: :math:`\mathrm{softmax}(\kappa z)_y`.

    The larger, the nearer to a plain count of right answers. A model that is unsure where it is right, such
    as one that averages or was trained against attacks, has one perturbation that lowers probabilities the
    most and another under which it errs the most.

    Args:
        sharpness: kappa.

    Raises:
        UserError: a sharpness that is not above zero.

    >>> scores, y = torch.tensor([[0.1, 0.0]]), torch.tensor([0])
    >>> [round(float(misread(k).loss(scores, y)), 2) for k in (1.0, 100.0)]
    [0.52, 1.0]
    """
    if not 0 < sharpness < math.inf:
        raise UserError(f"the sharpness must be above zero, got {sharpness}")
    name = "misread" if sharpness == 1 else f"misread, {sharpness:g} times as sharp"
    return Goal(name, lambda z, y: (sharpness * z).softmax(1).gather(1, y[:, None])[:, 0])


MISREAD = misread()
"""The label is probably lost: the loss is the probability that it keeps, a smooth rate of right answers.

The loss of `MISLEAD` goes on falling on examples that are lost already, at the expense of others. For large
perturbations this goal is the better one; for small ones the two do the same.
"""
DAMAGE = Goal("damage", lambda output, clean: -squared_distance(output, clean))
"""The output is far from what it was; the reference is the tail's clean output."""
