"""Table III: an embedder of faces strengthened by Type I, FGSM or PGD examples, and what each then resists.

Examples are made on the original embedder, of faces of test people. A Type I example counts where a judge of
classifiers, which share nothing with the attacker, reads the face right and the example as a face of the
other gender. Faces of a random half of the people, where the Type I example counts, are sent back with the
training data, the same for each kind of examples; all else is measured on people of whom nothing was. The
threshold of each embedder is set anew on people of the training split that none was trained on.

What counts as right:

- clean: a pair of faces is told rightly to be of one person or of two;
- Type I: the face and its example, another person to the judge, are told apart;
- reconstruction: the face and what the autoencoder makes of it without any attack are matched, which a
  network that rejects all that is decoded would not do;
- FGSM and PGD: the face and its example, the same person to the eye, are matched.

As in the original, Type I examples are sent back as people of their own, those of FGSM and PGD under the name
of the face and paired with it: the squared distance of the two embeddings is added to the loss. Beyond it, a
face and its Type I example are pushed apart to the distance of two people, as FaceNet's loss does and ours,
over directions of people, does not. Examples are made on the *original* embedder, as published; for the last
column, PGD is run again on the strengthened one, which an attacker would do. FGSM has a radius of its own:
one step dodges less than forty.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store
from trompe.experiments.type_one import faces

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.data import Dataset
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._faces import Changed

__all__ = ["PUBLISHED", "SCALES", "Config", "render", "run"]

PROCEDURE = 2
"""Raised where the same settings would train other weights."""
NETWORKS = {
    "original": "nothing",
    "clean": "clean faces of the same people",
    "type one": "Type I (SVAE)",
    "fgsm": "FGSM",
    "pgd": "PGD",
}
COLUMNS = {
    "clean": "Clean pairs",
    "type one": "Type I told apart",
    "reconstruction": "Reconstruction matched",
    "fgsm": "FGSM matched",
    "pgd": "PGD matched",
    "pgd anew": "PGD anew matched",
}


@dataclass(frozen=True)
class Config:
    """Which faces are attacked, and how the embedder is trained on.

    Args:
        faces: the Type I examples, as the item on faces makes them.
        eps, steps: Linf radius of PGD, and its gradients.
        fgsm: Linf radius of FGSM.
        epochs, batch, lr: of the further training; a step also takes a quarter as many examples sent back.
        weight: of the loss on distances of pairs, lambda.
        seed: of the halves, the order and the noise.
    """

    faces: faces.Config
    eps: float = 8 / 255
    fgsm: float = 32 / 255
    steps: int = 40
    epochs: float = 4
    batch: int = 128
    lr: float = 1e-3
    weight: float = 4.0
    seed: int = 0


SCALES = {
    "smoke": Config(faces.SCALES["smoke"], eps=0.1, fgsm=0.1, steps=10, epochs=1, batch=64),
    "cpu": Config(faces.SCALES["cpu"]),
    "paper": Config(faces.SCALES["paper"], epochs=20),
}

_SOURCE = "Tang et al. 2019, table III"
PUBLISHED = {
    f"{network} {column}": (value, _SOURCE)
    for network, row in {
        "type one": (0.990, 0.554, 0.987, 0.998),
        "fgsm": (0.995, 0.110, 1.000, 0.996),
        "pgd": (0.997, 0.140, 0.998, 1.000),
    }.items()
    for column, value in zip(("clean", "type one", "fgsm", "pgd"), row, strict=True)
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Each network, trained where it is not there yet, on every column."""
    store.total = len(NETWORKS)
    for network in NETWORKS:
        yield from store.cell(network, lambda network=network: _measured(config, network))  # type: ignore[misc]


@dataclass(frozen=True, eq=False)
class _Faces:
    """Faces with their Type I examples.

    Args:
        made: before and after the attack.
        counted: whose example is a face of the other gender to the judge, `(n,)` bool.
        sent: which are sent back, `(n,)` bool.
        others: who is measured, people of whom no face is sent back, `(n,)` bool.
    """

    made: "Changed"
    counted: "Tensor"
    sent: "Tensor"
    others: "Tensor"


