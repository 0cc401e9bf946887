"""The attack on the output beside the attack on codes, at equal distortion.

The paper attacks codes because, it says, attacking the output directly only blurs it. Both attacks get the
same pairs, the same ball and the same number of gradients; the output is compared with the target image, or
with the reconstruction of the target, which the decoder can reach. Measured are the distance of the output
to the target, what an independent classifier reads in it, and how grey it is: the mean of `4 p (1 - p)` over
its pixels, which blurring raises.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.attacks.autoencoder import AutoencoderAttack
    from trompe.evaluation.records import Record

__all__ = ["ATTACKS", "PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

ATTACKS = ("codes", "output to image", "output to reconstruction")
PUBLISHED: dict[str, str] = {}
"""The paper says it in words."""
SHOWN = 4


@dataclass(frozen=True)
class Config:
    """Which attacks meet which models.

    Args:
        data: what the models are trained on and attacked with.
        judge: the recipe of the classifier that reads outputs.
        pairs: sources, each with one target of another class.
        radii: of the L2 ball around the source.
        steps: gradients spent on each pair.
        seed: of the trainings.
    """

    data: str = "mnist"
    judge: str = "mnist-conv4"
    pairs: int = 100
    radii: tuple[float, ...] = (2.0, 4.0, 6.0)
    steps: int = 200
    seed: int = 0


SCALES = {
    "smoke": Config("digits", "digits-mlp", 12, (1.0, 2.0), 30),
    "cpu": Config(),
    "paper": Config(pairs=1000, steps=1000),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """One cell for each model, attack and radius; the pictures are of the middle radius on the VAE."""
    todo = [(k, a, r) for k in ("VAE", "AE") for a in ATTACKS for r in config.radii]
    store.total = len(todo)
    for kind, name, radius in todo:
        yield from store.cell(
            f"{kind}, {name}, {radius:g}",
            lambda kind=kind, name=name, radius=radius: [  # type: ignore[misc]
                _measured(config, kind, name, radius)
            ],
        )


def _attack(kind: str, name: str, radius: float, steps: int) -> "AutoencoderAttack":
    from trompe.attacks.autoencoder import LatentAttack, OutputAttack
    from trompe.core.geometry import Ball

    ball = Ball(radius, "L2")
    if name == "codes":
        return LatentAttack(ball, divergence="kl" if kind == "VAE" else "L2", steps=steps)
    image = name.endswith("image")
    return OutputAttack(ball, match="image" if image else "reconstruction", steps=steps)


def _measured(config: Config, kind: str, name: str, radius: float) -> "Record":
    import torch

    from trompe import data, zoo
    from trompe.core.geometry import norm
    from trompe.evaluation.autoencoder import distances, judge, partners
    from trompe.evaluation.records import Record
    from trompe.experiments.adversarial_vae._crossed import crossed
    from trompe.experiments.adversarial_vae._models import pairs, tabacof

    model = zoo.get(tabacof(kind.lower(), config.data, config.seed), progress=False)
    x, targets = pairs(config.data, config.pairs)
    labels = data.load(config.data).take(config.pairs).tensors()[1]
    assert labels is not None
    attack = _attack(kind, name, radius, config.steps)
    found = attack(model, x, targets)
    far = distances(model, x, found, targets)
    reader = zoo.get(config.judge, progress=False)
    read = judge(model, reader, x, found, labels, labels[partners(labels)])
    with torch.no_grad():
        clean, moved, reached = model(x), model(found), model(targets)
    left = [row for row in far.distance.clamp(0, 1).tolist() if row == row]
    mean = crossed([left])
    middle = config.radii[len(config.radii) // 2]
    shown = kind == "VAE" and radius == middle
    return Record.rate(
        "AS-target",
        read.target,
        read.n,
        subject=kind,
        attack=f"{name}: {attack}",
        threat="White box: the attacker knows the model and chooses a target image.",
        norm="L2",
        eps=radius,
        seed=config.seed,
        extra={
            "ignore target": read.ignore_target / max(1, read.n),
            "distance": mean.mean,
            "distance low": mean.low,
            "distance high": mean.high,
            "to the image": float(norm(moved - targets, "L2").mean()),
            "to the reconstruction": float(norm(moved - reached, "L2").mean()),
            "grey": float(_grey(moved).mean()),
            "grey clean": float(_grey(clean).mean()),
            "grey target": float(_grey(reached).mean()),
            "l2": float(far.l2.mean()),
        },
        config={
            "kind": kind,
            "attacks": name,
            "images": _packed([x, targets, found, moved, reached]) if shown else {},
        },
    )


def _grey(images: "Tensor") -> "Tensor":
    return (4 * images * (1 - images)).flatten(1).mean(1)


def _packed(images: list["Tensor"]) -> dict[str, Any]:
    """The first images of each kind as PNGs in base64."""
    from trompe.core.domains import Images
    from trompe.reports.images import png

    names = ("source", "target", "input", "output", "reachable")
    return {
        name: [png(picture) for picture in Images().render(some[:SHOWN].clamp(0, 1))]
        for name, some in zip(names, images, strict=True)
    }


def render(records: Iterable["Record"]) -> str:
    """The table, the pictures, and whether the paper's words hold."""
    from trompe.experiments.adversarial_vae._output_page import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, bytes]:
    """The pictures."""
    from trompe.experiments.adversarial_vae._output_page import drawn

    return drawn(list(records))
