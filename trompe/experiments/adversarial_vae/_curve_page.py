"""The page of `adversarial_vae/curves`: the figure, the numbers of its shape, and a verdict."""

import math

from trompe.evaluation.records import Record
from trompe.experiments.adversarial_vae._board import Interval
from trompe.experiments.adversarial_vae._crossed import crossed
from trompe.experiments.adversarial_vae.curves import FINE
from trompe.reports import Curve, Series, Table, markdown_table
from trompe.reports.pictures import standalone

__all__ = ["drawn", "rendered"]

NAME = "adversarial-vae-curves.svg"
CAPTION = "Distance to the target against distortion"
STRAIGHT = 8 / 9
BEND = 0.1
"""How far from a straight line a mean curve may lie and be called almost linear."""


def _by_name(records: list[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.subject, []).append(record)
    return found


def _over(records: list[Record], what: str) -> Interval:
    """Over trainings and those pairs that are defined in all of them."""
    rows = [[math.nan if v is None else v for v in record.config[what]] for record in records]
    return crossed(rows)


def _mean_curve(records: list[Record]) -> list[float]:
    columns = zip(*(record.config["curve"] for record in records), strict=True)
    return [sum(column) / len(records) for column in columns]


def _bend(records: list[Record]) -> float:
    """The largest distance of the mean curve from the straight line to where it is down to a tenth."""
    y = _mean_curve(records)
    end = next((i for i, value in enumerate(y) if value <= 0.1), len(y) - 1)
    line = [1 + (y[end] - 1) * i / end for i in range(end + 1)]
    return max(abs(a - b) for a, b in zip(y, line, strict=False))


def drawn(records: list[Record]) -> dict[str, str]:
    """The mean curves, with the range over trainings as bands."""
    lines = []
    for name, some in _by_name(records).items():
        columns = list(zip(*(record.config["curve"] for record in some), strict=True))
        low, high = (tuple(map(edge, columns)) if len(some) > 1 else () for edge in (min, max))
        lines.append(Series(name, FINE, tuple(_mean_curve(some)), low, high))
    figure = Curve(CAPTION, "relative distortion", "relative distance to the target", tuple(lines))
    return {NAME: standalone(figure) + "\n"}


def _table(found: dict[str, list[Record]]) -> str:
    rows = tuple(
        (
            name,
            f"{len(some)} x {min(record.n for record in some)}",
            str(_over(some, "drops")),
            str(_over(some, "shares")),
            f"{_bend(some):.3f}",
        )
        for name, some in found.items()
    )
    columns = ("", "Trainings x pairs", "Steepest tenth", "Share of the way", "Bend of the mean")
    return markdown_table(Table("", columns, rows))


def _claim(found: dict[str, list[Record]]) -> str:
    """Whether classifiers give way abruptly and autoencoders almost in proportion."""
    coders, others = (
        [name for name in found if name.startswith("classifier") == which]
        for which in (False, True)
    )
    if not coders or not others:
        return ""
    shares = {name: _over(found[name], "shares") for name in found}
    apart = max(shares[name].high for name in others) < min(shares[name].low for name in coders)
    abrupt = "holds" if apart else "is unresolved"
    bends = {name: _bend(found[name]) for name in coders}
    straight = [name for name in coders if bends[name] <= BEND]
    linear = "holds" if len(straight) == len(coders) else "does not hold"
    if straight and len(straight) < len(coders):
        linear = f"holds for the {' and the '.join(straight)} alone"
    least, most = (pick(_over(found[n], "drops").mean for n in group) for pick, group in
                   ((min, others), (max, coders)))  # fmt: skip
    return (
        f"That a classifier gives way more abruptly than an autoencoder **{abrupt}**: in its steepest tenth "
        f"of distortion it loses {least:.2f} of the way to the target or more, an autoencoder "
        f"{most:.2f} or less, and the shares of the way on which they fall "
        f"{'do not overlap' if apart else 'overlap'}. That the autoencoders' trade-off is almost linear "
        f"**{linear}**: the mean curves lie at most "
        + " and ".join(f"{bends[name]:.3f} ({name})" for name in coders)
        + f" from a straight line; {BEND:g} is what we call almost."
    )


def rendered(records: list[Record]) -> str:
    """The item's part of the page."""
    found, some = _by_name(records), records[0]
    how = (
        f"Mean over {some.config['pairs']} pairs; the bands are the range over trainings. {some.attack}. "
        "*Steepest tenth*: the largest fall while the distortion grows by 0.1. *Share of the way*: the "
        f"distortion between 90% and 10% of the fall over that at 10%; {STRAIGHT:.2f} for a straight line, 0 "
        "for a step. Both are taken curve by curve, since a mean of steps at different places is smooth, "
        "and only of curves that fall by more than a half. *Bend*: the mean curve's largest distance from a "
        "straight line to where it is down to a tenth. Intervals are 95%, for other trainings and pairs."
    )
    picture = f"![{CAPTION}](pictures/{NAME})"
    return "\n\n".join([picture, how, _table(found), _claim(found)])
