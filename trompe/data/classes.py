"""Some of a set's classes: `mnist[3,8]`, `fashion-mnist[Sneaker,Bag]`, `photos.npz[0,2]`."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from trompe.core.errors import UserError
from trompe.data.dataset import Dataset

__all__ = ["only", "parted"]


def parted(spec: str) -> tuple[str, tuple[str, ...] | None]:
    """The source in a spec, and the classes asked for in brackets behind it, or None.

    >>> parted("mnist[3, 8]"), parted("mnist")
    (('mnist', ('3', '8')), ('mnist', None))
    """
    source, bracket, inside = spec.partition("[")
    if not bracket or not spec.endswith("]"):
        return spec, None
    return source, tuple(part.strip() for part in inside[:-1].split(","))


def only(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """The examples of some classes, relabelled 0..k-1 in the order given; their order is kept.

    A class is given by its name, or by its number where no class has that name. The result is
    called `NAME[a,b]` and has a checksum of its own.

    Raises:
        UserError: no labels, an unknown class, one named twice, or none of whose examples are here.

    >>> from trompe.data import load
    >>> pair = only(load("digits"), ("8", "3"))
    >>> pair, pair.classes
    (Dataset('digits[8,3]', test: 70 images 1x8x8, 2 classes), ('8', '3'))
    """
    name = f"{dataset.name}[{','.join(classes)}]"
    if dataset.y is None:
        raise UserError(f"{name}: {dataset.name} has no labels to choose classes by")
    numbers = [_number(dataset, wanted, name) for wanted in classes]
    if len(set(numbers)) < len(numbers):
        raise UserError(f"{name} names a class twice; give each once")
    places = torch.full((len(dataset.classes),), -1)
    places[numbers] = torch.arange(len(numbers))
    labels = places[dataset.y]
    absent = sorted(set(range(len(numbers))) - set(labels.tolist()))
    if absent:
        raise UserError(f"{name}: no example has class {dataset.classes[numbers[absent[0]]]!r}")
    kept = labels >= 0
    names = tuple(dataset.classes[number] for number in numbers)
    return replace(dataset.subset(kept), name=name, y=labels[kept], classes=names)


def _number(dataset: Dataset, wanted: str, name: str) -> int:
    known = dataset.classes
    if wanted in known:
        return known.index(wanted)
    if wanted.isdecimal() and int(wanted) < len(known):
        return int(wanted)
    if not wanted:
        raise UserError(f"{name} names no class; write for example {dataset.name}[{known[0]}]")
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    raise UserError(f"{name}: {dataset.name} has no class {wanted!r}; it has {shown}")
