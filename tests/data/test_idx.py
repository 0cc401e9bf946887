import contextlib
import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from trompe.core.errors import UserError
from trompe.data import idx


def encode(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@given(arrays(np.uint8, array_shapes(max_dims=4), elements=st.integers(0, 255)))
def test_decoding_inverts_encoding(array):
    assert np.array_equal(idx.decode(encode(array)), array)


@given(st.binary(max_size=64))
def test_any_bytes_are_an_array_or_the_users_error(data):
    with contextlib.suppress(UserError):
        assert encode(idx.decode(data)) == data


@pytest.mark.parametrize("name", ["plain", "plain.gz"])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_compression_is_seen_in_the_bytes_not_the_name(tmp_path, name, wrap):
    (tmp_path / name).write_bytes(wrap(encode(np.arange(6, dtype=np.uint8).reshape(2, 3))))
    assert idx.read(tmp_path / name).tolist() == [[0, 1, 2], [3, 4, 5]]


GOOD = encode(np.arange(200, dtype=np.uint8))
PACKED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"<html>no</html>", "not an idx file"),
        (bytes([0, 0, 8, 0]), "not an idx file"),
        (bytes([0, 0, 13, 1]), "0x0d"),
        (GOOD[:6], "inside its header"),
        (GOOD[:-1], "promises 200 = 200 bytes, it holds 199"),
        (GOOD + b"x", "too long"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "is truncated"),
        (PACKED[: len(PACKED) // 2], "gzip stream stops early"),
        (PACKED[:20] + bytes([PACKED[20] ^ 255]) + PACKED[21:], "is corrupt"),
        (PACKED[:-6] + b"\0\0" + PACKED[-4:], "is corrupt"),
    ],
)
def test_damage_is_named(tmp_path, data, message):
    path = tmp_path / "images"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        idx.read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        idx.read(tmp_path / "nothing")
    with pytest.raises(UserError, match="could not read"):
        idx.read(tmp_path)
