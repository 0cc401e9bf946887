"""Figure 2: variational autoencoders trained with noise, against Carlini & Wagner.

As figure 1, for VAE and DVAE. The attack goes through the posterior's mean, with the sampling switched off;
the prediction is made from a fresh sample, at the posterior's own deviation.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from trompe.experiments.reconstruction._attacked import Defended, attacked
from trompe.experiments.reconstruction.figure_1 import SCALES, Config
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["KINDS", "PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

KINDS = ("vae", "dvae")

PUBLISHED: dict[str, str] = {
    "dvae": "DVAE significantly better than VAE on MNIST, elsewhere no worse",
    "noise": "the larger the noise of the training, the more robust; more so than for AE",
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Every autoencoder, on every data set."""
    models = (Defended(d, k, p) for d in config.datasets for k in KINDS for p in config.noises)
    yield from attacked(models, config.setting, store)


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """The curves of each data set."""
    from trompe.experiments.reconstruction._curves_page import drawn, noise

    found = list(records)
    return drawn(noise(2, KINDS, found), found)


def render(records: Iterable["Record"]) -> str:
    """What holds, the curves, and their numbers."""
    from trompe.experiments.reconstruction._curves_page import noise, rendered

    found = list(records)
    return rendered(noise(2, KINDS, found), found, PUBLISHED)
