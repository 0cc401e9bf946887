"""The page and the picture of `type_one/figure_1`."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from trompe.evaluation.records import Record
from trompe.experiments.type_one._shown import one, rate
from trompe.experiments.type_one.figure_1 import CLEAN, TYPE_I, TYPE_II
from trompe.reports import Cell, Curve, Series, Table, markdown_table
from trompe.reports.pictures import standalone

__all__ = ["drawing", "rendered"]

PICTURE = "type-one-roc.svg"
POINTS = 40


def rendered(records: list[Record]) -> str:
    """The item's part of the page."""
    shown = f"![Both types of attack on the ROC](pictures/{PICTURE})"
    return "\n\n".join([_setting(records), _table(records), *_claims(records), shown])


def _rates(records: list[Record]) -> dict[tuple[str, str], Record]:
    """TPR and FPR, clean and under the attack that changes them."""
    places = (("TPR", CLEAN), ("FPR", CLEAN), ("TPR", TYPE_II), ("FPR", TYPE_I))
    found = {place: one(records, place[0], under=place[1]) for place in places}
    return {place: record for place, record in found.items() if record is not None}


def _setting(records: list[Record]) -> str:
    config: dict[str, Any] = dict(records[0].config)
    turned, still = (one(records, name) for name in ("another digit", "still the digit"))
    assert turned is not None
    return (
        f'{config["victim"]}, with "{config["source"]}" as the positive class of {config["data"]}, accepts '
        f"from a probability of {config['threshold']:g} on. Type II: PGD of {config['pgd_steps']} "
        "steps within "
        f"Linf {config['eps']:g}; the judge still reads {rate(still)} of the {turned.n} images as a "
        f'"{config["source"]}". Type I: the same images on their way to a "{config["target"]}", '
        f"{config['steps']:,} steps of {config['lr']:g}, by {config['svae']}; {rate(turned)} of "
        "them show another "
        f"digit and look real ({turned.config['judge']}). Only these are negatives; the attack is out for "
        "images that the victim accepts, so that their share says how often it gets its way."
    )


def _table(records: list[Record]) -> str:
    found = _rates(records)
    rows: list[tuple[Cell, ...]] = []
    for under in (CLEAN, TYPE_II, TYPE_I):
        pair = [found.get((metric, under), found["TPR" if metric == "TPR" else "FPR", CLEAN])
                for metric in ("TPR", "FPR")]  # fmt: skip
        rows.append((under, *map(rate, pair), *(r.n for r in pair)))
    columns = ("Under", "True positive rate", "False positive rate", "Positives", "Negatives")
    return markdown_table(Table("", columns, tuple(rows)))


def _claims(records: list[Record]) -> list[str]:
    """Which way each attack moves the classifier, by the intervals."""
    found = _rates(records)
    said = []
    for kind, metric, way in ((TYPE_II, "TPR", "lowers"), (TYPE_I, "FPR", "raises")):
        clean, under = found["TPR" if metric == "TPR" else "FPR", CLEAN], found[metric, kind]
        low, high = (under, clean) if way == "lowers" else (clean, under)
        assert low.high is not None
        assert low.low is not None
        assert high.low is not None
        assert high.high is not None
        verdict = (
            "holds" if low.high < high.low else "fails" if high.high < low.low else "is unresolved"
        )
        said.append(f"- {kind} {way} the {metric}: **{verdict}** ({rate(clean)} to {rate(under)}).")
    return ["\n".join(said)]


def drawing(records: list[Record]) -> dict[str, str]:
    """Three curves, and the moves of the operating point."""
    found = _rates(records)
    tpr, fpr = found["TPR", CLEAN], found["FPR", CLEAN]
    under_two, under_one = found["TPR", TYPE_II], found["FPR", TYPE_I]
    point = (fpr.value, tpr.value)
    lines = (
        Series("clean", *_roc(fpr, tpr)),
        Series("under Type II", *_roc(fpr, under_two)),
        Series("under Type I", *_roc(under_one, tpr)),
        Series("Type II at the threshold", (point[0],) * 2, (point[1], under_two.value)),
        Series("Type I at the threshold", (point[0], under_one.value), (point[1],) * 2),
    )
    figure = Curve(
        "Both types of attack on the ROC",
        "false positive rate",
        "true positive rate",
        lines,
        log_x=True,
        percent=True,
    )
    return {PICTURE: standalone(figure) + "\n"}


def _roc(fpr: Record, tpr: Record) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The rates over all thresholds, from the quantiles of both scores."""
    negatives, positives = (list(map(float, r.config["quantiles"])) for r in (fpr, tpr))
    every = sorted({*negatives, *positives})
    chosen = [every[round(i * (len(every) - 1) / POINTS)] for i in range(POINTS + 1)]
    pairs = sorted({(_above(negatives, t), _above(positives, t)) for t in [*chosen, every[-1] + 1]})
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def _above(quantiles: Sequence[float], threshold: float) -> float:
    """The share of scores at or above a threshold.

    >>> _above([0.0, 1.0, 2.0], 1.0), _above([0.0, 1.0, 2.0], 3.0), _above([0.0, 1.0, 2.0], 0.5)
    (0.5, 0.0, 0.75)
    """
    place = bisect_left(quantiles, threshold)
    if place == len(quantiles):
        return 0.0
    if place == 0:
        return 1.0
    low, high = quantiles[place - 1], quantiles[place]
    rank = place - 1 + (threshold - low) / (high - low)
    return 1 - rank / (len(quantiles) - 1)
