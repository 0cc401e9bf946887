"""CelebA faces, 64x64: from archives of a part of it, or from the files that people download.

Reference: Z. Liu, P. Luo, X. Wang, X. Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015.
"""

import difflib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trompe.core.errors import UserError
from trompe.data.archives import holds, members
from trompe.data.dataset import Dataset

__all__ = [
    "NAME",
    "SIDE",
    "TITLE",
    "WHERE",
    "Held",
    "held",
    "is_celeba",
    "load_celeba",
    "states",
    "traits",
]

NAME = "celeba"
TITLE = "CelebA aligned faces, cropped (Liu, Luo, Wang, Tang 2015)"
WHERE = "http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
MEMBERS = ("images", "attributes", "attribute_names", "official_partition")
PEOPLE = "identity"  # the spec's ending, and the archives' member
PICTURES, ATTRIBUTES, PARTITION = "img_align_celeba", "list_attr_celeba", "list_eval_partition"
IDENTITY = "identity_CelebA"
ALIGNED, CROP, SIDE = (178, 218), (15, 35, 163, 183), 64  # pixels; left, top, right, bottom
WHOLE = (182637, 19962)  # pictures in train (with validation) and test, numbered on from 1
TEST = 2  # the number of the official test part


class Held(NamedTuple):
    """What is at hand: "archives", "pictures" or "nothing", its files, and the counts of a split."""

    kind: str
    files: tuple[Path, ...]
    train: int
    test: int


class _Faces(NamedTuple):
    x: Tensor  # uint8 (N, 3, 64, 64)
    attributes: NDArray[Any]  # bool (N, 40)
    names: tuple[str, ...]
    people: NDArray[Any] | None  # CelebA's number of the person (N,), where it is at hand


def is_celeba(spec: str) -> bool:
    """Whether a spec is "celeba", "celeba-ATTRIBUTE" or "celeba-identity"."""
    return spec == NAME or spec.startswith(f"{NAME}-")


def load_celeba(spec: str, split: str, root: Path) -> Dataset:
    """Aligned faces, 3x64x64: without labels ("celeba"), with an attribute ("celeba-smiling"), with people.

    Any of the 40 attributes, as 0 or 1, in lower case, with - or _: "celeba-male", "celeba-no-beard".
    The labels of "celeba-identity" count a split's people in the order of CelebA's numbers of them,
    which are in the class names: `("person 2", "person 13", ...)`.

    The pictures are the aligned ones, 178x218, cut to the centred 148x148 (left 15, top 35) and
    shrunk to 64x64 with Pillow's antialiased bilinear filter. Papers that use the whole aligned
    picture show more background, so their numbers are beside ours, not the same.

    No person is in both splits: "test" is CelebA's official test part, "train" its training and
    validation parts, and these three share no person. What is read, from `root`/celeba:

    - every .npz with members `images` (N, 64, 64, 3), `attributes` (N, 40), `attribute_names`,
      `official_partition` (0, 1, 2) and, for people, `identity` (N,). With `celeba64_1000ids.npz` and
      `celeba64_200ids.npz`, parts of CelebA that share no person, "train" has 9340 pictures of 978 people,
      "test" 1659 of 222 others;
    - else the files as they are given out: `img_align_celeba/*.jpg`, `list_attr_celeba.txt` (or
      .csv), `identity_CelebA.txt` for people, and `list_eval_partition.txt`, without which the parts
      are told by the pictures' numbers. Pictures that are listed but absent are passed over. 182637 +
      19962 in all; reading takes minutes, and the result stays in memory.

    CelebA may be used for non-commercial research, and neither it nor a part may be passed on.

    Raises:
        UserError: nothing of it is there, a file is damaged, or there is no such attribute.
    """
    faces = _faces(root / NAME, split)
    name = spec.lower().replace("_", "-")
    if name == NAME:
        return Dataset(NAME, faces.x, split=split)
    if name == f"{NAME}-{PEOPLE}":
        return _people(faces, split, root / NAME)
    known = [attribute.lower().replace("_", "-") for attribute in faces.names]
    wanted = name.removeprefix(f"{NAME}-")
    if wanted not in known:
        near = difflib.get_close_matches(wanted, (*known, PEOPLE), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"CelebA has no attribute {wanted!r}; {hint}it has {', '.join(known)}")
    labels = torch.from_numpy(faces.attributes[:, known.index(wanted)].astype(np.int64))
    plain = wanted.replace("-", " ")
    return Dataset(name, faces.x, labels, (f"not {plain}", plain), split)


