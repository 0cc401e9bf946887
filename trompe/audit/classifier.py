"""The classifier's part of an audit: robust accuracy against radius, clean and defended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trompe.attacks import APGD, APGDT, PGD, Square
from trompe.attacks.base import Attack
from trompe.audit.part import Part, Progress, Store, severity
from trompe.core import random
from trompe.core.execution import device_of, execution
from trompe.core.geometry import Ball, Norm
from trompe.data import Dataset
from trompe.evaluation.checks import Check as Checked
from trompe.evaluation.checks import Diagnosis, doctor
from trompe.evaluation.evaluate import Result, Stage, evaluate
from trompe.evaluation.outcomes import REPORT, nature
from trompe.evaluation.records import Record
from trompe.reports import (
    Block,
    Curve,
    Finding,
    Grid,
    Image,
    Metric,
    Section,
    Series,
    Table,
    checks,
    magnified,
    metric,
)
from trompe.reports import measured as in_words

__all__ = [
    "TITLES",
    "WHITE_BOX",
    "Picture",
    "Subject",
    "at_middle",
    "change",
    "curve",
    "examine",
    "fooled",
    "is_random",
    "measured",
    "metrics",
    "opinion",
    "picture",
    "pictures",
    "sentence",
    "stages",
    "suite",
    "untested",
]

TITLES = ("original", "change, magnified", "adversarial, as read")
"""The columns of a grid of images that fell."""
WHITE_BOX = (
    "The attacker knows the whole model and its weights, and may change every input value within "
    "the radius."
)


def suite(ball: Ball, domain: Any, effort: float = 1.0) -> dict[str, Attack]:
    """The attacks of an audit, from the cheap to the thorough; each meets what the ones before left standing.

    Args:
        effort: scales the number of steps and queries.
    """
    steps = max(5, round(50 * effort))
    attacks: dict[str, Attack] = {
        "PGD": PGD(ball, steps=steps, domain=domain),
        "APGD-DLR": APGD(ball, steps=steps, loss="dlr", domain=domain),
        "APGD-T": APGDT(ball, steps=steps, targets=9, domain=domain),
    }
    if ball.norm != "L1":  # Square has no form there
        attacks["Square"] = Square(ball, steps=max(50, round(500 * effort)), domain=domain)
    return attacks


@dataclass(frozen=True)
class Subject:
    """What is measured: a model, under a name, on data, at radii.

    Args:
        role: what its metrics are called, the same in all reports so that they compare.
    """

    name: str
    model: nn.Module
    data: Dataset
    eps: tuple[float, ...]
    norm: Norm
    seed: int
    draws: int
    role: str = "classifier"

    @property
    def ball(self) -> Ball:
        """The ball of the middle radius, where the doctor and the grid look."""
        return Ball(self.eps[self.middle], self.norm)

    @property
    def middle(self) -> int:
        """The place of the middle radius; the lower one of an even number."""
        return (len(self.eps) - 1) // 2


def examine(
    subject: Subject,
    store: Store,
    *,
    surrogate: nn.Module | None = None,
    effort: float = 1.0,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Part:
    """Robust accuracy of a classifier under the suite, what it looks like, and the doctor's opinion."""
    attacks = suite(subject.ball, subject.data.domain, effort)
    result = measured(subject, attacks, store, "classifier", WHITE_BOX, progress, deadline)
    part = Part(complete=result.complete, records=list(result.records))
    part.metrics += metrics(subject, result)
    part.findings.append(_finding(subject, result))
    blocks: list[Block] = [
        curve({subject.name: result.records}, subject),
        stages(result),
        pictures(subject, attacks, result),
    ]
    text = (
        "Every attack meets the images that the ones before it left standing; what it returns is clipped to "
        "the radius and judged anew, outside the attack. A radius is the largest change of a value (Linf) or "
        "the length of the change (L2, L1), where values lie in [0, 1]."
    )
    part.sections.append(Section(f"Can {subject.name} be fooled?", text, tuple(blocks), WHITE_BOX))
    part += opinion(subject, store, "classifier", surrogate, effort, progress)
    part.untested += untested(subject)
    return part


