"""The doors of the harness: inputs, labels and models that fit, and attacks that stay in their bounds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trompe.attacks.base import Attack
from trompe.core import random
from trompe.core.checks import check_labels
from trompe.core.errors import UserError
from trompe.core.execution import spend
from trompe.core.geometry import Ball, norm, per_example
from trompe.data import Dataset
from trompe.models import check_classifier

__all__ = ["Data", "Progress", "admit", "batches", "clipped", "kind_of", "length"]

Progress = Callable[[int, int | None, str], None]
_SLACK = 1e-5
Data = Dataset | tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]]


def batches(data: Data, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Inputs, labels and indices in batches, whatever the data came as; nothing is kept."""
    if size < 1:
        raise UserError(f"a batch holds at least 1 example, got {size}")
    if isinstance(data, Dataset):
        for x, y, index in data.batches(size):
            yield x, _labels(y), index
        return
    at = 0
    for given, labels in _pairs(data):
        for part in range(0, len(given), size):
            piece = given[part : part + size]
            yield piece, labels[part : part + size], torch.arange(at, at + len(piece))
            at += len(piece)
    if at == 0:
        raise UserError("the data set is empty")


def _pairs(data: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and labels as they were given: one pair of tensors, or many."""
    whole = [data] if isinstance(data, tuple) and isinstance(data[0], Tensor) else data
    if not isinstance(whole, Iterable):
        raise UserError(f"expected a data set, tensors (x, y) or batches, got {kind_of(data)}")
    for pair in whole:
        if not isinstance(pair, Sequence) or len(pair) != 2 or not isinstance(pair[0], Tensor):
            raise UserError(
                f"expected tensors (x, y), or an iterable of such pairs, got {kind_of(pair)}"
            )
        x, y = pair[0], _labels(pair[1])
        if len(x) != len(y):
            raise UserError(f"{len(x)} inputs come with {len(y)} labels")
        yield x, y


def kind_of(value: object) -> str:
    """The name of a value's type, for messages."""
    return type(value).__name__


def _labels(y: Any) -> Tensor:
    if y is None:
        raise UserError("the data has no labels; an evaluation of a classifier needs them")
    return torch.as_tensor(y)


def length(data: Data) -> int | None:
    """How many examples there are, where that can be told without looking at all."""
    if isinstance(data, Dataset):
        return len(data)
    return len(data[0]) if isinstance(data, tuple) else None


def admit(model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> int:
    """Check at the door that model, inputs and labels fit; the number of classes.

    Raises:
        UserError: a model in train mode, one that does not take these inputs or return logits, or labels
            that are not its classes.
    """
    spend(forwards=1)
    try:
        with random.streams(seeds[:1]):
            classes = check_classifier(model, x[:1]).shape[1]
    except UserError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        shape = tuple(x.shape[1:])
        raise UserError(f"the model does not take inputs of shape {shape}: {first}") from error
    check_labels(y, len(x), classes)
    return classes


def clipped(attack: Attack, x: Tensor, found: Tensor) -> Tensor:
    """What an attack returned, forced back into its ball and domain. Trust, but project."""
    if found.shape != x.shape:
        raise UserError(
            f"{type(attack).__name__} returned shape {tuple(found.shape)} for {tuple(x.shape)}"
        )
    inside = attack.domain.project(torch.where(torch.isfinite(found), found, x).to(x))
    ball = getattr(attack, "ball", None)
    if not isinstance(ball, Ball):
        return inside
    over = norm(inside - x, ball.norm) > ball.eps * (1 + _SLACK) + 1e-9
    if not bool(over.any()):
        return inside
    return torch.where(per_example(over, x), attack.domain.region(x, ball).project(inside), inside)
