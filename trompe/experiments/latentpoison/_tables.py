"""The page of tables 1 to 3: confidences, flips and gaps, ours beside the published."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trompe.experiments.latentpoison._page import (
    KINDS,
    Found,
    classifiers,
    conditions,
    shown,
    words,
)
from trompe.experiments.latentpoison.tables_1_2 import PUBLISHED
from trompe.reports import Table, markdown_table

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["confidences", "gaps", "published_gap"]

_ROWS = ("original 1", "reconstruction 1", "0 -> 1", "original 0", "reconstruction 0", "1 -> 0")
_WAYS = ("0 -> 1", "1 -> 0")
_OWN = "flip rate, attacker's classifier"


def _six(found: Found) -> dict[tuple[str, str], str]:
    """The six shifts by norm and kind: the first of each, which has the tables' price."""
    place: dict[tuple[str, str], str] = {}
    for attack in found.attacks():
        case = found.case(attack)
        place.setdefault((str(case["norm"]), str(case["kind"])), attack)
    return place


def _of_smiles(found: Found) -> bool:
    """Whether the published numbers are about the same question."""
    return found.names == ("no smile", "smile")


def _table(found: Found, norm: str) -> str:
    six, beside = _six(found), _of_smiles(found)
    columns = ["Group", "n"]
    for kind in KINDS:
        columns += [kind, "published"] if beside else [kind]
    rows = []
    for group in _ROWS:
        records = [found.at("confidence", six[norm, kind], group) for kind in KINDS]
        row: list[str] = [found.named(group), str(records[0].n)]
        for kind, record in zip(KINDS, records, strict=True):
            row += [shown(record)]
            row += [f"{PUBLISHED[norm, kind, group][0]:.2f}"] if beside else []
        rows.append(tuple(row))
    return markdown_table(Table("", tuple(columns), tuple(rows)))


def _flips(found: Found) -> str:
    columns = ["Shift", "L2 norm"]
    for way in _WAYS:
        columns += [f"{found.named(way)}, judge", "attacker's classifier"]
    rows = []
    for attack in found.attacks():
        row = [attack, f"{found.vectors(attack)[0].extra['L2']:.2f}"]
        for way in _WAYS:
            row += [shown(found.at(metric, attack, way)) for metric in ("flip rate", _OWN)]
        rows.append(tuple(row))
    return markdown_table(Table("", tuple(columns), tuple(rows)))


def _carried(found: Found) -> str:
    """How much of each shift is about the attacker's own classifier."""
    lost = {
        attack: sum(
            found.at(_OWN, attack, way).value - found.at("flip rate", attack, way).value
            for way in _WAYS
        )
        / 2
        for attack in _six(found).values()
    }
    most, least = max(lost, key=lambda a: lost[a]), min(lost, key=lambda a: lost[a])
    return (
        "The shift is learned against the attacker's classifier; what of it carries over to the judge is "
        "about the image and not about that classifier. Flips of the judge less flips of that classifier, "
        f"the mean over both ways: from {-lost[most]:+.2f} with {most} to {-lost[least]:+.2f} with {least}."
    )


def _above(values: Mapping[str, float]) -> list[str]:
    """The ways in which the tampered images do not score above both the originals and the reconstructions."""
    return [
        way
        for way, label in zip(_WAYS, (1, 0), strict=True)
        if not values[way] > max(values[f"original {label}"], values[f"reconstruction {label}"])
    ]


def _claim(found: Found) -> str:
    """Section 4: tampered images are read with more confidence than originals and reconstructions."""
    six = _six(found)
    ours = {
        f"{attack}, {found.named(way)}": None
        for attack in six.values()
        for way in _above({g: found.at("confidence", attack, g).value for g in _ROWS})
    }
    theirs = [
        f"{norm} {kind}, {way.replace('0', 'no smile').replace('1', 'smile').replace('->', '→')}"
        for norm, kind in six
        for way in _above({g: PUBLISHED[norm, kind, g][0] for g in _ROWS})
    ]
    said = (
        "holds in all 12 of ours"
        if not ours
        else f"fails in {len(ours)} of our 12 ({'; '.join(ours)})"
    )
    return (
        "**Claim** (section 4): tampered images are read more surely than originals and reconstructions, in "
        f"all cases. It {said}. In the published tables themselves it fails in {len(theirs)} of 12: "
        f"{words(theirs)}."
    )


