"""The two published searches for one perturbation of all values at a site: step by step, and by an SVD.

References: M. Sadeghi, E. G. Larsson, "Physical Adversarial Attacks Against End-to-End Autoencoder
Communication Systems", 2019, algorithms 1 and 2; S. Moosavi-Dezfooli et al., "Universal adversarial
perturbations", 2017. `Universal` optimises the expected loss itself, and is what to measure them by.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from trompe.attacks.draws import Draw, best, drawn, endless, gradient, keys, require_eval
from trompe.attacks.goals import MISREAD
from trompe.attacks.universal import Perturbation, Tail, Universal
from trompe.core import random
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.geometry import Ball, norm, per_example
from trompe.core.losses import cross_entropy
from trompe.core.protocols import Domain

__all__ = ["IterativeUniversal", "PrincipalUniversal", "direct"]

_HELD_OUT = 2**20  # the number of the first draw that candidates are compared on
_DOUBLINGS = 20  # a step of more than a million radii is none
Batches = Iterator[Sequence[Tensor]]


@dataclass(frozen=True)
class _Reader:
    """The tail, as it answers to perturbed values."""

    tail: Tail
    domain: Domain

    def scores(self, draw: Draw, delta: Tensor) -> Tensor:
        """Of `(k B, *site)` perturbations, k of each value: `(k B, K)`."""
        v = draw.v.repeat(len(delta) // len(draw.v), *[1] * (draw.v.ndim - 1))
        with draw.noise():
            return self.tail(self.domain.project(v + delta))

    def wrong(self, draw: Draw, delta: Tensor) -> Tensor:
        """Which of them mislead, `(k B,)`."""
        return self.scores(draw, delta).argmax(1) != draw.y.repeat(len(delta) // len(draw.y))

    def kept(self, shift: Perturbation, draw: Draw) -> Tensor:
        """How surely the values are still read under a perturbation."""
        with draw.noise():
            return MISREAD.loss(self.tail(shift(draw.v)), draw.y).mean()


@dataclass(frozen=True)
class _Search(ABC):
    """What the two share: minimal steps, the exact radius, and the choice by errors on held-out draws."""

    ball: Ball
    halvings: int = field(default=30, kw_only=True)
    classes: int = field(default=32, kw_only=True)
    domain: Domain = field(default_factory=Vectors, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.ball, Ball) or not 0 < self.ball.eps < math.inf:
            raise UserError(
                f"the perturbation fills a Ball of a finite radius above zero, got {self.ball!r}"
            )
        if self.halvings < 1 or self.classes < 1:
            raise UserError("halvings and classes must be at least 1")

    def fit(
        self,
        tail: Tail,
        batches: Iterable[Sequence[Tensor]],
        *,
        head: Tail | None = None,
        seed: int = 0,
    ) -> Perturbation:
        """The perturbation found, of exactly the ball's radius; tail and head are left as they are.

        Args:
            tail: `tail(v) -> logits (B, K)`; its noise comes from the ambient streams.
            batches: `(v, labels[, index])`, begun again when they end. Candidates are compared on those that
                follow the ones they were made from.
            head: what makes values at the site of the batches' first entry, such as a link's
                `heard(snr)`; it is not differentiated.
            seed: of all noise and choices.

        Raises:
            UserError: a tail in train mode, too few batches, no gradient path, no step that misleads.
        """
        require_eval(tail, head)
        reader, source = _Reader(tail, self.domain), endless(batches)
        with torch.no_grad():
            found = self.candidates(reader, head, source, seed)
            size = norm(found, self.ball.norm)
            if not bool(size.any()):
                raise UserError(
                    "no step was found that misleads the tail: either it is wrong already on every "
                    "draw, or nothing at the site changes its answer"
                )
            found = found[size > 0] * per_example(self.ball.eps / size[size > 0], found)
        shifts = [Perturbation(p[None], domain=self.domain).eval() for p in found]
        draws = (
            drawn(batch, head, keys(seed, batch), n) for n, batch in enumerate(source, _HELD_OUT)
        )
        return best(reader.kept, shifts, draws)

    @abstractmethod
    def candidates(self, reader: _Reader, head: Tail | None, batches: Batches, seed: int) -> Tensor:
        """Perturbations `(R, *site)` of any length, to be scaled and compared."""

    def _nearest(self, reader: _Reader, draw: Draw, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The shortest step from `at` `(B, *site)` along the gradient towards another class.

        Its direction `(B, *site)`, its length `(B,)`, infinite where no step misleads, and the gradient.
        All classes are tried in one batch.
        """
        others = reader.scores(draw, at).scatter(1, draw.y[:, None], -math.inf)
        count = min(self.classes, others.shape[1] - 1)
        if count < 1:
            raise UserError("the tail knows a single class, and cannot take one for another")
        towards = others.topk(count, 1).indices.T.flatten()
        start = at.repeat(count, *[1] * (at.ndim - 1))
        with torch.enable_grad():
            point = start.clone().requires_grad_()
            slope = -gradient(cross_entropy(reader.scores(draw, point), towards).sum(), point)
        direction = self.ball.steepest(slope)

        def misleads(length: Tensor) -> Tensor:
            return reader.wrong(draw, start + per_example(length, start) * direction)

        length, nearest = self._shortest(misleads, start).view(count, -1).min(0)
        rows = nearest * len(at) + torch.arange(len(at), device=at.device)
        return direction[rows], length, slope[rows]

    def _shortest(self, misleads: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
        """The length at which each row misleads, `(rows,)`: doubled until it does, then bisected."""
        high = like.new_full((len(like),), self.ball.eps)
        for _ in range(_DOUBLINGS):
            short = ~misleads(high)
            if not bool(short.any()):
                break
            high = torch.where(short, 2 * high, high)
        never, low = ~misleads(high), torch.zeros_like(high)
        for _ in range(self.halvings):
            middle = (low + high) / 2
            enough = misleads(middle)
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        return high.masked_fill(never, math.inf)


@dataclass(frozen=True)
class IterativeUniversal(_Search):
    r"""Steps that each mislead one more draw, until a few draws were seen (Sadeghi & Larsson, algorithm 1).

    From :math:`p = 0`, for one random value and its noise after another: where the tail is still right at
    :math:`v + p`,

    .. math:: p \leftarrow \Pi\Big(p + t_c\,\frac{g_c}{\|g_c\|}\Big), \qquad
        c = \operatorname{argmin}_{c \ne y} t_c

    with :math:`g_c` the gradient towards class c, :math:`t_c` the least length at which that step misleads,
    found by bisection, and :math:`\Pi` the projection into the ball. At the end p is scaled to the radius.

    What comes out depends on the few draws that came in. `restarts` are run side by side, each on its own
    draws, and the one under which further batches are least surely read is returned.

    Departures from the authors' program: the projection is one (theirs scales by its threshold), and its
    generator is not reset between draws (a reset makes them equal).

    Args:
        ball: the budget; the perturbation fills it.
        draws: values looked at, one after another; 10 as published.
        restarts: how many are run; 1 as published.
        halvings: of the bracket around the least length.
        classes: how many others a value is sent towards, the likeliest; all as published.
        domain: what a value at the site is.

    Raises:
        UserError: settings out of range.

    >>> from torch import nn
    >>> tail = nn.Linear(2, 2, bias=False).eval()
    >>> _ = tail.weight.data.copy_(torch.tensor([[-3.0, -4.0], [3.0, 4.0]]))
    >>> v, y = torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), torch.tensor([0, 1])
    >>> p = IterativeUniversal(Ball(10.0, "L2"), draws=1).fit(tail, [(v, y)]).delta.detach()
    >>> p.abs().round(decimals=3)
    tensor([[6., 8.]])
    """

    draws: int = 10
    restarts: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < 1 or self.restarts < 1:
            raise UserError("draws and restarts must be at least 1")

    def candidates(self, reader: _Reader, head: Tail | None, batches: Batches, seed: int) -> Tensor:
        """One for each restart."""
        seeds, p = random.seeds(seed, self.restarts), None
        for number, batch in enumerate(islice(batches, self.draws)):
            draw = self.draw(batch, head, seeds, number)
            p = torch.zeros_like(draw.v) if p is None else p
            direction, length, _ = self._nearest(reader, draw, p)
            moves = ~reader.wrong(draw, p) & length.isfinite()
            p = self.ball.project(p + per_example(length.where(moves, 0), p) * direction)
        if p is None:
            raise UserError("there are no batches to find a perturbation on")
        return p

    def draw(self, batch: Sequence[Tensor], head: Tail | None, seeds: Tensor, number: int) -> Draw:
        """A value of the batch for each restart, with noise of its own."""
        with random.streams(seeds, -1 - number):
            share = random.uniform((len(seeds),), torch.empty(0, dtype=torch.float64))  # below one
        rows = (share * len(batch[0])).long().to(batch[0].device)
        return drawn([part[rows] for part in batch[:2]], head, seeds, number)


@dataclass(frozen=True)
class PrincipalUniversal(_Search):
    r"""The direction that minimal perturbations have most in common (Sadeghi & Larsson, algorithm 2).

    Of each value the gradient :math:`g_i` towards the class that is nearest along it; they are the rows of
    one matrix, whose first right singular vector is the direction:

    .. math:: p = \pm\, r\, v_1, \qquad
        v_1 = \operatorname{argmax}_{\|v\| = 1} \sum_i \langle g_i / \|g_i\|, v \rangle^2

    It needs no timing and little knowledge: found on a substitute model it is the black-box attack. Of both
    signs the one under which further batches are less surely read is returned.

    Args:
        ball: the budget; the perturbation fills it.
        examples: values looked at.
        normalised: count every gradient alike; else each at its own size, which is the other variant of the
            authors' program.
        halvings: of the bracket around the least length.
        classes: how many others a value is sent towards, the likeliest; all as published.
        domain: what a value at the site is.

    Raises:
        UserError: settings out of range.

    >>> from torch import nn
    >>> tail = nn.Linear(2, 2, bias=False).eval()
    >>> _ = tail.weight.data.copy_(torch.tensor([[-3.0, -4.0], [3.0, 4.0]]))
    >>> v, y = torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), torch.tensor([0, 1])
    >>> p = PrincipalUniversal(Ball(10.0, "L2")).fit(tail, [(v, y)]).delta.detach()
    >>> p.abs().round(decimals=3)
    tensor([[6., 8.]])
    """

    examples: int = 500
    normalised: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.examples < 1:
            raise UserError("examples must be at least 1")

    def candidates(self, reader: _Reader, head: Tail | None, batches: Batches, seed: int) -> Tensor:
        """Both signs of the direction."""
        rows: list[Tensor] = []
        missing = self.examples
        for number, batch in enumerate(batches):
            part = [column[:missing] for column in batch]
            rows.append(self._rows(reader, drawn(part, head, keys(seed, part), number)))
            missing -= len(part[0])
            if missing <= 0:
                break
        if not rows:
            raise UserError("there are no batches to find a perturbation on")
        stack = torch.cat(rows)
        if not len(stack):
            return stack
        top = (
            torch.linalg.svd(stack.flatten(1), full_matrices=False).Vh[0].view(1, *stack.shape[1:])
        )
        return torch.cat([top, -top])

    def _rows(self, reader: _Reader, draw: Draw) -> Tensor:
        """What is stacked for the values that are right and can be misled."""
        start = torch.zeros_like(draw.v)
        direction, length, slope = self._nearest(reader, draw, start)
        kept = ~reader.wrong(draw, start) & length.isfinite()
        return (direction if self.normalised else slope)[kept]


def direct(ball: Ball, *, restarts: int = 20, **settings: Any) -> Universal:
    """`Universal` at settings under which it outdoes both searches on radio links.

    It descends the probability that a message is read, from 20 random perturbations, of full size up to a PSR
    of about 3 dB: on a (7, 4) autoencoder one start in four to ten ends at the best. Batches of 300 to 1000
    do equally well.

    Args:
        ball: the budget.
        restarts: how many starts.
        settings: any others of `Universal`'s.

    >>> direct(Ball(1.0, "L2"), restarts=5).goal.name
    'misread'
    """
    chosen = {"goal": MISREAD, "steps": 200, "lr": 0.05, "restarts": restarts, **settings}
    return Universal(ball, **chosen)
