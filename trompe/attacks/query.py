"""Attacks that only ask: they see logits and no gradient, so masked gradients do not stop them."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trompe.attacks.base import ClassifierAttack, margin_of
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import (
    Execution,
    flushed_denormals,
    policy,
    predict,
    working_copy,
)
from trompe.core.geometry import Ball, norm, per_example
from trompe.core.objective import COMMON, CONFIRM
from trompe.core.protocols import Region
from trompe.core.tree import repeat, take

__all__ = ["Square", "share", "squares"]

PROPOSE = 2**43  # the first of the draws that make proposals; models never draw from there on
_TINY = 1e-12
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10000 queries


def share(step: int, steps: int, first: float) -> float:
    """The share of an input that a proposal changes: halved at fixed fractions of the budget.

    Andriushchenko et al. 2020, section 4.1, their schedule for 10000 queries stretched to `steps`.

    >>> share(0, 100, first=0.8), share(99, 100, first=0.8)
    (0.8, 0.0015625)
    """
    at = step / steps * 10000
    return first * 0.5 ** sum(at > mark for mark in _HALVINGS)


@dataclass(frozen=True)
class Square(ClassifierAttack):
    """Square attack: random search with square windows at the ball's boundary (Andriushchenko et al. 2020).

    A proposal is kept where it lowers the margin. For Linf (algorithm 2) it sets a window to +eps or -eps,
    one sign per channel; the start is vertical stripes. For L2 (algorithm 3) it moves the perturbation's mass
    from one window to another, shaped as a pair of opposite bumps; the start is a grid of such bumps.
    Windows fit images of any size and number of channels. Vectors have no neighbourhoods: there a window is
    a random set of coordinates, each with a sign of its own.

    Where we depart from the paper: targeted attacks also minimise the margin, and a random model is asked on
    the same draws each time and left only after k of n fresh draws succeed (`Execution.confirm`).

    Args:
        ball: the perturbations allowed, Linf or L2.
        steps: queries spent on each example, per restart.
        first_share: the share of pixels (of coordinates, for vectors) in the first windows; p in the paper.
        restarts: further searches of the examples that still resist, from new starts.
        early_stop: whether an example leaves once it is adversarial.

    Raises:
        UserError: an L1 ball, no steps or restarts, or a share outside (0, 1].

    >>> model = nn.Flatten().eval()
    >>> Square(Ball(eps=0.3), steps=20)(model, torch.rand(2, 1, 4, 3), torch.tensor([0, 1])).shape
    torch.Size([2, 1, 4, 3])
    """

    ball: Ball
    steps: int = field(default=5000, kw_only=True)
    first_share: float = field(default=0.8, kw_only=True)
    restarts: int = field(default=1, kw_only=True)
    early_stop: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if self.ball.norm == "L1":
            raise UserError("Square works in Linf and L2 balls, got L1; use PGD or APGD there")
        if self.steps < 1 or self.restarts < 1:
            raise UserError("steps and restarts must be at least 1")
        if not 0 < self.first_share <= 1:
            raise UserError(f"first_share must lie in (0, 1], got {self.first_share}")

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """Walk from each start, with the examples that still resist."""
        oracle = _Oracle(working_copy(model), model, policy(), self.targeted)
        size = oracle.how.chunk or len(x)
        with flushed_denormals():
            parts = zip(*(torch.split(part, size) for part in (x, y, seeds)), strict=True)
            return torch.cat([self._restarted(oracle, *part) for part in parts])

    def _restarted(self, oracle: "_Oracle", x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        found = self._walk(oracle, x, y, seeds, 0)
        for restart in range(1, self.restarts):
            left = (~found.done).nonzero()[:, 0]
            if len(left) == 0:
                break
            again = self._walk(oracle, *take((x, y, seeds), left), restart)
            keep = again.done | (again.score < found.score[left])
            found = _put(found, left[keep], take(again, keep.nonzero()[:, 0]))
        return found.best

    def _walk(
        self, oracle: "_Oracle", x: Tensor, y: Tensor, seeds: Tensor, restart: int
    ) -> "_Walk":
        """One random search; whoever is done leaves, and comes back in place at the end."""
        live = found = _Walk(
            rows=torch.arange(len(x), device=x.device),
            best=x,
            score=x.new_full((len(x),), torch.inf),
            done=torch.zeros_like(y, dtype=torch.bool),
            x=x,
            y=y,
            seeds=seeds,
            region=self.domain.region(x, self.ball),
        )
        for step in range(self.steps):
            number = restart * self.steps + step
            with random.streams(live.seeds, PROPOSE + number):
                trial = live.region.project(
                    self._first(live) if step == 0 else self._next(live, step)
                )
            score, claimed = oracle.ask(trial, live)
            better = score < live.score
            live = live._replace(
                best=torch.where(per_example(better, x), trial, live.best),
                score=torch.where(better, score, live.score),
                done=torch.where(better, claimed, live.done),
            )
            last = step == self.steps - 1
            if not (last or self.early_stop):
                continue
            done = oracle.confirmed(live, live.done if last else better & claimed, number)
            if last or bool(done.any()):
                found = _put(found, live.rows, live._replace(done=done))
                live = take(live, (~done).nonzero()[:, 0])
            if len(live.rows) == 0:
                break
        return found

    def _first(self, live: "_Walk") -> Tensor:
        """The start: stripes for Linf, bumps for L2, random signs where there are no rows and columns."""
        b, c, h, w = live.x.shape if live.x.ndim == 4 else (len(live.x), 1, 1, live.x[0].numel())
        if self.ball.norm == "Linf":
            pattern = random.signs((b, c, 1, w), live.x).expand(b, c, h, w)
        elif live.x.ndim == 4:
            side = max(min(h, w) // 5, 1)
            pattern = _bumps(live.x, side)
        else:
            pattern = random.signs((b, c, h, w), live.x)
        delta = pattern.reshape(live.x.shape)
        return live.x + self.ball.eps * (delta if self.ball.norm == "Linf" else _unit(delta))

    def _next(self, live: "_Walk", step: int) -> Tensor:
        """A proposal around the best perturbation so far."""
        part = share(step, self.steps, self.first_share)
        if self.ball.norm == "Linf":
            window, pattern = _window(live.x, part, 1)
            return torch.where(window, live.x + self.ball.eps * pattern, live.best)
        to, pattern = _window(live.x, part, 3)
        away, _ = _window(live.x, part, 3)
        return live.x + _moved(live.best - live.x, to, away, pattern, self.ball.eps)


class _Walk(NamedTuple):
    """Everything that belongs to the examples still searched; compacted as one tree."""

    rows: Tensor
    best: Tensor
    score: Tensor
    done: Tensor
    x: Tensor
    y: Tensor
    seeds: Tensor
    region: Region


def _put(walk: _Walk, rows: Tensor, new: _Walk) -> _Walk:
    """The walk with the results of some rows replaced."""
    pairs = zip(walk[1:4], new[1:4], strict=True)
    best, score, done = (old.index_copy(0, rows, part) for old, part in pairs)
    return walk._replace(best=best, score=score, done=done)


@dataclass(frozen=True)
class _Oracle:
    """The model as the attacker meets it: a margin per query."""

    fast: nn.Module
    true: nn.Module
    how: Execution
    targeted: bool

    def ask(self, trial: Tensor, live: _Walk) -> tuple[Tensor, Tensor]:
        """Margins `(B,)` on the common draws, and whether they claim a success."""
        draws = self.how.draws
        with random.streams(live.seeds, COMMON):
            logits = predict(self.fast, torch.cat([trial] * draws))
        margins = margin_of(logits, repeat(live.y, draws), self.targeted).view(draws, -1)
        need, tries = self.how.confirm
        return margins.mean(0), (margins < 0).sum(0) * tries >= need * draws

    def confirmed(self, live: _Walk, claimed: Tensor, number: int) -> Tensor:
        """Which claims hold in the model's own precision, and on k of n fresh draws if it is random."""
        rows = claimed.nonzero()[:, 0]
        if len(rows) == 0:
            return claimed
        some, first = take(live, rows), CONFIRM + number
        wins, used = self._win(some, first)
        need, tries = self.how.confirm if used else (1, 1)
        count = wins.long()
        for draw in range(1, tries):
            count = count + self._win(some, first + (draw << 20))[0]
        return claimed.index_put((rows,), count >= need)

    def _win(self, live: _Walk, number: int) -> tuple[Tensor, bool]:
        with random.streams(live.seeds, number) as streams:
            logits = predict(self.true, live.best)
        return margin_of(logits, live.y, self.targeted) < 0, streams.calls > 0


