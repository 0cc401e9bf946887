"""Receivers as matrices over columns: what a Monte Carlo of millions of blocks spends its time on.

A receiver of affine layers and pointwise functions is multiplied out, so that a convolution over fourteen numbers
becomes one matrix. Blocks are columns, `(M, numbers, blocks)`, sorted by the message that was sent: the scores of
all messages less that of the one sent, `W - W[s]`, are then one batched product, and a block is in error where any
of them is above zero. The first affine layer is applied to noise, codebook and interference apart: `W(x + p + w)
= W x + W p + W w`, so that it meets the noise once for all conditions. Any other receiver is called as it is.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.models.block_codes import Sign

__all__ = ["Receiver", "receiver_of"]

_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Flatten, nn.Unflatten, nn.Identity)
_AFFINE += (nn.ConstantPad1d, nn.ZeroPad2d)
_POINTWISE = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.SiLU, nn.Softplus, nn.Tanh, Sign)
ROOM = 2**18
"""Numbers of one intermediate result: they stay in the cache."""


class Receiver(Protocol):
    """A receiver cut in two: a linear first part, and whether the rest errs."""

    def first(self, v: Tensor) -> Tensor:
        """The linear part of anything that is added up on the channel, `(G, d, B)` to `(G, h, B)`."""
        ...

    def wrong(self, h: Tensor, seed: int) -> Tensor:
        """Whether blocks `(M, h, B)`, row s of message s, are read as another message, `(M, B)`.

        The seed names the draws of a receiver that draws.
        """
        ...


class _Called:
    """Any module, called on rows."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def first(self, v: Tensor) -> Tensor:
        return v

    def wrong(self, h: Tensor, seed: int) -> Tensor:
        messages, size, count = h.shape
        with random.streams(random.seeds(seed, messages * count)):
            scores = self.module(h.transpose(1, 2).reshape(-1, size))
        sent = torch.arange(messages, device=h.device)[:, None]
        return scores.argmax(1).view(messages, count) != sent  # type: ignore[no-any-return]


Affine = tuple[Tensor, Tensor]


class _Multiplied:
    """Affine maps `(W, b)` with pointwise functions between them."""

    def __init__(self, maps: Sequence[Affine], functions: Sequence[nn.Module]) -> None:
        *before, (weight, bias) = maps
        self.maps, self.functions = before, functions
        self.weight = weight - weight[:, None]  # (M, M, h): row s has the scores less that of s
        self.bias = (bias - bias[:, None])[..., None]
        self.width = max(len(b) for _, b in maps)

    def first(self, v: Tensor) -> Tensor:
        return self.maps[0][0] @ v if self.maps else v

    def wrong(self, h: Tensor, seed: int) -> Tensor:
        step = max(1, ROOM // (len(h) * self.width))
        return torch.cat([self._wrong(part) for part in h.split(step, 2)], 1)

    def _wrong(self, h: Tensor) -> Tensor:
        if self.maps:
            h = h + self.maps[0][1][:, None]
        for number, function in enumerate(self.functions):
            h = function(h)
            if number + 1 < len(self.maps):
                weight, bias = self.maps[number + 1]
                h = torch.baddbmm(bias[:, None], weight.expand(len(h), -1, -1), h)
        return torch.baddbmm(self.bias, self.weight, h).amax(1) > 0


def receiver_of(module: nn.Module, dimensions: int) -> Receiver:
    """The receiver in the form that is fastest for it; it must not learn in between.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> type(receiver_of(net, 2)).__name__, type(receiver_of(nn.GRU(2, 2), 2)).__name__
    ('_Multiplied', '_Called')
    """
    layers = list(module) if isinstance(module, nn.Sequential) else [module]
    if not all(isinstance(layer, _AFFINE + _POINTWISE) for layer in layers):
        return _Called(module)
    runs: list[list[nn.Module]] = [[]]
    functions = []
    for layer in layers:
        if isinstance(layer, _POINTWISE):
            functions.append(layer)
            runs.append([])
        else:
            runs[-1].append(layer)
    like = next(iter(module.parameters()))
    shape: tuple[int, ...] = (dimensions,)
    maps = []
    with torch.no_grad():
        for run in runs:
            size = torch.Size(shape).numel()
            eye = torch.eye(size, device=like.device, dtype=like.dtype)
            probes = nn.Sequential(*run)(torch.cat([eye.new_zeros(1, size), eye]).view(-1, *shape))
            shape = tuple(probes.shape[1:])
            bias, *rows = probes.flatten(1)
            maps.append(((torch.stack(rows) - bias).T.contiguous(), bias))
    return _Multiplied(maps, functions)
