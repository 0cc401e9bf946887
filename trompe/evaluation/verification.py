"""Verification: are two pictures of one person? A distance between embeddings, and a threshold.

The threshold is set on people that are neither trained on nor measured.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.core.execution import predict
from trompe.core.geometry import norm
from trompe.data import Dataset
from trompe.evaluation.detection import Roc, roc
from trompe.evaluation.records import Record

__all__ = [
    "Pairs",
    "Verification",
    "best_threshold",
    "drawn_pairs",
    "embeddings",
    "pair_distances",
    "verification",
]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of examples, by their places in a set.

    Args:
        first, second: places, `(P,)`.
        same: whether both are of one person, `(P,)` bool.
    """

    first: Tensor
    second: Tensor
    same: Tensor

    def __len__(self) -> int:
        return len(self.same)


def drawn_pairs(labels: Tensor, n: int, *, seed: int = 0) -> Pairs:
    """`n` pairs, every second of one person and the others of two, the same ones for the same seed.

    People take turns: each is in as many pairs as any other, however many pictures there are of them. Of one
    person's pictures, and of two people's, the pair is drawn at random; no pair comes twice.

    Args:
        labels: the person on each picture, `(N,)`.
        n: even.
        seed: of the draw.

    Raises:
        UserError: an odd number; fewer than two people; not so many pairs.

    >>> found = drawn_pairs(torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2]), 6)
    >>> found.same.tolist()
    [True, False, True, False, True, False]
    """
    people = labels.unique().tolist()
    if n < 2 or n % 2 or len(people) < 2:
        raise UserError(
            f"pairs are drawn of two people or more and by twos, got {len(people)} people and n={n}"
        )
    generator = torch.Generator().manual_seed(seed)
    places = [(labels == person).nonzero()[:, 0] for person in people]
    several = [own for own in places if len(own) > 1]
    if n // 2 > sum(len(own) * (len(own) - 1) // 2 for own in several):
        raise UserError(f"there are not {n // 2} pairs of one person; ask for fewer")
    taken: set[tuple[int, int]] = set()
    rows = []
    for number in range(n // 2):
        rows.append(_same(several, number, taken, generator))
        rows.append(_different(places, number, taken, generator))
    first, second = torch.tensor(rows).T
    return Pairs(first, second, torch.arange(n) % 2 == 0)


def _same(
    several: list[Tensor], turn: int, taken: set[tuple[int, int]], generator: torch.Generator
) -> tuple[int, int]:
    """Two pictures of the person whose turn it is, or of the next one of whom a new pair is left."""
    for later in range(len(several)):
        own = several[(turn + later) % len(several)]
        row, column = torch.triu_indices(len(own), len(own), 1)
        for place in torch.randperm(len(row), generator=generator).tolist():
            pair = (int(own[row[place]]), int(own[column[place]]))
            if pair not in taken:
                taken.add(pair)
                return pair
    raise AssertionError("more pairs than there are were drawn")


def _different(
    places: list[Tensor], turn: int, taken: set[tuple[int, int]], generator: torch.Generator
) -> tuple[int, int]:
    """A picture of the person whose turn it is, and one of somebody else."""
    own = places[turn % len(places)]
    for _ in range(1000):
        other = places[(turn + _below(len(places) - 1, generator) + 1) % len(places)]
        pair = (
            int(own[_below(len(own), generator)]),
            int(other[_below(len(other), generator)]),
        )
        if pair not in taken and pair[::-1] not in taken:
            taken.add(pair)
            return pair
    raise UserError("there are hardly so many pairs of two people; ask for fewer")


def _below(bound: int, generator: torch.Generator) -> int:
    return int(torch.randint(bound, (), generator=generator))


def embeddings(embedder: nn.Module, examples: Dataset | Tensor, *, batch: int = 256) -> Tensor:
    """The embeddings `(N, D)` of a whole set."""
    if isinstance(examples, Tensor):
        parts = [predict(embedder, x) for x in examples.split(batch)]
    else:
        parts = [predict(embedder, x) for x, _, _ in examples.batches(batch)]
    return torch.cat(parts)


def pair_distances(z: Tensor, pairs: Pairs) -> Tensor:
    """Euclidean distances `(P,)` of pairs of embeddings `(N, D)`."""
    return norm(z[pairs.first] - z[pairs.second], "L2")


def best_threshold(distances: Tensor, same: Tensor) -> float:
    """The threshold at which most pairs are told rightly: one person where the distance is at most that.

    Halfway between two neighbouring distances; of several that are equally good, the lowest.

    Args:
        distances, same: of the pairs, `(P,)`.

    >>> best_threshold(torch.tensor([0.2, 0.4, 1.0, 1.2]), torch.tensor([True, True, False, False]))
    0.7
    """
    ranked = distances.double().sort()
    gains = torch.where(same[ranked.indices], 1, -1).cumsum(0)
    right = torch.cat(
        [gains.new_zeros(1), gains]
    )  # of the pairs below, same ones less different ones
    ends = torch.cat([ranked.values[:1], ranked.values, ranked.values[-1:]])
    middles = (ends[:-1] + ends[1:]) / 2
    tied = torch.cat([ends[1:-1].diff() == 0, torch.tensor([False])])
    right[1:][tied] = -len(same)  # a threshold cannot part equal distances
    return round(float(middles[right.argmax()]), 6)


@dataclass(frozen=True, eq=False)
class Verification:
    """An embedder at work: what it says of pairs at a threshold that other people set.

    Args:
        distances, same: of the pairs measured, `(P,)`.
        threshold: one person where the distance is at most this.
        calibration: the share of pairs told rightly among those that set it; None where it was given.
        people: how many are on the pairs measured.
    """

    distances: Tensor
    same: Tensor
    threshold: float
    calibration: float | None
    people: int

    @property
    def right(self) -> Tensor:
        """Which pairs are told rightly, `(P,)` bool."""
        return (self.distances <= self.threshold) == self.same

    @property
    def accuracy(self) -> float:
        """Their share."""
        return float(self.right.double().mean())

    def roc(self) -> Roc:
        """Over all thresholds; a pair of two people is what is to be found."""
        return roc(self.distances[self.same], self.distances[~self.same])

    def records(self, **rest: Any) -> list[Record]:
        """Accuracy at the threshold, both kinds of pairs apart, and the area under the ROC.

        Intervals take pairs as independent; pictures are in several, so they err on the narrow side.
        """
        config = {**rest.pop("config", {}), "threshold": self.threshold, "people": self.people}
        kinds = {
            "verification accuracy": self.right,
            "pairs of one person told rightly": self.right[self.same],
            "pairs of two people told rightly": self.right[~self.same],
        }
        rates = [
            Record.rate(name, int(right.sum()), len(right), config=config, **rest)
            for name, right in kinds.items()
        ]
        return [*rates, self.roc().record("verification ROC AUC", config=config, **rest)]


def verification(
    embedder: nn.Module,
    examples: Dataset,
    *,
    held_out: Dataset | None = None,
    threshold: float | None = None,
    n: int = 2000,
    seed: int = 0,
) -> Verification:
    """Measure an embedder on balanced pairs of people it was not trained on.

    Args:
        embedder: `embedder(x) -> (B, D)`, compared by Euclidean distance.
        examples: pictures with people as labels, on which it is measured.
        held_out: pictures of other people that set the threshold, which it was not trained on either.
        threshold: instead of them, a known one (FaceNet's is 1.242 between embeddings of unit length).
        n: pairs measured, and pairs that set the threshold.
        seed: of the pairs.

    Raises:
        UserError: no labels; both or neither of `held_out` and `threshold`; too few people or pictures.
    """
    if (held_out is None) == (threshold is None):
        raise UserError("give either the people who set the threshold (held_out) or a threshold")
    calibration = None
    if held_out is not None:
        distances, same = _measured(embedder, held_out, n, seed)
        threshold = best_threshold(distances, same)
        calibration = float(((distances <= threshold) == same).double().mean())
    assert threshold is not None
    distances, same = _measured(embedder, examples, n, seed)
    people = len(_labels(examples).unique())
    return Verification(distances, same, threshold, calibration, people)


def _measured(embedder: nn.Module, examples: Dataset, n: int, seed: int) -> tuple[Tensor, Tensor]:
    pairs = drawn_pairs(_labels(examples), n, seed=seed)
    return pair_distances(embeddings(embedder, examples), pairs), pairs.same


def _labels(examples: Dataset) -> Tensor:
    if examples.y is None:
        raise UserError(f"{examples.name} does not say who is on the pictures: it has no labels")
    return examples.y
