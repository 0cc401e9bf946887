"""The defence's part of an audit: what is left of it on each rung of the attacker's ladder."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from trompe.attacks.adaptive import EOT
from trompe.attacks.base import Attack
from trompe.attacks.ladder import DETECTORS, OBLIVIOUS, SQUARE, SURROGATE, ladder
from trompe.attacks.query import Square
from trompe.audit.classifier import (
    WHITE_BOX,
    Subject,
    change,
    fooled,
    measured,
    metrics,
    opinion,
    suite,
    untested,
)
from trompe.audit.guard import Guard
from trompe.audit.part import Part, Progress, Store, severity
from trompe.audit.plan import BUILT
from trompe.audit.rungs import KNOWS, PER_IMAGE, Rungs
from trompe.audit.victim import has_gradient
from trompe.core.errors import UserError
from trompe.core.execution import device_of
from trompe.defenses.guarded import Guarded
from trompe.evaluation.evaluate import Result, evaluate
from trompe.reports import Finding, Section, metric
from trompe.reports import measured as in_words
from trompe.training import reporting

__all__ = ["Climb", "examine"]

_DRAWS = 10  # of a random defence, in each gradient
_STEPS = 0.5  # of the ladder's, at full effort
_QUERIES = 1000


@dataclass(frozen=True)
class Climb:
    """What is climbed: a defence, the classifier without and with it, and how hard to try.

    Args:
        surrogate: whether there is time to train an attacker's own defended classifier.
    """

    guard: Guard
    bare: Subject
    defended: Subject
    effort: float = 1.0
    surrogate: bool = True

    @property
    def answering(self) -> Subject:
        """What the doctor looks at: of a classifier with detectors, what answers behind them.

        An attack that is refused says nothing of gradients.
        """
        model = self.defended.model
        if not isinstance(model, Guarded):
            return self.defended
        name = f"{self.defended.name}, detectors off"
        return replace(self.defended, model=model.classifier, name=name)

    def rival(self, progress: Progress | None) -> tuple[nn.Module | None, str]:
        """The attacker's own defended classifier, or why there is none."""
        if not self.guard.recipes():
            return None, "this defence cannot be built before another classifier"
        if not self.surrogate:
            return None, "the budget holds no time to train one"
        try:
            with reporting(progress):
                rival = self.guard.surrogate()
        except UserError as error:
            return None, str(error)
        if not has_gradient(rival, self.bare.data):
            return None, "no gradient leads through their own either"
        return rival, ""

    def attacks(self, rival: nn.Module | None) -> dict[str, Attack]:
        """The rungs that the defence allows."""
        bare, model = self.bare, self.defended.model
        example, _ = bare.data.tensors(slice(0, 1))
        return _asking(
            self.effort,
            ladder(
                model,
                bare.ball,
                domain=bare.data.domain,
                classifier=bare.model,
                surrogate=rival,
                example=example.to(device_of(model, example)),
                effort=_STEPS * self.effort,
                draws=_DRAWS,
            ),
        )


def _asking(effort: float, attacks: dict[str, Attack]) -> dict[str, Attack]:
    """The ladder with fewer queries where one only asks: they cost more than all gradients together."""
    steps = max(50, round(_QUERIES * effort))
    square = attacks.get(SQUARE)
    if isinstance(square, EOT):
        attacks[SQUARE] = replace(square, attack=replace(square.attack, steps=steps))  # type: ignore[call-arg]
    elif isinstance(square, Square):
        attacks[SQUARE] = replace(square, steps=steps)
    return attacks


