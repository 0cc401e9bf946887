"""The attacker's ladder: who attacks a defended classifier, from who knows nothing to who knows all.

Each rung is one attack. What a defence is worth is what is left on its worst rung.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor, nn

from trompe.attacks.adaptive import (
    BPDA,
    EOT,
    Drawing,
    Purified,
    Still,
    StraightThrough,
    differentiable,
    repeats,
)
from trompe.attacks.base import Attack
from trompe.attacks.carlini_wagner import ProjectedCW
from trompe.attacks.detector_aware import DetectorAware, Watched
from trompe.attacks.gradient import APGD, APGDT
from trompe.attacks.latent_start import LatentStart, has_codes
from trompe.attacks.query import Square
from trompe.attacks.transfer import Transfer
from trompe.core import random
from trompe.core.domains import Images
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.core.protocols import Domain

__all__ = [
    "APGDT_RUNG",
    "APGD_RUNG",
    "AROUND",
    "CW_MEAN",
    "CW_RUNG",
    "DETECTORS",
    "EXAMINED",
    "LATENT_START",
    "MEAN",
    "OBLIVIOUS",
    "SQUARE",
    "SURROGATE",
    "ladder",
]

OBLIVIOUS = "oblivious"
SURROGATE = "surrogate"
CW_MEAN = "C&W through the mean"
MEAN = "through the mean"
CW_RUNG = "C&W"
APGD_RUNG = "APGD"
APGDT_RUNG = "APGD-T"
AROUND = "around"
LATENT_START = "latent start"
DETECTORS = "detector-aware"
SQUARE = "Square"

EXAMINED = (APGD_RUNG, APGDT_RUNG, LATENT_START, AROUND, MEAN, CW_RUNG)
"""Whose worst the doctor looks through: they follow gradients, and see more than its other attackers."""


def ladder(
    model: nn.Module,
    ball: Ball,
    *,
    domain: Domain | None = None,
    classifier: nn.Module | None = None,
    surrogate: nn.Module | None = None,
    example: Tensor | None = None,
    effort: float = 1.0,
    draws: int = 20,
) -> dict[str, Attack]:
    """The attacks on a defended classifier by their rung, from who knows nothing of it to who knows all.

    | rung | what its attacker does |
    |---|---|
    | oblivious | fools the classifier alone, and hopes |
    | surrogate | fools a defended stack of its own, and hopes |
    | C&W through the mean | switches the defence's draws off: the attack of Hlihor et al. 2020, c = 1 |
    | through the mean | the same with Auto-PGD |
    | C&W | differentiates what is deployed, averaged over its draws; c = 30 |
    | APGD, APGD-T | the same with Auto-PGD, away from the label and towards each other one |
    | around | takes the purifier for the identity (BPDA), or the bare classifier's derivative |
    | latent start | searches the codes first, then an input that is reconstructed as their image |
    | detector-aware | wants an answer that is wrong and accepted |
    | Square | only asks |

    A rung that the model does not allow is left out: no surrogate was given, there is no autoencoder, no
    detector, no gradient, nothing is drawn. The number of a defence is that of its worst rung (Carlini et
    al. 2019, "On evaluating adversarial robustness", section 3).

    Args:
        model: the defended classifier, in eval mode. One with `reconstruct` and `classifier` is `Purified`.
        ball: the perturbations allowed.
        domain: what an input is; images in [0, 1] unless told otherwise.
        classifier: what the oblivious attacker knows; by default `model.classifier`, where there is one.
        surrogate: a defended stack that the attacker trained.
        example: one input `(1, *)`; a look at it tells whether the model draws, and has a gradient. Without
            it, a model that has `deterministic()` is taken to draw, and a gradient to be there.
        effort: scales steps and queries.
        draws: of the model's randomness in each gradient, where it is random.

    Raises:
        UserError: an effort that is not above 0, or fewer than one draw.

    >>> from trompe.core.geometry import Ball
    >>> list(ladder(nn.Flatten().eval(), Ball(0.1), classifier=nn.Flatten().eval()))
    ['oblivious', 'C&W', 'APGD', 'APGD-T', 'around', 'Square']
    """
    if not effort > 0:
        raise UserError(f"effort must be above 0, got {effort}")
    if draws < 1:
        raise UserError(f"draws must be at least 1, got {draws}")
    bare = getattr(model, "classifier", None) if classifier is None else classifier
    where = Images() if domain is None else domain
    drawn = draws if _is_random(model, example) else None
    exact = example is None or differentiable(model, example[:1])
    return dict(_Rungs(model, ball, where, bare, surrogate, effort, drawn, exact).all())


@dataclass(frozen=True)
class _Rungs:
    """What the rungs are made from."""

    model: nn.Module
    ball: Ball
    domain: Domain
    bare: nn.Module | None
    surrogate: nn.Module | None
    effort: float
    draws: int | None  # of a random model
    exact: bool

    def all(self) -> Iterator[tuple[str, Attack]]:
        """The rungs that the model allows, in order."""
        yield from self._carried()
        if self.exact:
            yield from self._through()
        yield from self._around()
        if self.exact and has_codes(self.model):
            half = self._scaled(50)
            start = LatentStart(self.ball, steps=half, code_steps=half, domain=self.domain)
            yield LATENT_START, self._averaged(start)
        if self.exact and isinstance(self.model, Watched):
            aware = DetectorAware(self.ball, steps=self._scaled(100), domain=self.domain)
            yield DETECTORS, self._averaged(aware)
        if self.ball.norm != "L1":  # Square has no form there
            square = Square(self.ball, steps=self._scaled(5000), domain=self.domain)
            yield SQUARE, self._averaged(square)

    def _carried(self) -> Iterator[tuple[str, Attack]]:
        """Attacks on other models, carried to the end: what barely fools one moves no other."""
        whole = replace(self._apgd(), early_stop=False)
        if self.bare is not None:
            yield OBLIVIOUS, Transfer(whole).using(surrogate=self.bare)
        if self.surrogate is not None:
            yield SURROGATE, Transfer(self._averaged(whole)).using(surrogate=self.surrogate)

    def _through(self) -> Iterator[tuple[str, Attack]]:
        """Attacks along the exact gradient."""
        cw = ProjectedCW(self.ball, steps=self._scaled(100), domain=self.domain)
        if isinstance(self.model, Drawing):
            yield CW_MEAN, Still(replace(cw, early_stop=not self.draws))
            if self.draws:
                yield MEAN, Still(replace(self._apgd(), early_stop=False))
        yield CW_RUNG, self._averaged(replace(cw, c=30.0, early_stop=True))
        yield APGD_RUNG, self._averaged(self._apgd())
        towards = APGDT(self.ball, steps=self._scaled(100), domain=self.domain)
        yield APGDT_RUNG, self._averaged(towards)

    def _around(self) -> Iterator[tuple[str, Attack]]:
        """The value of the defence with another derivative."""
        if isinstance(self.model, Purified):
            yield AROUND, self._averaged(BPDA(self._apgd()))
        elif self.bare is not None:
            straight = StraightThrough(self.model, self.bare)
            yield AROUND, Transfer(self._averaged(self._apgd())).using(surrogate=straight)

    def _apgd(self) -> APGD:
        return APGD(self.ball, steps=self._scaled(100), domain=self.domain)

    def _averaged(self, attack: Attack) -> Attack:
        return EOT(attack, draws=self.draws) if self.draws else attack

    def _scaled(self, count: int) -> int:
        return max(5, round(count * self.effort))


def _is_random(model: nn.Module, example: Tensor | None) -> bool:
    if example is None:
        return isinstance(model, Drawing)
    return not repeats(model, example[:1], random.seeds(0, 1))
