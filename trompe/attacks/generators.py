"""What is asked of a generator at the door: that it takes these codes, and that they are its prior's."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from trompe.core.domains import Images
from trompe.core.errors import UserError

__all__ = ["check_norms", "first_image", "length", "made"]

_RARE = 6.0  # standard deviations of the norm beyond which a code is not one of the prior's


def made(generator: Any, z: Tensor, y: Tensor | None) -> Tensor:
    """`G(z)`, or `G(z, y)` where there are classes."""
    image: Tensor = generator(z) if y is None else generator(z, y)
    return image


def first_image(generator: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
    """The image of the first code.

    Raises:
        UserError: the generator does not take such codes, or such classes; values outside [0, 1].
    """
    try:
        image = made(generator, z[:1], None if y is None else y[:1])
    except UserError:
        raise
    except (RuntimeError, TypeError, IndexError) as error:
        given = "without" if y is None else "with"
        raise UserError(
            f"the generator does not take codes of shape {tuple(z.shape[1:])} {given} classes: "
            f"{str(error).partition(chr(10))[0]}"
        ) from error
    if image.ndim == 4:
        Images().validate(image)
    return image


def length(v: Tensor) -> Tensor:
    """The norm of each code, `(B, 1, ...)`."""
    norms: Tensor = torch.linalg.vector_norm(v.flatten(1), dim=1)
    return norms.view(-1, *[1] * (v.ndim - 1))


def check_norms(generator: Any, z: Tensor) -> None:
    """Refuse codes that the generator's prior practically never draws; one without a prior takes any.

    The squared norm of standardised Gaussian codes is chi-squared, and its cube root nearly normal (Wilson &
    Hilferty 1931); codes of other priors are held to the same range.

    Raises:
        UserError: such codes, with the range to expect.
    """
    prior = getattr(generator, "prior", None)
    if prior is None:
        return
    if prior.mean.shape[1:] != z.shape[1:]:
        raise UserError(
            f"expected codes of shape (B, {', '.join(map(str, prior.mean.shape[1:]))}), got {tuple(z.shape)}"
        )
    norms = length((z - prior.mean.to(z)) / prior.stddev.to(z)).flatten()
    n = z[0].numel()
    spread = 2 / (9 * n)
    low, high = (
        math.sqrt(n * max(0.0, 1 - spread + side * math.sqrt(spread)) ** 3)
        for side in (-_RARE, _RARE)
    )
    outside = (norms < low) | (norms > high)
    if bool(outside.any()):
        raise UserError(
            f"{int(outside.sum())} of {len(z)} codes are not the prior's: expected norms of {low:.3g} to "
            f"{high:.3g} in {n} dimensions, got {float(norms[outside][0]):.3g}"
        )
