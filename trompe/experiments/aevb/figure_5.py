"""Figure 5: what decoders of several latent sizes make of draws from the prior.

Decoded means of independent draws, chosen by nobody. The models are those of figures 2 and 4.
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
    """As figure 2, at these numbers of latent coordinates.

    Args:
        side: tiles across and down.
    """

    latents: tuple[int, ...] = (2, 5, 10, 20)
    side: int = 8


SCALES = {
    "smoke": Config((2, 4), 32, (500, 1000, 4000), (0.02, 0.1), 500, 100, "digits", side=3),
    "cpu": Config(),
    "paper": Config(marks=figure_2.SCALES["paper"].marks, n=10_000, side=10),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """A cell for each number of coordinates: the bound, and the picture."""
    store.total = len(config.latents)
    for latent in config.latents:
        yield from store.cell(
            f"samples {latent}",
            lambda latent=latent: [_samples(config, latent)],  # type: ignore[misc]
        )


def _samples(config: Config, latent: int) -> "Record":
    from trompe.experiments.aevb._manifold import portrait, sampled
    from trompe.experiments.aevb._shown import floats
    from trompe.experiments.aevb._training import fitted

    fit, _ = figure_2.fit_for(config, "AEVB", latent)
    model = fitted(fit)[config.marks[-1]]
    drawn = sampled(model, config.side**2, config.seed)
    x = floats(config.data, "test", config.n)
    file = f"aevb-samples-{latent}.png"
    samples = config.marks[-1]
    return portrait(model, x, drawn, config.side, file, latent=latent, samples=samples)


def pictures(records: Iterable["Record"]) -> dict[str, bytes]:
    """The pictures that the records carry."""
    from trompe.experiments.aevb._shown import drawn

    return drawn(records)


def render(records: Iterable["Record"]) -> str:
    """The pictures, with the bound of each model."""
    from trompe.experiments.aevb._shown import picture, stated

    parts = [
        "Decoded means of independent draws from the prior. The bound is on test images, in nats; a better "
        "bound does not promise better samples, which more coordinates often make worse: the prior then "
        "holds much that no image was ever mapped to."
    ]
    for record in records:
        latent, samples = record.config["latent"], record.config["samples"]
        parts.append(
            f"**{latent} coordinates**: {stated(record)}, n = {record.n}, {samples:,} training samples"
        )
        parts.append(picture(f"Samples, {latent} coordinates", str(record.config["file"])))
    return "\n\n".join(parts)
