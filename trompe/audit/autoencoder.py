"""The autoencoder's part of an audit: how far its output can be moved, at each distortion of its input."""

import math
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from trompe.audit import margins
from trompe.audit.pairs import RATES, SHARES, TARGETED, UNTARGETED, Rows, Subject, measured
from trompe.audit.part import Part, Progress, Store, severity
from trompe.core import random
from trompe.core.geometry import norm
from trompe.evaluation.records import Record
from trompe.reports import (
    Block,
    Curve,
    Finding,
    Grid,
    Metric,
    Section,
    Series,
    Table,
    magnified,
    metric,
)
from trompe.reports import measured as in_words

__all__ = ["examine"]


def examine(
    subject: Subject,
    store: Store,
    *,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Part:
    """How well the autoencoder reconstructs, and how far attacks move what it shows."""
    radii = subject.radii()
    rows, complete = measured(subject, radii, store, deadline, progress)
    n, judged = len(rows["area"]), "counted" in rows
    part = Part(complete=complete, findings=[_finding(subject, radii, rows)])
    part.metrics.append(_reconstruction(subject))
    part.metrics.append(_mean("autoencoder: AUDDC", rows["area"], "higher"))
    for record, share in _records(subject, radii, rows):
        part.records.append(record)
        name = f"autoencoder: {record.metric} at {share:.0%} of the way"
        part.metrics.append(metric(record, name, "lower"))
    blocks: list[Block] = [_distances(subject, rows), _success(radii, rows)]
    if complete:
        held, survival = margins.examine(subject, store)
        part += held
        blocks += survival
    blocks.append(_pictures(subject, radii))
    text = (
        f"On {n} pairs of a source and a target of another class, a latent attack "
        f"({subject.attack.divergence} between codes) moves the source's code towards the target's, or as "
        "far as it can; the decoder is not needed for it. "
    )
    text += (
        "Success is judged on the output, by a classifier that no attack has seen. An attack without a "
        "target is credited with whatever any attack here reached within the radius."
        if judged
        else "Without labels of two classes no judge can be trained, and only distances count."
    )
    section = Section(f"Can {subject.name} be made to lie?", text, tuple(blocks), TARGETED)
    part.sections.append(section)
    if not judged:
        part.untested += [
            "Whether outputs change class: the data has no labels of two classes, so only distances count.",
            "Codes changed in transit, and whether that is noticed: a shift goes from one class to another, "
            "and the data has no labels of two.",
        ]
    return part


def _rate(rows: Rows, name: str, k: int, **about: Any) -> Record:
    counted = rows["counted"]
    return Record.rate(name, int((rows[name][k] & counted).sum()), int(counted.sum()), **about)


def _records(subject: Subject, radii: tuple[float, ...], rows: Rows) -> list[tuple[Record, float]]:
    """A record of each rate at each radius, and the radius as a share of the way to the target."""
    if "counted" not in rows:
        return []
    about: dict[str, Any] = {"subject": subject.name, "seed": subject.seed, "norm": "L2"}
    attack = str(subject.attack)
    return [
        (_rate(rows, name, k, threat=threat, eps=radius, attack=attack, **about), SHARES[k])
        for name, threat in RATES.items()
        for k, radius in enumerate(radii)
    ]


def _mean(
    name: str, values: Tensor, better: Literal["", "higher", "lower"] = "", unit: str = ""
) -> Metric:
    """A mean with its normal 95% interval; what is undefined is left out."""
    values = values[~values.isnan()]
    n = len(values)
    middle = float(values.mean()) if n else math.nan
    if n < 2:
        return Metric(name, middle, None, None, n, unit, better, "", TARGETED)
    half = 1.96 * float(values.std()) / math.sqrt(n)
    ends = middle - half, middle + half
    return Metric(name, middle, *ends, n, unit, better, "normal 95%", TARGETED)


def _reconstruction(subject: Subject) -> Metric:
    x, *_ = subject.pairs()
    rmsd = norm(subject.outputs(x) - x, "L2") / math.sqrt(x[0].numel())
    name = "autoencoder: clean reconstruction error"
    return replace(_mean(name, rmsd, "lower", "RMS per value"), threat="")


def _finding(subject: Subject, radii: tuple[float, ...], rows: Rows) -> Finding:
    k = len(radii) // 2
    known = rows["distance"][k][~rows["distance"][k].isnan()]
    way = f"A change of L2 length {radii[k]:.3g}, {SHARES[k]:.0%} of the way to another image,"
    detail = (
        f"The outputs for {len(known)} of {len(rows['area'])} sources are farther from the target than "
        "the output for the target itself; only they can be moved towards it."
    )
    if 2 * len(known) < len(rows["area"]) and "counted" not in rows:
        head = f"{subject.name} reconstructs too badly for attacks on it to prove anything."
        return Finding("info", head, detail, TARGETED)
    moved = 1 - float(known.clamp(0, 1).mean())
    if 2 * len(known) >= len(rows["area"]):
        detail = f"On average the output covers {moved:.0%} of the distance to the target's reconstruction."
    if "counted" not in rows:
        head = f"{way} moves the output of {subject.name} {moved:.0%} of the way to a chosen image."
        area = in_words(_mean("AUDDC", rows["area"]))
        return Finding(severity(moved), head, detail, TARGETED, f"area under the curve {area}")
    won, lost, calm = (_rate(rows, n, k) for n in ("AS-target", "AS untargeted", "random noise"))
    if won.n == 0:
        head = f"No output of {subject.name} is read as its source's class, so attacks on it prove nothing."
        return Finding("info", head, detail, TARGETED)
    head = (
        f"{way} makes {subject.name} show the attacker's chosen class in {won.value:.0%} of cases."
    )
    detail += (
        f" An attacker content with any other class has it in {lost.value:.0%}; random noise of the same "
        f"size in {calm.value:.0%}. Only sources whose clean output is read rightly count ({won.n})."
    )
    interval = in_words(metric(won, "AS-target", "lower"))
    return Finding(severity(won.value), head, detail, TARGETED, interval)


def _distances(subject: Subject, rows: Rows) -> Curve:
    means = [_mean("", values) for values in rows["distance"]]
    series = Series(
        subject.name,
        (0.0, *(float(values.nanmean()) for values in rows["distortion"])),
        (1.0, *(m.value for m in means)),
        (1.0, *(m.value if m.low is None else m.low for m in means)),
        (1.0, *(m.value if m.high is None else m.high for m in means)),
    )
    return Curve(
        "Distortion-distortion curve of the targeted latent attack",
        "relative distortion of the input",
        "relative distance to the target",
        (series,),
        note="1 is an output that the attack did not move, 0 the best this autoencoder can show of the "
        f"target. The area under each pair's curve (AUDDC) is {in_words(_mean('', rows['area']))}.",
    )


def _success(radii: tuple[float, ...], rows: Rows) -> Curve | Table:
    if "counted" not in rows:
        means = rows["change"].mean(1).tolist()
        cells = tuple((f"{r:.3g}", mean) for r, mean in zip(radii, means, strict=True))
        return Table("Largest change of the output (L2)", ("radius", "mean change"), cells)
    series = []
    for name in RATES:
        told = [_rate(rows, name, k) for k in range(len(radii))]
        value, low, high = (
            tuple(getattr(r, end) for r in told) for end in ("value", "low", "high")
        )
        series.append(Series(name, radii, value, low, high))
    return Curve(
        "How often the output shows another class",
        "length of the change (L2)",
        "share of sources",
        tuple(series),
        percent=True,
        note="Judged by a separate classifier; Wilson 95% intervals, "
        f"n = {int(rows['counted'].sum())}.",
        threat=f"{TARGETED} {UNTARGETED}",
    )


def _pictures(subject: Subject, radii: tuple[float, ...], most: int = 6) -> Grid:
    x, target, *_ = subject.pairs()
    x, target = x[:most], target[:most]
    radius = radii[len(radii) // 2]
    seeds = random.seeds(subject.seed, len(x)).to(x.device)
    found = subject.attack.at(radius)(subject.model, x, target, seeds=seeds)
    domain = subject.data.domain
    honest, lying = (domain.project(subject.outputs(part)) for part in (x, found))
    if x.ndim == 4:
        changes = [magnified(delta.cpu().numpy())[0] for delta in found - x]
    else:
        changes = list(domain.render(found - x))
    columns = {
        "source": domain.render(x),
        "change, magnified": changes,
        "adversarial": domain.render(found),
        "source's output": domain.render(honest),
        "adversarial's output": domain.render(lying),
        "target": domain.render(target),
    }
    rows = tuple(zip(*columns.values(), strict=True))
    return Grid(f"Targeted attack at L2 {radius:.3g}", tuple(columns), rows)
