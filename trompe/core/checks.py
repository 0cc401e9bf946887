"""What is asked of a model's outputs and of labels, wherever they come in."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from trompe.core.errors import UserError

__all__ = ["check_labels", "check_logits", "posterior"]


def check_logits(logits: Any, rows: int) -> Tensor:
    """Refuse what is not a batch of logits `(rows, K)` with K >= 2; return it otherwise.

    Raises:
        UserError: another shape, NaN, or probabilities in the place of logits.

    >>> check_logits(torch.tensor([[2.0, -1.0]]), 1).shape
    torch.Size([1, 2])
    """
    good = isinstance(logits, Tensor) and logits.shape[:1] == (rows,) and logits.ndim in (1, 2)
    if not good:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(
            f"expected logits of shape (B, classes), got {got}; wrap the model to return them"
        )
    if logits.ndim == 1 or logits.shape[1] == 1:
        raise UserError("the model returns one number per input; wrap it as FromBinary(model)")
    if not bool(logits.isfinite().all()):
        raise UserError("the model returns NaN or infinite logits on clean inputs")
    if _are_probabilities(logits):
        raise UserError(
            "the model returns probabilities, not logits; return what goes into its softmax, or "
            "wrap it as FromProbabilities(model), which loses the gradient where they saturate"
        )
    return logits  # type: ignore[no-any-return]


def _are_probabilities(rows: Tensor) -> bool:
    """Whether every row is non-negative and sums to one, to rounding."""
    tolerance = 8 * rows.shape[1] * torch.finfo(rows.dtype).eps
    return bool((rows >= 0).all() and ((rows.sum(1) - 1).abs() <= tolerance).all())


def check_labels(y: Tensor, rows: int, classes: int) -> Tensor:
    """Refuse what is not `(rows,)` class numbers below `classes`; return them as int64.

    Raises:
        UserError: another shape, fractions, or numbers out of range.

    >>> check_labels(torch.tensor([1, 0], dtype=torch.uint8), 2, 2)
    tensor([1, 0])
    """
    if y.shape != (rows,) or y.is_floating_point():
        raise UserError(
            f"expected {rows} whole-number labels, got {y.dtype} of shape {tuple(y.shape)}"
        )
    if bool((y < 0).any()) or bool((y >= classes).any()):
        found = f"{int(y.min())}..{int(y.max())}"
        raise UserError(
            f"labels must lie in 0..{classes - 1} for a model of {classes} classes, got {found}"
        )
    return y.long()


def posterior(model: nn.Module, x: Tensor) -> Distribution:
    """`q(z|x)` of a model that has one.

    Raises:
        UserError: a model without `encode`, or whose `encode` returns no distribution.
    """
    encode = getattr(model, "encode", None)
    if encode is None:
        raise UserError(
            f"{type(model).__name__} has no encode(x): an attack on codes needs an autoencoder; "
            "wrap yours so that it has encode and decode"
        )
    code = encode(x)
    if not isinstance(code, Distribution):
        raise UserError(
            f"encode must return a distribution over codes (a PointMass for plain codes), got "
            f"{type(code).__name__}; wrap the model in an adapter"
        )
    return code
