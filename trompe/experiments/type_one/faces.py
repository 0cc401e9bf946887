"""Faces of the other gender that an embedder takes for the same person: the rate of success.

The original attacked FaceNet on 1000 faces, and thirty people judged the results: success is where the
embedder says the same person, and people say another gender and that it is a face. Here our embedder stands
in for FaceNet, our part of CelebA for the whole, and classifiers that share no weights with the attacker for
the people. The two rates stand beside each other and are not the same quantity. Each condition has its own
rate, and so have pairs that nobody attacked.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from trompe.evaluation.pairs import Pair
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._faces import Changed

__all__ = [
    "PUBLISHED",
    "SCALES",
    "Config",
    "changed_faces",
    "examples",
    "render",
    "run",
    "threshold",
]

CONDITIONS = ("same person", "gender changed", "a face", "all three")
STAGES = {
    "attack": "the Type I attack",
    "transition": "the transition without a victim",
    "reconstruction": "encoded and decoded, no more",
    "another": "another person of the other gender",
}


@dataclass(frozen=True)
class Config:
    """Which faces are attacked on whom, and how far.

    Args:
        embedder, svae: recipes of the zoo.
        data: faces with the label that the autoencoder knows; `people` has the same with their people.
        n: the first so many faces of the test split.
        pairs: of test people, on which the embedder is measured, and as many that set its threshold.
        steps, lr: of attack and transition.
        goal: the distance that the attack aims below, as a share of the threshold.
        published: whether all else is the paper's, and not `TypeI`'s defaults.
        bf16: search in bfloat16; everything is read in float32.
    """

    embedder: str = "celeba-embedder"
    svae: str = "celeba-svae"
    data: str = "celeba-male"
    people: str = "celeba-identity"
    n: int = 300
    pairs: int = 2000
    steps: int = 250
    lr: float = 0.1
    goal: float = 1.0 / 1.242
    published: bool = False
    bf16: bool = True
    seed: int = 0


SCALES = {
    "smoke": Config(
        "digits-embedder", "digits-svae", "digits", "digits", n=30, pairs=100, steps=20, lr=0.1
    ),
    "cpu": Config(),
    "paper": Config(n=1000, steps=15_000, lr=0.01, published=True),
}

_PAPER = "Tang et al. 2019, section IV-B"
PUBLISHED = {
    "all three": (0.698, f"{_PAPER}: FaceNet, thirty annotators"),
    "verification accuracy": (0.9905, f"{_PAPER}: FaceNet on LFW"),
    "threshold": (1.242, f"{_PAPER}: FaceNet"),
}


@cache
def threshold(embedder: str, people: str, pairs: int) -> float:
    """The distance up to which two pictures are of one person; set on people not trained on or measured."""
    from trompe import zoo
    from trompe.experiments.type_one._faces import verified

    return verified(zoo.get(embedder, progress=False), people, embedder, n=pairs).threshold


def _attack(config: Config) -> Any:
    """The attack on the embedder, aimed at the original's share of the threshold."""
    from trompe.attacks.type_one import TypeI

    goal = config.goal * threshold(config.embedder, config.people, config.pairs)
    settings: dict[str, Any] = {"steps": config.steps, "lr": config.lr, "goal": round(goal, 4)}
    if config.published:
        return TypeI.published("embedding", **settings)
    return TypeI(keep="embedding", **settings)


def changed_faces(config: Config) -> "Changed":
    """The faces that the attack makes of others: those at hand, or made now."""
    from trompe.experiments.type_one._faces import Faces, changed

    named = ("embedder", "svae", "data", "people", "seed", "bf16")
    return changed(Faces(_attack(config), config.n, **{key: getattr(config, key) for key in named}))


def run(config: Config, store: Store) -> Iterator["Record"]:
    """The embedder, the judge, and each kind of pairs."""
    store.total = 2 + len(STAGES)
    yield from store.cell("embedder", lambda: _embedder(config))
    yield from store.cell("judge", lambda: _judge(config))
    for stage in STAGES:
        yield from store.cell(stage, lambda stage=stage: _pairs(config, stage))  # type: ignore[misc]


def _embedder(config: Config) -> list["Record"]:
    from trompe import zoo
    from trompe.experiments.type_one._faces import verified

    embedder = zoo.get(config.embedder, progress=False)
    found = verified(embedder, config.people, config.embedder, n=config.pairs)
    return found.records(subject=config.embedder)


