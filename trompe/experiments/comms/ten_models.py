"""Averages over trainings: how far models differ, and what one is worth against another.

The same radio from several seeds. Each is attacked by who knows it and by jamming; and by a perturbation that
was made for a model of another seed: black box. One pair of models may be lucky; what counts is the mean over
pairs, and how far they spread. Every model and every pair is a cell of its own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.comms._links import (
    CLEAN,
    DIRECT,
    JAMMING,
    PRINCIPAL,
    Attack,
    Radio,
    jamming,
)
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = [
    "CROSSED",
    "MORE",
    "PUBLISHED",
    "SCALES",
    "WHITE",
    "Config",
    "pictures",
    "render",
    "run",
]

WHITE = "white box"
CROSSED = (PRINCIPAL, DIRECT)
"""How a perturbation is made on a substitute."""
MORE = "more errors than under jamming"
_SOURCE = "Sadeghi & Larsson 2019, read off the authors' plots of one CNN, +-20%"
PUBLISHED = {(8.0, -6.0): (6e-3, 2.6e-3, _SOURCE), (14.0, -2.0): (3e-2, 5e-3, _SOURCE)}
"""By Eb/N0 and PSR: a CNN's block error rate under the black-box attack, and under jamming."""
THREATS = {
    CLEAN: "nobody",
    JAMMING: "knows the power that it may spend; a fresh direction with every block",
    WHITE: "knows the receiver and the noise: the direct optimiser's perturbation for every message",
    PRINCIPAL: "knows an MLP of another seed: the first singular vector of its minimal perturbations",
    DIRECT: "knows an MLP of another seed: the perturbation that raises its mean loss most",
}


@dataclass(frozen=True)
class Config:
    """How many models, and where they are attacked.

    Args:
        mlps, cnns: how many of each, of seeds from 0; an MLP attacks every model of another seed.
        schedule: of the trainings.
        points: Eb/N0 and PSR, in dB; curves are at the first one's PSR.
        levels: Eb/N0 of the curves.
        learned: Eb/N0 at which a substitute is listened to.
        steps: of the direct optimiser, from each of its starts.
        blocks: sent at most under each condition; `errors` are enough.
        seed: of the attackers and the noise.
    """

    mlps: int = 3
    cnns: int = 1
    schedule: str = "reduced"
    points: tuple[tuple[float, float], ...] = ((8.0, -6.0), (14.0, -2.0))
    levels: tuple[float, ...] = tuple(map(float, range(11)))
    learned: float = 8.5
    steps: int = 200
    blocks: int = 1_000_000
    errors: int = 200
    seed: int = 0

    @property
    def mlp(self) -> list[Radio]:
        """The MLPs."""
        return [Radio("mlp-7-4", self.schedule, seed) for seed in range(self.mlps)]

    @property
    def victims(self) -> list[Radio]:
        """All models."""
        return self.mlp + [Radio("cnn-7-4", self.schedule, seed) for seed in range(self.cnns)]


SCALES = {
    "smoke": Config(2, 0, "tiny", ((6.0, -2.0),), (2.0, 6.0), steps=10, blocks=16_000, errors=20),
    "cpu": Config(),
    "paper": Config(10, 1, "published", blocks=10_000_000, errors=1000),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Each model alone, then from each substitute."""
    made = {v: [s for s in config.mlp if s.seed != v.seed] for v in config.victims}
    store.total = len(made) + sum(map(len, made.values()))
    for victim, substitutes in made.items():
        yield from store.cell(str(victim), lambda victim=victim: _alone(config, victim))  # type: ignore[misc]
        for other in substitutes:
            yield from store.cell(
                f"{victim} from {other}",
                lambda other=other, victim=victim: _crossed(config, other, victim),  # type: ignore[misc]
            )


def _counting(config: Config) -> dict[str, Any]:
    return {"blocks": config.blocks, "errors": config.errors, "seed": config.seed}


def _alone(config: Config, radio: Radio) -> Iterator["Record"]:
    """A model at each point: clean, jammed, attacked by who knows it; and the three over Eb/N0."""
    from trompe.evaluation.block_error import Condition, block_errors, curves

    link, told = radio.model, {"model": radio.name}
    for snr, psr in config.points:
        white = Attack(DIRECT, psr, snr, steps=config.steps, seed=config.seed).on(radio)
        met: dict[str, Any] = {CLEAN: None, JAMMING: jamming(psr, link.uses), WHITE: white}
        at = {name: Condition(snr, sent) for name, sent in met.items()}
        for name, count in block_errors(link, at, **_counting(config)).items():
            yield count.record(
                subject=str(radio), attack=name, threat=THREATS[name], config=told,
                extra={"snr": snr, "psr": psr},
            )  # fmt: skip
        if (snr, psr) == config.points[0]:
            found = curves(link, config.levels, met, **_counting(config))
            for name, points in found.items():
                for level, count in points.items():
                    yield count.record(
                        subject=str(radio), attack=name, threat=THREATS[name],
                        extra={"snr": level, "psr": psr}, config={**told, "curve": name},
                    )  # fmt: skip


def _crossed(config: Config, substitute: Radio, victim: Radio) -> Iterator["Record"]:
    """A model under what was made for another: its rate, and how much more than jamming."""
    from trompe.evaluation.block_error import Condition, block_errors, compared

    link = victim.model
    for snr, psr in config.points:
        met: dict[str, Condition] = {JAMMING: Condition(snr, jamming(psr, link.uses))}
        for how in CROSSED:
            made = Attack(how, psr, config.learned, steps=config.steps, seed=config.seed)
            met[how] = Condition(snr, made.on(substitute))
        counted = block_errors(link, {how: met[how] for how in CROSSED}, **_counting(config))
        for how, count in counted.items():
            about: dict[str, Any] = {
                "subject": str(victim),
                "attack": how,
                "threat": THREATS[how],
                "extra": {"snr": snr, "psr": psr},
                "config": {"model": victim.name, "substitute": str(substitute)},
            }
            yield count.record(**about)
            yield compared(link, met[how], met[JAMMING], metric=MORE, **_counting(config), **about)


def render(records: Iterable["Record"]) -> str:
    """Means over models with their spread, every pair, and whether the black box beats jamming on average."""
    from trompe.experiments.comms._models_page import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """Means over models over Eb/N0, with the range from the best model to the worst."""
    from trompe.experiments.comms._models_page import pictured

    return pictured(list(records))