def untested(subject: Subject, aware: bool = False) -> list[str]:
    """What this part leaves open; `aware` where an attack aimed to pass the detectors too."""
    others = " and ".join(n for n in ("Linf", "L2", "L1") if n != subject.norm)
    left = [f"Changes measured in other norms: {others}."]
    if subject.norm == "L1":
        left.append("Attackers of the classifier who only ask: Square has no form for L1.")
    if hasattr(subject.model, "decide") and not aware:
        left.append(
            f"Attackers of {subject.name} who also aim to pass its detectors: the attacks here aim at "
            "the class alone."
        )
    return left


def measured(
    subject: Subject,
    attacks: Mapping[str, Attack],
    store: Store,
    key: str,
    threat: str,
    progress: Progress | None = None,
    deadline: float | None = None,
) -> Result:
    """Evaluate a suite over the radii; a random model is attacked in expectation over its draws."""
    with execution(draws=_draws(subject)):
        return evaluate(
            subject.model,
            attacks,
            subject.data,
            eps=subject.eps,
            seed=subject.seed,
            draws=subject.draws,
            batch=128,
            folder=store.place(key),
            deadline=deadline,
            progress=progress,
            subject=subject.name,
            threat=threat,
        )


def is_random(subject: Subject) -> bool:
    """Whether the model's answer varies from look to look."""
    x, _ = subject.data.tensors(slice(0, 8))
    x = x.to(device_of(subject.model, x))
    seeds = random.seeds(subject.seed, len(x)).to(x.device)
    return nature(subject.model, x, seeds).random


def _draws(subject: Subject) -> int:
    return 10 if is_random(subject) else 1


def metrics(subject: Subject, result: Result) -> list[Metric]:
    """Clean accuracy, and robust accuracy at each radius, under names that two reports share."""
    clean, *robust = result.records
    at = f"{subject.role}: robust accuracy at {subject.norm}"
    return [
        metric(clean, f"{subject.role}: clean accuracy", "higher"),
        *(
            metric(record, f"{at} {eps:.4g}", "higher")
            for eps, record in zip(subject.eps, robust, strict=True)
        ),
    ]


def at_middle(subject: Subject, result: Result) -> tuple[float, Record]:
    """The middle radius and its record."""
    return subject.eps[subject.middle], result.records[1 + subject.middle]


def fooled(subject: Subject, result: Result, level: int | None = None) -> Record:
    """Of the images classified correctly when clean, the share misread at a radius, or at the middle one."""
    level = subject.middle if level is None else level
    right = [case for case in result.cases if case.clean > 0.5]
    lost = sum(case.shares[level][1] for case in right)
    eps, record = subject.eps[level], result.records[1 + level]
    return Record.rate("fooled", lost, len(right), eps=eps, norm=subject.norm, threat=record.threat)


def sentence(name: str) -> str:
    """A subject's name at the start of a sentence; what a user calls a model stays as it is spelt."""
    return name[:1].upper() + name[1:] if name.startswith("the ") else name


def change(norm: Norm, eps: float) -> str:
    """A radius in plain words."""
    if norm == "Linf":
        return f"changing each value by at most {eps:.3g} of its range"
    return f"a change of {norm} length at most {eps:.3g}"


def _finding(subject: Subject, result: Result) -> Finding:
    rate = fooled(subject, result)
    name = sentence(subject.name)
    if rate.n == 0:
        head = f"{name} classifies no image correctly, so there is nothing to attack."
        return Finding("high", head, "", WHITE_BOX, in_words(metric(result.records[0])))
    _, record = at_middle(subject, result)
    delivered = record.extra["wrong when delivered"]
    detail = (
        f"Accuracy falls from {result.clean_accuracy:.1%} to {record.value:.1%}. Saved as 8-bit files, "
        f"{delivered:.1%} of all images are misread, those counted that were misread before."
    )
    return Finding(
        severity(rate.value),
        f"{name} misreads {rate.value:.0%} of the images it had right, "
        f"after {change(subject.norm, subject.ball.eps)}.",
        detail,
        WHITE_BOX,
        in_words(metric(rate, "fooled", "lower")),
    )


