"""One shift of codes that turns digits: six ways to learn it, three prices, and what lies beyond the paper.

The paper's experiment where its answer is clear cut: threes and eights, a convolutional VAE trained on the
ELBO as a sum. Beyond the paper: the price swept, a mask that multiplies, a vector for each direction, the
paper's mean-normalised objective, and the hard pair of fours and nines.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trompe.experiments.latentpoison._runs import (
    DIGITS,
    HARD,
    LONG_DIGITS,
    SMOKE,
    Case,
    Lab,
    Subject,
    cases,
)
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["FLIPS", "GAP", "PUBLISHED", "SCALES", "SMOOTHING", "SPARSER", "Config", "render", "run"]

FLIPS = 0.9
"""The least flip rate, both ways, that this project asks of the independent L2 shift."""
GAP = 0.03
"""The largest gap between confidences that it asks for."""
SMOOTHING = 0.1
"""Of the labels of a less certain classifier of the attacker's; chosen after a first result."""
SPARSER = 0.3
"""How much larger the Hoyer sparsity under an L1 price is to be than under an L2 price."""


@dataclass(frozen=True)
class Config:
    """What is attacked, and at which prices.

    Args:
        subject: the pair of digits, its VAE and classifiers.
        hard: another pair, attacked once.
        rho: of the six shifts.
        sweep: prices of the independent shift.
        long: steps of one more independent shift, to see what convergence is worth.
    """

    subject: Subject = DIGITS
    hard: Subject | None = HARD
    rho: float = 0.1
    sweep: tuple[float, ...] = (0.01, 0.1, 1.0)
    long: int = 1000


SCALES = {
    "smoke": Config(SMOKE, None, sweep=(0.1,), long=120),
    "cpu": Config(),
    "paper": Config(LONG_DIGITS),
}

PUBLISHED = {
    "flips": (FLIPS, "what this project asks for; the paper has no digits"),
    "gap": (GAP, "what this project asks for; the paper has no digits"),
    "sparser": (SPARSER, "what this project asks for; the paper only draws bars"),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """The classifiers, the six shifts, the sweep, the variants and the other VAEs."""
    lab = Lab(config.subject)
    todo = cases(config.rho)
    todo += [Case(norm=n, rho=r) for n in ("L2", "L1") for r in config.sweep]
    todo += [Case(rho=config.rho, mode="multiply"), Case(rho=config.rho, per_direction=True)]
    todo += [Case(rho=config.rho, steps=config.long)]
    once = list(dict.fromkeys(todo))
    others = _others(config)
    store.total = 1 + len(once) + len(others)
    yield from store.cell("classifiers", lambda: lab.classifiers())
    for case in once:
        yield from store.cell(case.name, lambda case=case: lab.records(case))  # type: ignore[misc]
    for name, other in others.items():
        yield from store.cell(name, lambda other=other: _once(other, config.rho))  # type: ignore[misc]


def _others(config: Config) -> dict[str, Lab]:
    """What is attacked once: with a less certain classifier, by the paper's objective, and the hard pair."""
    found = {
        f"labels smoothed by {SMOOTHING:g} for the attacker's classifier": Lab(
            config.subject, SMOOTHING
        ),
        "mean-normalised objective": Lab(replace(config.subject, reduction="paper", alpha=0.1)),
    }
    return found if config.hard is None else {**found, "hard pair": Lab(config.hard)}


def _once(lab: Lab, rho: float) -> Iterator["Record"]:
    yield from lab.classifiers()
    yield from lab.records(Case(rho=rho))


def render(records: Iterable["Record"]) -> str:
    """A row per shift, what was asked for and what came, and the paper's claims."""
    from trompe.experiments.latentpoison._digits import rendered

    return rendered(list(records))
