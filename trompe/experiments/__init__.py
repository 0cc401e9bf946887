"""Published tables and figures, one file each: `trompe/experiments/<paper>/<item>.py`.

An item's file holds, in this order: a docstring whose first line is its title; `Config`, a frozen dataclass
of plain values; `SCALES`, a `Config` for `"smoke"`, `"cpu"` and `"paper"`; `PUBLISHED`, the reference
numbers with their sources; `run(config, store)`, which yields records, cell by cell; and
`render(records)`, the item's part of the page in Markdown. Nothing else has to be registered.
"""

from trompe.experiments.catalogue import Entry, catalogue, listing
from trompe.experiments.runner import SCALES, reproduce

__all__ = ["SCALES", "Entry", "catalogue", "listing", "reproduce"]
