"""MNIST, Fashion-MNIST and SVHN: what was published, where it lies, and how it is read."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from trompe.core.errors import UserError
from trompe.data import idx, mat
from trompe.data.dataset import Dataset

__all__ = ["SETS", "File", "Published", "load_published", "locate", "root", "rooted"]


def _one(data: bytes, path: Path) -> tuple[NDArray[Any], ...]:
    return (idx.decode(data, path),)


@dataclass(frozen=True)
class File:
    """One file: name without ".gz", shape of its (first) array, sha256 of the *decompressed* content.

    Mirrors wrap the same content in different gzip streams, so only the content is compared.
    `decode` gives the arrays in it: images, or labels, or both. `suffix` is what the publisher's
    file has behind the name.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str
    decode: Callable[[bytes, Path], tuple[NDArray[Any], ...]] = _one
    suffix: str = ".gz"

    @property
    def published_name(self) -> str:
        """The name under which it is fetched."""
        return self.name + self.suffix


@dataclass(frozen=True)
class Published:
    """A published set: its folder is its name; `files` has images, then labels, for each split."""

    name: str
    title: str
    url: str
    licence: str
    classes: tuple[str, ...]
    files: Mapping[str, tuple[File, ...]]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, (C, H, W)."""
        shape = self.files["train"][0].shape[1:]
        return shape if len(shape) == 3 else (1, *shape)


def _four(train_x: str, train_y: str, test_x: str, test_y: str) -> dict[str, tuple[File, ...]]:
    def pair(stem: str, n: int, x: str, y: str) -> tuple[File, ...]:
        images = File(f"{stem}-images-idx3-ubyte", (n, 28, 28), x)
        return images, File(f"{stem}-labels-idx1-ubyte", (n,), y)

    return {
        "train": pair("train", 60000, train_x, train_y),
        "test": pair("t10k", 10000, test_x, test_y),
    }


def _svhn(split: str, n: int, sha256: str) -> tuple[File, ...]:
    return (File(f"{split}_32x32.mat", (n, 3, 32, 32), sha256, mat.decode, suffix=""),)


SETS: dict[str, Published] = {
    "mnist": Published(
        "mnist",
        "MNIST handwritten digits (LeCun, Cortes, Burges)",
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "none stated",
        tuple(str(k) for k in range(10)),
        _four(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion-mnist": Published(
        "fashion-mnist",
        "Fashion-MNIST articles of clothing (Xiao, Rasul, Vollgraf 2017)",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "MIT",
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        _four(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    "svhn": Published(
        "svhn",
        "Street View House Numbers, cropped digits (Netzer et al. 2011)",
        "http://ufldl.stanford.edu/housenumbers",
        "non-commercial use",
        tuple(str(k) for k in range(10)),
        {
            "train": _svhn(
                "train", 73257, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"
            ),
            "test": _svhn(
                "test", 26032, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"
            ),
        },
    ),
}


_root: ContextVar[Path | str | None] = ContextVar("trompe_data_root", default=None)


@contextmanager
def rooted(given: Path | str | None) -> Iterator[None]:
    """Let whatever is loaded inside without a root, such as what the zoo trains on, lie in `given`.

    >>> with rooted("sets"):
    ...     root()
    PosixPath('sets')
    """
    token = _root.set(_root.get() if given is None else given)
    try:
        yield
    finally:
        _root.reset(token)


def root(given: Path | str | None = None) -> Path:
    """Where data lies: `given`, else what `rooted` says, else `TROMPE_DATA`, else the user's cache."""
    given = _root.get() if given is None else given
    if given is not None:
        return Path(given).expanduser()
    if chosen := os.environ.get("TROMPE_DATA"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "trompe" / "data"


def locate(folder: Path, file: File) -> Path | None:
    """The file in `folder`, as name.gz or as name, or None."""
    candidates = (folder / f"{file.name}.gz", folder / file.name)
    return next((path for path in candidates if path.is_file()), None)


@lru_cache(maxsize=4)
def load_published(name: str, split: str, base: Path) -> Dataset:
    """The set `name` from `base`/`name`, compared with what was published.

    Raises:
        UserError: a file is missing, truncated, corrupt, of other counts, or of other content.
    """
    known = SETS[name]
    arrays = [array for file in known.files[split] for array in _arrays(known, file, split, base)]
    x, y = map(torch.tensor, arrays)
    return Dataset(name, x if x.ndim == 4 else x[:, None], y.long(), known.classes, split)


def _arrays(known: Published, file: File, split: str, base: Path) -> tuple[NDArray[Any], ...]:
    name = known.name
    path = locate(base / name, file)
    if path is None:
        raise UserError(
            f"{name} is not at hand: {base / name / file.published_name} is missing; run "
            f"`trompe data fetch {name}`, or set TROMPE_DATA to the folder that holds {name}/"
        )
    data = idx.content(path)
    arrays = file.decode(data, path)
    if arrays[0].shape != file.shape:
        raise UserError(
            f"{path} holds an array of shape {arrays[0].shape}, {name} {split} has {file.shape}: "
            "a file under the wrong name, or another data set"
        )
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise UserError(
            f"{path} differs from the published {name} (sha256 of its content); fetch it again "
            f"with `trompe data fetch {name}`, or give your own data as an .npz file"
        )
    return arrays
