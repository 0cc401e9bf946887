"""The page of `adversarial_vae/leaderboard`: one row per model over its trainings, and what follows."""

import math
from typing import NamedTuple

from trompe.evaluation.records import Record
from trompe.experiments.adversarial_vae.leaderboard import GRID, PUBLISHED
from trompe.reports import Cell, Table, markdown_table

__all__ = ["Interval", "differences", "interval", "rendered"]


class Interval(NamedTuple):
    """A mean over trainings with its 95% Student interval; the edges are NaN for a single one."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def resolved(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


def interval(values: list[float]) -> Interval:
    """The mean of one number per training.

    >>> str(interval([0.1, 0.2, 0.3]))
    '0.200 [-0.048, 0.448]'
    """
    import numpy as np
    from scipy.stats import t

    each = np.asarray(values)
    count, mean = len(each), float(each.mean())
    if count < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(t.ppf(0.975, count - 1) * each.std(ddof=1) / count**0.5)
    return Interval(mean, mean - half, mean + half)


Board = dict[str, dict[int, Record]]


def _board(records: list[Record]) -> Board:
    """Records by model and training, most robust model first."""
    board: Board = {}
    for record in records:
        board.setdefault(record.subject, {})[int(record.config["training"])] = record
    return dict(sorted(board.items(), key=lambda item: -_known(_area(item[1]).mean)))


def _known(value: float) -> float:
    """The value, or less than any where it is undefined."""
    return -math.inf if math.isnan(value) else value


def _area(trained: dict[int, Record]) -> Interval:
    return interval([record.value for record in trained.values()])


def _extra(trained: dict[int, Record], name: str) -> Interval:
    return interval([record.extra.get(name, math.nan) for record in trained.values()])


def differences(records: list[Record], one: str, other: str) -> Interval:
    """The first model's area less the second's, over the trainings from the same seed on the same pairs."""
    board = _board(records)
    shared = board[one].keys() & board[other].keys()
    return interval([board[one][s].value - board[other][s].value for s in sorted(shared)])


def _nats(trained: dict[int, Record], term: str) -> str:
    """The term's mean; nothing for a model that has no posterior."""
    mean = _extra(trained, term).mean
    return "" if math.isnan(mean) else f"{mean:.1f}"


def _row(name: str, trained: dict[int, Record]) -> tuple[Cell, ...]:
    first = next(iter(trained.values()))
    published = PUBLISHED.get(name) if first.config["data"] == "mnist" else None
    return (
        name,
        len(trained),
        min(record.n for record in trained.values()),
        str(_area(trained)),
        "" if published is None else f"{published[0]:.3f} ± {published[1]:.3f}",
        f"{_extra(trained, 'squared error').mean:.4f}",
        f"{100 * _extra(trained, 'read').mean:.1f}%",
        f"{_extra(trained, 'in use').mean:.1f}",
        _nats(trained, "kl"),
        _nats(trained, "total correlation"),
    )


def _table(board: Board) -> str:
    columns = (
        "Model",
        "Trainings",
        "Pairs",
        "AUDDC [95% over trainings]",
        "Published",
        "Squared error per pixel",
        "Digit still read",
        "Coordinates in use",
        "KL (nats)",
        "Total correlation (nats)",
    )
    return markdown_table(Table("", columns, tuple(_row(*item) for item in board.items())))


def _curves(board: Board) -> str:
    rows = tuple(
        (name, *(f"{_extra(trained, f'distance at {d:g}').mean:.3f}" for d in GRID))
        for name, trained in board.items()
    )
    return markdown_table(Table("", ("Model", *(f"{d:g}" for d in GRID)), rows))


def _versus(records: list[Record], one: str, other: str) -> str:
    found = differences(records, one, other)
    said = "unresolved" if not found.resolved else "higher" if found.mean > 0 else "lower"
    return f"{one} against {other}: {said}, {found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _comparisons(records: list[Record], board: Board) -> list[str]:
    """Each penalised model against the VAE, and each beta-TCVAE against the beta-VAE of its weight."""
    pairs = [(name, "VAE") for name in board if name.startswith("beta-")]
    pairs += [
        (f"beta-TCVAE {weight}", f"beta-VAE {weight}")
        for weight in (name.split()[1] for name in board if name.startswith("beta-TCVAE"))
        if f"beta-VAE {weight}" in board
    ]
    return [f"- {_versus(records, one, other)}." for one, other in pairs]


def _claim(records: list[Record], board: Board) -> str:
    """Whether penalising total correlation makes a VAE harder to attack, as Willetts et al. 2021 say."""
    names = [name for name in board if name.startswith("beta-TCVAE")]
    found = [differences(records, name, "VAE") for name in names]
    better = sum(one.resolved and one.mean > 0 for one in found)
    worse = sum(one.resolved and one.mean < 0 for one in found)
    if better and not worse:
        held = "holds" if better == len(found) else "holds in part"
    else:
        held = "does not hold; the reverse is measured" if worse and not better else "is unresolved"
    return (
        "Willetts et al. 2021 report that penalising the total correlation makes the latent attack "
        f"harder. By the area under the curve this **{held}** here: of {len(found)} weights, {better} "
        f"clearly raise it above the VAE's and {worse} clearly lower it. Their measure, the loss that the "
        "attack is left with, has the model's own unit and grows with the penalty by itself; the area "
        "compares images."
    )


def _price(board: Board) -> str:
    """Which models nothing beats in both robustness and reconstruction."""
    scored = {n: (_area(t).mean, _extra(t, "squared error").mean) for n, t in board.items()}
    front = [
        name
        for name, (area, error) in scored.items()
        if not math.isnan(area) and not any(a > area and e < error for a, e in scored.values())
    ]
    top, plain = next(iter(scored)), scored["VAE"]
    ratio = scored[top][1] / plain[1]
    said = f"The top of the board is {top}, at {ratio:.2f} times the squared error of the VAE"
    read = _extra(board[top], "read").mean, _extra(board["VAE"], "read").mean
    return (
        f"{said}, with {100 * read[0]:.1f}% of clean digits still read ({100 * read[1]:.1f}% for the VAE). "
        f"No other model is both more robust and more exact than each of: {', '.join(front)}."
    )


def rendered(records: list[Record]) -> str:
    """The item's part of the page."""
    board = _board(records)
    some = next(iter(next(iter(board.values())).values()))
    low, high = some.config["octaves"]
    setting = (
        f"{some.config['pairs']} pairs, {high - low + 1} weights of the penalty from 2^{low} to 2^{high}, "
        f"{some.config['steps']} gradients on each. Intervals are Student's over trainings; those of "
        "differences pair trainings of one seed and are not corrected for their number. A pair counts "
        "where the model tells its two images apart (the fewest over the trainings are shown). Published "
        "values are means over 25 pairs of one training with their deviation. The total correlation is that "
        "of a few hundred codes taken as the whole set, where separate codes count as dependent: it "
        "serves to compare these models."
    )
    parts = ["### The board", setting, _table(board), _price(board)]
    if {"VAE", "AE"} <= board.keys():
        parts += ["### What the penalties buy", "\n".join(_comparisons(records, board))]
        parts += [_claim(records, board)]
    parts += ["### Mean target distance by distortion", "Clipped to [0, 1].", _curves(board)]
    return "\n\n".join(parts)
