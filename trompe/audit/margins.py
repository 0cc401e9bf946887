"""The r-robustness margin in an audit: how far an image may change before its output is another."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from trompe.audit.pairs import UNTARGETED, Subject
from trompe.audit.part import Part, Store
from trompe.core import random
from trompe.core.geometry import norm
from trompe.evaluation.margin import margin
from trompe.evaluation.records import Record
from trompe.reports import Curve, Metric, Series

__all__ = ["examine", "median"]

_MOST = 32  # examples
_POINTS = 12  # of the curve
_WAY = 0.5  # of the distance between two images' reconstructions


def examine(subject: Subject, store: Store) -> tuple[Part, list[Curve]]:
    """The margins of some images, and the curve of them; a sentence where all outputs are alike."""
    name = "autoencoder: r-robustness margin (median)"
    r = _half_way(subject)
    if not r > 0:
        alike = "How large a change an output survives: all outputs are alike."
        return Part(untested=[alike]), []
    kept = store.get("margins", partial(_measure, subject, r))
    low, high = (
        torch.tensor([math.inf if v is None else v for v in kept[end]]) for end in ("low", "high")
    )
    middle, ends = median(high)
    about: dict[str, Any] = {"subject": subject.name, "norm": "L2", "threat": UNTARGETED}
    about |= {"seed": subject.seed, "config": {"r": r}}
    part = Part()
    part.metrics.append(
        Metric(name, middle, *ends, len(high), "", "higher", "order statistics 95%", UNTARGETED)
    )
    part.records += [
        Record(
            "r-robustness margin (median)",
            middle,
            len(high),
            *ends,
            "order statistics 95%",
            **about,
        ),
        Record(
            "r-robustness margin, largest radius survived (median)",
            median(low)[0],
            len(low),
            **about,
        ),
    ]
    return part, [_survival(subject, high, r)]


def _half_way(subject: Subject) -> float:
    """Half the median distance between the reconstructions of source and target."""
    x, target, *_ = subject.pairs()
    return _WAY * float(norm(subject.outputs(x) - subject.outputs(target), "L2").median())


def _measure(subject: Subject, r: float) -> dict[str, list[float | None]]:
    """Brackets of the margins, as lists; None is infinite."""
    x, *_ = subject.pairs()
    x = x[:_MOST]
    found = margin(
        subject.model,
        x,
        r,
        steps=max(5, subject.steps // 4),
        restarts=1,
        rounds=7,
        draws=16,
        domain=subject.data.domain,
        seeds=random.seeds(subject.seed, len(x)).to(x.device),
    )
    return {
        end: [v if math.isfinite(v) else None for v in getattr(found, end).tolist()]
        for end in ("low", "high")
    }


def median(values: Tensor) -> tuple[float, tuple[float | None, float | None]]:
    """The median and its 95% interval between order statistics; none where there are fewer than six.

    >>> median(torch.arange(1.0, 102.0))
    (51.0, (41.0, 61.0))
    """
    ordered, n = values.sort().values, len(values)
    if n < 6:
        return float(ordered[(n - 1) // 2]), (None, None)
    first = math.floor(n / 2 - 0.98 * math.sqrt(n))
    return float(ordered[(n - 1) // 2]), (
        float(ordered[max(0, first)]),
        float(ordered[min(n - 1, n - 1 - first)]),
    )


def _survival(subject: Subject, high: Tensor, r: float) -> Curve:
    most = 1.1 * float(high[high.isfinite()].max()) if bool(high.isfinite().any()) else 1.0
    radii = tuple(float(f"{most * k / _POINTS:.3g}") for k in range(_POINTS + 1))
    told = [Record.rate("", int((high > radius).sum()), len(high)) for radius in radii]
    value, low, high_end = (
        tuple(getattr(t, end) for t in told) for end in ("value", "low", "high")
    )
    series = Series(subject.name, radii, value, low, high_end)
    return Curve(
        "How large a change the output survives",
        "length of the change (L2)",
        "share of images whose output stays",
        (series,),
        percent=True,
        note=f"An output stays while it is, more often than not, within {r:.3g} (L2) of what it was, half "
        "the usual distance between the outputs of two images. A search may miss the worst change, so "
        f"that the true share may be smaller. Wilson 95% intervals, n = {len(high)}.",
        threat=UNTARGETED,
    )
