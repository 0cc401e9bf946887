"""Figure 6, ours: figures 1 to 4 again under the worst rung of the ladder.

What the paper's attack leaves standing, Carlini & Wagner's through the posterior's mean, and on the same
images what is left where each meets the rung of the ladder that is worst for it. Fewer noises, weights and
radii than in those figures. Square and surrogates are left out: the ladder's own page shows what they add.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.reconstruction._attacked import PAPER, SIGNS, Defended
from trompe.experiments.reconstruction._climbed import Effort
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.attacks.base import Attack
    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "WORST", "Config", "cells", "pictures", "render", "run"]

WORST = "the ladder"
PUBLISHED = {
    "noise": "the larger the noise of the training, the more robust (Hlihor et al. 2020, section 3)",
    "denoising": "DAE on MNIST and FashionMNIST, and DVAE on MNIST, are more robust than AE and VAE",
    "scale": "a larger scale helps at large radii and costs clean accuracy",
    "penalty": "the contractive penalty is slightly beneficial for CVAE, elsewhere it is not",
}
_STILL, _DRAWING = Effort(0.4, queries=0), Effort(0.3, 3, 0)


@dataclass(frozen=True)
class Config:
    """Which autoencoders, and what attackers spend.

    Args:
        datasets: each with a classifier of its own; its first `n` test images, of the signs as many at equal
            distances.
        noises: of the training, for all kinds without a penalty.
        noise: that of the kinds with a penalty, whose weights are `weights`.
        eps, signs: Linf radii on digits and clothes, and on signs.
        looks: fresh draws on which a model that draws is judged, at most 9.
        effort: on models that draw nothing; `random` on those that do.
    """

    datasets: tuple[str, ...] = ("mnist", "fashion-mnist", "btsc")
    n: int = 100
    noises: tuple[float, ...] = (0.0, 0.4)
    noise: float = 0.1
    weights: tuple[float, ...] = (0.0, 0.1, 1.0)
    eps: tuple[float, ...] = (0.1, 0.3)
    signs: tuple[float, ...] = (0.01, 0.03)
    looks: int = 9
    effort: Effort = _STILL
    random: Effort = _DRAWING
    seed: int = 0


SCALES = {
    "smoke": Config(
        ("digits",), 12, (0.0, 0.4), 0.4, (0.0, 0.1), (0.3,), looks=2,
        effort=Effort(0.05, queries=0), random=Effort(0.05, 2, 0),
    ),
    "cpu": Config(("mnist",)),
    "paper": Config(
        n=1000, noises=(0.0, 0.1, 0.2, 0.3, 0.4), weights=(0.0, 0.001, 0.01, 0.1, 1.0),
        eps=(0.05, 0.1, 0.2, 0.3), signs=(0.005, 0.01, 0.02, 0.03),
        effort=Effort(queries=0), random=Effort(1.0, 20, 0),
    ),
}  # fmt: skip


def cells(config: Config, data: str) -> list[tuple[Defended, float]]:
    """The bare classifier, then every autoencoder at each scale of its deviation."""
    plain = [Defended(data, k, p) for p in config.noises for k in ("ae", "dae", "vae", "dvae")]
    tight = [Defended(data, k, config.noise, w) for k in ("cae", "cvae") for w in config.weights]
    models = dict.fromkeys([Defended(data), *plain, *tight])
    return [(m, s) for m in models for s in ((0.0, 1.0) if m.kind.endswith("vae") else (0.0,))]


def run(config: Config, store: Store) -> Iterator["Record"]:
    """A cell for each of them, on every data set."""
    todo = [cell for data in config.datasets for cell in cells(config, data)]
    store.total = len(todo)
    for one, scale in todo:
        yield from store.cell(
            f"{one}, scale {scale:g}",
            lambda one=one, scale=scale: _left(config, one, scale),  # type: ignore[misc]
        )


def _left(config: Config, one: Defended, scale: float) -> Iterator["Record"]:
    """Accuracy when clean, under the paper's attack, and in the worst case over the ladder."""
    import torch

    from trompe.evaluation.records import Record
    from trompe.experiments.reconstruction._climbed import climbed, written

    model, images = _model(one, scale), _images(config, one.data)
    radii = config.signs if one.data in SIGNS else config.eps
    how: dict[str, Any] = {"eps": radii, "seed": config.seed, "draws": config.looks}
    about: dict[str, Any] = {"data": one.data, "kind": one.kind, "stp": one.stp}
    about |= {"weight": one.weight, "scale": scale, "drawn": config.looks if scale else 1}
    for by, suite in _suites(config, model, images[0][:1], radii[-1], scale).items():
        found = climbed(model, suite, images, **how)
        spent: dict[str, Any] = {"subject": str(one), "norm": "Linf"}
        if by == PAPER:
            standing = torch.tensor([case.clean for case in found.cases])
            told = {**about, "by": "", "right": written(standing, about["drawn"])}
            yield Record.rate("accuracy", float(standing.sum()), len(standing), eps=0.0,
                              config=told, **spent)  # fmt: skip
        for level, (eps, record) in enumerate(zip(radii, found.records[1:], strict=True)):
            standing = found.standing(level=level)
            told = {**about, "by": by, "right": written(standing, about["drawn"])}
            yield Record.rate("accuracy", float(standing.sum()), len(standing), eps=eps,
                              attack=str(suite[PAPER]) if by == PAPER else record.attack,
                              config=told, seconds=record.seconds, forwards=record.forwards,
                              backwards=record.backwards, **spent)  # fmt: skip


def _model(one: Defended, scale: float) -> "nn.Module":
    """The whole classifier, with or without an autoencoder."""
    import torch

    from trompe.experiments.reconstruction._attacked import NONE
    from trompe.experiments.reconstruction._climbed import Defence

    if one.kind != NONE:
        return Defence(one.kind, one.stp, scale, one.weight).model(one.data)
    return one.stack("cuda" if torch.cuda.is_available() else "cpu")[0.0]


def _images(config: Config, data: str) -> "tuple[Tensor, Tensor]":
    import torch

    from trompe import data as sets

    test = sets.load(data, "test")
    n = min(config.n, len(test))
    x, y = test.tensors(torch.arange(n) * (len(test) if data in SIGNS else n) // n)
    assert y is not None
    return x, y


def _suites(
    config: Config, model: "nn.Module", image: "Tensor", eps: float, scale: float
) -> "dict[str, dict[str, Attack]]":
    """The paper's attack alone, and the ladder."""
    from trompe.attacks.carlini_wagner import ProjectedCW
    from trompe.attacks.ladder import CW_MEAN
    from trompe.core.geometry import Ball
    from trompe.experiments.reconstruction._climbed import rungs

    effort = config.random if scale else config.effort
    full = rungs(model, eps, image, Effort(1.0, effort.draws, 0))
    paper = full.get(CW_MEAN, ProjectedCW(Ball(eps), early_stop=True))
    return {PAPER: {PAPER: paper}, WORST: {**rungs(model, eps, image, effort), CW_MEAN: paper}}


def render(records: Iterable["Record"]) -> str:
    """What is left, the claims under both, and the numbers."""
    from trompe.experiments.reconstruction._left_page import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """For each data set, the intervals at the largest radius."""
    from trompe.experiments.reconstruction._left_page import drawn

    return drawn(list(records))
