"""The page of the shifted digits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trompe.experiments.latentpoison._page import (
    KINDS,
    VECTOR,
    Found,
    classifiers,
    conditions,
    shown,
    vector_rows,
    words,
)
from trompe.experiments.latentpoison.digits import FLIPS, GAP, SPARSER
from trompe.reports import Table, markdown_table

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["rendered"]

_WAYS = ("0 -> 1", "1 -> 0")


def rendered(records: Sequence["Record"]) -> str:
    """Everything on the page."""
    cells = list(dict.fromkeys(str(r.config["cell"]) for r in records))
    apart = [cell for cell in cells if cell != "classifiers" and not cell.startswith(KINDS)]
    main = Found([r for r in records if r.config["cell"] not in apart])
    others = {cell: Found([r for r in records if r.config["cell"] == cell]) for cell in apart}
    rows = [_row(main, attack, attack) for attack in main.attacks()]
    for found in others.values():
        pair = " and ".join(found.names)
        rows += [
            _row(found, a, f"{a}: digits {pair}, effective beta {found.beta:g}")
            for a in found.attacks()
        ]
    columns = (
        "Shift",
        "Flipped up",
        "Flipped down",
        "Gap up",
        "Gap down",
        "Reconstructions read",
        "n",
    )
    up, down = (main.named(way) for way in _WAYS)
    parts = [
        classifiers(main),
        conditions(main),
        _asked(main, others),
        _sparser(main),
        _variants(main, others),
    ]
    parts += [
        f"### What the judge reads ({up} is up, {down} is down)",
        markdown_table(Table("", columns, tuple(rows))),
        "*Reconstructions read*: the judge's mean confidence in the label of untampered reconstructions, "
        "of the lower and of the upper class.",
        "### What the shifts look like",
        markdown_table(Table("", VECTOR, tuple(vector_rows(main, main.attacks())))),
        _untouched(main),
    ]
    return "\n\n".join(parts)


def _row(found: Found, attack: str, name: str) -> tuple[str, ...]:
    flips = [found.at("flip rate", attack, way) for way in _WAYS]
    gaps = [found.at("epsilon gap", attack, way) for way in _WAYS]
    read = [found.at("confidence", attack, f"reconstruction {label}") for label in (0, 1)]
    return (
        name,
        *(shown(r, 3) for r in flips),
        *(shown(r, 3) for r in gaps),
        " / ".join(f"{r.value:.3f}" for r in read),
        " + ".join(str(r.n) for r in flips),
    )


def _about(name: str, found: Found) -> str:
    """What another subject is: its name, its pair and its effective beta."""
    return f"{name}, digits {' and '.join(found.names)}, effective beta {found.beta:g}"


def _meets(found: Found, attack: str) -> bool:
    """Whether a shift turns the judge both ways and leaves its confidence as it was."""
    flips = [found.at("flip rate", attack, way).value for way in _WAYS]
    gaps = [found.at("epsilon gap", attack, way).value for way in _WAYS]
    return min(flips) >= FLIPS and max(gaps) <= GAP


def _asked(found: Found, others: dict[str, Found]) -> str:
    """The acceptance of this experiment, on the independent L2 shift of the table's price."""
    attack = next(a for a in found.attacks() if a.startswith("Independent, L2"))
    flips = words([shown(found.at("flip rate", attack, way), 3) for way in _WAYS])
    gaps = words([shown(found.at("epsilon gap", attack, way), 3) for way in _WAYS])
    met = [a for a in found.attacks() if _meets(found, a)]
    met += [
        f"{a} ({name})"
        for name, other in others.items()
        for a in other.attacks()
        if _meets(other, a)
    ]
    return (
        f"**Asked**: flips of at least {FLIPS:g} both ways and gaps of at most {GAP:g} with {attack}. "
        f"**Found**: flips {flips}, gaps {gaps}: {'met' if attack in met else '**missed**'}. The shifts that "
        f"meet it: {'; '.join(met) or 'none'}. Two things stand in the way of the others: a sure classifier "
        "of the attacker's is satisfied before the judge, who is another network, is turned as surely; and a "
        "shift that begins as noise keeps some of it for many steps. The rows with a less certain classifier "
        "and with more steps were added for that reason, after the first result."
    )


def _sparser(found: Found) -> str:
    """The paper's claim on L1, kind by kind."""
    first: dict[tuple[str, str], float] = {}
    for attack in found.attacks():
        case = found.case(attack)
        if case["mode"] == "add" and not case["per_direction"] and not case.get("steps"):
            key = (str(case["norm"]), str(case["kind"]))
            first.setdefault(key, found.vectors(attack)[0].value)
    apart = {kind: first["L1", kind] - first["L2", kind] for kind in KINDS}
    shares = words([f"{kind} {value:+.2f}" for kind, value in apart.items()])
    met = all(value >= SPARSER for value in apart.values())
    claim = "holds" if all(value > 0 for value in apart.values()) else "does not hold"
    verdict = "met" if met else "**missed**"
    return (
        "**Claim** (appendix 6.3): an L1 price gives a sparser shift than an L2 price. Hoyer sparsity, L1 "
        f"less L2: {shares}; it {claim}. At least {SPARSER:g} was asked for: {verdict}."
    )


def _mean_flip(found: Found, attack: str) -> float:
    return sum(found.at("flip rate", attack, way).value for way in _WAYS) / 2


def _variants(main: Found, others: dict[str, Found]) -> str:
    """Multiplication, own directions, and the other subjects, beside the plain shift."""
    plain = next(a for a in main.attacks() if a.startswith("Independent, L2"))
    base = _mean_flip(main, plain)
    said = []
    for attack in main.attacks():
        case = main.case(attack)
        if case["mode"] == "multiply":
            holds = (
                "inferior, as the paper reports"
                if _mean_flip(main, attack) < base
                else "not inferior"
            )
            said.append(f"the mask that multiplies flips {_mean_flip(main, attack):.3f} ({holds})")
        if case["per_direction"]:
            said.append(f"a vector for each direction {_mean_flip(main, attack):.3f}")
        if case.get("steps"):
            said.append(
                f"the same learned for {case['steps']} steps {_mean_flip(main, attack):.3f}"
            )
    for name, found in others.items():
        said += [
            f"{_about(name, found)}: {_mean_flip(found, attack):.3f}" for attack in found.attacks()
        ]
    return f"Beside the plain shift, which flips {base:.3f} on average over both ways: {'; '.join(said)}."


def _untouched(found: Found) -> str:
    """What P means, and what it is where nothing was done."""
    record = found.vectors(found.attacks()[0])[0]
    return (
        "P is how often a test of a single standard normal coordinate at 2.807 raises the alarm (appendix "
        f"6.4); *any* is 1 − ∏(1 − P) over all {record.n} coordinates, and "
        f"{record.extra['tail any untouched']:.3f} for codes that nobody touched."
    )
