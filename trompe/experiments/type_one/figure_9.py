"""Figure 9: Type I in the latent space of a GAN on faces, against an embedder.

The code of a made face is moved away while an embedder is to take the image for the same person. The original
shows six faces of a StyleGAN on their way, attacked on FaceNet, and the distances at their ends. Our GAN of
64 x 64 pixels stands in for StyleGAN, our embedder for FaceNet, and the threshold is our embedder's own, set
on people it was not trained on. Faces are not passed on: `--examples` draws the ways into a folder of the
user's own, and only numbers stand here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store
from trompe.experiments.type_one import faces

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "examples", "pictures", "render", "run"]

CURVE = "type-one-latent-faces.svg"
AGAIN = "another code"
WAYS: dict[str, dict[str, Any]] = {"published": {}, "ours": {"eps": 1.0, "metric": "mean"}}


@dataclass(frozen=True)
class Config:
    """Which codes are attacked, on whom, and how.

    Args:
        embedder, generator: recipes of the zoo.
        people: pictures with people, of whom the held-out set the threshold.
        data: what the judge knows.
        n: codes.
        pairs: of test people, on which the embedder is measured, and as many that set its threshold.
        steps: of each search; every code spends all.
        lr: of our settings; the published ones have their own.
        followed: codes whose ways are recorded, the first ones.
        rows: ways told one by one, and drawn in a folder of the user's own.
        shown: steps of these, as shares of all.
        bf16: search in bfloat16, accept in float32.
    """

    embedder: str = "celeba-embedder"
    generator: str = "celeba-gan"
    people: str = "celeba-identity"
    data: str = "celeba-male"
    n: int = 200
    pairs: int = 2000
    steps: int = 300
    lr: float = 0.05
    followed: int = 40
    rows: int = 6
    shown: tuple[float, ...] = (0, 0.05, 0.1, 0.2, 0.4, 0.7, 1)
    bf16: bool = True
    seed: int = 0


SCALES = {
    "smoke": Config(
        "digits-embedder", "digits-acgan", "digits", "digits",
        n=12, pairs=100, steps=20, followed=4, rows=3, bf16=False,
    ),
    "cpu": Config(),
    "paper": Config(n=1000, steps=20_000, lr=0.01, bf16=False),
}  # fmt: skip

_PAPER = "Tang et al. 2019, figure 9: FaceNet and StyleGAN"
PUBLISHED = {
    f"row {number}": (distance, _PAPER)
    for number, distance in enumerate((0.678, 0.6321, 0.7632, 1.0482, 0.6448, 1.0449), 1)
} | {"threshold": (1.242, _PAPER)}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Pairs of independent codes, and each way of attacking the same codes."""
    store.total = 1 + len(WAYS)
    yield from store.cell("again", lambda: _again(config))
    for way in WAYS:
        yield from store.cell(way, partial(_attacked, config, way))


@dataclass(frozen=True, eq=False)
class _Scene:
    """A generator, an embedder with its threshold, and codes with their classes, if there are such."""

    generator: Any
    embedder: "nn.Module"
    limit: float
    z: "Tensor"
    y: "Tensor | None"
    seeds: "Tensor"

    def image(self, z: "Tensor") -> "Tensor":
        """What the generator makes of codes."""
        import torch

        ys = [None] * len(z) if self.y is None else self.y.split(100)
        with torch.no_grad():
            parts = zip(z.split(100), ys, strict=False)
            return torch.cat(
                [self.generator(a) if b is None else self.generator(a, b) for a, b in parts]
            )


def _scene(config: Config) -> _Scene:
    import torch

    from trompe import zoo
    from trompe.core import random

    generator: Any = zoo.get(config.generator, progress=False)
    embedder = zoo.get(config.embedder, progress=False)
    limit = faces.threshold(config.embedder, config.people, config.pairs)
    seeds = random.seeds(config.seed, config.n)
    y = torch.arange(config.n) % generator.classes if generator.classes else None
    return _Scene(generator, embedder, limit, _drawn(generator, seeds, 0), y, seeds)


