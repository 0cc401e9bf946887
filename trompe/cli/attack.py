"""`trompe attack NAME`: one attack, and the adversarial inputs it finds."""

import io
from abc import abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from trompe.cli.command import Command, DataRoot, Device, Pictures, Seed, option
from trompe.cli.console import progress, say, show_table
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
from trompe.core.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from trompe.attacks.base import Attack
    from trompe.data import Dataset
    from trompe.evaluation.applied import Setting, Taken

__all__ = ["AttackCommand", "OnAutoencoder", "OnClassifier", "files_of"]


_PURPOSE = "this attack is for classifiers; latent-attack and output-attack are for autoencoders"


@dataclass(frozen=True, kw_only=True)
class AttackCommand(Command):
    """What every attack's command has, whatever its own settings are."""

    verb: ClassVar[str]
    fixed: ClassVar[tuple[str, ...]] = ()
    """Settings of the attack that are no options: they stay at their defaults."""

    model: Annotated[
        str,
        option(
            "What to attack: a recipe of the zoo (trompe zoo list), or module:function, which runs "
            "your code and returns an nn.Module in eval mode.",
            metavar="MODEL",
        ),
    ]

    data: Annotated[
        str | None,
        option(
            "digits, mnist, fashion-mnist, an .npz file, a folder of class folders of images, or "
            "module:function, which runs your code.",
            metavar="DATA",
            default="what the recipe was made for",
        ),
    ] = None

    n: Annotated[
        int, option("Examples to attack, spread evenly over the test data.", metavar="N")
    ] = 100

    out: Annotated[
        Path | None,
        option(
            "Folder of the adversarial inputs, pictures and records.",
            metavar="FOLDER",
            default="trompe-attack/NAME",
        ),
    ] = None

    pictures: Pictures = 8

    draws: Annotated[
        int, option("Looks at a random model, for each number reported.", metavar="N")
    ] = 20

    seed: Seed = 0

    device: Device = "cpu"

    precision: Annotated[
        Literal["float32", "bf16"],
        option(
            "Precision of the search; what it claims is checked in float32, and so is what is reported."
        ),
    ] = "float32"

    data_root: DataRoot = None

    @abstractmethod
    def attack(self, data: "Dataset") -> "Attack":
        """The attack with its settings."""

    @abstractmethod
    def victim(self, data: "Dataset") -> "nn.Module":
        """The model, of the kind that the attack is for."""

    @abstractmethod
    def measured(self, model: "nn.Module", attack: "Attack", setting: "Setting") -> "Taken":
        """The attack carried out, and what it achieved."""

    def bound(self, attack: "Attack", setting: "Setting") -> "Attack":
        """The attack with the networks that it needs."""
        return attack

    def files(
        self, model: "nn.Module", attack: "Attack", taken: "Taken", setting: "Setting"
    ) -> dict[str, bytes]:
        """What is kept of it, by name."""
        return files_of(taken, setting.data, self.pictures)

    def specs(self) -> tuple[str | None, ...]:
        """The names that may stand for the user's code."""
        return self.model, self.data

    def run(self, command: str) -> int:
        """Attack, measure, write, show."""
        from trompe.core.execution import execution
        from trompe.data import rooted
        from trompe.evaluation.applied import Setting
        from trompe.evaluation.records import write_records
        from trompe.training import reporting

        for name, least in (("draws", 1), ("pictures", 0)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} must be at least {least}, got {getattr(self, name)}")
        folder, place = (
            require_folder(self.out or Path("trompe-attack", self.verb)),
            device(self.device),
        )
        with (
            users_code(*self.specs()),
            progress("attack") as told,
            reporting(told),
            execution(precision=self.precision),
            rooted(self.data_root),
        ):
            data, places = examples(data_for(self.model, self.data), self.n, self.data_root)
            attack, model = self.attack(data), self.victim(data).to(place)
            settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
            about = {"command": command, "settings": settings, "subject": self.model}
            setting = Setting(data, places, self.seed, self.draws, place, about, told)
            attack = self.bound(attack, setting)
            taken = self.measured(model, attack, setting)
            files = self.files(model, attack, taken, setting)
        written = write_folder(folder, files)
        write_records(folder / "records.json", taken.records)
        title = (
            f"{attack.describe()['attack']} on {self.model}, {len(taken.x)} examples of {data.name}"
        )
        show_table(("Number", "Value", "Interval", "n"), taken.rows(), title)
        for name in ("adversarial.npz", "records.json"):
            say(str(folder / name))
        if len(written) > 1:
            say(f"{len(written) - 1} pictures beside them")
        return 0


