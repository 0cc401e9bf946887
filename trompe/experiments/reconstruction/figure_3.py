"""Figure 3: the posterior's deviation scaled when predicting.

VAE and DVAE of the strongest training noise. One attack, through the posterior's mean, is judged at each
scale of the deviation: at 0 the mean predicts, at 1 a sample of the posterior. The paper speaks of factors of
the covariance; ours are of the deviation.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trompe.experiments.reconstruction._attacked import FULL, SMOKE, Defended, Setting, attacked
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["KINDS", "PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

KINDS = ("vae", "dvae")


@dataclass(frozen=True)
class Config:
    """Which autoencoders, on what.

    Args:
        datasets: each with a classifier of its own.
        noise: standard deviation of the noise on training inputs.
        setting: of the attacks.
    """

    datasets: tuple[str, ...] = ("mnist", "fashion-mnist", "btsc")
    noise: float = 0.4
    setting: Setting = field(default_factory=Setting)


SCALES = {
    "smoke": Config(("digits",), setting=SMOKE),
    "cpu": Config(),
    "paper": Config(setting=FULL),
}

PUBLISHED: dict[str, str] = {
    "large": "a scaled deviation improves the robustness against large perturbations",
    "clean": "large scales cost accuracy on clean images",
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Both autoencoders, on every data set; each attack is judged at all scales."""
    models = (Defended(d, k, config.noise) for d in config.datasets for k in KINDS)
    yield from attacked(models, config.setting, store)


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """The curves of each data set."""
    from trompe.experiments.reconstruction._curves_page import drawn, scaled

    found = list(records)
    return drawn(scaled(3, KINDS, found), found)


def render(records: Iterable["Record"]) -> str:
    """What holds, the curves, and their numbers."""
    from trompe.experiments.reconstruction._curves_page import rendered, scaled

    found = list(records)
    return rendered(scaled(3, KINDS, found), found, PUBLISHED)
