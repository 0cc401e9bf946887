"""Batches by number: every example once an epoch, the same batch whoever asks, fair shares."""

import pytest
import torch

from trompe.core.errors import UserError
from trompe.training import Batches
from trompe.training.batches import Replay, source


def indices(batches: Batches, numbers: range) -> list[int]:
    return [int(i) for number in numbers for i in batches.at(number)[-1]]


def test_an_epoch_meets_every_example_once() -> None:
    batches = Batches(torch.arange(12.0), size=4)
    assert sorted(indices(batches, range(3))) == list(range(12))
    assert sorted(indices(batches, range(3, 6))) == list(range(12))
    assert indices(batches, range(3)) != indices(batches, range(3, 6))


def test_what_does_not_fill_a_batch_differs_between_epochs() -> None:
    batches = Batches(torch.arange(10.0), size=4)
    assert len(batches) == 2
    missed = {
        frozenset(set(range(10)) - set(indices(batches, range(2 * e, 2 * e + 2)))) for e in range(9)
    }
    assert len(missed) > 1


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    x = torch.arange(20.0)
    forward = [Batches(x, size=5).at(n)[-1].tolist() for n in range(12)]
    shared = Batches(x, size=5)
    backward = [shared.at(n)[-1].tolist() for n in reversed(range(12))]
    assert forward == backward[::-1]
    assert forward != [Batches(x, size=5, seed=1).at(n)[-1].tolist() for n in range(12)]


def test_rows_belong_together() -> None:
    x = torch.arange(30, dtype=torch.uint8)[:, None]
    given, y, index = Batches(x, torch.arange(30), size=7).at(3)
    assert torch.equal(y, index)
    assert torch.equal(given[:, 0], index / 255)


def test_images_become_floats_in_the_unit_interval_and_the_set_is_untouched() -> None:
    x = torch.tensor([[0], [255]], dtype=torch.uint8)
    given = Batches(x, size=2).at(0)[0]
    assert given.dtype == torch.float32
    assert sorted(given.flatten().tolist()) == [0.0, 1.0]
    assert x.flatten().tolist() == [0, 255]


def test_processes_share_a_batch() -> None:
    batches = Batches(torch.arange(24.0), size=8)
    whole = batches.at(1)[-1]
    parts = [batches.at(1, rank, 4)[-1] for rank in range(4)]
    assert {len(part) for part in parts} == {2}
    assert sorted(torch.cat(parts).tolist()) == sorted(whole.tolist())


def test_slips_are_told() -> None:
    with pytest.raises(UserError, match="empty set"):
        Batches(torch.empty(0, 3))
    with pytest.raises(UserError, match="at least 1, got 0"):
        Batches(torch.ones(3), size=0)
    with pytest.raises(UserError, match="3 examples but 2 labels"):
        Batches(torch.ones(3), torch.ones(2))


def test_an_iterable_is_repeated_and_found_again_at_any_step() -> None:
    items = [(torch.tensor([float(i), -float(i)]),) for i in range(3)]
    replay = source(items)
    assert isinstance(replay, Replay)
    assert [float(replay.at(n)[0][0]) for n in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert float(replay.at(4)[0][0]) == 1
    assert float(replay.at(5, rank=1, world=2)[0]) == -2


def test_an_iterable_without_length_or_items_is_told() -> None:
    with pytest.raises(UserError, match="how many `steps`"):
        len(source(iter([])))
    with pytest.raises(UserError, match="empty set of batches"):
        source([]).at(0)
