"""The user's own arrays in an .npz file; nothing in it is ever unpickled."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trompe.core.errors import UserError
from trompe.data.arrays import from_arrays
from trompe.data.dataset import Dataset

__all__ = ["holds", "load_npz", "members"]

CLASS_NAMES = ("classes", "class_names", "label_names")
UNREADABLE = (
    OSError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


def load_npz(path: Path | str, split: str = "test") -> Dataset:
    """The examples and labels in an .npz archive.

    Members, the first pair that is there: `x_test`, `y_test`; `test_images`, `test_labels` (so
    for "train"); `x`, `y`; `images`, `labels`. The latter two serve every split, and the set is
    marked "all". Labels may be missing. `classes`, `class_names` or `label_names` may name the
    classes. See `trompe.data.from_arrays` for types and layouts.

    Raises:
        UserError: the file is missing, damaged, no archive, holds pickled objects, or its arrays
            are not examples and labels.
    """
    path = Path(path)
    try:
        stamp = path.stat()
    except OSError as error:
        raise UserError(f"could not read {path}: {error.strerror}") from error
    return _load(path.resolve(), split, (stamp.st_mtime_ns, stamp.st_size))


def members(path: Path, *keys: str) -> list[NDArray[Any]]:
    """Those members of an .npz archive, which must all be there.

    Raises:
        UserError: as `load_npz`, or one is missing.
    """
    with _archive(path) as archive:
        missing = [key for key in keys if key not in archive]
        if missing:
            raise UserError(f"{path} has no member {missing[0]}; it needs {', '.join(keys)}")
        return [_member(archive, key, path) for key in keys]


def holds(path: Path, key: str) -> bool:
    """Whether an .npz archive has a member of that name; nothing is decompressed.

    Raises:
        UserError: the file is damaged or no archive.
    """
    with _archive(path) as archive:
        return key in archive


@lru_cache(maxsize=4)
def _load(path: Path, split: str, stamp: tuple[int, int]) -> Dataset:
    with _archive(path) as archive:
        return _from_members(archive, path, split)


@contextmanager
def _archive(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{path} is not an .npz archive, or only part of one; write it again with "
            "numpy.savez_compressed(path, x=x, y=y)"
        )
    with path.open("rb") as stream:
        try:
            archive = np.load(stream, allow_pickle=False)
        except UNREADABLE as error:
            raise UserError(f"{path} is damaged: {error}; write it again") from error
        yield archive


def _from_members(archive: Mapping[str, NDArray[Any]], path: Path, split: str) -> Dataset:
    x, y, found = _choose(set(archive), split, path)
    names = next((key for key in CLASS_NAMES if key in archive), None)
    return from_arrays(
        _member(archive, x, path),
        None if y is None else _member(archive, y, path),
        name=path.name,
        classes=None if names is None else _names(_member(archive, names, path), names, path),
        split=found,
    )


def _choose(members: set[str], split: str, path: Path) -> tuple[str, str | None, str]:
    pairs = (
        (f"x_{split}", f"y_{split}", split),
        (f"{split}_images", f"{split}_labels", split),
        ("x", "y", "all"),
        ("images", "labels", "all"),
    )
    for x, y, found in pairs:
        if x in members:
            return x, y if y in members else None, found
    held = ", ".join(sorted(members)) or "nothing"
    raise UserError(f"{path} has no member x, images, x_{split} or {split}_images; it holds {held}")


def _member(archive: Mapping[str, NDArray[Any]], key: str, path: Path) -> NDArray[Any]:
    try:
        return archive[key]
    except UNREADABLE as error:
        if "allow_pickle" in str(error):
            raise UserError(
                f"{path}: member {key} holds pickled Python objects, which could run code when "
                "read; save a plain uint8 or float array"
            ) from error
        raise UserError(f"{path}: member {key} is damaged ({error}); write it again") from error


def _names(array: NDArray[Any], key: str, path: Path) -> list[str]:
    if array.ndim != 1 or array.dtype.kind != "U":
        raise UserError(
            f"{path}: member {key} should be a one-dimensional array of strings, got "
            f"{array.dtype} {array.shape}"
        )
    return [str(name) for name in array]
