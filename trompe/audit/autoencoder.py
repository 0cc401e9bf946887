"""The autoencoder's part of an audit: how far its output can be moved, at each distortion of its input."""

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trompe.attacks.autoencoder import LatentAttack
from trompe.audit.part import Part, Progress, Store, severity
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import device_of
from trompe.core.geometry import Ball, norm, per_example
from trompe.core.protocols import PointMass
from trompe.data import Dataset
from trompe.evaluation.autoencoder import curve, judge, partners
from trompe.evaluation.records import Record
from trompe.reports import Curve, Finding, Grid, Metric, Section, Series, Table, magnified, metric
from trompe.reports import measured as in_words

__all__ = ["SHARES", "TARGETED", "UNTARGETED", "Subject", "examine"]

TARGETED = (
    "The attacker knows the autoencoder and its weights, may change the input by the given L2 length, and "
    "wants the output to show a chosen other image."
)
UNTARGETED = (
    "The attacker knows the autoencoder and its weights, may change the input by the given L2 length, and "
    "wants the output to show anything else."
)
NOBODY = "Nobody attacks: the input carries noise of the given L2 length."
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
_RATES = {
    "AS-target": TARGETED,
    "AS-ignore-target": TARGETED,
    "AS untargeted": UNTARGETED,
    "random noise": NOBODY,
}
_CHUNK = 32

Rows = dict[str, Tensor]
"""What was measured on N pairs at K radii: `distortion`, `distance` and `change` `(K, N)` and `area` `(N,)`,
as in `evaluation.autoencoder`; and where there is a judge, whether each pair counts, `counted` `(N,)`, and
whether it was won, `(K, N)`, under each name of `_RATES`."""


