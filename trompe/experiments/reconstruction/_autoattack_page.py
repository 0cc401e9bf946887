"""The page of `reconstruction/autoattack`: a row for each defended classifier."""

from typing import TYPE_CHECKING

from trompe.experiments.reconstruction._climbed import shares
from trompe.experiments.reconstruction._ladder_page import points, rate
from trompe.experiments.reconstruction.autoattack import MISSING, OURS, THEIRS
from trompe.reports import Table, markdown_table
from trompe.reports.wording import duration

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["gap", "rendered"]

MARGIN = 0.01
"""How much more ours may leave standing and still be called as strong, in shares."""


def _found(records: "list[Record]", subject: str, who: str, metric: str) -> "Record | None":
    return next(
        (r for r in records if (r.subject, r.config["who"], r.metric) == (subject, who, metric)),
        None,
    )


def gap(ours: "Record", theirs: "Record") -> "Record":
    """How much more ours leaves standing, image by image: below zero where ours is stronger."""
    from trompe.evaluation.records import Record

    draws = int(ours.config["looks"])
    one, other = (shares(str(r.config["right"]), draws) for r in (ours, theirs))
    return Record.difference("gap", one, other)


def rendered(records: "list[Record]") -> str:
    """Table and claims."""
    config, subjects = records[0].config, list(dict.fromkeys(r.subject for r in records))
    rows, lines = [], []
    for subject in subjects:
        clean = _found(records, subject, OURS, "clean accuracy")
        ours, theirs = (_found(records, subject, who, "robust accuracy") for who in (OURS, THEIRS))
        assert ours is not None
        apart = None if theirs is None else gap(ours, theirs)
        theirs_spent = None if theirs is None else duration(theirs.seconds)
        rows.append(
            (
                subject,
                rate(clean),
                rate(ours),
                f"{THEIRS}, {ours.config['version']}",
                rate(theirs),
                None if apart is None else points(apart),
                duration(ours.seconds),
                theirs_spent,
            )
        )
        lines.append(f"- {subject}: {_said(apart)} {_who(ours)}")
    columns = (
        "Defence", "Clean", OURS.capitalize(), "Against", "It leaves", "Ours less theirs",
        "Our time", "Its time",
    )  # fmt: skip
    looks, det, random = config["looks"], config["effort"], config["random"]
    head = (
        f"Both meet the first {config['n']} test images of {config['data']}, and each image counts by its "
        "worst case. No rung of ours is borrowed: neither AutoAttack nor another model is among them. Ours "
        f"spends {det['share']:g} of the full ladder's steps and {det['queries']} queries where nothing is "
        f"drawn; where the defence draws, {random['share']:g}, {random['draws']} draws in each gradient and "
        f"{random['queries']} queries. It "
        "searches in bfloat16 where the processor can, and verifies in float32. AutoAttack runs as its "
        "authors set it, in float32: the standard version of four attacks and 5,000 queries, or that for "
        f"random defences, 20 draws in each gradient. Random defences are judged on {looks} fresh draws. "
        "Accuracies have Wilson intervals, differences are paired (Agresti & Min 2005), all 95%."
    )
    return "\n\n".join([head, markdown_table(Table("", columns, tuple(rows))), "\n".join(lines)])


def _said(apart: "Record | None") -> str:
    """Whether ours is at least as strong, by the interval of the difference."""
    if apart is None:
        return f"AutoAttack was not run, for pyautoattack is not installed: {MISSING}."
    low, high = apart.low or 0.0, apart.high or 0.0
    told = f"that ours is at least as strong, within {100 * MARGIN:g} point, "
    if high <= 0:
        return told + "**holds**, and it is stronger beyond the interval."
    if high <= MARGIN:
        return told + "**holds**."
    return told + ("**does not hold**." if low > MARGIN else "is **unresolved**.")


def _who(ours: "Record") -> str:
    """Which rungs broke what those before had left."""
    broken = {name: count for name, count in ours.config["broken"].items() if count}
    told = ", ".join(f"{name} {count}" for name, count in broken.items()) or "none"
    return f"Our rungs, each on what those before it left, broke: {told}."
