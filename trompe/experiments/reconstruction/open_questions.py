"""What the paper leaves open: a residual classifier, BIM and DeepFool.

Training noise and denoising again, where one thing is another: the classifier behind the autoencoder, or the
attack. BIM is bound to the box from the first step. DeepFool has no radius: it looks for the smallest
perturbation in the Linf norm, and what it finds is clipped to the box, so that one that is small enough stays
as it is and a larger one gets a chance; its steps look at the three likeliest rivals. All go through the
posterior's mean, as the paper's attack does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trompe.experiments.reconstruction._attacked import NONE, PAPER, Cell, Defended, Setting
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.attacks.base import Attack
    from trompe.evaluation.records import Record

__all__ = ["BY", "NETS", "PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

BY = (PAPER, "BIM", "DeepFool")
NETS = {"conv4": "convolutional", "resnet": "residual"}
PUBLISHED: dict[str, str] = {
    "asked": "a residual classifier, BIM and DeepFool are named as future work, without a number"
}


@dataclass(frozen=True)
class Config:
    """Which autoencoders stand before which classifiers.

    Args:
        datasets: each with both classifiers.
        kinds: of the autoencoders.
        noises: standard deviations of the noise on training inputs.
        setting: of the attacks: `steps` are those of C&W, `control` those of BIM and, at most, of DeepFool.
    """

    datasets: tuple[str, ...] = ("mnist", "btsc", "fashion-mnist")
    kinds: tuple[str, ...] = ("ae", "dae", "vae", "dvae")
    noises: tuple[float, ...] = (0.0, 0.4)
    setting: Setting = field(
        default_factory=lambda: Setting(eps=(0.1, 0.2), signs=(0.01, 0.02), control=40)
    )


SCALES = {
    "smoke": Config(("digits",), setting=Setting(40, (0.1, 0.2), steps=20, control=10)),
    "cpu": Config(("mnist",)),
    "paper": Config(
        setting=Setting(1000, (0.1, 0.2, 0.3), (0.01, 0.02, 0.03), steps=100, control=100)
    ),
}


class _Open(Cell):
    """A defended classifier under the paper's attack and both others."""

    def __init__(self, setting: Setting, defended: Defended) -> None:
        super().__init__(setting, defended)
        self._known: dict[Attack, Tensor] = {}

    def attacks(self, eps: float) -> "dict[str, Attack]":
        """C&W as in the paper, BIM in steps of a tenth of the radius, and DeepFool, which has none."""
        from trompe.attacks import BIM, DeepFool, Still
        from trompe.core.geometry import Ball

        own: dict[str, Attack] = {PAPER: super().attacks(eps)[PAPER]}
        leave, steps = len(self.stack) == 1, self.setting.control
        both: dict[str, Attack] = {
            "BIM": BIM(Ball(eps), steps=steps, step_size=eps / 10, early_stop=leave),
            "DeepFool": DeepFool("Linf", steps=steps, candidates=4),
        }
        return own | (both if leave else {by: Still(attack) for by, attack in both.items()})

    def _found(self, attack: "Attack", some: "Tensor") -> "Tensor":
        """What has no radius is run once for all of them."""
        if attack not in self._known:
            self._known[attack] = super()._found(attack, some)
        return self._known[attack]


def run(config: Config, store: Store) -> Iterator["Record"]:
    """A cell for each autoencoder before each classifier, and for each classifier alone."""
    todo = dict.fromkeys(
        Defended(data, kind, stp, net=net)
        for data in config.datasets
        for net in NETS
        for kind in (NONE, *config.kinds)
        for stp in (config.noises if kind != NONE else (0.0,))
    )
    store.total = len(todo)
    for one in todo:
        yield from store.cell(str(one), lambda one=one: _measured(config.setting, one))  # type: ignore[misc]


def _measured(setting: Setting, defended: Defended) -> "tuple[Record, ...]":
    return tuple(_Open(setting, defended).records())


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """Each claim's difference under every attack, behind both classifiers."""
    from trompe.experiments.reconstruction._open_page import drawn

    return drawn(list(records))


def render(records: Iterable["Record"]) -> str:
    """Whether each claim holds there too, and the numbers."""
    from trompe.experiments.reconstruction._open_page import rendered

    return rendered(list(records))
