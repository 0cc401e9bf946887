"""Arrays as people have them, turned into a `Dataset` or refused in one sentence."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trompe.core.errors import UserError
from trompe.data.dataset import Dataset

__all__ = ["MOST_CLASSES", "from_arrays"]

MOST_CLASSES = 100_000  # a larger label is an identity or a mistake, not a class number
CHANNELS = (1, 3)
ROUNDING = 1e-6  # float images may leave [0, 1] by this much


def from_arrays(
    x: Any,
    y: Any = None,
    *,
    name: str = "data",
    classes: Sequence[str] | None = None,
    split: str = "all",
) -> Dataset:
    """A `Dataset` from NumPy arrays or tensors.

    - uint8 or float in [0, 1], (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3: images.
      Where both the last and the second axis could be the channels, the last axis is (NHWC).
      Floats are rounded to the nearest of the 256 levels, as an image file would hold them.
    - float (N, D): vectors, of any finite value.

    Args:
        x: the examples.
        y: class numbers in 0..K-1, (N,), any integer type, or None.
        name: what messages call the set.
        classes: the K class names; without them "0", "1", ... up to the largest label.
        split: "train", "test" or "all".

    Raises:
        UserError: anything else, with the remedy.

    >>> from_arrays(np.full((5, 8, 8, 3), 0.5), np.arange(5), name="grey")
    Dataset('grey', all: 5 images 3x8x8, 5 classes)
    """
    array = _array(x, "x", name)
    if array.ndim == 0 or array.size == 0:
        raise UserError(f"{name}: x is empty, with shape {array.shape}; give at least one example")
    examples = _vectors(array, name) if array.ndim == 2 else _images(array, name)
    labels = None if y is None else _labels(_array(y, "y", name), len(array), name)
    if classes is None:
        classes = [] if labels is None else [str(k) for k in range(int(labels.max()) + 1)]
    return Dataset(name, examples, labels, tuple(classes), split)


def _array(value: Any, what: str, name: str) -> NDArray[Any]:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
        return np.asarray(value.numpy())
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise UserError(f"{name}: {what} is not one array ({error}); stack equal shapes") from error
    if array.dtype == object:
        raise UserError(
            f"{name}: {what} holds Python objects; give one array of numbers, equal in shape"
        )
    return array


def _vectors(x: NDArray[Any], name: str) -> Tensor:
    if not np.issubdtype(x.dtype, np.floating):
        raise UserError(
            f"{name}: x of shape {x.shape} and type {x.dtype} is neither images nor float vectors; "
            "reshape images to (N, H, W) or (N, H, W, C), or convert vectors to float32"
        )
    _finite(x, name)
    return torch.from_numpy(x.astype(np.float32))


def _images(x: NDArray[Any], name: str) -> Tensor:
    return torch.from_numpy(
        np.ascontiguousarray(_channels_first(_eight_bit(x, name), name))
    ).clone()


def _eight_bit(x: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if np.issubdtype(x.dtype, np.floating):
        return _quantised(x, name)
    if x.dtype != np.uint8:
        raise UserError(
            f"{name}: expected images as uint8 or as float in [0, 1], got {x.dtype}; "
            "convert with astype('uint8') if the values are 0..255"
        )
    if x.max() == 1:
        raise UserError(f"{name}: uint8 images with a maximum of 1 would be black; multiply by 255")
    return x


def _quantised(x: NDArray[Any], name: str) -> NDArray[np.uint8]:
    _finite(x, name)
    low, high = float(x.min()), float(x.max())
    if high > 1 + ROUNDING:
        advice = "divide by 255" if 2 < high <= 255 and low >= 0 else "rescale to [0, 1]"
        raise UserError(f"{name}: expected images in [0, 1], got a maximum of {high:g}; {advice}")
    if low < -ROUNDING:
        advice = "map [-1, 1] to [0, 1] with (x + 1) / 2" if low >= -1 else "rescale to [0, 1]"
        raise UserError(f"{name}: expected images in [0, 1], got a minimum of {low:g}; {advice}")
    return np.rint(x.astype(np.float32) * 255).clip(0, 255).astype(np.uint8)


def _finite(x: NDArray[Any], name: str) -> None:
    bad = int(np.count_nonzero(~np.isfinite(x)))
    if bad:
        raise UserError(f"{name}: x holds {bad} NaN or infinite values; remove or repair them")


def _channels_first(x: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[3] in CHANNELS:
        return x.transpose(0, 3, 1, 2)
    if x.ndim == 4 and x.shape[1] in CHANNELS:
        return x
    raise UserError(
        f"{name}: expected images as (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, "
        f"got shape {x.shape}"
    )


def _labels(y: NDArray[Any], count: int, name: str) -> Tensor:
    if y.shape != (count,):
        raise UserError(
            f"{name}: expected one label for each of {count} examples, y of shape ({count},), "
            f"got {y.shape}"
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise UserError(f"{name}: labels must be whole numbers 0..K-1, got type {y.dtype}")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= MOST_CLASSES:
        raise UserError(
            f"{name}: labels must be class numbers 0..K-1, found {low if low < 0 else high}; "
            "renumber the classes from 0"
        )
    return torch.from_numpy(y.astype(np.int64))
