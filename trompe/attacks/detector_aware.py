"""An attack on a classifier with detectors: the answer is to be wrong, and to be given."""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from trompe.attacks.base import ClassifierAttack, margin_of
from trompe.attacks.gradient import uniform_start
from trompe.attacks.minimal import best_of
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.core.search import Evaluation, Found, Objective, search
from trompe.core.solvers import Adam

__all__ = ["DetectorAware", "Watched"]


@runtime_checkable
class Watched(Protocol):
    """A classifier with detectors: `model(x)` are logits; `excess(x)` `(B,)` is above 0 where one refuses."""

    def excess(self, x: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class DetectorAware(ClassifierAttack):
    r"""Seeks an answer that is wrong *and* accepted, by Adam, with a weight per example that is searched.

    .. math:: \min_{x' \in B} \; \max(m(x'), -\kappa) + \lambda \max(e(x'), 0)

    with the margin m and the detectors' excess `e = max_d (s_d / t_d - 1)` over their thresholds, after
    Carlini & Wagner 2017 ("Adversarial examples are not easily detected"). A single weight is too large for
    some examples and too small for others. Where a round ends wrong but refused it was too small, else too
    large: it moves by `factor`, and once both have been seen to their geometric mean. Iterates are ranked by
    `max(m, e)`, below zero only where both are won. A plain attack would take any wrong answer for a success,
    and most of those are refused.

    Args:
        ball: the perturbations allowed.
        steps: gradients per example and round.
        rounds: weights tried on what still stands, the first from the input itself, others from the ball.
        weight: the first lambda, in logits for a score of twice its threshold.
        factor: by which it moves at first.
        confidence: kappa, the margin in logits beyond which a wrong answer need not be surer.
        lr: Adam's step in the units of the input; it falls to zero in a cosine. Steps along signs are rougher
            than detectors of noise let pass.
        early_stop: whether an example leaves once it is wrong and accepted.

    Raises:
        UserError: on the call, when the model has no `excess`, as `trompe.defenses.Guarded` has.

    >>> class Small(nn.Flatten):
    ...     def excess(self, x):
    ...         return x.flatten(1).sum(1) - 1
    >>> attack = DetectorAware(Ball(0.3), steps=5, rounds=2)
    >>> attack(Small().eval(), torch.tensor([[[[0.5, 0.4]]]]), torch.tensor([0])).sum() < 1
    tensor(True)
    """

    ball: Ball
    steps: int = field(default=100, kw_only=True)
    rounds: int = field(default=5, kw_only=True)
    weight: float = field(default=10.0, kw_only=True)
    factor: float = field(default=10.0, kw_only=True)
    confidence: float = field(default=1.0, kw_only=True)
    lr: float = field(default=0.03, kw_only=True)
    early_stop: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rounds < 1:
            raise UserError("steps and rounds must be at least 1")
        if not (self.weight > 0 and self.lr > 0 and self.factor > 1 and self.confidence >= 0):
            raise UserError(
                "weight and lr must be above 0, factor above 1, and confidence zero or more"
            )

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """The model has detectors; labels are whole numbers below the number of classes."""
        if not isinstance(model, Watched):
            raise UserError(
                f"{type(model).__name__} has no excess(x) that tells by how much its detectors are exceeded; "
                "trompe.defenses.Guarded has, and a classifier without detectors is attacked by APGD"
            )
        return super().check(model, x, y, seeds)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """One search for each weight, on what the searches before it left standing."""
        low, high = x.new_zeros(len(x)), x.new_full((len(x),), torch.inf)
        weight = x.new_full((len(x),), self.weight)
        kept: Found | None = None
        left = torch.arange(len(x), device=x.device)
        for number in range(self.rounds):
            some = x[left], y[left], seeds[left], weight[left]
            found, wrong = self._round(model, *some, number)
            kept = found if kept is None else _joined(kept, left, found)
            used = weight[left]
            low = low.index_copy(0, left, torch.where(wrong, used, low[left]))
            high = high.index_copy(0, left, torch.where(wrong, high[left], used))
            weight = self._next(low, high)
            left = left[~found.done] if self.early_stop else left
            if len(left) == 0:
                break
        assert kept is not None
        return kept.best

    def _round(
        self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor, weight: Tensor, number: int
    ) -> tuple[Found, Tensor]:
        """One search, and whether the last iterate of each example was wrong."""
        wrong = torch.zeros(len(x), dtype=torch.bool, device=x.device)

        def note(step: int, rows: Tensor, v: Tensor, seen: Evaluation) -> None:
            nonlocal wrong
            wrong = wrong.index_copy(0, rows, seen.terms["margin"] < 0)

        found = search(
            _wrong_and_accepted(self.confidence, self.targeted),
            model,
            uniform_start(self.ball, self.domain) if number else x,
            Adam(self.lr, schedule="cosine"),
            steps=self.steps,
            region=self.domain.region(x, self.ball),
            data={"x": x, "y": y, "weight": weight},
            seeds=seeds + number,
            leave=self.early_stop,
            verify=True,
            callback=note,
        )
        return found, wrong

    def _next(self, low: Tensor, high: Tensor) -> Tensor:
        """The weights between those that were too small and those that were too large."""
        between = torch.where(high.isinf(), low * self.factor, (low * high).sqrt())
        return torch.where(low == 0, high / self.factor, between)


def _wrong_and_accepted(confidence: float, targeted: bool) -> Objective:
    """`data` holds `y` and each example's `weight`."""

    def objective(model: Any, v: Tensor, data: Any) -> Evaluation:
        margin, excess = margin_of(model(v), data["y"], targeted), model.excess(v)
        loss = margin.clamp_min(-confidence) + data["weight"] * excess.clamp_min(0)
        margin, excess = margin.detach(), excess.detach()
        done = (margin < 0) & (excess <= 0)
        return Evaluation(loss, torch.maximum(margin, excess), done, {"margin": margin})

    return objective


def _joined(kept: Found, rows: Tensor, found: Found) -> Found:
    """What was kept, with the better of both in those rows."""
    better = best_of(Found(*(part[rows] for part in kept)), found)
    return Found(*(old.index_copy(0, rows, new) for old, new in zip(kept, better, strict=True)))
