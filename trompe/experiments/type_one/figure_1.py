"""Figure 1: both types of attack on the ROC of a classifier.

One digit is the positive class and all others are negatives; the classifier accepts an image with its
probability of that digit. A Type II attack (PGD) changes positives by little, so that they are rejected: the
true positive rate falls. A Type I attack turns positives into another digit, which makes negatives of them,
while they are still accepted: the false positive rate rises. What a Type I image shows is said by a judge,
not by the attack: negatives are those in which it sees a real image of another class.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

CLEAN, TYPE_I, TYPE_II = "clean", "Type I", "Type II"


@dataclass(frozen=True)
class Config:
    """Which digit, on whom, and both attacks.

    Args:
        victim, svae: recipes of the zoo; the second is the Type I attacker's.
        data: its test split gives positives and negatives.
        source, target: the positive class, and what the Type I attack makes of it.
        n: positives attacked, all read correctly by victim and judge.
        steps, lr: of the Type I attack.
        published: take the paper's settings for the rest of it.
        eps, pgd_steps: Linf radius and steps of PGD.
        threshold: the probability from which on the victim accepts.
        seed: of both attacks.
    """

    victim: str = "mnist-mlp"
    svae: str = "mnist-svae"
    data: str = "mnist"
    source: int = 3
    target: int = 8
    n: int = 250
    steps: int = 250
    lr: float = 0.1
    published: bool = False
    eps: float = 0.1
    pgd_steps: int = 40
    threshold: float = 0.5
    seed: int = 0


SCALES = {
    "smoke": Config("digits-mlp", "digits-svae", "digits", n=16, steps=60, lr=0.1, pgd_steps=10),
    "cpu": Config(),
    "paper": Config(n=900, steps=20_000, lr=0.005, published=True),
}

PUBLISHED: dict[str, tuple[float, str]] = {}
"""The original is a drawing: it shows which way the rates go, and no number."""


def run(config: Config, store: Store) -> Iterator["Record"]:
    """The clean rates, then those under either attack."""
    store.total = 3
    yield from store.cell(CLEAN, lambda: _clean(config))
    yield from store.cell(TYPE_II, lambda: _type_two(config))
    yield from store.cell(TYPE_I, lambda: _type_one(config))


def _acceptance(victim: Any, x: "Tensor", positive: int) -> "Tensor":
    """The log-odds of the positive class `(B,)`: above zero its probability is above one half."""
    import torch

    from trompe.core.execution import predict

    scores = []
    for some in x.split(1000):
        logs = predict(victim, some).double().log_softmax(1)
        others = logs.index_fill(1, torch.tensor(positive), -torch.inf).logsumexp(1)
        scores.append(logs[:, positive] - others)
    return torch.cat(scores)


def _accepted(metric: str, setting: Config, scores: "Tensor", **rest: Any) -> "Record":
    """The share accepted at the threshold; and the scores at which shares are reached, for the curve."""
    import math

    import torch

    from trompe.evaluation.records import Record

    odds = math.log(setting.threshold / (1 - setting.threshold))
    shares = torch.linspace(0, 1, 201, dtype=torch.float64)
    curve = [float(f"{score:.5g}") for score in scores.quantile(shares).tolist()]
    told = {**rest.pop("config", {}), "quantiles": curve}
    wins = int((scores >= odds).sum())
    return Record.rate(metric, wins, len(scores), subject=setting.victim, config=told, **rest)


def _clean(config: Config) -> Iterator["Record"]:
    from trompe import data, zoo

    victim = zoo.get(config.victim, progress=False)
    x, y = data.load(config.data).tensors()
    assert y is not None
    scores = _acceptance(victim, x, config.source)
    for metric, some in (("TPR", y == config.source), ("FPR", y != config.source)):
        yield _accepted(metric, config, scores[some], config={"under": CLEAN})


def _type_two(config: Config) -> Iterator["Record"]:
    """The positives that PGD leaves accepted."""
    from trompe.attacks import PGD
    from trompe.core import random
    from trompe.core.geometry import Ball
    from trompe.evaluation.judge import read
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._judged import judge
    from trompe.experiments.type_one._ways import attacked, read_right

    x, y, index = read_right(config, config.source)
    victim, _ = attacked(config, target=config.target)
    attack = PGD(Ball(config.eps), steps=config.pgd_steps, early_stop=False)
    found = attack(victim, x, y, seeds=random.seeds(config.seed, index))
    told: dict[str, Any] = {"attack": str(attack), "eps": config.eps, "norm": "Linf"}
    scores = _acceptance(victim, found, config.source)
    yield _accepted("TPR", config, scores, config={"under": TYPE_II}, **told)
    still = read(judge(config.data), found).label == config.source
    yield Record.rate(
        "still the digit", int(still.sum()), len(x), **told, config={"under": TYPE_II}
    )


def _type_one(config: Config) -> Iterator["Record"]:
    """What became of the same positives; those in which the judge sees another digit are negatives now."""
    from trompe.core import random
    from trompe.evaluation.judge import UNDECIDED, about_judge, read
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._judged import judge
    from trompe.experiments.type_one._ways import attacked, read_right

    x, y, index = read_right(config, config.source)
    victim, attack = attacked(config, target=config.target)
    found = attack(victim, x, y, seeds=random.seeds(config.seed, index))
    verdict = read(judge(config.data), found)
    turned = (verdict.label != y) & (verdict.label != UNDECIDED) & verdict.real
    told: dict[str, Any] = {"attack": str(attack)}
    config_told = {"under": TYPE_I, "judge": about_judge(judge(config.data))}
    yield Record.rate("another digit", int(turned.sum()), len(x), **told, config=config_told)
    scores = _acceptance(victim, found, config.source)
    yield _accepted("FPR", config, scores[turned], config=config_told, **told)


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """The three curves, and the two moves at the threshold."""
    from trompe.experiments.type_one._roc_page import drawing

    return drawing(list(records))


def render(records: Iterable["Record"]) -> str:
    """The rates under either attack beside the clean ones, and which way they went."""
    from trompe.experiments.type_one._roc_page import rendered

    return rendered(list(records))
