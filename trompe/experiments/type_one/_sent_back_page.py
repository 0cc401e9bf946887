"""The page of `type_one/table_3`: every network on every column, and what the records say of the claims."""

from typing import TYPE_CHECKING

from trompe.experiments.type_one._shown import beside, difference, one, points, rate
from trompe.experiments.type_one.table_3 import COLUMNS, NETWORKS, PUBLISHED
from trompe.reports.wording import number, percent

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["FULL", "rendered"]

FULL = 0.97
"""The share right on the original from which on a column leaves no room for strengthening."""
CLAIMS = {
    "Type I examples help against Type I": ("type one", "type one"),
    "FGSM's examples help against PGD": ("fgsm", "pgd"),
    "PGD's examples help against FGSM": ("pgd", "fgsm"),
    "Type I examples help against PGD": ("type one", "pgd"),
    "FGSM's examples help against Type I": ("fgsm", "type one"),
    "PGD's examples help against Type I": ("pgd", "type one"),
}


def rendered(records: list["Record"]) -> str:
    """Shares beside the published ones, and what follows."""
    return "\n\n".join([_said(records), _table(records), _claims(records), _shortfall(records)])


def _right(records: list["Record"], network: str, column: str, metric: str = "right") -> "Record":
    found = one(records, metric, network=network, column=column)
    assert found is not None
    return found


def _said(records: list["Record"]) -> str:
    first, once, changed = (
        _right(records, "original", column) for column in ("pgd", "fgsm", "type one")
    )
    return (
        f"{first.subject} stands in for FaceNet, and test people for LFW. "
        f"{first.config['sent']} examples are sent back, of {first.n} other faces {changed.n} have a Type I "
        f"example that the judge takes for a face of the other gender. Type I in "
        f"{changed.config['steps']:,} steps, FGSM at eps {number(once.eps or 0.0)}, PGD in "
        f"{first.config['steps']} steps at {number(first.eps or 0.0)}. Our share that is right with its 95% "
        "interval; the published one in "
        "brackets."
    )


def _table(records: list["Record"]) -> str:
    from trompe.reports import Cell, Table, markdown_table

    rows: list[tuple[Cell, ...]] = []
    for network, word in NETWORKS.items():
        cells, found = [], [_right(records, network, column) for column in COLUMNS]
        for column, record in zip(COLUMNS, found, strict=True):
            known = PUBLISHED.get(f"{network} {column}")
            published = "" if known is None else f" (published {percent(known[0])})"
            cells.append(f"{rate(record)}{published}")
        rows.append((word, *cells, ", ".join(dict.fromkeys(str(record.n) for record in found))))
    columns = ("Strengthened by", *COLUMNS.values(), "n pairs, Type I, others")
    return markdown_table(Table("", columns, tuple(rows)))


def _claims(records: list["Record"]) -> str:
    """What strengthening by one type does against its own and against the other."""
    lines = []
    for claim, (network, column) in CLAIMS.items():
        gain = difference(_right(records, network, column), _right(records, "clean", column))
        word = "holds" if gain[1] > 0 else "does not hold" if gain[2] < 0 else "is unresolved"
        if _right(records, "original", column).value >= FULL:
            word = "is unresolved: no room"
        lines.append(
            f"- {claim}: **{word}** ({points(gain)} over further training on clean faces of the same people)."
        )
    head = (
        "The original says that each type helps against itself, FGSM and PGD against each other, and those "
        "two little against Type I:"
    )
    return "\n".join([head, "", *lines])


def _shortfall(records: list["Record"]) -> str:
    """Where strengthening by Type I examples stands beside the published rate, and what it cost."""
    mine, sent = (
        _right(records, "type one", "type one", metric)
        for metric in ("right", "right of those sent")
    )
    plain = difference(*(_right(records, name, "reconstruction") for name in ("type one", "clean")))
    known = PUBLISHED["type one type one"][0]
    decoded = (
        "it rejects decoded faces more often, attacked or not"
        if plain[2] < 0
        else "that it rejects decoded faces as such is not shown"
    )
    costs = ", ".join(
        f"{points(difference(_right(records, name, 'clean'), _right(records, 'original', 'clean')))} "
        f"({word})"
        for name, word in NETWORKS.items()
        if name != "original"
    )
    return (
        f"Strengthened by Type I examples, ours tells {rate(mine)} of others apart, which "
        f"{beside(mine, known)} the published {percent(known)}, and {rate(sent)} of the {sent.n} that were "
        f"sent back. Plain reconstructions it matches by {points(plain)} against the one trained on clean "
        f"faces: {decoded}. Clean pairs, against the original: {costs}."
    )
