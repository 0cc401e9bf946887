"""Success on digits: how often a digit becomes another one while its classifier's answer stays.

The original shows examples and reports no rate on digits. Here three classifiers are attacked, a perceptron,
LeNet and four convolutions; targets and parts of the attack are compared on the same images of one victim. A
judge that shares neither weights nor architecture with attacker or victim says whether the digit really
changed, and whether it is one at all; classifiers stand in for the paper's thirty people.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from trompe.evaluation.pairs import Pair
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._digits import Made, Transformed

__all__ = [
    "ASKED",
    "BASE",
    "BEST",
    "PUBLISHED",
    "SCALES",
    "Config",
    "questions",
    "render",
    "run",
    "variants",
]

ASKED = 0.8
"""The success rate that this project asks for against the perceptron."""
LENIENT = 0.01
"""Beside the judge's own rate of real images taken for unreal: one at which it lets more pass."""
BASE = "next class"
BEST = "nearer to the prior, heavier victim"
NEAREST = "nearest training image of the target"

PUBLISHED = {
    "mnist-mlp": (0.0273, "test error of the attacked perceptron"),
    "mnist-svae": (0.0136, "test error of the SVAE's label head"),
}


@dataclass(frozen=True)
class Config:
    """Who is attacked, on how many images, and how.

    Args:
        victims: recipes of the zoo; the first also meets the variants.
        svae: the attacker's recipe.
        data: its test split is attacked.
        n: images of each victim, all read correctly by it.
        paired: of them, those that all variants meet.
        steps, lr: of the search.
        options: further settings of `TypeI`.
        bf16: search in bfloat16; what is counted is measured in float32.
        trusted: real images on which the judge is measured.
        seed: of random targets, random starts and garbage.
    """

    victims: tuple[str, ...] = ("mnist-mlp", "mnist-lenet", "mnist-conv4")
    svae: str = "mnist-svae"
    data: str = "mnist"
    n: int = 1000
    paired: int = 250
    steps: int = 250
    lr: float = 0.1
    options: dict[str, Any] = field(default_factory=dict)
    bf16: bool = True
    trusted: int = 1000
    seed: int = 0


PAPER: dict[str, Any] = {"cap": 1e-3, "temperature": 1.0, "looks": 0}
"""The settings in which the attack's defaults depart from the paper's, besides steps and rate."""

SCALES = {
    "smoke": Config(("digits-mlp",), "digits-svae", "digits", 24, 12, 40, bf16=False, trusted=60),
    "cpu": Config(),
    "paper": Config(
        steps=20_000, lr=0.005, options=PAPER | {"patience": None}, bf16=False, trusted=10_000
    ),
}


def variants(config: Config) -> dict[str, Any]:
    """The attacks that meet the same images, by name; the first is the attack itself."""
    from trompe.attacks.transition import ImageTransition
    from trompe.attacks.type_one import TypeI

    how: dict[str, Any] = {"steps": config.steps, "lr": config.lr}
    base = TypeI(**how, **config.options)
    own = {f.name for f in fields(ImageTransition)}
    shared = {name: value for name, value in config.options.items() if name in own}
    return {
        BASE: base,
        "random class": replace(base, target="random"),
        "least likely class": replace(base, target="least-likely"),
        "no discriminator": replace(base, alpha=0.0),
        "fixed weight": replace(base, k=base.cap),
        "random start": replace(base, start="random"),
        "the paper's cap, temperature and no look back": replace(base, **PAPER),
        "nearer to the prior": replace(base, alpha=0.1, gamma=0.05),
        BEST: replace(base, gamma=0.1, eta=3e-4, cap=0.3),
        "no victim (image transition)": ImageTransition(**how, **shared),
    }


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Errors of the networks, the judge, the victims one by one, then the variants on paired images."""
    names = list(variants(config))
    store.total = 4 + len(config.victims) + len(names)
    yield from store.cell("errors", lambda: _errors(config))
    yield from store.cell("judge", lambda: _judge_records(config))
    for victim in config.victims:
        yield from store.cell(victim, lambda victim=victim: _victim(config, victim))  # type: ignore[misc]
    for name in (*names, NEAREST):
        yield from store.cell(name, lambda name=name: _variant(config, name))  # type: ignore[misc]
    yield from store.cell("confirmed", lambda: _confirmed(config))


def _judge(config: Config, victim: str, **how: Any) -> Any:
    """The judge of the data, without the victim's kind."""
    from trompe import zoo

    return zoo.judge_for(
        config.data, without=(zoo.recipe(victim).model.kind,), progress=False, **how
    )


def _errors(config: Config) -> Iterator["Record"]:
    """Test errors of the victims and of the SVAE's label head, from their cards."""
    from trompe import zoo
    from trompe.evaluation.records import Record

    roles = {**dict.fromkeys(config.victims, "victim"), config.svae: "label head"}
    for name, role in roles.items():
        zoo.get(name, progress=False)
        metrics = zoo.card(name)["metrics"]
        wrong = round((1 - metrics["accuracy"]) * metrics["n"])
        yield Record.rate("test error", wrong, metrics["n"], subject=name, config={"role": role})


def _judge_records(config: Config) -> Iterator["Record"]:
    """What the judge makes of real images, of decodings by the attacker's own SVAE, and of garbage."""
    from trompe import data, zoo
    from trompe.evaluation.judge import trust

    test = data.load(config.data, "test").take(config.trusted)
    networks = {
        "generator": zoo.get(config.svae, progress=False),
        "victim": zoo.get(config.victims[0], progress=False),
    }
    for name, how in {"own": {}, "lenient": {"fpr": LENIENT}}.items():
        judge = _judge(config, config.victims[0], **how)
        about: dict[str, Any] = {"config": {"thresholds": name}}
        yield from trust(judge, test, seed=config.seed, **networks, **about)


