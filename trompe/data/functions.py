"""The user's own code as a source: `package.module:function`."""

import importlib
import inspect
import re
from typing import Any

from trompe.core.errors import UserError
from trompe.data.arrays import from_arrays
from trompe.data.dataset import Dataset

__all__ = ["is_function", "load_function"]

PATTERN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_function(spec: str) -> bool:
    """Whether `spec` reads `package.module:function`."""
    return PATTERN.fullmatch(spec) is not None


def load_function(spec: str, split: str = "test") -> Dataset:
    """What `module:function` returns: a `Dataset`, `(x, y)`, or `x`. **This runs the user's code.**

    The function is called with `split=` where it has such a parameter, else without arguments,
    and its result then serves every split. Arrays or tensors are taken by
    `trompe.data.from_arrays`. The module must be importable as Python stands.

    Raises:
        UserError: it cannot be imported or called, raises, or returns something else.
    """
    function = _find(spec)
    split_aware = _takes_split(function)
    try:
        result = function(split=split) if split_aware else function()
    except Exception as error:
        raise UserError(f"{spec} raised {type(error).__name__}: {error}") from error
    if isinstance(result, Dataset):
        return result
    x, y = result if isinstance(result, (tuple, list)) and len(result) == 2 else (result, None)
    if not hasattr(x, "shape"):
        raise UserError(
            f"{spec} returned {type(result).__name__}; return a trompe.data.Dataset, (x, y) or x "
            "as arrays or tensors"
        )
    return from_arrays(x, y, name=spec, split=split if split_aware else "all")


def _find(spec: str) -> Any:
    module_name, name = spec.split(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UserError(
            f"could not import {module_name} ({type(error).__name__}: {error}); "
            "run from the folder that holds it, or install it"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        what = "has no" if function is None else "has no function"
        raise UserError(f"{module_name} {what} {name!r}; give module:function")
    return function


def _takes_split(function: Any) -> bool:
    try:
        return "split" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
