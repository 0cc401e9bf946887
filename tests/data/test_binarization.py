import pytest
import torch

from trompe.core import random
from trompe.core.errors import UserError
from trompe.data import Dataset, binarized, dynamic, load


def grey(n=400, level=64):
    return Dataset("grey", torch.full((n, 1, 5, 4), level, dtype=torch.uint8))


def test_a_pixel_is_white_from_half_upwards():
    source = load("digits").take(50)
    x, _ = source.tensors()
    found = binarized(source, "threshold")
    assert torch.equal(found.tensors()[0], (x >= 0.5).float())
    assert (found.name, found.split) == ("digits (threshold)", "test")
    assert torch.equal(found.y, source.y)


def test_a_static_draw_has_the_probability_of_the_grey_value():
    found, _ = binarized(grey(), "static").tensors()
    assert found.unique().tolist() == [0, 1]
    p, n = 64 / 255, found.numel()
    assert found.mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5)
    assert found.std(0).min() > 0.3, "pixels of the same place differ between the images"


def test_a_static_draw_depends_on_the_seed_and_the_place_alone(monkeypatch):
    whole = binarized(grey(), "static")
    assert torch.equal(binarized(grey(100), "static").x, whole.x[:100])
    assert whole.checksum == binarized(grey(), "static").checksum
    assert whole.checksum != binarized(grey(), "static", seed=1).checksum
    monkeypatch.setattr("trompe.data.binarization.CHUNK", 7)
    assert torch.equal(binarized(grey(), "static").x, whole.x)


def test_black_and_white_stay_so():
    for how in ("threshold", "static"):
        assert binarized(grey(3, 0), how).x.unique().tolist() == [0]
        assert binarized(grey(3, 255), how).x.unique().tolist() == [255]


def test_a_static_draw_is_no_draw_that_training_makes():
    x, _ = grey().tensors()
    with random.streams(random.seeds(0, len(x))):
        met = dynamic(x)
    assert not torch.equal(met, binarized(grey(), "static").tensors()[0])


def test_dynamic_draws_are_fresh_and_repeat_with_their_streams():
    x, _ = grey(20).tensors()
    key = random.seeds(0, len(x))
    with random.streams(key):
        first, second = dynamic(x), dynamic(x)
    with random.streams(key):
        again = dynamic(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert first.dtype == x.dtype


def test_other_conventions_and_vectors_are_refused():
    with pytest.raises(UserError, match=r"got 'dynamic'; .* trompe\.data\.dynamic"):
        binarized(grey(2), "dynamic")
    with pytest.raises(UserError, match=r"'threshold' or 'static', got 'half'$"):
        binarized(grey(2), "half")
    with pytest.raises(UserError, match="holds vectors"):
        binarized(Dataset("points", torch.rand(3, 2)), "static")
