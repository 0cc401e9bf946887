"""What a judge says of images, as records: the class it reads, and whether they are real at all."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.evaluation.records import Record

__all__ = [
    "SHARES",
    "confidence",
    "first_of_each",
    "judge",
    "judged",
    "on_the_judge",
]

FAIR = ("real", "decoded")
"""Kinds of images, among those that a judge is tried on, that are no garbage."""
SHARES = ("read as target", "read as its own class", "real", "target and real")


@cache
def judge(data: str) -> Any:
    """The judge of a set of images, which shares no weights with any attacker here."""
    from trompe.zoo.judges import judge_for

    return judge_for(data)


def judged(
    judge: Any, images: "Tensor", y: "Tensor", target: "Tensor", **common: Any
) -> Iterator["Record"]:
    """How many are read as the target, as their own class `y`, are real, and are the target and real."""
    from trompe.evaluation.judge import read
    from trompe.evaluation.records import Record

    verdict = read(judge, images)
    reached = verdict.label == target
    seen = (reached, verdict.label == y, verdict.real, reached & verdict.real)
    for name, hits in zip(SHARES, seen, strict=True):
        yield Record.rate(name, int(hits.sum()), len(images), **common)


def confidence(victim: "nn.Module", images: "Tensor", y: "Tensor") -> "Tensor":
    """The victim's probability of `y` on each image, `(B,)`."""
    from trompe.core.execution import predict

    return predict(victim, images).softmax(1).gather(1, y[:, None])[:, 0]


def first_of_each(y: "Tensor", count: int) -> "Tensor":
    """Which examples to show: the classes in turn, each time the next example of the class.

    >>> import torch
    >>> first_of_each(torch.tensor([1, 1, 0, 1, 0]), 3).tolist()
    [2, 0, 4]
    """
    import torch

    turns = [(y[:place] == y[place]).sum().item() for place in range(len(y))]
    ranked = sorted(range(len(y)), key=lambda place: (turns[place], int(y[place])))
    return torch.tensor(ranked[:count])


def on_the_judge(records: "Iterable[Record]", model: str) -> str:
    """How far the judge of a model's images can be trusted, in a sentence; from the records of `trust`."""
    from trompe.experiments.type_one._shown import find, one, rate
    from trompe.reports.wording import percent

    found = list(records)
    right = one(found, "accuracy", subject=model, images="real")
    real = one(found, "taken as real", subject=model, images="real")
    others = [
        r for r in find(found, "taken as real", subject=model) if r.config["images"] not in FAIR
    ]
    if right is None or not others:
        return ""
    worst = max(others, key=lambda r: r.value)
    lax = worst.value > 0.5
    return (
        f"The images of {model} are {right.config['judge']}. Of {right.n} other test images the judge "
        f"reads {rate(right)} right and takes {rate(real)} as real; of garbage at most "
        f"{percent(worst.value)} ({worst.config['images']}){'; its yes says little' if lax else ''}."
    )
