"""The user's own code as a source: `package.module:function`."""

from trompe.core import user_code
from trompe.core.errors import UserError
from trompe.data.arrays import from_arrays
from trompe.data.dataset import Dataset

__all__ = ["load_function"]


def load_function(spec: str, split: str = "test") -> Dataset:
    """What `module:function` returns: a `Dataset`, `(x, y)`, or `x`. **This runs the user's code.**

    The function is called with `split=` where it has such a parameter, else without arguments,
    and its result then serves every split. Arrays or tensors are taken by
    `trompe.data.from_arrays`. The module must be importable as Python stands.

    Raises:
        UserError: it cannot be imported or called, raises, or returns something else.
    """
    split_aware = user_code.takes(user_code.find(spec), "split")
    result = user_code.call(spec, split=split)
    if isinstance(result, Dataset):
        return result
    x, y = result if isinstance(result, (tuple, list)) and len(result) == 2 else (result, None)
    if not hasattr(x, "shape"):
        raise UserError(
            f"{spec} returned {type(result).__name__}; return a trompe.data.Dataset, (x, y) or x "
            "as arrays or tensors"
        )
    return from_arrays(x, y, name=spec, split=split if split_aware else "all")
