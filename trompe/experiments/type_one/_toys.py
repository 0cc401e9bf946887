"""Classifiers of the toys, each trained once on batches that never come back, and kept in the zoo."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.evaluation.records import Record

__all__ = ["Training", "bounded", "fresh", "rounded", "trained"]

TESTED = 1_000_000
"""Seeds are so far apart for what is tested, so that no point of it was trained on."""


@dataclass(frozen=True)
class Training:
    """How a classifier of a toy is trained, under the one-cycle learning rate.

    Args:
        steps, batch: how many batches of how many new samples.
        lr: the peak.
        plain: stochastic gradient descent in place of AdamW.
    """

    steps: int
    batch: int
    lr: float
    plain: bool = False


def trained(net: Any, rule: Any, how: Training, seed: int) -> "nn.Module":
    """The network that a configuration describes, trained on a toy; in eval mode and float64."""
    import torch

    from trompe import models, zoo
    from trompe.data import Stream
    from trompe.training import ClassifierStep, train

    model = models.build(net, seed=seed)

    def fit(folder: Path) -> dict[str, Any]:
        chosen: dict[str, Any] = {"optimizer": torch.optim.SGD} if how.plain else {}
        history = train(
            ClassifierStep(model, how.lr, **chosen),
            Stream(rule, how.batch, seed),
            steps=how.steps,
            seed=seed,
            directory=folder,
            checkpoint_every=10_000,
            log=False,
            progress=False,
        )
        return {"steps": history.total, "seconds": round(history.seconds, 3)}

    settings = {
        "net": net,
        "rule": {**asdict(rule), "kind": type(rule).__name__},
        "how": asdict(how),
    }
    name = f"toy-{type(rule).__name__.lower()}"
    return zoo.keep(name, {**settings, "seed": seed}, model, fit).double()


def fresh(rule: Any, count: int, seed: int) -> "Iterable[tuple[Tensor, Tensor]]":
    """Points that no training saw, in float64, in batches of at most 10,000."""
    from trompe.data import Stream

    size = min(count, 10_000)
    stream = Stream(rule, size, TESTED + seed)
    for number in range(-(-count // size)):
        x, y = stream.at(number)
        left = count - number * size
        yield x[:left].double(), y[:left]


def bounded(metric: str, wrong: int, n: int, **rest: Any) -> "Record":
    """An error rate; where there is no error, its bound is that of the rule of three.

    >>> bounded("error", 0, 300).high
    0.01
    """
    from trompe.evaluation.records import Record

    if wrong:
        return Record.rate(metric, wrong, n, **rest)
    return Record(metric, 0.0, n, 0.0, 3 / n, "rule of three 95%", **rest)


def rounded(value: float) -> str:
    """A small number as one reads it.

    >>> rounded(0.00005), rounded(0.0), rounded(0.25)
    ('5.0e-05', '0', '0.25')
    """
    return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.4g}"