def files_of(taken: "Taken", data: "Dataset", pictures: int) -> dict[str, bytes]:
    """The arrays, and the first few examples as an image file holds them."""
    import numpy as np

    buffer = io.BytesIO()
    arrays: dict[str, Any] = {k: v.cpu().numpy() for k, v in taken.arrays().items()}
    np.savez_compressed(buffer, **arrays)
    files = {"adversarial.npz": buffer.getvalue()}
    if len(data.shape) == 3:
        for name, images in taken.images().items():
            shown = data.domain.render(images[:pictures])
            places = taken.index[:pictures].tolist()
            files |= {
                f"{at:05d}-{name}.png": _png(one) for at, one in zip(places, shown, strict=True)
            }
    return files


def _png(pixels: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


@dataclass(frozen=True, kw_only=True)
class OnClassifier(AttackCommand):
    """What can be put around any attack on a classifier."""

    eot: Annotated[
        int | None,
        option(
            "Average gradients over that many draws of a random model (expectation over its "
            "randomness).",
            metavar="DRAWS",
            default="off",
        ),
    ] = None

    bpda: Annotated[
        bool,
        option(
            "Replace the gradient of the model's purifier by the identity (backward pass "
            "differentiable approximation)."
        ),
    ] = False

    still: Annotated[
        bool,
        option(
            "Switch the model's draws off while attacking; what is found meets the model as it is."
        ),
    ] = False

    surrogate: Annotated[
        str | None,
        option(
            "Attack this model instead and carry what is found over to --model; "
            "module:function runs your code.",
            metavar="MODEL",
            default="off",
        ),
    ] = None

    def specs(self) -> tuple[str | None, ...]:
        """The surrogate may be the user's too."""
        return *super().specs(), self.surrogate

    def victim(self, data: "Dataset") -> "nn.Module":
        """A classifier."""
        return classifier(self.model, data, _PURPOSE)

    def measured(self, model: "nn.Module", attack: "Attack", setting: "Setting") -> "Taken":
        """The attack inside what was put around it."""
        from trompe.attacks.adaptive import BPDA, EOT, Still
        from trompe.attacks.transfer import Transfer
        from trompe.evaluation.applied import on_classifier

        targeted = bool(getattr(attack, "targeted", False))
        if self.bpda:
            attack = BPDA(attack)
        if self.still:
            attack = Still(attack)
        if self.eot is not None:
            attack = EOT(attack, draws=self.eot)
        if self.surrogate is not None:
            other = classifier(self.surrogate, setting.data, _PURPOSE).to(setting.device)
            attack = Transfer(attack, domain=attack.domain).using(surrogate=other)
        return on_classifier(model, attack, setting, targeted)


@dataclass(frozen=True, kw_only=True)
class OnAutoencoder(AttackCommand):
    """An attack on an autoencoder: targeted, each example's target is the next one of another class."""

    def victim(self, data: "Dataset") -> "nn.Module":
        """An autoencoder."""
        model = subject(self.model, data)
        if not is_autoencoder(model):
            raise UserError(
                f"{self.model} is a classifier; {self.verb} attacks autoencoders: what has encode and decode"
            )
        return model

    def measured(self, model: "nn.Module", attack: "Attack", setting: "Setting") -> "Taken":
        """The attack, and how far it moved the output."""
        from trompe.evaluation.applied import on_autoencoder

        return on_autoencoder(model, attack, setting)
