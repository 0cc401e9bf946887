"""What an attack on an autoencoder achieved: distances, curves, and what a judge reads.

Everything is measured outside the attack, on the inputs it returned, and kept per example. Comparisons
between models go through curves, never through a penalty's weight, whose unit is the model's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from trompe.attacks.autoencoder import AutoencoderAttack
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import predict
from trompe.core.geometry import norm
from trompe.evaluation.outcomes import REPORT

__all__ = [
    "Curve",
    "Distances",
    "Judged",
    "auddc",
    "curve",
    "distances",
    "judge",
    "mean_curve",
    "partners",
    "relative_distortion",
    "relative_target_distance",
]


def relative_distortion(x: Tensor, adversarial: Tensor, target: Tensor) -> Tensor:
    """`||x' - x||_2 / ||x_t - x||_2`, `(B,)`: 1 is the distance to the target image itself.

    Undefined (NaN) where the target is the input.

    >>> one = torch.ones(1, 1, 1, 1)
    >>> relative_distortion(0 * one, 0.25 * one, one)
    tensor([0.2500])
    """
    return norm(adversarial - x, "L2") / _positive(norm(target - x, "L2"))


def relative_target_distance(
    adversarial: Tensor, clean: Tensor, reached: Tensor, target: Tensor
) -> Tensor:
    """How far the output still is from the target: 1 without an attack, 0 where the model cannot do better.

    `(||x̂_a - x_t|| - ||x̂_t - x_t||) / (||x̂_o - x_t|| - ||x̂_t - x_t||)` (Gondim-Ribeiro et al. 2018),
    with the reconstructions of the adversarial input, of the clean one and of the target image.
    Undefined (NaN) where the clean reconstruction is as close to the target as the target's own.

    Args:
        adversarial: `x̂_a` `(B, *)`.
        clean: `x̂_o` `(B, *)`.
        reached: `x̂_t` `(B, *)`.
        target: `x_t` `(B, *)`.
    """
    floor = norm(reached - target, "L2")
    room = norm(clean - target, "L2") - floor
    return (norm(adversarial - target, "L2") - floor) / _positive(room)


def _positive(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, torch.nan)


def auddc(distortion: Tensor, distance: Tensor) -> Tensor:
    """Area under the distortion-distortion curve, `(B,)` for curves `(K, B)`; larger is more robust.

    Points are sorted by distortion, both axes clipped to [0, 1], the curve is continued to distortion 1
    at its smallest distance, and the area is taken by the trapezoid rule (Gondim-Ribeiro et al. 2018).

    >>> x = torch.linspace(0, 1, 5)[:, None]
    >>> auddc(x, 1 - x)
    tensor([0.5000])
    """
    if distortion.shape != distance.shape or distortion.ndim != 2:
        raise UserError(
            f"expected two curves of shape (K, B), got {tuple(distortion.shape)} "
            f"and {tuple(distance.shape)}"
        )
    x, order = distortion.clamp(0, 1).sort(dim=0, stable=True)
    y = distance.clamp(0, 1).gather(0, order)
    x = torch.cat([x, torch.ones_like(x[:1])])
    y = torch.cat([y, y.amin(0, keepdim=True)])
    return torch.trapezoid(y, x, dim=0)


class Distances(NamedTuple):
    """What one attack did to each example, `(B,)` each.

    Args:
        l2: `||x' - x||`.
        rmsd: the same by the square root of the number of values.
        distortion: relative to the distance of the target; NaN without a target.
        distance: the relative target distance; NaN without a target.
        change: `||x̂_a - x̂_o||`, how far the output moved, wherever to.
    """

    l2: Tensor
    rmsd: Tensor
    distortion: Tensor
    distance: Tensor
    change: Tensor


def distances(
    model: nn.Module,
    x: Tensor,
    adversarial: Tensor,
    target: Tensor | None = None,
    *,
    seeds: Tensor | None = None,
) -> Distances:
    """Measure adversarial inputs through the model; a random one meets all three images with one fresh draw.

    Args:
        model: an autoencoder in eval mode: `model(x)` reconstructs.
        x: the clean inputs `(B, *)`.
        adversarial: what an attack returned for them.
        target: target images, for a targeted attack.
        seeds: `(B,)`, the examples' streams.
    """
    seeds = random.seeds(0, len(x)) if seeds is None else seeds
    clean, moved = _reconstruct(model, x, seeds), _reconstruct(model, adversarial, seeds)
    l2 = norm(adversarial - x, "L2")
    distortion = distance = torch.full_like(l2, torch.nan)
    if target is not None:
        reached = _reconstruct(model, target, seeds)
        distortion = relative_distortion(x, adversarial, target)
        distance = relative_target_distance(moved, clean, reached, target)
    rmsd = l2 / x[0].numel() ** 0.5
    return Distances(l2, rmsd, distortion, distance, norm(moved - clean, "L2"))


def _reconstruct(model: nn.Module, x: Tensor, seeds: Tensor, rounds: int = 1) -> Tensor:
    for turn in range(rounds):
        with random.streams(seeds, REPORT + turn):
            x = predict(model, x)
    return x


class Judged(NamedTuple):
    """What an independent classifier reads in the reconstructions, `(B,)` each.

    Args:
        counted: the clean reconstruction is read as the source's class; only these count.
        ignored: the adversarial reconstruction is read as another class (AS-ignore-target).
        reached: it is read as the target's class (AS-target); false without target labels.
        label: the class read in the adversarial reconstruction.
    """

    counted: Tensor
    ignored: Tensor
    reached: Tensor
    label: Tensor

    @property
    def n(self) -> int:
        """How many examples count."""
        return int(self.counted.sum())

    @property
    def ignore_target(self) -> int:
        """Successes of AS-ignore-target among the `n`."""
        return int((self.ignored & self.counted).sum())

    @property
    def target(self) -> int:
        """Successes of AS-target among the `n`."""
        return int((self.reached & self.counted).sum())


def judge(
    model: nn.Module,
    classifier: nn.Module,
    x: Tensor,
    adversarial: Tensor,
    labels: Tensor,
    target_labels: Tensor | None = None,
    *,
    rounds: int = 1,
    seeds: Tensor | None = None,
) -> Judged:
    """Let a classifier that no attack was optimised against read the reconstructions (Kos et al. 2018, 5).

    Args:
        model: an autoencoder in eval mode.
        classifier: the judge, on images, in eval mode.
        labels: the sources' classes `(B,)`.
        target_labels: the targets' classes `(B,)`, if the attack was targeted.
        rounds: how often an image passes through the model before it is read (reconstruction feedback).
    """
    for role, network in (("model", model), ("judge", classifier)):
        if network.training:
            raise UserError(f"the {role} is in train mode; call eval() on it before measuring")
    if rounds < 1:
        raise UserError(f"an image passes through the model at least once, got rounds={rounds}")
    seeds = random.seeds(0, len(x)) if seeds is None else seeds
    clean = predict(classifier, _reconstruct(model, x, seeds, rounds)).argmax(1)
    label = predict(classifier, _reconstruct(model, adversarial, seeds, rounds)).argmax(1)
    none = torch.zeros_like(label, dtype=torch.bool)
    reached = none if target_labels is None else label == target_labels
    return Judged(clean == labels, label != labels, reached, label)


@dataclass(frozen=True, eq=False)
class Curve:
    """An attack at K budgets on B examples.

    Args:
        budgets: radii or weights of the penalty, in the order of the rows.
        adversarial: what the attack returned, `(K, B, *)`.
        l2, distortion, distance, change: as in `Distances`, `(K, B)` each.
    """

    budgets: tuple[float, ...]
    adversarial: Tensor
    l2: Tensor
    distortion: Tensor
    distance: Tensor
    change: Tensor

    def auddc(self) -> Tensor:
        """The area under each example's curve, `(B,)`; the clean input (0, 1) is a point of every curve."""
        return auddc(_clean_first(self.distortion, 0.0), _clean_first(self.distance, 1.0))

    def mean(self, grid: Sequence[float]) -> Tensor:
        """The mean distance at common distortions, `(len(grid),)`."""
        return mean_curve(
            _clean_first(self.distortion, 0.0), _clean_first(self.distance, 1.0), grid
        )


