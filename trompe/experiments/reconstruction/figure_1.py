"""Figure 1: autoencoders trained with noise, against Carlini & Wagner.

Accuracy against the Linf radius for each noise of the training: AE, whose target is the noisy image too, and
DAE, whose target is the clean one. The published curves were lost to us; what the paper says of them is put
to the test.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trompe.experiments.reconstruction._attacked import FULL, SMOKE, Defended, Setting, attacked
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["KINDS", "PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

KINDS = ("ae", "dae")


@dataclass(frozen=True)
class Config:
    """Which autoencoders, on what.

    Args:
        datasets: each with a classifier of its own.
        noises: standard deviations of the noise on training inputs.
        setting: of the attacks.
    """

    datasets: tuple[str, ...] = ("mnist", "fashion-mnist", "btsc")
    noises: tuple[float, ...] = (0.0, 0.1, 0.2, 0.4)
    setting: Setting = field(default_factory=Setting)


SCALES = {
    "smoke": Config(("digits",), (0.0, 0.4), SMOKE),
    "cpu": Config(),
    "paper": Config(("mnist", "fashion-mnist", "btsc", "gtsrb"), (0.0, 0.1, 0.2, 0.3, 0.4), FULL),
}

PUBLISHED: dict[str, str] = {
    "dae": "DAE significantly better than AE on MNIST and FashionMNIST, elsewhere no worse",
    "noise": "the larger the noise of the training, the more robust",
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Every autoencoder, on every data set."""
    models = (Defended(d, k, p) for d in config.datasets for k in KINDS for p in config.noises)
    yield from attacked(models, config.setting, store)


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """The curves of each data set."""
    from trompe.experiments.reconstruction._curves_page import drawn, noise

    found = list(records)
    return drawn(noise(1, KINDS, found), found)


def render(records: Iterable["Record"]) -> str:
    """What holds, the curves, and their numbers."""
    from trompe.experiments.reconstruction._curves_page import noise, rendered

    found = list(records)
    return rendered(noise(1, KINDS, found), found, PUBLISHED)
