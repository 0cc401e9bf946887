"""Figure 4: the manifold that a decoder of two latent coordinates has learned.

The unit square is laid out evenly and each point mapped through the inverse of the normal distribution
function, so that every tile stands for the same share of the prior. The original shows Frey Face beside
MNIST; it is not to be had.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trompe.experiments.aevb import figure_2
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

PUBLISHED: dict[str, tuple[float, str]] = {}


@dataclass(frozen=True)
class Config(figure_2.Config):
    """As figure 2, at two latent coordinates.

    Args:
        side: tiles across and down.
    """

    latents: tuple[int, ...] = (2,)
    side: int = 15


SCALES = {
    "smoke": Config((2,), 32, (500, 1000, 4000), (0.02, 0.1), 500, 100, "digits", side=4),
    "cpu": Config(),
    "paper": Config(marks=figure_2.SCALES["paper"].marks, n=10_000, side=20),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """One cell: the bound, and the picture."""
    store.total = 1
    yield from store.cell("manifold", lambda: [_manifold(config)])


def _manifold(config: Config) -> "Record":
    from trompe.experiments.aevb._manifold import grid, likeness, portrait
    from trompe.experiments.aevb._shown import floats
    from trompe.experiments.aevb._training import fitted

    fit, _ = figure_2.fit_for(config, "AEVB", 2)
    model = fitted(fit)[config.marks[-1]]
    x = floats(config.data, "test", config.n)
    drawn = grid(model, config.side)
    extra, place = likeness(drawn, config.side), {"samples": config.marks[-1]}
    return portrait(model, x, drawn, config.side, "aevb-manifold.png", extra, **place)


def pictures(records: Iterable["Record"]) -> dict[str, bytes]:
    """The picture that the record carries."""
    from trompe.experiments.aevb._shown import drawn

    return drawn(records)


def render(records: Iterable["Record"]) -> str:
    """The picture, and how good the model is."""
    from trompe.experiments.aevb._shown import picture, stated

    (record,) = records
    side = record.config["side"]
    near, any_two = record.extra["neighbours"], record.extra["any two"]
    said = (
        f"{side} x {side} codes at equal steps of probability under the prior, decoded. The lower bound of "
        f"this model is {stated(record)} nats on {record.n} test images after "
        f"{record.config['samples']:,} samples. The mean squared difference of a pixel is {near:.3f} between "
        f"neighbouring tiles and {any_two:.3f} between any two: codes that lie together "
        f"{'are' if near < any_two / 2 else 'are hardly'} decoded alike."
    )
    return "\n\n".join([said, picture("The manifold of two coordinates", "aevb-manifold.png")])