def _drawn(generator: Any, seeds: "Tensor", draw: int) -> "Tensor":
    """Codes of the prior, one for each stream."""
    from trompe.core import random

    with random.streams(seeds, draw):
        return random.normal((len(seeds), generator.config.latent))


def _again(config: Config) -> Iterator["Record"]:
    """No attack: an independent code, which gives another face."""
    scene = _scene(config)
    other = _drawn(scene.generator, scene.seeds, 1)
    told = {"config": {"way": AGAIN, "threshold": scene.limit}}
    yield from _compared(config, scene, other, scene.image(other), told)


def _attack(config: Config, way: str, scene: _Scene) -> Any:
    from trompe.attacks import LatentTypeI

    own = {"steps": config.steps, "patience": None, "allowed": round(scene.limit, 4)}
    settings = own if way == "published" else {**own, **WAYS[way], "lr": config.lr, "shell": True}
    return LatentTypeI.published("embedding", **settings).using(generator=scene.generator)


def _way(config: Config, way: str, scene: _Scene, count: int) -> Any:
    """The ways of the first codes."""
    from trompe.core.execution import execution
    from trompe.experiments.type_one._ways import steps_at

    attack, at = _attack(config, way, scene), steps_at(config.shown, config.steps)
    y = None if scene.y is None else scene.y[:count]
    with execution(precision="bf16" if config.bf16 else "float32"):
        return attack.trace(scene.embedder, scene.z[:count], y, seeds=scene.seeds[:count], at=at)


def _attacked(config: Config, way: str) -> Iterator["Record"]:
    """One way, on the same codes."""
    from trompe.core.execution import execution
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._ways import curve, steps_at

    scene = _scene(config)
    attack = _attack(config, way, scene)
    with execution(precision="bf16" if config.bf16 else "float32"):
        found = attack(scene.embedder, scene.z, scene.y, seeds=scene.seeds)
    where = {"way": way, "threshold": scene.limit}
    told = {"attack": str(attack), "config": where}
    yield from _compared(config, scene, found, scene.image(found), told)
    passed = _way(config, way, scene, min(config.followed, config.n)).curves["victim"]
    at = steps_at([i / 30 for i in range(31)], config.steps)
    subject = f"{config.embedder}, {way}"
    yield from curve("victim", at, passed[at].double(), {"subject": subject, "attack": str(attack)})
    seen = steps_at(config.shown, config.steps)
    for row in range(config.rows):
        values = [float(f"{v:.4g}") for v in passed[seen, row].tolist()]
        own = {**where, "row": row + 1, "steps": seen, "passed": values}
        yield Record("way", values[-1], 1, config=own, subject=config.embedder)


def _compared(
    config: Config, scene: _Scene, found: "Tensor", made: "Tensor", told: dict[str, Any]
) -> Iterator["Record"]:
    """How far codes, images and embeddings are from where they began, and what a judge sees."""
    from trompe.evaluation.judge import read
    from trompe.evaluation.records import Record
    from trompe.evaluation.verification import embeddings
    from trompe.experiments.type_one._judged import judge
    from trompe.experiments.type_one._shown import median

    told = {"subject": config.embedder, "seed": config.seed, **told}
    x, n = scene.image(scene.z), len(found)
    distance = (embeddings(scene.embedder, x) - embeddings(scene.embedder, made)).norm(dim=1)
    before, after = read(judge(config.data), x), read(judge(config.data), made)
    turned = (before.label != after.label) & (before.label >= 0) & (after.label >= 0)
    moved = (found - scene.z).square()
    yield Record.mean("squared distance", moved.sum(1), **told)
    yield Record.mean("per dimension", moved.mean(1), **told)
    yield Record.mean("rmsd", (made - x).flatten(1).square().mean(1).sqrt(), **told)
    yield median("embedding distance", distance, **told)
    yield Record.rate("same person", int((distance <= scene.limit).sum()), n, **told)
    yield Record.rate("label turned", int(turned.sum()), n, **told)
    yield Record.rate("real before", int(before.real.sum()), n, **told)
    yield Record.rate("real", int(after.real.sum()), n, **told)


