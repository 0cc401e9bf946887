"""Figure 5: images moved to another class by the supervised autoencoder alone.

No victim takes part: the code of an image is moved until the autoencoder's own classifier of codes gives the
next class, a digit i to i + 1 and a face to the other gender. The original shows the images and says that
they have the desired label; here a judge that shares no weights with the autoencoder says whether they do,
and whether they still are digits, or faces. It is a proxy for people. What it says of images that are only
encoded and decoded stands beside: nothing that the decoder draws can be better than that.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "examples", "pictures", "render", "run"]

PICTURE = "type-one-transition.png"


@dataclass(frozen=True)
class Config:
    """Which autoencoders move which images, and how far.

    Args:
        models: recipes of supervised autoencoders.
        data: the set of each; its test split is moved.
        n: images moved, of each set.
        clean: images on which label errors are measured.
        steps, lr: of the search, for each set.
        marks: shares of the steps at which the way is drawn.
    """

    models: tuple[str, ...] = ("mnist-svae", "celeba-svae")
    data: tuple[str, ...] = ("mnist", "celeba-male")
    n: int = 300
    clean: int = 10_000
    steps: tuple[int, ...] = (250, 250)
    lr: tuple[float, ...] = (0.1, 0.1)
    marks: tuple[float, ...] = (0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.6, 1)
    seed: int = 0


SCALES = {
    "smoke": Config(("digits-svae",), ("digits",), 40, 200, (40,), (0.1,), (0, 0.1, 0.5, 1)),
    "cpu": Config(),
    "paper": Config(n=1000, steps=(20_000, 15_000), lr=(0.005, 0.01)),
}

_PAPER = "Tang et al. 2019, section"
PUBLISHED = {
    "mnist-svae": (0.0136, f"{_PAPER} IV-A: test error of the label"),
    "celeba-svae": (1 - 0.949, f"{_PAPER} IV-B: 94.9% accuracy of gender"),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """For each autoencoder its label error, the images that it moved, and a picture of digits."""
    store.total = 3 * len(config.models)
    for place, model in enumerate(config.models):
        for name, cell in (("labels", _labels), ("moved", _moved), ("picture", _picture)):
            yield from store.cell(
                f"{model} {name}",
                lambda cell=cell, place=place: cell(config, place),  # type: ignore[misc]
            )


def _images(config: Config, place: int) -> tuple["Tensor", "Tensor", "Tensor"]:
    """Test images, their labels, and the streams of their draws."""
    from trompe import data
    from trompe.core import random

    x, y = data.load(config.data[place], "test").take(config.n).tensors()
    assert y is not None
    return x, y, random.seeds(config.seed, len(x))


def _attack(config: Config, place: int) -> tuple[Any, Any]:
    """The autoencoder, and the transition by it to the next class."""
    from trompe import zoo
    from trompe.attacks.type_one import ImageTransition

    svae = zoo.get(config.models[place], progress=False)
    attack = ImageTransition(target="next", steps=config.steps[place], lr=config.lr[place])
    return svae, attack.using(svae=svae)


def _labels(config: Config, place: int) -> Iterator["Record"]:
    """How often the autoencoder's classifier is wrong on the mean codes of test images; and the judge."""
    import torch

    from trompe import data, zoo
    from trompe.evaluation.judge import trust
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._judged import judge

    svae: Any = zoo.get(config.models[place], progress=False)
    test = data.load(config.data[place], "test").take(config.clean)
    wrong = 0
    with torch.no_grad():
        for x, y, _ in test.batches(500):
            wrong += int((svae.classify(svae.encode(x).mean).argmax(1) != y).sum())
    yield Record.rate("label error", wrong, len(test), subject=config.models[place])
    tried = test.subset(slice(-config.n, None))
    yield from trust(judge(config.data[place]), tried, generator=svae, subject=config.models[place])


def _moved(config: Config, place: int) -> Iterator["Record"]:
    """What the judge says of the images, of what the autoencoder makes of them, and of what they became."""
    import torch

    from trompe.experiments.type_one._judged import judge, judged

    svae, attack = _attack(config, place)
    x, y, seeds = _images(config, place)
    target = attack.targets(svae, x, y, seeds)
    with torch.no_grad():
        plain = svae.decode(svae.encode(x).mean)
    stages = {"image": x, "reconstruction": plain, "moved": attack(svae, x, y, seeds=seeds)}
    for stage, images in stages.items():
        where = {"stage": stage, "steps": config.steps[place], "lr": config.lr[place]}
        common = {"subject": config.models[place], "attack": str(attack), "config": where}
        yield from judged(judge(config.data[place]), images, y, target, **common)