@cache
def _made(config: Config) -> _Faces:
    import torch

    from trompe.core.domains import Images
    from trompe.evaluation.judge import read
    from trompe.experiments.type_one._judged import judge

    made = faces.changed_faces(config.faces)
    before = read(judge(config.faces.data), made.x)
    after = read(judge(config.faces.data), Images().as_delivered(made.x_adv))
    counted = (before.label == made.y) & (after.label == made.target) & after.real
    people = made.person.unique()
    generator = torch.Generator().manual_seed(config.seed)
    chosen = people[torch.randperm(len(people), generator=generator)[: len(people) // 2]]
    sent = counted & torch.isin(made.person, chosen)
    return _Faces(made, counted, sent, ~torch.isin(made.person, made.person[sent]))


def _attacks(config: Config) -> dict[str, Any]:
    from trompe.attacks import VerificationFGSM, VerificationPGD
    from trompe.core.geometry import Ball

    return {
        "fgsm": VerificationFGSM(Ball(config.fgsm, "Linf")),
        "pgd": VerificationPGD(Ball(config.eps, "Linf"), steps=config.steps),
    }


def _examples(config: Config, kind: str, embedder: "nn.Module", made: "Changed") -> "Tensor":
    """What becomes of the faces, on this embedder where it is attacked: `(n, C, H, W)`, as in 8-bit files."""
    import torch

    from trompe import zoo
    from trompe.core.domains import Images
    from trompe.core.random import seeds

    if kind == "type one":
        return Images().as_delivered(made.x_adv)
    if kind == "reconstruction":
        svae: Any = zoo.get(config.faces.svae, progress=False)
        with torch.no_grad():
            parts = [svae.decode(svae.encode(x).mean) for x in made.x.split(64)]
        return Images().as_delivered(torch.cat(parts))
    attack = _attacks(config)[kind.removesuffix(" anew")]
    own = seeds(config.faces.seed, made.index)
    return Images().as_delivered(attack(embedder, made.x, seeds=own))


@cache
def _first_examples(config: Config, kind: str) -> "Tensor":
    """Examples made on the original; they do not depend on who is shown them."""
    return _examples(config, kind, _original(config), _made(config).made)


def _original(config: Config) -> "nn.Module":
    from trompe import zoo

    return zoo.get(config.faces.embedder, progress=False)


def _network(config: Config, kind: str) -> "nn.Module":
    """The original, or what further training made of it; kept in the zoo."""
    import copy

    from trompe import zoo
    from trompe.evaluation.cases import tensor_digest, weights_digest
    from trompe.experiments.type_one._sent_back import strengthen

    original = _original(config)
    if kind == "original":
        return original
    made, sent = _made(config).made, _made(config).sent
    x, person = made.x[sent], made.person[sent]
    found = x if kind == "clean" else _first_examples(config, kind)[sent]
    settings = {k: v for k, v in asdict(config).items() if k != "faces"}
    key = {
        "experiment": "type_one/table_3",
        "procedure": PROCEDURE,
        "kind": kind,
        "embedder": weights_digest(original),
        "sent": [tensor_digest(x), tensor_digest(found)],
        "data": config.faces.people,
        **settings,
    }

    def fit(folder: Any) -> dict[str, Any]:
        training = _training(config)
        return strengthen(config, kind, network, training, (x, found, person), folder)

    network = copy.deepcopy(original)
    return zoo.keep(f"{config.faces.embedder}-by-{kind.replace(' ', '-')}", key, network, fit)


def _training(config: Config) -> "Dataset":
    """What the original was trained on."""
    from trompe import zoo
    from trompe.experiments.type_one._faces import people
    from trompe.zoo.making import among

    classes = zoo.recipe(config.faces.embedder).classes
    assert classes is not None
    return among(people(config.faces.people, "train"), 0, classes)


def _measured(config: Config, kind: str) -> Iterator["Record"]:
    """Every column of one network."""
    import torch

    from trompe.core.execution import predict
    from trompe.core.geometry import norm
    from trompe.evaluation.records import Record
    from trompe.evaluation.verification import verification
    from trompe.experiments.type_one._faces import held_out_people, people

    of, found = config.faces, _made(config)
    made, network = found.made, _network(config, kind)
    test, held_out = people(of.people, "test"), held_out_people(of.people, of.embedder)
    assert test.y is not None
    unseen = test.subset(~torch.isin(test.y, made.person[found.sent]))
    clean = verification(network, unseen, held_out=held_out, n=of.pairs)
    where = {"network": kind, "threshold": clean.threshold, "sent": int(found.sent.sum())}
    yield Record.rate(
        "right", int(clean.right.sum()), len(clean.right), subject=of.embedder,
        config={**where, "column": "clean"},
    )  # fmt: skip
    here = predict(network, made.x)
    for column in list(COLUMNS)[1:]:
        if column == "pgd anew":
            shown = _examples(config, column, network, made)
        else:
            shown = _first_examples(config, column)
        same = norm(here - predict(network, shown), "L2") <= clean.threshold
        right = ~same if column == "type one" else same
        told = {"subject": of.embedder, **_told(config, {**where, "column": column})}
        some = found.others & found.counted if column == "type one" else found.others
        yield Record.rate("right", int(right[some].sum()), int(some.sum()), **told)
        if column == "type one" and kind != "original":
            hits = int(right[found.sent].sum())
            yield Record.rate("right of those sent", hits, int(found.sent.sum()), **told)


def _told(config: Config, where: dict[str, Any]) -> dict[str, Any]:
    """What the records of one column say of its attack."""
    column = where["column"]
    if column == "type one":
        return {"config": {**where, "steps": config.faces.steps}}
    attack = _attacks(config).get(column.removesuffix(" anew"))
    if attack is None:
        return {"config": {**where, "steps": None}}
    eps = config.fgsm if column == "fgsm" else config.eps
    steps = 1 if column == "fgsm" else config.steps
    told = {"attack": str(attack), "norm": "Linf", "eps": eps}
    return {"config": {**where, "steps": steps}, **told}


def render(records: Iterable["Record"]) -> str:
    """Each network on each column beside the published number, and what the records say of the claims."""
    from trompe.experiments.type_one._sent_back_page import rendered

    return rendered(list(records))