def examine(
    climb: Climb,
    store: Store,
    *,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Part:
    """Set the bare classifier beside the defended one, under every attacker of the ladder."""
    bare, defended = climb.bare, climb.defended
    rival, missing = climb.rival(progress)
    attacks = climb.attacks(rival)
    plain_attacks = suite(bare.ball, bare.data.domain, climb.effort)
    plain = measured(bare, plain_attacks, store, "classifier", WHITE_BOX, progress, deadline)
    result = _climbed(defended, attacks, store, deadline, progress)
    rungs = Rungs(defended, attacks, result, plain)
    through = attacks[rungs.examined]
    doctor = opinion(
        climb.answering, store, "defended", bare.model, climb.effort, progress, through
    )
    part = Part(
        complete=plain.complete and result.complete,
        records=[*result.records, *result.rungs],
        metrics=metrics(defended, result) + rungs.metrics(),
        findings=[_finding(rungs, trusted=not doctor.findings)],
    )
    title = f"Does the defence protect {bare.name}?"
    part.sections.append(Section(title, _text(climb, rungs), rungs.blocks(), WHITE_BOX))
    part += doctor
    part.untested += _untested(climb, missing, DETECTORS in attacks)
    return part


def _climbed(
    defended: Subject,
    attacks: Mapping[str, Attack],
    store: Store,
    deadline: float | None,
    progress: Progress | None,
) -> Result:
    """Every rung on all images, at each radius; its attacks average over draws where they need to."""
    return evaluate(
        defended.model,
        attacks,
        defended.data,
        eps=defended.eps,
        seed=defended.seed,
        draws=defended.draws,
        batch=128,
        separate=True,
        folder=store.place("ladder"),
        deadline=deadline,
        progress=progress,
        subject=defended.name,
        threat=PER_IMAGE,
        knows={name: KNOWS.get(name, WHITE_BOX) for name in attacks},
    )


def _text(climb: Climb, rungs: Rungs) -> str:
    text = (
        f"{climb.guard.told()}\n\nA defence is worth what is left on the worst rung of the attackers' "
        "ladder. Each rung is an attacker, from who does not know of the defence to who knows all of it, and "
        "meets all images that are right when nobody attacks. In the worst case per image an attacker keeps "
        f"for each the best that any rung found. The doctor looks through the rung '{rungs.examined}', the "
        "worst of those that follow gradients."
    )
    if SURROGATE in rungs.attacks and climb.guard.kind not in BUILT:
        text += (
            f" The attacker with a defended classifier of its own puts {climb.guard.kind} before another "
            "classifier: what purifies there may be the same."
        )
    if rungs.random:
        text += (
            f" The defence draws anew at every look, so an input is judged on {rungs.subject.draws} draws "
            "that no attack has seen, and accuracy is the share of them that is right. An attacker who may "
            "try as often needs one that is wrong."
        )
    if rungs.guarded:
        text += (
            " An answer may be refused: an attacker succeeds whose image is misread and accepted, and what "
            "stands is what is read rightly or refused. How much of what each attacker made was refused is "
            "shown beside it. Of the clean images here, "
            f"{in_words(metric(rungs.refused))} are refused."
        )
    return text


def _untested(climb: Climb, missing: str, aware: bool) -> list[str]:
    """What the ladder leaves open."""
    defended = climb.defended
    left = untested(defended, aware)
    if missing:
        left.append(
            f"Attackers of {defended.name} with a defended classifier of their own: {missing}."
        )
    if not has_gradient(defended.model, defended.data):
        left.append(
            f"Attackers who differentiate through {defended.name}: no gradient leads through it, so they go "
            "around it."
        )
    return left


def _finding(rungs: Rungs, trusted: bool) -> Finding:
    """One sentence on bare and defended under the worst, and the numbers behind it."""
    level, gain = rungs.level, rungs.gain()
    assert gain.low is not None
    assert gain.high is not None
    points, low, high = (100 * value for value in (gain.value, gain.low, gain.high))
    what = "the share of images not misread" if rungs.guarded else "robust accuracy"
    who = f"where each image meets the worst of {len(rungs.attacks)} attackers"
    who += f" (95%: {low:+.0f} to {high:+.0f})"
    if low > 0:
        verdict = f"The defence raises {what} by {points:.0f} points {who}"
        verdict += "." if trusted else ", as far as these attacks see: the doctor objects."
    elif high < 0:
        verdict = f"The defence lowers {what} by {-points:.0f} points {who}."
    else:
        verdict = f"The defence brings no clear protection {who}: {points:+.0f} points."
    before, worst = rungs.bare(level), rungs.worst(level)
    blind, after = rungs.rung(OBLIVIOUS, level), rungs.per_image(level)
    detail = (
        f"After {change(rungs.subject.norm, rungs.subject.eps[level])}, {before.value:.1%} stands without "
        f"the defence. With it {blind.value:.1%} stands against an attacker who does not know of it, "
        f"{worst.value:.1%} on the worst rung ({worst.attack}) and {after.value:.1%} when each image meets "
        f"the worst of all rungs. Clean accuracy goes from {rungs.plain.clean_accuracy:.1%} to "
        f"{rungs.result.clean_accuracy:.1%}."
    )
    rate = fooled(rungs.subject, rungs.result)
    if rate.n:
        detail += (
            f" Of the images that the defended classifier had right, {rate.value:.0%} are turned."
        )
    numbers = (
        ("worst case per image", after),
        ("worst rung", worst),
        ("without the defence", before),
    )
    interval = "; ".join(f"{name} {in_words(metric(record))}" for name, record in numbers)
    return Finding(severity(rate.value), verdict, detail, WHITE_BOX, interval)
