"""The user's own pictures: a folder of class folders of image files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trompe.core.errors import UserError
from trompe.data.arrays import from_arrays
from trompe.data.dataset import Dataset

__all__ = ["SUFFIXES", "load_folder"]

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
GREY, COLOUR = {"1", "L", "LA"}, {"P", "RGB", "RGBA", "CMYK", "YCbCr"}


def load_folder(path: Path | str, split: str = "test") -> Dataset:
    """The images under `path`, one folder per class, in the order of their names.

    A folder named like the split (`path/test/cat/1.png`) is entered; without one the same images
    serve every split, and the set is marked "all". Classes are the folders' names, in alphabetical
    order, or in numerical order where all are whole numbers; the label is the position in that
    order. Images straight in `path` make a set without labels. Files of other kinds and hidden
    ones are passed over. Images become grey where all are grey, else RGB; transparency is dropped.

    Raises:
        UserError: no folder, no images, images beside class folders, an image that cannot be read
            or is not 8-bit, or sizes that differ.
    """
    base = Path(path)
    if not base.is_dir():
        raise UserError(f"{base} is not a folder")
    inner = base / split if (base / split).is_dir() else base
    files, labels, classes = _files(inner)
    if not files:
        kinds = ", ".join(sorted(SUFFIXES))
        raise UserError(f"{inner} holds no images ({kinds}), in class folders or by themselves")
    return from_arrays(
        _stack(files),
        labels if classes else None,
        name=base.resolve().name,
        classes=classes,
        split="all" if inner == base else split,
    )


def _files(base: Path) -> tuple[list[Path], list[int], list[str]]:
    loose = _images(base)
    folders = [p for p in base.iterdir() if p.is_dir() and not p.name.startswith(".")]
    numeric = all(p.name.isdecimal() for p in folders)
    folders.sort(key=lambda p: (int(p.name) if numeric else 0, p.name))
    members = [_images(folder) for folder in folders]
    if loose and any(members):
        raise UserError(
            f"{base} holds images beside class folders ({loose[0].name}); "
            "put every image in the folder of its class"
        )
    if not any(members):
        return loose, [], []
    files = [file for group in members for file in group]
    labels = [label for label, group in enumerate(members) for _ in group]
    return files, labels, [folder.name for folder in folders]


def _images(folder: Path) -> list[Path]:
    found = (p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p for p in found if not p.name.startswith("."))


def _stack(files: Iterable[Path]) -> NDArray[np.uint8]:
    arrays: list[NDArray[np.uint8]] = []
    for file in files:
        array = _pixels(file)
        if arrays and array.shape[:2] != arrays[0].shape[:2]:
            (height, width), (first_height, first_width) = array.shape[:2], arrays[0].shape[:2]
            raise UserError(
                f"{file} is {width}x{height} pixels, the first image {first_width}x{first_height}; "
                "bring all images to one size"
            )
        arrays.append(array)
    if all(array.ndim == 2 for array in arrays):
        return np.stack(arrays)
    return np.stack([a if a.ndim == 3 else np.stack([a] * 3, axis=-1) for a in arrays])


def _pixels(file: Path) -> NDArray[Any]:
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode in GREY:
                return np.asarray(image.convert("L"))
            if image.mode in COLOUR:
                return np.asarray(image.convert("RGB"))
            mode = image.mode
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} cannot be read as an image: {error}") from error
    raise UserError(f"{file} has pixels of mode {mode}; save it with 8 bits per channel")
