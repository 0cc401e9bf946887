"""Shared perturbations learned from scores alone: no weights and no gradients, only answers to queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trompe.attacks.query import PROPOSE
from trompe.attacks.universal import Perturbation, ShiftStep, Tail, Universal
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import spend

__all__ = ["ScoreShift", "ScoreStep"]


@dataclass(frozen=True)
class ScoreShift(Universal):
    r"""A shared perturbation learned by asking: from encodings and a classifier's output scores.

    Creswell et al. 2017 say that these are enough (section 1) and train through the decoder's and the
    classifier's gradients. Here each step estimates that gradient from antithetic pairs of queries,

    .. math:: \hat g = \frac{n}{m} \sum_{i=1}^m
        \frac{L(\delta + \sigma u_i) - L(\delta - \sigma u_i)}{2\sigma}\, u_i

    with orthonormal random directions `u_i`, m of n (Choromanski et al. 2018; natural evolution strategies,
    Wierstra et al. 2014, with mirrored samples; SPSA, Spall 1992, for m = 1). It is unbiased where the loss L
    is linear, and exact where besides m = n. All 2 m queries meet the same codes and the same noise. The
    price of the perturbation is the attacker's own and is differentiated.

    A step asks `2 m` times for each value of its batch; `trompe.core.execution.metered` counts that as
    forward passes, and `queries` says it beforehand.

    Args:
        pairs: m; at most as many as the perturbation has entries are used.
        width: sigma, in units of the site.

    Raises:
        UserError: settings out of range.

    >>> from trompe.attacks.universal import FLIP, NormPenalty
    >>> tail = torch.nn.Linear(2, 2).eval()
    >>> _ = tail.bias.data.zero_(), tail.weight.data.copy_(torch.tensor([[-1.0, 0], [1, 0]]))
    >>> codes, y = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])
    >>> how = ScoreShift(NormPenalty(0.01), steps=200, lr=0.1, pairs=1)
    >>> with torch.no_grad():
    ...     shift = how.fit(tail, [(codes, y)])
    >>> tail(shift(codes, FLIP.directions(y))).argmax(1).tolist(), how.queries(batch=2, site=(2,))
    ([1, 0], 800)
    """

    pairs: int = 8
    width: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pairs < 1 or not self.width > 0:
            raise UserError("pairs must be at least 1 and width positive")

    def queries(self, batch: int, site: Sequence[int]) -> int:
        """How often the tail is asked about one value, over all steps on batches of this size."""
        return 2 * self.steps * batch * min(self.pairs, self.perturbation(site).delta.numel())

    def step(
        self, tail: Tail, site: Sequence[int], *, head: Tail | None = None, seed: int = 0
    ) -> "ScoreStep":
        """What learns it, for `training.train` or for `fit`."""
        return ScoreStep(self, tail, site, head=head, seed=seed)


class ScoreStep(ShiftStep):
    """One update from scores; `how` is a `ScoreShift`, and the tail need not be differentiable."""

    how: ScoreShift

    def __init__(
        self,
        how: ScoreShift,
        tail: Tail,
        site: Sequence[int],
        *,
        head: Tail | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(how, tail, site, head=head, seed=seed)
        self.seed, self.taken = seed, 0

    def slope(self, v: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The goal's mean loss over the queries, the price, and an estimate of the gradient of both."""
        delta = self.shift.delta
        with torch.enable_grad():
            price = self.how.price(delta)
            slope = (
                torch.autograd.grad(price, delta)[0]
                if price.requires_grad
                else torch.zeros_like(delta)
            )
        directions = self._directions(delta)
        with torch.no_grad():
            ends = torch.stack([self._ends(u, v, reference) for u in directions])
        rises = (ends[:, 0] - ends[:, 1]) / (2 * self.how.width) * (delta.numel() / len(directions))
        self.taken += 1
        return ends.mean(), price, slope + torch.tensordot(rises, directions, 1)

    def _directions(self, delta: Tensor) -> Tensor:
        """Orthonormal directions `(m, *delta.shape)`, of this step only."""
        count = min(self.how.pairs, delta.numel())
        with random.streams(random.seeds(self.seed, count).to(delta.device), PROPOSE + self.taken):
            drawn = random.normal((count, delta.numel()), delta)
        basis: Tensor = torch.linalg.qr(drawn.T).Q
        return basis.T.reshape(count, *delta.shape)

    def _ends(self, u: Tensor, v: Tensor, reference: Tensor) -> Tensor:
        """The mean losses `(2,)` a width up and a width down, on the noise that this whole step shares."""
        both = []
        for side in (1, -1):
            spend(forwards=len(v))
            delta = self.shift.delta + side * self.how.width * u
            moved = Perturbation(delta, self.how.mode, self.how.domain, self.how.arrival)
            with random.streams(random.seeds(self.seed, len(v)).to(v.device), self.taken):
                both.append(self.how.losses(self.tail, moved, v, reference).mean())
        return torch.stack(both)

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs."""
        return {**super().state_dict(), "taken": self.taken}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Continue from a state."""
        super().load_state_dict(state)
        self.taken = int(state["taken"])
