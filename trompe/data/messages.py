"""Messages for a radio: whole numbers, each as likely as the others, that never run out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trompe.core.errors import UserError

__all__ = ["Messages"]


@dataclass(frozen=True)
class Messages:
    """What is sent, and what is to be received: the same. A rule for `Stream`.

    Args:
        bits: k; there are 2^k messages.

    Raises:
        UserError: fewer than one bit, which leaves one message and nothing to tell.

    >>> s, y = Messages(4).draw(3, torch.Generator().manual_seed(0))
    >>> s.shape, bool((s == y).all()), bool((s < 16).all())
    (torch.Size([3]), True, True)
    """

    bits: int

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or self.bits < 1:
            raise UserError(
                f"bits must be a whole number of at least 1, got {self.bits!r}: of one message there is "
                "nothing to tell"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one message: a number."""
        return ()

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Messages `(count,)`, twice."""
        s = torch.randint(2**self.bits, (count,), generator=generator)
        return s, s
