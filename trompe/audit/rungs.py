"""What an audit shows of the attacker's ladder: one row, one interval and one line for each rung."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from trompe.attacks.adaptive import Purified
from trompe.attacks.base import Attack
from trompe.attacks.ladder import (
    APGD_RUNG,
    APGDT_RUNG,
    AROUND,
    CW_MEAN,
    CW_RUNG,
    DETECTORS,
    EXAMINED,
    LATENT_START,
    MEAN,
    OBLIVIOUS,
    SQUARE,
    SURROGATE,
)
from trompe.audit.classifier import TITLES, Picture, Subject, curve, is_random, picture
from trompe.core import random
from trompe.evaluation.evaluate import Result
from trompe.evaluation.outcomes import REPORT
from trompe.evaluation.records import Record
from trompe.reports import Block, Cell, Curve, Forest, Grid, Image, Metric, Table, metric

__all__ = ["KNOWS", "PER_IMAGE", "Rungs"]

PER_IMAGE = (
    "The attackers of all rungs of the ladder, of whom each image meets the one that is worst for it; every "
    "input value may be changed within the radius."
)
_PER_IMAGE = "worst case per image"
_ATTACKERS = {
    OBLIVIOUS: ("the classifier", "fools it alone, and hopes"),
    SURROGATE: ("the recipes and the data", "trains a defended classifier, fools that, and hopes"),
    CW_MEAN: ("everything", "Carlini & Wagner's attack as published, draws switched off"),
    MEAN: ("everything", "Auto-PGD, draws switched off"),
    CW_RUNG: ("everything", "Carlini & Wagner's attack, along the exact gradient"),
    APGD_RUNG: ("everything", "Auto-PGD away from the true class"),
    APGDT_RUNG: ("everything", "Auto-PGD towards each of the other classes"),
    AROUND: ("everything", "differentiates as if the defence changed nothing"),
    LATENT_START: ("everything", "searches codes first, then an image that is reconstructed as theirs"),
    DETECTORS: ("everything", "seeks an answer that is wrong and that the detectors let pass"),
    SQUARE: ("nothing", "asks for the scores of one guess after another"),
}  # fmt: skip
KNOWS = {
    name: f"The attacker knows {known}: {does}. Every input value may be changed within the radius."
    for name, (known, does) in _ATTACKERS.items()
}
"""The threat model of each rung."""


@dataclass(frozen=True)
class Rungs:
    """What the attackers of a ladder left standing of a defended classifier, and others of the bare one.

    What stands is what is read rightly; of a model that may refuse, what is not misread.
    """

    subject: Subject
    attacks: Mapping[str, Attack]
    result: Result
    plain: Result

    @property
    def level(self) -> int:
        """The place of the radius that is spoken of."""
        return self.subject.middle

    @property
    def guarded(self) -> bool:
        """Whether the defended classifier may refuse to answer."""
        return hasattr(self.subject.model, "decide")

    @property
    def random(self) -> bool:
        """Whether it draws."""
        return is_random(self.subject)

    def at(self, level: int) -> list[Record]:
        """What stands on each rung at a radius."""
        size = len(self.attacks)
        return [self._standing(r) for r in self.result.rungs[level * size : (level + 1) * size]]

    def rung(self, name: str, level: int) -> Record:
        """What stands on the rung of that name."""
        return next(record for record in self.at(level) if record.attack == name)

    def worst(self, level: int) -> Record:
        """What stands on the rung where least does; the first of equals."""
        return min(self.at(level), key=lambda record: record.value)

    @property
    def examined(self) -> str:
        """The rung that the doctor looks through: where least stands of those that follow gradients.

        That who sees less does not do better is what it then asks.
        """
        known = [self.rung(name, self.level) for name in EXAMINED if name in self.attacks]
        return min(known, key=lambda record: record.value).attack

    def per_image(self, level: int) -> Record:
        """What stands where each image meets the attacker who is worst for it."""
        return self._standing(self.result.records[1 + level])

    def bare(self, level: int) -> Record:
        """What stands without the defence, in the worst case per image over the attacks on it."""
        return self.plain.records[1 + level]

    @property
    def refused(self) -> Record:
        """The share of clean images that detectors refuse."""
        alarms = sum(1 - case.clean - case.clean_wrong for case in self.result.cases)
        return Record.rate("clean images refused", max(alarms, 0.0), len(self.result.cases))

    def gain(self) -> Record:
        """How much more stands with the defence than without it, paired, in the worst case of each image."""
        n = min(
            len(self.plain.cases), len(self.result.cases)
        )  # one of the two may have run out of time
        with_it, without = (
            torch.tensor([1 - case.shares[self.level][1] for case in result.cases[:n]])
            for result in (self.result, self.plain)
        )
        return Record.difference("gain", with_it, without)

    def _standing(self, record: Record) -> Record:
        if not self.guarded:
            return record
        left = record.n * (1 - record.extra["wrong"])
        known = {f: getattr(record, f) for f in ("eps", "norm", "attack", "threat", "extra")}
        spent = {f: getattr(record, f) for f in ("seconds", "forwards", "backwards")}
        return Record.rate("not misread", left, record.n, **known, **spent)

    def metrics(self) -> list[Metric]:
        """What stands on the worst rung and against who is oblivious, at each radius."""
        found, subject = [], self.subject
        for level, eps in enumerate(subject.eps):
            at = f"{subject.role}: {self.worst(level).metric} at {subject.norm} {eps:.4g}"
            blind = self.rung(OBLIVIOUS, level)
            found += [
                metric(self.worst(level), f"{at} (worst rung)", "higher"),
                metric(blind, f"{at} (oblivious attacker)", "higher"),
            ]
            if self.guarded:
                found.append(metric(self.per_image(level), at, "higher"))
        if self.guarded:
            found.append(metric(self.refused, f"{subject.role}: clean images refused", "lower"))
        return found

    def blocks(self) -> tuple[Block, ...]:
        """The ladder as intervals, as a table, as curves, and what its worst rung looks like."""
        return self._forest(), self._table(), self._curve(), self._pictures()

    def _forest(self) -> Forest:
        levels = sorted({self.level, len(self.subject.eps) - 1})
        rows: list[tuple[str, list[Record]]] = [
            ("not attacked", [self._clean() for _ in levels]),
            *((name, [self.rung(name, level) for level in levels]) for name in self.attacks),
            (_PER_IMAGE, [self.per_image(level) for level in levels]),
            ("without the defence", [self.bare(level) for level in levels]),
        ]
        return Forest(
            "What each attacker leaves standing",
            "not misread" if self.guarded else "accuracy",
            tuple(f"{self.subject.norm} {self.subject.eps[level]:.3g}" for level in levels),
            tuple((name, tuple(map(metric, records))) for name, records in rows),
            percent=True,
            note=f"Wilson 95% intervals, n = {len(self.result.cases)}.",
        )

    def _clean(self) -> Record:
        """What stands when nobody attacks."""
        wrong = sum(case.clean_wrong for case in self.result.cases)
        n = len(self.result.cases)
        return Record.rate("not misread", n - wrong, n) if self.guarded else self.result.records[0]

    def _table(self) -> Table:
        worst = self.worst(self.level).attack
        columns: tuple[str, ...] = (
            ("rung", "not misread", "made and refused") if self.guarded else ("rung", "accuracy")
        )
        columns += (
            (f"on {self.subject.draws} of {self.subject.draws} looks",) if self.random else ()
        )
        columns += ("its attacker", "passes per image")
        rows = [self._row(r.attack, r, r.attack == worst) for r in self.at(self.level)]
        rows.append(self._row(_PER_IMAGE, self.per_image(self.level), False))
        eps = f"{self.subject.norm} {self.subject.eps[self.level]:.3g}"
        note = "A pass is one look at an image, forwards or backwards, all of its draws counted."
        return Table(f"The attackers' ladder at {eps}", columns, tuple(rows), note=note)

    def _row(self, name: str, record: Record, worst: bool) -> tuple[Cell, ...]:
        knows, does = _ATTACKERS.get(name, ("everything", "takes the best of all rungs"))
        met = record.extra["attacked"] / (len(self.attacks) if name == _PER_IMAGE else 1)
        passes = (record.forwards + record.backwards) / met if met else 0.0
        always = Record.rate("", record.n * (1 - record.extra["wrong on any draw"]), record.n)
        rates = [
            _in_cell(record),
            *([_refused(record)] if self.guarded else []),
            *([_in_cell(always)] if self.random else []),
        ]
        said = f"{does} ({knows} known)"
        return f"{name} (worst)" if worst else name, *rates, said, round(passes)

    def _curve(self) -> Curve:
        clean, levels = self._clean(), range(len(self.subject.eps))
        lines = {
            "not attacked": [clean for _ in (0, *levels)],
            "oblivious attacker": [clean, *(self.rung(OBLIVIOUS, k) for k in levels)],
            _PER_IMAGE: [clean, *map(self.per_image, levels)],
            "without the defence": list(self.plain.records),
        }
        caption = "What stands against radius, with the defence and without"
        return curve(lines, self.subject, caption, "not misread" if self.guarded else "accuracy")

    def _pictures(self, most: int = 6) -> Grid:
        """Images that fall on the worst rung: what the attacker changes, and what the classifier is shown."""
        attack, subject = self.worst(self.level).attack, self.subject
        fell = [
            c for c in self.result.cases if c.clean > 0.5 and c.alone[attack][self.level][1] > 0.5
        ]
        chosen = list({case.label: case for case in reversed(fell)}.values())[:most]
        at = self.attacks[attack].at(subject.eps[self.level])
        rows = [picture(subject, at, case.index) for case in chosen]
        images, captions = [row.images for row in rows], [row.captions for row in rows]
        titles: tuple[str, ...] = TITLES
        if isinstance(subject.model, Purified):
            titles = *titles, "as the classifier is shown it"
            images = [(*row.images, self._shown(row)) for row in rows]
            captions = [(*words, "") for words in captions]
        note = "" if rows else "No image fell at this radius."
        eps = f"{subject.norm} {subject.eps[self.level]:.3g}"
        caption = f"Images that fell on the worst rung ({attack}) at {eps}"
        return Grid(caption, titles, tuple(images), (), tuple(captions), note)

    def _shown(self, row: Picture) -> Image:
        """What the defence makes of an adversarial image, on the draw that is reported."""
        domain, model = self.subject.data.domain, self.subject.model
        assert isinstance(model, Purified)
        with torch.no_grad(), random.streams(row.seeds, REPORT):
            image: Image = domain.render(domain.project(model.reconstruct(row.found)))[0]
        return image


def _refused(record: Record) -> Cell:
    """Of the images that an attacker met, the share of which the model refused what it made."""
    met, refused = int(record.extra["attacked"]), record.extra.get("refused")
    return _in_cell(Record.rate("refused", refused, met)) if met and refused is not None else ""


def _in_cell(record: Record) -> str:
    return f"{record.value:.1%} ({record.low:.1%} to {record.high:.1%})"
