"""Figure 4: a penalty on the Jacobian of the encoder's mean.

CAE and CVAE for each weight of the penalty; without it they are figure 1's AE and figure 2's VAE of the same
training noise. The posterior's mean predicts, so that both kinds are judged alike; a sample of the CVAE's
posterior stands in the table.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trompe.experiments.reconstruction._attacked import FULL, SMOKE, Defended, Setting, attacked
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["KINDS", "PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

KINDS = ("cae", "cvae")


@dataclass(frozen=True)
class Config:
    """Which autoencoders, on what.

    Args:
        datasets: each with a classifier of its own.
        weights: of the penalty.
        noise: standard deviation of the noise on training inputs.
        setting: of the attacks.
    """

    datasets: tuple[str, ...] = ("mnist", "fashion-mnist", "btsc")
    weights: tuple[float, ...] = (0.0, 0.001, 0.01, 0.1, 1.0)
    noise: float = 0.1
    setting: Setting = field(default_factory=Setting)


SCALES = {
    "smoke": Config(("digits",), (0.0, 0.1), 0.4, SMOKE),
    "cpu": Config(weights=(0.0, 0.01, 0.1, 1.0)),
    "paper": Config(setting=FULL),
}

PUBLISHED: dict[str, str] = {
    "cvae": "the penalty is slightly beneficial for CVAE on MNIST and FashionMNIST",
    "others": "elsewhere it brings nothing significant, or costs accuracy",
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Every autoencoder, on every data set."""
    models = (
        Defended(d, k, config.noise, w)
        for d in config.datasets
        for k in KINDS
        for w in config.weights
    )
    yield from attacked(models, config.setting, store)


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """The curves of each data set."""
    from trompe.experiments.reconstruction._curves_page import contractive, drawn

    found = list(records)
    return drawn(contractive(4, KINDS, found), found)


def render(records: Iterable["Record"]) -> str:
    """What holds, the curves, and their numbers."""
    from trompe.experiments.reconstruction._curves_page import contractive, rendered

    found = list(records)
    return rendered(contractive(4, KINDS, found), found, PUBLISHED)
