"""`trompe attack shift`: one shift of all codes, learned on the training data, measured on the test data."""

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from trompe.cli.attack import files_of
from trompe.cli.command import Command, DataRoot, Device, Pictures, Seed, option
from trompe.cli.console import say, show_table
from trompe.cli.files import require_folder, write_folder
from trompe.cli.subjects import (
    classifier,
    data_for,
    device,
    examples,
    is_autoencoder,
    subject,
    users_code,
)
from trompe.cli.values import radius
from trompe.core.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from trompe.attacks.universal import Perturbation, Universal
    from trompe.data import Dataset
    from trompe.evaluation.records import Record

__all__ = ["Shift"]

_BATCH = 128
_PURPOSE = "a classifier of the decoded images is wanted here"


@dataclass(frozen=True, kw_only=True)
class Shift(Command):
    """Learn one shift of all codes of an autoencoder that turns one class into the other (LatentPoison)."""

    model: Annotated[
        str,
        option(
            "The autoencoder: a recipe of the zoo, or module:function, which runs your code.",
            metavar="MODEL",
        ),
    ]

    data: Annotated[
        str | None,
        option(
            "Two classes: mnist[3,8], celeba-smiling, an .npz file, a folder of two class folders, or "
            "module:function, which runs your code.",
            metavar="DATA",
            default="what the recipe was made for",
        ),
    ] = None

    classifier: Annotated[
        str | None,
        option(
            "The attacker's classifier of two classes; module:function runs your code.",
            metavar="MODEL",
            default="trained on the data",
        ),
    ] = None

    judge: Annotated[
        str | None,
        option(
            "Another classifier, which no shift meets and which says what was achieved; module:function "
            "runs your code.",
            metavar="MODEL",
            default="trained on the data, of another architecture",
        ),
    ] = None

    norm: Annotated[Literal["L1", "L2"], option("Norm of the price or of the cap.")] = "L2"

    rho: Annotated[float, option("Price of the shift's norm.", metavar="WEIGHT")] = 0.1

    eps: Annotated[
        str | None,
        option("Instead of a price: the largest norm.", metavar="RADIUS", default="none"),
    ] = None

    multiply: Annotated[
        bool, option("Multiply codes by one plus the shift, the same both ways, instead of adding.")
    ] = False

    per_direction: Annotated[
        bool, option("A vector for each direction instead of one with two signs.")
    ] = False

    steps: Annotated[int, option("Batches to learn it on.", metavar="N")] = 400

    lr: Annotated[float, option("Learning rate at the start.", metavar="FLOAT")] = 0.02

    n: Annotated[
        int, option("Examples to measure on, spread evenly over the test data.", metavar="N")
    ] = 200

    out: Annotated[
        Path | None,
        option(
            "Folder of the shift, the decodings, pictures and records.",
            metavar="FOLDER",
            default="trompe-attack/shift",
        ),
    ] = None

    pictures: Pictures = 8

    seed: Seed = 0

    device: Device = "cpu"

    data_root: DataRoot = None

    def run(self, command: str) -> int:
        """Learn, measure, write, show."""
        from trompe.data import rooted
        from trompe.evaluation.records import write_records
        from trompe.evaluation.shift import read_shift, shift_records

        if self.pictures < 0:
            raise UserError(f"--pictures must be at least 0, got {self.pictures}")
        if self.judge is not None and self.judge == self.classifier:
            raise UserError(
                f"--judge {self.judge} is the attacker's classifier; a judge is one that no shift meets"
            )
        folder = require_folder(self.out or Path("trompe-attack", "shift"))
        how, place = self.settings(), device(self.device)
        code = users_code(self.model, self.data, self.classifier, self.judge)
        with code, rooted(self.data_root):
            spec = data_for(self.model, self.data)
            train, test, places = self._sets(spec)
            model: Any = self._victim(test).to(place)
            reader, judge = (
                self._reader(kind, spec, train).to(place) for kind in ("classifier", "judge")
            )
            shift = self._learned(how, model, reader, train, place)
            reading = read_shift(model, shift, judge, test, seed=self.seed)
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        config = {
            "command": command,
            "settings": settings,
            "data": test.checksum,
            "attack": str(how),
        }
        common: dict[str, Any] = {"subject": self.model, "attack": "Universal", "seed": self.seed}
        records = list(shift_records(reading, shift.delta, config=config, **common))
        written = write_folder(folder, self._files(model, shift, test, places))
        write_records(folder / "records.json", records)
        title = f"One shift of the codes of {self.model}, {len(test)} examples of {test.name}"
        show_table(("Number", "Value", "Interval", "n"), _rows(records), title)
        for name in ("shift.npz", "adversarial.npz", "records.json"):
            say(str(folder / name))
        if len(written) > 2:
            say(f"{len(written) - 2} pictures beside them")
        return 0

    def settings(self) -> "Universal":
        """What the options stand for."""
        from trompe.attacks.universal import NormPenalty, Universal
        from trompe.core.geometry import Ball

        return Universal(
            NormPenalty(self.rho, self.norm)
            if self.eps is None
            else Ball(radius(self.eps), self.norm),
            mode="multiply" if self.multiply else "add",
            per_direction=self.per_direction,
            steps=self.steps,
            lr=self.lr,
        )

    def _sets(self, spec: str) -> tuple["Dataset", "Dataset", list[int]]:
        """What is learned on, what is measured on, and its places in the test data.

        A source that draws no line between them is cut: every other example is learned on.
        """
        from trompe import data

        test, places = examples(spec, self.n, self.data_root)
        train = data.load(spec, "train", self.data_root)
        if train.split == "all":
            whole, keep = train, [p for p in places if p % 2] or [1]
            train = whole.subset(slice(0, None, 2))
            test, places = whole.subset(keep), keep
        if test.y is not None and bool((test.y == test.y[0]).all()):
            raise UserError(
                f"--n {self.n}: the examples to measure on are of one class, and a shift goes both ways; "
                "take more"
            )
        if train.y is None or len(train.classes) != 2:
            raise UserError(
                f"{train.name} has {len(train.classes)} classes; a shift goes from one class to another: "
                "cut it to two, as in --data mnist[3,8]"
            )
        return train, test, places

    def _victim(self, test: "Dataset") -> "nn.Module":
        model = subject(self.model, test)
        if not is_autoencoder(model):
            raise UserError(
                f"{self.model} is a classifier; shift attacks autoencoders: what has encode and decode"
            )
        return model

    def _reader(
        self, kind: Literal["classifier", "judge"], spec: str, train: "Dataset"
    ) -> "nn.Module":
        """The classifier of that role: the one that was named, or one trained on the data."""
        from trompe import zoo
        from trompe.audit.victim import recipe

        named = self.classifier if kind == "classifier" else self.judge
        if named is not None:
            model = classifier(named, train, _PURPOSE)
            _check_two(model, f"--{kind} {named}", train)
            return model
        return zoo.get(recipe(kind, spec, train, self.seed))

    def _learned(
        self,
        how: "Universal",
        model: Any,
        reader: "nn.Module",
        train: "Dataset",
        place: "torch.device",
    ) -> "Perturbation":
        from trompe.core.random import sample
        from trompe.training import Batches

        batches = Batches(train.x, train.y, size=_BATCH, seed=self.seed).to(place)
        return how.fit(
            lambda z: reader(model.decode(z)),
            batches,
            seed=self.seed,
            head=lambda x: sample(model.encode(x)),
        )

    def _files(
        self, model: Any, shift: "Perturbation", test: "Dataset", places: list[int]
    ) -> dict[str, bytes]:
        """The shift, what the receiver sees without and with it, and pictures."""
        import numpy as np
        import torch

        from trompe.evaluation.applied import Taken
        from trompe.evaluation.shift import shift_pictures

        x, y = test.tensors()
        assert y is not None
        place = shift.delta.device
        rebuilt, tampered = shift_pictures(model, shift, x.to(place), y.to(place), seed=self.seed)
        extra = {"rebuilt": rebuilt.cpu()}
        taken = Taken(x, tampered.cpu(), y, torch.tensor(places), extra, ())
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, delta=shift.delta.detach().cpu().numpy(), mode=np.array(shift.mode)
        )
        return {"shift.npz": buffer.getvalue(), **files_of(taken, test, self.pictures)}


def _check_two(model: "nn.Module", named: str, train: "Dataset") -> None:
    """A classifier of more classes would take labels 0 and 1 for its own first two."""
    import torch

    with torch.no_grad():
        count = model(train.tensors(slice(0, 1))[0]).shape[1]
    if count != 2:
        raise UserError(
            f"{named} tells {count} classes apart; {train.name} has two, and so must a classifier of it"
        )


def _rows(records: list["Record"]) -> list[tuple[str, str, str, str]]:
    """The measurements as rows of a table."""
    rows = []
    for record in records:
        ends = (
            ""
            if record.low is None
            else f"{record.low:.3f} to {record.high:.3f}, {record.interval}"
        )
        name = f"{record.metric}, {record.config['group']}"
        rows.append((name, f"{record.value:.4g}", ends, str(record.n)))
        rows += [(f"  {k}", f"{v:.4g}", "", "") for k, v in record.extra.items()]
    return rows
