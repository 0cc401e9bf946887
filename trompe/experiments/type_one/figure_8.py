"""Figure 8: Type I in the latent space of an AC-GAN, against LeNet.

The code of a made digit is moved until it is far from where it began, while the victim's answer stays; with
a target, until the generator's auxiliary classifier reads the next class. The original shows pairs of digits
that look different and says nothing of how many succeed. Here an independent judge says of each pair whether
the digit has become another one, and whether it is a digit at all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.evaluation.pairs import Look
    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

AGAIN = "another code of the class"
WAYS: dict[str, dict[str, Any]] = {
    "published": {"published": True},
    "published, to the next class": {"published": True, "target": "next"},
    "ours": {},
    "ours, to the next class": {"target": "next"},
    "ours, the next class drawn": {"target": "next", "draws": "target"},
}
FAR = 0.1
"""The published eps: the squared distance at which (12) is satisfied."""


@dataclass(frozen=True)
class Config:
    """Which codes are attacked, on whom, and how.

    Args:
        victim, generator: recipes of the zoo.
        data: what the judge knows.
        n: codes, of whose images victim and judge read the class that was drawn.
        steps: of each search.
        lr: of our settings; the published ones have their own.
        ways: settings of `LatentTypeI`, by the names of `WAYS`.
        shown: pairs drawn of each way.
        bf16: search in bfloat16, accept in float32.
    """

    victim: str = "mnist-lenet"
    generator: str = "mnist-acgan"
    data: str = "mnist"
    n: int = 500
    steps: int = 200
    lr: float = 0.05
    ways: tuple[str, ...] = field(default=tuple(WAYS))
    shown: int = 10
    bf16: bool = True
    seed: int = 0


SCALES = {
    "smoke": Config("digits-mlp", "digits-acgan", "digits", n=16, steps=30, shown=4, bf16=False),
    "cpu": Config(),
    "paper": Config(n=1000, steps=20_000, lr=0.01, bf16=False),
}

PUBLISHED: dict[str, tuple[float, str]] = {}
"""The original shows 20 pairs or so, and counts nothing."""


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Each way of attacking the same codes, and what happens without an attack."""
    store.total = 1 + len(config.ways)
    yield from store.cell("again", lambda: _again(config))
    for way in config.ways:
        yield from store.cell(way, partial(_attacked, config, way))


@dataclass(frozen=True, eq=False)
class _Scene:
    """A generator, a victim, and codes of images of which victim and judge read the class `y`."""

    generator: Any
    victim: "nn.Module"
    z: "Tensor"
    y: "Tensor"
    seeds: "Tensor"


def _scene(config: Config) -> _Scene:
    import torch

    from trompe import zoo
    from trompe.core import random
    from trompe.evaluation.pairs import eligible
    from trompe.experiments.type_one._judged import judge

    generator: Any = zoo.get(config.generator, progress=False)
    victim = zoo.get(config.victim, progress=False)
    seeds = random.seeds(config.seed, 2 * config.n)
    z = _drawn(generator, seeds, 0)
    y = torch.arange(len(z)) % generator.classes
    right = eligible(victim, judge(config.data), _images(generator, z, y), y, seeds)
    some = (right["victim"] & right["judge"]).nonzero()[: config.n, 0]
    return _Scene(generator, victim, z[some], y[some], seeds[some])


def _drawn(generator: Any, seeds: "Tensor", draw: int) -> "Tensor":
    """Codes of the prior, one for each stream."""
    from trompe.core import random

    with random.streams(seeds, draw):
        return random.normal((len(seeds), generator.config.latent))


def _images(generator: Any, z: "Tensor", y: "Tensor") -> "Tensor":
    import torch

    with torch.no_grad():
        parts = zip(z.split(250), y.split(250), strict=True)
        return torch.cat([generator(*part) for part in parts])


def _again(config: Config) -> Iterator["Record"]:
    """No attack: another code of the prior, and the same class."""
    scene = _scene(config)
    other = _drawn(scene.generator, scene.seeds, 1)
    told = {"config": {"way": AGAIN, "target": None}}
    yield from _judged(config, scene, other, scene.y, None, told)


def _attacked(config: Config, way: str) -> Iterator["Record"]:
    """One way, on the same codes."""
    from trompe.core.execution import execution

    scene = _scene(config)
    attack = _attack(config, way).using(generator=scene.generator)
    given = (scene.victim, scene.z, scene.y)
    with execution(precision="bf16" if config.bf16 else "float32"):
        found = attack(*given, seeds=scene.seeds)
    target = None if attack.target is None else attack.targets(*given, scene.seeds)
    drawn = scene.y if attack.draws == "present" or target is None else target
    told = {"attack": str(attack), "config": {"way": way, **attack.describe()}}
    yield from _judged(config, scene, found, drawn, target, told)


def _attack(config: Config, way: str) -> Any:
    """The attack of a name."""
    from trompe.attacks import LatentTypeI

    settings = dict(WAYS[way])
    if settings.pop("published", False):
        return LatentTypeI.published(steps=config.steps, **settings)
    return LatentTypeI(steps=config.steps, lr=config.lr, **settings)


