"""Splits that need no random numbers."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["every_nth"]


def every_nth(y: ArrayLike, n: int = 5) -> NDArray[np.bool_]:
    """A stratified test mask (N,): of each class, in order, every `n`-th example.

    >>> every_nth([0, 0, 1, 0, 1, 1], n=3).tolist()
    [False, False, False, True, False, True]
    """
    labels = np.asarray(y)
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        mask[np.flatnonzero(labels == label)[n - 1 :: n]] = True
    return mask
