"""Table III: an embedder of faces strengthened by Type I, FGSM or PGD examples, and what each then resists.

Examples are made on the original embedder, of faces of test people. Those of a random half of the people are
sent back with the training data; all else is measured on the other half, and on test people of whom no face
was attacked. The threshold of each embedder is set anew on people of the training split that none of them
was trained on. What counts as right:

- clean: a pair of faces is told rightly to be of one person or of two;
- Type I: the face and its example, another person to the eye, are told apart;
- FGSM and PGD: the face and its example, the same person to the eye, are matched.

As in the original, Type I examples are sent back as people of their own (vanilla training), those of FGSM and
PGD under the name of the face and paired with it: the squared distance of the two embeddings is added to the
loss. All but the last column are examples made on the *original* embedder, as published; for the last, PGD is
run again on the strengthened one, which an attacker would do.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store
from trompe.experiments.type_one import faces

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.data import Dataset
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._faces import Changed

__all__ = ["PUBLISHED", "SCALES", "Config", "render", "run"]

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
    "fgsm": "FGSM matched",
    "pgd": "PGD matched",
    "pgd anew": "PGD anew matched",
}


@dataclass(frozen=True)
class Config:
    """Which faces are attacked, and how the embedder is trained on.

    Args:
        faces: the Type I examples, as the item on faces makes them.
        eps, steps: Linf radius of FGSM and PGD, and PGD's gradients.
        epochs, batch, lr: of the further training; a step also takes a quarter as many examples sent back.
        weight: of the squared distance of pairs, lambda.
        seed: of the halves, the order and the noise.
    """

    faces: faces.Config
    eps: float = 8 / 255
    steps: int = 40
    epochs: float = 3
    batch: int = 128
    lr: float = 1e-3
    weight: float = 4.0
    seed: int = 0


SCALES = {
    "smoke": Config(faces.SCALES["smoke"], eps=0.1, steps=10, epochs=1, batch=64),
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
    for column, value in zip(COLUMNS, row, strict=False)
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Each network, trained where it is not there yet, on every column."""
    store.total = len(NETWORKS)
    for network in NETWORKS:
        yield from store.cell(network, lambda network=network: _measured(config, network))  # type: ignore[misc]


