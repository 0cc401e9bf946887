"""Figure 6: the losses on the way from a "4" to a "5", while the victim still answers "4".

The loss of the attacker's classifier of codes (f2) towards "5", that of the discriminator of codes, the
loss of the victim (f1) towards "4", and the weight k_t of the latter, step by step: for one digit, the first
"4" of the test set that victim and judge read correctly, and for many of them. The original shows one digit
and does not say how it was chosen. It takes 20,000 steps.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

LOSSES = {"label": "attacker f2", "discriminator": "discriminator", "victim": "victim f1"}
LOSS_PICTURE, MEAN_PICTURE = "type-one-losses.svg", "type-one-losses-mean.svg"
WEIGHT_PICTURE, IMAGE_PICTURE = "type-one-weight.svg", "type-one-four.png"
OVER = {"one": "the first digit", "all": "all digits"}
CONDITIONS = ("judge sees the change", "looks real", "victim keeps it at 50%", "over-stability")
FLOOR = 1e-8
"""A loss that 32-bit floats tell no more from zero is drawn as this."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Config:
    """Which digits become which, on whom.

    Args:
        victim, svae: recipes of the zoo.
        data: its test split is attacked.
        source, target: the class left and the class reached.
        n: images of the source, all read correctly by the victim.
        steps, lr: of the search; every image spends all steps.
        published: whether all else is the paper's, and not `TypeI`'s defaults.
        points: steps at which curves are recorded.
        shown: steps whose images are drawn, as shares of all.
    """

    victim: str = "mnist-mlp"
    svae: str = "mnist-svae"
    data: str = "mnist"
    source: int = 4
    target: int = 5
    n: int = 100
    steps: int = 250
    lr: float = 0.1
    published: bool = False
    points: int = 60
    shown: tuple[float, ...] = (0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.6, 1)
    seed: int = 0


SCALES = {
    "smoke": Config("digits-mlp", "digits-svae", "digits", n=12, steps=40, lr=0.1, points=8),
    "cpu": Config(),
    "paper": Config(steps=20_000, lr=0.005, published=True),
}