def _judge(config: Config) -> Iterator["Record"]:
    """What the judge makes of test faces that are not attacked, and of garbage."""
    from trompe import data, zoo
    from trompe.evaluation.judge import trust
    from trompe.experiments.type_one._judged import judge

    svae = zoo.get(config.svae, progress=False)
    tried = data.load(config.data, "test").subset(slice(-config.n, None))
    return trust(judge(config.data), tried, generator=svae, subject=config.svae)


def _pairs(config: Config, stage: str) -> Iterator["Record"]:
    """The conditions on one kind of pairs, over faces of which the judge reads the gender right."""
    from trompe import zoo
    from trompe.core.domains import Images
    from trompe.core.execution import predict
    from trompe.core.geometry import norm
    from trompe.evaluation.judge import read
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._judged import judge
    from trompe.experiments.type_one._shown import median

    made, embedder = changed_faces(config), zoo.get(config.embedder, progress=False)
    right = read(judge(config.data), made.x).label == made.y
    found = Images().as_delivered(_other(config, made, stage)[right])
    verdict = read(judge(config.data), found)
    distance = norm(predict(embedder, made.x[right]) - predict(embedder, found), "L2")
    same = distance <= threshold(config.embedder, config.people, config.pairs)
    reached = verdict.label == made.target[right]
    told = _told(config, made, stage)
    seen = (same, reached, verdict.real, same & reached & verdict.real)
    for name, hits in zip(CONDITIONS, seen, strict=True):
        yield Record.rate(name, int(hits.sum()), len(found), **told)
    yield median("distance", distance, **told)


def _told(config: Config, made: "Changed", stage: str) -> dict[str, Any]:
    """What the records of one kind of pairs say besides."""
    searched = stage in ("attack", "transition")
    where = {"stage": stage, "asked": len(made), "searched": config.steps if searched else None}
    name = str(_attack(config)) if stage == "attack" else ""
    extra = {"seconds per face": float(made.seconds.mean())} if stage == "attack" else {}
    return {"subject": config.embedder, "attack": name, "config": where, "extra": extra}


def _other(config: Config, made: "Changed", stage: str) -> "Tensor":
    """The second face of each pair `(n, C, H, W)`."""
    import torch

    from trompe import zoo
    from trompe.attacks.type_one import ImageTransition
    from trompe.core import random
    from trompe.core.execution import execution

    svae: Any = zoo.get(config.svae, progress=False)
    if stage == "attack":
        return made.x_adv
    if stage == "reconstruction":
        with torch.no_grad():
            return torch.cat([svae.decode(svae.encode(x).mean) for x in made.x.split(64)])
    if stage == "transition":
        move = ImageTransition(target="next", steps=config.steps, lr=config.lr).using(svae=svae)
        with execution(precision="bf16" if config.bf16 else "float32"):
            return move(svae, made.x, made.y, seeds=random.seeds(config.seed, made.index))
    return made.x[_strangers(made)]


def _strangers(made: "Changed") -> "Tensor":
    """For each face the next one, in turn, of somebody else who has the label aimed at."""
    import torch

    places = torch.arange(len(made))
    fits = (made.y[None] == made.target[:, None]) & (made.person[None] != made.person[:, None])
    later = (places[None] - places[:, None]) % len(made)
    return torch.where(fits, later, len(made)).argmin(1)


def render(records: Iterable["Record"]) -> str:
    """The rate of success beside the published one, its conditions, pairs nobody attacked, the embedder."""
    from trompe.experiments.type_one._judged import on_the_judge
    from trompe.experiments.type_one._shown import one

    found = list(records)
    success = one(found, "all three", stage="attack")
    assert success is not None
    judge = on_the_judge(found, str(success.config["svae"]))
    return "\n\n".join([_conditions(found), _verdict(found, success), judge, _stand_ins(found)])