@dataclass(frozen=True)
class Subject:
    """What is measured: an autoencoder, under a name, on pairs of images.

    Args:
        judge: a classifier that no attack sees, which says what an output shows; None without labels.
        steps: gradients per attack.
    """

    name: str
    model: nn.Module
    data: Dataset
    judge: nn.Module | None
    seed: int
    steps: int = 100

    @property
    def attack(self) -> LatentAttack:
        """The latent attack that fits the encoder: KL for a stochastic one, L2 for codes that are points."""
        x, *_ = self.pairs()
        with torch.no_grad():
            point = isinstance(self.model.encode(x[:1]), PointMass)  # type: ignore[operator]
        kind: Any = "L2" if point else "kl"
        ball = Ball(1.0, "L2")
        return LatentAttack(ball, divergence=kind, steps=self.steps, domain=self.data.domain)

    def pairs(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Sources, targets and their labels: each source is given the next image of another class.

        Without two classes there are no labels, and the target is simply the next image.
        """
        x, y = self.data.tensors()
        device = device_of(self.model, x)
        if y is None or bool((y == y[0]).all()):
            return x.to(device), x.roll(-1, 0).to(device), None, None
        order = partners(y)
        return x.to(device), x[order].to(device), y.to(device), y[order].to(device)

    def radii(self) -> tuple[float, ...]:
        """L2 radii: shares of the median distance between source and target."""
        x, target, *_ = self.pairs()
        middle = float(norm(target - x, "L2").median())
        if not middle > 0:
            raise UserError("the images are all alike; an attack needs another image to aim at")
        return tuple(float(f"{share * middle:.3g}") for share in SHARES)

    def outputs(self, x: Tensor) -> Tensor:
        """What the autoencoder makes of the first inputs, in pieces that fit."""
        seeds = random.seeds(self.seed, len(x)).to(x.device)
        made = []
        for part, own in zip(x.split(256), seeds.split(256), strict=True):
            with torch.no_grad(), random.streams(own):
                made.append(self.model(part))
        return torch.cat(made)


def examine(
    subject: Subject,
    store: Store,
    *,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Part:
    """How well the autoencoder reconstructs, and how far attacks move what it shows."""
    radii = subject.radii()
    rows, complete = _measured(subject, radii, store, deadline, progress)
    n, judged = len(rows["area"]), "counted" in rows
    part = Part(complete=complete, findings=[_finding(subject, radii, rows)])
    part.metrics.append(_reconstruction(subject))
    part.metrics.append(_mean("autoencoder: AUDDC", rows["area"], "higher"))
    for record, share in _records(subject, radii, rows):
        part.records.append(record)
        name = f"autoencoder: {record.metric} at {share:.0%} of the way"
        part.metrics.append(metric(record, name, "lower"))
    blocks = [_distances(subject, rows), _success(radii, rows), _pictures(subject, radii)]
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
        part.untested.append(
            "Whether outputs change class: the data has no labels of two classes, so only distances count."
        )
    return part


def _measured(
    subject: Subject,
    radii: tuple[float, ...],
    store: Store,
    deadline: float | None,
    progress: Progress | None,
) -> tuple[Rows, bool]:
    """All pairs, a chunk at a time; a chunk once measured is kept. Whether the time sufficed for all."""
    total = len(subject.data)
    chunks: list[Rows] = []
    for start in range(0, total, _CHUNK):
        if deadline is not None and chunks and time.monotonic() > deadline:
            return _joined(chunks), False
        if progress is not None:
            progress(start, total, subject.name)
        make = partial(_chunk, subject, radii, slice(start, start + _CHUNK))
        kept = store.get(f"pairs-{start}", make)
        chunks.append({name: torch.tensor(values) for name, values in kept.items()})
    return _joined(chunks), True


def _joined(chunks: list[Rows]) -> Rows:
    return {name: torch.cat([chunk[name] for chunk in chunks], -1) for name in chunks[0]}


def _chunk(subject: Subject, radii: tuple[float, ...], which: slice) -> dict[str, Any]:
    """Some pairs at every radius, as lists: towards the target, as far as possible, and noise beside."""
    x, target, y, wanted = (None if part is None else part[which] for part in subject.pairs())
    assert x is not None
    assert target is not None
    places = torch.arange(len(subject.data))[which]
    seeds = random.seeds(subject.seed, places).to(x.device)
    attack = subject.attack
    damage = replace(attack, targeted=False, divergence="L2", restarts=2)
    towards = curve(subject.model, attack, x, target, budgets=radii, seeds=seeds)
    away = curve(subject.model, damage, x, None, budgets=radii, seeds=seeds)
    rows = {
        "distance": towards.distance,
        "distortion": towards.distortion,
        "change": torch.maximum(towards.change, away.change),
        "area": towards.auddc(),
    }
    if subject.judge is not None and y is not None and wanted is not None:
        calm = torch.stack([_noisy(subject, x, radius, seeds) for radius in radii])
        read = partial(_read, subject, x, y, wanted, seeds)
        rows |= _won(*map(read, (towards.adversarial, away.adversarial, calm)))
    return {name: values.tolist() for name, values in rows.items()}


def _read(
    subject: Subject, x: Tensor, y: Tensor, wanted: Tensor, seeds: Tensor, images: Tensor
) -> Rows:
    """What the judge reads in the outputs of `(K, B, *)` inputs."""
    assert subject.judge is not None
    told = [judge(subject.model, subject.judge, x, each, y, wanted, seeds=seeds) for each in images]
    names = ("counted", "ignored", "reached")
    return {name: torch.stack([getattr(one, name) for one in told]) for name in names}


def _won(towards: Rows, away: Rows, calm: Rows) -> Rows:
    """The rates' successes. Balls are nested: what an attack reached in one it has in all larger ones."""
    return {
        "counted": towards["counted"][0],
        "AS-target": _kept(towards["reached"]),
        "AS-ignore-target": _kept(towards["ignored"]),
        "AS untargeted": _kept(towards["ignored"] | away["ignored"]),
        "random noise": calm["ignored"],
    }


def _kept(won: Tensor) -> Tensor:
    return won.long().cummax(0).values.bool()


def _noisy(subject: Subject, x: Tensor, radius: float, seeds: Tensor) -> Tensor:
    """Inputs with noise of the given length inside the domain: the same distortion, when nobody means it."""
    with random.streams(seeds):
        delta = random.normal(tuple(x.shape), x)
    for _ in range(5):  # what is clipped shortens it
        delta = delta * per_example(radius / norm(delta, "L2").clamp_min(1e-12), x)
        delta = subject.data.domain.project(x + delta) - x
    return x + delta


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
        for name, threat in _RATES.items()
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
    moved = 1 - float(rows["distance"][k].clamp(0, 1).nanmean())
    way = f"A change of L2 length {radii[k]:.3g}, {SHARES[k]:.0%} of the way to another image,"
    detail = (
        f"On average the output covers {moved:.0%} of the distance to the target's reconstruction."
    )
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
        "target.",
    )


def _success(radii: tuple[float, ...], rows: Rows) -> Curve | Table:
    if "counted" not in rows:
        means = rows["change"].mean(1).tolist()
        cells = tuple((f"{r:.3g}", mean) for r, mean in zip(radii, means, strict=True))
        return Table("Largest change of the output (L2)", ("radius", "mean change"), cells)
    series = []
    for name in _RATES:
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