def _window(x: Tensor, part: float, least: int) -> tuple[Tensor, Tensor]:
    """Where a proposal acts, and the pattern it writes there, both shaped to the inputs.

    `least` 1 asks for constant windows of any size, 3 for bumps of odd side.
    """
    if x.ndim != 4:
        count = max(1, round(part * x[0].numel()))
        rank = random.uniform(tuple(x.shape), x).flatten(1).argsort(1).argsort(1)
        return (rank < count).view_as(x), random.signs(tuple(x.shape), x)
    b, c, h, w = x.shape
    side = max(round(math.sqrt(part * h * w)), least)
    side = min(side + (1 - side % 2 if least > 1 else 0), h, w)
    corner = random.uniform((b, 2), x.new_empty(0, dtype=torch.float64))
    rows = torch.arange(h, device=x.device) - (corner[:, :1] * (h - side + 1)).long()
    columns = torch.arange(w, device=x.device) - (corner[:, 1:] * (w - side + 1)).long()
    inside = _within(rows, side)[:, None, :, None] & _within(columns, side)[:, None, None, :]
    signs = random.signs((b, c, 1, 1), x)
    if least == 1:
        return inside.expand_as(x), signs.expand_as(x)
    shapes = _turned(squares(side, x), b)
    at = (torch.arange(b, device=x.device)[:, None, None], *_clamped(rows, columns, side))
    return inside.expand_as(x), shapes[at][:, None] * signs