def _conditions(records: list["Record"]) -> str:
    from trompe.experiments.type_one._shown import mean, one, rate
    from trompe.reports import Cell, Table, markdown_table
    from trompe.reports.wording import percent

    rows: list[tuple[Cell, ...]] = []
    for stage, word in STAGES.items():
        shares = [one(records, name, stage=stage) for name in CONDITIONS]
        distance = one(records, "distance", stage=stage)
        assert distance is not None
        rows.append(
            (word, *map(rate, shares), mean(distance), distance.config["searched"], distance.n)
        )
    (published, source), of = PUBLISHED["all three"], SCALES["paper"]
    rows.append((source, None, None, None, percent(published), None, of.steps, of.n))
    heads = (name.capitalize() for name in CONDITIONS)
    columns = ("The second face is", *heads, "Median distance", "Steps", "n")
    said = (
        "Pairs of a face and another one. *Same person* is the embedder's answer, *gender changed* and "
        "*a face* are the judge's; only faces count of which the judge reads the gender right. All are read "
        "as 8-bit files. Intervals are 95%."
    )
    return "\n\n".join([said, markdown_table(Table("", columns, tuple(rows)))])


def _verdict(records: list["Record"], success: "Record") -> str:
    """Where our rate lies beside the published one, and what the pairs nobody attacked say of it."""
    from trompe.experiments.type_one._shown import beside, one, rate
    from trompe.reports.wording import percent

    published = PUBLISHED["all three"][0]
    kept = {stage: one(records, "same person", stage=stage) for stage in STAGES}
    attack, moved = kept["attack"], kept["transition"]
    assert attack is not None
    assert moved is not None
    gain = _above(attack, moved)
    return (
        f"Our rate of success, {rate(success)} at {success.config['searched']:,} steps, "
        f"{beside(success, published)} the published {percent(published)}. Whether the attack is what keeps "
        f"the person: **{gain}**. The embedder says the same person of {rate(attack)} of attacked faces, of "
        f"{rate(moved)} of faces moved without regard to it, of {rate(kept['reconstruction'])} of "
        f"reconstructions, and of {rate(kept['another'])} of two people. {_missed(records)}"
    )


def _missed(records: list["Record"]) -> str:
    """The condition that the attack fails most often, beside the pairs that bound it."""
    from trompe.experiments.type_one._shown import one, rate

    found = {name: one(records, name, stage="attack") for name in CONDITIONS[:3]}
    least = min(found, key=lambda name: getattr(found[name], "value", 1.0))
    alone, real = (one(records, least, stage=stage) for stage in ("transition", "another"))
    return (
        f"The condition that fails most often is *{least}*: it holds on {rate(found[least])} of attacked "
        f"faces, on {rate(alone)} of those moved without a victim, and on {rate(real)} of real people of the "
        "other gender."
    )


def _above(one: "Record", other: "Record") -> str:
    """Whether one share lies above another, by intervals that do or do not overlap."""
    if (one.low or 0.0) > (other.high or 1.0):
        return "holds"
    return "does not hold" if (one.high or 1.0) < (other.low or 0.0) else "is unresolved"


def _stand_ins(records: list["Record"]) -> str:
    from trompe.experiments.type_one._shown import one, rate
    from trompe.reports.wording import number, percent

    right = one(records, "verification accuracy")
    assert right is not None
    config = right.config
    known, limit = PUBLISHED["verification accuracy"][0], PUBLISHED["threshold"][0]
    return (
        f"{config['embedder']} stands in for FaceNet: it tells {rate(right)} of {right.n} pairs of "
        f"{config['people']} test people rightly, where {percent(known, 2)} is published for FaceNet on "
        f"LFW; its threshold is {number(config['threshold'])}, set on other people, and FaceNet's "
        f"{number(limit, 4)}. {config['svae']} and a judge of classifiers stand in for the authors' networks "
        "and for their annotators."
    )


def examples(config: Config, folder: "Path") -> list["Path"]:
    """Pairs and questions for people, with controls among them; faces, so in a folder of the user's own."""
    import torch

    from trompe import data
    from trompe.core.domains import Images
    from trompe.evaluation.questionnaire import questionnaire

    made = changed_faces(config)
    delivered = Images().as_delivered(torch.stack([made.x, made.x_adv], 1))
    images = (delivered * 255).round().to(torch.uint8)
    real = data.load(config.data, "test")
    return [questionnaire(folder, images, _keys(made), real, noun="face", seed=config.seed)]


def _keys(made: "Changed") -> list["Pair"]:
    """What the questionnaire's key says of each pair; nobody has looked at it yet."""
    from trompe.evaluation.pairs import Look, Pair

    unseen = Look(kept=False, confidence=0.0, judged=-1, sure=0.0, real=False)
    columns = zip(made.index.tolist(), made.y.tolist(), made.target.tolist(), strict=True)
    return [Pair(index, label, target, unseen, unseen, 0.0) for index, label, target in columns]
