"""The MATLAB files of SVHN's cropped digits: `X` (32, 32, 3, N) and `y` (N, 1), where 10 stands for 0.

Reference: Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng, "Reading Digits in Natural
Images with Unsupervised Feature Learning", NIPS Workshop on Deep Learning, 2011.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trompe.core.errors import UserError

__all__ = ["decode"]


def decode(data: bytes, path: Path | str = "the data") -> tuple[NDArray[Any], NDArray[Any]]:
    """Images, uint8 (N, 3, H, W), and digits 0..9, int64 (N,), in the bytes of such a file.

    Raises:
        UserError: no MATLAB file, a damaged one, or one that holds something else; `path` is for
            the message.

    >>> from scipy.io import savemat
    >>> stream, white = io.BytesIO(), np.full((4, 4, 3, 2), 255, np.uint8)
    >>> savemat(stream, {"X": white, "y": [[10], [3]]})
    >>> x, y = decode(stream.getvalue())
    >>> x.shape, y.tolist()
    ((2, 3, 4, 4), [0, 3])
    """
    from scipy.io import loadmat

    try:
        held = loadmat(io.BytesIO(data), variable_names=("X", "y"))
    except Exception as error:  # SciPy's readers raise what the damage makes them meet
        reason = str(error) or type(error).__name__
        raise UserError(
            f"{path} is damaged or no MATLAB file ({reason}); fetch it again"
        ) from error
    x, y = (np.asarray(held.get(key, ())) for key in ("X", "y"))
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[2] != 3 or y.size != x.shape[3]:
        raise UserError(
            f"{path} is not a file of SVHN's cropped digits: expected X as uint8 (32, 32, 3, N) and "
            f"y as (N, 1), got {x.dtype} {x.shape} and {y.shape}"
        )
    digits = y.reshape(-1)
    if not np.isin(digits, np.arange(1, 11)).all():
        raise UserError(f"{path}: labels of SVHN are 1..10 (10 is the digit 0), found others")
    return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), digits.astype(np.int64) % 10
