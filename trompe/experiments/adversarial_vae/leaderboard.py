"""AE, VAE, beta-VAE and beta-TCVAE against the latent attack: robustness, and what it costs.

One architecture, one attack, one table. Every model is trained from several seeds and meets the same pairs
of test images and the same weights of the penalty; robustness is the area under the distortion-distortion
curve (AUDDC), and the interval is over trainings. A model that reconstructs badly cannot be made to show
the target either: beside each area stand the reconstruction error, how often an independent classifier
still reads the digit in a clean reconstruction, and how many latent coordinates are in use. The beta-TCVAE
at `b` weighs the total correlation with `b` and the rest of the KL with 1 (Chen et al. 2018, Willetts et
al. 2021), the beta-VAE all of the KL with `b`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record
    from trompe.zoo import Recipe

__all__ = ["GRID", "PUBLISHED", "SCALES", "Config", "models", "render", "run"]

GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Distortions at which the mean curve is recorded, as in the authors' results."""
IN_USE = 0.01
"""A coordinate is in use if its mean varies more than this over the test images (Burda et al. 2016)."""


@dataclass(frozen=True)
class Config:
    """Which models meet which attack.

    Args:
        data: what all are trained on and attacked with.
        betas: of the beta-VAEs, beside the VAE.
        correlations: of the beta-TCVAEs.
        seeds: how many trainings of each model, from seed 0 on.
        pairs: sources, each with one target of another class.
        octaves: the weights of the penalty are all powers of two between these, both included.
        steps: gradients spent on each pair at each weight.
        judge: the recipe of the classifier that reads reconstructions.
        images: test images on which the cost is measured.
    """

    data: str = "mnist"
    betas: tuple[float, ...] = (2.0, 5.0, 10.0)
    correlations: tuple[float, ...] = (5.0, 10.0)
    seeds: int = 5
    pairs: int = 100
    octaves: tuple[int, int] = (-10, 14)
    steps: int = 100
    judge: str = "mnist-conv4"
    images: int = 2000


SCALES = {
    "smoke": Config("digits", (2.0,), (2.0,), 2, 12, (-4, 6), 25, "digits-mlp", 100),
    "cpu": Config(correlations=(5.0,), seeds=3),
    "paper": Config(pairs=500, octaves=(-20, 20), steps=1000, images=10_000),
}

PUBLISHED = {
    "VAE": (0.387, 0.075, "mean and deviation over 25 pairs, recomputed from the authors' results"),
    "AE": (0.333, 0.054, "mean and deviation over 25 pairs, recomputed from the authors' results"),
}
"""AUDDC of the models that Tabacof et al. 2016 trained; of the others no table could be recovered."""


def models(config: Config, seed: int) -> dict[str, "Recipe"]:
    """Every model of the board by its name, trained from one seed."""
    from trompe import data
    from trompe.experiments.adversarial_vae._models import tabacof

    count = len(data.load(config.data, "train"))
    penal: dict[str, dict[str, Any]] = {f"beta-VAE {b:g}": {"beta": b} for b in config.betas}
    for b in config.correlations:
        penal[f"beta-TCVAE {b:g}"] = {"total_correlation": b - 1, "examples": count}
    return {
        "AE": tabacof("ae", config.data, seed),
        "VAE": tabacof("vae", config.data, seed),
        **{name: tabacof("vae", config.data, seed, **own) for name, own in penal.items()},
    }


def run(config: Config, store: Store) -> Iterator["Record"]:
    """One cell per model and seed, seed by seed."""
    names = models(config, 0)
    store.total = config.seeds * len(names)
    for seed in range(config.seeds):
        for name, recipe in models(config, seed).items():
            yield from store.cell(
                f"{name}, seed {seed}",
                lambda name=name, recipe=recipe: _measured(config, name, recipe),  # type: ignore[misc]
            )


def _measured(config: Config, name: str, recipe: "Recipe") -> Iterable["Record"]:
    """The area under one model's curve over all pairs, and what the model costs.

    A pair whose clean reconstruction lies no farther from the target than the target's own has no curve: a
    model that shows everything alike. Such pairs are left out, and `n` says so.
    """
    from trompe import zoo
    from trompe.attacks.autoencoder import LatentAttack, Penalty
    from trompe.core import random
    from trompe.core.execution import metered
    from trompe.evaluation.autoencoder import curve, mean_curve
    from trompe.evaluation.records import Record
    from trompe.experiments.adversarial_vae._models import pairs

    model: Any = zoo.get(recipe, progress=False)
    x, targets = pairs(config.data, config.pairs)
    attack = LatentAttack(
        Penalty(1.0),
        steps=config.steps,
        divergence="kl" if recipe.model.stochastic else "L2",
    )
    low, high = config.octaves
    weights = [2.0**power for power in range(low, high + 1)]
    with metered() as cost:
        traced = curve(model, attack, x, targets, budgets=weights, seeds=random.seeds(0, len(x)))
    area = traced.auddc().double()
    area = area[~area.isnan()]
    half = 1.96 * float(area.std()) / len(area) ** 0.5 if len(area) > 1 else float("nan")
    along = mean_curve(traced.distortion, traced.distance.clamp(0, 1), GRID)
    points = {f"distance at {d:g}": float(y) for d, y in zip(GRID, along, strict=True)}
    yield Record(
        "AUDDC",
        float(area.mean()),
        len(area),
        float(area.mean()) - half,
        float(area.mean()) + half,
        "normal 95% over pairs",
        subject=name,
        attack=str(attack),
        threat="White box: the attacker knows the encoder and chooses a target image.",
        norm="L2",
        seed=recipe.seed,
        extra={"deviation over pairs": float(area.std()), **points, **_cost(config, model)},
        forwards=cost.forwards,
        backwards=cost.backwards,
        config={"recipe": recipe.name, "training": recipe.seed, "weights": recipe.hash},
    )


def _cost(config: Config, model: Any) -> dict[str, float]:
    """What the model does to clean test images."""
    import torch

    from trompe import data, zoo
    from trompe.core.losses import kl_to_prior

    x, y = data.load(config.data).take(config.images).tensors()
    judge = zoo.get(config.judge, progress=False)
    with torch.no_grad():
        code = model.encode(x)
        rebuilt = model.decode(code.mean)
        found = {
            "squared error": float((rebuilt - x).square().mean()),
            "read": float((judge(rebuilt).argmax(1) == y).float().mean()),
            "in use": float((code.mean.var(0) > IN_USE).sum()),
        }
        if model.config.stochastic:
            found["kl"] = float(kl_to_prior(code).mean())
            found["total correlation"] = _total_correlation(model, x[:500])
    return found


def _total_correlation(model: Any, x: "Tensor") -> float:
    """That of the codes of these images, taken as the whole set; one draw each, in nats."""
    from trompe.core import random
    from trompe.models.aggregate import kl_parts

    with random.streams(random.seeds(0, len(x))):
        code = model.encode(x)
        parts = kl_parts(code, random.sample(code), len(x))
    return float(parts["total_correlation"].mean())


def render(records: Iterable["Record"]) -> str:
    """The board, sorted by robustness, and what follows from it."""
    from trompe.experiments.adversarial_vae._board import rendered

    return rendered(list(records))