def _turned(found: Found) -> str:
    """Whether the judge is turned, by the intervals of the flip rates."""
    six = _six(found)
    ends = [found.at("flip rate", a, way) for a in six.values() for way in _WAYS]
    low = [r for r in ends if (r.low or 0) > 0.5]
    best, worst = max(ends, key=lambda r: r.value), min(ends, key=lambda r: r.value)
    verdict = "holds" if len(low) == len(ends) else f"holds in {len(low)} of {len(ends)}"
    return (
        "**Claim**: one vector turns the label of almost any code. By flips of the independent judge with "
        f"their whole interval above one half it **{verdict}**; they lie between "
        f"{shown(worst)} ({worst.attack}, {found.named(str(worst.config['group']))}) and "
        f"{shown(best)} ({best.attack}, {found.named(str(best.config['group']))})."
    )


def _dear(found: Found) -> str:
    """What is left of the shift at the largest price."""
    most = max(float(str(found.case(a)["rho"])) for a in found.attacks())
    dear = [a for a in found.attacks() if float(str(found.case(a)["rho"])) == most]
    norms = words([f"{found.vectors(a)[0].extra['L2']:.2f}" for a in dear])
    flips = words([shown(found.at("flip rate", dear[0], way)) for way in _WAYS])
    return (
        f"At rho {most:g} ({' and '.join(dear)}) the L2 norm of the shift is {norms}. The judge still reads "
        f"the other class in {flips} of the outputs with {dear[0]}: flips count all images, also those whose "
        "untampered reconstruction is misread, and every rate above is to be held against that."
    )


def confidences(records: Sequence["Record"]) -> str:
    """Tables 1 and 2, the flips, and what follows."""
    found = Found(records)
    parts = [classifiers(found), conditions(found), _turned(found), _claim(found)]
    for number, norm in ((1, "L2"), (2, "L1")):
        parts += [f"### Table {number}: mean confidence, {norm} price", _table(found, norm)]
    parts += ["### How often the other class is read", _dear(found)]
    if any(r.metric == _OWN for r in found.records):
        parts += [_carried(found), _flips(found)]
    return "\n\n".join(parts)


def published_gap(norm: str, kind: str, way: str) -> float:
    """Table 3 as it follows from tables 1 and 2, which is what the paper prints."""
    from trompe.metrics import epsilon_gap

    rebuilt = PUBLISHED[norm, kind, f"reconstruction {way[-1]}"][0]
    return round(epsilon_gap(rebuilt, PUBLISHED[norm, kind, way][0]), 2)


def gaps(records: Sequence["Record"]) -> str:
    """Table 3."""
    found = Found(records)
    six, beside = _six(found), _of_smiles(found)
    columns = ["Learned"]
    for way in _WAYS:
        for norm in ("L1", "L2"):
            columns += [f"{found.named(way)}, {norm}"] + (["published"] if beside else [])
    rows = []
    for kind in KINDS:
        row = [kind]
        for way in _WAYS:
            for norm in ("L1", "L2"):
                row += [shown(found.at("epsilon gap", six[norm, kind], way))]
                row += [f"{published_gap(norm, kind, way):.2f}"] if beside else []
        rows.append(tuple(row))
    table = markdown_table(Table("", tuple(columns), tuple(rows)))
    return "\n\n".join(
        [classifiers(found), conditions(found), _equal(found), _stealth(found), table]
    )


def _equal(found: Found) -> str:
    """The abstract: the classification probability stays approximately equal."""
    ends = [found.at("epsilon gap", a, way) for a in _six(found).values() for way in _WAYS]
    small = [r for r in ends if (r.high or 1) < 0.05]
    large = [r for r in ends if (r.low or 0) > 0.05]
    return (
        "**Claim** (abstract): the confidence is about equal before and after. "
        f"Of our 12 gaps the whole interval lies below 0.05 in {len(small)} and above it in {len(large)}; "
        f"{12 - len(small) - len(large)} are unresolved. The published ones reach "
        f"{max(published_gap(n, k, w) for n in ('L1', 'L2') for k in KINDS for w in _WAYS):.2f}."
    )


def _stealth(found: Found) -> str:
    """Which way of learning leaves the smallest gap, on average."""
    six = _six(found)
    sums = {
        kind: sum(
            found.at("epsilon gap", six[n, kind], w).value for n in ("L1", "L2") for w in _WAYS
        )
        / 4
        for kind in KINDS
    }
    best = min(sums, key=lambda kind: sums[kind])
    listed = words([f"{kind} {value:.2f}" for kind, value in sums.items()])
    return f"Mean gap over norms and directions: {listed}; smallest with {best}."
