"""The defence's part of an audit: does it protect against who does not know it, and who does?"""

import math
from dataclasses import replace

import torch
from torch import nn

from trompe.attacks import StraightThrough
from trompe.attacks.base import Attack
from trompe.attacks.gradient import InBall
from trompe.attacks.transfer import Transfer
from trompe.audit.classifier import (
    OBLIVIOUS,
    WHITE_BOX,
    Subject,
    at_middle,
    curve,
    fooled,
    measured,
    metrics,
    opinion,
    pictures,
    stages,
    suite,
    untested,
)
from trompe.audit.part import Part, Progress, Store, severity
from trompe.audit.victim import has_gradient
from trompe.evaluation.evaluate import Result
from trompe.reports import Finding, Section, metric
from trompe.reports import measured as in_words

__all__ = ["aware", "examine", "oblivious"]


def oblivious(bare: Subject, effort: float = 1.0) -> dict[str, Attack]:
    """The suite as carried out on the classifier alone, to the end: what barely fools it moves no other."""
    attacks = suite(bare.ball, bare.data.domain, effort)
    return {
        f"{name}, transferred": _carried(attack, bare.model)
        for name, attack in attacks.items()
        if isinstance(attack, InBall)
    }


def _carried(attack: InBall, network: nn.Module) -> Attack:
    whole = replace(attack, early_stop=False)
    return Transfer(whole, domain=whole.domain).using(surrogate=network)


def aware(bare: Subject, defended: Subject, effort: float = 1.0) -> dict[str, Attack]:
    """What an attacker can do who knows the defence: all that one can who does not, and more.

    Gradients through the defence, where there are any; around it, with the value of the defended model and
    the derivative of the bare one (BPDA, Athalye et al. 2018); what fools the bare classifier; queries.
    """
    attacks = suite(bare.ball, bare.data.domain, effort)
    exact = has_gradient(defended.model, defended.data)
    around = StraightThrough(defended.model, bare.model).eval()
    white = attacks["PGD"]
    assert isinstance(white, InBall)
    return {
        **{name: a for name, a in attacks.items() if exact and isinstance(a, InBall)},
        "PGD around the defence": _carried(white, around),
        **oblivious(bare, effort),
        **{name: a for name, a in attacks.items() if not isinstance(a, InBall)},
    }


def examine(
    bare: Subject,
    defended: Subject,
    store: Store,
    *,
    effort: float = 1.0,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Part:
    """Set the bare classifier beside the defended one, under two attackers."""
    plain_attacks, attacks = (
        suite(bare.ball, bare.data.domain, effort),
        aware(bare, defended, effort),
    )
    blind_attacks = oblivious(bare, effort)
    told = progress, deadline
    plain = measured(bare, plain_attacks, store, "classifier", WHITE_BOX, *told)
    blind = measured(defended, blind_attacks, store, "oblivious", OBLIVIOUS, *told)
    knowing = measured(defended, attacks, store, "aware", WHITE_BOX, *told)
    results = {
        bare.name: plain,
        "defended, attacker unaware": blind,
        "defended, attacker aware": knowing,
    }
    doctor = opinion(defended, store, "defended", bare.model, effort, progress)
    part = Part(
        complete=plain.complete and blind.complete and knowing.complete,
        records=[*blind.records, *knowing.records],
        metrics=metrics(defended, knowing) + metrics(defended, blind, " (oblivious attacker)"),
        findings=[_finding(bare, defended, results, trusted=not doctor.findings)],
    )
    text = (
        "Two attackers meet the same defence. One takes what fools the classifier alone. The other knows the "
        "defence: differentiates through it and, with the classifier's derivative, around it, asks it, and "
        "tries all that the first one has. A defence that only the first attacker respects is a delay."
    )
    blocks = (
        curve(bare, results, "Accuracy against radius, bare and defended"),
        stages(knowing),
        pictures(defended, attacks, knowing),
    )
    title = f"Does the defence protect {bare.name}?"
    part.sections.append(Section(title, text, blocks, f"{OBLIVIOUS} {WHITE_BOX}"))
    part += doctor
    part.untested += untested(defended)
    return part


def _finding(
    bare: Subject, defended: Subject, results: dict[str, Result], trusted: bool
) -> Finding:
    plain, blind, knowing = results.values()
    eps, unaware = at_middle(defended, blind)
    (_, after), (_, before) = at_middle(defended, knowing), at_middle(bare, plain)
    gain, low, high = (100 * value for value in _gain(defended.middle, plain, knowing))
    who = f"against an attacker who knows it (95%: {low:+.0f} to {high:+.0f})"
    if low > 0:
        verdict = f"The defence raises robust accuracy by {gain:.0f} points {who}"
        verdict += "." if trusted else ", as far as these attacks see: the doctor objects."
    elif high < 0:
        verdict = f"The defence lowers robust accuracy by {-gain:.0f} points {who}."
    else:
        verdict = f"The defence brings no clear protection {who}: {gain:+.0f} points."
    rate = fooled(defended, knowing)
    detail = (
        f"At {defended.norm} {eps:.3g}: {before.value:.1%} correct without the defence; with it, "
        f"{unaware.value:.1%} against an attacker who does not know of it and {after.value:.1%} against "
        f"one who does. Clean accuracy goes from {plain.clean_accuracy:.1%} to "
        f"{knowing.clean_accuracy:.1%}."
    )
    if rate.n:
        detail += (
            " Of the images that the defended classifier had right, the attacker who knows it turns "
            f"{rate.value:.0%}."
        )
    return Finding(
        severity(rate.value),
        verdict,
        detail,
        WHITE_BOX,
        f"robust accuracy {in_words(metric(after))}; without the defence {in_words(metric(before))}",
    )


def _gain(level: int, plain: Result, knowing: Result) -> tuple[float, float, float]:
    """How much more stands with the defence, and its normal 95% interval: paired, image by image."""
    pairs = zip(plain.cases, knowing.cases, strict=False)  # one of the two may have run out of time
    change = torch.tensor([b.shares[level][0] - a.shares[level][0] for a, b in pairs])
    spread = float(change.std(correction=0)) / math.sqrt(len(change))
    half = 1.96 * max(spread, 1 / len(change))  # where all agree, one image more might not have
    return float(change.mean()), float(change.mean()) - half, float(change.mean()) + half
