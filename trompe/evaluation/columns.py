"""Receivers as matrices over columns: what a Monte Carlo of millions of blocks spends its time on.

A receiver of affine layers and pointwise functions is multiplied out, so that a convolution over fourteen
numbers becomes one matrix. Blocks are columns, `(numbers, M, B)`: B of each of M messages. The scores of all
messages less that of the one sent, `W - W[s]`, are then one batched product, and a block is in error where
one of them is above zero. The first layer meets codebook, interference and noise apart, `W(x + p + w) = W x +
W p + W w`, and so the noise once for all conditions. Any other receiver is called as it is.
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
LARGEST = 2**26
"""Numbers of `W - W[s]` for all messages s at most; a receiver of more messages is called."""


class Receiver(Protocol):
    """A receiver cut in two: an affine first part, and whether the rest errs."""

    def first(self, v: Tensor, affine: bool = False) -> Tensor:
        """What the first part makes of a term of the sum on the channel, `(d, N)` to `(h, N)`.

        Of one of the terms it is affine, and linear of the others.
        """
        ...

    def lead(self, h: Tensor, seed: int) -> Tensor:
        """How far another message is ahead of a block's own, `(M, B)` of blocks `(h, M, B)`; `h` is used up.

        Below zero a block is read rightly, above zero wrongly. The seed names the draws of a receiver that
        draws.
        """
        ...

    def ties(self, h: Tensor, seed: int) -> Tensor:
        """Where lead is zero, whether an earlier message has the same score, and wins; `h` is used up."""
        ...


class _Called:
    """Any module, called on rows."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def first(self, v: Tensor, affine: bool = False) -> Tensor:
        return v

    def lead(self, h: Tensor, seed: int) -> Tensor:
        size, messages, count = h.shape
        with random.streams(random.seeds(seed, messages * count)):
            scores = self.module(h.reshape(size, -1).T.contiguous())
        sent = torch.arange(messages, device=h.device)[:, None]
        wrong: Tensor = scores.argmax(1).view(messages, count) != sent
        return 2.0 * wrong - 1

    def ties(self, h: Tensor, seed: int) -> Tensor:
        raise AssertionError("an argmax has no ties")


class _Multiplied:
    """Affine maps `(W, b)` with pointwise functions between them.

    Every layer before the last has a unit that is always one: the biases that follow are its weights.
    """

    def __init__(
        self, maps: Sequence[tuple[Tensor, Tensor]], functions: Sequence[nn.Module]
    ) -> None:
        (*hidden, (weight, bias)), units = maps, [weight.new_ones(()) for weight, _ in maps[:1]]
        units += [function(units[0]) for function in functions]
        self.maps = [_with_one(*each, unit) for each, unit in zip(hidden, units, strict=False)]
        biases = (bias - bias[:, None]) / units[-1]
        biases.fill_diagonal_(-1)  # the message sent is not ahead of itself
        self.weight = torch.cat([weight - weight[:, None], biases[..., None]], 2)
        self.before = torch.ones_like(biases).tril(-1)[..., None] > 0
        self.functions, self.scores = functions, self.weight[..., :0]
        self.width = max(len(each) for each in (*self.maps, weight))

    def first(self, v: Tensor, affine: bool = False) -> Tensor:
        one = v.new_full((1, v.shape[1]), float(affine))
        v = torch.cat([v, one])
        return self.maps[0] @ v if self.maps else v

    def lead(self, h: Tensor, seed: int) -> Tensor:
        step = max(1, ROOM // (self.width * len(self.weight)))
        if h.shape[2] <= step:
            return self._ahead(h).amax(1)
        return torch.cat([self._ahead(part).amax(1) for part in h.split(step, 2)], 1)

    def ties(self, h: Tensor, seed: int) -> Tensor:
        return ((self._ahead(h) == 0) & self.before).any(1)

    def _ahead(self, h: Tensor) -> Tensor:
        size = h.shape[1:]
        for number, function in enumerate(self.functions, 1):
            h = h.relu_() if isinstance(function, nn.ReLU) else function(h)
            if number < len(self.maps):
                h = (self.maps[number] @ h.flatten(1)).unflatten(1, size)
        return torch.bmm(self.weight, h.transpose(0, 1), out=self._scores(*size))

    def _scores(self, messages: int, count: int) -> Tensor:
        """Where the scores are written: memory that is asked for anew costs more than the product."""
        if self.scores.shape[2] != count:
            self.scores = self.weight.new_empty(messages, messages, count)
        return self.scores


def _with_one(weight: Tensor, bias: Tensor, unit: Tensor) -> Tensor:
    """The matrix of `W v + b` for `v` with a last entry `unit`, and itself with a last entry of one."""
    whole = torch.cat([weight, bias[:, None] / unit], 1)
    last = torch.zeros_like(whole[:1])
    last[0, -1] = 1 / unit
    return torch.cat([whole, last])


def receiver_of(module: nn.Module, like: Tensor) -> Receiver:
    """A receiver of blocks `like` `(B, d)`, in the form that is fastest for it.

    The matrices are those of the present weights.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> type(receiver_of(net, torch.zeros(1, 2))).__name__
    '_Multiplied'
    >>> type(receiver_of(nn.Sequential(net, nn.Softmax(1)), torch.zeros(1, 2))).__name__
    '_Called'
    """
    layers = list(module) if type(module) is nn.Sequential else [module]
    if not all(type(layer) in _AFFINE + _POINTWISE for layer in layers):
        return _Called(module)  # what a subclass computes, only a call tells
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
    if len(bias) * weight.numel() > LARGEST:
        return _Called(module)
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