def pictures(records: Iterable["Record"]) -> dict[str, str | bytes]:
    """The mean distance of embeddings along the steps, of each way."""
    from trompe.experiments.type_one._shown import find
    from trompe.experiments.type_one._ways import drawing

    found = list(records)
    lines = {
        way: r
        for way in WAYS
        for r in find(found, "victim", over="all", subject=_whole(found, way))
    }
    return {CURVE: drawing("Distance of embeddings on the way", "distance", lines)} if lines else {}


def _whole(records: list["Record"], way: str) -> str:
    return f"{records[0].subject}, {way}"


def render(records: Iterable["Record"]) -> str:
    """Every way in a table, the claim, single ways, and the curve."""
    found = list(records)
    config = found[0].config
    limit = PUBLISHED["threshold"][0]
    said = (
        f"Codes of {config['generator']}, {config['steps']:,} steps. {config['embedder']} takes two pictures "
        f"for one person where their distance is at most {config['threshold']:.4g}; FaceNet's threshold is "
        f"{limit:g}, and its distances are its own. The judge says of how many images the label of "
        f"{config['data']} has turned, and how many are real; the first row is no attack."
    )
    shown = f"![The mean distance of embeddings along the steps](pictures/{CURVE})"
    return "\n\n".join([said, _table(found), _claim(found), _rows(found), shown])


def _table(records: list["Record"]) -> str:
    from trompe.experiments.type_one._shown import mean, one, rate
    from trompe.reports import Cell, Table, markdown_table

    columns = {
        "Squared distance": ("squared distance", mean),
        "per dimension": ("per dimension", mean),
        "RMS difference of images": ("rmsd", mean),
        "Median distance of embeddings": ("embedding distance", mean),
        "Same person": ("same person", rate),
        "Label turned": ("label turned", rate),
        "Real": ("real", rate),
        "Real before": ("real before", rate),
    }
    rows: list[tuple[Cell, ...]] = []
    for way in (AGAIN, *WAYS):
        cells = [show(one(records, name, way=way)) for name, show in columns.values()]
        same = one(records, "same person", way=way)
        rows.append((way, *cells, same.n if same else None))
    return markdown_table(Table("", ("Codes", *columns, "n"), tuple(rows)))


def _claim(records: list["Record"]) -> str:
    """All six stay below the threshold and look different: ours, with the change of independent faces."""
    from trompe.experiments.type_one._shown import most, one, rate

    same, again = (one(records, "same person", way=way) for way in ("ours", AGAIN))
    moved, apart = (one(records, "rmsd", way=way) for way in ("ours", AGAIN))
    assert moved is not None
    assert apart is not None
    return (
        f"That the embedder still takes the face for the same person: **{most(same)}** for most codes, on "
        f"{rate(same)} (of independent faces it says so on {rate(again)}). That the appearance changes "
        f"significantly: the images differ by {moved.value / apart.value:.0%} of what independent ones do."
    )


def _rows(records: list["Record"]) -> str:
    from trompe.experiments.type_one._shown import find
    from trompe.reports import Cell, Table, markdown_table
    from trompe.reports.wording import number

    ways = find(records, "way", way="ours")
    rows: list[tuple[Cell, ...]] = []
    for record in ways:
        published = PUBLISHED.get(f"row {record.config['row']}")
        passed = (number(value) for value in record.config["passed"])
        rows.append((str(record.config["row"]), *passed, published and published[0]))
    heads = (f"step {step}" for step in ways[0].config["steps"])
    columns = ("Row", *heads, "Published end (FaceNet)")
    return "Distances on the way, in our settings:\n\n" + markdown_table(
        Table("", columns, tuple(rows))
    )


def examples(config: Config, folder: "Path") -> list["Path"]:
    """Faces on their way with their distance over them: a picture for a folder of the user's own."""
    from dataclasses import replace

    from trompe.evaluation.records import replace_file
    from trompe.experiments.type_one._shown import strips
    from trompe.reports.wording import number

    few = replace(config, n=config.rows)
    way = _way(few, "ours", _scene(few), few.n)
    words = [
        [number(v) for v in way.curves["victim"][list(way.steps), row].tolist()]
        for row in range(few.n)
    ]
    path = folder / "ways.png"
    replace_file(path, strips(list(way.images.transpose(0, 1)), words, [*map(str, way.steps)]))
    return [path]