def _people(faces: _Faces, split: str, folder: Path) -> Dataset:
    if faces.people is None:
        raise UserError(
            f"{folder} does not say who is on the pictures: its .npz archives need a member {PEOPLE}, "
            f"pictures the list {IDENTITY}.txt"
        )
    numbers, labels = np.unique(faces.people, return_inverse=True)
    names = tuple(f"person {number}" for number in numbers)
    return Dataset(f"{NAME}-{PEOPLE}", faces.x, torch.from_numpy(labels), names, split)


def traits(split: str, root: Path) -> Tensor:
    """The share of each person's pictures that has each attribute, `(K, 40)`, people as "celeba-identity"."""
    faces = _faces(root / NAME, split)
    people = _people(faces, split, root / NAME).y
    assert people is not None
    present = torch.from_numpy(faces.attributes).float()
    total = torch.zeros(int(people.max()) + 1, present.shape[1]).index_add_(0, people, present)
    return total / people.bincount()[:, None]


def held(folder: Path) -> Held:
    """What of CelebA lies in a folder; of archives the partition is read, of pictures nothing."""
    archives = tuple(sorted(folder.glob("*.npz")))
    if archives:
        parts = np.concatenate([members(path, "official_partition")[0] for path in archives])
        test = int((parts == TEST).sum())
        return Held("archives", archives, len(parts) - test, test)
    listed = _list(folder, ATTRIBUTES)
    pictures = folder / PICTURES
    if listed is None or not pictures.is_dir():
        return Held("nothing", (), *WHOLE)
    more = (_list(folder, PARTITION), _list(folder, IDENTITY))
    lists = (listed, *(path for path in more if path is not None))
    return Held("pictures", (*lists, pictures), *WHOLE)


def states(folder: Path) -> list[tuple[Path, str]]:
    """Each file of what is at hand with "ok" or what is wrong with it; archives and lists are read."""
    try:
        found = held(folder)
    except UserError as error:
        return [(folder, str(error))]
    return [(path, _state(path)) for path in found.files] or [(folder, "missing")]


def _state(path: Path) -> str:
    try:
        if path.suffix == ".npz":
            _from_archive(path)
        elif path.is_file():
            _table(path)
        else:
            return _count(path)
    except UserError as error:
        return str(error)
    return "ok"


def _count(pictures: Path) -> str:
    """Whether every listed picture is there; none is opened."""
    listed = _table(_list(pictures.parent, ATTRIBUTES) or pictures)[1]
    there = {file.name for file in _inner(pictures).iterdir()}
    absent = len(listed.keys() - there)
    return f"{absent} of {len(listed)} pictures are missing" if absent else "ok"


@lru_cache(maxsize=2)
def _faces(folder: Path, split: str) -> _Faces:
    found = held(folder)
    if found.kind == "nothing":
        raise UserError(
            f"celeba is not at hand: {folder} has neither .npz archives of it nor {PICTURES}/ with "
            f"{ATTRIBUTES}.txt; ask for it at {WHERE}, or set TROMPE_DATA to the folder that holds "
            "celeba/"
        )
    if found.kind == "pictures":
        return _from_pictures(folder, split)
    parts = [_from_archive(path) for path in found.files]
    if len({(part.x.shape[1:], part.names) for part, _ in parts}) > 1:
        raise UserError(f"{folder}: the archives differ in the pictures' size or the attributes")
    rows = [(partition == TEST) == (split == "test") for _, partition in parts]
    kept = [part.x[torch.from_numpy(row)] for (part, _), row in zip(parts, rows, strict=True)]
    traits = [part.attributes[row] for (part, _), row in zip(parts, rows, strict=True)]
    people = [
        part.people[row]
        for (part, _), row in zip(parts, rows, strict=True)
        if part.people is not None
    ]
    known = np.concatenate(people) if len(people) == len(parts) else None
    return _Faces(torch.cat(kept), np.concatenate(traits), parts[0][0].names, known)