PUBLISHED = {
    "final confidence": (0.9941, "Tang et al. 2019, figure 6: one digit, in its first class"),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """One attack on all digits, its curves, its end and its images."""
    store.total = 1
    yield from store.cell("way", lambda: _way(config))


def _way(config: Config) -> Iterator["Record"]:
    import torch

    from trompe.core import random
    from trompe.experiments.type_one._shown import picture
    from trompe.experiments.type_one._ways import attacked, drawn_way, read_right, steps_at

    x, y, index = read_right(config, config.source)
    victim, attack = attacked(config, target=config.target)
    seeds = random.seeds(config.seed, index)
    way = attack.trace(victim, x, y, seeds=seeds, at=steps_at(config.shown, config.steps))
    told = {"subject": config.victim, "attack": str(attack)}
    yield from _curves(config, way, told)
    yield from _end(config, victim, x, way, y, told)
    yield picture(IMAGE_PICTURE, drawn_way(victim, x, y, way, torch.tensor([0])), 1, **told)


def _curves(config: Config, way: Any, told: dict[str, Any]) -> Iterator["Record"]:
    """Each quantity along the steps: of the first digit, and its mean over all; losses as log10."""
    from trompe.experiments.type_one._ways import curve, steps_at

    count = min(config.points, config.steps)
    at = steps_at([i / count for i in range(count + 1)], config.steps)
    for name, values in way.curves.items():
        if name in LOSSES:
            yield from curve(name, at, values[at].double().clamp_min(FLOOR).log10(), told)
        elif name == "k":
            yield from curve(name, at, values[at].double(), told)


def _end(
    config: Config, victim: "nn.Module", x: "Tensor", way: Any, y: "Tensor", told: dict[str, Any]
) -> Iterator["Record"]:
    """The victim's confidence in the old class at the end, and what the judge reads there."""
    from trompe.evaluation.pairs import judged_pairs, stability
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._judged import confidence, judge

    final = confidence(victim, way.best, y).double()
    spread = {f"quantile {q:g}": float(final.quantile(q)) for q in QUANTILES}
    yield Record("final confidence", float(final[0]), 1, config={"over": "one"}, **told)
    yield Record.mean("final confidence", final, config={"over": "all"}, extra=spread, **told)
    sure = int((final >= PUBLISHED["final confidence"][0]).sum())
    yield Record.rate("as sure as published", sure, len(final), **told)
    pairs = judged_pairs(victim, judge(config.data), x, way.best, y, way.targets)
    for over, some in (("one", pairs[:1]), ("all", pairs)):
        yield from stability(some, **told, config={"over": over})


def pictures(records: Iterable["Record"]) -> dict[str, str | bytes]:
    """The losses of one digit and their means, the weight, and the images."""
    from trompe.experiments.type_one._shown import drawn, find
    from trompe.experiments.type_one._ways import drawing

    found = list(records)
    shown: dict[str, str | bytes] = dict(drawn(found))
    for over, file in (("one", LOSS_PICTURE), ("all", MEAN_PICTURE)):
        lines = {word: r for name, word in LOSSES.items() for r in find(found, name, over=over)}
        shown[file] = drawing("Losses on the way", "log10 of the loss", lines)
    weights = {OVER[str(r.config["over"])]: r for r in find(found, "k")}
    top = 1100 * max(max(r.config["y"]) for r in weights.values()) or 1.0
    shown[WEIGHT_PICTURE] = drawing(
        "The victim's weight", "k_t, in thousandths", weights, 1000, y_range=(0.0, top)
    )
    return shown


def render(records: Iterable["Record"]) -> str:
    """Where the digits end, beside the published one; what the paper says of the curves; and the curves."""
    found = list(records)
    config = found[0].config
    drawings = (
        (f"A {config['source']} on its way to a {config['target']}", IMAGE_PICTURE),
        ("The losses of this digit", LOSS_PICTURE),
        ("The mean losses of all digits, with 95% bands", MEAN_PICTURE),
        ("The weight of the victim's loss", WEIGHT_PICTURE),
    )
    shown = [f"![{title}](pictures/{file})" for title, file in drawings]
    said = (
        f"{config['victim']} is to answer {config['source']} while {config['svae']} moves the image to "
        f"{config['target']}, in {config['steps']:,} steps of {config['lr']:g}. Losses are drawn as log10, "
        f"and as {math.log10(FLOOR):g} where 32-bit floats do not tell them from zero. "
        f"Over each image stands the victim's confidence in {config['source']}; the last image is the one "
        "returned, the best on the way. Over-stability is success: a judge sees the change, it takes the "
        "image for a real one, and the victim keeps its answer with at least half of its confidence."
    )
    return "\n\n".join([said, _ends(found), *_claims(found), *shown])


def _ends(records: list["Record"]) -> str:
    from trompe.experiments.type_one._shown import mean_rate, one, rate
    from trompe.reports import Cell, Table, markdown_table
    from trompe.reports.wording import percent

    rows: list[tuple[Cell, ...]] = []
    for over, word in OVER.items():
        final = one(records, "final confidence", over=over)
        assert final is not None
        reads = [one(records, name, over=over) for name in CONDITIONS]
        said = (
            ["yes" if r and r.value else "no" for r in reads] if over == "one" else map(rate, reads)
        )
        published = percent(PUBLISHED["final confidence"][0], 2) if over == "one" else None
        rows.append((word, mean_rate(final), published, *said, final.n))
    heads = (name.capitalize() for name in CONDITIONS)
    columns = ("Of", "Victim's final confidence in the old class", "Published", *heads, "n")
    return markdown_table(Table("", columns, tuple(rows)))


def _claims(records: list["Record"]) -> list[str]:
    """What the paper says of its figure, held against ours."""
    from trompe.experiments.type_one._shown import find, one, rate
    from trompe.reports.wording import percent

    bound = PUBLISHED["final confidence"][0]
    spread = one(records, "final confidence", over="all")
    assert spread is not None
    quantiles = ", ".join(
        f"{percent(q, 0)}: {percent(spread.extra[f'quantile {q:g}'])}" for q in QUANTILES
    )
    ends = (
        f"The victim ends as sure as in the published example, {percent(bound, 2)} or more, on "
        f"{rate(one(records, 'as sure as published'))} of the digits. Quantiles of its final confidence: "
        f"{quantiles}."
    )
    lines = {name: find(records, name, over="all")[0].config for name in LOSSES}
    told = {
        "The attacker's loss falls": _apart(lines["label"], 0, -1),
        "The victim's loss rises at first": _apart(
            lines["victim"], len(lines["victim"]["y"]) // 10, 0
        ),
        "The victim's loss is pulled down again": _apart(
            lines["victim"], _peak(lines["victim"]), -1
        ),
        "The discriminator's loss rises": _apart(lines["discriminator"], -1, 0),
    }
    words = "\n".join(
        f"- {claim}: **{'holds' if so else 'not seen'}**." for claim, so in told.items()
    )
    return [
        ends,
        f"What the paper says of the curves, held against the means over all digits:\n\n{words}",
    ]


def _peak(line: Any) -> int:
    """Where a curve is highest."""
    return max(range(len(line["y"])), key=lambda place: line["y"][place])


def _apart(line: Any, more: int, less: int) -> bool:
    """Whether the interval at one point lies above that at another."""
    return bool(line["low"][more] > line["high"][less])