def curve(
    lines: Mapping[str, Sequence[Record]],
    subject: Subject,
    caption: str = "Accuracy against radius, worst case over the suite",
    what: str = "accuracy",
) -> Curve:
    """Accuracy against radius with Wilson intervals, radius zero included: a line for each name."""
    series = []
    for label, rows in lines.items():
        x = (0.0, *subject.eps)
        ends = [(r.low or 0.0, r.high or 0.0) for r in rows]
        values = tuple(r.value for r in rows)
        series.append(
            Series(label, x, values, tuple(e[0] for e in ends), tuple(e[1] for e in ends))
        )
    n = next(iter(lines.values()))[0].n
    return Curve(
        caption,
        f"radius ({subject.norm})",
        what,
        tuple(series),
        percent=True,
        note=f"Bands are Wilson 95% intervals, n = {n}.",
    )


def stages(result: Result) -> Table:
    """What each attack of the suite added at each radius, and what it cost."""
    rows = [
        (_level(s), s.attack, s.tested, s.broken, s.forwards, s.backwards, round(s.seconds, 2))
        for s in result.stages
    ]
    names = ("radius", "attack", "met", "broken", "forward passes", "backward passes", "seconds")
    return Table(
        "What each attack added", names, tuple(rows), note="Later attacks meet only survivors."
    )


def _level(stage: Stage) -> str:
    return "" if stage.eps is None else f"{stage.eps:.4g}"


def pictures(
    subject: Subject, attacks: Mapping[str, Attack], result: Result, most: int = 6
) -> Grid:
    """Images that fell at or below the middle radius: original, change magnified, adversarial."""
    fell = [c for c in result.cases if 0 <= c.level <= subject.middle and c.clean > 0.5]
    chosen = list({case.label: case for case in reversed(fell)}.values())[:most]
    with execution(draws=_draws(subject)):
        rows = [
            picture(subject, attacks[c.attack].at(subject.eps[c.level]), c.index) for c in chosen
        ]
    note = "" if rows else "No image fell at this radius."
    images = tuple(row.images for row in rows)
    return Grid("Images that fell", TITLES, images, (), tuple(row.captions for row in rows), note)


class Picture(NamedTuple):
    """One image under attack: what was found `(1, *)`, its seed, and what a grid shows under `TITLES`."""

    found: Tensor
    seeds: Tensor
    images: tuple[Image, ...]
    captions: tuple[str, ...]


def picture(subject: Subject, attack: Attack, place: int) -> Picture:
    """Attack one image again, to look at it."""
    domain, names, index = subject.data.domain, subject.data.classes, torch.tensor([place])
    x, y = subject.data.tensors(index)
    device = device_of(subject.model, x)
    x, y = x.to(device), torch.as_tensor(y).to(device)
    seeds = random.seeds(subject.seed, index).to(device)
    found = attack(subject.model, x, y, seeds=seeds)
    with torch.no_grad(), random.streams(seeds, REPORT):
        seen = subject.model(found).softmax(1)[0]
    change, gain = domain.render(found - x)[0], 1.0
    if x.ndim == 4:
        change, gain = magnified((found - x)[0].cpu().numpy())
    own, read = (names[k] if k < len(names) else str(k) for k in (int(y), int(seen.argmax())))
    images = domain.render(x)[0], change, domain.render(found)[0]
    captions = own, f"x{gain:.3g}", f"{read}, {float(seen.max()):.0%}"
    return Picture(found, seeds, images, captions)


def opinion(
    subject: Subject,
    store: Store,
    key: str,
    surrogate: nn.Module | None,
    effort: float,
    progress: Progress | None,
    attack: Attack | None = None,
) -> Part:
    """The doctor on this subject at its middle radius, by its own white box or the one given."""

    def examined() -> list[dict[str, Any]]:
        steps = max(10, round(40 * effort))
        found = doctor(
            subject.model,
            subject.data.take(64),
            subject.ball,
            surrogate=surrogate,
            attack=attack,
            steps=steps,
            queries=max(100, round(500 * effort)),
            seed=subject.seed,
            progress=progress,
        )
        return [vars(check) for check in found.checks]

    diagnosis = Diagnosis(tuple(Checked(**row) for row in store.get(f"doctor-{key}", examined)))
    part = Part(doctor=list(checks(diagnosis.checks, subject.name)))
    part.verdicts.append(f"{sentence(subject.name)}: {diagnosis.verdict}")
    if not diagnosis.healthy:
        headline = f"The robust accuracy of {subject.name} cannot be trusted."
        part.findings.append(Finding("high", headline, diagnosis.verdict, WHITE_BOX))
    return part
