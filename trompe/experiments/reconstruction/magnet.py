"""MagNet: detectors and a reformer, against who knows neither, one, or both.

The classifier is a network of four convolutions; the two autoencoders are MagNet's own for MNIST. Thresholds
are set so that all detectors together refuse a stated share of clean images: on a random half of the test
images, which nothing was trained on, and the rate is measured on the other half. Images of that one are
attacked by those who know only the classifier, by one who knows the reformer too, and by one who also has to
pass the detectors, of a random collection of reformers too. An attack succeeds where the answer is wrong and
accepted; what is refused is counted apart.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.attacks.base import Attack
    from trompe.evaluation.records import Record

__all__ = [
    "AWARE",
    "BARE",
    "DEFENCES",
    "PUBLISHED",
    "RATE",
    "SCALES",
    "SUCCESS",
    "Config",
    "pictures",
    "render",
    "run",
]

RATE, ORDERED, SPLITS = "refused of clean", "refused of clean, halves in order", "covered"
SUCCESS = "wrong and accepted"
BARE, REFORMER, DETECTORS, BOTH = "classifier", "reformer", "detectors", "MagNet"
DIVERGENCES, COLLECTION = "MagNet, divergences too", "MagNet, a collection"
DEFENCES = (BARE, REFORMER, DETECTORS, BOTH, DIVERGENCES, COLLECTION)
OBLIVIOUS, STACK, AWARE = "oblivious", "knows the reformer", "knows the detectors too"
_SOURCE = (
    "Samangouei et al. 2018 (Defense-GAN), white-box MNIST, their classifiers A to D under MagNet"
)
PUBLISHED = {
    "FGSM": ((0.191, 0.082, 0.163, 0.094), _SOURCE),
    "RAND+FGSM": ((0.171, 0.091, 0.151, 0.115), _SOURCE),
    "C&W": ((0.038, 0.034, 0.025, 0.021), _SOURCE),
}
"""Accuracies by attack."""


@dataclass(frozen=True)
class Config:
    """What is defended, and who attacks.

    Args:
        classifier, first, second: recipes of the zoo; the first autoencoder reforms and stands under the L2
            error, the second under L1.
        data: its test images are halved at random: thresholds, and everything else.
        n: images attacked, the first of the second half.
        fpr: the share of clean images that all detectors together may refuse.
        splits: further halvings at which the rate is measured.
        temperatures: of the divergences.
        members: of the collection, trainings of the first autoencoder from different seeds.
        eps: Linf radii.
        published: the radius of FGSM and RAND+FGSM in the published table.
        steps: gradients of PGD and of who knows the reformer.
        aware, rounds: gradients and weights of who knows the detectors.
        random: images of those attacks that average over the collection, of `draws` draws a gradient.
        looks: fresh draws on which the collection is judged.
    """

    classifier: str = "mnist-conv4"
    first: str = "mnist-magnet-1"
    second: str = "mnist-magnet-2"
    data: str = "mnist"
    n: int = 500
    fpr: float = 0.01
    splits: int = 200
    temperatures: tuple[float, ...] = (10.0, 40.0)
    members: int = 5
    eps: tuple[float, ...] = (0.1, 0.2, 0.3)
    published: float = 0.3
    steps: int = 40
    aware: int = 100
    rounds: int = 3
    random: int = 100
    draws: int = 5
    looks: int = 20
    seed: int = 0


SCALES = {
    "smoke": Config(
        "digits-mlp", "digits-magnet-1", "digits-magnet-2", "digits", 16, 0.05, 20, members=2,
        eps=(0.1, 0.3), steps=5, aware=5, rounds=2, random=8, draws=2, looks=4,
    ),
    "cpu": Config(),
    "paper": Config(n=1000, splits=1000, steps=100, aware=300, rounds=8, random=500, draws=20),
}  # fmt: skip


def run(config: Config, store: Store) -> Iterator["Record"]:
    """The rates of false alarms; then who knows nothing of the defence, the reformer, and all."""
    blind = _blind(config)
    aware = [(BOTH, eps) for eps in config.eps]
    aware += [(name, config.eps[-1]) for name in (DETECTORS, DIVERGENCES, COLLECTION)]
    store.total = 1 + len(blind) + len(config.eps) + len(aware)
    yield from store.cell("false alarms", lambda: _alarms(config))
    for name, attack in blind.items():
        yield from store.cell(
            name,
            lambda name=name, attack=attack: _attacked(
                config, OBLIVIOUS, BARE, DEFENCES, name, attack
            ),  # type: ignore[misc]
        )
    for eps in config.eps:
        yield from store.cell(f"{STACK}, {eps:g}", lambda eps=eps: _through(config, eps))  # type: ignore[misc]
    for name, eps in aware:
        yield from store.cell(
            f"{AWARE}, {name}, {eps:g}",
            lambda name=name, eps=eps: _aware(config, name, eps),  # type: ignore[misc]
        )


def _blind(config: Config) -> "dict[str, Attack]":
    """Attacks on the classifier alone: those of the published table, a minimal C&W, and PGD to the end."""
    from trompe.attacks import CW, FGSM, PGD, RandFGSM
    from trompe.core.geometry import Ball

    steps, ball = 2 * config.steps, Ball(config.published)
    found: dict[str, Attack] = {
        "FGSM": FGSM(ball),
        "RAND+FGSM": RandFGSM(ball),
        "C&W": CW(steps=steps, rounds=1, lr=10.0, c=100.0, abort_early=False),
        "C&W, least": CW(steps=steps, rounds=3, lr=0.05, c=1.0),
    }
    for eps in config.eps:
        found[f"PGD {eps:g}"] = PGD(Ball(eps), steps=config.steps, early_stop=False)
    return found


def _through(config: Config, eps: float) -> Iterator["Record"]:
    from trompe.attacks import APGD
    from trompe.core.geometry import Ball

    judged = (REFORMER, BOTH, DIVERGENCES)
    attack = APGD(Ball(eps), steps=config.steps)
    yield from _attacked(config, STACK, REFORMER, judged, f"APGD {eps:g}", attack)


def _aware(config: Config, name: str, eps: float) -> Iterator["Record"]:
    from trompe.attacks import EOT, DetectorAware
    from trompe.core.geometry import Ball

    attack: Any = DetectorAware(Ball(eps), steps=config.aware, rounds=config.rounds)
    attack = EOT(attack, draws=config.draws) if name == COLLECTION else attack
    yield from _attacked(config, AWARE, name, (name,), f"DetectorAware {eps:g}", attack)


@lru_cache(maxsize=1)
def _halves(data: str, seed: int) -> "tuple[Tensor, Tensor, Tensor]":
    """Test images in the order of the set; where the thresholds' half lies, and where the other does."""
    from trompe import data as sets
    from trompe.core.random import seeds

    x, _ = sets.load(data, "test").tensors()
    order = seeds(seed, len(x)).argsort()
    return x, order[: len(x) // 2], order[len(x) // 2 :]


@lru_cache(maxsize=1)
def _models(config: Config) -> "dict[str, nn.Module]":
    """The defences by name, their thresholds set."""
    from dataclasses import replace

    from torch import nn

    from trompe import zoo
    from trompe.core import random
    from trompe.defenses import Collection, Guarded, magnet

    first, recipe = (zoo.get(config.first, progress=False), zoo.recipe(config.first))
    classifier, second = (
        zoo.get(name, progress=False) for name in (config.classifier, config.second)
    )
    members = [
        zoo.get(replace(recipe, seed=seed), progress=False) for seed in range(config.members)
    ]
    many = Collection(members).eval()
    x, held, _ = _halves(config.data, config.seed)
    guarded = {
        BOTH: magnet(classifier, first, [first, second]),
        DIVERGENCES: magnet(classifier, first, [first, second], temperatures=config.temperatures),
        COLLECTION: magnet(classifier, many, [many, second]),
    }
    for each in guarded.values():
        with random.streams(random.seeds(config.seed, 1)):
            each.calibrate(x[held], config.fpr)
    alone = {
        BARE: classifier,
        REFORMER: nn.Sequential(first, classifier).eval(),
        DETECTORS: Guarded(classifier, dict(guarded[BOTH].detectors.items())),
    }
    return {**alone, **guarded}


def _alarms(config: Config) -> Iterator["Record"]:
    """The share of clean images refused that no threshold was set on, and the same over other halves."""
    import torch

    from trompe.core import random
    from trompe.evaluation.outcomes import decide
    from trompe.evaluation.records import Record

    x, held, rest = _halves(config.data, config.seed)
    for name in (BOTH, DIVERGENCES, COLLECTION):
        guarded: Any = _models(config)[name]
        with random.streams(random.seeds(config.seed, 1), random.REPORT):
            accepted = torch.cat([decide(guarded, part)[1] for part in x[rest].split(500)])
        at = {key: float(d.threshold) for key, d in guarded.detectors.items()}
        about = {"thresholds": at, "calibrated on": len(held)}
        yield Record.rate(RATE, int((~accepted).sum()), len(rest), subject=name, config=about)
    for name in (BOTH, DIVERGENCES):
        yield from _other_halves(config, name)


def _other_halves(config: Config, name: str) -> Iterator["Record"]:
    """Thresholds on the last half as the set is ordered; and how often the interval holds the rate asked."""
    import torch

    from trompe.core.random import seeds
    from trompe.evaluation.records import Record, wilson

    x = _halves(config.data, config.seed)[0]
    guarded: Any = _models(config)[name]
    with torch.no_grad():
        parts = [torch.stack([*guarded.scores(part).values()], 1) for part in x.split(500)]
    scores, half = torch.cat(parts), len(x) // 2
    n, place = len(scores) - half, torch.arange(len(scores))
    refused = false_alarms(scores, place.roll(half - len(place)), half, config.fpr)
    yield Record.rate(ORDERED, refused, n, subject=name)
    rates = []
    for split in range(1, config.splits + 1):
        order = seeds(config.seed + split, len(scores)).argsort()
        rates.append(false_alarms(scores, order, half, config.fpr))
    inside = sum(low <= config.fpr <= high for low, high in (wilson(r, n) for r in rates))
    mean = {"mean rate": sum(rates) / len(rates) / n}
    yield Record.rate(SPLITS, inside, len(rates), subject=name, extra=mean)


def false_alarms(scores: "Tensor", order: "Tensor", held: int, fpr: float) -> int:
    """How many clean inputs are refused by thresholds that were set on others.

    Args:
        scores: of all detectors `(N, D)`.
        order: of the inputs `(N,)`; thresholds are set on the first `held`, and counted on the rest.

    >>> import torch
    >>> false_alarms(torch.arange(1.0, 201.0)[:, None], torch.arange(200), 100, 0.05)
    100
    """
    from torch import nn

    from trompe.defenses import Guarded
    from trompe.defenses.detectors import CalibratedDetector

    class Column(CalibratedDetector):
        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

        def forward(self, x: "Tensor") -> "Tensor":
            return x[:, self.place]

    columns = [Column(place) for place in range(scores.shape[1])]
    guarded = Guarded(nn.Identity(), columns).calibrate(scores[order[:held]], fpr)
    return int((~guarded.accept(scores[order[held:]])).sum())


def _attacked(
    config: Config, knows: str, against: str, judged: "Sequence[str]", name: str, attack: "Attack"
) -> Iterator["Record"]:
    """What others make of an attack on one model: right, wrong or refused; fresh draws judge."""
    from trompe.core.execution import execution, has_fast_bf16
    from trompe.core.random import REPORT, seeds
    from trompe.evaluation.outcomes import outcomes
    from trompe.evaluation.records import Record

    x, y, index = _images(config, config.random if against == COLLECTION else config.n)
    own, models = seeds(config.seed, index), _models(config)
    with execution(precision="bf16" if has_fast_bf16("cpu") else "float32"):
        x_adv = attack(models[against], x, y, seeds=own)
    ball = getattr(attack, "ball", None)
    about: dict[str, Any] = {"knows": knows, "against": against, "attack": attack.describe()}
    far = float((x_adv - x).flatten(1).norm(dim=1).mean())
    for each in judged:
        looks = config.looks if each == COLLECTION else 1
        found = outcomes(models[each], x_adv, y, own, REPORT, looks)
        shares = {"right": found.correct, "wrong": found.wrong, "refused": found.rejected}
        extra = {key: float(share.mean()) for key, share in shares.items()}
        extra |= {"on any draw": float(found.ever.float().mean()), "mean L2": far}
        yield Record.rate(
            SUCCESS, float(found.wrong.sum()), len(x), subject=each, attack=name, config=about,
            extra=extra, eps=None if ball is None else ball.eps, norm="Linf" if ball else "L2",
        )  # fmt: skip


def _images(config: Config, n: int) -> "tuple[Tensor, Tensor, Tensor]":
    """The first images of the half that no threshold saw, their labels and their places in the set."""
    from trompe import data

    x, _, rest = _halves(config.data, config.seed)
    y = data.load(config.data, "test").tensors()[1]
    assert y is not None
    return x[rest[:n]], y[rest[:n]], rest[:n]


def render(records: Iterable["Record"]) -> str:
    """False alarms, outcomes by attacker and defence, and what follows."""
    from trompe.experiments.reconstruction._magnet_page import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """Success against the radius, by what the attacker knows."""
    from trompe.experiments.reconstruction._magnet_page import drawn

    return drawn(list(records))
