"""AUDDC and distortion-distortion curves of VAEs and AEs, beside the authors' own results.

The code of a target is approached under a penalty on the distortion, at weights from 2^-20 to 2^20; the
area under the curve of target distance against distortion (AUDDC) is the robustness. The models of the paper
are trained from several seeds and meet the same pairs; convolutional ones with a code of the same size
stand beside them. Then one thing at a time is done as in the authors' code, to see what a difference is due
to: the KL with deviations for variances, outputs that are sampled, the procedure itself (SciPy's
L-BFGS-B, one pair at a time), or undone: binarised training images, the length of the training, no clipping
of gradients.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from statistics import stdev
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.core.execution import Cost
    from trompe.evaluation.autoencoder import Curve
    from trompe.evaluation.records import Record
    from trompe.zoo import Recipe

__all__ = [
    "GRID",
    "PUBLISHED",
    "SAMPLED",
    "SCALES",
    "Case",
    "Config",
    "cases",
    "measured",
    "render",
    "run",
]

GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Distortions at which the mean curve is recorded."""
SAMPLED = ", sampled output"
"""What follows a model's name where its output is drawn from the posterior, and not decoded from its mean."""


@dataclass(frozen=True)
class Config:
    """Which models meet which attack.

    Args:
        data: what all are trained on and attacked with.
        trainings: of each of the paper's models, from seed 0 on.
        pairs: sources, each with one target of another class.
        conv_trainings, conv_pairs: the same for the convolutional models; none at zero.
        octaves: the weights of the penalty are all powers of two between these, both included.
        steps: gradients spent on each pair at each weight.
        epochs: of the long training.
        published_pairs, published_steps: pairs for the published procedure, and evaluations for each.
    """

    data: str = "mnist"
    trainings: int = 5
    pairs: int = 100
    conv_trainings: int = 3
    conv_pairs: int = 25
    octaves: tuple[int, int] = (-20, 20)
    steps: int = 60
    epochs: int = 40
    published_pairs: int = 25
    published_steps: int = 150


SCALES = {
    "smoke": Config("digits", 2, 8, 1, 4, (-6, 6), 20, 32, 4, 20),
    "cpu": Config(),
    "paper": Config(conv_trainings=5, conv_pairs=100, steps=300, epochs=50, published_steps=15000),
}

_SOURCE = (
    "25 pairs of one training, recomputed from the authors' results by the formula of this page"
)
PUBLISHED: dict[str, tuple[float, float, str, tuple[float, ...]]] = {
    "VAE": (0.387, 0.075, _SOURCE, (0.826, 0.680, 0.549, 0.425, 0.299, 0.137, 0.106)),
    "AE": (0.333, 0.054, _SOURCE, (0.915, 0.740, 0.564, 0.383, 0.194, 0.005, 0.0)),
}
"""AUDDC, its deviation over pairs, the source, and the mean curve on `GRID`."""


@dataclass(frozen=True)
class Case:
    """One model under one attack."""

    name: str
    recipe: "Recipe"
    pairs: int
    divergence: str
    solver: str = "lbfgs"

    @property
    def cell(self) -> str:
        """Its name in the store."""
        return f"{self.name}, seed {self.recipe.seed}"


def cases(config: Config) -> list[Case]:
    """Everything that is measured, in its order."""
    from trompe.experiments.adversarial_vae._models import convolutional, tabacof

    made = []
    goal = {"vae": "kl", "ae": "L2"}
    for seed in range(config.trainings):
        for kind in goal:
            recipe = tabacof(kind, config.data, seed)
            made.append(Case(kind.upper(), recipe, config.pairs, goal[kind]))
        recipe = tabacof("vae", config.data, seed)
        made.append(Case("VAE, published KL", recipe, config.pairs, "kl_published"))
    vae, ae = tabacof("vae", config.data), tabacof("ae", config.data)
    few, wrong = config.published_pairs, "kl_published"
    made += [
        Case("VAE, published procedure", vae, few, wrong, "scipy"),
        Case("VAE, same pairs in one batch", vae, few, wrong),
        Case("VAE, grey training", replace(vae, binarize="none"), config.pairs, "kl"),
        Case("AE, grey training", replace(ae, binarize="none"), config.pairs, "L2"),
        Case("VAE, clipped gradients", replace(vae, clip=5.0), config.pairs, "kl"),
        Case("VAE, long training", replace(vae, epochs=config.epochs), config.pairs, "kl"),
    ]
    for seed in range(config.conv_trainings):
        for kind in goal:
            recipe, name = convolutional(kind, config.data, seed), f"convolutional {kind.upper()}"
            made.append(Case(name, recipe, config.conv_pairs, goal[kind]))
    return made


