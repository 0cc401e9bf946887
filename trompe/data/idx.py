"""The idx format of MNIST: two zero bytes, type, rank, big-endian sizes, then the values.

Reference: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trompe.core.errors import UserError

__all__ = ["content", "decode", "read"]

UNSIGNED_BYTE = 0x08
GZIP = b"\x1f\x8b"


def read(path: Path | str) -> NDArray[np.uint8]:
    """The array in an idx file of unsigned bytes, gzip-compressed or not.

    Raises:
        UserError: the file is missing, truncated, corrupt, or not such a file.
    """
    return decode(content(path), path)


def content(path: Path | str) -> bytes:
    """The bytes of a file, decompressed where it begins like gzip, whatever its name."""
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except OSError as error:
        raise UserError(f"could not read {path}: {error.strerror}") from error
    if not raw.startswith(GZIP):
        return raw
    try:
        return gzip.decompress(raw)
    except EOFError as error:
        raise UserError(
            f"{path} is truncated: the gzip stream stops early; fetch it again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is corrupt: {error}; fetch it again") from error


def decode(data: bytes, path: Path | str = "the data") -> NDArray[np.uint8]:
    """The array in the bytes of an idx file; `path` is for messages.

    >>> decode(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9])).tolist()
    [7, 8, 9]
    """
    if not data:
        raise UserError(f"{path} is empty; fetch it again")
    if len(data) < 4 or data[:2] != b"\0\0" or data[3] == 0:
        raise UserError(f"{path} is not an idx file: it begins with the bytes {data[:4].hex(' ')}")
    if data[2] != UNSIGNED_BYTE:
        raise UserError(
            f"{path} holds values of idx type 0x{data[2]:02x}; only unsigned bytes (0x08) are read"
        )
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise UserError(f"{path} is truncated: it ends inside its header; fetch it again")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    promised, found = math.prod(shape), len(data) - start
    if promised != found:
        state = "is truncated" if found < promised else "is too long"
        sizes = " x ".join(map(str, shape))
        raise UserError(
            f"{path} {state}: its header promises {sizes} = {promised} bytes, it holds {found}; "
            "fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
