"""Figure 3: from the inner sphere to the outer one, while the classifier sees nothing.

A quadratic network with fewer hidden units than inputs parts two concentric spheres almost without error, and
is blind to some directions. A point of the inner sphere is moved to the outer one by both constructions of
section II-B: by setting what the network does not see, and by following its level set. Beside them stand the
straight way, which the network does see, and the way back from the outer sphere, which the paper leaves out.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store
from trompe.experiments.type_one._toys import Training

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

NULL, PUBLISHED_NULL, LEVEL = "null space", "null space, published formula", "level set"
STRAIGHT = "straight out"
OUTWARDS, INWARDS = "inner to outer", "outer to inner"
WAYS = ((NULL, OUTWARDS), (PUBLISHED_NULL, OUTWARDS), (LEVEL, OUTWARDS), (STRAIGHT, OUTWARDS),
        (NULL, INWARDS), (LEVEL, INWARDS))  # fmt: skip
ON = 1e-6
"""How far from its sphere a point may end, to lie on it."""
SAME = 1e-5
"""How far the network's log-odds may move, beside the larger of themselves and one, to be the same."""


@dataclass(frozen=True)
class Config:
    """Which spheres, which network, and how many points.

    Args:
        size, hidden: inputs and hidden units of the network.
        gain: of its first weights.
        training: how it is trained.
        tested: new points for its error.
        n: points that are moved, of each sphere.
        steps: gradients of a move along a level set.
        points: places on the way that are looked at.
        seed: of the weights, and of all points.
    """

    size: int = 100
    hidden: int = 90
    gain: float = 30.0
    training: Training = field(default_factory=lambda: Training(62_500, 1024, 0.03))
    tested: int = 1_000_000
    n: int = 1000
    steps: int = 50
    points: int = 20
    seed: int = 0


SCALES = {
    "smoke": Config(20, 15, 30.0, Training(300, 256, 0.1), 5000, 100, 20, 10),
    "cpu": Config(),
    "paper": Config(training=Training(1_000_000, 64, 0.01), n=10_000),
}

