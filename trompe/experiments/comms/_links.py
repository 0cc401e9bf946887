"""The links and the attackers that items share: each is trained once, each perturbation fitted once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trompe import zoo
    from trompe.attacks.arrival import Arrival, Jamming
    from trompe.attacks.universal import Perturbation
    from trompe.models import Link

__all__ = [
    "ARRIVALS",
    "CLEAN",
    "CNN",
    "DIRECT",
    "ITERATIVE",
    "JAMMING",
    "LEVELS",
    "MLP",
    "PRINCIPAL",
    "PUBLISHED_VECTOR",
    "UNEQUAL",
    "VECTOR",
    "Attack",
    "Radio",
    "arriving",
    "at_psr",
    "jamming",
    "recipe",
    "scaled",
    "vector",
]

CLEAN, JAMMING = "clean", "jamming"
ITERATIVE, PRINCIPAL, DIRECT = "Algorithm 1", "Algorithm 2", "direct"
UNEQUAL = f"{PRINCIPAL}, gradients at their own size"
VECTOR = "published vector"
LEVELS = tuple(float(snr) for snr in range(15))
"""Eb/N0 in dB, as in the paper's figures."""
SYNCHRONISED = "synchronised"
ARRIVALS = {
    SYNCHRONISED: (False, "none"),
    "random sign": (True, "none"),
    "random shift in time": (False, "time"),
    "random sign and shift in time": (True, "time"),
    "random sign and shift of entries": (True, "entries"),
}
"""How a perturbation may meet a block: with either sign or not, and delayed how."""
PUBLISHED_VECTOR = (
    -0.0920, -0.1824, -0.0057, 0.6053, 0.3794, -0.4173, -0.0979,
    0.0799, 0.0502, 0.0288, 0.2664, -0.2172, -0.1958, -0.3129,
)  # fmt: skip
"""Of Algorithm 2, from the authors' program; its length is one. The first seven are in phase."""


@dataclass(frozen=True)
class Radio:
    """A link by its name: an autoencoder of the zoo, or Hamming's (7, 4) code.

    Args:
        name: such as `"mlp-7-4"`; or `"hamming-ml"`, `"hamming-hard"`, which need no training.
        schedule: `"tiny"` (for tests), `"reduced"` or `"published"`.
        seed: of the training.
        activation, fading: as in `trompe.models.CommsConfig`; of an autoencoder.
    """

    name: str = "mlp-7-4"
    schedule: str = "reduced"
    seed: int = 0
    activation: str = "elu"
    fading: str = "none"

    def __str__(self) -> str:
        parts = [self.name]
        parts += [self.activation.replace("relu", "ReLU")] * (self.activation != "elu")
        parts += [f"{self.fading.capitalize()} fading"] * (self.fading != "none")
        parts += [f"seed {self.seed}"] * (self.seed != 0)
        return ", ".join(parts)

    @property
    def model(self) -> "Link":
        """The link, trained and in eval mode."""
        return _model(self)


MLP, CNN = Radio("mlp-7-4"), Radio("cnn-7-4")


@lru_cache(maxsize=16)
def _model(how: Radio) -> "Link":
    from trompe import zoo
    from trompe.models import HAMMING_7_4, BlockCode

    if how.name.startswith("hamming-"):
        return BlockCode(HAMMING_7_4, how.name.removeprefix("hamming-")).eval()  # type: ignore[arg-type]
    return zoo.radio(recipe(how), progress=False)


def recipe(how: Radio) -> "zoo.Radio":
    """How the zoo makes an autoencoder."""
    from trompe import zoo
    from trompe.zoo import radios

    stages = {
        "tiny": (radios.Stage(250, 1e-2, 250),),
        "reduced": radios.REDUCED,
        "published": radios.PUBLISHED,
    }[how.schedule]
    made = zoo.radio_named(how.name, stages=stages, seed=how.seed)
    kind = replace(made.model, activation=how.activation, fading=how.fading)  # type: ignore[arg-type]
    return replace(made, model=kind)


