"""Checkpoints: a tree of tensors and plain values in one safetensors file, replaced atomically.

Tensors are stored as such; everything else (step numbers, options of the optimiser, the history)
is JSON in the header of the same file. So one rename commits both, and nothing is ever unpickled.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from trompe.core.errors import UserError

__all__ = ["flatten", "load", "load_tensors", "replace", "save", "save_tensors", "unflatten"]

_TENSOR, _TUPLE, _ITEMS = "__tensor__", "__tuple__", "__items__"


def flatten(tree: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """A JSON-able copy of a tree; its tensors are put into `tensors` under their paths.

    >>> import torch
    >>> found = {}
    >>> flatten({"lr": 0.1, "state": {0: torch.ones(1)}}, found)
    {'lr': 0.1, 'state': {'__items__': [[0, {'__tensor__': 'state/0'}]]}}
    >>> list(found)
    ['state/0']
    """
    if isinstance(tree, Tensor):
        tensors[path] = tree.detach()
        return {_TENSOR: path}
    if isinstance(tree, Mapping):
        pairs = [
            (k, flatten(v, tensors, f"{path}/{k}" if path else str(k))) for k, v in tree.items()
        ]
        plain = all(isinstance(k, str) and not k.startswith("__") for k, _ in pairs)
        return dict(pairs) if plain else {_ITEMS: [list(pair) for pair in pairs]}
    if isinstance(tree, (list, tuple)):
        items = [flatten(item, tensors, _join(path, i)) for i, item in enumerate(tree)]
        return {_TUPLE: items} if isinstance(tree, tuple) else items
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    raise UserError(
        f"cannot store {path or 'a value'} of type {type(tree).__name__} in a checkpoint; "
        "a state holds tensors, numbers, strings, lists and dictionaries"
    )


def _join(path: str, key: object) -> str:
    return f"{path}/{key}" if path else str(key)


def unflatten(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The tree that `flatten` took apart."""
    if isinstance(tree, list):
        return [unflatten(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if _TENSOR in tree:
        return tensors[tree[_TENSOR]]
    if _TUPLE in tree:
        return tuple(unflatten(item, tensors) for item in tree[_TUPLE])
    if _ITEMS in tree:
        return {key: unflatten(value, tensors) for key, value in tree[_ITEMS]}
    return {key: unflatten(value, tensors) for key, value in tree.items()}


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, force it to the disk, and rename it.

    Raises:
        UserError: if the file cannot be written; what was there before is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write tensors and a header of strings as one safetensors file, atomically."""
    from safetensors.torch import save as serialise

    # contiguous copies: safetensors refuses tensors that share memory, as tied weights do
    apart = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    content = serialise(apart, metadata=dict(header))
    replace(path, lambda temporary: temporary.write_bytes(content))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the header of a safetensors file.

    Raises:
        UserError: if the file is missing, cut short, or no safetensors file at all.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"there is no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a whole safetensors file ({error}); delete it") from None


def save(path: Path, tree: Any) -> None:
    """Write a tree of tensors and plain values, atomically."""
    tensors: dict[str, Tensor] = {}
    plain = flatten(tree, tensors)
    save_tensors(path, tensors, {"trompe": json.dumps(plain)})


def load(path: Path) -> Any:
    """Read what `save` wrote.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     save(Path(folder) / "a.safetensors", {"n": 3, "w": torch.ones(2)})
    ...     load(Path(folder) / "a.safetensors")
    {'n': 3, 'w': tensor([1., 1.])}
    """
    tensors, header = load_tensors(path)
    if "trompe" not in header:
        raise UserError(f"{path} holds no training state, only tensors; resume needs the state")
    return unflatten(json.loads(header["trompe"]), tensors)
