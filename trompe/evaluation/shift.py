"""What a shift of codes did: what an independent judge reads, how surely, and the shift in numbers.

Codes are drawn from the posterior, as in Creswell et al. 2017; the untampered and the tampered decoding of an
example use the same draw. Direction `0 -> 1` starts from examples of class 0.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trompe import metrics
from trompe.attacks.universal import FLIP, Perturbation
from trompe.core import random
from trompe.core.errors import UserError
from trompe.data import Dataset
from trompe.evaluation.records import Record

__all__ = ["NOTICEABLE", "Reading", "read_shift", "shift_pictures", "shift_records"]

BATCH = 128
NOTICEABLE = 0.1
"""An entry of a shift is counted where it is larger than this."""


@dataclass(frozen=True)
class Reading:
    """A judge's confidences, `(N,)` each: in the label, before and after coding, and in the other class.

    Args:
        y: the labels, 0 or 1.
        original, rebuilt: confidence in the label, of the image and of its untampered reconstruction.
        tampered: confidence in the *other* class, of what the shifted code decodes to.
    """

    y: Tensor
    original: Tensor
    rebuilt: Tensor
    tampered: Tensor

    def groups(self) -> dict[str, Tensor]:
        """The six rows of Creswell et al. 2017, tables 1 and 2, labelled by class and by direction."""
        found = {}
        for label in (1, 0):
            found[f"original {label}"] = self.original[self.y == label]
            found[f"reconstruction {label}"] = self.rebuilt[self.y == label]
            found[f"{1 - label} -> {label}"] = self.tampered[self.y == 1 - label]
        return found


@torch.no_grad()
def read_shift(
    model: Any, shift: Perturbation, judge: nn.Module, examples: Dataset, *, seed: int = 0
) -> Reading:
    """Let a judge read images, reconstructions and tampered decodings of a set of two classes.

    Args:
        model: an autoencoder, in eval mode.
        shift: of its codes.
        judge: a classifier that the shift was not learned against: `judge(x) -> logits (B, 2)`.
        examples: with labels 0 and 1.
        seed: of the draws of codes.

    Raises:
        UserError: labels other than 0 and 1, or none; a judge of another number of classes.
    """
    parts: list[tuple[Tensor, ...]] = []
    for x, y, index in examples.batches(BATCH):
        if y is None:
            raise UserError(
                f"{examples.name} has no labels; a shift goes from one class to another"
            )
        x, y = x.to(shift.delta.device), y.to(shift.delta.device)
        rebuilt, tampered = _decoded(model, shift, x, y, random.seeds(seed, index).to(x.device))
        rows = torch.arange(len(x), device=x.device)
        seen = [judge(images).softmax(1) for images in (x, rebuilt, tampered)]
        if seen[0].shape[1] != 2:
            raise UserError(
                f"the judge tells {seen[0].shape[1]} classes apart, and the set has two"
            )
        parts.append((y, seen[0][rows, y], seen[1][rows, y], seen[2][rows, 1 - y]))
    return Reading(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _decoded(
    model: Any, shift: Perturbation, x: Tensor, y: Tensor, seeds: Tensor
) -> tuple[Tensor, Tensor]:
    with random.streams(seeds):
        code = random.sample(model.encode(x))
    return model.decode(code), model.decode(shift(code, FLIP.directions(y)))


@torch.no_grad()
def shift_pictures(
    model: Any, shift: Perturbation, x: Tensor, y: Tensor, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Images `(B, *)` as the receiver sees them: untampered, and tampered."""
    return _decoded(model, shift, x, y, random.seeds(seed, len(x)).to(x.device))


def shift_records(reading: Reading, delta: Tensor, **common: Any) -> Iterator[Record]:
    """How often the judge was turned, its mean confidences and their gaps, and the shift in numbers.

    Args:
        reading: what the judge read.
        delta: the perturbation `(1 or 2, *site)`; of two directions each is described.
        common: what all records share; their `config` gains the group or direction.

    Raises:
        UserError: examples of one class only.
    """
    if not 0 < int(reading.y.sum()) < len(reading.y):
        raise UserError(
            f"a shift is measured both ways, and the {len(reading.y)} examples are of one class; take more"
        )
    config = dict(common.pop("config", {}))
    groups = reading.groups()
    for source in (0, 1):
        way = f"{source} -> {1 - source}"
        wins = groups[way] > 0.5
        own = {**config, "group": way}
        yield Record.rate("flip rate", int(wins.sum()), len(wins), config=own, **common)
    for name, values in groups.items():
        yield _mean("confidence", values, config={**config, "group": name}, **common)
    for label in (0, 1):
        way = f"{1 - label} -> {label}"
        yield _gap(
            groups[f"reconstruction {label}"],
            groups[way],
            config={**config, "group": way},
            **common,
        )
    for row, vector in enumerate(delta.detach().double().cpu().flatten(1)):
        way = "both" if len(delta) == 1 else ("0 -> 1", "1 -> 0")[row]
        extra = _described(vector)
        own = {**config, "group": way, "delta": [round(float(value), 4) for value in vector]}
        yield Record(
            "Hoyer sparsity", extra.pop("Hoyer"), len(vector), extra=extra, config=own, **common
        )


def _mean(metric: str, values: Tensor, **common: Any) -> Record:
    """A mean confidence with its normal 95% interval, within [0, 1]."""
    exact = values.double()
    half = 1.96 * float(exact.std()) / math.sqrt(len(exact)) if len(exact) > 1 else math.nan
    mean = float(exact.mean())
    low, high = max(0.0, mean - half), min(1.0, mean + half)
    return Record(metric, mean, len(exact), low, high, "normal 95%", **common)


def _gap(rebuilt: Tensor, tampered: Tensor, **common: Any) -> Record:
    """Between confidences in the same class, of different examples."""
    one, other = rebuilt.double(), tampered.double()
    gap = metrics.epsilon_gap(float(one.mean()), float(other.mean()))
    half = 1.96 * math.sqrt(
        sum(float(v.var()) / len(v) if len(v) > 1 else math.nan for v in (one, other))
    )
    low, n = max(0.0, gap - half), min(len(one), len(other))
    return Record("epsilon gap", gap, n, low, gap + half, "normal 95%", **common)


def _described(vector: Tensor) -> dict[str, float]:
    seen = metrics.tail_probability(vector)
    untouched = metrics.tail_probability(torch.zeros_like(vector))
    return {
        "Hoyer": metrics.hoyer(vector),
        "L1": float(vector.abs().sum()),
        "L2": float(vector.norm()),
        "largest": float(vector.abs().max()),
        "noticeable": float((vector.abs() > NOTICEABLE).sum()),
        "tail max": float(seen.max()),
        "tail mean": float(seen.mean()),
        "tail any": metrics.family_wise(seen),
        "tail any untouched": metrics.family_wise(untouched),
    }
