"""Random draws that belong to examples, not to batches or processes.

Every draw is a pure function of (seed of the example, draw number, call, element), computed with the
SplitMix64 finaliser as a counter-based generator (Steele, Lea & Flood, "Fast splittable pseudorandom
number generators", 2014; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
So an example meets the same noise alone, in a batch of 512, on one worker or on sixteen, and the
global generators of torch and numpy are never touched.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Distribution

__all__ = [
    "REPORT",
    "Streams",
    "normal",
    "sample",
    "seeds",
    "signs",
    "streams",
    "uniform",
    "uniform_from",
]

REPORT = 2**42
"""The first of the draws that reported numbers rest on; an attack reads there only who counts."""

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift of signed 64-bit integers."""
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of 64-bit integers with full avalanche."""
    for bits, factor in ((30, _MIX_1), (27, _MIX_2)):
        z = _shift(z, bits).bitwise_xor_(z).mul_(factor)
    return _shift(z, 31).bitwise_xor_(z)


def _signed(value: int) -> int:
    """Wrap a Python integer to signed 64 bits."""
    return (value + 2**63) % 2**64 - 2**63


def seeds(seed: int, index: Tensor | int) -> Tensor:
    """One stream per example: `(B,)` int64 seeds from a run's seed and the examples' indices.

    An integer `index` stands for `0 .. index - 1`.

    >>> bool((seeds(0, 4)[2:] == seeds(0, torch.tensor([2, 3]))).all())
    True
    """
    where = torch.arange(index) if isinstance(index, int) else index.to(torch.int64)
    base = _mix(torch.tensor(_signed(seed * 0x9E3779B97F4A7C15 + 1), device=where.device))
    return _mix(base + (where + 1) * _GOLDEN)


def _bits(key: Tensor, count: int) -> Tensor:
    """`(B, count)` well mixed 64-bit words of the streams `key` `(B,)`."""
    counter = torch.arange(1, count + 1, device=key.device) * _GOLDEN
    return _mix(key[:, None] + counter)


def uniform_from(key: Tensor, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Uniform numbers in the open interval (0, 1), `(B, *shape)`, of the streams `key`."""
    words = _shift(_bits(key, math.prod(shape)), 11)
    values = words.to(torch.float64).add_(0.5).mul_(2.0**-53)
    return values.view(len(key), *shape).to(like.device, like.dtype)


@dataclass
class Streams:
    """The streams of one batch: seeds `(B,)`, a draw number, and a count of the calls made so far."""

    seeds: Tensor
    number: Tensor | int = 0
    calls: int = field(default=0)

    def key(self, rows: int) -> Tensor:
        """The next key of each stream; a batch of k x B rows meets streams repeated k times."""
        if rows % len(self.seeds):
            raise RuntimeError(
                f"{rows} rows draw from {len(self.seeds)} streams; they must be a multiple"
            )
        self.calls += 1
        shift = (self.number + 1) * _MIX_2
        key = _mix(self.seeds + (_signed(shift) if isinstance(shift, int) else shift)) + _signed(
            self.calls * 0xD1B54A32D192ED03
        )
        key = _mix(key)
        return (
            key
            if rows == len(key)
            else _mix(key.repeat(rows // len(key)) + _copies(rows, len(key)).to(key.device))
        )


def _copies(rows: int, streams: int) -> Tensor:
    return torch.arange(rows) // streams * _MIX_1


_ambient: ContextVar[Streams | None] = ContextVar("trompe_streams", default=None)
_fallback = Streams(torch.zeros(1, dtype=torch.int64))


@contextmanager
def streams(seeds: Tensor, number: Tensor | int = 0) -> Iterator[Streams]:
    """Let the modules called inside draw from these streams.

    `seeds` `(B,)` names the examples' streams; `number`, an integer or `(B,)`, says which draw this
    is (the step of a search, the repetition of an estimate). Outside any such context a module that
    draws meets fresh noise at every call, from a stream private to the process.

    >>> with streams(seeds(0, 2)):
    ...     a = normal((2, 3))
    >>> with streams(seeds(0, 2)):
    ...     b = normal((2, 3))
    >>> bool((a == b).all())
    True
    """
    current = Streams(seeds, number)
    token = _ambient.set(current)
    try:
        yield current
    finally:
        _ambient.reset(token)


def uniform(shape: tuple[int, ...], like: Tensor | None = None) -> Tensor:
    """Uniform numbers in (0, 1) of shape `(B, ...)`, the rows drawn from the examples' streams."""
    like = torch.empty(0) if like is None else like
    key = (_ambient.get() or _fallback).key(shape[0])
    return uniform_from(key.to(like.device), tuple(shape[1:]), like)


def normal(shape: tuple[int, ...], like: Tensor | None = None) -> Tensor:
    """Standard normal numbers of shape `(B, ...)`, the rows drawn from the examples' streams."""
    like = torch.empty(0) if like is None else like
    exact = uniform(shape, torch.empty(0, dtype=torch.float64, device=like.device))
    values: Tensor = torch.special.ndtri(exact)
    return values.to(like.dtype)


def signs(shape: tuple[int, ...], like: Tensor | None = None) -> Tensor:
    """Random signs, -1 or +1, of shape `(B, ...)`, the rows drawn from the examples' streams."""
    like = torch.empty(0) if like is None else like
    return (uniform(shape, like) < 0.5).to(like.dtype) * 2 - 1


def sample(distribution: Distribution) -> Tensor:
    """A reparametrised draw, `mean + stddev * noise`, of a location-scale distribution.

    Differentiable with respect to the distribution's parameters (Kingma & Welling 2014, section 2.4).
    """
    mean: Tensor = distribution.mean
    return mean + distribution.stddev * normal(tuple(mean.shape), mean)