def run(config: Config, store: Store) -> Iterator["Record"]:
    """One cell for each case; a VAE's are measured at the mean of the posterior and at a draw from it."""
    todo = cases(config)
    store.total = len(todo)
    for case in todo:
        yield from store.cell(case.cell, lambda case=case: measured(config, case))  # type: ignore[misc]


def measured(config: Config, case: Case) -> Iterable["Record"]:
    """The attack at all weights, and the areas under the curves of what it returned."""
    from trompe import zoo
    from trompe.attacks.autoencoder import LatentAttack, Penalty
    from trompe.core import random
    from trompe.core.execution import Cost, metered
    from trompe.evaluation.autoencoder import curve
    from trompe.experiments.adversarial_vae._models import pairs

    model: Any = zoo.get(case.recipe, progress=False)
    x, targets = pairs(config.data, case.pairs)
    published = case.solver == "scipy"
    attack = LatentAttack(
        Penalty(1.0),
        steps=config.published_steps if published else config.steps,
        divergence=case.divergence,  # type: ignore[arg-type]
        solver=case.solver,  # type: ignore[arg-type]
    )
    low, high = config.octaves
    weights = [2.0**power for power in range(low, high + 1)]
    with metered() as cost:
        traced = curve(model, attack, x, targets, budgets=weights, seeds=random.seeds(0, len(x)))
    yield _record(case, str(attack), case.name, traced, cost)
    if case.recipe.model.stochastic:
        drawn = _again(model.with_scale(1.0), traced, x, targets)
        yield _record(case, str(attack), case.name + SAMPLED, drawn, Cost())


def _again(model: Any, traced: "Curve", x: Any, targets: Any) -> "Curve":
    """The same adversarial inputs, measured through another model."""
    import torch

    from trompe.core import random
    from trompe.evaluation.autoencoder import distances

    seeds = random.seeds(0, len(x))
    rows = [distances(model, x, found, targets, seeds=seeds) for found in traced.adversarial]
    l2, _, distortion, distance, change = (torch.stack(part) for part in zip(*rows, strict=True))
    return replace(traced, l2=l2, distortion=distortion, distance=distance, change=change)


def _record(case: Case, attack: str, name: str, traced: "Curve", cost: "Cost") -> "Record":
    from trompe.evaluation.records import Record
    from trompe.experiments.adversarial_vae._crossed import crossed

    area, each = traced.auddc().tolist(), traced.distance.clamp(0, 1)
    known = [value for value in area if value == value]
    found = crossed([area])
    points = {f"distance at {d:g}": float(y) for d, y in zip(GRID, traced.mean(GRID), strict=True)}
    return Record(
        "AUDDC",
        found.mean,
        len(known),
        found.low,
        found.high,
        "Student 95% over pairs",
        subject=name,
        attack=attack,
        threat="White box: the attacker knows the encoder and chooses a target image.",
        norm="L2",
        seed=case.recipe.seed,
        extra={"deviation over pairs": stdev(known) if len(known) > 1 else math.nan, **points},
        config={
            "recipe": case.recipe.name,
            "weights": case.recipe.hash,
            "training": case.recipe.seed,
            "areas": [round(value, 5) for value in area],
            "floors": [round(float(value), 5) for value in each.amin(0)],
        },
        forwards=cost.forwards,
        backwards=cost.backwards,
    )


def render(records: Iterable["Record"]) -> str:
    """Our table beside the published one, and what the differences are due to."""
    from trompe.experiments.adversarial_vae._area_page import rendered

    return rendered(list(records))
