"""Radios: autoencoders for communication, trained in stages on messages that never come back."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from trompe.attacks.arrival import Jamming
from trompe.attacks.gradient import FGSM
from trompe.core import random
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.core.protocols import Attack, Step
from trompe.core.steps import constant
from trompe.data import Messages, Stream
from trompe.defenses import Bank, LinkStep
from trompe.models import CommsAutoencoder, CommsConfig, radius_of
from trompe.training import ClassifierStep, train
from trompe.zoo.store import keep

__all__ = ["PUBLISHED", "RADIOS", "REDUCED", "Radio", "Stage", "is_radio", "radio", "radio_named"]

RADIOS = ("mlp-7-4", "cnn-7-4")
"""The radios of Sadeghi & Larsson; any other architecture, n and k are trained by their name, too."""
SNR = 5.0  # dB, where a card's error rate is measured
Opponent = Literal["block", "bank", "jamming"]
_NAME = re.compile(r"(?P<architecture>mlp|cnn)-(?P<n>-?\d+)-(?P<k>-?\d+)")


class Stage(NamedTuple):
    """Adam at one learning rate, for so many steps on batches of so many messages."""

    batch: int
    lr: float
    steps: int


PUBLISHED = (
    Stage(1000, 1e-3, 1000),
    Stage(1000, 1e-4, 10_000),
    Stage(10_000, 1e-4, 10_000),
    Stage(10_000, 1e-5, 10_000),
)
"""The schedule of Sadeghi & Larsson's program."""
REDUCED = (Stage(1000, 1e-3, 4000), Stage(1000, 1e-4, 4000))
"""A quarter of its steps and a twenty-sixth of its messages."""


@dataclass(frozen=True)
class Radio:
    """How a radio is made.

    Args:
        model: its configuration.
        stages: of the training.
        seed: of the initial weights, the messages and the noise.
        psr: of adversarial training, in dB, which takes up the radio where its training ends and goes through
            the same stages again; None is none.
        against: what it meets there: `"bank"`, perturbations that many messages share; `"block"`, a step of
            the gradient for each block, under which messages may merge for good where the radius comes near
            to half the distance of codewords; `"jamming"`, random directions, a control.

    Raises:
        UserError: a training of no stages, or against nobody that is known.

    >>> Radio().name
    'mlp-7-4'
    """

    model: CommsConfig = field(default_factory=CommsConfig)
    stages: tuple[Stage, ...] = REDUCED
    seed: int = 0
    psr: float | None = None
    against: Opponent = "bank"

    def __post_init__(self) -> None:
        if not self.stages:
            raise UserError("a radio is trained in at least one stage")
        if self.against not in get_args(Opponent):
            raise UserError(
                f"against must be one of {', '.join(get_args(Opponent))}, got {self.against!r}"
            )

    @property
    def name(self) -> str:
        """Architecture, n and k, and what it was trained against."""
        name = f"{self.model.architecture}-{self.model.n}-{self.model.k}"
        return name if self.psr is None else f"{name}-{self.against}{self.psr:g}"

    def settings(self) -> dict[str, Any]:
        """What the weights depend on."""
        plain = {"radio": self.model, "stages": self.stages, "seed": self.seed}
        return plain if self.psr is None else {**plain, "psr": self.psr, "against": self.against}

    def step(self, model: CommsAutoencoder, lr: float) -> Step:
        """An update of the radio."""
        if self.psr is None:
            return ClassifierStep(model, lr, schedule=constant)
        return LinkStep(model, self._opponent(self.psr), lr, schedule=constant)

    def _opponent(self, psr: float) -> Attack:
        ball = Ball(radius_of(psr, self.model.n), "L2")
        if self.against == "bank":
            return Bank(ball, (2 * self.model.n,), seed=self.seed)
        if self.against == "jamming":
            return _jamming(ball.eps)
        return FGSM(ball, domain=Vectors(), early_stop=False)


def _jamming(radius: float) -> Attack:
    """Jamming as an attack, which looks at nothing."""
    jam = Jamming(radius)

    def attack(
        model: nn.Module, x: Tensor, y: Tensor | None = None, *, seeds: Tensor | None = None
    ) -> Tensor:
        return jam(x)  # type: ignore[no-any-return]

    return attack


def is_radio(name: str) -> bool:
    """Whether a name has the form of a radio's.

    >>> is_radio("mlp-2-8"), is_radio("digits-mlp")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


def radio_named(name: str, **settings: Any) -> Radio:
    """The recipe of a name such as `mlp-7-4`: architecture, channel uses, bits.

    Raises:
        UserError: a name of another form, or numbers out of range.

    >>> radio_named("cnn-4-6").model.k
    6
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise UserError(
            f"unknown radio {name!r}; write mlp-N-K or cnn-N-K, K bits in N channel uses, as in mlp-7-4"
        )
    n, k = int(found["n"]), int(found["k"])
    return Radio(CommsConfig(n, k, found["architecture"]), **settings)  # type: ignore[arg-type]


def radio(how: Radio, *, root: Path | str | None = None, progress: bool = True) -> CommsAutoencoder:
    """The trained radio, in eval mode; trained first if it is not there, and resumed if it was cut off."""
    model = CommsAutoencoder(how.model, seed=how.seed)

    def fit(folder: Path) -> dict[str, Any]:
        if how.psr is not None:
            plain = replace(how, psr=None)
            model.load_state_dict(radio(plain, root=root, progress=progress).state_dict())
        ended = [
            train(
                how.step(model, stage.lr),
                Stream(Messages(how.model.k), stage.batch, seed=10 * how.seed + number),
                steps=stage.steps,
                seed=10 * how.seed + number,
                directory=folder / str(number),
                log=False,
                progress=progress,
                title=f"{how.name}, stage {number + 1} of {len(how.stages)}",
            )
            for number, stage in enumerate(how.stages)
        ]
        return {
            "metrics": measure(model.eval()),
            "steps": sum(stage.total for stage in ended),
            "seconds": round(sum(stage.seconds for stage in ended), 3),
        }

    keep(how.name, how.settings(), model, fit, root=root)
    return model


def measure(model: CommsAutoencoder, batches: int = 10, size: int = 10_000) -> dict[str, float]:
    """For the card: the block error rate at 5 dB without an attacker, and of how many blocks."""
    heard = model.heard(SNR)
    errors = 0
    with torch.no_grad():
        for number, (s, _) in zip(range(batches), Stream(Messages(model.bits), size), strict=False):
            with random.streams(random.seeds(0, size), number):
                errors += int((model.receive(heard(s)).argmax(1) != s).sum())
    return {"block_error_rate_at_5_dB": errors / (batches * size), "n": batches * size}
