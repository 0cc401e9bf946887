"""What every test shares: one thread, seeded generators, no network, the data at hand."""

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trompe.data import Dataset

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # before torch is imported
    os.environ.setdefault(_name, "1")
os.environ["HF_HUB_OFFLINE"] = "1"

_own_cache = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the run a cache of trained models of its own, which its workers share."""
    if "TROMPE_CACHE" not in os.environ:
        config.stash[_own_cache] = os.environ["TROMPE_CACHE"] = tempfile.mkdtemp(prefix="trompe-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove that cache again, in the process that made it."""
    if own := config.stash.get(_own_cache, None):
        os.environ.pop("TROMPE_CACHE", None)
        shutil.rmtree(own, ignore_errors=True)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start each test from the same global generators (the package never draws from them)."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


def _original_files(name: str) -> None:
    """Skip, with the reason, where the original files of a data set are not at hand."""
    root = os.environ.get("TROMPE_DATA")
    if not root:
        pytest.skip(f"needs {name}: TROMPE_DATA does not name a folder of data sets")
    if not (Path(root) / name).is_dir():
        pytest.skip(f"needs {name}: TROMPE_DATA={root} has no folder {name}")


def _load(name: str, split: str) -> "Dataset":
    _original_files(name)
    from trompe.data import load

    return load(name, split=split)


@pytest.fixture(scope="session")
def mnist() -> "Dataset":
    """The 10000 test images of MNIST; skips where they are not at hand."""
    return _load("mnist", "test")


@pytest.fixture(scope="session")
def mnist_train() -> "Dataset":
    """The 60000 training images of MNIST; skips where they are not at hand."""
    return _load("mnist", "train")


@pytest.fixture(scope="session")
def digits() -> "Dataset":
    """The embedded digits' test split: always there."""
    from trompe.data import load

    return load("digits", split="test")