def _made(config: Config) -> tuple["Changed", "Tensor"]:
    """The faces with their Type I examples, and which of them are of people whose examples are sent back."""
    import torch

    made = faces.changed_faces(config.faces)
    people = made.person.unique()
    generator = torch.Generator().manual_seed(config.seed)
    chosen = people[torch.randperm(len(people), generator=generator)[: len(people) // 2]]
    return made, torch.isin(made.person, chosen)


def _attacks(config: Config) -> dict[str, Any]:
    from trompe.attacks import VerificationFGSM, VerificationPGD
    from trompe.core.geometry import Ball

    ball = Ball(config.eps, "Linf")
    return {"fgsm": VerificationFGSM(ball), "pgd": VerificationPGD(ball, steps=config.steps)}


def _examples(config: Config, kind: str, embedder: "nn.Module", made: "Changed") -> "Tensor":
    """What an attack makes of the faces on this embedder, `(n, C, H, W)`, as 8-bit files have them."""
    from trompe.core.domains import Images
    from trompe.core.random import seeds

    if kind == "type one":
        return Images().as_delivered(made.x_adv)
    attack = _attacks(config)[kind.removesuffix(" anew")]
    own = seeds(config.faces.seed, made.index)
    return Images().as_delivered(attack(embedder, made.x, seeds=own))


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
    made, sent = _made(config)
    x, person = made.x[sent], made.person[sent]
    found = x if kind == "clean" else _examples(config, kind, original, made)[sent]
    settings = {k: v for k, v in asdict(config).items() if k != "faces"}
    key = {
        "experiment": "type_one/table_3",
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

    of = config.faces
    made, sent = _made(config)
    network = _network(config, kind)
    test, held_out = people(of.people, "test"), held_out_people(of.people, of.embedder)
    assert test.y is not None
    unseen = test.subset(~torch.isin(test.y, made.person[sent]))
    found = verification(network, unseen, held_out=held_out, n=of.pairs)
    common: dict[str, Any] = {"subject": of.embedder, "norm": "Linf", "eps": config.eps}
    where = {"network": kind, "threshold": found.threshold, "sent": int(sent.sum())}
    told = {"steps": of.steps, "pgd": config.steps}
    yield Record.rate(
        "right", int(found.right.sum()), len(found.right), subject=of.embedder,
        config={**where, "column": "clean"},
    )  # fmt: skip
    here = predict(network, made.x)[~sent]
    for column in list(COLUMNS)[1:]:
        attacked = network if column == "pgd anew" else _original(config)
        shown = _examples(config, column, attacked, made)[~sent]
        same = norm(here - predict(network, shown), "L2") <= found.threshold
        right = ~same if column == "type one" else same
        settings = {**where, **told, "column": column}
        yield Record.rate("right", int(right.sum()), len(right), config=settings, **common)


def render(records: Iterable["Record"]) -> str:
    """Each network on each column beside the published number, and what the records say of the claims."""
    found = list(records)
    return "\n\n".join([_said(found), _table(found), _claims(found)])


def _said(records: list["Record"]) -> str:
    from trompe.experiments.type_one._shown import one
    from trompe.reports.wording import number

    first = one(records, "right", network="original", column="pgd")
    assert first is not None
    return (
        f"{first.subject} stands in for FaceNet, and test people for LFW. "
        f"{first.config['sent']} examples are sent back, {first.n} others measured; Type I in "
        f"{first.config['steps']:,} steps, PGD in {first.config['pgd']} steps at eps "
        f"{number(first.eps or 0.0)}. Our share that is right with its 95% interval; the published one in "
        "brackets."
    )


def _table(records: list["Record"]) -> str:
    from trompe.experiments.type_one._shown import one, rate
    from trompe.reports import Cell, Table, markdown_table
    from trompe.reports.wording import percent

    rows: list[tuple[Cell, ...]] = []
    for network, word in NETWORKS.items():
        cells = []
        for column in COLUMNS:
            record = one(records, "right", network=network, column=column)
            known = PUBLISHED.get(f"{network} {column}")
            beside = "" if known is None else f" (published {percent(known[0])})"
            cells.append(f"{rate(record)}{beside}")
        n = {one(records, "right", network=network, column=column).n for column in ("clean", "pgd")}  # type: ignore[union-attr]
        rows.append((word, *cells, " and ".join(map(str, sorted(n, reverse=True)))))
    columns = ("Strengthened by", *COLUMNS.values(), "n pairs and examples")
    return markdown_table(Table("", columns, tuple(rows)))


def _claims(records: list["Record"]) -> str:
    """What strengthening by one type does against its own and against the other."""
    from trompe.experiments.type_one._shown import difference, one, points

    def gain(network: str, column: str) -> tuple[float, float, float]:
        mine, base = (
            one(records, "right", network=name, column=column) for name in (network, "clean")
        )
        assert mine is not None
        assert base is not None
        return difference(mine, base)

    said = {
        "Type I examples help against Type I": gain("type one", "type one"),
        "FGSM's examples help against PGD": gain("fgsm", "pgd"),
        "PGD's examples help against FGSM": gain("pgd", "fgsm"),
        "Type I examples help against PGD": gain("type one", "pgd"),
        "FGSM's examples help against Type I": gain("fgsm", "type one"),
        "PGD's examples help against Type I": gain("pgd", "type one"),
    }
    lines = [
        f"- {claim}: **{'holds' if g[1] > 0 else 'does not hold' if g[2] < 0 else 'is unresolved'}** "
        f"({points(g)} over further training on clean faces of the same people)."
        for claim, g in said.items()
    ]
    head = (
        "The original says that each type helps against itself, FGSM and PGD against each other, and those "
        "two little against Type I:"
    )
    return "\n".join([head, "", *lines, "", _shortfall(records)])


def _shortfall(records: list["Record"]) -> str:
    """Where strengthening by Type I examples stands beside the published rate."""
    from trompe.experiments.type_one._shown import one, rate
    from trompe.reports.wording import percent

    mine = one(records, "right", network="type one", column="type one")
    whole = one(records, "right", network="clean", column="fgsm")
    assert mine is not None
    assert whole is not None
    known = PUBLISHED["type one type one"][0]
    low, high = mine.low or 0.0, 1.0 if mine.high is None else mine.high
    where = "below" if high < known else "above" if low > known else "not told apart from"
    room = "little" if whole.value > 0.9 else "some"
    return (
        f"Strengthened by Type I examples, ours tells {rate(mine)} of others apart, {where} the published "
        f"{percent(known)}. FGSM's examples leave {room} room: without any sent back {rate(whole)} are "
        "matched."
    )
