"""The embedded default: 1797 handwritten digits of 8x8 pixels, bundled with scikit-learn."""

from functools import lru_cache

import numpy as np

from trompe.data.arrays import from_arrays
from trompe.data.dataset import Dataset
from trompe.data.splits import every_nth

__all__ = ["CHECKSUMS", "digits"]

CHECKSUMS = {
    "train": "b6e967814b2d8415c79ce91ea524e6398d4856d6f4133621684a632c82344e4f",
    "test": "dc1bf16a7671a44d9f8ccfdb81daf718cef7c79ff6e1a445070ea69c95575ee0",
}


@lru_cache(maxsize=2)
def digits(split: str = "test") -> Dataset:
    """Scans of handwritten digits, 1x8x8, ten classes, no download.

    The source counts dark pixels, v in 0..16; here they are 8-bit, `(255 v + 8) // 16`, that is
    255 v / 16 to the nearest whole number, halves up: 16 becomes 255, and no two levels meet.
    Test is every fifth example of each class in the source's order (355 images), train the rest
    (1442); a writer may occur in both.

    Reference: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998
    (the test part of that set).

    >>> digits("test")
    Dataset('digits', test: 355 images 1x8x8, 10 classes)
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    x = ((255 * source.images.astype(np.int64) + 8) // 16).astype(np.uint8)
    mask = every_nth(source.target)
    rows = mask if split == "test" else ~mask
    names = [str(k) for k in range(10)]
    return from_arrays(x[rows], source.target[rows], name="digits", classes=names, split=split)
