"""The page of `comms/ten_models`: means over models, their spread, and every pair."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from trompe.experiments.adversarial_vae._board import interval
from trompe.experiments.comms._links import CLEAN, JAMMING
from trompe.experiments.comms._page import ratio, verdict
from trompe.experiments.comms.ten_models import CROSSED, MORE, PUBLISHED, WHITE
from trompe.reports import Table, markdown_table
from trompe.reports.wording import number

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["Spread", "gains", "pictured", "rendered"]

PICTURE = "comms-ten-models.svg"
CAPTION = "Means over models, bands from the best model to the worst"
ALONE = (CLEAN, JAMMING, WHITE)
ASKED = 5.0
"""How many times jamming's errors an attack is asked to make."""
Point = tuple[float, float]


class Spread(NamedTuple):
    """One number per model: their mean with Student's 95% interval, deviation and range."""

    mean: float
    low: float
    high: float
    deviation: float
    least: float
    most: float
    models: int

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Of at least one value; of a single one nothing but itself is known.

        >>> str(Spread.of([0.1, 0.2, 0.3]))
        '0.2 [−0.048, 0.45], sd 0.1, 0.1 to 0.3'
        """
        import numpy as np

        middle = interval(values)
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
        return cls(*middle, deviation, min(values), max(values), len(values))

    def __str__(self) -> str:
        if self.models < 2:
            return f"{number(self.mean, 2)} (one model)"
        ends = f"[{number(self.low, 2)}, {number(self.high, 2)}]"
        spread = (
            f"sd {number(self.deviation, 2)}, {number(self.least, 2)} to {number(self.most, 2)}"
        )
        return f"{number(self.mean, 2)} {ends}, {spread}"


class _Kind:
    """The records of one architecture."""

    def __init__(self, name: str, records: "list[Record]") -> None:
        self.name = name
        self.alone: dict[Point, dict[str, dict[str, Record]]] = {}
        self.crossed: dict[Point, dict[str, dict[tuple[str, str], Record]]] = {}
        self.more: dict[Point, dict[str, dict[tuple[str, str], Record]]] = {}
        for r in records:
            if r.config["model"] != name or "curve" in r.config:
                continue
            at = r.extra["snr"], r.extra["psr"]
            if other := r.config.get("substitute"):
                kind = self.more if r.metric == MORE else self.crossed
                kind.setdefault(at, {}).setdefault(r.attack, {})[r.subject, other] = r
            else:
                self.alone.setdefault(at, {}).setdefault(r.attack, {})[r.subject] = r

    def times(self, at: Point, how: str) -> dict[tuple[str, str], float]:
        """By victim and substitute, how many times jamming's error rate."""
        jam = self.alone[at][JAMMING]
        pairs = self.crossed.get(at, {}).get(how, {})
        return {pair: ratio(r, jam[pair[0]]).value for pair, r in pairs.items()}


def _kinds(records: "list[Record]") -> list[_Kind]:
    return [_Kind(name, records) for name in dict.fromkeys(r.config["model"] for r in records)]


def gains(times: dict[tuple[str, str], float]) -> Spread:
    """The mean over substitutes for each victim, and how that spreads over victims."""
    by: dict[str, list[float]] = {}
    for (victim, _), value in times.items():
        by.setdefault(victim, []).append(value)
    return Spread.of([sum(values) / len(values) for values in by.values()])


def rendered(records: "list[Record]") -> str:
    """Means and spread, what follows for the white box, pairs, what follows for the black box."""
    config, kinds = records[0].config, _kinds(records)
    counts = " and ".join(f"{len(k.alone[_points(k)[0]][CLEAN])} x {k.name}" for k in kinds)
    parts = [
        f"{counts}, seeds from 0, on the {config['schedule']} schedule. Counting ends at {config['errors']} "
        f"errors or {config['blocks']:,} blocks under each condition. Intervals are Student's 95% over "
        "models, sd is the deviation between them, and the last two numbers are the least and the most.",
        f"![{CAPTION}](pictures/{PICTURE})",
        _means(kinds),
        "\n".join(_white(kind, at) for kind in kinds for at in _points(kind)),
    ]
    crossed = [kind for kind in kinds if kind.crossed]
    if crossed:
        parts += ["### Black box: made for one model, sent to another", _head(config)]
        parts += [
            _matrix(kind, at, how) for kind in crossed for at in _points(kind) for how in CROSSED
        ]
        parts += ["### Does the advantage over jamming shrink on average?"]
        parts += [
            "\n".join(_black(k, at, how) for k in crossed for at in _points(k) for how in CROSSED)
        ]
        parts += [_overall(crossed)]
    return "\n\n".join(parts)


def _points(kind: _Kind) -> list[Point]:
    return list(kind.alone)


