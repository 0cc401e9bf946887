"""Pairs of images on which an autoencoder is attacked, and what was measured on them."""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trompe.attacks.autoencoder import LatentAttack
from trompe.audit.part import Progress, Store
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import device_of
from trompe.core.geometry import Ball, norm, per_example
from trompe.core.protocols import PointMass
from trompe.data import Dataset
from trompe.evaluation.autoencoder import curve, judge, partners

__all__ = ["RATES", "SHARES", "TARGETED", "UNTARGETED", "Rows", "Subject", "measured"]

TARGETED = (
    "The attacker knows the autoencoder and its weights, may change the input by the given L2 length, and "
    "wants the output to show a chosen other image."
)
UNTARGETED = (
    "The attacker knows the autoencoder and its weights, may change the input by the given L2 length, and "
    "wants the output to show anything else."
)
NOBODY = "Nobody attacks: the input carries noise of the given L2 length."
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
RATES = {
    "AS-target": TARGETED,
    "AS-ignore-target": TARGETED,
    "AS untargeted": UNTARGETED,
    "random noise": NOBODY,
}
_CHUNK = 32

Rows = dict[str, Tensor]
"""What was measured on N pairs at K radii: `distortion`, `distance` and `change` `(K, N)` and `area` `(N,)`,
as in `evaluation.autoencoder`; and where there is a judge, whether each pair counts, `counted` `(N,)`, and
whether it was won, `(K, N)`, under each name of `RATES`."""


@dataclass(frozen=True)
class Subject:
    """What is measured: an autoencoder, under a name, on pairs of images.

    Args:
        judge: a classifier that no attack sees, which says what an output shows; None without labels.
        steps: gradients per attack.
    """

    name: str
    model: nn.Module
    data: Dataset
    judge: nn.Module | None
    seed: int
    steps: int = 100

    @property
    def attack(self) -> LatentAttack:
        """The latent attack that fits the encoder: KL for a stochastic one, L2 for codes that are points."""
        x, *_ = self.pairs()
        with torch.no_grad():
            point = isinstance(self.model.encode(x[:1]), PointMass)  # type: ignore[operator]
        kind: Any = "L2" if point else "kl"
        ball = Ball(1.0, "L2")
        return LatentAttack(ball, divergence=kind, steps=self.steps, domain=self.data.domain)

    def pairs(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Sources, targets and their labels: each source is given the next image of another class.

        Without two classes there are no labels, and the target is simply the next image.
        """
        x, y = self.data.tensors()
        device = device_of(self.model, x)
        if y is None or bool((y == y[0]).all()):
            return x.to(device), x.roll(-1, 0).to(device), None, None
        order = partners(y)
        return x.to(device), x[order].to(device), y.to(device), y[order].to(device)

    def radii(self) -> tuple[float, ...]:
        """L2 radii: shares of the median distance between source and target."""
        x, target, *_ = self.pairs()
        middle = float(norm(target - x, "L2").median())
        if not middle > 0:
            raise UserError("the images are all alike; an attack needs another image to aim at")
        return tuple(float(f"{share * middle:.3g}") for share in SHARES)

    def outputs(self, x: Tensor) -> Tensor:
        """What the autoencoder makes of the first inputs, in pieces that fit."""
        seeds = random.seeds(self.seed, len(x)).to(x.device)
        made = []
        for part, own in zip(x.split(256), seeds.split(256), strict=True):
            with torch.no_grad(), random.streams(own):
                made.append(self.model(part))
        return torch.cat(made)


def measured(
    subject: Subject,
    radii: tuple[float, ...],
    store: Store,
    deadline: float | None,
    progress: Progress | None,
) -> tuple[Rows, bool]:
    """All pairs, a chunk at a time; a chunk once measured is kept. Whether the time sufficed for all."""
    total = len(subject.data)
    chunks: list[Rows] = []
    for start in range(0, total, _CHUNK):
        if deadline is not None and chunks and time.monotonic() > deadline:
            return _joined(chunks), False
        if progress is not None:
            progress(start, total, subject.name)
        make = partial(_chunk, subject, radii, slice(start, start + _CHUNK))
        kept = store.get(f"pairs-{start}", make)
        chunks.append({name: torch.tensor(values) for name, values in kept.items()})
    return _joined(chunks), True


def _joined(chunks: list[Rows]) -> Rows:
    return {name: torch.cat([chunk[name] for chunk in chunks], -1) for name in chunks[0]}


def _chunk(subject: Subject, radii: tuple[float, ...], which: slice) -> dict[str, Any]:
    """Some pairs at every radius, as lists: towards the target, as far as possible, and noise beside."""
    x, target, y, wanted = (None if part is None else part[which] for part in subject.pairs())
    assert x is not None
    assert target is not None
    places = torch.arange(len(subject.data))[which]
    seeds = random.seeds(subject.seed, places).to(x.device)
    attack = subject.attack
    damage = replace(attack, targeted=False, divergence="L2", restarts=2)
    towards = curve(subject.model, attack, x, target, budgets=radii, seeds=seeds)
    away = curve(subject.model, damage, x, None, budgets=radii, seeds=seeds)
    rows = {
        "distance": towards.distance,
        "distortion": towards.distortion,
        "change": torch.maximum(towards.change, away.change),
        "area": towards.auddc(),
    }
    if subject.judge is not None and y is not None and wanted is not None:
        calm = torch.stack([_noisy(subject, x, radius, seeds) for radius in radii])
        read = partial(_read, subject, x, y, wanted, seeds)
        rows |= _won(*map(read, (towards.adversarial, away.adversarial, calm)))
    return {name: values.tolist() for name, values in rows.items()}


def _read(
    subject: Subject, x: Tensor, y: Tensor, wanted: Tensor, seeds: Tensor, images: Tensor
) -> Rows:
    """What the judge reads in the outputs of `(K, B, *)` inputs."""
    assert subject.judge is not None
    told = [judge(subject.model, subject.judge, x, each, y, wanted, seeds=seeds) for each in images]
    names = ("counted", "ignored", "reached")
    return {name: torch.stack([getattr(one, name) for one in told]) for name in names}


def _won(towards: Rows, away: Rows, calm: Rows) -> Rows:
    """The rates' successes. Balls are nested: what an attack reached in one it has in all larger ones."""
    return {
        "counted": towards["counted"][0],
        "AS-target": _kept(towards["reached"]),
        "AS-ignore-target": _kept(towards["ignored"]),
        "AS untargeted": _kept(towards["ignored"] | away["ignored"]),
        "random noise": calm["ignored"],
    }


def _kept(won: Tensor) -> Tensor:
    return won.long().cummax(0).values.bool()


def _noisy(subject: Subject, x: Tensor, radius: float, seeds: Tensor) -> Tensor:
    """Inputs with noise of the given length inside the domain: the same distortion, when nobody means it."""
    with random.streams(seeds):
        delta = random.normal(tuple(x.shape), x)
    for _ in range(5):  # what is clipped shortens it
        delta = delta * per_example(radius / norm(delta, "L2").clamp_min(1e-12), x)
        delta = subject.data.domain.project(x + delta) - x
    return x + delta
