"""The defence's part of an audit: does it protect against who does not know it, and who does?"""

from dataclasses import replace

from torch import nn

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
)
from trompe.audit.part import Part, Progress, Store, severity
from trompe.evaluation.evaluate import Result
from trompe.reports import Finding, Section, metric
from trompe.reports import measured as in_words

__all__ = ["examine", "with_model"]


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
    attacks = suite(bare.ball, bare.data.domain, effort)
    plain = measured(bare, attacks, store, "classifier", WHITE_BOX, progress, deadline)
    told = {
        name: Transfer(attack, domain=attack.domain).using(surrogate=bare.model)
        for name, attack in attacks.items()
        if name != "Square"
    }
    blind = measured(defended, told, store, "oblivious", OBLIVIOUS, progress, deadline)
    aware = measured(defended, attacks, store, "aware", WHITE_BOX, progress, deadline)
    results = {
        bare.name: plain,
        "defended, attacker unaware": blind,
        "defended, attacker aware": aware,
    }
    part = Part(
        complete=blind.complete and aware.complete, records=[*blind.records, *aware.records]
    )
    part.metrics += metrics(defended, aware) + metrics(defended, blind, " (oblivious attacker)")
    part.findings.append(_finding(bare, defended, plain, blind, aware))
    text = (
        "Two attackers meet the same defence. One takes the images that fool the classifier alone; the other "
        "differentiates through the whole. A defence that only the first attacker respects is a delay."
    )
    blocks = (
        curve(bare, results, "Accuracy against radius, bare and defended"),
        stages(defended, aware),
        pictures(defended, attacks, aware),
    )
    title = f"Does the defence protect {bare.name}?"
    part.sections.append(Section(title, text, blocks, WHITE_BOX))
    part += opinion(defended, store, "defended", bare.model, effort, progress)
    return part


def _finding(
    bare: Subject, defended: Subject, plain: Result, blind: Result, aware: Result
) -> Finding:
    eps, unaware = at_middle(defended, blind)
    _, knowing = at_middle(defended, aware)
    _, before = at_middle(bare, plain)
    gain = knowing.value - before.value
    apart = (knowing.low or 0.0) > (before.high or 1.0)
    verdict = (
        f"The defence raises robust accuracy by {gain:.0%} against an attacker who knows it."
        if apart and gain >= 0.1
        else "The defence does not protect against an attacker who knows it."
    )
    rate = fooled(defended, aware)
    detail = (
        f"At {defended.norm} {eps:.3g}: {before.value:.1%} correct without the defence; with it, "
        f"{unaware.value:.1%} against an attacker who does not know of it and {knowing.value:.1%} against "
        f"one who does. Clean accuracy goes from {plain.clean_accuracy:.1%} to {aware.clean_accuracy:.1%}."
    )
    return Finding(
        severity(rate.value),
        verdict,
        detail,
        WHITE_BOX,
        in_words(metric(rate, "fooled", "lower")),
    )


def with_model(subject: Subject, model: nn.Module, name: str) -> Subject:
    """The same measurement of another model."""
    return replace(subject, model=model, name=name)