def _means(kinds: list[_Kind]) -> str:
    rows: list[tuple[str | int, ...]] = []
    for kind in kinds:
        for (snr, psr), found in kind.alone.items():
            cells = [_cell(list(found[name].values())) for name in ALONE]
            blocks = max(r.n for name in ALONE for r in found[name].values())
            rows.append((kind.name, f"{snr:g}", f"{psr:g}", *cells, blocks))
    columns = ("Models", "Eb/N0, dB", "PSR, dB", *ALONE, "Blocks at most")
    return markdown_table(Table("", columns, tuple(rows)))


def _cell(records: "list[Record]") -> str:
    if not any(r.value for r in records):
        return f"no error in {sum(r.n for r in records):,} blocks"
    return str(Spread.of([r.value for r in records]))


def _white(kind: _Kind, at: Point) -> str:
    """Whether the white box makes the errors asked for, model by model and on average."""
    found = kind.alone[at]
    each = [ratio(found[WHITE][name], found[JAMMING][name]) for name in found[WHITE]]
    surely = sum(one.low >= ASKED for one in each)
    never = sum(one.high < ASKED for one in each)
    return (
        f"- {kind.name} at {_at(at)}: the white box makes {Spread.of([one.value for one in each])} times "
        f"jamming's errors. That it makes at least {ASKED:g} times as many for every model "
        f"{verdict(surely == len(each), never > 0)}: surely for {surely} of {len(each)}, surely not "
        f"for {never}."
    )


def _at(at: Point) -> str:
    return f"{at[0]:g} dB, PSR {at[1]:g} dB"


def _head(config: Mapping[str, Any]) -> str:
    return (
        "Errors of the victim (rows) under what was made for the substitute (columns), in times those under "
        "jamming of the same power. The attacker listens to its substitute at "
        f"{config['learned']:g} dB and hits every block in time and in sign. Intervals are over victims, and "
        "take the substitutes as given."
    )


def _matrix(kind: _Kind, at: Point, how: str) -> str:
    times = kind.times(at, how)
    victims, others = (sorted({pair[i] for pair in times}) for i in (0, 1))
    rows = []
    for victim in victims:
        values = [times.get((victim, other)) for other in others]
        rows.append((victim, *(None if v is None else number(v, 2) for v in values)))
    table = Table("", (f"{how}, {_at(at)}", *others), tuple(rows))
    return markdown_table(table)


def _black(kind: _Kind, at: Point, how: str) -> str:
    """The mean gain with its spread; whether it is above jamming, and whether below the published pair's."""
    found, more = gains(kind.times(at, how)), list(kind.more[at][how].values())
    each = Spread.of(list(kind.times(at, how).values()))
    above = sum((r.low or 0) > 0 for r in more)
    below = sum((r.high or 0) < 0 for r in more)
    line = (
        f"- {kind.name}, {how}, {_at(at)}: {found} times jamming (victims: {found.models}), from "
        f"{number(each.least, 2)} to {number(each.most, 2)} over {len(more)} pairs, {above} surely above "
        f"jamming and {below} surely below. That it beats jamming on average "
        f"{verdict(found.low > 1, found.high < 1)}."
    )
    if told := PUBLISHED.get(at):
        single = told[0] / told[1]
        line += (
            f" The published CNN's has {number(single, 2)} times; that the mean lies below that "
            f"{verdict(found.high < single, found.low > single)}."
        )
    return line


def _overall(kinds: list[_Kind]) -> str:
    """The claim of the authors' averages, from all that was measured."""
    verdicts = []
    for kind in kinds:
        for at in _points(kind):
            for how in CROSSED if at in PUBLISHED else ():
                mean = gains(kind.times(at, how))
                single = PUBLISHED[at][0] / PUBLISHED[at][1]
                verdicts.append((mean.high < single, mean.low > single))
    if not verdicts:
        return "No point that the authors published was measured."
    shrinks = sum(holds for holds, _ in verdicts)
    grows = sum(fails for _, fails in verdicts)
    sources = dict.fromkeys(source for *_, source in PUBLISHED.values())
    return (
        "The authors' repository shows that over ten models the black box has little advantage over jamming "
        f"left. That the advantage shrinks on average {verdict(shrinks == len(verdicts), grows > 0)}: in "
        f"{shrinks} of {len(verdicts)} cases the mean surely lies below the published pair's, in {grows} "
        f"surely above. Published: {'; '.join(sources)}."
    )


def pictured(records: "list[Record]") -> dict[str, str]:
    """The mean of each curve over models, as far as all models have it."""
    from trompe.reports.radio import ErrorCurve, error_curves

    found: dict[str, dict[float, list[float]]] = {}
    for r in records:
        if curve := r.config.get("curve"):
            name = f"{r.config['model']}, {curve}"
            found.setdefault(name, {}).setdefault(r.extra["snr"], []).append(r.value)
    curves = []
    for name, levels in found.items():
        models = max(map(len, levels.values()))
        points = tuple(
            (snr, sum(values) / models, min(values), max(values))
            for snr, values in sorted(levels.items())
            if len(values) == models
        )
        curves.append(ErrorCurve(name, points))
    return {PICTURE: error_curves(curves, title=CAPTION) + "\n"}
