"""What figures 1 to 4 measure: a defended classifier on one data set, attacked at every radius.

The attack is the paper's: Carlini & Wagner's projected on the Linf box, with c = 1, through the posterior's
mean. Beside it, on the same images and through the same mean, PGD on the margin: with c = 1 the other may
stop before the answer changes. Who draws is judged on fresh draws.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor, nn

    from trompe.attacks.base import Attack
    from trompe.evaluation.records import Record
    from trompe.experiments.store import Store

__all__ = [
    "CONTROL",
    "FULL",
    "NONE",
    "PAPER",
    "SAMPLED",
    "SIGNS",
    "SMOKE",
    "Cell",
    "Defended",
    "Setting",
    "attacked",
    "measured",
]

PAPER, CONTROL = "C&W", "PGD"
NONE = "none"
"""The kind of what has no autoencoder."""
SIGNS = ("btsc", "gtsrb")
SAMPLED = (0.0, 0.001, 0.01, 0.1, 1.0)
"""The deviation's scales of figure 3."""


@dataclass(frozen=True)
class Setting:
    """How every cell is attacked and judged.

    Args:
        n: test images: the first; of the signs, which lie class by class, as many at equal distances.
        eps: Linf radii on digits and clothes.
        signs: those on signs.
        steps: gradients of the paper's attack.
        control: gradients of PGD.
        draws: fresh ones on which a model that draws is judged, at most 9.
    """

    n: int = 300
    eps: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)
    signs: tuple[float, ...] = (0.005, 0.01, 0.02, 0.03)
    steps: int = 100
    control: int = 40
    draws: int = 5
    seed: int = 0


SMOKE = Setting(40, (0.1, 0.3), (0.01, 0.03), steps=20, control=10)
FULL = Setting(
    1000, (0.05, 0.1, 0.15, 0.2, 0.25, 0.3), (0.005, 0.01, 0.015, 0.02, 0.025, 0.03), control=100
)
"""The paper's radii and number of images."""


@dataclass(frozen=True)
class Defended:
    """A classifier behind one of the paper's autoencoders, or with `NONE` alone.

    Args:
        data: the data set of both.
        kind: of the autoencoder; without noise a "d" kind is the plain one, and is called so, as is a "c"
            kind without weight.
        stp: standard deviation of the noise it was trained with.
        weight: of the contractive penalty.
        net: the classifier, "conv4" or "resnet".
    """

    data: str
    kind: str = NONE
    stp: float = 0.0
    weight: float = 0.0
    net: str = "conv4"

    def __post_init__(self) -> None:
        idle = {"d": self.stp, "c": self.weight}.get(self.kind[0]) == 0
        object.__setattr__(self, "kind", self.kind[1:] if idle else self.kind)

    def __str__(self) -> str:
        """As cells and subjects are called."""
        net = "" if self.net == "conv4" else f", {self.net}"
        if self.kind == NONE:
            return f"{self.data}{net}, no defence"
        penalty = f", weight {self.weight:g}" if self.weight else ""
        return f"{self.data}{net}, {self.kind.upper()}, stp {self.stp:g}{penalty}"

    @property
    def scales(self) -> tuple[float, ...]:
        """Of the deviation, when predicting: figure 3's where it asks, else none and all of it."""
        if not self.kind.endswith("vae"):
            return (0.0,)
        return SAMPLED if self.stp == 0.4 and not self.weight else (0.0, 1.0)

    def stack(self, device: str) -> "dict[float, nn.Module]":
        """The whole classifier at each scale, from the same networks."""
        from trompe import zoo
        from trompe.defenses import Reconstruct
        from trompe.experiments.reconstruction._models import classifier, purifier

        net = zoo.get(classifier(self.data, self.net), progress=False).to(device)
        if self.kind == NONE:
            return {0.0: net}
        made = zoo.get(purifier(self.kind, self.data, self.stp, self.weight), progress=False)
        return {scale: Reconstruct(made.to(device), net, scale).eval() for scale in self.scales}


def attacked(models: "Iterable[Defended]", setting: Setting, store: "Store") -> "Iterator[Record]":
    """A cell for each of them, and before its first one on a data set for that set's bare classifier."""
    todo = list(dict.fromkeys(each for m in models for each in (Defended(m.data), m)))
    store.total = len(todo)
    for one in todo:
        yield from store.cell(str(one), lambda one=one: measured(setting, one))  # type: ignore[misc]