@lru_cache(maxsize=4)
def _from_archive(path: Path) -> tuple[_Faces, NDArray[Any]]:
    images, attributes, names, partition = members(path, *MEMBERS)
    people = members(path, PEOPLE)[0] if holds(path, PEOPLE) else None
    n = len(images)
    if (
        images.dtype != np.uint8
        or images.shape != (n, SIDE, SIDE, 3)
        or attributes.shape != (n, len(names))
        or partition.shape != (n,)
        or (people is not None and people.shape != (n,))
    ):
        raise UserError(
            f"{path}: expected images as uint8 (N, 64, 64, 3), attributes (N, 40), "
            f"official_partition (N,) and identity (N,), got {images.dtype} {images.shape}, "
            f"{attributes.shape}, {partition.shape} and {'none' if people is None else people.shape}"
        )
    x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return _Faces(x, attributes > 0, tuple(str(name) for name in names), people), partition


def _from_pictures(folder: Path, split: str) -> _Faces:
    names, rows = _table(_list(folder, ATTRIBUTES) or folder)
    partition = _list(folder, PARTITION)
    official = None if partition is None else _table(partition)[1]
    kept: list[Path] = []
    traits: list[list[bool]] = []
    base = _inner(folder / PICTURES)
    for file, values in rows.items():
        late = _late(file) if official is None else official.get(file) == [str(TEST)]
        if late == (split == "test") and (base / file).is_file():
            kept.append(base / file)
            traits.append([value == "1" for value in values])
    if not kept:
        raise UserError(f"{base} holds no picture of the {split} split that the list names")
    x = torch.empty(len(kept), 3, SIDE, SIDE, dtype=torch.uint8)
    for row, path in enumerate(kept):
        x[row] = torch.from_numpy(_face(path))
    return _Faces(x, np.array(traits), names, _identities(folder, kept))


def _identities(folder: Path, kept: list[Path]) -> NDArray[Any] | None:
    path = _list(folder, IDENTITY)
    if path is None:
        return None
    rows = _table(path)[1]
    try:
        return np.array([int(rows[file.name][0]) for file in kept])
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path} does not name a person by number for each picture: {error}"
        ) from error


def _inner(pictures: Path) -> Path:
    """Where the pictures lie: some archives unpack to a folder inside one of the same name."""
    nested = pictures / PICTURES
    return nested if nested.is_dir() else pictures


def _late(file: str) -> bool:
    """Whether a picture's number is one of the official test part."""
    stem = Path(file).stem
    return stem.isdecimal() and int(stem) > WHOLE[0]


def _list(folder: Path, stem: str) -> Path | None:
    files = (folder / f"{stem}{suffix}" for suffix in (".txt", ".csv"))
    return next((file for file in files if file.is_file()), None)


def _table(path: Path) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """Column names and `{file: values}` of a list, its columns parted by spaces or commas."""
    try:
        lines = path.read_text(encoding="utf-8").replace(",", " ").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"could not read {path}: {error}") from error
    cells = [line.split() for line in lines if line.strip()]
    rows = {first: rest for first, *rest in cells if first.endswith(".jpg")}
    heads = [cell for cell in cells if not cell[0].endswith(".jpg") and len(cell) > 1]
    names = tuple(name for name in (heads[0] if heads else ()) if name != "image_id")
    width = len(names) or 1
    bad = next((file for file, values in rows.items() if len(values) != width), None)
    if not rows or bad is not None:
        where = f"the row of {bad}" if rows else "it has no row NAME.jpg VALUES..."
        raise UserError(f"{path} is not a list of CelebA, or only part of one: see {where}")
    return names, rows


def _face(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            size, picture = image.size, image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} cannot be read as an image: {error}") from error
    if size != ALIGNED:
        shape = "x".join(map(str, size))
        raise UserError(f"{path} is {shape} pixels; CelebA's aligned pictures are 178x218")
    small = picture.crop(CROP).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.array(small).transpose(2, 0, 1)
