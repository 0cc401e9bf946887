"""The way of an attack among codes: what its images were, and what every loss said of them."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trompe.core.errors import UserError
from trompe.core.search import Evaluation

__all__ = ["Callback", "Recorder", "Trajectory", "evenly"]


@dataclass(frozen=True)
class Trajectory:
    """What an attack saw on its way. An example that has left stands still.

    Args:
        steps: the steps whose images were kept, S of them.
        images: `(S, B, *)`.
        curves: by name, `(T + 1, B)` for T steps: `"label"` (J2), `"discriminator"`, and of a Type I attack
            `"victim"` (J1) and `"k"`.
        best: what the attack returns, `(B, *)`.
        targets: the classes aimed at, `(B,)`.
    """

    steps: tuple[int, ...]
    images: Tensor
    curves: dict[str, Tensor]
    best: Tensor
    targets: Tensor

    @property
    def confidence(self) -> Tensor:
        """The probability `(T + 1, B)` of the kept class for the victim, where J1 is a cross-entropy."""
        return (-self.curves["victim"]).exp()


Callback = Callable[[int, Tensor, Tensor, Evaluation], None]


def evenly(steps: int, parts: int) -> tuple[int, ...]:
    """The ends of equal parts of a search, its start among them: `parts + 1` steps at most.

    >>> evenly(100, 4)
    (0, 25, 50, 75, 100)
    """
    return tuple(sorted({round(part * steps / parts) for part in range(parts + 1)}))


class Recorder:
    """A search's callback that remembers.

    Args:
        rows: the number of examples.
        steps: T.
        at: the steps whose codes are kept.

    Raises:
        UserError: steps that are not among those of the search.
    """

    def __init__(self, rows: int, steps: int, at: Sequence[int]) -> None:
        self.at = tuple(sorted(set(at)))
        if not self.at or self.at[0] < 0 or self.at[-1] > steps:
            raise UserError(f"the steps to keep must lie in 0..{steps}, got {tuple(at)}")
        self.rows, self.steps = rows, steps
        self.codes = torch.empty(0)
        self.curves: dict[str, Tensor] = {}

    def __call__(self, step: int, rows: Tensor, z: Tensor, seen: Evaluation) -> None:
        """Note an iterate for this step and, until another comes, for all later ones."""
        if not self.curves:
            self.codes = z.new_empty(len(self.at), self.rows, *z.shape[1:])
            size = (self.steps + 1, self.rows)
            self.curves = {name: term.new_empty(size) for name, term in seen.terms.items()}
        self.codes[bisect_left(self.at, step) :, rows] = z
        for name, term in seen.terms.items():
            self.curves[name][step:, rows] = term

    def trajectory(
        self, decode: Callable[[Tensor], Tensor], best: Tensor, targets: Tensor
    ) -> Trajectory:
        """What was remembered, its codes and the best ones decoded."""
        images = torch.stack([decode(z) for z in self.codes])
        return Trajectory(self.at, images, self.curves, decode(best), targets)
