"""Figure 7: digits on their way with the victim's confidence, and pairs of faces with their distance.

Digits become the next class while the victim is to keep its answer; the original says that its confidence
first drops and then rises. Pairs of faces differ in gender, and an embedder is to call them the same
person: the distance of their embeddings stands against its threshold. Faces are not passed on: `--examples`
draws the pairs into a folder of the user's own, and only numbers stand here. Our embedder, trained on other
people than those attacked, stands in for FaceNet. The pairs are those of the item on faces.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store
from trompe.experiments.type_one import faces

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "examples", "pictures", "render", "run"]

PICTURE = "type-one-confidence.png"
CURVE = "type-one-confidence.svg"
MOVE = 0.01
"""By how much the confidence has to fall, and to rise again, to count: one point."""


@dataclass(frozen=True)
class Config:
    """Which digits are attacked on whom, and which faces.

    Args:
        victim, svae: recipes of the zoo.
        data: its test split is attacked.
        n: digits, all read correctly by the victim.
        steps, lr: of the search; every digit spends all steps.
        published: whether all else is the paper's, and not `TypeI`'s defaults.
        shown: steps whose images are drawn, as shares of all.
        rows: digits drawn, and pairs of faces in a folder of the user's own.
        people: the faces attacked.
    """

    victim: str = "mnist-mlp"
    svae: str = "mnist-svae"
    data: str = "mnist"
    n: int = 200
    steps: int = 250
    lr: float = 0.1
    published: bool = False
    shown: tuple[float, ...] = (0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.6, 1)
    rows: int = 10
    people: faces.Config = faces.SCALES["cpu"]
    seed: int = 0


SCALES = {
    "smoke": Config(
        "digits-mlp",
        "digits-svae",
        "digits",
        n=20,
        steps=40,
        lr=0.1,
        rows=4,
        people=faces.SCALES["smoke"],
    ),
    "cpu": Config(),
    "paper": Config(n=1000, steps=20_000, lr=0.005, published=True, people=faces.SCALES["paper"]),
}

PUBLISHED: dict[str, tuple[float, str]] = {}
"""The confidences and distances over the original's images are not in its text."""


def run(config: Config, store: Store) -> Iterator["Record"]:
    """The digits on their way, and the distances of pairs of faces."""
    store.total = 2
    yield from store.cell("digits", lambda: _digits(config))
    yield from store.cell("faces", lambda: _faces(config))


def _digits(config: Config) -> Iterator["Record"]:
    from trompe.core import random
    from trompe.evaluation.pairs import judged_pairs, stability
    from trompe.experiments.type_one._judged import first_of_each, judge
    from trompe.experiments.type_one._shown import picture
    from trompe.experiments.type_one._ways import attacked, curve, drawn_way, read_right, steps_at

    x, y, index = read_right(config)
    victim, attack = attacked(config, target="next")
    seeds = random.seeds(config.seed, index)
    way = attack.trace(victim, x, y, seeds=seeds, at=steps_at(config.shown, config.steps))
    told = {"subject": config.victim, "attack": str(attack)}
    at = steps_at([i / 60 for i in range(61)], config.steps)
    yield from curve("confidence", at, way.confidence[at].double(), told)
    yield from _shape(way.confidence, told)
    pairs = judged_pairs(victim, judge(config.data), x, way.best, y, way.targets, index=index)
    yield from stability(pairs, **told)
    some = first_of_each(y, config.rows)
    yield picture(PICTURE, drawn_way(victim, x, y, way, some), len(some), **told)


def _shape(confidence: "Tensor", told: dict[str, Any]) -> Iterator["Record"]:
    """How the victim's confidence `(T + 1, B)` goes: whether it falls, and whether it rises again."""
    from trompe.evaluation.records import Record

    lowest, n = confidence.amin(0), confidence.shape[1]
    falls, rises = confidence[0] - lowest > MOVE, confidence[-1] - lowest > MOVE
    for name, hits in {"falls": falls, "falls and rises": falls & rises}.items():
        yield Record.rate(name, int(hits.sum()), n, **told)
    yield Record.mean("lowest confidence", lowest, **told)


