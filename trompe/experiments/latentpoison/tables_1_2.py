"""Tables 1 and 2: how surely a judge reads smiles that one shift of the codes put there.

One vector is added to the code of every face without a smile, and taken from that of every face with
one. Table 1 prices its L2 norm, table 2 its L1 norm. *Independent* leaves a trained VAE as it is,
*poisoning* learns shift and VAE together, and *poisoning + class* also rewards the VAE for reconstructions
that the attacker's classifier reads rightly. Directions are named by where they start, not by a sign.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trompe.experiments.latentpoison._runs import (
    FACES,
    PUBLISHED_FACES,
    SMOKE,
    Case,
    Lab,
    Subject,
    cases,
)
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "render", "run"]


@dataclass(frozen=True)
class Config:
    """What is attacked, and at which prices.

    Args:
        subject: the classes, the VAE and the classifiers.
        rho: of the six shifts; the paper writes none, so 1, and the authors' code has 1.
        more: further prices, for the independent shift alone.
    """

    subject: Subject = FACES
    rho: float = 0.1
    more: tuple[float, ...] = (1.0,)


SCALES = {
    "smoke": Config(SMOKE),
    "cpu": Config(),
    "paper": Config(PUBLISHED_FACES, rho=1.0, more=(0.1,)),
}

_SOURCE = "Creswell, Bharath & Sengupta 2017, tables 1 and 2: 100 test faces, another VAE and judge"
_ROWS = ("original 1", "reconstruction 1", "0 -> 1", "original 0", "reconstruction 0", "1 -> 0")
_VALUES = {
    "L2": (
        (0.80, 0.80, 0.80),
        (0.79, 0.88, 0.86),
        (0.98, 0.98, 0.97),
        (0.93, 0.93, 0.93),
        (0.85, 0.87, 0.96),
        (0.95, 0.96, 0.96),
    ),
    "L1": (
        (0.80, 0.80, 0.80),
        (0.87, 0.78, 0.80),
        (0.94, 0.98, 0.98),
        (0.93, 0.93, 0.93),
        (0.87, 0.91, 0.89),
        (0.96, 0.91, 0.96),
    ),
}
PUBLISHED = {
    (norm, kind, row): (values[place][column], _SOURCE)
    for norm, values in _VALUES.items()
    for place, row in enumerate(_ROWS)
    for column, kind in enumerate(("Independent", "Poisoning", "Poisoning+Class"))
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """The classifiers, then each shift as the judge and as the attacker's classifier read it."""
    lab = Lab(config.subject)
    todo = [*cases(config.rho), *(Case(norm=n, rho=r) for r in config.more for n in ("L2", "L1"))]
    store.total = 1 + 2 * len(todo)
    yield from store.cell("classifiers", lambda: lab.classifiers())
    for case in todo:
        yield from store.cell(case.name, lambda case=case: lab.records(case))  # type: ignore[misc]
        own = f"{case.name}, the attacker's reading"
        yield from store.cell(own, lambda case=case: lab.own_reading(case))  # type: ignore[misc]


def render(records: Iterable["Record"]) -> str:
    """Both tables beside the published ones, how often the judge was turned, and the paper's claims."""
    from trompe.experiments.latentpoison._tables import confidences

    return confidences(list(records))
