"""Small idx files, and a published set of our own made of them."""

import gzip
import hashlib
import io
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from trompe.data.published import SETS, File, Published


def idx_bytes(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def arrays(n, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 5, 4), np.uint8), (np.arange(n) % 3).astype(np.uint8)


@pytest.fixture
def tiny(monkeypatch):
    """A published set "tiny": 30 + 12 images of 5x4; returns {file name: content}."""
    files, contents = {}, {}
    for split, n, seed in (("train", 30, 0), ("test", 12, 1)):
        pair = []
        for what, array in zip(("images", "labels"), arrays(n, seed), strict=True):
            name, data = f"{split}-{what}", idx_bytes(array)
            pair.append(File(name, array.shape, hashlib.sha256(data).hexdigest()))
            contents[name] = data
        files[split] = tuple(pair)
    known = Published("tiny", "Tiny", "http://127.0.0.1:9", "ours", ("a", "b", "c"), files)
    monkeypatch.setitem(SETS, "tiny", known)
    return contents


@pytest.fixture
def tiny_root(tiny, tmp_path) -> Path:
    """A root that holds "tiny": training files compressed, test files plain."""
    folder = tmp_path / "root" / "tiny"
    folder.mkdir(parents=True)
    for name, data in tiny.items():
        if name.startswith("train"):
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / name).write_bytes(data)
    return tmp_path / "root"


def _svhn_bytes(n, seed):
    rng = np.random.default_rng(seed)
    stream = io.BytesIO()
    x = rng.integers(0, 256, (32, 32, 3, n), np.uint8)
    savemat(stream, {"X": x, "y": (np.arange(n) % 10 + 1)[:, None].astype(np.uint8)})
    return stream.getvalue()


@pytest.fixture
def svhn_bytes():
    """n random pictures in the format of SVHN's cropped digits."""
    return _svhn_bytes


@pytest.fixture
def svhn_root(monkeypatch, tmp_path) -> Path:
    """A root with a small "svhn", which is taken for the published one."""
    folder = tmp_path / "svhn"
    folder.mkdir()
    files = {}
    for split, n in (("train", 60), ("test", 40)):
        (file,) = SETS["svhn"].files[split]
        data = _svhn_bytes(n, seed=n)
        (folder / file.name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        files[split] = (replace(file, shape=(n, *file.shape[1:]), sha256=digest),)
    monkeypatch.setitem(SETS, "svhn", replace(SETS["svhn"], files=files))
    return tmp_path
