"""The page of the detectors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trompe.experiments.latentpoison._page import shown, words
from trompe.experiments.latentpoison.detection import FPR, HARD
from trompe.reports import Table, markdown_table

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["STILL", "rendered"]

_CAUGHT = "true positives"
STILL = 0.9
"""The share of flips that a shift must keep for its evasion to count."""


def rendered(records: Sequence["Record"]) -> str:
    """Everything on the page."""
    attacks = list(dict.fromkeys(r.attack for r in records))
    names = list(
        dict.fromkeys(str(r.config["detector"]) for r in records if "detector" in r.config)
    )
    plain = [a for a in attacks if not a.startswith("evading")]
    return "\n\n".join(
        [
            _claim(records, plain),
            _uncertain(records, plain),
            "### ROC areas, and flips by the judge",
            _table(records, attacks, names, "ROC AUC"),
            _note(records),
            f"### Tampered codes caught at {FPR:.0%} false alarms",
            _table(records, attacks, names, _CAUGHT),
            _evaded(records, attacks, plain),
        ]
    )


def _find(records: Sequence["Record"], attack: str, detector: str, metric: str) -> "Record":
    return next(
        r
        for r in records
        if r.attack == attack
        and r.config.get("detector") == detector
        and r.metric.startswith(metric)
    )


def _flips(records: Sequence["Record"], attack: str) -> "Record":
    return next(r for r in records if r.attack == attack and r.metric == "flip rate")


def _table(
    records: Sequence["Record"], attacks: Sequence[str], names: Sequence[str], metric: str
) -> str:
    rows = []
    for attack in attacks:
        flips = _flips(records, attack)
        cells = [shown(_find(records, attack, name, metric)) for name in names]
        rows.append((attack, shown(flips), f"{flips.extra['L2']:.2f}", *cells))
    return markdown_table(Table("", ("Shift", "Flips", "L2", *names), tuple(rows)))


def _note(records: Sequence["Record"]) -> str:
    area = next(r for r in records if r.metric == "ROC AUC")
    grouped = [r for r in records if r.metric == "ROC AUC" and "codes" in str(r.config["detector"])]
    return (
        f"n = {area.n} clean codes and as many tampered ones, of different images; DeLong 95% intervals. "
        f"Columns of several codes test their mean: {grouped[0].n} groups of each kind, images of both "
        "classes mixed, all shifted one way. *Flips*: share of all test images that the judge reads as the "
        "other class, with a Wilson interval. An area of 0.5 is blindness."
    )


def _claim(records: Sequence["Record"], attacks: Sequence[str]) -> str:
    """Only L2 Independent and L2 Poisoning are hard to detect by the tail test."""
    areas = {a: _find(records, a, "largest z-score", "ROC AUC") for a in attacks}
    hard = [a for a in attacks if any(a.startswith(f"{kind}, L2") for kind in HARD)]
    rest = [a for a in attacks if a not in hard]
    pairs = [(areas[h], areas[r]) for h in hard for r in rest]
    if all((h.high or 1) < (r.low or 0) for h, r in pairs):
        verdict = "it holds: both lie below all others with their whole intervals"
    elif any((h.low or 0) > (r.high or 1) for h, r in pairs):
        verdict = "it does not hold: one of them is detected more easily than another, beyond both intervals"
    else:
        verdict = "it is unresolved: the intervals overlap"
    tails = words([f"{a.split(', rho')[0]} {_tail(records, a):.2f}" for a in attacks])
    listed = words([f"{a.split(', rho')[0]} {shown(areas[a])}" for a in attacks])
    return (
        "**Claim** (appendix 6.4): by the tail test only the L2 Independent and L2 Poisoning attacks are "
        "hard to detect. The test as it would be run, on each code's largest z-score, has these ROC areas: "
        f"{listed}. By them {verdict}. The paper's own figure, how often a code fails the test of the one "
        f"coordinate that the shift moves most: {tails}."
    )


def _tail(records: Sequence["Record"], attack: str) -> float:
    return float(next(r for r in records if r.attack == attack).config["tail max"])


def _uncertain(records: Sequence["Record"], attacks: Sequence[str]) -> str:
    """The paper's suggestion for a defence."""
    areas = [_find(records, a, "entropy of the output", "ROC AUC") for a in attacks]
    seen = [r for r in areas if (r.low or 0) > 0.5]
    below = [r for r in areas if (r.high or 1) < 0.5]
    return (
        "**Suggestion** (section 5): the classifier's uncertainty may give a tampered code away. Its entropy "
        "on the output, of a classifier that is neither the attacker's nor the judge, is better than chance "
        f"for {len(seen)} of {len(areas)} shifts and worse for {len(below)}, whose tampered outputs are the "
        f"*surer* ones; areas from {min(r.value for r in areas):.2f} to {max(r.value for r in areas):.2f}."
    )


def _evaded(records: Sequence["Record"], attacks: Sequence[str], plain: Sequence[str]) -> str:
    """What becomes of each detector's area when the shift is trained against it, and of the flips."""
    start = next(a for a in plain if a.startswith("Independent, L2"))
    said = []
    for attack in (a for a in attacks if a.startswith("evading")):
        name = str(next(r for r in records if r.attack == attack).config["evades"])
        before, after = (_find(records, a, name, "ROC AUC") for a in (start, attack))
        fell = (after.high or 1) < (before.low or 0)
        flips = _flips(records, attack)
        price = "evaded" if flips.value >= STILL else "seen less, at the price of flips"
        said.append(
            f"- {attack.removeprefix('evading ')}: area {shown(before)} to {shown(after)}, flips "
            f"{shown(_flips(records, start))} to {shown(flips)}: {price if fell else 'not evaded'}"
        )
    head = (
        "**Trained against the detector**: the independent L2 shift with the detector's score in its loss "
        "(weights in standard deviations of clean scores). *Evaded* is an area below the former one beyond "
        f"both intervals while at least {STILL:.0%} still flip."
    )
    return "\n".join([head, "", *said])
