"""The autoencoder's part of an audit: how far its output can be moved, at each distortion of its input."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

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
from trompe.evaluation.autoencoder import curve, judge
from trompe.evaluation.records import Record
from trompe.reports import Curve, Finding, Grid, Metric, Section, Series, Table, magnified, metric
from trompe.reports import measured as in_words

__all__ = ["TARGETED", "UNTARGETED", "Subject", "examine"]

TARGETED = (
    "The attacker knows the autoencoder and its weights, may change the input by the given L2 length, and "
    "wants the output to show a chosen other image."
)
UNTARGETED = (
    "The attacker knows the autoencoder and its weights, may change the input by the given L2 length, and "
    "wants the output to show anything else."
)
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
_CHUNK = 32


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
        x, _ = self.data.tensors(slice(0, 1))
        with torch.no_grad():
            point = isinstance(self.model.encode(x), PointMass)  # type: ignore[operator]
        kind: Any = "L2" if point else "kl"
        ball = Ball(1.0, "L2")
        return LatentAttack(ball, divergence=kind, steps=self.steps, domain=self.data.domain)

    def pairs(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Sources, targets and their labels: each source is given the next image of another class."""
        x, y = self.data.tensors()
        x = x.to(device_of(self.model, x))
        order = torch.arange(len(x)).roll(1) if y is None else _partners(y)
        return x, x[order], y, None if y is None else y[order]

    def radii(self) -> tuple[float, ...]:
        """L2 radii: shares of the median distance between source and target."""
        x, target, _, _ = self.pairs()
        middle = float(norm(target - x, "L2").median())
        return tuple(float(f"{share * middle:.3g}") for share in SHARES)


def _partners(y: Tensor) -> Tensor:
    """For each example the next one, going round, that is of another class."""
    if bool((y == y[0]).all()):
        raise UserError("all images have one label; targets of another class need a second")
    partner = torch.arange(len(y))
    for step in range(1, len(y)):
        same = y[partner] == y
        if not bool(same.any()):
            break
        partner = torch.where(same, (torch.arange(len(y)) + step) % len(y), partner)
    return partner


