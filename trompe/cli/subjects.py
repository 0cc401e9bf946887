"""Finding the model and the data that a command names."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trompe.core.errors import UserError
from trompe.core.user_code import is_spec, refuse_pickles

if TYPE_CHECKING:
    import torch
    from torch import nn

    from trompe.data import Dataset

__all__ = [
    "check_radius",
    "classifier",
    "data_for",
    "device",
    "examples",
    "is_autoencoder",
    "subject",
    "users_code",
]


@contextmanager
def users_code(*specs: str | None) -> Iterator[None]:
    """Let `module:function` be found in the working directory, if one of the names is of that form."""
    if not any(spec is not None and is_spec(spec.partition("[")[0]) for spec in specs):
        yield
        return
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def data_for(model: str, data: str | None) -> str:
    """The data to use: what was named, else the data that a recipe of the zoo was made for.

    Raises:
        UserError: the model is the user's own, and no data was named.
    """
    from trompe import zoo

    if data is not None:
        return data
    if model in zoo.names():
        return zoo.recipe(model).data
    if zoo.is_radio(model):
        raise UserError(
            f"{model} is a radio link, not a model of images: trompe audit --comms {model}"
        )
    raise UserError(f"say what data {model} is for: --data digits, photos.npz or module:function")


def examples(spec: str, n: int, root: Path | None) -> tuple["Dataset", list[int]]:
    """`n` examples and their places, spread evenly over the test data.

    So data that is sorted by class shows every class.
    """
    from trompe import data

    refuse_pickles(data=spec)
    if n < 1:
        raise UserError(f"--n must be at least 1, got {n}")
    whole = data.load(spec, "test", root)
    n = min(n, len(whole))
    places = [k * len(whole) // n for k in range(n)]
    return whole.subset(places), places


def subject(spec: str, data: "Dataset") -> "nn.Module":
    """The model of that name, checked on the data."""
    from trompe.audit.victim import victim

    refuse_pickles(model=spec)
    return victim(spec, data)


def classifier(spec: str, data: "Dataset", purpose: str) -> "nn.Module":
    """The classifier of that name, checked on the data.

    Raises:
        UserError: it is an autoencoder, and the purpose is for classifiers.
    """
    model = subject(spec, data)
    if is_autoencoder(model):
        raise UserError(f"{spec} is an autoencoder; {purpose}")
    return model


def is_autoencoder(model: object) -> bool:
    """Whether it has encode and decode."""
    return hasattr(model, "encode") and hasattr(model, "decode")


def check_radius(eps: float, norm: str, data: "Dataset") -> None:
    """Refuse a radius that is the whole range of the images: it was meant in 0..255.

    Raises:
        UserError: with the fraction that was meant.
    """
    if norm == "Linf" and len(data.shape) == 3 and eps > 1:
        raise UserError(f"--eps {eps:g}: images lie in [0, 1]; write {eps:g}/255")


def device(name: str) -> "torch.device":
    """The device of that name, tried.

    Raises:
        UserError: torch cannot compute there.
    """
    import torch

    try:
        place = torch.device(name)
        torch.zeros(1, device=place).add_(1).item()
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(f"--device {name}: torch cannot compute there on this machine") from error
    return place
