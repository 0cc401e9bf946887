"""The CNN under attack by who does not know it: block error rates over Eb/N0.

The attacker trains a substitute, an MLP of another seed, and sends what misleads it. Neither the victim's
weights nor its noise are known; and, where the blocks' beginning is not known either, the perturbation
arrives delayed by a random number of channel uses, or with a random sign. Beside it jamming of the same
power, the vector that the authors published, and, as a ceiling, who knows the victim and its noise.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.comms._links import (
    ARRIVALS,
    CLEAN,
    CNN,
    DIRECT,
    ITERATIVE,
    JAMMING,
    LEVELS,
    PRINCIPAL,
    SYNCHRONISED,
    VECTOR,
    Attack,
    Radio,
    arriving,
    at_psr,
    jamming,
    scaled,
    vector,
)
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.attacks.universal import Perturbation
    from trompe.evaluation.block_error import Interference
    from trompe.evaluation.records import Record

__all__ = [
    "BLIND",
    "CEILING",
    "LOST",
    "MORE",
    "PREPARED",
    "PUBLISHED",
    "READY",
    "SCALES",
    "SENT",
    "THREATS",
    "Config",
    "pictures",
    "render",
    "run",
]

CEILING, PREPARED = "direct, white box", f"{DIRECT}, prepared"
READY = f"{CEILING}, prepared"
SENT = (ITERATIVE, PRINCIPAL, DIRECT, VECTOR)
"""What is sent without knowing the victim."""
WORST = "random sign and shift in time"
LOST = f"{PRINCIPAL}, {WORST}"
MORE = "more errors than under jamming"
BLIND = "a fixed blind direction"
_SOURCE = (
    "Sadeghi & Larsson 2019, read off the authors' plots, +-20%; how the perturbation arrives there is not "
    "known to us, and the points stand beside both"
)
_ATTACK = {-6.0: ((8.0, 6e-3), (14.0, 2e-5)), -2.0: ((14.0, 3e-2),)}
_JAMMED = {-6.0: ((8.0, 2.6e-3), (14.0, 4e-6)), -2.0: ((14.0, 5e-3),)}
PUBLISHED = {
    f"PSR {psr:g} dB: {name}": (points[psr], _SOURCE)
    for psr in _ATTACK
    for name, points in ((PRINCIPAL, _ATTACK), (LOST, _ATTACK), (JAMMING, _JAMMED))
}
_SUBSTITUTE = "knows a substitute alone"
THREATS = {
    CLEAN: "nobody",
    JAMMING: "knows no more than the power it may spend; a fresh direction with every block",
    ITERATIVE: f"{_SUBSTITUTE}: one perturbation, of several runs the one that misleads it most",
    PRINCIPAL: f"{_SUBSTITUTE}: the first singular vector of its minimal perturbations",
    DIRECT: f"{_SUBSTITUTE}: the perturbation that raises its mean loss most",
    PREPARED: f"{_SUBSTITUTE}, and how the perturbation will arrive: the direct optimiser over all forms",
    READY: "knows the victim, its noise and how the perturbation will arrive",
    VECTOR: "what the authors' program sends, found on a model of theirs",
    BLIND: "knows no more than the power it may spend; the same direction with every block",
    CEILING: "knows the victim and its noise: the direct optimiser, anew for each Eb/N0 and power",
}


@dataclass(frozen=True)
class Config:
    """Who is attacked, what the attacker has, and how long is counted.

    Args:
        victim: the link.
        substitute: what the attacker has instead.
        points: the PSR of each set of curves, with the Eb/N0 at which forms of arrival are compared.
        levels: Eb/N0 in dB.
        blocks: sent at most for a point; `errors` are enough.
        learned: Eb/N0 at which the attacker hears its substitute.
        fitted: the Eb/N0 and PSR of Algorithm 1, as in the authors' program; `restarts` of it.
        steps, starts: of the direct optimiser.
        enough: errors on both sides that end a comparison.
        blind: fixed directions that are drawn without knowing anything; each meets `looks` blocks.
        seed: of the attackers' and the measurement's draws.
    """

    victim: Radio = CNN
    substitute: Radio = Radio(seed=1)  # noqa: RUF009
    points: tuple[tuple[float, float], ...] = ((-6.0, 8.0), (-2.0, 14.0))
    levels: tuple[float, ...] = LEVELS
    blocks: int = 1_000_000
    errors: int = 100
    learned: float = 8.5
    fitted: tuple[float, float] = (0.0, -6.0)
    restarts: int = 20
    steps: int = 200
    starts: int = 10
    enough: int = 400
    blind: int = 100
    looks: int = 50_000
    seed: int = 0


SCALES = {
    "smoke": Config(
        Radio("mlp-7-4", "tiny"), Radio("mlp-7-4", "tiny", 1), ((-6.0, 6.0),), (0.0, 6.0), 4000, 20,
        restarts=2, steps=10, starts=2, enough=20, blind=8, looks=1000,
    ),
    "cpu": Config(starts=4),
    "paper": Config(
        Radio("cnn-7-4", "published"), Radio("mlp-7-4", "published", 1), blocks=10_000_000,
        enough=4000,
    ),
}  # fmt: skip


def run(config: Config, store: Store) -> Iterator["Record"]:
    """For each power the curves, the forms of arrival, and who beats jamming."""
    store.total = 3 * len(config.points) + 1
    yield from store.cell(CLEAN, lambda: _counted(config, {CLEAN: None}))
    for psr, snr in config.points:
        yield from store.cell(
            f"PSR {psr:g} dB",
            lambda psr=psr: _counted(config, _curves(config, psr), psr),  # type: ignore[misc]
        )
        yield from store.cell(
            f"PSR {psr:g} dB, forms of arrival",
            lambda psr=psr, snr=snr: _arrivals(config, psr, snr),  # type: ignore[misc]
        )
        yield from store.cell(
            f"PSR {psr:g} dB, blind",
            lambda psr=psr, snr=snr: [_blind(config, psr, snr)],  # type: ignore[misc]
        )


def _told(config: Config, name: str, snr: float, psr: float | None, **about: str) -> dict[str, Any]:
    """What a record says of a condition."""
    extra = {"snr": snr} if psr is None else {"snr": snr, "psr": psr}
    threat = THREATS.get(name, THREATS[PRINCIPAL])
    attack = "" if psr is None else name
    who = str(config.victim)
    return {"subject": who, "attack": attack, "threat": threat, "extra": extra, "config": about}


def _counted(config: Config, met: "dict[str, Any]", psr: float | None = None) -> Iterator["Record"]:
    """A record for each point of each curve."""
    from trompe.evaluation.block_error import curves

    how = {"blocks": config.blocks, "errors": config.errors, "seed": config.seed}
    found = curves(config.victim.model, config.levels, met, **how)
    for name, points in found.items():
        curve = name if psr is None else at_psr(psr, name)
        for snr, count in points.items():
            yield count.record(**_told(config, name, snr, psr, curve=curve))


def _sent(config: Config, psr: float) -> "dict[str, Perturbation]":
    """What the substitute, and the authors' vector, come to at a power."""
    snr, at = config.fitted
    uses = config.victim.model.uses
    first = Attack(ITERATIVE, at, snr, restarts=config.restarts, seed=config.seed)
    second = Attack(PRINCIPAL, psr, config.learned, seed=config.seed)
    found = {
        ITERATIVE: scaled(first.on(config.substitute), psr, uses),
        PRINCIPAL: second.on(config.substitute),
        DIRECT: _direct(config, config.substitute, psr, config.learned),
    }
    return found | {VECTOR: vector(psr)}