def _within(at: Tensor, side: int) -> Tensor:
    return (at >= 0) & (at < side)


def _clamped(rows: Tensor, columns: Tensor, side: int) -> tuple[Tensor, Tensor]:
    return rows.clamp(0, side - 1)[:, :, None], columns.clamp(0, side - 1)[:, None, :]


def squares(side: int, like: Tensor) -> Tensor:
    """Two opposite bumps, one above the other, `(side, side)` of L2 norm one (section 3.4, eta).

    Each bump is a sum of nested squares around its centre, `sum_k 1 / (k + 1)^2` over those
    that cover a pixel.

    >>> squares(3, torch.empty(0)).sign()[:, 0].tolist()
    [1.0, -1.0, -1.0]
    """
    top = _bump(side // 2, side, like)
    pair = torch.cat([top, -_bump(side - side // 2, side, like)])
    return torch.div(pair, torch.linalg.vector_norm(pair))


def _bump(height: int, width: int, like: Tensor) -> Tensor:
    """One bump of norm one: the value at distance r from the centre is `sum_{k >= r} 1 / (k + 1)^2`."""
    nested = max(height, width) // 2 + 1
    terms = 1 / torch.arange(1, nested + 1, dtype=like.dtype, device=like.device).square()
    sums = terms.flip(0).cumsum(0).flip(0)
    down = (torch.arange(height, device=like.device) - height // 2).abs()
    across = (torch.arange(width, device=like.device) - width // 2).abs()
    bump = sums[torch.maximum(down[:, None], across)]
    return torch.div(bump, torch.linalg.vector_norm(bump).clamp_min(_TINY))


def _turned(shape: Tensor, count: int) -> Tensor:
    """The shape for each of `count` examples, transposed with probability one half."""
    turn = random.uniform((count, 1, 1), shape.new_empty(0, dtype=torch.float64)) < 0.5
    return torch.where(turn, shape.T, shape)


def _bumps(x: Tensor, side: int) -> Tensor:
    """A grid of bumps over whole images, each with a sign per channel."""
    b, c, h, w = x.shape
    tiles = random.signs((b, c, -(-h // side), -(-w // side)), x)
    rows, columns = (torch.arange(n, device=x.device) for n in (h, w))
    shapes = _turned(squares(side, x), b)[:, (rows % side)[:, None], columns % side]
    return shapes[:, None] * tiles[:, :, (rows // side)[:, None], columns // side]


def _unit(delta: Tensor) -> Tensor:
    return delta / per_example(norm(delta, "L2").clamp_min(_TINY), delta)


def _moved(delta: Tensor, to: Tensor, away: Tensor, pattern: Tensor, eps: float) -> Tensor:
    """The perturbation with the mass of window `away` added to window `to` (algorithm 3, lines 9-14).

    The window gets the pattern plus its own normalised content, with the norm that both windows had per
    channel and a channel's part of what the ball still has room for.
    """
    wide = (len(delta), delta.shape[1] if delta.ndim == 4 else 1, -1)
    flat, here, there, shape = (part.reshape(wide) for part in (delta, to, away, pattern))
    left = 1 - flat.square().sum((1, 2), keepdim=True) / eps**2 if eps > 0 else torch.zeros(())
    room = torch.where(left > 1e-5, left, 0.0) * eps**2 / flat.shape[1]  # below it is rounding
    mass = (flat * (here | there)).square().sum(2, keepdim=True)
    old = flat * here
    old = old / old.square().sum((1, 2), keepdim=True).sqrt().clamp_min(_TINY)
    new = (shape + old) * here
    new = new / new.square().sum(2, keepdim=True).sqrt().clamp_min(_TINY) * (room + mass).sqrt()
    return eps * _unit(torch.where(here, new, flat.masked_fill(there, 0.0)).view_as(delta))
