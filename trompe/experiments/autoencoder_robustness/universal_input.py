"""One change for all images against a change for each, at equal norm.

A single perturbation of the input is learned on training images and added to test images that it has
not seen; beside it stand the change that is searched for each image, and noise. What one vector reaches of
the per-image damage says how much of an autoencoder's weakness is the image's own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.autoencoder_robustness._measures import Site
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "render", "run"]


@dataclass(frozen=True)
class Config:
    """What is learned from, and what is attacked.

    Args:
        models: recipes of the zoo.
        data: training images to learn on, test images to attack.
        train, images: how many of each.
        radii: L2 radii.
        steps, lr: of the learning, in batches of 128.
        search: gradients of the per-image attack.
        seed: of the first perturbation, of starts and noise.
    """

    models: tuple[str, ...] = ("mnist-vae", "mnist-vae-conv")
    data: str = "mnist"
    train: int = 2000
    images: int = 200
    radii: tuple[float, ...] = (1.0, 2.0, 4.0)
    steps: int = 300
    lr: float = 0.05
    search: int = 60
    seed: int = 0


SCALES = {
    "smoke": Config(("digits-vae",), "digits", 200, 24, (1.0,), 60, 0.05, 20),
    "cpu": Config(),
    "paper": Config(train=60_000, images=2000, steps=2000, search=200),
}

PUBLISHED: dict[str, Any] = {}
"""No table of universal perturbations of an encoder's input was recovered."""


def run(config: Config, store: Store) -> Iterator["Record"]:
    """One cell per model, site and radius."""
    sites: tuple[Site, ...] = ("code", "output")
    cells = [(m, s, e) for m in config.models for s in sites for e in config.radii]
    store.total = len(cells)
    for model, site, eps in cells:
        yield from store.cell(
            f"{model}, {site}, L2 {eps:g}",
            lambda cell=(model, site, eps): _measured(config, *cell),  # type: ignore[misc]
        )


def _learned(config: Config, model: Any, site: Site, eps: float) -> Any:
    """The perturbation that moves codes or outputs of training images furthest."""
    import torch

    from trompe import data
    from trompe.attacks.universal import DAMAGE, Universal
    from trompe.core.domains import Images
    from trompe.core.geometry import Ball
    from trompe.experiments.autoencoder_robustness._measures import read

    def tail(v: torch.Tensor) -> torch.Tensor:
        code = model.encode(v).mean
        made: torch.Tensor = code if site == "code" else model.decode(code)
        return made.flatten(1)

    x, _ = data.load(config.data, "train").take(config.train).tensors()
    batches = list(zip(x.split(128), read(model, x, site).split(128), strict=True))
    how = Universal(
        Ball(eps, "L2"), DAMAGE, steps=config.steps, lr=config.lr, start=1.0, domain=Images()
    )
    return how.fit(tail, batches, seed=config.seed)


def _measured(config: Config, name: str, site: Site, eps: float) -> Iterable["Record"]:
    """The damage of noise, of the one vector and of a search for each image, on unseen images."""
    import torch

    from trompe import data, zoo
    from trompe.attacks import LatentAttack, OutputAttack
    from trompe.core import random
    from trompe.core.geometry import Ball
    from trompe.experiments.autoencoder_robustness._measures import change, noise

    model = zoo.get(name, progress=False)
    x, _ = data.load(config.data).take(config.images).tensors()
    ball, kind = Ball(eps, "L2"), LatentAttack if site == "code" else OutputAttack
    shared = _learned(config, model, site, eps)
    with torch.no_grad():
        moved = {"noise": noise(x, ball, config.seed), "one vector": shared(x)}
    seeds = random.seeds(config.seed, len(x))
    own = kind(ball, targeted=False, steps=config.search)
    moved["each its own"] = own(model, x, seeds=seeds)
    far = {way: change(model, x, v, site) for way, v in moved.items()}
    for way, v in moved.items():
        yield _record(name, site, eps, way, far[way], far["each its own"], (v - x).flatten(1))


def _record(
    name: str, site: Site, eps: float, way: str, far: "Tensor", own: "Tensor", delta: "Tensor"
) -> "Record":
    """A mean change, and as a share of what each image's own attack reaches."""
    from trompe.evaluation.records import Record
    from trompe.experiments.autoencoder_robustness._measures import mean

    share = mean(far / own)
    return Record.mean(
        f"change of the {site}",
        far,
        subject=name,
        attack=way,
        threat="White box: the attacker knows the weights; one vector is fixed before the images are seen.",
        norm="L2",
        eps=eps,
        extra={
            "share": share.value,
            "share low": share.low,
            "share high": share.high,
            "mean L2": float(delta.norm(dim=1).mean()),
        },
        config={"way": way, "site": site},
    )


def render(records: Iterable["Record"]) -> str:
    """The table, and how much one vector does."""
    from trompe.reports import Table, markdown_table

    made = list(records)
    cells: dict[tuple[str, str, str], dict[str, Record]] = {}
    for record in made:
        place = record.subject, str(record.config["site"]), f"L2 {record.eps:g}"
        cells.setdefault(place, {})[record.attack] = record
    ways = list(next(iter(cells.values())))
    table = Table(
        "",
        ("Model", "Of", "Ball", "n", *ways, "one vector's share", "its L2 after the box"),
        tuple(
            (
                *place,
                cell["one vector"].n,
                *(
                    f"{cell[way].value:.3f} [{cell[way].low:.3f}, {cell[way].high:.3f}]"
                    for way in ways
                ),
                _share(cell["one vector"]),
                f"{cell['one vector'].extra['mean L2']:.2f}",
            )
            for place, cell in cells.items()
        ),
    )
    shares = [cell["one vector"].extra["share"] for cell in cells.values()]
    beats = sum(
        float(cell["one vector"].low or 0) > float(cell["noise"].high or 0)
        for cell in cells.values()
    )
    least, most = 100 * min(shares), 100 * max(shares)
    said = (
        f"One vector reaches {least:.0f}% to {most:.0f}% of the damage that a search for each image does, on "
        f"images it was not learned on; it does more than noise of the same radius in {beats} of "
        f"{len(cells)} cells. Where the box cuts the vector off, its norm is the smaller one of the last "
        "column."
    )
    return "\n\n".join([markdown_table(table), said])


def _share(record: "Record") -> str:
    low, high = record.extra["share low"], record.extra["share high"]
    return f"{100 * record.extra['share']:.0f}% [{100 * low:.0f}, {100 * high:.0f}]"
