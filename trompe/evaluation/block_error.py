"""Block error rates of radio links by Monte Carlo: many conditions on the same noise.

A block is in error where its message is not the one of the highest score. All conditions that are measured
together (levels of noise, perturbations, jamming) meet the same messages, the same noise up to its level and
the same jamming up to its power: differences between them are paired, and noise is made once.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

from trompe.attacks.arrival import Jamming
from trompe.attacks.universal import Perturbation
from trompe.core import random
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.evaluation.columns import receiver_of
from trompe.evaluation.records import Record
from trompe.models import Link

__all__ = [
    "Condition",
    "Count",
    "Interference",
    "block_errors",
    "compared",
    "curves",
    "gain_db",
]

Key = TypeVar("Key")
Interference = Perturbation | Jamming
ENOUGH = 100
"""Errors at which a point is known to a tenth of itself."""
BATCH = 2**13
NOISE, JAMMING, ARRIVAL, RECEIVER = range(4)


@dataclass(frozen=True)
class Condition:
    """What a block meets on its way.

    Args:
        snr: Eb/N0 in dB.
        interference: what is added to the block before the noise: a `Perturbation`, or `Jamming`. On a fading
            channel it fades with the block, and is equalised with it.
    """

    snr: float
    interference: Interference | None = None


@dataclass(frozen=True)
class Count:
    """Blocks that were sent, and those in error.

    >>> Count(errors=20, blocks=1000).rate
    0.02
    """

    errors: int = 0
    blocks: int = 0

    @property
    def rate(self) -> float:
        """The block error rate."""
        return self.errors / self.blocks if self.blocks else math.nan

    def record(self, metric: str = "block error rate", **rest: Any) -> Record:
        """With its interval: Wilson's, and without any error the rule of three, `[0, 3 / n]`.

        >>> Count(0, 3000).record().high
        0.001
        """
        if self.errors or not self.blocks:
            return Record.rate(metric, self.errors, self.blocks, **rest)
        return Record(metric, 0.0, self.blocks, 0.0, 3 / self.blocks, "rule of three 95%", **rest)


def block_errors(
    link: Link,
    conditions: Mapping[Key, Condition],
    *,
    blocks: int = 1_000_000,
    errors: int = ENOUGH,
    seed: int = 0,
) -> dict[Key, Count]:
    """Count block errors under each condition, every message as often as the others.

    A condition ends at so many errors or so many blocks, whichever comes first: a batch is never cut, and the
    number of blocks rounded up to a multiple of the messages. What is counted for one condition does not
    depend on the others beside it, and the memory taken not on how many blocks there are.

    Args:
        link: in eval mode.
        conditions: levels and interference, under any keys.
        blocks: to be sent at most under each condition.
        errors: that are enough.
        seed: of messages, noise, jamming and the receiver's own draws.

    Raises:
        UserError: a link in train mode, a level that is not finite, no blocks or errors asked for.

    >>> from trompe.models import UNCODED, BlockCode
    >>> counted = block_errors(BlockCode(UNCODED), {snr: Condition(snr) for snr in (0.0, 60.0)})
    >>> 0.06 < counted[0.0].rate < 0.1, counted[60.0]  # Q(sqrt(2)) is 0.079
    (True, Count(errors=0, blocks=1000000))
    """
    _check(link, blocks, errors)
    trials = _Trials(link, conditions, seed)
    found, sent = dict.fromkeys(conditions, 0), dict.fromkeys(conditions, 0)
    live = list(conditions)
    for number, size in enumerate(_batches(link, blocks)):
        wrong = trials.wrong(number, size, live)
        for key, more in zip(live, wrong.sum((1, 2)).tolist(), strict=True):
            found[key] += more
            sent[key] += wrong[0].numel()
        live = [key for key in live if found[key] < errors]
        if not live:
            break
    return {key: Count(found[key], sent[key]) for key in conditions}


def curves(
    link: Link,
    levels: Sequence[float],
    interferences: Mapping[str, Interference | Callable[[float], Interference] | None],
    *,
    blocks: int = 1_000_000,
    errors: int = ENOUGH,
    seed: int = 0,
) -> dict[str, dict[float, Count]]:
    """Block errors over Eb/N0: a curve for each interference, which may be made anew for each level.

    In rising order of the levels. A curve ends with its first point of fewer than `errors` errors, as less
    would be known of the points beyond.

    Args:
        link: in eval mode.
        levels: Eb/N0 in dB.
        interferences: by name; None is a clean channel.
        blocks, errors, seed: as for `block_errors`.

    >>> from trompe.models import UNCODED, BlockCode
    >>> found = curves(BlockCode(UNCODED), [0.0, 20.0, 30.0], {"clean": None}, blocks=10_000)
    >>> list(found["clean"])
    [0.0, 20.0]
    """
    for snr in levels:
        link.channel_at(snr)  # before they are put in order, which takes numbers
    found: dict[str, dict[float, Count]] = {name: {} for name in interferences}
    live = dict(interferences)
    for snr in sorted(levels):
        met = {name: Condition(snr, _at(snr, made)) for name, made in live.items()}
        for name, count in block_errors(link, met, blocks=blocks, errors=errors, seed=seed).items():
            found[name][snr] = count
            if count.errors < errors:
                del live[name]
        if not live:
            break
    return found


def _at(
    snr: float, met: Interference | Callable[[float], Interference] | None
) -> Interference | None:
    return met if met is None or isinstance(met, Perturbation | Jamming) else met(snr)


def compared(
    link: Link,
    one: Condition,
    other: Condition,
    *,
    against: Link | None = None,
    blocks: int = 1_000_000,
    errors: int = ENOUGH,
    seed: int = 0,
    **rest: Any,
) -> Record:
    """How much higher the block error rate is under one condition than under another, block by block.

    Both meet the same messages and noise, until both have so many errors.

    Args:
        link: in eval mode.
        one, other: the difference is that of the first less the second.
        against: the link that meets the second, where it is another one of the same dimensions and fading.
        blocks, errors, seed: as for `block_errors`.
        rest: of the record.

    Raises:
        UserError: as for `block_errors`, or links that could not meet the same blocks and noise.
    """
    second = against or link
    _check(link, blocks, errors)
    _check(second, blocks, errors)
    if (second.dimensions, second.messages) != (link.dimensions, link.messages):
        raise UserError("links are compared block by block; these two do not send the same blocks")
    if second.fading != link.fading:
        raise UserError("links are compared on the same noise; one of these two fades")
    pair = _Trials(link, {0: one}, seed), _Trials(second, {0: other}, seed)
    tallies, total, squares, n = [0, 0], 0, 0, 0
    for number, size in enumerate(_batches(link, blocks)):
        first, last = (trials.wrong(number, size, [0])[0] for trials in pair)
        tallies = [tallies[0] + int(first.sum()), tallies[1] + int(last.sum())]
        total, squares = tallies[0] - tallies[1], squares + int((first != last).sum())
        n += first.numel()
        if min(tallies) >= errors:
            break
    return Record.paired(
        rest.pop("metric", "difference of block error rates"), total, squares, n, **rest
    )


def gain_db(curve: Mapping[float, Count], other: Mapping[float, Count], rate: float) -> float:
    """How many dB further right a curve reaches a block error rate than another: what an attack costs a link.

    Between points the logarithm of the rate is linear in dB. NaN where either curve does not pass the rate.

    Raises:
        UserError: a rate that no curve passes: not above zero.

    >>> clean = {0.0: Count(100, 1000), 2.0: Count(1, 1000)}
    >>> attacked = {0.0: Count(500, 1000), 5.0: Count(100, 1000), 7.0: Count(1, 1000)}
    >>> round(gain_db(attacked, clean, 0.01), 6)
    5.0
    """
    if not rate > 0:
        raise UserError(f"a block error rate that curves pass is above zero, got {rate}")
    return _level_at(curve, rate) - _level_at(other, rate)


def _level_at(curve: Mapping[float, Count], rate: float) -> float:
    """Where a falling curve passes a rate."""
    points = [(snr, math.log(count.rate)) for snr, count in sorted(curve.items()) if count.errors]
    target = math.log(rate)
    for (left, above), (right, below) in pairwise(points):
        if above >= target >= below and above > below:
            return left + (right - left) * (above - target) / (above - below)
    return math.nan


def _check(link: Link, blocks: int, errors: int) -> None:
    if link.training:
        raise UserError("the link is in train mode; call link.eval() first")
    for name, value in (("blocks", blocks), ("errors", errors)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name} must be a whole number of at least 1, got {value!r}")


def _batches(link: Link, blocks: int) -> Iterator[int]:
    """Blocks of each message in each batch, so that all together are at least as many as asked for."""
    left = -(-blocks // link.messages)
    size = max(1, BATCH // link.messages)
    while left > 0:
        yield min(size, left)
        left -= size


class _Trials:
    """Batches of blocks under several conditions, each a pure function of (seed, number)."""

    def __init__(self, link: Link, conditions: Mapping[Any, Condition], seed: int) -> None:
        self.link, self.conditions, self.seed = link, conditions, seed
        with torch.no_grad():
            self.like = link.codebook()
        self.receiver = receiver_of(link.receiver, self.like)
        sent = self.receiver.first(self.like.T, affine=True)
        self.forms = {key: self._forms(met.interference) for key, met in conditions.items()}
        self.held = {  # what is the same for all blocks of a message, (h, M, 1)
            key: (sent + forms if forms.shape[1] == 1 else sent)[..., None]
            for key, forms in self.forms.items()
        }
        self.deviations = {
            key: link.channel_at(met.snr).deviation for key, met in conditions.items()
        }

    def _forms(self, interference: Interference | None) -> Tensor:
        """A perturbation in all its forms, after the first part: `(h, V)`; of none, or of jamming, zero."""
        if interference is None or isinstance(interference, Jamming):
            return self.receiver.first(self.like.new_zeros(self.like.shape[1], 1))
        if not isinstance(interference, Perturbation):
            raise UserError(
                f"interference is a Perturbation, Jamming or None, got {type(interference).__name__}"
            )
        if interference.mode != "add" or len(interference.delta) != 1:
            raise UserError("what meets a block on the channel is one perturbation that is added")
        if not isinstance(interference.domain, Vectors):
            raise UserError("a block may be anything; give its perturbation the domain Vectors()")
        forms = interference.arrival.variants(interference.delta[0].detach())
        if forms.shape[1:] != self.like.shape[1:]:
            raise UserError(
                f"the perturbation has {forms[0].numel()} numbers, a block {self.link.dimensions}"
            )
        return self.receiver.first(forms.to(self.like).T)

    @torch.inference_mode()
    def wrong(self, number: int, size: int, keys: Sequence[Any]) -> Tensor:
        """Which of `size` blocks of each message are in error under some conditions, `(K, M, size)`."""
        seeds = random.seeds(self.seed, torch.arange(4 * number, 4 * number + 4)).tolist()
        noise = self._noise(seeds[NOISE], size)
        jams = any(isinstance(self.conditions[key].interference, Jamming) for key in keys)
        jam = self._jamming(seeds[JAMMING], size) if jams else noise
        room = torch.empty_like(noise)

        def heard(key: Any) -> Tensor:
            met, forms = self.conditions[key].interference, self.forms[key]
            y = torch.add(self.held[key], noise, alpha=self.deviations[key], out=room)
            if isinstance(met, Jamming):
                y.add_(jam, alpha=met.radius)
            elif forms.shape[1] > 1:
                y += forms[:, self._which(seeds[ARRIVAL], size, forms.shape[1])]
            return y

        leads = torch.stack([self.receiver.lead(heard(key), seeds[RECEIVER]) for key in keys])
        right = leads < 0  # a score that is no number is no message
        if leads.count_nonzero() < leads.numel():  # of equal scores the first wins
            for lead, kept, key in zip(leads, right, keys, strict=True):
                if not lead.all():
                    kept |= (lead == 0) & ~self.receiver.ties(heard(key), seeds[RECEIVER])
        return right.logical_not_()

    def _noise(self, seed: int, size: int) -> Tensor:
        """Noise of unit deviation after the first part, `(h, M, size)`."""
        width = self.link.dimensions
        if self.link.fading == "none":
            return self._columns(self._normal(seed, size, width))
        drawn = self._normal(seed, size, width + 2 * self.link.uses)
        return self._columns(self.link.channel.faded(drawn[:, :width], drawn[:, width:]))

    def _jamming(self, seed: int, size: int) -> Tensor:
        """Directions of unit length after the first part, `(h, M, size)`."""
        g = self._normal(seed, size, self.link.dimensions)
        return self._columns(g / g.norm(dim=1, keepdim=True))

    def _which(self, seed: int, size: int, forms: int) -> Tensor:
        """The form in which the perturbation meets each block, `(M, size)`."""
        generator = torch.Generator(self.like.device).manual_seed(seed)
        shape = (len(self.like), size)
        drawn = torch.rand(shape, generator=generator, device=self.like.device)
        return (drawn * forms).long()

    def _normal(self, seed: int, size: int, width: int) -> Tensor:
        """Standard normal rows `(M * size, width)`."""
        generator = torch.Generator(self.like.device).manual_seed(seed)
        rows = len(self.like) * size
        drawn = torch.randn(rows, width, generator=generator, device=self.like.device)
        return drawn.to(self.like.dtype)

    def _columns(self, rows: Tensor) -> Tensor:
        made = self.receiver.first(rows.T)
        return made.view(len(made), len(self.like), -1)
