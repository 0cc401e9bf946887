"""The contractive penalty: squared Frobenius norms of an encoder's Jacobian, per example."""

from collections.abc import Callable

import torch
from torch import Tensor

from trompe.core import random
from trompe.core.errors import UserError

__all__ = ["contractive_penalty", "squared_jacobian"]

_ROWS = 32  # rows of the exact Jacobian held at once


def contractive_penalty(
    encode: Callable[[Tensor], Tensor], x: Tensor, probes: int | None = 1
) -> Tensor:
    r"""`||d encode(x) / dx||_F^2` of each example, exact or estimated with random signs.

    .. math:: \|J\|_F^2 = E_v \|J^T v\|^2, \quad v \in \{-1, 1\}^L

    (Rifai et al. 2011, equation 1; Hutchinson 1990). The estimate is unbiased and costs one
    backward pass per probe; the exact value costs one row of the Jacobian per latent coordinate.
    Differentiable with respect to the encoder's parameters where gradients are enabled.

    Args:
        encode: maps `(B, *)` to codes `(B, L)`, each example on its own (no batch statistics).
        x: inputs `(B, *)`.
        probes: random sign vectors per example, drawn from the ambient streams; `None` is exact.

    Returns:
        `(B,)`, in squared code units per squared input unit.

    Raises:
        UserError: `probes` below one, or a code that does not depend on the input.

    >>> linear = torch.nn.Linear(3, 2).double()
    >>> exact = contractive_penalty(linear, torch.rand(4, 3).double(), probes=None)
    >>> bool(torch.allclose(exact, linear.weight.square().sum()))
    True
    """
    keep_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        variable = x.detach().requires_grad_()
        penalty = squared_jacobian(encode(variable), variable, probes, keep_graph=keep_graph)
    return penalty if keep_graph else penalty.detach()


def squared_jacobian(
    outputs: Tensor, x: Tensor, probes: int | None = 1, *, keep_graph: bool = True
) -> Tensor:
    """`||d outputs / dx||_F^2` `(B,)` of outputs `(B, L)` already computed from the leaf `x`.

    `keep_graph` makes the result differentiable. See `contractive_penalty`.
    """
    if not outputs.requires_grad:
        raise UserError(
            "the code does not depend on the input; its graph was cut before the penalty"
        )
    flat = outputs.flatten(1)
    if probes is None:
        return _exact(flat, x, keep_graph)
    if probes < 1:
        raise UserError(f"probes must be one or more (or None for the exact penalty), got {probes}")
    directions = random.signs((len(flat), probes, flat.shape[1]), flat.detach())
    total = torch.zeros(len(flat), dtype=flat.dtype, device=flat.device)
    for direction in directions.unbind(1):
        total = total + _pulled_back(flat, x, direction, keep_graph).square().flatten(1).sum(1)
    return total / probes


def _pulled_back(outputs: Tensor, x: Tensor, direction: Tensor, keep_graph: bool) -> Tensor:
    """`J^T v` for each example, of the shape of `x`."""
    (gradient,) = torch.autograd.grad(
        outputs, x, direction, retain_graph=True, create_graph=keep_graph
    )
    return gradient


def _exact(outputs: Tensor, x: Tensor, keep_graph: bool) -> Tensor:
    batch, latent = outputs.shape
    basis = torch.eye(latent, dtype=outputs.dtype, device=outputs.device)
    total = torch.zeros(batch, dtype=outputs.dtype, device=outputs.device)
    for start in range(0, latent, _ROWS):
        directions = basis[start : start + _ROWS, None].expand(-1, batch, -1)
        (jacobian,) = torch.autograd.grad(
            outputs,
            x,
            directions,
            retain_graph=True,
            create_graph=keep_graph,
            is_grads_batched=True,
        )
        total = total + jacobian.square().flatten(2).sum((0, 2))
    return total
