"""Pairs, thresholds and accuracies of verification, on embeddings whose distances are known."""

import pytest
import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.data import Dataset
from trompe.evaluation.verification import (
    best_threshold,
    drawn_pairs,
    embeddings,
    pair_distances,
    verification,
)

LABELS = torch.arange(40) % 8


def people(spread: float, seed: int = 0, count: int = 8) -> Dataset:
    """Vectors around one corner of a cube for each person."""
    labels = torch.arange(10 * count) % count
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(labels), count, generator=generator)
    x = nn.functional.one_hot(labels, count) + spread * noise
    return Dataset("corners", x, labels, tuple(map(str, range(count))))


def test_pairs_are_balanced_new_and_the_same_for_the_same_seed() -> None:
    found = drawn_pairs(LABELS, 80)
    assert torch.equal(LABELS[found.first] == LABELS[found.second], found.same)
    assert int(found.same.sum()) == 40
    once = {
        tuple(sorted(pair))
        for pair in zip(found.first.tolist(), found.second.tolist(), strict=True)
    }
    assert len(once) == 80
    assert bool((found.first != found.second).all())
    again, other = drawn_pairs(LABELS, 80), drawn_pairs(LABELS, 80, seed=1)
    assert torch.equal(found.first, again.first)
    assert not torch.equal(found.first, other.first)


def test_people_take_turns_whatever_number_of_pictures_they_have() -> None:
    labels = torch.tensor([0] * 50 + [1] * 5 + [2] * 5)
    found = drawn_pairs(labels, 30)
    owners = labels[found.first[found.same]].bincount()
    assert owners.tolist() == [5, 5, 5]
    every = drawn_pairs(torch.tensor([0, 0, 0, 1]), 6)
    assert int(every.same.sum()) == 3, "all pairs of the only person with several pictures"


def test_the_threshold_tells_most_pairs_rightly() -> None:
    """Against trying all places between two distances."""
    generator = torch.Generator().manual_seed(0)
    for tie in (False, True):
        same = torch.rand(60, generator=generator) < 0.5
        distances = torch.rand(60, generator=generator) + 0.3 * ~same
        distances = (distances * 8).round() / 8 if tie else distances
        found = best_threshold(distances, same)
        ranked = distances.unique()
        places = [
            float(ranked[0]) - 1,
            *((ranked[1:] + ranked[:-1]) / 2).tolist(),
            float(ranked[-1]),
        ]
        best = max(int(((distances <= place) == same).sum()) for place in places)
        assert int(((distances <= found) == same).sum()) == best


def test_an_embedder_of_separate_people_is_right_and_noise_guesses() -> None:
    model = nn.Flatten().eval()
    sharp = verification(model, people(0.01), held_out=people(0.01, 1), n=100)
    assert sharp.accuracy == sharp.calibration == 1.0
    assert sharp.roc().auc == 1.0
    assert 0.1 < sharp.threshold < 1.35
    blind = verification(model, people(100.0), held_out=people(100.0, 1), n=200)
    assert 0.35 < blind.accuracy < 0.65
    given = verification(model, people(0.01), threshold=1.5, n=100)
    assert (given.accuracy, given.calibration) == (0.5, None)


def test_records_say_threshold_people_and_intervals() -> None:
    model = nn.Flatten().eval()
    found = verification(model, people(0.3), held_out=people(0.3, 1), n=100)
    records = {r.metric: r for r in found.records(subject="corners")}
    accuracy = records["verification accuracy"]
    assert accuracy.value == pytest.approx(found.accuracy)
    assert accuracy.low is not None
    assert accuracy.low < accuracy.value
    assert accuracy.config == {"threshold": found.threshold, "people": 8}
    parts = [records[f"pairs of {who} told rightly"] for who in ("one person", "two people")]
    assert sum(r.value * r.n for r in parts) == pytest.approx(accuracy.value * accuracy.n)
    assert records["verification ROC AUC"].value == pytest.approx(found.roc().auc)


def test_embeddings_of_a_set_are_those_of_its_examples() -> None:
    examples = people(0.3)
    z = embeddings(nn.Flatten().eval(), examples, batch=7)
    assert torch.equal(z, examples.x)
    assert torch.equal(embeddings(nn.Flatten().eval(), examples.x, batch=7), z)
    pairs = drawn_pairs(_labels(examples), 20)
    expected = (z[pairs.first] - z[pairs.second]).norm(dim=1)
    torch.testing.assert_close(pair_distances(z, pairs), expected)


def _labels(examples: Dataset) -> Tensor:
    assert examples.y is not None
    return examples.y


def test_slips_are_one_sentence() -> None:
    model, examples = nn.Flatten().eval(), people(0.1)
    for n, labels in ((3, LABELS), (4, LABELS * 0)):
        with pytest.raises(UserError, match="by twos"):
            drawn_pairs(labels, n)
    with pytest.raises(UserError, match="not 200 pairs of one person"):
        drawn_pairs(LABELS, 400)
    with pytest.raises(UserError, match="give either"):
        verification(model, examples)
    with pytest.raises(UserError, match="does not say who"):
        verification(model, Dataset("nobody", examples.x), threshold=1.0)
