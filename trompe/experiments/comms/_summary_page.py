"""The head of the page: each of the paper's claims, and ours, in a line, from the records of all items."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trompe.experiments.comms import algorithms, black_box, ten_models
from trompe.experiments.comms._hamming_page import best
from trompe.experiments.comms._links import CLEAN, DIRECT, JAMMING, PRINCIPAL, SYNCHRONISED, at_psr
from trompe.experiments.comms._page import curves_of, ratio, verdict, within
from trompe.experiments.comms.white_box import BEST, ONE, PUBLISHED
from trompe.reports import Table, markdown_table
from trompe.reports.wording import number

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["rendered"]

Found = Mapping[str, "list[Record]"]
Rows = list[tuple[str, str]]
"""Claims, and what was found of each."""
FIVE = 5.0
"""How many times as many errors as jamming an attack is asked for."""


def _clean(records: "list[Record]") -> Rows:
    curve, rows = curves_of(records)[CLEAN], []
    for snr, asked in PUBLISHED[CLEAN][0][:2]:
        if ours := curve.get(snr):
            told = f"{within(ours, asked)}: {number(ours.value, 2)} beside {number(asked, 2)}"
            rows.append((f"clean errors within a factor 2 of those published, at {snr:g} dB", told))
    return rows


def _five(records: "list[Record]") -> Rows:
    curves = curves_of(records)
    jammed = curves[at_psr(-6.0, JAMMING)].get(8.0)
    rows = []
    for name in (ONE, BEST, DIRECT):
        times = ratio(curves[at_psr(-6.0, name)].get(8.0), jammed)
        told = f"{verdict(times.low >= FIVE, times.high < FIVE)}: {times} times"
        rows.append((f"{name}: at least {FIVE:g} x jamming at PSR -6 dB, 8 dB, white box", told))
    return rows


def _ahead(records: "list[Record]") -> Rows:
    """Of paired differences from both algorithms, how many are surely above zero, and how many below."""
    some = [r for r in records if r.metric == algorithms.AHEAD and r.attack != JAMMING]
    above = sum((r.low or 0) >= 0 for r in some)
    below = sum((r.high or 0) < 0 for r in some)
    told = _told(above, below, len(some))
    return [("the direct optimiser misleads at least as often as both algorithms, paired", told)]


def _told(above: int, below: int, of: int) -> str:
    return (
        f"{verdict(above == of, below > 0)}: surely in {above} of {of} cases, surely not in {below}"
    )


def _black(records: "list[Record]") -> Rows:
    rows = []
    for r in records:
        here = r.metric == black_box.MORE and r.attack == PRINCIPAL
        if here and r.config["arrival"] == SYNCHRONISED:
            psr, snr = r.extra["psr"], r.extra["snr"]
            told = verdict((r.low or 0) > 0, (r.high or 0) <= 0)
            told += f": {number(r.value, 2)} in the rate; one pair of links"
            rows.append(
                (f"black box beats jamming at PSR {psr:g} dB, {snr:g} dB: {r.attack}", told)
            )
    return rows


def _mean(records: "list[Record]") -> Rows:
    some = [r for r in records if r.metric == ten_models.MORE]
    if not some:
        return []
    above = sum((r.low or 0) > 0 for r in some)
    below = sum((r.high or 0) < 0 for r in some)
    told = _told(above, below, len(some))
    return [("black box beats jamming whichever two links it is between", told)]


def _code(records: "list[Record]") -> Rows:
    """At equal power, each link under the attack made for it."""
    config = records[0].config
    links: dict[str, dict[str, Record]] = {}
    for r in records:
        at = r.extra.get("snr"), r.extra.get("psr")
        if r.config.get("side by side") and at == (config["snr"], config["psr"]):
            links.setdefault(r.subject, {})[r.attack] = r
    if len(links) != 2:
        return []
    (radio, one), (code, other) = links.items()
    times = ratio(best(one), best(other))
    told = f"{verdict(times.low > 1, times.high <= 1)}: {times} times"
    who = f"{radio} errs more often than {code}, each under its own attack of equal power"
    return [(f"{who}, at PSR {config['psr']:g} dB, {config['snr']:g} dB", told)]


CLAIMS = (
    ("white_box", _clean),
    ("white_box", _five),
    ("algorithms", _ahead),
    ("black_box", _black),
    ("ten_models", _mean),
    ("hamming", _code),
)
"""Where each claim is measured, and what finds it in the records."""


def rendered(found: Found) -> str:
    """A line for each claim of which something is recorded."""
    rows = [
        (*row, f"{item}, {found[item][0].scale}")
        for item, told in CLAIMS
        if found.get(item)
        for row in told(found[item])
    ]
    if not rows:
        return ""
    head = (
        "Each claim by its 95% interval, at the largest scale that is recorded of each item. An interval "
        "speaks for other noise, not for other trainings."
    )
    table = markdown_table(Table("", ("Claim", "Found", "From"), tuple(rows)))
    return "\n\n".join(["## What this adds up to", head, table.replace("\\*\\*", "**")])
