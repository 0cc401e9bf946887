"""Defences of a radio link, each under the attacker who knows it.

Training against perturbations of a power: shared by many messages, or a step of the gradient for each block;
and against random directions, which tells what the gradient is good for. A receiver that averages over
rotations that everybody knows. Rotations that both ends draw from a secret key. Every defence is measured
without an attack, under jamming, under what was fitted to the undefended link, and under the worst of what
is fitted to the defence itself or carried over: the direct optimiser from several starts, and both published
algorithms.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

from trompe.experiments.comms._links import (
    CLEAN,
    DIRECT,
    ITERATIVE,
    JAMMING,
    MLP,
    PRINCIPAL,
    Attack,
    Radio,
    at_psr,
    jamming,
    recipe,
    scaled,
)
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.attacks.universal import Perturbation
    from trompe.evaluation.records import Record
    from trompe.models import Link

__all__ = [
    "ADAPTIVE",
    "BANK",
    "BLOCK",
    "BOTH",
    "CONTROL",
    "KEYED",
    "KINDS",
    "PHASES",
    "PLAIN",
    "PUBLISHED",
    "SCALES",
    "THREATS",
    "TILTS",
    "TRANSFERRED",
    "Config",
    "Defence",
    "pictures",
    "render",
    "run",
]

PLAIN, KEYED, BOTH = "undefended", "keyed", "trained (shared) and keyed"
PHASES, TILTS = "averaging (phases)", "averaging (rotations)"
BANK, BLOCK, CONTROL = "trained (shared)", "trained (each block)", "trained (jamming)"
TRAINED = {BANK: "bank", BLOCK: "block", CONTROL: "jamming", BOTH: "bank"}
KINDS = (PLAIN, BANK, BLOCK, CONTROL, PHASES, TILTS, KEYED, BOTH)
TRANSFERRED, ADAPTIVE = "transferred", "adaptive"
THREATS = {
    CLEAN: "nobody",
    JAMMING: "knows the power that it may spend; a fresh direction with every block",
    TRANSFERRED: "knows the undefended link and the noise, and nothing of the defence",
    ADAPTIVE: "knows both links and the noise, all but the key: the worst of all that is tried",
}
PUBLISHED: dict[str, tuple[float, str]] = {}
"""The paper has no defences."""


@dataclass(frozen=True)
class Defence:
    """A radio and what defends it.

    Args:
        kind: one of `KINDS`.
        radio: the undefended link.
        psr: in dB, of training.
        turns: rotations that are averaged over.
        phase: how far they turn at most, all channel uses alike, in radians.
        tilt: about how far they turn in random directions.
        secret: the seed of the key.
    """

    kind: str = PLAIN
    radio: Radio = MLP
    psr: float = -6.0
    turns: int = 4
    phase: float = 0.6
    tilt: float = 0.3
    secret: int = 20_19

    @property
    def model(self) -> "Link":
        """The link as the attacker meets it; of a keyed one without its key."""
        return _model(self)

    @property
    def keyed(self) -> bool:
        """Whether a perturbation arrives in a direction that nobody chose."""
        return self.kind in (KEYED, BOTH)

    def met(self, found: "Perturbation", seed: int) -> "Perturbation":
        """The perturbation as it arrives, under the key of a seed."""
        from trompe.attacks.universal import Perturbation
        from trompe.defenses import Key

        if not self.keyed:
            return found
        return Perturbation(found.delta.detach(), arrival=Key(seed)).eval()


@lru_cache(maxsize=16)
def _model(how: Defence) -> "Link":
    import torch

    from trompe import zoo
    from trompe.defenses import Averaged, phases, rotations
    from trompe.models.link_adapter import adapt_link

    if how.kind in TRAINED:
        made = replace(recipe(how.radio), psr=how.psr, against=TRAINED[how.kind])  # type: ignore[arg-type]
        return zoo.radio(made, progress=False)
    link = how.radio.model
    if how.kind == PHASES:
        angles = torch.linspace(-how.phase, how.phase, how.turns)
        return adapt_link(Averaged(link, phases(angles, link.uses)))
    if how.kind == TILTS:
        return adapt_link(Averaged(link, rotations(how.turns, link.dimensions, angle=how.tilt)))
    return link


@dataclass(frozen=True)
class Config:
    """What is defended, how, and against whom.

    Args:
        defences: the undefended link among them.
        psrs: powers of the perturbation, in dB over the block's.
        levels: Eb/N0 in dB.
        judged: Eb/N0 at which attackers are fitted and defences compared block by block.
        quiet: Eb/N0 at which they are compared without an attack.
        steps, restarts: of the direct optimiser.
        sharpnesses: of its goal: of what a defended link is surest of, it is not surely right.
        blocks: sent at most for a point; `errors` are enough.
        enough: errors that end a comparison.
        seed: of the attackers' and the measurement's draws.
    """

    defences: tuple[Defence, ...] = tuple(Defence(kind) for kind in KINDS)
    psrs: tuple[float, ...] = (-6.0, -2.0)
    levels: tuple[float, ...] = (2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0)
    judged: float = 8.0
    quiet: float = 6.0
    steps: int = 400
    restarts: int = 2
    sharpnesses: tuple[float, ...] = (1.0, 4.0)
    blocks: int = 2_000_000
    errors: int = 200
    enough: int = 2000
    seed: int = 0


_TINY = Radio(schedule="tiny")
SCALES = {
    "smoke": Config(
        tuple(Defence(kind, _TINY, turns=2) for kind in (PLAIN, BANK, PHASES, KEYED)),
        (-6.0,), (4.0, 8.0), quiet=4.0, steps=10, restarts=1, blocks=8000, errors=20, enough=20,
    ),
    "cpu": Config(),
    "paper": Config(
        tuple(Defence(kind, Radio(schedule="published"), turns=32) for kind in KINDS),
        levels=tuple(map(float, range(15))), restarts=10, blocks=20_000_000, enough=10_000,
    ),
}  # fmt: skip


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Each defence: its curves, and what it is worth block by block."""
    store.total = len(config.defences)
    for defence in config.defences:
        yield from store.cell(defence.kind, lambda defence=defence: _measured(config, defence))  # type: ignore[misc]


