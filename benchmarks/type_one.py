"""The Type I attack on digits beside the bare passes of the networks it goes through.

An attack takes a minute, so each runs once, between rounds of bare passes.
"""

import statistics
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.timing import Contender, Timing, interleaved, ratio
from benchmarks.victims import victim
from trompe import zoo
from trompe.attacks import TypeI
from trompe.core.execution import execution, metered
from trompe.core.geometry import norm
from trompe.evaluation.records import Record

__all__ = ["OURS", "run"]

ALL = TypeI(steps=500, patience=None)
LEAVING = replace(ALL, patience=TypeI().patience)
OURS = {
    "trompe": (ALL, "float32"),
    "trompe, leaving": (LEAVING, "float32"),
    "trompe bf16, leaving": (LEAVING, "bf16"),
}
BARE = 10  # passes in a round, enough to time
IMAGES = 256
PIECE = 64


@dataclass(frozen=True)
class _Scene:
    """The networks and the digits, all of which the victim answers rightly."""

    svae: Any
    model: nn.Module
    x: Tensor
    y: Tensor

    @property
    def target(self) -> Tensor:
        """The next class."""
        return (self.y + 1) % 10

    def bare(self) -> None:
        """Forward and backward to the code through decoder, victim, label head and discriminator.

        In the pieces in which a search goes through convolutions, which the processor's cache holds.
        """
        z = self.svae.encode_mean(self.x).detach()
        parts = [part.split(PIECE) for part in (z, self.y, self.target)]
        for _ in range(BARE):
            for code, y, target in zip(*parts, strict=True):
                v = code.detach().requires_grad_()
                kept = F.cross_entropy(self.model(self.svae.decode(v)), y, reduction="sum")
                label = F.cross_entropy(self.svae.classify(v), target, reduction="sum")
                unreal = F.softplus(-self.svae.discriminate(v)).sum()
                torch.autograd.grad(kept + label + unreal, v)

    def work(self, label: str, costs: dict[str, int]) -> Tensor:
        """One attack; the gradients it spent are noted."""
        attack, precision = OURS[label]
        with execution(precision=precision), metered() as cost:
            found = attack.using(svae=self.svae)(self.model, self.x, self.y)
        costs[label] = cost.backwards
        return found


def run(rounds: int, images: int = IMAGES) -> list[Record]:
    """Each way of attacking over the bare passes for as many gradients."""
    subject = victim("mlp", images)
    svae = zoo.get("mnist-svae").requires_grad_(False)
    scene = _Scene(svae, subject.model.requires_grad_(False), subject.x, subject.y)
    costs: dict[str, int] = {}
    contenders = [Contender(label, partial(scene.work, label, costs), once=True) for label in OURS]
    floor: list[float] = []
    timings: dict[str, Timing] = {}
    for contender in contenders:
        timings |= interleaved([Contender("bare", scene.bare), contender], rounds)
        floor += [seconds / BARE for seconds in timings["bare"].seconds]
    judge = zoo.get("mnist-resnet")
    return [_record(scene, judge, label, timings[label], floor, costs[label]) for label in OURS]


def _record(
    scene: _Scene, judge: nn.Module, label: str, mine: Timing, floor: list[float], spent: int
) -> Record:
    """One way of attacking; successes keep the victim's answer and are the next digit to another network."""
    images = len(scene.x)
    gradients = spent / images
    middle, low, high = ratio(mine.seconds * len(floor), [s * gradients for s in floor])
    with torch.no_grad():
        kept = scene.model(mine.result).argmax(1) == scene.y
        fooled = kept & (judge(mine.result).argmax(1) == scene.target)
    return Record(
        metric="time over the bare passes used",
        value=middle,
        low=low,
        high=high,
        interval=f"over the range of {len(floor)} rounds of bare passes",
        n=images,
        subject="mnist mlp, through the supervised VAE",
        attack=label,
        norm="L2",
        paper="benchmarks",
        item="type_one",
        scale="cpu",
        seconds=mine.median,
        backwards=spent,
        extra={
            "success": float(fooled.float().mean()),
            "distance": float(norm(mine.result - scene.x, "L2")[fooled].mean()),
            "gradients per image": gradients,
            "images per second": images / mine.median,
            "bare seconds": statistics.median(floor),
        },
        config={
            "rounds": [round(s, 3) for s in mine.seconds],
            "bare rounds": [round(s, 4) for s in floor],
            "attack": str(OURS[label][0]),
            "threads": torch.get_num_threads(),
        },
    )
