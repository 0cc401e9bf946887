"""A function's derivative at each example, as products with vectors; and the direction it stretches most.

No Jacobian is ever built: one product costs about one pass.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from trompe.core.errors import UserError, is_severed
from trompe.core.execution import spend
from trompe.core.geometry import Ball

__all__ = ["Linearised", "stretched"]


class Linearised:
    """The derivative `J` of `function` at each of `x` `(B, *)`, by reverse mode twice.

    Unlike forward mode it needs of every operation only what training needs, and that it can be
    differentiated again. The function's rows must not depend on each other.

    Args:
        function: maps `(B, *)` to a tensor with a row for each example.
        x: where; float.

    Raises:
        UserError: no gradient path from `x` to the output.

    >>> at = Linearised(lambda x: x.square(), torch.tensor([[1.0, 2.0]]))
    >>> at.forward(torch.tensor([[1.0, 1.0]])), at.transpose(torch.tensor([[1.0, 0.0]]))
    (tensor([[2., 4.]]), tensor([[2., 0.]]))
    """

    def __init__(self, function: Callable[[Tensor], Tensor], x: Tensor) -> None:
        spend(forwards=len(x))
        # The fused kernels of attention cannot be differentiated twice.
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            self.x = x.detach().clone().requires_grad_()
            self.y = function(self.x)
            self.weights = torch.zeros_like(self.y, requires_grad=True)
            try:
                (self.slope,) = torch.autograd.grad(self.y, self.x, self.weights, create_graph=True)
            except RuntimeError as error:
                if is_severed(error):
                    raise UserError(
                        "no gradient path leads from the input to the output: the model detaches it or "
                        "is not differentiable, so it has no singular directions"
                    ) from None
                raise

    def forward(self, v: Tensor) -> Tensor:
        """`J v` `(B, *out)`: the slope `J^T w` is linear in `w`, and this is its transpose."""
        spend(backwards=len(v))
        return torch.autograd.grad(self.slope, self.weights, v, retain_graph=True)[0]

    def transpose(self, w: Tensor) -> Tensor:
        """`J^T w` `(B, *)`."""
        spend(backwards=len(w))
        return torch.autograd.grad(self.y, self.x, w, retain_graph=True)[0]


def stretched(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    ball: Ball,
    *,
    steps: int,
    seeds: Tensor,
) -> Tensor:
    r"""The direction of norm one that the derivative stretches most, `(B, *)`, by a power iteration.

    .. math:: v \leftarrow \operatorname{argmax}_{\|u\|_p \le 1} \langle u, J^T J v \rangle

    For L2 this is the power iteration on `J^T J`, whose limit is the top right singular vector. For L1 and
    Linf it is Boyd's (1974), which climbs to a local maximum of `||J v||_2` over the unit ball (Khrulkov &
    Oseledets 2018 use it for universal perturbations). A step costs two backward passes.

    Args:
        function: maps `(B, *)` to a tensor with a row for each example, each a function of its own input.
        ball: whose norm decides; its radius plays no part.
        steps: of the iteration; the error of L2 falls as the squared ratio of the top two singular values.
        seeds: `(B,)`, of the first direction.

    >>> from trompe.core.random import seeds
    >>> scale = torch.tensor([1.0, -3.0, 2.0])
    >>> v = stretched(lambda x: scale * x, torch.zeros(1, 3), Ball(1, "L2"), steps=30, seeds=seeds(0, 1))
    >>> v.abs().round(decimals=3)
    tensor([[0., 1., 0.]])
    """
    with torch.inference_mode(False):
        at = Linearised(function, x)
        v = ball.steepest(Ball(1.0, "L2").sample(at.x.detach(), seeds))
        for _ in range(steps):
            v = ball.steepest(at.transpose(at.forward(v)))
        return v
