"""The MLP under attack by who knows it: block error rates over Eb/N0.

One perturbation for every message, at three powers, beside jamming of the same power. Algorithm 1 is run
once, at the settings of the authors' program, and scaled to each power: one run, as published, and the best
of several. The direct optimiser is fitted anew for each power and each Eb/N0: it knows the noise too. The
clean link has Hamming's (7, 4) code beside it. A curve ends with its first point of too few errors.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from trompe.experiments.comms._links import (
    CLEAN,
    DIRECT,
    ITERATIVE,
    JAMMING,
    LEVELS,
    MLP,
    Attack,
    Radio,
    at_psr,
    jamming,
    scaled,
)
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.attacks.universal import Perturbation
    from trompe.evaluation.block_error import Count, Interference
    from trompe.evaluation.records import Record

__all__ = [
    "BEST",
    "CODES",
    "ONE",
    "PUBLISHED",
    "RUNS",
    "SCALES",
    "THREATS",
    "Config",
    "pictures",
    "render",
    "run",
]

ONE, BEST = f"{ITERATIVE}, one run", f"{ITERATIVE}, best run"
RUNS = "block error rate over single runs"
CODES = {"Hamming ML": "hamming-ml", "Hamming hard": "hamming-hard"}
_SOURCE = "Sadeghi & Larsson 2019, read off the authors' plots, +-20%"
PUBLISHED = {
    CLEAN: (((5.0, 5e-3), (7.0, 2.4e-4), (9.0, 2e-6)), _SOURCE),
    "Hamming ML": (((5.0, 3.6e-3), (7.0, 1.4e-4)), _SOURCE),
    f"PSR -2 dB: {ONE}": (((14.0, 1.4e-1),), _SOURCE),
    f"PSR -2 dB: {JAMMING}": (((14.0, 8e-3),), _SOURCE),
    f"PSR -6 dB: {ONE}": (((8.0, 1.9e-2), (14.0, 7e-5)), _SOURCE),
    f"PSR -6 dB: {JAMMING}": (((8.0, 3.3e-3), (14.0, 5e-6)), _SOURCE),
    f"PSR -10 dB: {ONE}": (((10.0, 1e-4),), _SOURCE),
    f"PSR -10 dB: {JAMMING}": (((10.0, 1.4e-5),), _SOURCE),
}
_FITTED = (
    "one perturbation for every message, found once from few noisy blocks, scaled to the power"
)
THREATS = {
    CLEAN: "nobody",
    JAMMING: "knows no more than the power it may spend; a fresh direction with every block",
    ONE: f"knows the receiver; {_FITTED}",
    BEST: f"knows the receiver; {_FITTED}; of several runs the one that misleads most",
    DIRECT: "knows the receiver and the noise; one perturbation for each Eb/N0 and power",
}


@dataclass(frozen=True)
class Config:
    """Who is attacked, at which powers, and how long is counted.

    Args:
        victim: the link.
        psrs: powers of the perturbation, in dB over the block's.
        levels: Eb/N0 in dB.
        blocks: sent at most for a point; `errors` are enough.
        fitted: the Eb/N0 and PSR at which Algorithm 1 is run.
        restarts: of its best run; and single runs, each on draws of its own, whose luck is told.
        steps, starts: of the direct optimiser.
        judged: Eb/N0 at which attackers are compared block by block.
        enough: errors that end a comparison, and a point that stands beside a published one.
        shown: the PSR of what is drawn.
        seed: of the attackers' and the measurement's draws.
    """

    victim: Radio = MLP
    psrs: tuple[float, ...] = (-2.0, -6.0, -10.0)
    levels: tuple[float, ...] = LEVELS
    blocks: int = 10_000_000
    errors: int = 100
    fitted: tuple[float, float] = (0.0, -6.0)
    restarts: int = 20
    steps: int = 200
    starts: int = 10
    judged: float = 8.0
    enough: int = 10_000
    shown: float = -6.0
    seed: int = 0


SCALES = {
    "smoke": Config(
        Radio(schedule="tiny"), (-2.0, -6.0), (0.0, 4.0, 8.0), 8000, 20,
        restarts=2, steps=20, starts=2, enough=20,
    ),
    "cpu": Config(),
    "paper": Config(Radio(schedule="published"), blocks=30_000_000),
}  # fmt: skip


def run(config: Config, store: Store) -> Iterator["Record"]:
    """The clean links, each power, published points, the attackers compared, and what they send."""
    store.total = len(config.psrs) + 5
    yield from store.cell("clean", lambda: _clean(config))
    for psr in config.psrs:
        yield from store.cell(f"PSR {psr:g} dB", lambda psr=psr: _attacked(config, psr))  # type: ignore[misc]
    yield from store.cell("beside published", lambda: _closely(config))
    yield from store.cell("compared", lambda: _compared(config))
    yield from store.cell("single runs", lambda: [_runs(config)])
    yield from store.cell("sent", lambda: [_sent(config)])


def _counted(
    config: Config, who: Radio, met: "dict[str, Any]", psr: float | None = None
) -> Iterator["Record"]:
    """Whole curves."""
    from trompe.evaluation.block_error import curves

    how = {"blocks": config.blocks, "errors": config.errors, "seed": config.seed}
    for name, points in curves(who.model, config.levels, met, **how).items():
        for snr, count in points.items():
            yield _point(count, who, name, snr, psr)


def _point(count: "Count", who: Radio, name: str, snr: float, psr: float | None) -> "Record":
    """A point of a curve."""
    return count.record(
        subject=str(who),
        attack="" if psr is None else name,
        threat=THREATS.get(name, THREATS[CLEAN]),
        extra={"snr": snr} if psr is None else {"snr": snr, "psr": psr},
        config={"curve": name if psr is None else at_psr(psr, name)},
    )


def _clean(config: Config) -> Iterator["Record"]:
    yield from _counted(config, config.victim, {CLEAN: None})
    for name, code in CODES.items():
        yield from _counted(config, Radio(code), {name: None})


def _closely(config: Config) -> Iterator["Record"]:
    """The published points once more, and whoever else is at the same power and noise, to more errors."""
    yield from _closer(config, config.victim, lambda snr: {CLEAN: None}, _points(CLEAN))
    for name, code in CODES.items():
        yield from _closer(config, Radio(code), lambda snr, name=name: {name: None}, _points(name))  # type: ignore[misc]
    for psr in config.psrs:
        points = sorted({snr for name in THREATS for snr in _points(at_psr(psr, name))})
        met = partial(_attackers, config, psr)
        yield from _closer(config, config.victim, met, points, psr)


def _points(curve: str) -> list[float]:
    """Where a curve has published points."""
    return [snr for snr, _ in PUBLISHED[curve][0]] if curve in PUBLISHED else []


def _closer(
    config: Config,
    who: Radio,
    met: "Callable[[float], dict[str, Any]]",
    points: Iterable[float],
    psr: float | None = None,
) -> Iterator["Record"]:
    from trompe.evaluation.block_error import Condition, block_errors

    for snr in points:
        conditions = {name: Condition(snr, found) for name, found in met(snr).items()}
        how = {"blocks": config.blocks, "errors": config.enough, "seed": config.seed}
        for name, count in block_errors(who.model, conditions, **how).items():
            yield _point(count, who, name, snr, psr)


def _iterative(config: Config, psr: float, restarts: int) -> "Perturbation":
    """Algorithm 1, run at its own settings and brought to a power."""
    snr, at = config.fitted
    found = Attack(ITERATIVE, at, snr, restarts=restarts, seed=config.seed).on(config.victim)
    return scaled(found, psr, config.victim.model.uses)


def _runs(config: Config) -> "Record":
    """How much single runs of Algorithm 1 differ, at the power that is drawn."""
    import torch

    from trompe.evaluation.block_error import Condition, block_errors
    from trompe.evaluation.records import Record

    (snr, at), model = config.fitted, config.victim.model
    met = {}
    for seed in range(config.restarts):
        found = Attack(ITERATIVE, at, snr, seed=config.seed + seed).on(config.victim)
        met[seed] = Condition(config.judged, scaled(found, config.shown, model.uses))
    how = {"blocks": config.blocks, "errors": config.enough, "seed": config.seed}
    rates = sorted(count.rate for count in block_errors(model, met, **how).values())
    return Record.mean(
        RUNS, torch.tensor(rates), subject=str(config.victim), attack=ONE, threat=THREATS[ONE],
        extra={"snr": config.judged, "psr": config.shown}, config={"rates": rates},
    )  # fmt: skip


def _direct(config: Config, psr: float, snr: float) -> "Perturbation":
    how = Attack(DIRECT, psr, snr, steps=config.steps, starts=config.starts, seed=config.seed)
    return how.on(config.victim)


def _attackers(config: Config, psr: float, snr: float) -> "dict[str, Interference]":
    """Everybody at a power and an Eb/N0."""
    return {
        JAMMING: jamming(psr, config.victim.model.uses),
        ONE: _iterative(config, psr, 1),
        BEST: _iterative(config, psr, config.restarts),
        DIRECT: _direct(config, psr, snr),
    }


def _attacked(config: Config, psr: float) -> Iterator["Record"]:
    met: dict[str, Any] = _attackers(config, psr, config.levels[0])
    met[DIRECT] = lambda snr: _direct(config, psr, snr)
    yield from _counted(config, config.victim, met, psr)


def _compared(config: Config) -> Iterator["Record"]:
    """Who misleads more, block by block, at each power."""
    from trompe.evaluation.block_error import Condition, compared

    for psr in config.psrs:
        met = _attackers(config, psr, config.judged)
        for one, other in ((ONE, JAMMING), (DIRECT, JAMMING), (DIRECT, ONE), (DIRECT, BEST)):
            yield compared(
                config.victim.model,
                Condition(config.judged, met[one]),
                Condition(config.judged, met[other]),
                blocks=config.blocks,
                errors=config.enough,
                seed=config.seed,
                subject=str(config.victim),
                attack=one,
                threat=THREATS[one],
                extra={"snr": config.judged, "psr": psr},
                config={"than": other},
            )


def _sent(config: Config) -> "Record":
    """The codebook and the perturbations, to be drawn."""
    from trompe.evaluation.records import Record

    model = config.victim.model
    met = _attackers(config, config.shown, config.judged)
    told = {name: met[name].delta[0].tolist() for name in (ONE, BEST, DIRECT)}  # type: ignore[index]
    book = model.codebook().detach()
    about = {"codebook": book.tolist(), "perturbations": told, "uses": model.uses}
    about["deviation"] = model.channel_at(config.judged).deviation
    return Record(
        "mean energy of a block", float(book.square().sum(1).mean()), len(book),
        subject=str(config.victim), extra={"snr": config.judged, "psr": config.shown}, config=about,
    )  # fmt: skip


def render(records: Iterable["Record"]) -> str:
    """Curves, published points, what follows, and what is sent."""
    from trompe.experiments.comms._white_page import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """Curves of each power and of the clean links; the constellation; the perturbations."""
    from trompe.experiments.comms._white_page import pictured

    return pictured(list(records))
