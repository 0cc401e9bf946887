"""The digit pictures of the page on damage and margins.

python -m trompe.experiments.autoencoder_robustness._picture docs/pictures
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["write"]

MODEL, RADIUS, R, ROWS = "mnist-vae", 2.0, 6.0, 6


def write(folder: str) -> list[Path]:
    """What each way to do damage shows the model and what comes out; and inputs at their margin."""
    from trompe import data, zoo
    from trompe.core.domains import Images
    from trompe.core.execution import predict
    from trompe.reports import Grid
    from trompe.reports.images import png_bytes
    from trompe.reports.pictures import mosaic

    model, draw = zoo.get(MODEL, progress=False), Images().render
    x, _ = data.load("mnist").take(ROWS).tensors()
    written = []
    for name, shown in (("damage-grid", _damage(model, x)), ("margin-grid", _margin(model, x))):
        images = [part for v in shown.values() for part in (v, predict(model, v))]
        titles = tuple(title for way in shown for title in (way, "its output"))
        rows = tuple(zip(*map(draw, images), strict=True))
        path = Path(folder, f"{name}.png")
        path.write_bytes(png_bytes(mosaic(Grid("", titles, rows), rows=ROWS)))
        written.append(path)
    return written


def _damage(model: "nn.Module", x: "Tensor") -> "dict[str, Tensor]":
    """The images as each way to do damage leaves them, at one radius."""
    import torch

    from trompe.core.geometry import Ball
    from trompe.experiments.autoencoder_robustness import damage, universal_input
    from trompe.experiments.autoencoder_robustness._measures import noise

    ways = damage.attacks(damage.SCALES["cpu"], "output", RADIUS, "L2")
    shared = universal_input._learned(universal_input.SCALES["cpu"], model, "output", RADIUS)
    with torch.no_grad():
        return {
            "source": x,
            "noise": noise(x, Ball(RADIUS, "L2"), 0),
            "one vector": shared(x),
            "singular": ways["singular direction"](model, x),
            "search": ways[damage.PLAIN](model, x),
        }


def _margin(model: "nn.Module", x: "Tensor") -> "dict[str, Tensor]":
    """The images, and the smallest change found that takes the output further than R."""
    from trompe.evaluation.margin import margin

    return {"source": x, "at its margin": margin(model, x, R).adversarial}


if __name__ == "__main__":
    write(sys.argv[1])
