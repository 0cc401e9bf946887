"""Table 3: the gap between the confidence in tampered and in untampered images of a class.

The gap of a direction compares the reconstructions of the class that it leads to with the images
tampered into it. The published table follows from tables 1 and 2 to the last digit under this reading, its
column "-dz" being the direction from no smile to smile; ours are labelled by direction.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from trompe.experiments.latentpoison._runs import Lab, cases
from trompe.experiments.latentpoison.tables_1_2 import SCALES as TABLES
from trompe.experiments.latentpoison.tables_1_2 import Config
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "render", "run"]

SCALES = TABLES

_SOURCE = "Creswell, Bharath & Sengupta 2017, table 3"
PUBLISHED = {
    ("0 -> 1", "L1", "Independent"): (0.07, _SOURCE),
    ("0 -> 1", "L2", "Independent"): (0.19, _SOURCE),
    ("1 -> 0", "L1", "Independent"): (0.09, _SOURCE),
    ("1 -> 0", "L2", "Independent"): (0.10, _SOURCE),
    ("0 -> 1", "L1", "Poisoning"): (0.20, _SOURCE),
    ("0 -> 1", "L2", "Poisoning"): (0.10, _SOURCE),
    ("1 -> 0", "L1", "Poisoning"): (0.00, _SOURCE),
    ("1 -> 0", "L2", "Poisoning"): (0.09, _SOURCE),
    ("0 -> 1", "L1", "Poisoning+Class"): (0.18, _SOURCE),
    ("0 -> 1", "L2", "Poisoning+Class"): (0.11, _SOURCE),
    ("1 -> 0", "L1", "Poisoning+Class"): (0.07, _SOURCE),
    ("1 -> 0", "L2", "Poisoning+Class"): (0.00, _SOURCE),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """The classifiers, then a cell per shift; they are those of tables 1 and 2."""
    lab = Lab(config.subject)
    todo = cases(config.rho)
    store.total = 1 + len(todo)
    yield from store.cell("classifiers", lambda: lab.classifiers())
    for case in todo:
        yield from store.cell(case.name, lambda case=case: lab.records(case))  # type: ignore[misc]


def render(records: Iterable["Record"]) -> str:
    """The gaps beside the published ones, and whether confidences betray the attack."""
    from trompe.experiments.latentpoison._tables import gaps

    return gaps(list(records))
