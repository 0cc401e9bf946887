"""One call for every source of data."""

import difflib
from pathlib import Path

from trompe.core.errors import UserError
from trompe.core.user_code import is_spec
from trompe.data import published
from trompe.data.archives import load_npz
from trompe.data.celeba import NAME, is_celeba, load_celeba
from trompe.data.classes import only, parted
from trompe.data.dataset import Dataset
from trompe.data.digits import digits
from trompe.data.folders import load_folder
from trompe.data.functions import load_function
from trompe.data.published import SETS, load_published
from trompe.data.signs import SIGNS, load_signs
from trompe.data.toy import TOYS, toy

__all__ = ["SPLITS", "fixed", "load", "names"]

SPLITS = ("train", "test")
OWN = "an .npz file, a folder of class folders, or module:function"


def names() -> tuple[str, ...]:
    """The names that `load` knows without a path."""
    return ("digits", *SETS, *SIGNS, NAME, *TOYS)


def fixed(spec: str) -> bool:
    """Whether the spec alone says what is loaded, to the bit: an embedded or published set, or a part.

    >>> fixed("mnist[3,8]"), fixed("celeba-smiling"), fixed("photos.npz")
    (True, False, False)
    """
    return parted(spec)[0] in ("digits", *TOYS, *SETS)


def load(spec: str | Path, split: str = "test", root: Path | str | None = None) -> Dataset:
    """The data set that `spec` names, whole, in memory.

    Args:
        spec: "digits" (embedded), "mnist", "fashion-mnist", "svhn", "btsc", "gtsrb" (traffic
            signs), "spheres", "features" (toys, drawn), "celeba" (faces without labels),
            "celeba-smiling" (or another of its attributes, as 0 or 1), the path of an .npz file or
            of a folder of class folders of images, or "package.module:function" (runs that code). Any of
            them may be cut to some classes, relabelled 0..k-1 in the order given: "mnist[3,8]".
        split: "train" or "test"; a source that draws no such line gives all it has, and the
            result's `split` is then "all".
        root: where published sets lie; else `TROMPE_DATA`, else the user's cache.

    Raises:
        UserError: no such source, or something is wrong with it.

    >>> load("digits", "train")
    Dataset('digits', train: 1442 images 1x8x8, 10 classes)
    """
    if split not in SPLITS:
        raise UserError(f"split must be 'train' or 'test', got {split!r}")
    text, wanted = parted(str(spec))
    if wanted is not None and not Path(spec).expanduser().exists():
        return only(_load(text, split, root), wanted)
    return _load(str(spec), split, root)


def _load(text: str, split: str, root: Path | str | None) -> Dataset:
    path = Path(text).expanduser()
    if text == "digits":
        return digits(split)
    if text in TOYS:
        return toy(text, split)
    if text in SETS:
        return load_published(text, split, published.root(root))
    if text in SIGNS:
        return load_signs(text, split, published.root(root))
    if is_celeba(text):
        return load_celeba(text, split, published.root(root))
    if path.is_dir():
        return load_folder(path, split)
    if path.suffix == ".npz":
        return load_npz(path, split)
    if path.exists():
        raise UserError(f"do not know how to read {path}; give {OWN}")
    if is_spec(text):
        return load_function(text, split)
    raise UserError(_unknown(text))


def _unknown(text: str) -> str:
    near = difflib.get_close_matches(text, names(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown data set {text!r}; {hint}known are {', '.join(names())}, or give {OWN}"
