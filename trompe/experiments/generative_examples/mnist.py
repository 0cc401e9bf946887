"""Three attacks on autoencoders of digits, by one signed step and by optimisation.

The attack on the latent code, on the model's own loss (L_VAE) and on a classifier of codes, on two VAEs and
a VAE-GAN of MNIST digits. *AS-ignore-target* is the share of sources whose adversarial reconstruction is no
longer read as their class, *AS-target* the share read as the target's. At a limit on the L2 norm the
optimisation runs inside that ball; the signed step counts as a success if any of its radii is one within
the limit, the most that can be said for it. The published form, a weight on the squared distance, is shown
beside.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from trompe.experiments.generative_examples._runs import Config, measured
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "render", "run"]

_VICTIMS = ("mnist-vae", "mnist-vae-conv", "mnist-vaegan")
SCALES = {
    "smoke": Config(
        ("digits-vae",), "digits-mlp", "digits", 24, (1.0, 2.0), (0.0, 0.1), (0.1, 0.3), 15,
        (1, 2), (32,), 600, 20,
    ),
    "cpu": Config(_VICTIMS, "mnist-conv4", "mnist", 200, (3.0, 5.0)),
    "paper": Config(_VICTIMS, "mnist-conv4", "mnist", 1000, (3.0, 5.0), steps=1000, codes=60000),
}  # fmt: skip

_REPLICATION = (
    "independent replication of the latent attack, sootlasten/adversarial-on-disentangled"
)
PUBLISHED = {
    "disentangled AS-ignore-target": (0.3686, _REPLICATION),
    "disentangled AS-target": (0.1254, _REPLICATION),
    "entangled AS-ignore-target": (0.2983, _REPLICATION),
    "entangled AS-target": (0.0949, _REPLICATION),
    "entangled, weight decay AS-ignore-target": (0.2688, _REPLICATION),
    "entangled, weight decay AS-target": (0.0785, _REPLICATION),
}
"""The paper's own table could not be recovered, and none of its cells is shown."""


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Clean cells, then one per model, attack and kind of budget."""
    yield from measured(config, store)


def render(records: Iterable["Record"]) -> str:
    """Success at matched norms, the sweep of weights, feedback, and what the records say of the claims."""
    from trompe.experiments.generative_examples._page import page, replication

    return page(list(records)) + "\n\n" + replication(PUBLISHED)
