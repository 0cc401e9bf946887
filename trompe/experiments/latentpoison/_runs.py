"""The models, classifiers and shifts that the items of this paper share; each is trained once.

The order matters: attacker's classifier and judge, of two architectures and two seeds, are trained on the
images and fixed before any shift is learned, and no shift ever meets the judge.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trompe.experiments.latentpoison._page import KINDS

if TYPE_CHECKING:
    from torch import nn

    from trompe.attacks.poisoning import PoisoningStep
    from trompe.attacks.universal import Perturbation, ShiftStep, Universal
    from trompe.data import Dataset
    from trompe.evaluation.records import Record
    from trompe.zoo import Recipe

__all__ = [
    "DIGITS",
    "FACES",
    "HARD",
    "LONG_DIGITS",
    "PUBLISHED_FACES",
    "SMOKE",
    "Case",
    "Lab",
    "Subject",
    "cases",
    "effective_beta",
]

Reduction = Literal["elbo", "paper"]


@dataclass(frozen=True)
class Subject:
    """A pair of classes, an autoencoder of them, and two classifiers.

    Args:
        data: two classes, 0 and 1.
        names: what they are called.
        shape, latent, channels, kernel: of the convolutional VAE.
        reduction: `"elbo"` sums both terms of the objective; `"paper"` averages each over its own size
            and weighs the KL term by `alpha`.
        alpha: weight of the KL term.
        epochs, batch, lr, precision: of the VAE.
        warm: how many epochs poisoning goes on from the independent VAE's weights; 0 trains from nothing.
        attacker, judge: channels of a plain convolutional net, and of a residual one.
        reads: epochs of both classifiers.
        steps, rate, start: of the shift.
        weight_of_class: phi of the paper's objective.
        seed: of the VAE and the shift; the classifiers have their own.
    """

    data: str
    names: tuple[str, str]
    shape: tuple[int, ...] = (1, 28, 28)
    latent: int = 128
    channels: tuple[int, ...] = (32, 32)
    kernel: int = 3
    reduction: Reduction = "elbo"
    alpha: float = 1.0
    epochs: float = 8
    batch: int = 128
    lr: float = 4e-3
    precision: str = "32-true"
    warm: float = 0
    attacker: tuple[int, ...] = (16, 16, 32, 32)
    judge: tuple[int, ...] = (16, 32)
    reads: float = 3
    steps: int = 300
    rate: float = 0.02
    start: float = 1.0
    weight_of_class: float = 1.0
    seed: int = 0


SMOKE = Subject(
    "digits[3,8]",
    ("3", "8"),
    (1, 8, 8),
    latent=8,
    channels=(16,),
    epochs=30,
    batch=32,
    lr=1e-2,
    warm=5,
    attacker=(8, 8, 8, 8),
    judge=(16,),
    reads=25,
    steps=80,
    rate=0.05,
)
DIGITS = Subject("mnist[3,8]", ("3", "8"))
HARD = Subject("mnist[4,9]", ("4", "9"))
FACES = Subject(
    "celeba-smiling",
    ("no smile", "smile"),
    (3, 64, 64),
    latent=200,
    channels=(32, 64, 128, 256),
    kernel=5,
    reduction="paper",
    alpha=0.1,
    epochs=10,
    batch=64,
    lr=1e-3,
    precision="bf16-mixed",
    warm=1,
    judge=(8, 16, 32, 64),
    reads=4,
    steps=250,
    rate=0.05,
)
PUBLISHED_FACES = replace(
    FACES, channels=(64, 128, 256, 512), warm=0, lr=2e-4, precision="32-true", steps=1000
)
"""The published sizes, and poisoning from nothing."""
LONG_DIGITS = replace(DIGITS, epochs=30, reads=6, steps=1000)


def effective_beta(subject: Subject) -> float:
    """The weight of the KL term in an ELBO of sums that has the subject's minimum.

    `"paper"` divides the one term by the number of pixels (height x width, as the authors' code) and the
    other by the number of latents: `BCE / P + alpha KL / L` is `(BCE + beta KL) / P` with
    `beta = alpha P / L`. Adam does not see the common factor.

    >>> effective_beta(FACES), effective_beta(DIGITS)
    (2.048, 1.0)
    """
    if subject.reduction == "elbo":
        return subject.alpha
    return subject.alpha * math.prod(subject.shape[1:]) / subject.latent


@dataclass(frozen=True)
class Case:
    """One shift: how it is learned, and under which price.

    Args:
        kind: `"Independent"`, `"Poisoning"` or `"Poisoning+Class"`.
        norm, rho: of the price.
        mode, per_direction: see `trompe.attacks.universal.Universal`.
        steps: batches that an independent shift is learned on; None takes the subject's number.
    """

    kind: str = "Independent"
    norm: Literal["L1", "L2"] = "L2"
    rho: float = 0.1
    mode: Literal["add", "multiply"] = "add"
    per_direction: bool = False
    steps: int | None = None

    @property
    def name(self) -> str:
        """As a row is called."""
        more = ", multiplied" if self.mode == "multiply" else ""
        more += ", one vector per direction" if self.per_direction else ""
        more += f", {self.steps} steps" if self.steps else ""
        return f"{self.kind}, {self.norm}, rho {self.rho:g}{more}"


def cases(rho: float) -> list[Case]:
    """The paper's six, in the order of its tables."""
    return [Case(kind, norm, rho) for norm in ("L2", "L1") for kind in KINDS]


class Lab:
    """Everything about one subject, trained when first asked for and kept in the zoo.

    Args:
        subject: the classes, the VAE and the classifiers.
        smoothing: of the labels that the attacker's classifier is trained on.
    """

    def __init__(self, subject: Subject, smoothing: float = 0.0) -> None:
        self.subject, self.smoothing = subject, smoothing

    @property
    def name(self) -> str:
        """What files of it are called."""
        return "latentpoison-" + "".join(
            c if c.isalnum() else "-" for c in self.subject.data
        ).strip("-")

    def recipes(self) -> dict[str, "Recipe"]:
        """The attacker's classifier, the judge and the VAE, in the order in which they are trained."""
        from trompe.models import AutoencoderConfig, ClassifierConfig
        from trompe.zoo import Recipe

        s = self.subject
        common: dict[str, Any] = {"batch": 64, "epochs": s.reads, "precision": s.precision}
        plain = ClassifierConfig("conv4", s.shape, 2, channels=s.attacker)
        deep = ClassifierConfig("resnet", s.shape, 2, channels=s.judge)
        vae = AutoencoderConfig(
            s.shape, s.latent, "conv", channels=s.channels, kernel=s.kernel, beta=effective_beta(s)
        )
        own: dict[str, Any] = {"batch": s.batch, "epochs": s.epochs, "precision": s.precision}
        return {
            "attacker": Recipe(
                f"{self.name}-attacker",
                plain,
                s.data,
                seed=101,
                lr=2e-3,
                smoothing=self.smoothing,
                **common,
            ),
            "judge": Recipe(f"{self.name}-judge", deep, s.data, seed=202, lr=4e-3, **common),
            "vae": Recipe(f"{self.name}-vae", vae, s.data, seed=s.seed, lr=s.lr, **own),
        }

    def trained(self, which: str) -> "nn.Module":
        """One of `recipes`, trained."""
        from trompe import zoo

        return zoo.get(self.recipes()[which], progress=False)

    def about(self, which: str) -> dict[str, Any]:
        """The card's metrics of one of `recipes`."""
        from trompe import zoo

        self.trained(which)
        return dict(zoo.card(self.recipes()[which])["metrics"])

    @cached_property
    def test(self) -> "Dataset":
        """The images on which everything is measured."""
        from trompe import data

        return data.load(self.subject.data, "test")

    @cached_property
    def train(self) -> "Dataset":
        """The images on which everything is learned."""
        from trompe import data

        return data.load(self.subject.data, "train")

    def settings(self, case: Case) -> "Universal":
        """How the shift of a case is learned."""
        from trompe.attacks.universal import NormPenalty, Universal

        return Universal(
            NormPenalty(case.rho, case.norm),
            mode=case.mode,
            per_direction=case.per_direction,
            steps=case.steps or self.subject.steps,
            lr=self.subject.rate,
            start=self.subject.start,
        )

    def pair(self, case: Case) -> tuple[Any, "Perturbation"]:
        """The autoencoder of a case and the shift of its codes, trained once."""
        from torch import nn

        from trompe import zoo

        self.trained("judge")  # fixed before any shift is learned
        step = self._independent(case) if case.kind == "Independent" else self._poisoning(case)
        whole = nn.ModuleDict(dict(step.modules()))
        key = {"case": case, "subject": self.subject, "data": self.train.checksum, "procedure": 1}
        key |= {"smoothing": self.smoothing} if self.smoothing else {}
        name = f"{self.name}-{case.kind.lower().replace('+', '-')}"
        zoo.keep(name, key, whole, lambda folder: self._fit(step, case, folder))
        vae = whole["model"] if "model" in whole else self.trained("vae")
        shift: Any = whole["shift"]
        return vae.eval(), shift

    def _independent(self, case: Case) -> "ShiftStep":
        """The VAE as it is."""
        from trompe.attacks.universal import ShiftStep
        from trompe.core.random import sample

        vae: Any = self.trained("vae")
        read = self.trained("attacker")
        return ShiftStep(
            self.settings(case),
            lambda z: read(vae.decode(z)),
            (self.subject.latent,),
            head=lambda x: sample(vae.encode(x)),
            seed=self.subject.seed,
        )

    def _poisoning(self, case: Case) -> "PoisoningStep":
        """A VAE of its own, from nothing or from the independent one's weights."""
        from trompe import models
        from trompe.attacks.poisoning import PoisoningStep
        from trompe.training.steps import one_cycle

        s = self.subject
        fresh = models.build(self.recipes()["vae"].model, seed=s.seed)
        vae = self.trained("vae").train() if s.warm else fresh
        pixels = math.prod(s.shape[1:])
        return PoisoningStep(
            vae,
            self.trained("attacker"),
            self.settings(case),
            s.latent,
            s.lr,
            schedule=one_cycle,
            phi=s.weight_of_class * pixels if case.kind == "Poisoning+Class" else 0.0,
            seed=s.seed,
        )

    def _fit(self, step: Any, case: Case, folder: Path) -> dict[str, Any]:
        from trompe.training import Batches, train

        s = self.subject
        alone = case.kind == "Independent"
        history = train(
            step,
            Batches(self.train.x, self.train.y, size=s.batch, seed=s.seed),
            steps=(case.steps or s.steps) if alone else None,
            epochs=None if alone else s.warm or s.epochs,
            seed=s.seed,
            directory=folder,
            precision=s.precision,
            log=False,
            progress=False,
        )
        return {"steps": history.total, "seconds": round(history.seconds, 3)}

    def records(self, case: Case) -> Iterator["Record"]:
        """What the judge reads on the test images, and the shift in numbers."""
        from trompe.evaluation.shift import read_shift, shift_records

        vae, shift = self.pair(case)
        reading = read_shift(vae, shift, self.trained("judge"), self.test, seed=self.subject.seed)
        config = {
            "case": asdict(case),
            "beta": effective_beta(self.subject),
            "names": list(self.subject.names),
        }
        yield from shift_records(
            reading,
            shift.delta,
            subject=self.name,
            attack=case.name,
            threat="Man in the middle: one shift for all codes, learned against a classifier of his own.",
            norm=case.norm,
            config=config,
        )

    def own_reading(self, case: Case) -> Iterator["Record"]:
        """How often the attacker's own classifier is turned: what the shift was learned for."""
        from trompe.evaluation.records import Record
        from trompe.evaluation.shift import read_shift

        vae, shift = self.pair(case)
        reading = read_shift(
            vae, shift, self.trained("attacker"), self.test, seed=self.subject.seed
        )
        for way in ("0 -> 1", "1 -> 0"):
            turned = reading.groups()[way] > 0.5
            yield Record.rate(
                "flip rate, attacker's classifier",
                int(turned.sum()),
                len(turned),
                subject=self.name,
                attack=case.name,
                config={"group": way},
            )

    def classifiers(self) -> Iterator["Record"]:
        """Accuracy of the attacker's classifier and of the judge, on untouched test images."""
        from trompe.evaluation.records import Record

        for which in ("attacker", "judge"):
            about = self.about(which)
            right = round(about["accuracy"] * about["n"])
            config = {"classifier": str(self.recipes()[which].model), "role": which}
            yield Record.rate("accuracy", right, int(about["n"]), subject=self.name, config=config)
