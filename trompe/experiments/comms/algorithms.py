"""Algorithms 1 and 2 beside the direct optimiser, at every power.

Each is fitted anew for each link, power and Eb/N0, and knows them; Algorithm 1 also as the authors' program
has it, at 0 dB and PSR -6 dB, scaled to each power. All meet the same blocks: differences are paired.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.comms._links import (
    DIRECT,
    ITERATIVE,
    JAMMING,
    PRINCIPAL,
    UNEQUAL,
    Attack,
    Radio,
    jamming,
    scaled,
)
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.attacks.universal import Perturbation
    from trompe.evaluation.block_error import Interference
    from trompe.evaluation.records import Record

__all__ = [
    "AHEAD",
    "BEST",
    "ONE",
    "PROGRAM",
    "PUBLISHED",
    "SCALES",
    "Config",
    "pictures",
    "render",
    "run",
]

ONE, BEST = f"{ITERATIVE}, one run", f"{ITERATIVE}, best run"
PROGRAM = f"{BEST}, at 0 dB as in the program"
AHEAD = "block error rate of the direct optimiser, less another's"
_SOURCE = "Sadeghi & Larsson 2019, read off the authors' plots, +-20%"
PUBLISHED = {
    ("mlp-7-4", ONE, 8.0, -6.0): (1.9e-2, _SOURCE),
    ("mlp-7-4", JAMMING, 8.0, -6.0): (3.3e-3, _SOURCE),
    ("mlp-7-4", ONE, 14.0, -6.0): (7e-5, _SOURCE),
    ("mlp-7-4", JAMMING, 14.0, -6.0): (5e-6, _SOURCE),
}
"""By link, attack, Eb/N0 and PSR."""
_FITTED = (0.0, -6.0)
"""The Eb/N0 and PSR, in dB, at which the program runs Algorithm 1."""
THREATS = {
    JAMMING: "knows the power that it may spend; a fresh direction with every block",
    DIRECT: "knows the receiver, the noise and the timing; one perturbation for every message",
}


@dataclass(frozen=True)
class Config:
    """Who is attacked, how strongly, and how long is counted.

    Args:
        radios: the links, by name.
        schedule: of their training.
        points: Eb/N0 and PSR, in dB.
        restarts: runs of Algorithm 1, of which the best is kept.
        steps: of the direct optimiser, from each of its starts.
        blocks: sent at most under each condition; `errors` are enough.
        seed: of the trainings, the attackers and the noise.
    """

    radios: tuple[str, ...] = ("mlp-7-4", "cnn-7-4")
    schedule: str = "reduced"
    points: tuple[tuple[float, float], ...] = (
        *((8.0, psr) for psr in (-10.0, -8.0, -6.0, -4.0, -2.0, 0.0)),
        (14.0, -6.0),
    )
    restarts: int = 20
    steps: int = 200
    blocks: int = 1_000_000
    errors: int = 500
    seed: int = 0


SCALES = {
    "smoke": Config(("mlp-7-4",), "tiny", ((8.0, -6.0), (8.0, -2.0)), 2, 10, 20_000, 20),
    "cpu": Config(),
    "paper": Config(schedule="published", blocks=10_000_000, errors=2000),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """A cell for each link and point."""
    store.total = len(config.radios) * len(config.points)
    for name in config.radios:
        radio = Radio(name, config.schedule, config.seed)
        for at in config.points:
            yield from store.cell(
                f"{name} at {at[0]:g} dB, PSR {at[1]:g} dB",
                lambda radio=radio, at=at: _measured(config, radio, *at),  # type: ignore[misc]
            )


def _program(config: Config, radio: Radio, psr: float) -> "Perturbation":
    snr, at = _FITTED
    found = Attack(ITERATIVE, at, snr, restarts=config.restarts, seed=config.seed).on(radio)
    return scaled(found, psr, radio.model.uses)


def _attackers(
    config: Config, radio: Radio, snr: float, psr: float
) -> "dict[str, tuple[str, Interference]]":
    """Everybody's settings and interference; the direct optimiser is the last."""
    ways = {
        ONE: Attack(ITERATIVE, psr, snr, seed=config.seed),
        BEST: Attack(ITERATIVE, psr, snr, restarts=config.restarts, seed=config.seed),
        PRINCIPAL: Attack(PRINCIPAL, psr, snr, seed=config.seed),
        UNEQUAL: Attack(UNEQUAL, psr, snr, seed=config.seed),
        DIRECT: Attack(DIRECT, psr, snr, steps=config.steps, seed=config.seed),
    }
    jam = jamming(psr, radio.model.uses)
    return {
        JAMMING: (str(jam), jam),
        PROGRAM: (f"{ITERATIVE} at {_FITTED}", _program(config, radio, psr)),
        **{name: (str(way), way.on(radio)) for name, way in ways.items()},
    }


def _measured(config: Config, radio: Radio, snr: float, psr: float) -> Iterator["Record"]:
    """Block error rates under everybody, and by how much the direct optimiser is ahead of each."""
    from trompe.evaluation.block_error import Condition, block_errors, compared

    link, met = radio.model, _attackers(config, radio, snr, psr)
    conditions = {name: Condition(snr, sent) for name, (_, sent) in met.items()}
    counted: dict[str, Any] = {
        "blocks": config.blocks,
        "errors": config.errors,
        "seed": config.seed,
    }
    found = block_errors(link, conditions, **counted)
    for name, (settings, _) in met.items():
        about: dict[str, Any] = {
            "subject": str(radio),
            "attack": name,
            "threat": THREATS.get(name, THREATS[DIRECT]),
            "extra": {"snr": snr, "psr": psr},
            "config": {"settings": settings},
        }
        yield found[name].record(**about)
        if name != DIRECT:
            yield compared(
                link, conditions[DIRECT], conditions[name], metric=AHEAD, **counted, **about
            )


def render(records: Iterable["Record"]) -> str:
    """A table for each link, and whether the direct optimiser is the strongest at each point."""
    from trompe.experiments.comms._algorithms_page import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """Block error rates over the power, a picture for each link."""
    from trompe.experiments.comms._algorithms_page import pictured

    return pictured(list(records))
