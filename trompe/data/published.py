"""MNIST and Fashion-MNIST: what was published, where it lies, and how it is read."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from trompe.core.errors import UserError
from trompe.data import idx
from trompe.data.dataset import Dataset

__all__ = ["SETS", "File", "Published", "load_published", "locate", "root"]


@dataclass(frozen=True)
class File:
    """One idx file: name without ".gz", array shape, sha256 of the *decompressed* content.

    Mirrors wrap the same content in different gzip streams, so only the content is compared.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str


@dataclass(frozen=True)
class Published:
    """A published set: its folder is its name; `files` has (images, labels) for each split."""

    name: str
    title: str
    url: str
    licence: str
    classes: tuple[str, ...]
    files: Mapping[str, tuple[File, File]]


def _four(train_x: str, train_y: str, test_x: str, test_y: str) -> dict[str, tuple[File, File]]:
    def pair(stem: str, n: int, x: str, y: str) -> tuple[File, File]:
        images = File(f"{stem}-images-idx3-ubyte", (n, 28, 28), x)
        return images, File(f"{stem}-labels-idx1-ubyte", (n,), y)

    return {
        "train": pair("train", 60000, train_x, train_y),
        "test": pair("t10k", 10000, test_x, test_y),
    }


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
}


def root(given: Path | str | None = None) -> Path:
    """Where data lies: `given`, else `TROMPE_DATA`, else `trompe/data` in the user's cache."""
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
    arrays = []
    for file in known.files[split]:
        path = locate(base / name, file)
        if path is None:
            raise UserError(
                f"{name} is not at hand: {base / name / file.name}.gz is missing; run "
                f"`trompe data fetch {name}`, or set TROMPE_DATA to the folder that holds {name}/"
            )
        data = idx.content(path)
        array = idx.decode(data, path)
        if array.shape != file.shape:
            raise UserError(
                f"{path} holds an array of shape {array.shape}, {name} {split} has {file.shape}: "
                "a file under the wrong name, or another data set"
            )
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise UserError(
                f"{path} differs from the published {name} (sha256 of its content); fetch it again "
                f"with `trompe data fetch {name}`, or give your own data as an .npz file"
            )
        arrays.append(torch.tensor(array))
    x, y = arrays
    return Dataset(name, x[:, None], y.long(), known.classes, split)