def examine(
    subject: Subject,
    store: Store,
    *,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Part:
    """How well the autoencoder reconstructs, and how far attacks move what it shows."""
    rows, complete = _measured(subject, store, deadline, progress)
    part = Part(complete=complete)
    radii = subject.radii()
    part.records = _records(subject, radii, rows)
    part.metrics += [metric(record, record.metric, "lower") for record in part.records[1:]]
    part.metrics.insert(0, _reconstruction(subject))
    area = torch.tensor(rows["area"])
    part.metrics.append(_mean_metric(f"{subject.name}: AUDDC", area))
    part.findings.append(_finding(subject, radii, rows))
    blocks = [
        _distances(subject, radii, rows),
        *_success(subject, radii, rows),
        _pictures(subject, radii),
    ]
    part.sections.append(
        Section(
            f"Can {subject.name} be made to lie?",
            f"A latent attack ({subject.attack.divergence} between codes) moves the code of a source "
            "towards that of a target of another class, or as far as it can; the decoder is not needed for "
            "it. Success is judged on the output, by a classifier that no attack has seen.",
            tuple(blocks),
            TARGETED,
        )
    )
    if subject.judge is None:
        part.untested.append(
            "Whether outputs change class: the data has no labels, so only distances count."
        )
    return part


def _measured(
    subject: Subject, store: Store, deadline: float | None, progress: Progress | None
) -> tuple[dict[str, Any], bool]:
    """All pairs, a chunk at a time; a chunk once measured is kept."""
    x, target, y, wanted = subject.pairs()
    radii = subject.radii()
    chunks: list[dict[str, Any]] = []
    for start in range(0, len(x), _CHUNK):
        if deadline is not None and chunks and time.monotonic() > deadline:
            break
        if progress is not None:
            progress(start, len(x), subject.name)
        rows = slice(start, start + _CHUNK)
        labels = (None, None) if y is None or wanted is None else (y[rows], wanted[rows])
        seeds = random.seeds(subject.seed, torch.arange(len(x))[rows])
        measure = partial(_chunk, subject, x[rows], target[rows], labels, seeds, radii)
        chunks.append(store.get(f"pairs-{start}", measure))
    return _joined(chunks, len(radii)), len(chunks) * _CHUNK >= len(x)


def _joined(chunks: list[dict[str, Any]], levels: int) -> dict[str, Any]:
    """One table of all chunks: a list of examples for each measure, and for most of them each radius."""
    joined: dict[str, Any] = {"area": [value for chunk in chunks for value in chunk["area"]]}
    for key in chunks[0]:
        if key != "area":
            joined[key] = [[v for chunk in chunks for v in chunk[key][k]] for k in range(levels)]
    return joined


def _chunk(
    subject: Subject,
    x: Tensor,
    target: Tensor,
    labels: tuple[Tensor | None, Tensor | None],
    seeds: Tensor,
    radii: Sequence[float],
) -> dict[str, Any]:
    """One chunk at every radius: towards the target, as far as possible, and random noise beside."""
    attack = subject.attack
    towards = curve(subject.model, attack, x, target, budgets=radii, seeds=seeds)
    away = curve(subject.model, _damage(attack), x, None, budgets=radii, seeds=seeds)
    found: dict[str, Any] = {
        "distance": towards.distance.tolist(),
        "distortion": towards.distortion.tolist(),
        "change": away.change.tolist(),
        "length": away.l2.tolist(),
        "area": towards.auddc().tolist(),
    }
    y, wanted = labels
    if subject.judge is None or y is None:
        return found
    noise = [subject.data.domain.project(x + _noise(x, radius, seeds)) for radius in radii]
    kinds: dict[str, Any] = {
        "targeted": towards.adversarial,
        "untargeted": away.adversarial,
        "noise": noise,
    }
    for kind, images in kinds.items():
        judged = [
            judge(subject.model, subject.judge, x, each, y, wanted, seeds=seeds) for each in images
        ]
        found[f"{kind} counted"] = [j.counted.tolist() for j in judged]
        found[f"{kind} ignored"] = [j.ignored.tolist() for j in judged]
        found[f"{kind} reached"] = [j.reached.tolist() for j in judged]
    return found


def _damage(attack: LatentAttack) -> LatentAttack:
    return replace(attack, targeted=False, divergence="L2", restarts=2)


def _noise(x: Tensor, radius: float, seeds: Tensor) -> Tensor:
    """Noise of the given length: what the same distortion does when nobody means it."""
    with random.streams(seeds):
        draw = random.normal(tuple(x.shape), x)
    return draw * per_example(radius / norm(draw, "L2"), x)


def _rate(rows: dict[str, Any], kind: str, what: str, k: int) -> tuple[int, int]:
    counted = torch.tensor(rows[f"{kind} counted"][k])
    return int((torch.tensor(rows[f"{kind} {what}"][k]) & counted).sum()), int(counted.sum())


_RATES = (
    ("AS-target", "targeted", "reached", TARGETED),
    ("AS-ignore-target", "targeted", "ignored", TARGETED),
    ("AS untargeted", "untargeted", "ignored", UNTARGETED),
    (
        "random noise",
        "noise",
        "ignored",
        "Nobody attacks: the input carries noise of the given L2 length.",
    ),
)


def _records(subject: Subject, radii: Sequence[float], rows: dict[str, Any]) -> list[Record]:
    area = torch.tensor(rows["area"])
    records = [
        Record(
            f"{subject.name}: AUDDC",
            float(area.mean()),
            len(area),
            subject=subject.name,
            threat=TARGETED,
        )
    ]
    if "targeted counted" not in rows:
        return records
    for name, kind, what, threat in _RATES:
        for k, radius in enumerate(radii):
            wins, n = _rate(rows, kind, what, k)
            told = f"{subject.name}: {name} at L2 {radius:.3g}"
            about = {"subject": subject.name, "attack": name, "seed": subject.seed}
            records.append(
                Record.rate(told, wins, n, threat=threat, eps=radius, norm="L2", **about)
            )
    return records


def _mean_metric(name: str, values: Tensor, better: Any = "higher", unit: str = "") -> Metric:
    """A mean with its normal 95% interval."""
    values = values[~values.isnan()]
    half = 1.96 * float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    middle = float(values.mean())
    return Metric(
        name,
        middle,
        middle - half,
        middle + half,
        len(values),
        unit,
        better,
        "normal 95%",
        TARGETED,
    )


def _reconstruction(subject: Subject) -> Metric:
    x, _ = subject.data.tensors()
    with torch.no_grad():
        rmsd = torch.cat([norm(subject.model(part) - part, "L2") for part in torch.split(x, 256)])
    return _mean_metric(
        f"{subject.name}: clean reconstruction error",
        rmsd / math.sqrt(x[0].numel()),
        "lower",
        "RMS per value",
    )


def _finding(subject: Subject, radii: Sequence[float], rows: dict[str, Any]) -> Finding:
    k = len(radii) // 2
    share = SHARES[k]
    far = torch.tensor(rows["distance"][k])
    moved = 1 - float(far[~far.isnan()].clamp(0, 1).mean())
    way = f"A change of L2 length {radii[k]:.3g}, {share:.0%} of the way to another image,"
    area = _mean_metric("AUDDC", torch.tensor(rows["area"]))
    detail = (
        f"On average the output covers {moved:.0%} of the distance to the target's reconstruction."
    )
    if "targeted counted" not in rows:
        head = f"{way} moves the output of {subject.name} {moved:.0%} of the way to a chosen image."
        return Finding(severity(moved), head, detail, TARGETED, in_words(area))
    wins, n = _rate(rows, "targeted", "reached", k)
    lost, _ = _rate(rows, "untargeted", "ignored", k)
    calm, _ = _rate(rows, "noise", "ignored", k)
    rate = metric(Record.rate("AS-target", wins, n), "AS-target", "lower")
    head = f"{way} makes {subject.name} show the attacker's chosen class in {wins / max(n, 1):.0%} of cases."
    detail += (
        f" Aiming at nothing in particular, an attacker changes the class shown in {lost / max(n, 1):.0%}; "
        f"random noise of the same size does so in {calm / max(n, 1):.0%}. Only sources whose clean output "
        f"is read rightly count ({n})."
    )
    return Finding(severity(wins / max(n, 1)), head, detail, TARGETED, in_words(rate))


def _distances(subject: Subject, radii: Sequence[float], rows: dict[str, Any]) -> Curve:
    distortion = [float(torch.tensor(d).nanmean()) for d in rows["distortion"]]
    means = [_mean_metric("", torch.tensor(d)) for d in rows["distance"]]
    series = Series(
        subject.name,
        (0.0, *distortion),
        (1.0, *(m.value for m in means)),
        (1.0, *(m.low or 0.0 for m in means)),
        (1.0, *(m.high or 0.0 for m in means)),
    )
    return Curve(
        "Distortion-distortion curve of the targeted latent attack",
        "relative distortion of the input",
        "relative distance to the target",
        (series,),
        note="1 is an output that the attack did not move, 0 the best this autoencoder can show of the "
        "target.",
    )


def _success(subject: Subject, radii: Sequence[float], rows: dict[str, Any]) -> list[Curve | Table]:
    if "targeted counted" not in rows:
        changes = [
            (f"{r:.3g}", float(torch.tensor(c).mean()))
            for r, c in zip(radii, rows["change"], strict=True)
        ]
        return [
            Table("Largest change of the output (L2)", ("radius", "mean change"), tuple(changes))
        ]
    series = []
    for name, kind, what, _ in _RATES:
        cells = [Record.rate(name, *_rate(rows, kind, what, k)) for k in range(len(radii))]
        low, high = (tuple(getattr(c, end) or 0.0 for c in cells) for end in ("low", "high"))
        series.append(Series(name, tuple(radii), tuple(c.value for c in cells), low, high))
    n = _rate(rows, "targeted", "reached", 0)[1]
    return [
        Curve(
            "How often the output shows another class",
            "length of the change (L2)",
            "share of sources",
            tuple(series),
            percent=True,
            note=f"Judged by a separate classifier; Wilson 95% intervals, n = {n}.",
            threat=TARGETED,
        )
    ]


def _pictures(subject: Subject, radii: Sequence[float], most: int = 6) -> Grid:
    x, target, _, _ = subject.pairs()
    x, target = x[:most], target[:most]
    seeds = random.seeds(subject.seed, len(x))
    radius = radii[len(radii) // 2]
    found = subject.attack.at(radius)(subject.model, x, target, seeds=seeds)
    render = subject.data.domain.render
    with torch.no_grad():
        outputs = subject.model(found).clamp(0, 1)
        honest = subject.model(x).clamp(0, 1)
    rows = []
    for i in range(len(x)):
        delta = (found - x)[i : i + 1]
        shown = magnified(delta[0].cpu().numpy())[0] if x.ndim == 4 else render(delta)[0]
        images = (x, None, found, honest, outputs, target)
        rows.append(tuple(shown if part is None else render(part[i : i + 1])[0] for part in images))
    titles = (
        "source",
        "change, magnified",
        "adversarial",
        "source's output",
        "adversarial's output",
        "target",
    )
    return Grid(f"Targeted attack at L2 {radius:.3g}", titles, tuple(rows))
