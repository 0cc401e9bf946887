"""Defended classifiers by name, and the attacker's ladder on them."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.attacks.base import Attack
    from trompe.defenses import Reconstruct
    from trompe.evaluation.evaluate import Result

__all__ = ["Defence", "Effort", "climbed", "met", "rungs", "shares", "written"]


@dataclass(frozen=True)
class Defence:
    """A classifier behind one of the paper's autoencoders.

    Args:
        kind, stp, weight: as for `_models.purifier`.
        scale: of the posterior's deviation at inference; 0 draws nothing.
    """

    kind: str
    stp: float = 0.0
    scale: float = 0.0
    weight: float = 0.0

    def __str__(self) -> str:
        """As a table names it.

        >>> str(Defence("dvae", 0.4, 1.0)), str(Defence("cae", 0.1, weight=1.0))
        ('DVAE, stp 0.4, scale 1', 'CAE, stp 0.1, weight 1')
        """
        scale = f", scale {self.scale:g}" if self.kind.endswith("vae") else ""
        weight = f", weight {self.weight:g}" if self.kind in ("cae", "cvae") else ""
        return f"{self.kind.upper()}, stp {self.stp:g}{scale}{weight}"

    def model(self, data: str) -> "Reconstruct":
        """The defended classifier of clean images."""
        return _stack(self, data, 0)

    def own(self, data: str) -> "Reconstruct":
        """The stack that an attacker trained who knows no weight: a VAE of the simplest recipe."""
        return _stack(Defence("vae", scale=self.scale), data, 1)


def _stack(defence: Defence, data: str, seed: int) -> "Reconstruct":
    from trompe import zoo
    from trompe.defenses import Reconstruct
    from trompe.experiments.reconstruction._models import classifier, purifier

    recipe = purifier(defence.kind, data, defence.stp, defence.weight, seed=seed)
    coder = zoo.get(recipe, progress=False)
    judge = zoo.get(classifier(data, seed=seed), progress=False)
    return Reconstruct(coder, judge, defence.scale).eval().to(_device())


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Effort:
    """What attackers spend.

    Args:
        share: of the steps of the full ladder.
        draws: averaged in each gradient of a random model.
        queries: of Square; none leaves it out.
    """

    share: float = 1.0
    draws: int = 20
    queries: int = 5000


def met(data: str, n: int) -> Any:
    """The first test images and their labels."""
    from trompe import data as sets

    return sets.load(data, "test").take(n)


def rungs(
    model: "nn.Module", eps: float, image: "Tensor", effort: Effort, own: "nn.Module | None" = None
) -> dict[str, "Attack"]:
    """The ladder on a classifier, at some effort; one image `(1, *)` tells whether it draws."""
    from trompe.attacks.ladder import SQUARE, ladder
    from trompe.core.geometry import Ball

    found = ladder(
        model, Ball(eps), surrogate=own, example=image.to(_device()), effort=effort.share,
        draws=effort.draws,
    )  # fmt: skip
    square = found.pop(SQUARE)
    return {**found, SQUARE: _asking(square, effort.queries)} if effort.queries else found


def _asking(square: Any, queries: int) -> "Attack":
    """Square, averaged over draws or not, with so many queries."""
    inside = getattr(square, "attack", None)
    if inside is None:
        return replace(square, steps=queries)  # type: ignore[no-any-return]
    return replace(square, attack=replace(inside, steps=queries))  # type: ignore[no-any-return]


def climbed(model: Any, attacks: dict[str, "Attack"], images: Any, **how: Any) -> "Result":
    """`evaluate`, searching in bfloat16 where the processor multiplies it; claims are verified in float32.

    A rung that finds no gradient on the last images is no news where others follow; the doctor looks for it.
    """
    import warnings

    from trompe.core.execution import execution, has_fast_bf16
    from trompe.core.search import GradientWarning
    from trompe.evaluation import evaluate

    batch = len(images[0] if isinstance(images, tuple) else images)
    with (
        warnings.catch_warnings(),
        execution(precision="bf16" if has_fast_bf16(_device()) else "float32"),
    ):
        warnings.simplefilter("ignore", GradientWarning)
        return evaluate(model, attacks, images, batch=batch, **how)


_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def written(standing: "Tensor", draws: int) -> str:
    """On how many of the draws each image stands, a digit each, to be paired with others later.

    >>> import torch
    >>> written(torch.tensor([1.0, 0.5, 0.0]), 20)
    'ka0'
    """
    return "".join(_DIGITS[round(share * draws)] for share in standing.tolist())


def shares(digits: str, draws: int) -> "Tensor":
    """What was written, as shares of the draws."""
    import torch

    return torch.tensor([_DIGITS.index(digit) / draws for digit in digits])
