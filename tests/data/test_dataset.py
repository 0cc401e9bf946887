import numpy as np
import pytest
import torch

from trompe.core.errors import UserError
from trompe.data import Dataset


def images(n=10, classes=3):
    x = torch.arange(n * 4, dtype=torch.uint8).view(n, 1, 2, 2)
    return Dataset("dots", x, torch.arange(n) % classes, tuple("abc"))


def test_tensors_are_fresh_floats_in_the_unit_interval():
    data = images()
    x, y = data.tensors([3, 0])
    assert x.dtype == torch.float32
    assert x.is_contiguous()
    assert torch.equal(x.mul(255).round().to(torch.uint8), data.x[[3, 0]])
    assert y.tolist() == [0, 0]
    x.zero_()
    y.fill_(9)
    assert data.x[3].sum() > 0
    assert data.y[3] == 0


def test_vectors_come_back_unscaled_and_copied():
    data = Dataset("codes", torch.full((3, 2), -5.0))
    x, y = data.tensors()
    assert y is None
    assert x.eq(-5).all()
    x.zero_()
    assert data.x.eq(-5).all()
    assert data.shape == (2,)


@pytest.mark.parametrize("index", [[1, 4], np.array([1, 4]), torch.tensor([1, 4]), slice(1, 5, 3)])
def test_every_kind_of_index_selects_the_same_rows(index):
    data = images()
    assert torch.equal(data.subset(index).x, data.x[[1, 4]])
    assert torch.equal(data.tensors(index)[0], data.tensors([1, 4])[0])


def test_a_mask_selects_and_a_single_number_is_a_batch_of_one():
    data = images()
    assert torch.equal(data.subset(data.y == 1).y, torch.ones(3, dtype=torch.int64))
    assert data.tensors(2)[0].shape == (1, 1, 2, 2)
    assert data.tensors([])[0].shape == (0, 1, 2, 2)


def test_batches_cover_the_set_once_in_order():
    data = images(10)
    parts = list(data.batches(4))
    assert [len(x) for x, _, _ in parts] == [4, 4, 2]
    assert torch.equal(torch.cat([index for *_, index in parts]), torch.arange(10))
    assert torch.equal(torch.cat([x for x, *_ in parts]), data.tensors()[0])
    assert torch.equal(torch.cat([y for _, y, _ in parts]), data.y)


def test_take_is_the_beginning_and_never_more_than_there_is():
    data = images(10)
    assert torch.equal(data.take(3).x, data.x[:3])
    assert len(data.take(99)) == 10
    assert data.take(3).classes == data.classes


def test_the_checksum_knows_values_shape_order_and_labels():
    data = images()
    same = Dataset("other name", data.x.clone(), data.y.clone(), data.classes, "test")
    assert data.checksum == same.checksum
    changed = data.x.clone()
    changed[0, 0, 0, 0] += 1
    others = {
        Dataset("d", changed, data.y, data.classes).checksum,
        Dataset("d", data.x.view(10, 1, 4, 1), data.y, data.classes).checksum,
        Dataset("d", data.x, data.y.flip(0), data.classes).checksum,
        Dataset("d", data.x).checksum,
        data.take(9).checksum,
        data.checksum,
    }
    assert len(others) == 6


def test_the_domain_follows_the_kind_of_example():
    domains = pytest.importorskip("trompe.core.domains")
    assert images().domain == domains.Images()
    assert Dataset("codes", torch.zeros(1, 2)).domain == domains.Vectors()


def test_repr_says_what_it_is():
    assert repr(images()) == "Dataset('dots', all: 10 images 1x2x2, 3 classes)"
    vectors = Dataset("v", torch.zeros(2, 7), split="test")
    assert repr(vectors) == "Dataset('v', test: 2 vectors 7, no labels)"


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(0, 1, 2, 2, dtype=torch.uint8), None, "empty"),
        (torch.zeros(2, 1, 2, 2), None, "from_arrays"),
        (torch.zeros(2, 2, 2, 2, dtype=torch.uint8), None, "1 or 3"),
        (torch.zeros(2, 1, 0, 2, dtype=torch.uint8), None, "expected x"),
        (torch.zeros(2, 3, dtype=torch.float64), None, "float64"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), "int64"),
        (torch.zeros(2, 3), torch.tensor([0]), r"\(2,\)"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "found 3"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "found -1"),
    ],
)
def test_a_set_that_breaks_its_own_rules_is_refused(x, y, message):
    with pytest.raises(UserError, match=message):
        Dataset("bad", x, y, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda d: d.subset([0, 10]), "0..9"),
        (lambda d: d.subset([-11]), "0..9"),
        (lambda d: d.subset(torch.ones(4, dtype=torch.bool)), "mask"),
        (lambda d: d.subset([]), "empty"),
        (lambda d: d.take(0), "at least 1"),
        (lambda d: next(d.batches(0)), "at least 1"),
    ],
)
def test_a_bad_selection_is_refused(use, message):
    with pytest.raises(UserError, match=message):
        use(images(10))
