"""Traffic signs, 32x32 in colour: from arrays prepared before, or from the benchmarks' own archives.

References: R. Timofte, K. Zimmermann, L. Van Gool, "Multi-view Traffic Sign Detection, Recognition, and 3D
Localisation", Machine Vision and Applications, 2011; J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel, "Man
vs. Computer: Benchmarking Machine Learning Algorithms for Traffic Sign Recognition", Neural Networks, 2012.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from trompe.core.errors import UserError
from trompe.data.archives import holds, members
from trompe.data.dataset import Dataset

__all__ = ["SIDE", "SIGNS", "At", "Signs", "held", "load_signs"]

SIDE = 32  # pixels


@dataclass(frozen=True)
class Signs:
    """A benchmark: its folder is its name; `parts` are the folders of a split's pictures in its archive."""

    name: str
    title: str
    where: str
    classes: int
    counts: tuple[int, int]
    parts: Mapping[str, str]


class At(NamedTuple):
    """What is at hand: "arrays", "pictures" or "nothing", and its files or folders."""

    kind: str
    places: tuple[Path, ...]


SIGNS: dict[str, Signs] = {
    "btsc": Signs(
        "btsc",
        "Belgian traffic signs (Timofte, Zimmermann, Van Gool 2011)",
        "https://btsd.ethz.ch/shareddata/",
        62,
        (4575, 2520),
        {"train": "Training", "test": "Testing"},
    ),
    "gtsrb": Signs(
        "gtsrb",
        "German traffic signs (Stallkamp, Schlipsing, Salmen, Igel 2012)",
        "https://benchmark.ini.rub.de/gtsrb_dataset.html",
        43,
        (39209, 12630),
        {"train": "Final_Training/Images", "test": "Final_Test/Images"},
    ),
}


def load_signs(name: str, split: str, root: Path) -> Dataset:
    """Traffic signs, 3x32x32, labelled by the benchmark's own class numbers (62 in "btsc", 43 in "gtsrb").

    What is read, from `root`/`name`, in this order:

    - an .npz with `x_train`, `y_train`, `x_test`, `y_test`, or with `images`, `labels` and `split` (0
      train, 1 test), uint8 (N, 32, 32, 3);
    - the archive as it is given out, at any depth: a folder per class of .ppm files, `Training` and
      `Testing` of "btsc", `Final_Training/Images` and `Final_Test/Images` of "gtsrb". Where a folder has
      an annotation file (.csv with `Filename` and `ClassId`, split by semicolons), its rows say what is
      read and how it is labelled; GTSRB's test pictures have no class folders and need it. The whole
      picture is shrunk to 32x32 with Pillow's antialiased bilinear filter.

    Class numbers that have no picture keep their place, so that all parts of a benchmark agree.

    Raises:
        UserError: nothing of it is there, a picture or list is missing or damaged, or a label is none of
            the benchmark's.
    """
    known = SIGNS[name]
    x, y = _read(name, split, root / name)
    if len(x) == 0:
        raise UserError(f"{root / name} holds no {split} picture of {name}")
    if y.min() < 0 or y.max() >= known.classes:
        raise UserError(
            f"{root / name}: {name} has classes 0..{known.classes - 1}, found {y.max()}"
        )
    images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    names = tuple(str(k) for k in range(known.classes))
    return Dataset(name, images, torch.from_numpy(y.astype(np.int64)), names, split)


def held(known: Signs, folder: Path) -> At:
    """What of a benchmark lies in a folder; nothing is read."""
    arrays = [path for path in sorted(folder.glob("*.npz")) if _layout(path)]
    if arrays:
        return At("arrays", (arrays[0],))
    found = (_inside(folder, known.parts[split]) for split in ("train", "test"))
    places = tuple(place for place in found if place is not None)
    return At("pictures", places) if places else At("nothing", ())


@lru_cache(maxsize=4)
def _read(name: str, split: str, folder: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    known = SIGNS[name]
    at = held(known, folder)
    if at.kind == "arrays":
        return _arrays(at.places[0], split)
    place = _inside(folder, known.parts[split])
    if place is None:
        raise UserError(
            f"{known.name} is not at hand: {folder} holds neither arrays of it (.npz) nor the folder "
            f"{known.parts[split]} of its archive; get it at {known.where}, or set TROMPE_DATA to the "
            f"folder that holds {known.name}/"
        )
    rows = _rows(place)
    pictures = [_picture(path) for path, _ in rows]
    empty = np.empty((0, SIDE, SIDE, 3), np.uint8)
    return np.stack(pictures) if pictures else empty, np.array([label for _, label in rows])


def _layout(path: Path) -> str | None:
    if holds(path, "x_train"):
        return "parts"
    return "split" if holds(path, "split") and holds(path, "labels") else None


def _arrays(path: Path, split: str) -> tuple[NDArray[Any], NDArray[Any]]:
    if _layout(path) == "parts":
        x, y = members(path, f"x_{split}", f"y_{split}")
    else:
        x, y, part = members(path, "images", "labels", "split")
        x, y = x[part == (split == "test")], y[part == (split == "test")]
    if x.dtype != np.uint8 or x.shape[1:] != (SIDE, SIDE, 3) or y.shape != (len(x),):
        raise UserError(
            f"{path}: expected images as uint8 (N, {SIDE}, {SIDE}, 3) and one label each, got {x.dtype} "
            f"{x.shape} and {y.shape}"
        )
    return x, y


def _inside(folder: Path, part: str) -> Path | None:
    """The folder of that name, in `folder` or in folders inside it."""
    found = (path for path in sorted(folder.glob(f"**/{part}")) if path.is_dir())
    return next(found, None)


def _rows(place: Path) -> list[tuple[Path, int]]:
    """Every picture with its class number: of each annotation file, else of the class folders."""
    lists = sorted(place.glob("*/*.csv")) or sorted(place.glob("*.csv"))
    if lists:
        return [row for path in lists for row in _annotated(path)]
    folders = sorted(path for path in place.iterdir() if path.is_dir() and path.name.isdecimal())
    if not folders:
        raise UserError(
            f"{place} has no class folders and no annotation file (.csv with Filename and ClassId); "
            "GTSRB's test labels come as GT-final_test.csv, which belongs there"
        )
    return [(path, int(folder.name)) for folder in folders for path in sorted(folder.glob("*.ppm"))]


def _annotated(path: Path) -> list[tuple[Path, int]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter=";"))
        return [(path.parent / row["Filename"], int(row["ClassId"])) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not a list of pictures: expected columns Filename and ClassId, split by "
            f"semicolons ({type(error).__name__}: {error})"
        ) from error


def _picture(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} cannot be read as an image: {error}") from error
    return np.asarray(small)