def _direct(
    config: Config, on: Radio, psr: float, snr: float, arrival: str = SYNCHRONISED
) -> "Perturbation":
    how = {"steps": config.steps, "starts": config.starts, "seed": config.seed}
    return Attack(DIRECT, psr, snr, arrival, **how).on(on)


def _curves(config: Config, psr: float) -> "dict[str, Any]":
    """Everybody who is measured over all levels."""
    sent, uses = _sent(config, psr), config.victim.model.uses
    return {
        JAMMING: jamming(psr, uses),
        **sent,
        LOST: arriving(sent[PRINCIPAL], WORST, uses),
        CEILING: lambda snr: _direct(config, config.victim, psr, snr),
    }


def _arrivals(config: Config, psr: float, snr: float) -> Iterator["Record"]:
    """Rates under each form of arrival, and how far above jamming they are, block by block."""
    from trompe.evaluation.block_error import Condition, block_errors, compared

    jam: Interference = jamming(psr, config.victim.model.uses)
    conditions = {(JAMMING, SYNCHRONISED): Condition(snr, jam)}
    for form in ARRIVALS:
        for name, found in _arrived(config, psr, snr, form).items():
            conditions[name, form] = Condition(snr, found)
    how: dict[str, Any] = {"blocks": config.blocks, "errors": config.enough, "seed": config.seed}
    model = config.victim.model
    for (name, form), count in block_errors(model, conditions, **how).items():
        about = {"arrival": form} | _curve(name, form, psr)
        yield count.record(**_told(config, name, snr, psr, **about))
    for (name, form), met_so in conditions.items():
        if name != JAMMING:
            told = _told(config, name, snr, psr, arrival=form)
            yield compared(model, met_so, Condition(snr, jam), metric=MORE, **how, **told)


def _curve(name: str, form: str, psr: float) -> dict[str, str]:
    """The curve that a condition is a point of, if it is one of any."""
    if form == SYNCHRONISED:
        return {"curve": at_psr(psr, name)}
    return {"curve": at_psr(psr, LOST)} if (name, form) == (PRINCIPAL, WORST) else {}


def _arrived(config: Config, psr: float, snr: float, form: str) -> "dict[str, Perturbation]":
    """What is sent, as it arrives; and the direct optimiser prepared for that, on substitute and victim."""
    uses = config.victim.model.uses
    sent = _sent(config, psr) | {CEILING: _direct(config, config.victim, psr, snr)}
    found = {name: arriving(made, form, uses) for name, made in sent.items()}
    if form != SYNCHRONISED:
        found[PREPARED] = _direct(config, config.substitute, psr, config.learned, form)
        found[READY] = _direct(config, config.victim, psr, snr, form)
    return found


def _blind(config: Config, psr: float, snr: float) -> "Record":
    """The rates of fixed directions that were drawn blindly, and their mean."""
    import torch

    from trompe.attacks.universal import Perturbation
    from trompe.core import random
    from trompe.evaluation.block_error import Condition, block_errors
    from trompe.evaluation.records import Record

    model = config.victim.model
    with random.streams(random.seeds(config.seed, config.blind)):
        drawn = random.normal((config.blind, model.dimensions))
    met = {
        place: Condition(snr, scaled(Perturbation(row[None]), psr, model.uses))
        for place, row in enumerate(drawn)
    }
    counts = block_errors(
        model, met, blocks=config.looks, errors=2 * config.looks + model.messages, seed=config.seed
    )
    rates = sorted(count.rate for count in counts.values())
    told = _told(config, BLIND, snr, psr)
    return Record.mean(BLIND, torch.tensor(rates), **{**told, "config": {"rates": rates}})


def render(records: Iterable["Record"]) -> str:
    """Curves, published points, forms of arrival, and what follows."""
    from trompe.experiments.comms._black_page import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """The curves of each power."""
    from trompe.experiments.comms._black_page import pictured

    return pictured(list(records))
