"""Figure 2: a missing feature is attacked by Type I, an unnecessary one by Type II.

Points in three dimensions. The oracle f2 reads x1 and x2, but x3 says the same as x2 and is ten times as
large: a network f1 trained on all three takes x1 and x3, and is right on every sample. What is measured: how
far f1 and f2 answer to each feature, what each says when a single feature is shifted against the class, and
both attacks on every sample. Each attack follows the level set of one classifier across the boundary of the
other: the Type I attack keeps f1 and changes f2, the Type II attack keeps f2 and changes f1.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store
from trompe.experiments.type_one._toys import Training

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

FEATURES = ("x1", "x2", "x3")
KINDS = ("Type I", "Type II")
SAME = 1e-5
"""How far the log-odds that an attack keeps may move."""


@dataclass(frozen=True)
class Config:
    """How f1 is trained, and on how many points all is measured.

    Args:
        hidden: units of f1, a perceptron of one hidden layer.
        training: how it is trained; plain gradient descent, whose steps along a feature grow with its size.
        n: new points.
        level: how far beyond the other's boundary an attack goes, in its function's units.
        shifts: of a single feature, in its standard deviations.
        steps: gradients of an attack.
        shown: points of the picture.
        seed: of the weights, and of all points.
    """

    hidden: int = 16
    training: Training = field(default_factory=lambda: Training(600, 128, 0.5, plain=True))
    n: int = 2000
    level: float = 1.0
    shifts: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    steps: int = 50
    shown: int = 60
    seed: int = 0


SCALES = {
    "smoke": Config(training=Training(200, 128, 0.5, plain=True), n=100, steps=20, shown=20),
    "cpu": Config(),
    "paper": Config(n=20_000),
}

PUBLISHED = {"accuracy": (1.0, "Tang et al. 2019, section II-A: f1 by x1 and x3 alone")}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """What f1 has learned, then the shifts, then both attacks."""
    store.total = 3
    yield from store.cell("learned", lambda: _learned(config))
    yield from store.cell("shifts", lambda: _shifts(config))
    yield from store.cell("attacks", lambda: _attacks(config))


def _classifiers(config: Config) -> tuple[Any, Any, Any]:
    """f1, f2 as a classifier, and the rule of the data."""
    from torch import nn

    from trompe.data import Features
    from trompe.experiments.type_one._toys import trained
    from trompe.models import ClassifierConfig, FromBinary

    rule = Features()

    class Oracle(nn.Module):
        """f2 as a module."""

        def forward(self, x: "Tensor") -> "Tensor":
            return rule.oracle(x)

    net = ClassifierConfig("mlp", (3,), 2, hidden=(config.hidden,), activation="softplus")
    return trained(net, rule, config.training, config.seed), FromBinary(Oracle()).eval(), rule


def _odds(model: Any) -> Any:
    """The log-odds of the second class, as a function of the input: above zero it is the answer."""
    return lambda x: model(x).diff(dim=1)[:, 0]


def _points(config: Config, rule: Any) -> "tuple[Tensor, Tensor]":
    import torch

    from trompe.experiments.type_one._toys import fresh

    x, y = (torch.cat(part) for part in zip(*fresh(rule, config.n, config.seed), strict=True))
    return x, y


def _learned(config: Config) -> Iterator["Record"]:
    """The accuracy of f1, and how strongly each classifier answers to each feature."""
    import torch

    from trompe.evaluation.records import Record

    f1, f2, rule = _classifiers(config)
    x, y = _points(config, rule)
    with torch.no_grad():
        yield Record.rate("accuracy", int((f1(x).argmax(1) == y).sum()), len(x), subject="f1")
    for name, model in (("f1", f1), ("f2", f2)):
        v = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(_odds(model)(v).sum(), v)
        for place, feature in enumerate(FEATURES):
            felt = slope[:, place].abs() * x[:, place].std()
            yield Record.mean("sensitivity", felt, subject=name, config={"feature": feature})
    across = torch.linspace(-3, 3, 13, dtype=torch.float64)
    for name, model, place in (("f1", f1, 2), ("f2", f2, 1)):
        line = {"x": across.tolist(), "y": _boundary(model, across, place).tolist()}
        yield Record("boundary", 0.0, len(across), subject=name, config=line)


def _boundary(model: Any, across: "Tensor", place: int) -> "Tensor":
    """Where the model's answer turns, in one feature for each x1, the other at zero: by bisection."""
    import torch

    low, high = torch.full_like(across, -10), torch.full_like(across, 10)
    for _ in range(50):
        v = torch.zeros(len(across), 3, dtype=across.dtype)
        v[:, 0], v[:, place] = across, (low + high) / 2
        with torch.no_grad():
            above = _odds(model)(v) > 0
        low, high = torch.where(above, low, v[:, place]), torch.where(above, v[:, place], high)
    return low


def _shifts(config: Config) -> Iterator["Record"]:
    """How many answers stay when one feature is shifted against the class."""
    import torch

    from trompe.evaluation.records import Record

    f1, f2, rule = _classifiers(config)
    x, y = _points(config, rule)
    against = 1 - 2 * y.double()
    for place in (1, 2):
        for shift in config.shifts:
            v = x.clone()
            v[:, place] += shift * x[:, place].std() * against
            for name, model in (("f1", f1), ("f2", f2)):
                with torch.no_grad():
                    stay = int((model(v).argmax(1) == model(x).argmax(1)).sum())
                told = {"feature": FEATURES[place], "shift": shift}
                yield Record.rate("answer kept", stay, len(x), subject=name, config=told)


def _attacks(config: Config) -> Iterator["Record"]:
    """Both attacks, each on all points: success, and the features that moved."""
    import torch

    from trompe.attacks import LevelSet
    from trompe.core.domains import Vectors
    from trompe.evaluation.records import Record

    f1, f2, rule = _classifiers(config)
    x, y = _points(config, rule)
    levels = (-config.level, config.level)
    attack = LevelSet(steps=config.steps, levels=levels, domain=Vectors())
    for kind, keeps, changes in (("Type I", f1, f2), ("Type II", f2, f1)):
        found = attack.using(quantity=_odds(changes))(keeps, x, y)
        with torch.no_grad():
            drift = (_odds(keeps)(found) - _odds(keeps)(x)).abs()
            fooled = (
                (changes(found).argmax(1) != y) & (keeps(found).argmax(1) == y) & (drift <= SAME)
            )
        moved = ((found - x) / x.std(0)).square()
        extra = {
            name: float(part)
            for name, part in zip(FEATURES, moved.mean(0) / moved.mean(0).sum(), strict=True)
        }
        extra |= {"distance": float((found - x).norm(dim=1).mean()), "drift": float(drift.max())}
        some = slice(config.shown)
        points = {"x": x[some].tolist(), "y": y[some].tolist(), "found": found[some].tolist()}
        yield Record.rate("success", int(fooled.sum()), len(x), attack=str(attack), extra=extra,
                          config={"kind": kind, **points})  # fmt: skip


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """What f2 and what f1 looks at, with some moves of either attack."""
    from trompe.experiments.type_one._feature_page import drawing

    return drawing(list(records))


def render(records: Iterable["Record"]) -> str:
    """What was learned, the shifts, the attacks, and what follows."""
    from trompe.experiments.type_one._feature_page import rendered

    return rendered(list(records))
