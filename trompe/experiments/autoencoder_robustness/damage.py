"""Maximum damage: random starts, the singular direction, and noise of the same norm.

Without a target, the attacker moves the code or the output as far as it goes. The same test images are
attacked with the same number of gradients from random starts, from the end of the singular direction of
the Jacobian (whose power iteration is part of the count), and along that direction alone. A longer search
from more starts says how much any of them leaves.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.autoencoder_robustness._measures import Site
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.attacks.base import Attack
    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "render", "run"]

PLAIN = "random start"


@dataclass(frozen=True)
class Config:
    """What is damaged, and at which cost.

    Args:
        models: recipes of the zoo.
        data: where the images come from.
        images: how many.
        balls: radius and norm of each budget.
        gradients: of each attack on each image; a power iteration of 10 steps costs 20 of them.
        long: steps and restarts of the search that all are compared with.
        seed: of starts and noise.
    """

    models: tuple[str, ...] = ("mnist-vae", "mnist-vae-conv")
    data: str = "mnist"
    images: int = 200
    balls: tuple[tuple[float, str], ...] = ((0.5, "L2"), (2.0, "L2"), (0.1, "Linf"))
    gradients: int = 40
    long: tuple[int, int] = (60, 4)
    seed: int = 0


SCALES = {
    "smoke": Config(("digits-vae",), "digits", 24, ((1.0, "L2"), (0.1, "Linf")), 24, (30, 3)),
    "cpu": Config(),
    "paper": Config(images=2000, long=(200, 10)),
}

PUBLISHED: dict[str, Any] = {}
"""Kuzina et al. 2021 report MS-SSIM on other models; there is no number to stand beside."""


def attacks(config: Config, site: Site, eps: float, norm: Any) -> dict[str, "Attack"]:
    """Every way to spend the gradients."""
    from dataclasses import replace

    from trompe.attacks import LatentAttack, OutputAttack, SingularDirection
    from trompe.core.geometry import Ball

    ball, spent = Ball(eps, norm), config.gradients
    kind = LatentAttack if site == "code" else OutputAttack
    once = kind(ball, targeted=False, steps=spent)
    steps, restarts = config.long
    return {
        "singular direction": SingularDirection(ball, of=site, steps=spent // 2),
        PLAIN: once,
        "two random starts": replace(once, steps=spent // 2, restarts=2),
        "singular start": replace(once, steps=spent - 20, start="singular"),
        "longer search": replace(once, steps=steps, restarts=restarts),
    }


def run(config: Config, store: Store) -> Iterator["Record"]:
    """One cell per model, site and ball."""
    sites: tuple[Site, ...] = ("code", "output")
    cells = [(m, s, *b) for m in config.models for s in sites for b in config.balls]
    store.total = len(cells)
    for model, site, eps, norm in cells:
        yield from store.cell(
            f"{model}, {site}, {norm} {eps:g}",
            lambda cell=(model, site, eps, norm): _measured(config, *cell),  # type: ignore[misc]
        )


def _measured(config: Config, name: str, site: Site, eps: float, norm: str) -> Iterable["Record"]:
    """The damage of noise and of every attack, and each attack's difference from a single random start."""
    from trompe import data, zoo
    from trompe.core import random
    from trompe.core.execution import metered
    from trompe.core.geometry import Ball
    from trompe.experiments.autoencoder_robustness._measures import change, noise

    model = zoo.get(name, progress=False)
    x, _ = data.load(config.data).take(config.images).tensors()
    seeds = random.seeds(config.seed, len(x))
    reached: dict[str, tuple[Tensor, Attack | None, int]] = {}
    ball = Ball(eps, norm)  # type: ignore[arg-type]
    reached["noise"] = change(model, x, noise(x, ball, config.seed), site), None, 0
    for way, chosen in attacks(config, site, eps, norm).items():
        with metered() as cost:
            moved = chosen(model, x, seeds=seeds)
        reached[way] = change(model, x, moved, site), chosen, cost.backwards
    plain = reached[PLAIN][0]
    for way, (far, attack, spent) in reached.items():
        yield _record(name, site, ball, way, far, plain, attack, spent)


def _record(
    name: str,
    site: Site,
    ball: Any,
    way: str,
    far: "Tensor",
    plain: "Tensor",
    attack: "Attack | None",
    spent: int,
) -> "Record":
    from trompe.evaluation.records import Record
    from trompe.experiments.autoencoder_robustness._measures import mean

    apart = mean(far - plain)
    return Record.mean(
        f"change of the {site}",
        far,
        subject=name,
        attack="" if attack is None else str(attack),
        threat="White box: the attacker knows the weights and wants any change at all.",
        norm=ball.norm,
        eps=ball.eps,
        backwards=spent,
        extra={"apart": apart.value, "apart low": apart.low, "apart high": apart.high},
        config={"way": way, "site": site},
    )


def render(records: Iterable["Record"]) -> str:
    """A table per model and site, and what follows for each way."""
    from trompe.experiments.autoencoder_robustness._damage_page import rendered

    return rendered(list(records))
