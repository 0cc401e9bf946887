"""The doctor of a link's audit: whether attackers could be weaker here than they need to be."""

from collections.abc import Iterator
from itertools import pairwise

import torch

from trompe.audit.links.bench import Bench, Levels
from trompe.core import random
from trompe.core.losses import cross_entropy
from trompe.models import radius_of
from trompe.reports import Check

__all__ = ["diagnosed", "verdict"]

_EXACT = 1e-6


def diagnosed(bench: Bench) -> list[Check]:
    """What must hold if the numbers are to be believed."""
    return [
        _gradient(bench),
        _power(bench),
        _falling(bench),
        _rising(bench),
        _stronger(
            bench,
            "white box",
            "jamming",
            "An attacker who knows the link can send what jamming sends.",
        ),
        _stronger(
            bench,
            "white box",
            "black box",
            "Knowing the link can only help: else the search is weak.",
        ),
        _stronger(
            bench,
            "white box",
            "white box, unsynchronised",
            "A vector that arrives as it was sent can do what one does that does not.",
        ),
    ]


def verdict(name: str, checks: list[Check]) -> str:
    """One sentence."""
    failed = [check.name for check in checks if check.passed is False]
    if failed:
        return (
            f"{name}: an attacker may do more than these numbers say. Not so: {'; '.join(failed)}."
        )
    passed = sum(check.passed is True for check in checks)
    return f"{name}: no sign that these attackers are weak. {passed} checks passed."


def _gradient(bench: Bench) -> Check:
    """Whether the receiver's scores tell where to go."""
    link = bench.link
    s = torch.arange(link.messages)
    with torch.no_grad(), random.streams(random.seeds(bench.plan.seed, link.messages)):
        y = link.heard(bench.reference)(s)
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        loss = cross_entropy(link.receive(y), s).sum()
        slope = torch.autograd.grad(loss, y)[0] if loss.requires_grad else torch.zeros_like(y)
    share = float((slope.flatten(1).abs().amax(1) > 0).float().mean())
    return Check(
        "the receiver has a gradient",
        share > 0.5,
        f"{share:.0%} of blocks have one at {bench.reference:g} dB.",
        "Who descends the expected error finds nothing where there is none; the white box is then a lower "
        "bound.",
        bench.name,
    )


def _power(bench: Bench) -> Check:
    """Whether what is sent has the power that is reported."""
    worst = 0.0
    for who in bench.attackers:
        for psr in bench.powers:
            delta = bench.interference(who, psr).delta.detach().double()
            wanted = radius_of(psr, bench.link.uses) ** 2
            worst = max(worst, abs(float(delta.square().sum()) / wanted - 1))
    return Check(
        "every vector has the power that is said",
        worst <= _EXACT,
        f"They differ by {worst:.1g} of it at most.",
        "A little more power would pass for a better attack.",
        bench.name,
    )


def _falling(bench: Bench) -> Check:
    wrong = list(_against(dict(reversed(bench.clean.items()))))
    return Check(
        "less noise, fewer errors",
        not wrong if len(bench.clean) > 1 else None,
        f"Not at {_listed(wrong)} dB." if wrong else f"At {len(bench.clean)} levels.",
        "It holds for every receiver that was trained near the level, and for every code.",
        bench.name,
    )


def _rising(bench: Bench) -> Check:
    levels = bench.swept.get("white box", {})
    wrong = list(_against(levels))
    return Check(
        "more power, more errors",
        not wrong if levels else None,
        f"Not at {_listed(wrong)} dB." if wrong else f"At {len(levels)} powers.",
        "Otherwise the search found less with more, and a weaker vector would have done better.",
        bench.name,
    )


def _against(levels: Levels) -> Iterator[float]:
    """Levels at which there are clearly fewer errors than at the one before."""
    for (_, before), (level, after) in pairwise(levels.items()):
        if (after.record().high or 0.0) < (before.record().low or 0.0):
            yield level


def _stronger(bench: Bench, one: str, other: str, why: str) -> Check:
    """Whether one attacker does nowhere clearly less than another."""
    name = f"{one}: no weaker than {other}"
    if not {one, other} <= set(bench.swept):
        return Check(name, None, "One of them is missing.", why, bench.name)
    pairs = [(psr, bench.swept[one][psr], bench.swept[other][psr]) for psr in bench.powers]
    wrong = [psr for psr, a, b in pairs if (a.record().high or 0.0) < (b.record().low or 0.0)]
    detail = f"Weaker at {_listed(wrong)} dB." if wrong else f"At {len(pairs)} powers."
    return Check(name, not wrong, detail, why, bench.name)


def _listed(levels: list[float]) -> str:
    return ", ".join(f"{level:g}" for level in levels)