@cache
def measured(setting: Setting, defended: Defended) -> "tuple[Record, ...]":
    """Accuracy clean and under both attacks at each radius; kept, for the figures share models."""
    return tuple(Cell(setting, defended).records())


class Cell:
    """One defended classifier on its images."""

    def __init__(self, setting: Setting, defended: Defended) -> None:
        import torch

        from trompe import data
        from trompe.core import random

        self.setting, self.defended = setting, defended
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        test = data.load(defended.data, "test")
        n = min(setting.n, len(test))
        index = torch.arange(n) * (len(test) if defended.data in SIGNS else n) // n
        x, y = test.tensors(index)
        assert y is not None
        self.x, self.y = x.to(self.device), y.to(self.device)
        self.seeds = random.seeds(setting.seed, index.to(self.device))
        self.stack = defended.stack(self.device)

    def records(self) -> "list[Record]":
        """All of them, clean ones first."""
        import torch

        from trompe.core.domains import Images
        from trompe.core.geometry import Ball

        clean = {scale: self._right(self.x, scale) for scale in self.stack}
        made = [self._record(right, scale) for scale, right in clean.items()]
        some = torch.stack(list(clean.values())).any(0)
        signs = self.defended.data in SIGNS
        for eps in self.setting.signs if signs else self.setting.eps:
            for by, attack in self.attacks(eps).items():
                ball = Images().region(self.x, Ball(eps))
                found = ball.project(self._found(attack, some))
                made += [
                    self._record(self._right(found, scale), scale, eps, by, str(attack))
                    for scale in self.stack
                ]
        return made

    def attacks(self, eps: float) -> "dict[str, Attack]":
        """The paper's and the control. What only just fools the mean fools few draws: there both go on."""
        from trompe.attacks import PGD, ProjectedCW, Still
        from trompe.core.geometry import Ball

        leave, ball = len(self.stack) == 1, Ball(eps)
        own: dict[str, Attack] = {
            PAPER: ProjectedCW(ball, steps=self.setting.steps, early_stop=leave),
            CONTROL: PGD(ball, steps=self.setting.control, loss="margin", early_stop=leave),
        }
        return own if leave else {by: Still(attack) for by, attack in own.items()}

    def _found(self, attack: "Attack", some: "Tensor") -> "Tensor":
        """The images; of those that some draw reads correctly, what the attack makes."""
        from trompe.core.execution import execution, has_fast_bf16

        found, model = self.x.clone(), list(self.stack.values())[-1]
        with execution(precision="bf16" if has_fast_bf16(self.device) else "float32"):
            if bool(some.any()):
                found[some] = attack(model, self.x[some], self.y[some], seeds=self.seeds[some])
        return found

    def _draws(self, scale: float) -> int:
        return self.setting.draws if scale else 1

    def _right(self, x: "Tensor", scale: float) -> "Tensor":
        """On how many of its draws each image is read correctly, `(B,)`."""
        import torch

        from trompe.core import random
        from trompe.core.execution import predict

        right = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        for draw in range(self._draws(scale)):
            with random.streams(self.seeds, random.REPORT + draw):
                right += predict(self.stack[scale], x).argmax(1) == self.y
        return right

    def _record(
        self, right: "Tensor", scale: float, eps: float = 0.0, by: str = "", attack: str = ""
    ) -> "Record":
        """An accuracy; with it how every image fared, so that models can be compared image by image."""
        from trompe.evaluation.records import Record

        own, draws = self.defended, self._draws(scale)
        about: dict[str, Any] = {"data": own.data, "kind": own.kind, "stp": own.stp, "net": own.net}
        about |= {"weight": own.weight, "scale": scale, "by": by, "drawn": draws}
        about["right"] = "".join(map(str, right.tolist()))
        still = " and switches its draws off" if scale else ""
        threat = f"White box: the attacker knows the whole classifier{still}." if by else ""
        return Record.rate(
            "accuracy", int(right.sum()) / draws, len(right), subject=str(own), attack=attack,
            threat=threat, eps=eps, norm="Linf", config=about,
        )  # fmt: skip
