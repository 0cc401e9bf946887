"""A whole data set in memory: 8-bit images, or vectors, with labels."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trompe.core.errors import UserError

if TYPE_CHECKING:
    from trompe.core.domains import Images, Vectors

__all__ = ["Dataset", "Index"]

Index = int | slice | Sequence[int] | NDArray[Any] | Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Examples and labels, held whole; treat the tensors as read-only, they are shared.

    Args:
        name: what it is called in messages and records.
        x: images as uint8 (N, C, H, W), C 1 or 3, or vectors as float32 (N, D).
        y: class numbers, int64 (N,), in 0..K-1, or None.
        classes: the K class names.
        split: "train", "test", or "all" where the source draws no such line.

    Raises:
        UserError: the set is empty, or shapes, dtypes or labels break the above.

    >>> d = Dataset("dots", torch.full((2, 1, 4, 4), 255, dtype=torch.uint8), torch.tensor([0, 1]),
    ...             ("zero", "one"))
    >>> x, y = d.tensors()
    >>> x.max().item(), y.tolist(), len(d)
    (1.0, [0, 1], 2)
    """

    name: str
    x: Tensor
    y: Tensor | None = None
    classes: tuple[str, ...] = ()
    split: str = "all"

    def __post_init__(self) -> None:
        if len(self.x) == 0:
            raise UserError(f"{self.name}: the set is empty; give at least one example")
        self._check_examples()
        self._check_labels()

    def _check_examples(self) -> None:
        x = self.x
        images = x.dtype == torch.uint8 and x.ndim == 4 and x.shape[1] in (1, 3)
        vectors = x.dtype == torch.float32 and x.ndim == 2
        if not (images or vectors) or x[0].numel() == 0:
            kind = str(x.dtype).removeprefix("torch.")
            raise UserError(
                f"{self.name}: expected x as uint8 images (N, 1 or 3, H, W) or float32 vectors "
                f"(N, D), got {kind} {tuple(x.shape)}; use trompe.data.from_arrays to convert"
            )

    def _check_labels(self) -> None:
        if self.y is None:
            return
        if self.y.dtype != torch.int64 or self.y.shape != (len(self.x),):
            kind = str(self.y.dtype).removeprefix("torch.")
            raise UserError(
                f"{self.name}: expected y as int64 ({len(self.x)},), one class number per example, "
                f"got {kind} {tuple(self.y.shape)}"
            )
        low, high = int(self.y.min()), int(self.y.max())
        if low < 0 or high >= len(self.classes):
            raise UserError(
                f"{self.name}: labels must be in 0..{len(self.classes) - 1} "
                f"({len(self.classes)} classes), found {low if low < 0 else high}"
            )

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        kind = "vectors" if self.x.ndim == 2 else "images"
        shape = "x".join(map(str, self.shape))
        labels = "no labels" if self.y is None else f"{len(self.classes)} classes"
        return f"Dataset({self.name!r}, {self.split}: {len(self)} {kind} {shape}, {labels})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example: (C, H, W) or (D,)."""
        return tuple(self.x.shape[1:])

    @property
    def domain(self) -> "Images | Vectors":
        """What an input is: `Images()` in [0, 1], or `Vectors()`."""
        from trompe.core.domains import Images, Vectors

        return Images() if self.x.dtype == torch.uint8 else Vectors()

    @cached_property
    def checksum(self) -> str:
        """sha256 over dtype, shape and bytes of `x`, then of `y` where there are labels."""
        digest = hashlib.sha256()
        for tensor in (self.x,) if self.y is None else (self.x, self.y):
            array = np.ascontiguousarray(tensor.numpy())
            digest.update(f"{array.dtype.name}{array.shape}".encode())
            digest.update(array.data)
        return digest.hexdigest()

    def tensors(self, index: Index | None = None) -> tuple[Tensor, Tensor | None]:
        """The examples at `index` (all without one), ready for a model.

        Returns fresh, contiguous `x`, float32, images divided by 255 into [0, 1], and `y`.
        """
        rows = slice(None) if index is None else self._rows(index)
        x = self.x[rows].to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        if self.x.dtype == torch.uint8:
            x.div_(255)
        return x, None if self.y is None else self.y[rows].clone()

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
        """Yield `(x, y, index)` in order, `size` examples at a time, the last batch smaller."""
        if size < 1:
            raise UserError(f"a batch holds at least 1 example, got a size of {size}")
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield *self.tensors(slice(start, stop)), torch.arange(start, stop)

    def take(self, n: int) -> "Dataset":
        """The first `n` examples, or all of them where there are fewer."""
        if n < 1:
            raise UserError(f"{self.name}: take at least 1 example, got {n}")
        return self.subset(slice(n))

    def subset(self, index: Index) -> "Dataset":
        """The examples at `index` (numbers, a slice or a mask), in that order."""
        rows = self._rows(index)
        return replace(self, x=self.x[rows], y=None if self.y is None else self.y[rows])

    def _rows(self, index: Index) -> slice | Tensor:
        if isinstance(index, slice):
            return index
        rows = torch.as_tensor(index)
        if rows.dtype == torch.bool:
            if rows.shape != (len(self),):
                raise UserError(
                    f"{self.name}: a mask must have one entry for each of the {len(self)} "
                    f"examples, got shape {tuple(rows.shape)}"
                )
            return rows.nonzero().flatten()
        rows = rows.long().flatten()
        if len(rows) and not -len(self) <= int(rows.min()) <= int(rows.max()) < len(self):
            raise UserError(
                f"{self.name}: holds examples 0..{len(self) - 1}, asked for "
                f"{int(rows.min())}..{int(rows.max())}"
            )
        return rows
