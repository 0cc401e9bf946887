"""Distortion-distortion curves of a VAE, an AE and a classifier in one figure.

The paper finds that a classifier is deceived abruptly, by a small step beyond a threshold, and that an
autoencoder yields almost in proportion to the distortion. All are trained on the same images with the same
layers and attacked on the same pairs under the same sweep of the penalty. Of a classifier the output is its
probabilities; it is attacked by cross-entropy towards the target's label, as in the authors' code, and by
the squared distance between its logits and the target's, which is the attack on codes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record

__all__ = ["FINE", "PUBLISHED", "SCALES", "Config", "pictures", "render", "run", "shape"]

FINE = tuple(step / 50 for step in range(51))
"""Distortions at which the mean curve is drawn."""
SUBJECTS = ("VAE", "AE", "classifier by cross-entropy", "classifier by logits")
PUBLISHED: dict[str, str] = {}
"""The paper shows the curves and gives no number for their shape."""


@dataclass(frozen=True)
class Config:
    """Which models meet which attack.

    Args:
        data: what all are trained on and attacked with.
        trainings: of each model, from seed 0 on.
        pairs: sources, each with one target of another class.
        octaves, per_octave: the weights of the penalty, evenly spaced in their logarithm.
        steps: gradients spent on each pair at each weight.
    """

    data: str = "mnist"
    trainings: int = 3
    pairs: int = 50
    octaves: tuple[int, int] = (-20, 20)
    per_octave: int = 1
    steps: int = 60


SCALES = {
    "smoke": Config("digits", 1, 12, (-8, 8), 1, 20),
    "cpu": Config(),
    "paper": Config(trainings=5, pairs=100, per_octave=3, steps=300),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """One cell for each subject and training."""
    store.total = config.trainings * len(SUBJECTS)
    for seed in range(config.trainings):
        for name in SUBJECTS:
            yield from store.cell(
                f"{name}, seed {seed}",
                lambda name=name, seed=seed: [_measured(config, name, seed)],  # type: ignore[misc]
            )


def _weights(config: Config) -> list[float]:
    low, high = config.octaves
    count = (high - low) * config.per_octave
    return [2.0 ** (low + step / config.per_octave) for step in range(count + 1)]


def _measured(config: Config, name: str, seed: int) -> "Record":
    from trompe.evaluation.records import Record
    from trompe.experiments.adversarial_vae._crossed import crossed

    curve = _classifier if name.startswith("classifier") else _autoencoder
    distortion, distance = curve(config, name, seed)
    shapes = [shape(x, y) for x, y in zip(distortion.T.tolist(), distance.T.tolist(), strict=True)]
    drops = [one[0] for one in shapes]
    found = crossed([drops])
    return Record(
        "steepest tenth",
        found.mean,
        sum(drop == drop for drop in drops),
        found.low,
        found.high,
        "Student 95% over pairs",
        subject=name,
        attack=f"{len(_weights(config))} weights of the penalty, {config.steps} gradients each",
        threat="White box: the attacker knows the weights and chooses a target image.",
        norm="L2",
        seed=seed,
        config={
            "training": seed,
            "drops": _rounded(drops),
            "shares": _rounded([one[1] for one in shapes]),
            "curve": _rounded(_mean(distortion, distance)),
        },
    )


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]


def _mean(distortion: "Tensor", distance: "Tensor") -> list[float]:
    from trompe.evaluation.autoencoder import mean_curve

    return mean_curve(distortion, distance, FINE).tolist()


def shape(distortion: list[float], distance: list[float]) -> tuple[float, float]:
    """How abruptly one curve falls: its steepest tenth, and the share of the way on which it falls.

    The first is the largest fall of the distance while the distortion grows by 0.1. The second is the
    distortion between 90% and 10% of the whole fall, over the distortion at 10%: 8/9 for a straight line from
    the clean input, 0 for a step. Both are NaN where the curve is undefined or falls by half or less; the
    share is where most of the fall lies beyond a distortion of 1.1.

    >>> [round(value, 3) for value in shape([0.0, 0.5, 1.0], [1.0, 0.5, 0.0])]
    [0.1, 0.889]
    >>> [round(value, 3) for value in shape([0.0, 0.5, 0.5, 1.0], [1.0, 1.0, 0.0, 0.0])]
    [1.0, 0.0]
    """
    import numpy as np

    x, y = np.asarray(distortion), np.clip(np.asarray(distance), 0, 1)
    if not np.isfinite(x + y).all():
        return float("nan"), float("nan")
    order = np.lexsort((-y, x))
    x, y = (
        x[order],
        np.minimum.accumulate(y[order]),
    )  # what an attacker reaches with so much or less
    fine = np.linspace(0, 1.1, 1101)
    reached = np.interp(fine, x, y)
    fall = y[0] - y[-1]
    if fall <= 0.5:
        return float("nan"), float("nan")
    steepest = float((reached[:-100] - reached[100:]).max())
    if reached[-1] > y[0] - 0.9 * fall:
        return steepest, float("nan")
    early, late = (float(fine[(reached <= y[0] - part * fall).argmax()]) for part in (0.1, 0.9))
    return steepest, (late - early) / late


def _autoencoder(config: Config, name: str, seed: int) -> tuple["Tensor", "Tensor"]:
    from trompe import zoo
    from trompe.attacks.autoencoder import LatentAttack, Penalty
    from trompe.core import random
    from trompe.evaluation.autoencoder import curve
    from trompe.experiments.adversarial_vae._models import pairs, tabacof

    model = zoo.get(tabacof(name.lower(), config.data, seed), progress=False)
    x, targets = pairs(config.data, config.pairs)
    attack = LatentAttack(
        Penalty(1.0), divergence="kl" if name == "VAE" else "L2", steps=config.steps
    )
    seeds = random.seeds(0, len(x))
    traced = curve(model, attack, x, targets, budgets=_weights(config), seeds=seeds)
    return _from_clean(traced.distortion, traced.distance)


def _from_clean(distortion: "Tensor", distance: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Every curve begins at the clean input."""
    import torch

    clean = torch.zeros_like(distortion[:1])
    return torch.cat([clean, distortion]), torch.cat([clean + 1, distance])


