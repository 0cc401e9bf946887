"""The same attacks on autoencoders of faces: a VAE-GAN, and a VAE.

Aligned CelebA faces of 64 x 64 pixels, our subset of people and our centre crop. The VAE has the VAE-GAN's
encoder and decoder. What is to be changed is the smile, which an independent classifier reads in the
reconstruction; with two classes, not to be read as the source's is to be read as the target's. Distances
are given as RMSD too, in units of the pixel's range.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from trompe.experiments.generative_examples._runs import Config, measured
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "render", "run"]

_VICTIMS = ("celeba-vaegan", "celeba-vae")
SCALES = {
    "smoke": Config(
        ("digits-vaegan",), "digits-mlp", "digits", 16, (2.0,), (0.1,), (0.2,), 8, (1, 2), (16,), 400, 5
    ),
    "cpu": Config(
        _VICTIMS, "latentpoison-judge", "celeba-smiling", 128, (2.0, 5.0), (0.1, 1.0, 10.0),
        (0.01, 0.02, 0.03, 0.045, 0.06), 40, codes=5000,
    ),
    "paper": Config(
        _VICTIMS, "latentpoison-judge", "celeba-smiling", 1000, (2.0, 5.0), steps=1000, codes=9000
    ),
}  # fmt: skip

PUBLISHED = {
    "judge accuracy": (0.85, "the accuracy that this project asks of a judge of smiles"),
}
"""The paper's numbers for faces could not be recovered, and none is shown."""


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Clean cells, then one per model, attack and kind of budget."""
    yield from measured(config, store)


def render(records: Iterable["Record"]) -> str:
    """Success at matched norms, the sweep of weights, feedback, and what the records say of the claims."""
    from trompe.experiments.generative_examples._page import page

    found = list(records)
    asked, _ = PUBLISHED["judge accuracy"]
    judges = [r for r in found if r.metric == "judge accuracy"]
    met = bool(judges) and all(r.value >= asked for r in judges)
    said = f"The judge of smiles is{'' if met else ' not'} right on the {100 * asked:.0f}% of images asked."
    return page(found) + "\n\n" + said
