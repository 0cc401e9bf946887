import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from trompe.data import load
from trompe.data.digits import CHECKSUMS, digits
from trompe.data.splits import every_nth


def test_the_splits_share_nothing_and_make_up_the_source():
    train, test = load("digits", "train"), load("digits", "test")
    both = torch.cat([train.x, test.x]).flatten(1).tolist()
    source = (load_digits().data * 255 / 16 + 0.5).astype(int).tolist()
    assert sorted(both) == sorted(source)
    assert (len(train), len(test)) == (1442, 355)


def test_each_class_has_a_fifth_in_the_test_set():
    share = digits("test").y.bincount() / (
        digits("train").y.bincount() + digits("test").y.bincount()
    )
    assert ((share > 0.19) & (share <= 0.2)).all()


def test_levels_are_distinct_and_span_eight_bits():
    levels = digits("train").x.unique()
    assert len(levels) == 17
    assert (levels[0], levels[8], levels[-1]) == (0, 128, 255)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_digits_are_those_the_records_speak_of(split):
    assert digits(split).checksum == CHECKSUMS[split]
    assert digits(split) is digits(split)


@pytest.mark.parametrize("n", [2, 3, 7])
def test_every_nth_takes_floor_of_an_nth_of_each_class(n):
    y = np.random.default_rng(n).integers(0, 4, 101)
    mask = every_nth(y, n)
    for label in range(4):
        assert mask[y == label].sum() == (y == label).sum() // n