def _picture(config: Config, place: int) -> list["Record"]:
    """One digit of each class on its way; faces are not passed on, and are drawn by `examples` alone."""
    from trompe.experiments.type_one._shown import picture

    if config.data[place].startswith("celeba"):
        return []
    content, n = _way(config, place)
    return [picture(PICTURE, content, n, subject=config.models[place])]


def _way(config: Config, place: int, rows: int = 10) -> tuple[bytes, int]:
    """The first image of each class, or the first few where classes are fewer, at some of the steps."""
    import torch

    from trompe.experiments.type_one._judged import first_of_each
    from trompe.experiments.type_one._shown import strips

    svae, attack = _attack(config, place)
    x, y, seeds = _images(config, place)
    some = first_of_each(y, rows)
    x, y, seeds = x[some], y[some], seeds[some]
    at = [round(mark * attack.steps) for mark in config.marks]
    way = attack.trace(svae, x, y, seeds=seeds, at=at)
    images = torch.cat([x[None], way.images, way.best[None]])
    titles = ["image", *map(str, way.steps), "result"]
    return strips(list(images.transpose(0, 1)), titles=titles), len(x)


def pictures(records: Iterable["Record"]) -> dict[str, bytes]:
    """The digits on their way."""
    from trompe.experiments.type_one._shown import drawn

    return drawn(records)


def render(records: Iterable["Record"]) -> str:
    """Label errors beside the published ones, what the judge says, and the digits."""
    from trompe.experiments.type_one._shown import drawn

    found = list(records)
    models = list(dict.fromkeys(r.subject for r in found))
    shown = [f"![Digits on their way to the next class](pictures/{name})" for name in drawn(found)]
    parts = [_errors(found, models), _changes(found, models), *shown]
    return "\n\n".join([*parts, *(_verdict(found, model) for model in models)])


def _errors(records: list["Record"], models: list[str]) -> str:
    from trompe.experiments.type_one._judged import on_the_judge
    from trompe.experiments.type_one._shown import beside, one, rate
    from trompe.reports import Cell, Table, markdown_table
    from trompe.reports.wording import percent

    rows: list[tuple[Cell, ...]] = []
    for model in models:
        error, known = one(records, "label error", subject=model), PUBLISHED.get(model)
        assert error is not None
        told = (
            (percent(known[0], 2), f"ours {beside(error, known[0])} it") if known else (None, None)
        )
        rows.append((model, rate(error, 2), error.n, *told))
    columns = ("Autoencoder", "Label error", "n", "Published", "Beside it")
    said = (
        "How often the classifier of codes is wrong on the mean codes of test images, beside the published "
        "error of the authors' networks. Intervals are 95%."
    )
    judges = [on_the_judge(records, model) for model in models]
    return "\n\n".join([said, markdown_table(Table("", columns, tuple(rows))), *judges])


def _changes(records: list["Record"], models: list[str]) -> str:
    from trompe.experiments.type_one._judged import SHARES
    from trompe.experiments.type_one._shown import one, rate
    from trompe.reports import Cell, Table, markdown_table

    rows: list[tuple[Cell, ...]] = []
    for model in models:
        for stage in ("image", "reconstruction", "moved"):
            shares = [one(records, name, subject=model, stage=stage) for name in SHARES]
            n = shares[0].n if shares[0] else None
            steps = shares[0].config["steps"] if shares[0] and stage == "moved" else None
            rows.append((model, stage, *map(rate, shares), steps, n))
    columns = ("Autoencoder", "What is read", *(name.capitalize() for name in SHARES), "Steps", "n")
    return markdown_table(Table("", columns, tuple(rows)))


def _verdict(records: list["Record"], model: str) -> str:
    """Whether most images have the desired label, for the judge."""
    from trompe.experiments.type_one._judged import SHARES
    from trompe.experiments.type_one._shown import most, one, rate

    reached, real = (one(records, name, subject=model, stage="moved") for name in SHARES[::2])
    plain = one(records, "real", subject=model, stage="reconstruction")
    return (
        f"Transitions by {model} have the desired label, for most images: **{most(reached)}** "
        f"({rate(reached)} are read as the target; {rate(real)} are real, and of plain reconstructions "
        f"{rate(plain)})."
    )


def examples(config: Config, folder: "Path") -> list["Path"]:
    """The ways of all sets, faces too, as pictures in a folder of the user's own."""
    from trompe.evaluation.records import replace_file

    written = []
    for place, model in enumerate(config.models):
        written.append(folder / f"transition-{model}.png")
        replace_file(written[-1], _way(config, place)[0])
    return written