def _measured(config: Config, defence: Defence) -> Iterator["Record"]:
    yield from _curves(config, defence, None, {CLEAN: None})
    for psr in config.psrs:
        yield from _curves(config, defence, psr, _attackers(config, defence, psr))
    if defence.kind != PLAIN:
        yield from _compared(config, defence)


def _curves(
    config: Config, defence: Defence, psr: float | None, met: "dict[str, Any]"
) -> Iterator["Record"]:
    from trompe.evaluation.block_error import curves

    how = {"blocks": config.blocks, "errors": config.errors, "seed": config.seed}
    for name, points in curves(defence.model, config.levels, met, **how).items():
        for snr, count in points.items():
            at = {"snr": snr} if psr is None else {"snr": snr, "psr": psr}
            known = {} if name != ADAPTIVE or psr is None else _tried(config, defence, psr)[1]
            yield count.record(
                subject=defence.kind, attack="" if psr is None else name, threat=THREATS[name],
                extra=at, config={"curve": curve(defence.kind, psr, name), "tried": known},
            )  # fmt: skip


def curve(kind: str, psr: float | None, name: str) -> str:
    """What a curve of a defence is called.

    >>> curve("keyed", -6.0, "jamming")
    'keyed, PSR -6 dB: jamming'
    """
    return f"{kind}, {name if psr is None else at_psr(psr, name)}"


# --------------------------------------------------------------------------- attackers


def _attackers(config: Config, defence: Defence, psr: float) -> "dict[str, Any]":
    """Everybody who attacks a defence with a power."""
    plain = replace(defence, kind=PLAIN)
    met = {JAMMING: jamming(psr, defence.model.uses)}
    if defence.kind != PLAIN:
        met[TRANSFERRED] = defence.met(_tried(config, plain, psr)[0], defence.secret)  # type: ignore[assignment]
    met[ADAPTIVE] = defence.met(_tried(config, defence, psr)[0], defence.secret)  # type: ignore[assignment]
    return met