def _clean_first(values: Tensor, clean: float) -> Tensor:
    first = torch.full_like(values[:1], clean).where(~values[:1].isnan(), torch.nan)
    return torch.cat([first, values])


def mean_curve(distortion: Tensor, distance: Tensor, grid: Sequence[float]) -> Tensor:
    """Curves `(K, B)` interpolated linearly on a common grid and averaged over the examples.

    Beyond its last point a curve keeps its last value. Examples without a curve (NaN) are left out.

    >>> x = torch.tensor([[0.0], [1.0]])
    >>> mean_curve(x, 1 - x, [0.25, 0.5])
    tensor([0.7500, 0.5000])
    """
    curves = []
    for x, y in zip(distortion.double().cpu().T, distance.double().cpu().T, strict=True):
        order = x.argsort(stable=True)
        if not bool((x + y).isnan().any()):
            curves.append(np.interp(np.asarray(grid), x[order].numpy(), y[order].numpy()))
    if not curves:
        return torch.full((len(grid),), torch.nan)
    return torch.from_numpy(np.mean(curves, axis=0)).float()


def curve(
    model: nn.Module,
    attack: AutoencoderAttack,
    x: Tensor,
    y: Tensor | None = None,
    *,
    budgets: Sequence[float],
    seeds: Tensor | None = None,
) -> Curve:
    """Trace an attack over radii, if its budget is a ball, or over weights of its penalty.

    All weights are searched in one batch.

    Args:
        attack: its kind of budget says what `budgets` are; the budget's own number is not used.
        y: target images, or None for maximum damage.
        budgets: K radii or weights.
    """
    seeds = random.seeds(0, len(x)) if seeds is None else seeds
    if attack.ball is None:
        found = attack.sweep(model, x, y, weights=budgets, seeds=seeds)
    else:
        found = torch.stack([attack.at(eps)(model, x, y, seeds=seeds) for eps in budgets])
    rows = [distances(model, x, each, y, seeds=seeds) for each in found]
    l2, _, distortion, distance, change = (torch.stack(part) for part in zip(*rows, strict=True))
    return Curve(tuple(budgets), found, l2, distortion, distance, change)


def partners(y: Tensor) -> Tensor:
    """For each example the next one, going round, that is of another class; two classes at least.

    >>> partners(torch.tensor([3, 3, 5]))
    tensor([2, 2, 0])
    """
    places = torch.arange(len(y))
    partner = places
    for step in range(1, len(y)):
        same = y[partner] == y
        if not bool(same.any()):
            break
        partner = torch.where(same, (places + step) % len(y), partner)
    return partner
