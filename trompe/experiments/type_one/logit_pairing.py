"""Logit pairing: a network strengthened against Type II, before attacks of both types.

LeNet is trained on with adversarial logit pairing, with plain adversarial training, and with half of the
Type I examples that were made on it sent back under their new labels. As in the paper the networks meet
examples that were made on the original; beyond it they meet attacks on themselves, which is what says how
robust they are, and a second network without any defence shows what examples made on another are worth.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store
from trompe.experiments.type_one._strengthened import NETWORKS, ORIGINAL, Config, Lab

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._digits import Transformed

__all__ = ["PUBLISHED", "SCALES", "SETS", "Config", "pictures", "render", "run"]

CLEAN = "clean"
MADE_II, OWN_II = "Type II, made on the original", "Type II, on the network itself"
MADE_I, OWN_I = "Type I, made on the original", "Type I, on the network itself"
PICTURE = "type-one-pairing.svg"
SETS = (CLEAN, MADE_II, OWN_II, MADE_I, OWN_I)

PUBLISHED = {
    MADE_II: (0.985, "Tang et al. 2019, section IV-D: LeNet with adversarial logit pairing"),
    MADE_I: (0.142, "Tang et al. 2019, section IV-D: LeNet with adversarial logit pairing"),
}

SCALES = {
    "smoke": Config(
        "digits-mlp",
        "digits-svae",
        "digits",
        inner=2,
        updates=60,
        warm=30,
        batch=64,
        epochs=2,
        times=2,
        n=24,
        anew=12,
        pgd=5,
        apgd=10,
        steps=40,
    ),
    "cpu": Config(),
    "paper": Config(
        inner=40,
        updates=9000,
        warm=3000,
        n=2000,
        anew=1000,
        steps=20_000,
        type_one_lr=0.005,
        options={"patience": None, "temperature": 1.0, "looks": 0, "cap": 1e-3},
    ),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Each network on each set."""
    lab = Lab(config)
    store.total = len(NETWORKS) * len(SETS)
    measures = dict(zip(SETS, (_clean, _made_ii, _own_ii, _made_i, _own_i), strict=True))
    for name in NETWORKS:
        for images, measure in measures.items():
            yield from store.cell(
                f"{name}: {images}",
                lambda name=name, measure=measure: measure(lab, name),  # type: ignore[misc]
            )


def _answers(lab: Lab, name: str, x: "Tensor") -> "Tensor":
    """The classes that a network gives, `(n,)`."""
    import torch

    from trompe.core.execution import predict

    model = lab.network(name)
    return torch.cat([predict(model, part).argmax(1) for part in x.split(500)])


def _right(
    lab: Lab, name: str, images: str, x: "Tensor", y: "Tensor", about: str = "", **rest: Any
) -> "Record":
    """How many images of a set a network reads as `y`."""
    from trompe.evaluation.records import Record

    config = {"network": name, "set": images, **({"of": about} if about else {})}
    right = int((_answers(lab, name, x) == y).sum()) if len(x) else 0
    return Record.rate("accuracy", right, len(x), subject=lab.config.victim, config=config, **rest)


def _clean(lab: Lab, name: str) -> Iterator["Record"]:
    from trompe import data

    x, y = data.load(lab.config.data, "test").tensors()
    assert y is not None
    yield _right(lab, name, CLEAN, x, y)


def _made_ii(lab: Lab, name: str) -> Iterator["Record"]:
    """The images that are not sent back, attacked on the original by PGD that spends all its steps.

    One that stops just beyond the original's boundary transfers to nobody.
    """
    from trompe.attacks.gradient import PGD
    from trompe.core.geometry import Ball
    from trompe.core.random import seeds

    c, found = lab.config, lab.halves[2]
    attack = PGD(Ball(c.eps), steps=c.pgd, early_stop=False)
    x_adv = attack(lab.network(ORIGINAL), found.x, found.y, seeds=seeds(c.seed, found.index))
    yield _right(lab, name, MADE_II, x_adv, found.y, attack=str(attack), eps=c.eps, norm="Linf")


def _own_ii(lab: Lab, name: str) -> Iterator["Record"]:
    """The same images, attacked on the network itself: right where APGD with neither loss succeeds."""
    from trompe.attacks.gradient import APGD
    from trompe.core.geometry import Ball
    from trompe.core.random import seeds

    c, found, model = lab.config, lab.halves[2], lab.network(name)
    own, x_adv = seeds(c.seed, found.index), found.x.clone()
    for loss in ("ce", "dlr"):
        rows = (_answers(lab, name, x_adv) == found.y).nonzero()[:, 0]
        attack = APGD(Ball(c.eps), steps=c.apgd, loss=loss)
        if len(rows):
            x_adv[rows] = attack(model, found.x[rows], found.y[rows], seeds=own[rows])
    told: dict[str, Any] = {"attack": "APGD, cross-entropy and DLR", "eps": c.eps, "norm": "Linf"}
    yield _right(lab, name, OWN_II, x_adv, found.y, **told)


def _made_i(lab: Lab, name: str) -> Iterator["Record"]:
    """Type I examples of the original, of which those count that succeeded on it."""
    found = lab.halves[2]
    yield from _type_one(lab, name, MADE_I, found, lab.seen(found) & found.kept)


def _own_i(lab: Lab, name: str) -> Iterator["Record"]:
    """The same images, made anew on the network itself, of which those count that really changed."""
    import torch

    found = lab.made(lab.network(name))
    found = found.part(torch.isin(found.index, lab.halves[2].index))
    yield from _type_one(lab, name, OWN_I, found, lab.seen(found))


def _type_one(
    lab: Lab, name: str, images: str, found: "Transformed", counted: "Tensor"
) -> Iterator["Record"]:
    """How many the network reads as what they became, and of how many it keeps the old class."""
    from trompe.evaluation.records import Record

    told: dict[str, Any] = {
        "attack": f"TypeI, {lab.config.steps} steps of {lab.config.type_one_lr:g}"
    }
    yield _right(lab, name, images, found.x_adv[counted], found.target[counted], "counted", **told)
    yield _right(lab, name, images, found.x_adv, found.target, "all", **told)
    held = lab.seen(found) & (_answers(lab, name, found.x_adv) == found.y)
    config = {"network": name, "set": images}
    told |= {"subject": lab.config.victim, "config": config}
    yield Record.rate("over-stability", int(held.sum()), len(held), **told)


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """Every accuracy with its interval."""
    from trompe.experiments.type_one._pairing_page import drawn

    return {PICTURE: drawn(list(records))}


def render(records: Iterable["Record"]) -> str:
    """Accuracies beside the published ones, and what follows."""
    from trompe.experiments.type_one._pairing_page import rendered

    return rendered(list(records))
