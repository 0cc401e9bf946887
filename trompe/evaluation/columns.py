"""Receivers as matrices over columns: what a Monte Carlo of millions of blocks spends its time on.

A receiver of affine layers and pointwise functions is multiplied out, so that a convolution over fourteen
numbers becomes one matrix. Blocks are columns, `(numbers, M, B)`, B for each of M messages: the scores of all
messages less that of the one sent, `W - W[s]`, are then one batched product, and a block is in error where
one of them is above zero. The first affine layer meets noise, codebook and interference apart,
`W(x + p + w) + b = (W x + b) + W p + W w`, and so the noise once for all conditions. Any other receiver is
called as it is.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.models.block_codes import Sign

__all__ = ["Receiver", "receiver_of"]

_AFFINE: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Identity)
_AFFINE += (nn.Flatten, nn.Unflatten, nn.ZeroPad2d)
_POINTWISE = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.SiLU, nn.Softplus, nn.Tanh, Sign)
ROOM = 2**18
"""Numbers of one intermediate result: they stay in the cache."""


class Receiver(Protocol):
    """A receiver cut in two: an affine first part, and whether the rest errs."""

    def first(self, v: Tensor) -> Tensor:
        """The linear part of anything that is added up on the channel, `(d, N)` to `(h, N)`."""
        ...

    def bias(self) -> Tensor:
        """What the first part adds to the sum, `(h, 1)`."""
        ...

    def wrong(self, h: Tensor, seed: int) -> Tensor:
        """Whether blocks `(h, M, B)` are read as another message than theirs, `(M, B)`; `h` is used up.

        The seed names the draws of a receiver that draws.
        """
        ...


class _Called:
    """Any module, called on rows."""

    def __init__(self, module: nn.Module, like: Tensor) -> None:
        self.module, self.like = module, like

    def first(self, v: Tensor) -> Tensor:
        return v

    def bias(self) -> Tensor:
        return self.like.new_zeros(1, 1)

    def wrong(self, h: Tensor, seed: int) -> Tensor:
        size, messages, count = h.shape
        with random.streams(random.seeds(seed, messages * count)):
            scores = self.module(h.reshape(size, -1).T.contiguous())
        sent = torch.arange(messages, device=h.device)[:, None]
        return scores.argmax(1).view(messages, count) != sent  # type: ignore[no-any-return]


class _Multiplied:
    """Affine maps `W v + b`, one more than the pointwise functions between them."""

    def __init__(
        self, maps: Sequence[tuple[Tensor, Tensor]], functions: Sequence[nn.Module]
    ) -> None:
        *self.maps, (weight, bias) = maps
        self.functions = functions
        self.weight = weight - weight[:, None]  # (M, M, h): row s has the scores less that of s
        self.own = (bias - bias[:, None])[..., None]
        self.width = max(len(bias) for _, bias in maps)

    def first(self, v: Tensor) -> Tensor:
        return self.maps[0][0] @ v if self.maps else v

    def bias(self) -> Tensor:
        return self.maps[0][1][:, None] if self.maps else self.own.new_zeros(1, 1)

    def wrong(self, h: Tensor, seed: int) -> Tensor:
        step = max(1, ROOM // (self.width * h.shape[1]))
        parts = [self._wrong(part) for part in h.split(step, 2)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def _wrong(self, h: Tensor) -> Tensor:
        size = h.shape[1:]
        for number, function in enumerate(self.functions):
            h = h.relu_() if isinstance(function, nn.ReLU) else function(h)
            if number + 1 < len(self.maps):
                weight, bias = self.maps[number + 1]
                h = torch.addmm(bias[:, None], weight, h.flatten(1)).unflatten(1, size)
        return torch.baddbmm(self.own, self.weight, h.transpose(0, 1)).amax(1) > 0


def receiver_of(module: nn.Module, like: Tensor) -> Receiver:
    """A receiver of blocks `like` `(B, d)`, in the form that is fastest for it.

    The matrices are those of the present weights.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> type(receiver_of(net, torch.zeros(1, 2))).__name__
    '_Multiplied'
    >>> type(receiver_of(nn.Sequential(net, nn.Softmax(1)), torch.zeros(1, 2))).__name__
    '_Called'
    """
    layers = list(module) if isinstance(module, nn.Sequential) else [module]
    if not all(isinstance(layer, _AFFINE + _POINTWISE) for layer in layers):
        return _Called(module, like)
    runs: list[list[nn.Module]] = [[]]
    functions = []
    for layer in layers:
        if isinstance(layer, _POINTWISE):
            functions.append(layer)
            runs.append([])
        else:
            runs[-1].append(layer)
    maps, shape = [], like.shape[1:]
    with torch.no_grad():
        for run in runs:
            weight, bias, shape = _matrix(nn.Sequential(*run), like, shape)
            maps.append((weight, bias))
    return _Multiplied(maps, functions)


def _matrix(
    affine: nn.Module, like: Tensor, shape: torch.Size
) -> tuple[Tensor, Tensor, torch.Size]:
    """W and b of an affine module, by what it makes of zero and of unit vectors, and its output's shape."""
    size = shape.numel()
    units = torch.cat([like.new_zeros(1, size), torch.eye(size).to(like)]).view(-1, *shape)
    found: Tensor = affine(units)
    bias, rows = found[0].flatten(), found[1:].flatten(1)
    return (rows - bias).T.contiguous(), bias, found.shape[1:]