def _classifier(config: Config, name: str, seed: int) -> tuple["Tensor", "Tensor"]:
    import torch
    from torch import nn

    from trompe import zoo
    from trompe.attacks.autoencoder import LatentAttack, LatentClassifierAttack, Penalty
    from trompe.core.protocols import PointMass
    from trompe.evaluation.autoencoder import relative_distortion, relative_target_distance
    from trompe.experiments.adversarial_vae._models import classifier, pairs

    model = zoo.get(classifier(config.data, seed), progress=False)

    class Coded(nn.Module):
        """A network's output, or the input itself, as a code."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def encode(self, x: torch.Tensor) -> PointMass:
            return PointMass(self.network(x))

    x, targets = pairs(config.data, config.pairs)
    with torch.no_grad():
        clean, goal = (model(images).softmax(1) for images in (x, targets))
    settings: Any = {"steps": config.steps}
    weights = _weights(config)
    if name.endswith("logits"):
        attack = LatentAttack(Penalty(1.0), **settings)
        found = attack.sweep(Coded(model).eval(), x, targets, weights=weights)
    else:
        towards = LatentClassifierAttack(Penalty(1.0), **settings).using(classifier=model)
        inputs = Coded(nn.Identity()).eval()
        found = towards.sweep(inputs, x, goal.argmax(1), weights=weights)
    with torch.no_grad():
        distance = [
            relative_target_distance(model(one).softmax(1), clean, goal, goal) for one in found
        ]
    distortion = [relative_distortion(x, one, targets) for one in found]
    return _from_clean(torch.stack(distortion), torch.stack(distance))


def render(records: Iterable["Record"]) -> str:
    """The figure, the numbers of its shape, and whether the paper's finding holds."""
    from trompe.experiments.adversarial_vae._curve_page import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """The figure."""
    from trompe.experiments.adversarial_vae._curve_page import drawn

    return drawn(list(records))