PUBLISHED = {
    "error": (1e-4, "Tang et al. 2019, section II-B: below it, on 100,000 samples"),
    "success": (1.0, "Tang et al. 2019, section II-B: any sample of the inner sphere"),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """The error of the network, the ends of all moves, and their ways."""
    store.total = 3
    yield from store.cell("error", lambda: [_error(config)])
    yield from store.cell("moves", lambda: _moves(config))
    yield from store.cell("way", lambda: _way(config))


def _network(config: Config) -> tuple[Any, Any]:
    """The network and the spheres."""
    from trompe.data import Spheres
    from trompe.experiments.type_one._toys import trained
    from trompe.models import QuadraticConfig

    rule = Spheres(config.size)
    net = QuadraticConfig(config.size, config.hidden, config.gain)
    return trained(net, rule, config.training, config.seed), rule


def _error(config: Config) -> "Record":
    import torch

    from trompe.experiments.type_one._toys import bounded, fresh

    model, rule = _network(config)
    with torch.no_grad():
        wrong = sum(
            int((model(x).argmax(1) != y).sum()) for x, y in fresh(rule, config.tested, config.seed)
        )
    curvature, _ = model.eigen()
    seen = -(curvature[curvature != 0] / model.bias.detach())
    extra = {"rank": len(seen), "least": float(seen.min()), "most": float(seen.max())}
    return bounded("error", wrong, config.tested, subject="quadratic network", extra=extra)


def _points(config: Config, rule: Any, sphere: int) -> "tuple[Tensor, Tensor]":
    """New points of one sphere, whose norm is its radius in float64."""
    import torch

    from trompe.experiments.type_one._toys import fresh

    pairs = [
        (x[y == sphere], y[y == sphere]) for x, y in fresh(rule, 3 * config.n, config.seed + 1)
    ]
    x, y = (torch.cat(column)[: config.n] for column in zip(*pairs, strict=True))
    return x / x.norm(dim=1, keepdim=True) * rule.radii[sphere], y


def _attack(config: Config, name: str) -> "Callable[[Any, Tensor, Tensor], Tensor]":
    """A way to the other sphere."""
    from trompe.attacks import LevelSet, NullSpace
    from trompe.core.domains import Vectors

    if name == STRAIGHT:
        return lambda model, x, y: x / x.norm(dim=1, keepdim=True)
    if name == LEVEL:
        return LevelSet(steps=config.steps, domain=Vectors())
    formula: Any = "published" if name == PUBLISHED_NULL else "exact"
    return NullSpace(formula=formula, domain=Vectors())


def _moves(config: Config) -> Iterator["Record"]:
    from trompe.core.execution import metered

    model, rule = _network(config)
    for name, direction in WAYS:
        sphere = int(direction == INWARDS)
        x, y = _points(config, rule, sphere)
        attack = _attack(config, name)
        with metered() as cost:
            found = attack(model, x, y)
        told = {"attack": str(attack) if name != STRAIGHT else name, "backwards": cost.backwards}
        told |= {"config": {"way": name, "direction": direction}}
        yield _success(model, x, found, y, rule.radii[1 - sphere], told)


def _success(
    model: Any, x: "Tensor", found: "Tensor", y: "Tensor", radius: float, told: dict[str, Any]
) -> "Record":
    """On the other sphere, with the network's answer the same; and by how much it is missed at worst."""
    import torch

    from trompe.evaluation.records import Record

    with torch.no_grad():
        before, after = model.f(x), model.f(found)
    length, drift = found.norm(dim=1), (after - before).abs()
    there = (length - radius).abs() <= ON
    same = drift <= SAME * before.abs().clamp_min(1)
    extra = {
        "norm": float(length.mean()),
        "norm deviation": float(length.std()),
        "on the sphere": float(there.double().mean()),
        "class kept": float(((after > 0) == (before > 0)).double().mean()),
        "farthest off": float((length - radius).abs().max()),
        "largest drift": float(drift.max()),
        "distance": float((found - x).norm(dim=1).mean()),
    }
    threat = "White box: the attacker knows the network; an oracle sees the norm."
    return Record.rate(
        "success", int((there & same).sum()), len(x), extra=extra, threat=threat, **told
    )


def _way(config: Config) -> Iterator["Record"]:
    """What the network says at places on the way, and the mean length of what it sees and does not see."""
    import torch

    from trompe.attacks import LevelSet
    from trompe.evaluation.records import Record

    model, rule = _network(config)
    x, y = _points(config, rule, 0)
    curvature, rotation = model.eigen()
    for name in (STRAIGHT, NULL, LEVEL):
        attack = _attack(config, name)
        path = attack.trace(model, x, y) if isinstance(attack, LevelSet) else None
        end = attack(model, x, y) if path is None else x
        for place in range(config.points + 1):
            share = place / config.points
            v = x + share * (end - x) if path is None else path[round(share * config.steps)]
            with torch.no_grad():
                inner, drift = model.f(v) < 0, (model.f(v) - model.f(x)).abs()
            z = v @ rotation
            parts = {"seen": z[:, curvature != 0], "unseen": z[:, curvature == 0], "norm": z}
            extra = {part: float(values.norm(dim=1).mean()) for part, values in parts.items()}
            extra |= {"drift": float(drift.max())}
            told: dict[str, Any] = {"way": name, "place": place}
            yield Record.rate(
                "still called inner", int(inner.sum()), len(x), extra=extra, config=told
            )


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """The ways in the plane of what the network sees and what it does not; and what it says on them."""
    from trompe.experiments.type_one._sphere_page import drawings

    return drawings(list(records))


def render(records: Iterable["Record"]) -> str:
    """The error, a table of the moves, and what follows."""
    from trompe.experiments.type_one._sphere_page import rendered

    return rendered(list(records))