def _made(config: Config, attack: Any, victim: str, n: int) -> "Made":
    from trompe.experiments.type_one._digits import Made

    return Made(attack, n, victim, config.svae, config.data, seed=config.seed, bf16=config.bf16)


def _victim(config: Config, victim: str) -> list["Record"]:
    """The attack on one victim."""
    from trompe.experiments.type_one._digits import transformed

    attack = variants(config)[BASE]
    found = transformed(_made(config, attack, victim, config.n))
    _, records = _counted(config, victim, attack, found, {"row": "victims"})
    return records


def _variant(config: Config, name: str) -> Iterator["Record"]:
    """One attack of `variants`, or none at all, on the paired images, and its difference from the first."""
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._digits import transformed

    victim, attacks = config.victims[0], variants(config)
    base = transformed(_made(config, attacks[BASE], victim, config.paired))
    attack = attacks.get(name)
    if attack is None:
        found = replace(base, x_adv=_nearest(config, base))
    else:
        found = transformed(_made(config, attack, victim, config.paired))
    row = {"row": "variants", "variant": name}
    pairs, records = _counted(config, victim, attack, found, row)
    yield from records
    if name != BASE:
        import torch

        own, _ = _counted(config, victim, attacks[BASE], base, row)
        won, won_by_base = (
            torch.tensor([float(p.success(p.found)) for p in s]) for s in (pairs, own)
        )
        about: dict[str, Any] = {"subject": victim, "config": row}
        yield Record.mean("difference in over-stability", won - won_by_base, **about)


def _confirmed(config: Config) -> Iterator["Record"]:
    """The attack and the best variant on as many images again: settings were chosen on earlier ones."""
    from trompe.experiments.type_one._digits import transformed

    victim = config.victims[0]
    for name in (BASE, BEST):
        attack = variants(config)[name]
        every = transformed(_made(config, attack, victim, 2 * config.n))
        since = int(every.index[config.n - 1]) + 1
        row = {"row": "confirmed", "variant": name}
        later = every.part(slice(config.n, None))
        yield from _counted(config, victim, attack, later, row, since)[1]


def _nearest(config: Config, base: "Transformed") -> Any:
    """For each image the training image of its target class that is nearest in L2."""
    import torch

    from trompe import data

    x, y = data.load(config.data, "train").tensors()
    assert y is not None
    chosen = torch.empty_like(base.x)
    for label in base.target.unique().tolist():
        rows, some = base.target == label, x[y == label]
        far = torch.cdist(base.x[rows].flatten(1), some.flatten(1))
        chosen[rows] = some[far.argmin(1)]
    return chosen


def _counted(
    config: Config,
    victim: str,
    attack: Any,
    found: "Transformed",
    row: dict[str, Any],
    since: int = 0,
) -> tuple[list["Pair"], list["Record"]]:
    """The pairs, and their records with all that they rest on; `since` is the first image asked for."""
    from trompe.evaluation.judge import about_judge
    from trompe.evaluation.pairs import THREAT, stability
    from trompe.evaluation.records import Record

    pairs, agreed = _pairs(config, victim, found)
    asked = int(found.index[-1]) + 1 - since
    extra = {
        "asked": asked,
        "victim erred": asked - len(found),
        "judge erred": int((~agreed).sum()),
    }
    about = {
        "judge": about_judge(_judge(config, victim)),
        "steps": 0 if attack is None else config.steps,
        "attack": {} if attack is None else attack.describe(),
        **row,
    }
    seconds = 0.0 if attack is None else round(float(found.seconds.sum()), 3)
    told: dict[str, Any] = {"subject": victim, "attack": str(attack or NEAREST), "seconds": seconds}
    records = stability(pairs, extra=extra, config=about, **told)
    real = _judge(config, victim, fpr=LENIENT).realness.accept(found.x_adv[agreed]).tolist()
    won = sum(
        p.changed(p.found) and p.kept(p.found) and r for p, r in zip(pairs, real, strict=True)
    )
    lenient = Record.rate("leniently judged", won, len(pairs), config=about, threat=THREAT, **told)
    return pairs, [*records, lenient]


def _pairs(config: Config, victim: str, found: "Transformed") -> tuple[list["Pair"], "Tensor"]:
    """What victim and judge make of the images that the judge reads correctly; which those are, as a mask."""
    from trompe import zoo
    from trompe.evaluation.judge import read
    from trompe.evaluation.pairs import judged_pairs

    judge, model = _judge(config, victim), zoo.get(victim, progress=False)
    agreed = read(judge, found.x).label == found.y
    parts = (part[agreed] for part in (found.x, found.x_adv, found.y, found.target))
    return judged_pairs(model, judge, *parts, index=found.index[agreed]), agreed


def questions(folder: "Path | str", config: Config | None = None) -> "Path":
    """Write the paired digits of the first victim, with controls, as people are to be asked about them.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     questions(folder, SCALES["smoke"]).name
    'questionnaire.json'
    """
    import torch

    from trompe import data
    from trompe.evaluation.questionnaire import questionnaire
    from trompe.experiments.type_one._digits import transformed

    config = SCALES["cpu"] if config is None else config
    victim = config.victims[0]
    found = transformed(_made(config, variants(config)[BASE], victim, config.paired))
    pairs, agreed = _pairs(config, victim, found)
    images = torch.stack([found.x[agreed], found.x_adv[agreed]], 1)
    return questionnaire(folder, images, pairs, data.load(config.data, "train"), seed=config.seed)


def render(records: Iterable["Record"]) -> str:
    """Tables of the victims, the variants, the networks and the judge, and what follows from them."""
    from trompe.experiments.type_one._digits_page import rendered

    return rendered(list(records))
