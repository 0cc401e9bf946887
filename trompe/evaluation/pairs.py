"""An image before and after a Type I attack, and what victim and judge make of it.

A Type I attack (Tang et al. 2019) has succeeded where three conditions hold together, each measured outside
the attack, on what it returned and again on the 8-bit file: a judge that is not the attacker sees another
class (the target, where there is one); it takes the image for a real one of its kind; and the victim gives
its old answer, at least half confident. Only images count that victim and judge both read correctly before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.domains import Images
from trompe.core.protocols import Domain
from trompe.evaluation.judge import UNDECIDED, read
from trompe.evaluation.outcomes import REPORT, decide
from trompe.evaluation.records import Record

__all__ = [
    "CONDITIONS",
    "CONFIDENT",
    "THREAT",
    "Look",
    "Pair",
    "eligible",
    "judged_pairs",
    "stability",
    "there",
]

CONFIDENT = 0.5
"""The confidence in its old answer that a victim must keep."""
NOWHERE = -1
"""The target of an attack that is content with any other class."""
THREAT = (
    "White box: the attacker knows the victim and a generative model of the same images, and may change the "
    "image as far as it likes; success is judged by classifiers, not people."
)


@dataclass(frozen=True)
class Look:
    """What one image is to victim and judge.

    Args:
        kept: whether the victim gives the label of the original (and does not reject the image).
        confidence: its probability of that label.
        judged: the label that the judge sees, or `UNDECIDED`.
        sure: the judge's confidence in that.
        real: whether the judge takes the image for a real one.
    """

    kept: bool
    confidence: float
    judged: int
    sure: float
    real: bool


@dataclass(frozen=True)
class Pair:
    """One attacked example.

    Args:
        index: its place in the data.
        label: its class.
        target: the class it was to become, or -1.
        found: what the attack returned.
        delivered: the same as an 8-bit file.
        distance: root mean square difference per value from the original.
    """

    index: int
    label: int
    target: int
    found: Look
    delivered: Look
    distance: float

    def changed(self, look: Look) -> bool:
        """Whether the judge sees the target, or without one any other class."""
        if self.target != NOWHERE:
            return look.judged == self.target
        return look.judged not in (UNDECIDED, self.label)

    def kept(self, look: Look) -> bool:
        """Whether the victim keeps its answer, at least half confident."""
        return look.kept and look.confidence >= CONFIDENT

    def success(self, look: Look) -> bool:
        """All three conditions."""
        return self.changed(look) and look.real and self.kept(look)


@torch.no_grad()
def eligible(
    victim: nn.Module, judge: nn.Module, x: Tensor, y: Tensor, seeds: Tensor
) -> dict[str, Tensor]:
    """Which images count, `(B,)` bool each: those that the "victim" reads correctly, and the "judge"."""
    with random.streams(seeds, REPORT):
        logits, accepted = decide(victim, x)
    return {
        "victim": (logits.argmax(1) == y) & accepted & ~logits.isnan().any(1),
        "judge": read(judge, x).label == y,
    }


def there(attack: Any, y: Tensor) -> Tensor:
    """Which images of the classes `y` are of the class already, `(B,)` bool, that an attack leads all to."""
    target = getattr(attack, "target", None)
    return y == target if isinstance(target, int) else torch.zeros_like(y, dtype=torch.bool)


def judged_pairs(
    victim: nn.Module,
    judge: nn.Module,
    x: Tensor,
    found: Tensor,
    y: Tensor,
    target: Tensor | None = None,
    *,
    index: Tensor | None = None,
    seeds: Tensor | None = None,
    domain: Domain | None = None,
) -> list[Pair]:
    """What attacked images are to victim and judge, as they are and as 8-bit files.

    Args:
        victim: a classifier, or one that may reject (`decide`).
        judge: see `trompe.models.judge.Judge`.
        x, found: originals and what became of them, `(B, *)`.
        y: labels of the originals, which victim and judge give them too.
        target: the classes they were to become, or None.
        index: their places in the data; 0, 1, ... by default.
        seeds: streams of a random victim.
        domain: what an input is; images in [0, 1] unless told otherwise.
    """
    domain = Images() if domain is None else domain
    index = torch.arange(len(x)) if index is None else index
    seeds = random.seeds(0, index) if seeds is None else seeds
    target = torch.full_like(y, NOWHERE) if target is None else target
    seen = _looked(victim, judge, found, y, seeds)
    saved = _looked(victim, judge, domain.as_delivered(found), y, seeds)
    distance = (found - x).flatten(1).square().mean(1).sqrt()
    columns = (index.tolist(), y.tolist(), target.tolist(), seen, saved, distance.tolist())
    return [Pair(*row) for row in zip(*columns, strict=True)]


@torch.no_grad()
def _looked(victim: nn.Module, judge: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> list[Look]:
    with random.streams(seeds, REPORT):
        logits, accepted = decide(victim, x)
    confidence = logits.softmax(1).gather(1, y[:, None])[:, 0]
    kept = (logits.argmax(1) == y) & accepted & ~logits.isnan().any(1)
    verdict = read(judge, x)
    columns = (kept, confidence, verdict.label, verdict.confidence, verdict.real)
    return [Look(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


CONDITIONS: dict[str, Callable[[Pair, Look], bool]] = {
    "over-stability": Pair.success,
    "judge sees the change": Pair.changed,
    "looks real": lambda pair, look: look.real,
    "victim keeps its class": lambda pair, look: look.kept,
    "victim keeps it at 50%": Pair.kept,
    "changed and kept": lambda pair, look: pair.changed(look) and pair.kept(look),
    "judge undecided": lambda pair, look: look.judged == UNDECIDED,
    "judge still sees the old class": lambda pair, look: look.judged == pair.label,
}
"""What is counted, by the metric's name: the success rate, its conditions one by one, and what it would be
without the test of realness ("changed and kept")."""


def stability(pairs: Sequence[Pair], **common: Any) -> list[Record]:
    """A record for each of `CONDITIONS`, over the same pairs; "over-stability" is the success rate.

    The success rate's `extra` has the rate on 8-bit files, the victim's mean confidence in its old answer
    and the mean distance; its `counts` say which condition failed first: the change, realness, or the victim.
    """
    made = []
    for metric, holds in CONDITIONS.items():
        hits = sum(holds(pair, pair.found) for pair in pairs)
        own = {**common}
        if metric == "over-stability":
            own |= {
                "counts": _failures(pairs),
                "extra": {**common.get("extra", {}), **_means(pairs)},
            }
        made.append(Record.rate(metric, hits, len(pairs), **{"threat": THREAT, **own}))
    return made


def _failures(pairs: Sequence[Pair]) -> dict[str, int]:
    counts = {"success": 0, "not changed": 0, "not real": 0, "victim changed": 0}
    for pair in pairs:
        look = pair.found
        if not pair.changed(look):
            counts["not changed"] += 1
        elif not look.real:
            counts["not real"] += 1
        else:
            counts["success" if pair.kept(look) else "victim changed"] += 1
    return counts


def _means(pairs: Sequence[Pair]) -> dict[str, float]:
    if not pairs:
        return {}
    delivered = sum(pair.success(pair.delivered) for pair in pairs)
    return {
        "as 8-bit files": delivered / len(pairs),
        "mean confidence": sum(pair.found.confidence for pair in pairs) / len(pairs),
        "mean rmsd": sum(pair.distance for pair in pairs) / len(pairs),
    }
