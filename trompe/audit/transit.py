"""The codes' part of an audit: one shift added to codes between encoder and decoder, and who notices it."""

import time
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from trompe.attacks.universal import FLIP, NormPenalty, Perturbation, Universal
from trompe.audit.part import Part, Progress, Store, severity
from trompe.core import random
from trompe.core.execution import device_of
from trompe.core.geometry import norm
from trompe.data import Dataset
from trompe.defenses.detectors import CalibratedDetector
from trompe.defenses.tamper import Mahalanobis, OutputUncertainty, Tail
from trompe.evaluation.detection import Detection, detection
from trompe.evaluation.records import Record, wilson
from trompe.reports import Block, Cell, Curve, Finding, Grid, Section, Series, Table, metric
from trompe.reports import measured as in_words

__all__ = ["PASSES", "Subject", "examine"]

SHIFTED = (
    "The attacker sits between encoder and decoder and adds one vector to the codes of one class, and takes "
    "it from those of another. It was learned on other images, through the decoder and a classifier of the "
    "attacker's own."
)
CALM = "Nobody attacks: a random vector of the same length is added."
WATCHED = f"{SHIFTED} The defender knows what clean codes look like, and nothing of the attack."
_COUPLES = 3  # of classes
_BATCH = 32
_STEPS = 200
_CODES = 1000  # clean codes: half to learn what they look like, half to set thresholds
PASSES = _COUPLES * (_BATCH * _STEPS + _CODES) + _CODES
"""About how many gradients of one example this part takes, whatever the number of images."""
_LEARNED = 1  # number of the draws of training codes, whose noise test codes must not share
_WIDEST = 2048  # codes beyond which a covariance is too large a thing
_FPR = 0.05
_GRID = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Subject:
    """An autoencoder whose codes are changed on their way, with labelled images.

    Args:
        train: images for the attacker to learn on, and for the defender to see clean codes of.
        reader: the attacker's classifier.
        judge: a classifier that the attack does not see, which says what an output shows; it is also whom
            the defender asks how sure it is.
        effort: share of the usual steps.
    """

    name: str
    model: nn.Module
    data: Dataset
    train: Dataset
    reader: nn.Module
    judge: nn.Module
    seed: int
    effort: float = 1.0

    @cached_property
    def clean(self) -> Tensor:
        """Codes of training images, `(n, *)`."""
        return self.codes(self.some(self.train), _LEARNED)

    def some(self, data: Dataset) -> Dataset:
        """As many images as the effort allows, in an order of chance."""
        order = random.seeds(self.seed, len(data)).argsort()
        return data.subset(order[: max(100, round(_CODES * self.effort))])

    def codes(self, data: Dataset, number: int = 0) -> Tensor:
        """One draw of each image's code, in pieces that fit; `number` says which."""
        made = []
        for x, _, index in data.batches(256):
            x = x.to(device_of(self.model, x))
            seeds = random.seeds(self.seed, index).to(x.device)
            with torch.no_grad(), random.streams(seeds, number):
                made.append(random.sample(self.model.encode(x)))  # type: ignore[operator]
        return torch.cat(made)

    def decode(self, codes: Tensor) -> Tensor:
        """What codes `(B, D)` show, whatever the shape in which the decoder takes them."""
        shown: Tensor = self.model.decode(codes.view(-1, *self.clean.shape[1:]))  # type: ignore[operator]
        return shown

    @cached_property
    def scale(self) -> Tensor:
        """The spread of each coordinate of clean codes, `(D,)`: a shift is learned in this unit."""
        return Tail(self.clean.flatten(1)).scale

    def detectors(self) -> dict[str, CalibratedDetector]:
        """Those that fit the codes, knowing the first half of the clean ones."""
        known = self.clean.flatten(1)[: len(self.clean) // 2]
        found: dict[str, CalibratedDetector] = {}
        if known.shape[1] <= _WIDEST:
            found["Mahalanobis distance"] = Mahalanobis(known)
        found["largest z-score"] = Tail(known)
        found["uncertainty of the output"] = OutputUncertainty(self.decode, self.judge)
        return found


@dataclass(frozen=True)
class _Shift:
    """One shift between two classes, and what it did to test images of them.

    Args:
        classes: of label 0 and 1.
        delta: in units of the clean spread, `(D,)`.
        y: 0 or 1, `(N,)`.
        clean, tampered: codes `(N, D)`.
        counted, flipped, calm: the untampered output is read rightly; the tampered one as the other class;
            that with a random vector as the other class.
    """

    classes: tuple[int, int]
    delta: Tensor
    y: Tensor
    clean: Tensor
    tampered: Tensor
    counted: Tensor
    flipped: Tensor
    calm: Tensor

    def rate(self, won: Tensor, name: str, way: int | None = None, **about: Any) -> Record:
        """How often, among outputs that were read rightly; of one direction where `way` is its source."""
        among = self.counted if way is None else self.counted & (self.y == way)
        return Record.rate(name, int((won & among).sum()), int(among.sum()), **about)


def examine(
    subject: Subject,
    store: Store,
    *,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Part:
    """How often one shift of all codes turns the output into another class, and whether it is detected."""
    couples = _couples(subject)
    if not couples:
        return Part(untested=["Codes changed in transit: the images are of one class."])
    if bool((subject.clean == subject.clean[0]).all()):
        return Part(untested=["Codes changed in transit: all codes are the same."])
    shifts: list[_Shift] = []
    for place, classes in enumerate(couples):
        if deadline is not None and shifts and time.monotonic() > deadline:
            break
        if progress is not None:
            progress(place, len(couples), f"{subject.name}: codes in transit")
        name = f"shift-{classes[0]}-{classes[1]}"
        kept = store.get(name, partial(_learned, subject, classes))
        shifts.append(_measured(subject, classes, torch.tensor(kept)))
    found, part = _detected(subject, shifts), Part(complete=len(shifts) == len(couples))
    _rates(subject, shifts, part)
    for name, each in found.items():
        _noticed(subject, name, each, part)
    part.findings.append(_finding(subject, shifts, found))
    part.sections.append(_section(subject, shifts, found))
    if not found:
        part.untested.append("Whether tampered codes are noticed: there are too few images.")
    return part


def _couples(subject: Subject) -> list[tuple[int, int]]:
    """Classes two by two, the most frequent first, each with images to learn on."""
    counts = torch.bincount(_labels(subject.data), minlength=len(subject.data.classes))
    counts *= torch.bincount(_labels(subject.train), minlength=len(counts)) > 0
    order = [k for k in counts.argsort(descending=True, stable=True).tolist() if counts[k] > 0]
    return list(zip(order[::2], order[1::2], strict=False))[:_COUPLES]


def _labels(data: Dataset) -> Tensor:
    assert data.y is not None
    return data.y


def _of(data: Dataset, classes: tuple[int, int]) -> tuple[Dataset, Tensor]:
    """The images of two classes, and which of the two each is."""
    y = _labels(data)
    rows = ((y == classes[0]) | (y == classes[1])).nonzero()[:, 0]
    return data.subset(rows), (y[rows] == classes[1]).long()


def _learned(subject: Subject, classes: tuple[int, int]) -> list[float]:
    """The shift between two classes, in units of the clean codes' spread."""
    data, y = _of(subject.some(_of(subject.train, classes)[0]), classes)
    codes = subject.codes(data, _LEARNED).flatten(1)
    y = y.to(codes.device)
    steps = max(20, round(_STEPS * subject.effort))
    how = Universal(NormPenalty(0.1), FLIP, steps=steps, lr=0.1, start=0.1)
    pieces = range(0, len(codes), _BATCH)
    batches = [(codes[k : k + _BATCH] / subject.scale, y[k : k + _BATCH]) for k in pieces]
    others = [k for k in range(len(subject.data.classes)) if k not in classes]
    columns = [*classes, *others]  # so that `FLIP` sees the two classes first

    def tail(u: Tensor) -> Tensor:
        logits: Tensor = subject.reader(subject.decode(u * subject.scale))
        return logits[:, columns]

    shift = how.fit(tail, batches, seed=subject.seed)
    return shift.delta.detach()[0].tolist()


def _measured(subject: Subject, classes: tuple[int, int], delta: Tensor) -> _Shift:
    """What a shift does to test images, and what a random vector of its length does."""
    data, y = _of(subject.data, classes)
    clean = subject.codes(data).flatten(1)
    y, delta = y.to(clean.device), delta.to(clean)
    with random.streams(random.seeds(subject.seed, 1)):
        noise = random.normal((1, len(delta)), clean)
    noise = noise * norm(delta[None], "L2") / norm(noise, "L2")
    towards = FLIP.directions(y)
    moved, astray = (
        Perturbation(d * subject.scale)(clean, towards).detach() for d in (delta[None], noise)
    )
    label = torch.tensor(classes, device=y.device)
    read = [_read(subject, codes) for codes in (clean, moved, astray)]
    own, other = label[y], label[1 - y]
    marks = read[0] == own, read[1] == other, read[2] == other
    return _Shift(classes, delta, y, clean, moved, *marks)


@torch.no_grad()
def _read(subject: Subject, codes: Tensor) -> Tensor:
    """The class that the judge sees in what codes show."""
    return torch.cat([subject.judge(subject.decode(part)).argmax(1) for part in codes.split(256)])


def _detected(subject: Subject, shifts: list[_Shift]) -> dict[str, Detection]:
    """Each detector on every other test image's clean code, and on the tampered codes of the rest."""
    held_out = subject.clean.flatten(1)[len(subject.clean) // 2 :]
    clean = torch.cat([shift.clean[::2] for shift in shifts])
    tampered = torch.cat([shift.tampered[1::2] for shift in shifts])
    if len(held_out) * _FPR < 1 - _FPR or len(tampered) == 0:
        return {}
    return {
        name: detection(detector, clean, tampered, held_out=held_out, fpr=_FPR)
        for name, detector in subject.detectors().items()
    }


def _rates(subject: Subject, shifts: list[_Shift], part: Part) -> None:
    """The share of outputs that change class, over all pairs of classes and of each direction."""
    about: dict[str, Any] = {"subject": subject.name, "seed": subject.seed}
    for name, threat in (("shift flip rate", SHIFTED), ("random shift flip rate", CALM)):
        record = _total(shifts, name, threat=threat, **about)
        part.records.append(record)
        part.metrics.append(metric(record, f"autoencoder: {name}", "lower"))
    for shift in shifts:
        for way in (0, 1):
            title = "shift flip rate, " + _way(subject, shift, way)
            part.records.append(shift.rate(shift.flipped, title, way, threat=SHIFTED, **about))


def _total(shifts: list[_Shift], name: str, **about: Any) -> Record:
    won = [s.calm if name.startswith("random") else s.flipped for s in shifts]
    pairs = list(zip(won, shifts, strict=True))
    wins = sum(int((w & s.counted).sum()) for w, s in pairs)
    return Record.rate(name, wins, sum(int(s.counted.sum()) for s in shifts), **about)


def _way(subject: Subject, shift: _Shift, source: int) -> str:
    names = [subject.data.classes[k] for k in shift.classes]
    return f"{names[source]} to {names[1 - source]}"


def _noticed(subject: Subject, name: str, found: Detection, part: Part) -> None:
    area, caught, _ = found.records(
        subject=subject.name, attack=name, threat=WATCHED, seed=subject.seed
    )
    part.records += found.records(
        subject=subject.name, attack=name, threat=WATCHED, seed=subject.seed
    )
    part.metrics.append(metric(area, f"autoencoder: ROC area of the {name}", "higher"))
    title = f"autoencoder: tampered codes caught by the {name} (set for {_FPR:.0%} false alarms)"
    part.metrics.append(metric(caught, title, "higher"))


def _finding(subject: Subject, shifts: list[_Shift], found: dict[str, Detection]) -> Finding:
    won, calm = (_total(shifts, name) for name in ("shift flip rate", "random shift flip rate"))
    if won.n == 0:
        head = f"No output of {subject.name} is read as its source's class; a shift of codes proves nothing."
        return Finding("info", head, "", SHIFTED)
    head = (
        f"One vector added to codes in transit turns {won.value:.0%} of the outputs of {subject.name} into "
        "another class."
    )
    detail = f"A random vector of the same length does so in {calm.value:.0%} of cases."
    for name, each in found.items():
        caught, alarms = each.caught / each.roc.tampered, each.alarms / each.roc.clean
        detail += (
            f" The {name} catches {caught:.0%} of tampered codes at {alarms:.0%} false alarms."
        )
    interval = in_words(metric(won, "shift flip rate", "lower"))
    return Finding(severity(won.value), head, detail, SHIFTED, interval)


def _section(subject: Subject, shifts: list[_Shift], found: dict[str, Detection]) -> Section:
    text = (
        f"For {len(shifts)} pairs of classes one vector was learned that, added to or taken from a code of "
        f"{subject.name} ({shifts[0].clean.shape[1]} numbers), makes the decoded image another class. "
        "A classifier that the attack has not seen reads the output; only images count whose untampered "
        "output it reads rightly. Lengths are in standard deviations of clean codes."
    )
    blocks: list[Block] = [_table(subject, shifts)]
    blocks += [_curve(found)] if found else []
    blocks.append(_pictures(subject, shifts))
    title = f"Can codes of {subject.name} be changed in transit?"
    return Section(title, text, tuple(blocks), SHIFTED)


def _table(subject: Subject, shifts: list[_Shift]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for shift in shifts:
        for way in (0, 1):
            told, calm = (shift.rate(w, "", way) for w in (shift.flipped, shift.calm))
            size = float(norm(shift.delta[None], "L2")), float(shift.delta.abs().max())
            shown = (
                f"{r.value:.0%} ({r.low:.0%} to {r.high:.0%})" if r.n else "" for r in (told, calm)
            )
            rows.append((_way(subject, shift, way), *shown, told.n, *(f"{v:.2f}" for v in size)))
    columns = (
        "from, to",
        "read as the other class",
        "with a random vector",
        "n",
        "length (L2)",
        "largest entry",
    )
    note = "Shares of outputs with Wilson 95% intervals."
    return Table("One shift for each pair of classes", columns, tuple(rows), note)


def _curve(found: dict[str, Detection]) -> Curve:
    series = []
    for name, each in found.items():
        told = [each.roc.at(fpr) for fpr in _GRID]
        ends = [wilson(share * each.roc.tampered, each.roc.tampered) for share in told]
        low, high = zip(*ends, strict=True)
        series.append(Series(name, _GRID, tuple(told), low, high))
    one = next(iter(found.values())).roc
    return Curve(
        "Who notices a tampered code (ROC)",
        "share of clean codes that raise the alarm",
        "share of tampered codes that do",
        tuple(series),
        percent=True,
        note=f"{one.clean} clean codes and {one.tampered} tampered ones, of different images. "
        "Wilson 95% intervals.",
        threat=WATCHED,
    )


def _pictures(subject: Subject, shifts: list[_Shift]) -> Grid:
    """The first two images of each pair of classes."""
    domain, rows = subject.data.domain, []
    for shift in shifts:
        data, _ = _of(subject.data, shift.classes)
        x, _ = data.take(2).tensors()
        with torch.no_grad():
            shown = [subject.decode(codes[:2]) for codes in (shift.clean, shift.tampered)]
        images = [domain.render(domain.project(part.cpu())) for part in (x, *shown)]
        rows += list(zip(*images, strict=True))
    columns = ("source", "output", "output of the shifted code")
    return Grid("What the receiver sees", columns, tuple(rows))
