import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trompe.core.errors import UserError
from trompe.data import from_arrays


def levels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_layouts_meet_in_channels_first():
    nhwc = levels(4, 6, 5, 3)
    reference = torch.from_numpy(nhwc.transpose(0, 3, 1, 2).copy())
    assert torch.equal(from_arrays(nhwc).x, reference)
    assert torch.equal(from_arrays(reference).x, reference)
    assert torch.equal(from_arrays(nhwc[..., 0]).x, reference[:, :1])
    assert torch.equal(from_arrays(nhwc[..., :1]).x, reference[:, :1])
    assert from_arrays(nhwc).x.is_contiguous()


@pytest.mark.parametrize("shape", [(2, 3, 8, 3), (2, 1, 8, 1), (2, 3, 3, 3), (2, 1, 7, 3)])
def test_where_both_axes_could_be_channels_the_last_one_is(shape):
    x = levels(*shape)
    assert torch.equal(from_arrays(x).x, torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))


@given(st.lists(st.integers(0, 255), min_size=1, max_size=64), st.sampled_from("efd"))
def test_eight_bit_levels_survive_as_floats_of_every_precision(values, code):
    x = np.array([0, 255, *values], np.uint8).reshape(-1, 1, 1)
    assert np.array_equal(from_arrays((x / 255).astype(code)).x.numpy()[:, 0], x)


def test_the_array_given_is_not_shared_nor_changed():
    x = levels(4, 1, 2, 2)
    before = x.copy()
    data = from_arrays(x)
    data.x.zero_()
    assert np.array_equal(x, before)


def test_tensors_with_gradients_and_bfloat16_are_taken():
    x = torch.linspace(0, 1, 16).view(1, 1, 4, 4).requires_grad_()
    assert from_arrays(x).x.max() == 255
    assert from_arrays(x.detach().bfloat16()).x.max() == 255


def test_vectors_keep_any_finite_value():
    data = from_arrays(np.array([[-3.0, 7.0]]), [0], name="codes")
    assert data.x.tolist() == [[-3.0, 7.0]]
    assert data.x.dtype == torch.float32


def test_classes_are_counted_or_given():
    x = levels(3, 4, 4)
    assert from_arrays(x, [0, 2, 2]).classes == ("0", "1", "2")
    assert from_arrays(x, np.array([0, 1, 1], np.uint8), classes=["no", "yes"]).classes[1] == "yes"
    assert from_arrays(x).classes == ()


NAN = np.full((2, 4, 4), np.nan)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (levels(2, 4, 4).astype(float), "divide by 255"),
        (np.full((2, 4, 4), 1.5), "rescale"),
        (np.full((2, 4, 4), 300.0), "rescale"),
        (np.full((2, 4, 4), -1.0), r"\(x \+ 1\) / 2"),
        (np.full((2, 4, 4), -7.0), "rescale"),
        (NAN, "32 NaN"),
        (np.full((2, 3), np.inf), "6 NaN or infinite"),
        (np.ones((2, 4, 4), np.uint8), "multiply by 255"),
        (np.ones((2, 4, 4), np.int64), "astype"),
        (np.ones((2, 4, 4), bool), "bool"),
        (levels(2, 16), "reshape"),
        (levels(2, 4, 4, 2), "C 1 or 3"),
        (levels(2, 4, 4, 1, 1), "C 1 or 3"),
        (levels(7), "C 1 or 3"),
        (levels(0, 4, 4), "empty"),
        (np.float32(1), "empty"),
        (np.array([None, {}]), "objects"),
        ([[1.0], [1.0, 2.0]], "one array"),
    ],
)
def test_examples_that_cannot_be_read_are_refused_with_a_remedy(x, message):
    with pytest.raises(UserError, match=message) as caught:
        from_arrays(x, name="photos")
    assert str(caught.value).startswith("photos: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 1], "one label for each of 3"),
        ([[0], [1], [2]], "one label"),
        ([0.0, 1.0, 2.0], "whole numbers"),
        (["a", "b", "c"], "whole numbers"),
        ([0, -1, 2], "found -1"),
        ([0, 1, 10**9], "renumber"),
        ([[0], [1, 2], [3]], "y is not one array"),
    ],
)
def test_labels_that_are_not_class_numbers_are_refused(y, message):
    with pytest.raises(UserError, match=message):
        from_arrays(levels(3, 4, 4), y)


def test_labels_beyond_the_named_classes_are_refused():
    with pytest.raises(UserError, match=r"0\.\.1 \(2 classes\), found 2"):
        from_arrays(levels(3, 4, 4), [0, 1, 2], classes=["no", "yes"])