@dataclass(frozen=True)
class Attack:
    """How a perturbation is found, and for which noise and power.

    Args:
        how: `ITERATIVE`, `PRINCIPAL`, `UNEQUAL` or `DIRECT`.
        psr: power of the perturbation over the block's, in dB.
        snr: Eb/N0 in dB at which it is learned.
        arrival: a key of `ARRIVALS`: what it is prepared for; `DIRECT` alone can be prepared.
        steps, starts: of `DIRECT`, which learns from several starts and keeps the best.
        restarts: of `ITERATIVE`; one as published, or the best of several.
        size: messages in a batch.
        seed: of messages, noise and starts.
        sharpness: of the goal of `DIRECT`, see `trompe.attacks.goals.misread`.
    """

    how: str
    psr: float
    snr: float
    arrival: str = SYNCHRONISED
    steps: int = 200
    starts: int = 10
    restarts: int = 1
    size: int = 300
    seed: int = 0
    sharpness: float = 1.0

    def on(self, victim: Radio) -> "Perturbation":
        """The perturbation; it arrives as it was prepared to."""
        return _fitted(self, victim)


@lru_cache(maxsize=512)
def _fitted(attack: Attack, victim: Radio) -> "Perturbation":
    from trompe.attacks.goals import misread
    from trompe.attacks.universal_search import IterativeUniversal, PrincipalUniversal, direct
    from trompe.core.geometry import Ball
    from trompe.data import Messages, Stream
    from trompe.models import radius_of

    model = victim.model
    ball = Ball(radius_of(attack.psr, model.uses), "L2")
    searches: dict[str, Callable[[], Any]] = {
        ITERATIVE: lambda: IterativeUniversal(ball, restarts=attack.restarts),
        PRINCIPAL: lambda: PrincipalUniversal(ball),
        UNEQUAL: lambda: PrincipalUniversal(ball, normalised=False),
        DIRECT: lambda: direct(
            ball,
            steps=attack.steps,
            restarts=attack.starts,
            arrival=_arrival(attack.arrival, model.uses),
            goal=misread(attack.sharpness),
        ),
    }
    batches = Stream(Messages(model.bits), size=attack.size, seed=attack.seed)
    found: Perturbation = searches[attack.how]().fit(
        model.receiver, batches, head=model.heard(attack.snr), seed=attack.seed
    )
    return scaled(found, attack.psr, model.uses)


def scaled(found: "Perturbation", psr: float, uses: int) -> "Perturbation":
    """The same direction at exactly this power."""
    from trompe.attacks.universal import Perturbation
    from trompe.models import radius_of

    delta = found.delta.detach()
    return Perturbation(
        delta * (radius_of(psr, uses) / delta.norm()), domain=found.domain, arrival=found.arrival
    ).eval()


def vector(psr: float) -> "Perturbation":
    """The published vector at a power."""
    import torch

    from trompe.attacks.universal import Perturbation

    return scaled(Perturbation(torch.tensor([PUBLISHED_VECTOR])), psr, len(PUBLISHED_VECTOR) // 2)


def _arrival(name: str, uses: int) -> "Arrival":
    from trompe.attacks.arrival import Arrival

    sign, shift = ARRIVALS[name]
    return Arrival(sign, shift, uses)  # type: ignore[arg-type]


def arriving(found: "Perturbation", name: str, uses: int) -> "Perturbation":
    """The same perturbation, arriving as `ARRIVALS` names it."""
    from trompe.attacks.universal import Perturbation

    return Perturbation(
        found.delta.detach(), domain=found.domain, arrival=_arrival(name, uses)
    ).eval()


def at_psr(psr: float, name: str) -> str:
    """What a curve is called that was measured at a power.

    >>> at_psr(-6.0, "jamming")
    'PSR -6 dB: jamming'
    """
    return f"PSR {psr:g} dB: {name}"


def jamming(psr: float, uses: int) -> "Jamming":
    """Jamming of the same power."""
    from trompe.attacks.arrival import Jamming
    from trompe.models import radius_of

    return Jamming(radius_of(psr, uses))