@lru_cache(maxsize=64)
def _tried(config: Config, defence: Defence, psr: float) -> "tuple[Perturbation, dict[str, float]]":
    """The worst perturbation for a defence, by name of who found it, and the error rates of all.

    They are compared on noise, and under a key, that nobody is measured with.
    """
    from trompe.evaluation.block_error import Condition, block_errors

    tried = dict(_candidates(config, defence, psr))
    met = {
        name: Condition(config.judged, defence.met(found, config.seed + 1))
        for name, found in tried.items()
    }
    how = {"blocks": max(1, config.blocks // 10), "errors": config.enough, "seed": config.seed + 1}
    rates = {name: c.rate for name, c in block_errors(defence.model, met, **how).items()}
    return tried[max(rates, key=rates.__getitem__)], rates


def _candidates(
    config: Config, defence: Defence, psr: float
) -> "Iterator[tuple[str, Perturbation]]":
    how = Attack(DIRECT, psr, config.judged, steps=config.steps, seed=config.seed)
    for number, sharpness in product(range(config.restarts), config.sharpnesses):
        start = replace(how, seed=config.seed + number, sharpness=sharpness)
        found = _under_key(start, defence) if defence.keyed else start.on(defence)  # type: ignore[arg-type]
        name = f"{DIRECT}, start {number + 1}"
        yield name if sharpness == 1 else f"{name}, {sharpness:g} times as sharp", found
    for name in (ITERATIVE, PRINCIPAL):
        yield name, replace(how, how=name).on(defence)  # type: ignore[arg-type]
    if defence.kind != PLAIN:
        yield TRANSFERRED, _tried(config, replace(defence, kind=PLAIN), psr)[0]


def _under_key(attack: Attack, defence: Defence) -> "Perturbation":
    """The direct optimiser of who knows that there is a key, and prepares for one of his own."""
    from trompe.attacks.goals import misread
    from trompe.attacks.universal import Universal
    from trompe.core.geometry import Ball
    from trompe.data import Messages, Stream
    from trompe.defenses import Key
    from trompe.models import radius_of

    link = defence.model
    ball, own = Ball(radius_of(attack.psr, link.uses), "L2"), Key(attack.seed + 1)
    goal = misread(attack.sharpness)
    how = Universal(ball, goal=goal, steps=attack.steps, arrival=own)
    batches = Stream(Messages(link.bits), size=attack.size, seed=attack.seed)
    found = how.fit(link.receiver, batches, head=link.heard(attack.snr), seed=attack.seed)
    return scaled(found, attack.psr, link.uses)


# --------------------------------------------------------------------------- comparisons


def _compared(config: Config, defence: Defence) -> Iterator["Record"]:
    """Block by block on the same noise: defended less undefended, and the adaptive attack less others."""
    from trompe.evaluation.block_error import Condition, compared

    plain, snr = replace(defence, kind=PLAIN), config.judged
    about: dict[str, Any] = {"subject": defence.kind, "seed": config.seed}
    about |= {"blocks": config.blocks, "errors": config.enough}
    quiet = Condition(config.quiet)
    yield compared(
        defence.model, quiet, quiet, against=plain.model, **about, threat=THREATS[CLEAN],
        extra={"snr": config.quiet}, config={"than": PLAIN},
    )  # fmt: skip
    for psr in config.psrs:
        met = {name: Condition(snr, who) for name, who in _attackers(config, defence, psr).items()}
        there = Condition(snr, _attackers(config, plain, psr)[ADAPTIVE])
        about |= {"attack": ADAPTIVE, "threat": THREATS[ADAPTIVE]}
        about["extra"] = {"snr": snr, "psr": psr}
        yield compared(
            defence.model, met[ADAPTIVE], there, against=plain.model, **about,
            config={"than": PLAIN},
        )  # fmt: skip
        for name in (TRANSFERRED, JAMMING):
            yield compared(defence.model, met[ADAPTIVE], met[name], **about, config={"than": name})


def render(records: Iterable["Record"]) -> str:
    """What each defence leaves to each attacker, what follows, and every number."""
    from trompe.experiments.comms._defenses_page import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """Every defence without an attack, and under the attacker who knows it."""
    from trompe.experiments.comms._defenses_page import pictured

    return pictured(list(records))