def _faces(config: Config) -> Iterator["Record"]:
    """The distances of all pairs, and of those whose gender changed for the judge."""
    from trompe.evaluation.judge import read
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._judged import judge
    from trompe.experiments.type_one._shown import median

    made, of = faces.changed_faces(config.people), config.people
    limit = faces.threshold(of.embedder, of.people, of.pairs)
    verdict = read(judge(of.data), made.x_adv)
    changed = (verdict.label == made.target) & verdict.real
    for pairs, distance in {"all": made.distance, "changed": made.distance[changed]}.items():
        told = {"subject": of.embedder, "config": {"pairs": pairs, "threshold": limit}}
        yield Record.rate("same person", int((distance <= limit).sum()), len(distance), **told)
        if len(distance):
            yield median("distance", distance, **told)


def pictures(records: Iterable["Record"]) -> dict[str, str | bytes]:
    """The digits with the victim's confidence over each image, and its mean along the steps."""
    from trompe.experiments.type_one._shown import drawn, find
    from trompe.experiments.type_one._ways import drawing

    found = list(records)
    lines = {"mean of all": find(found, "confidence", over="all")[0]}
    title, quantity = "The victim's confidence in the old class", "confidence"
    return {**drawn(found), CURVE: drawing(title, quantity, lines, percent=True)}


def render(records: Iterable["Record"]) -> str:
    """The digits, how the confidence goes, and the distances of faces."""
    found = list(records)
    shown = (
        f"![Digits on their way, with the victim's confidence in the old class](pictures/{PICTURE})",
        f"![The mean confidence along the steps](pictures/{CURVE})",
    )
    return "\n\n".join([_on_digits(found), *shown, _on_faces(found)])


def _on_digits(records: list["Record"]) -> str:
    from trompe.experiments.type_one._shown import mean_rate, most, one, rate

    config = records[0].config
    both, success = one(records, "falls and rises"), one(records, "over-stability")
    low = one(records, "lowest confidence")
    parts = [
        one(records, name)
        for name in ("judge sees the change", "looks real", "victim keeps it at 50%")
    ]
    least = min((part for part in parts if part), key=lambda part: part.value).metric
    assert low is not None
    assert success is not None
    return (
        f"Digits of {config['data']} that {config['victim']} and a judge read correctly are moved to the "
        f"next class in {config['steps']:,} steps of {config['lr']:g}, with {config['svae']}. Of {success.n} "
        f"results {rate(one(records, 'judge sees the change'))} are the target for the judge, "
        f"{rate(one(records, 'looks real'))} are digits at all, and on "
        f"{rate(one(records, 'victim keeps it at 50%'))} the victim keeps its answer with at least half of "
        f"its confidence; all three hold on {rate(success)}. What fails most often is *{least}*.\n\n"
        f"The victim's confidence first drops and then increases: **{most(both)}** for most digits. It "
        f"falls by more than a point on {rate(one(records, 'falls'))}, and falls and rises again by more "
        f"than a point on {rate(both)}; its lowest is {mean_rate(low)} in the mean."
    )


def _on_faces(records: list["Record"]) -> str:
    from trompe.experiments.type_one._shown import find, mean, one, rate
    from trompe.reports import Cell, Table, markdown_table
    from trompe.reports.wording import number

    words = {"all": "all", "changed": "the other gender and a face, for the judge"}
    rows: list[tuple[Cell, ...]] = []
    for pairs, word in words.items():
        same = one(records, "same person", pairs=pairs)
        n = same.n if same else None
        rows.append((word, mean(one(records, "distance", pairs=pairs)), rate(same), n))
    limit = find(records, "same person")[0].config["threshold"]
    said = (
        f"Faces are attacked on {records[0].config['people']['embedder']}, which takes two pictures for one "
        f"person where their distance is at most {number(limit)}. The original's numbers over its faces are "
        f"FaceNet's, whose threshold is {number(faces.PUBLISHED['threshold'][0], 4)}."
    )
    columns = ("Pairs", "Median distance", "Below the threshold", "n")
    return "\n\n".join([said, markdown_table(Table("", columns, tuple(rows)))])


def examples(config: Config, folder: "Path") -> list["Path"]:
    """Pairs of faces with their distance over them: a picture for a folder of the user's own."""
    import torch

    from trompe.evaluation.records import replace_file
    from trompe.experiments.type_one._shown import strips
    from trompe.reports.wording import number

    made = faces.changed_faces(config.people).take(4 * config.rows)
    both = torch.stack([made.x, made.x_adv], 1).flatten(0, 1).split(8)
    words = [word for far in made.distance.tolist() for word in ("", number(far))]
    lines = [words[place : place + 8] for place in range(0, len(words), 8)]
    path = folder / "pairs.png"
    replace_file(path, strips(list(both), lines))
    return [path]