def _judged(
    config: Config,
    scene: _Scene,
    found: "Tensor",
    drawn: "Tensor",
    target: "Tensor | None",
    told: dict[str, Any],
) -> Iterator["Record"]:
    """What became of the codes and of their images, for victim and judge."""
    import torch

    from trompe.evaluation.pairs import judged_pairs, stability
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._judged import first_of_each, judge
    from trompe.experiments.type_one._shown import picture

    told = {**told, "subject": config.victim, "seed": config.seed}
    x, made = _images(scene.generator, scene.z, scene.y), _images(scene.generator, found, drawn)
    pairs = judged_pairs(scene.victim, judge(config.data), x, made, scene.y, target)
    yield from stability(pairs, **told)
    moved = (found - scene.z).square()
    kept = torch.tensor([pair.found.kept for pair in pairs])
    satisfied = int((kept & (moved.sum(1) >= FAR)).sum())
    yield Record.rate("equation 12", satisfied, len(pairs), **told)
    yield Record.mean("squared distance", moved.sum(1), **told)
    yield Record.mean("per dimension", moved.mean(1), **told)
    yield Record.mean("image distance", (made - x).flatten(1).norm(dim=1), **told)
    some = first_of_each(scene.y, config.shown)
    shown = _pairs_drawn(x[some], made[some], [pairs[place].found for place in some.tolist()])
    yield picture(_file(told["config"]["way"]), shown, len(some), **told)


def _pairs_drawn(x: "Tensor", made: "Tensor", looks: "list[Look]") -> bytes:
    """Digits above, what they became below, with the victim's confidence in the old class and the judge's."""
    from trompe.evaluation.judge import UNDECIDED
    from trompe.experiments.type_one._shown import strips
    from trompe.reports.wording import percent

    read = ["?" if look.judged == UNDECIDED else str(look.judged) for look in looks]
    words = [
        f"{percent(look.confidence, 0)}, {name}" for look, name in zip(looks, read, strict=True)
    ]
    return strips([x, made], [[""] * len(words), words])


def _file(way: str) -> str:
    return f"type-one-latent-{way.replace(', ', '-').replace(' ', '-')}.png"


def pictures(records: Iterable["Record"]) -> dict[str, bytes]:
    """Pairs of each way."""
    from trompe.experiments.type_one._shown import drawn

    return drawn(records)


def render(records: Iterable["Record"]) -> str:
    """Every way in a table, what the paper claims, and pairs of digits."""
    found = list(records)
    ways = list(dict.fromkeys(str(r.config["way"]) for r in found))
    config = found[0].config
    said = (
        f"Codes of {config['generator']} whose image {config['victim']} and a judge read as the class drawn; "
        f"{config['steps']:,} steps at most. (12) asks for the victim's old answer and a squared distance of "
        f"{FAR:g} in all, as published. Success is over-stability: the judge sees another class (the target, "
        "where there is one) and a real digit, and the victim keeps its answer with at least half of its "
        "confidence. The first row is no attack."
    )
    shown = [
        f"{way.capitalize()}; below each digit what it became, with the victim's confidence in the old class "
        f"and the judge's reading:\n\n![{way}](pictures/{_file(way)})"
        for way in ways
        if way != AGAIN
    ]
    return "\n\n".join([said, _table(found, ways), *_claims(found, ways), *shown])


def _table(records: list["Record"], ways: list[str]) -> str:
    from trompe.experiments.type_one._shown import mean, one, rate
    from trompe.reports import Cell, Table, markdown_table

    columns = {
        "Squared distance": ("squared distance", mean),
        "per dimension": ("per dimension", mean),
        "L2 of images": ("image distance", mean),
        "(12) holds": ("equation 12", rate),
        "Victim keeps its answer": ("victim keeps it at 50%", rate),
        "Judge sees the change": ("judge sees the change", rate),
        "A digit": ("looks real", rate),
        "Success": ("over-stability", rate),
    }
    rows: list[tuple[Cell, ...]] = []
    for way in ways:
        cells = [show(one(records, name, way=way)) for name, show in columns.values()]
        success = one(records, "over-stability", way=way)
        rows.append((way, *cells, success.n if success else None))
    return markdown_table(Table("", ("Codes", *columns, "n"), tuple(rows)))


def _claims(records: list["Record"], ways: list[str]) -> Iterator[str]:
    """What the paper says of its pairs, held against ours."""
    from trompe.experiments.type_one._shown import most, one, rate

    free = [way for way in ways if way in WAYS and "target" not in WAYS[way]]
    aimed = [way for way in ways if way in WAYS and "target" in WAYS[way]]
    again = one(records, "equation 12", way=AGAIN)
    if again is not None:
        yield (
            "(12) asks little: an independent code of the same class, with no attack at all, satisfies it "
            f"on {rate(again)}."
        )
    for words, some in (("without a target", free), ("with a target", aimed)):
        best = max(
            (one(records, "over-stability", way=way) for way in some),
            key=lambda r: -1.0 if r is None else r.value,
            default=None,
        )
        if best is not None:
            yield (
                f"That the digits of each pair are visually different and the victim's answer is the same, "
                f"{words}: **{most(best)}** for most codes; at best {rate(best)} "
                f"({best.config['way']})."
            )
