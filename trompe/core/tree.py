"""Trees of per-example tensors: whatever belongs to an example moves with it.

A tree is a tensor, or a tuple, dictionary or dataclass of trees; leaves that are not
tensors are shared by all examples and pass through untouched.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["repeat", "take", "tensors", "tree_map"]

T = TypeVar("T")


def tree_map(change: Callable[[Tensor], Tensor], tree: T) -> T:
    """Apply `change` to every tensor of the tree."""
    node: Any = tree
    if isinstance(node, Tensor):
        return change(node)  # type: ignore[return-value]
    if isinstance(node, dict):
        return {key: tree_map(change, value) for key, value in node.items()}  # type: ignore[return-value]
    if isinstance(node, tuple):
        parts = [tree_map(change, value) for value in node]
        return type(node)(*parts) if hasattr(node, "_fields") else tuple(parts)  # type: ignore[return-value]
    if is_dataclass(node) and not isinstance(node, type):
        values = {f.name: tree_map(change, getattr(node, f.name)) for f in fields(node) if f.init}
        return replace(node, **values)  # type: ignore[return-value]
    return tree


def tensors(tree: Any) -> Iterator[Tensor]:
    """Every tensor of the tree, depth first."""
    found: list[Tensor] = []

    def note(values: Tensor) -> Tensor:
        found.append(values)
        return values

    tree_map(note, tree)
    return iter(found)


def take(tree: T, rows: Tensor) -> T:
    """The given rows of every tensor: a batch compacted to some of its examples.

    >>> take({"x": torch.arange(4), "c": 0.5}, torch.tensor([0, 3]))
    {'x': tensor([0, 3]), 'c': 0.5}
    """
    return tree_map(lambda values: values.index_select(0, rows), tree)


def repeat(tree: T, times: int) -> T:
    """The whole batch `times` times, one after the other, `(times * B, *)`."""
    return tree_map(lambda values: torch.cat([values] * times), tree)
