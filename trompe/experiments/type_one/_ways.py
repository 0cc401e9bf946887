"""The way of an attack of Type I from one image to another: who is attacked, how, and curves as records."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.evaluation.records import Record

__all__ = ["attacked", "curve", "drawing", "drawn_way", "read_right", "steps_at"]


def read_right(config: Any, source: int | None = None) -> tuple["Tensor", "Tensor", "Tensor"]:
    """The first test images, of one class or of all, that victim and judge read correctly.

    Returns:
        The images, their labels, and their places in the set.
    """
    import torch

    from trompe import data, zoo
    from trompe.core.random import seeds
    from trompe.evaluation.pairs import eligible
    from trompe.experiments.type_one._judged import judge

    victim = zoo.get(config.victim, progress=False)
    test = data.load(config.data, "test")
    assert test.y is not None
    wanted = torch.arange(len(test)) if source is None else (test.y == source).nonzero()[:, 0]
    found = wanted[:0]
    for some in wanted.split(500):
        x, y = test.tensors(some)
        assert y is not None
        right = eligible(victim, judge(config.data), x, y, seeds(config.seed, some))
        found = torch.cat([found, some[right["victim"] & right["judge"]]])[: config.n]
        if len(found) == config.n:
            break
    x, y = test.tensors(found)
    assert y is not None
    return x, y, found


def attacked(config: Any, **settings: Any) -> tuple[Any, Any]:
    """The victim, and the attack on it, in which every example spends all steps."""
    from trompe import zoo
    from trompe.attacks.type_one import TypeI

    settings |= {"steps": config.steps, "lr": config.lr, "patience": None}
    attack = TypeI.published(**settings) if config.published else TypeI(**settings)
    svae = zoo.get(config.svae, progress=False)
    return zoo.get(config.victim, progress=False), attack.using(svae=svae)


def steps_at(shares: Sequence[float], steps: int) -> list[int]:
    """The steps at these shares of all."""
    return sorted({round(share * steps) for share in shares})


def drawn_way(victim: "nn.Module", x: "Tensor", y: "Tensor", way: Any, some: "Tensor") -> bytes:
    """Some examples on their way, one row each: the input, images at steps, and what the attack returns.

    Over each image stands the victim's confidence in the class `y` that it is to keep.
    """
    import torch

    from trompe.experiments.type_one._judged import confidence
    from trompe.experiments.type_one._shown import strips
    from trompe.reports.wording import percent

    images = torch.cat([x[None], way.images, way.best[None]])[:, some]
    words = [[percent(v) for v in confidence(victim, row, y[some]).tolist()] for row in images]
    titles = ["image", *map(str, way.steps), "result"]
    rows = list(images.transpose(0, 1))
    return strips(rows, list(zip(*words, strict=True)), titles)


def curve(
    name: str, at: Sequence[int], values: "Tensor", told: dict[str, Any]
) -> Iterator["Record"]:
    """Two records that carry a curve each, the first example's and the mean's; their value is the last point.

    Args:
        at: the steps, S of them.
        values: `(S, B)`.
        told: what the records say besides.
    """
    from trompe.evaluation.records import Record

    where: dict[str, Any] = {"at": list(at)}
    first = [_short(value) for value in values[:, 0].tolist()]
    yield Record(name, first[-1], 1, config={**where, "over": "one", "y": first}, **told)
    points = [Record.mean(name, row, **told) for row in values]
    ends = {"low": [r.low for r in points], "high": [r.high for r in points]}
    band = {end: [None if v is None else _short(v) for v in line] for end, line in ends.items()}
    line = [_short(record.value) for record in points]
    yield replace(points[-1], config={**where, "over": "all", "y": line, **band})


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def drawing(
    title: str, quantity: str, lines: "dict[str, Record]", scale: float = 1.0, **options: Any
) -> str:
    """The curves that some records carry, times `scale`, as an SVG."""
    from trompe.reports import Curve, Series
    from trompe.reports.pictures import standalone

    series = []
    for word, record in lines.items():
        kept = [record.config.get(key) or () for key in ("y", "low", "high")]
        y, low, high = (tuple(math.nan if v is None else scale * v for v in line) for line in kept)
        series.append(Series(word, tuple(record.config["at"]), y, low, high))
    return standalone(Curve(title, "step", quantity, tuple(series), **options)) + "\n"
