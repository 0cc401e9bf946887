"""Figure 10: the entries of the six shifts, and what a test of single coordinates sees of them.

A defender who expects standard normal codes may look for coordinates beyond 2.807, which untouched ones leave
half a per cent of the time (appendix 6.4). A shift whose every entry is small escapes it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trompe.experiments.latentpoison._runs import (
    DIGITS,
    FACES,
    LONG_DIGITS,
    PUBLISHED_FACES,
    SMOKE,
    Lab,
    Subject,
    cases,
)
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]


@dataclass(frozen=True)
class Config:
    """Whose shifts are drawn.

    Args:
        subjects: each with its six shifts.
        rho: their price.
    """

    subjects: tuple[Subject, ...] = (FACES, DIGITS)
    rho: float = 0.1


SCALES = {
    "smoke": Config((SMOKE,)),
    "cpu": Config(),
    "paper": Config((PUBLISHED_FACES, LONG_DIGITS), rho=1.0),
}

_SOURCE = "Creswell, Bharath & Sengupta 2017, appendix 6.4, read off figure 10"
PUBLISHED = {"hard to detect": (("L2 Independent", "L2 Poisoning"), _SOURCE)}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """A cell per subject and shift."""
    todo = cases(config.rho)
    store.total = len(config.subjects) * len(todo)
    for subject in config.subjects:
        lab = Lab(subject)
        for case in todo:
            name = f"{subject.data} {case.name}"
            yield from store.cell(name, lambda lab=lab, case=case: lab.records(case))  # type: ignore[misc]


def render(records: Iterable["Record"]) -> str:
    """The bars, and which of the shifts a test of single coordinates would miss."""
    from trompe.experiments.latentpoison._bars import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """The bars, an SVG for each subject."""
    from trompe.experiments.latentpoison._bars import drawn

    return drawn(list(records))
