"""The defence that an audit examines: built before the user's classifier, and before an attacker's own."""

import math
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from trompe import zoo
from trompe.audit.plan import BUILT, Plan
from trompe.audit.victim import defended, named, recipe
from trompe.core.errors import UserError
from trompe.core.user_code import find, takes
from trompe.data import Dataset
from trompe.defenses.magnet import magnet
from trompe.defenses.reconstruct import Reconstruct
from trompe.models import ImageMapConfig, adapt_autoencoder, check_classifier

__all__ = ["Guard", "apart"]

_FPR = 0.01
_MOST = 5_000  # images that thresholds are set on


def apart(data: Dataset, plan: Plan) -> tuple[Dataset, Dataset | None]:
    """Images to measure on; and, where detectors want thresholds, as many others to set them on.

    Neither is what models were trained on, where the source draws that line.

    Raises:
        UserError: too few images for the rate of false alarms.
    """
    if plan.defense != "magnet":
        return data, None
    fpr = _FPR if plan.fpr is None else plan.fpr
    count, needed = min(_MOST, len(data) // 2), math.ceil(1 / fpr - 1 - 1e-9)
    if count < needed:
        raise UserError(
            f"--fpr {fpr:g} needs {needed} images to set thresholds on that nothing is measured on, and "
            f"half of the {len(data)} test images of {plan.data} are {count}; ask for a higher rate"
        )
    return data.subset(slice(0, len(data) - count)), data.subset(slice(len(data) - count, None))


@dataclass(frozen=True)
class Guard:
    """A defence, as it is built before any classifier.

    Args:
        kind: `"reconstruct"`, `"magnet"` or `module:function`.
        plan: its settings.
        data: what inputs look like.
        train: what models of the audit's own learn from.
        held: clean images that nothing is trained or measured on, for thresholds.
    """

    kind: str
    plan: Plan
    data: Dataset
    train: Dataset
    held: Dataset | None = None

    @property
    def name(self) -> str:
        """What the report calls it."""
        return {"reconstruct": "reconstruction", "magnet": "MagNet"}.get(self.kind, self.kind)

    @property
    def fpr(self) -> float:
        """The share of clean images that detectors may refuse."""
        return _FPR if self.plan.fpr is None else self.plan.fpr

    def autoencoders(self, own: nn.Module | None) -> tuple[nn.Module, ...]:
        """What reconstructs, where anything does: the one named, else the one at hand, else ours.

        Args:
            own: an autoencoder that the audit has already.
        """
        if self.kind not in BUILT:
            return ()
        if self.plan.autoencoder is not None:
            example = self.data.tensors(slice(0, 8))[0]
            return (adapt_autoencoder(named(self.plan.autoencoder), example),)
        if own is not None and self.kind == "reconstruct":
            return (own,)
        return tuple(map(zoo.get, self._trained(self.plan.seed)))

    def before(self, classifier: nn.Module, autoencoders: tuple[nn.Module, ...]) -> nn.Module:
        """The defended classifier, in eval mode on the plan's device, its thresholds set.

        Raises:
            UserError: what the defence is made of does not fit together, or the data.
        """
        if not autoencoders:
            return defended(self.kind, classifier, self.data).to(self.plan.device)
        x, _ = self.data.tensors(slice(0, 8))
        x = x.to(self.plan.device)
        model = self._reconstruct(classifier, autoencoders[0]).to(self.plan.device)
        self._check(model, autoencoders[0], x)
        if self.held is None:
            return model
        # Divergences where images have colours: the MagNet of MNIST, and that of CIFAR-10.
        temperatures = (10.0, 40.0) if self.data.shape[0] == 3 else ()
        both = [autoencoders[0], autoencoders[-1]]
        guarded = magnet(classifier, both[0], both, temperatures=temperatures).eval()
        clean, _ = self.held.tensors()
        return guarded.to(x.device).calibrate(clean.to(x.device), self.fpr)

    def _check(self, model: nn.Module, autoencoder: nn.Module, x: Tensor) -> None:
        if self.plan.scale and not bool(autoencoder.encode(x).stddev.any()):  # type: ignore[operator]
            raise UserError(
                "--scale multiplies the deviation of the autoencoder's posterior, and this one has none: "
                "its codes are points"
            )
        try:
            check_classifier(model, x)
        except (RuntimeError, ValueError, TypeError) as error:
            raise UserError(
                f"the classifier does not take what the autoencoder makes of {self.data.shape}"
            ) from error

    def _reconstruct(self, classifier: nn.Module, autoencoder: nn.Module) -> nn.Module:
        plan = self.plan
        return Reconstruct(autoencoder, classifier, plan.scale, plan.input_noise).eval()

    def _trained(self, seed: int) -> tuple[zoo.Recipe, ...]:
        """How autoencoders of the audit's own are trained: for MagNet, as its two are."""
        if self.kind == "reconstruct":
            return (recipe("autoencoder", self.plan.data, self.train, seed),)
        return tuple(self._image_map(number, seed) for number in (1, 2))

    def _image_map(self, number: int, seed: int) -> zoo.Recipe:
        name, shape, n = f"{self.plan.data}-magnet-{number}", self.data.shape, len(self.train)
        if name in zoo.names():
            return replace(zoo.recipe(name), seed=seed)
        halve = "average" if not any(side % 2 for side in shape[1:]) else 3
        model = ImageMapConfig(shape, (3, halve, 3) if number == 1 else (3,))  # type: ignore[arg-type]
        epochs = 8.0 if n > 20_000 else 30.0 if n > 4_000 else 60.0
        how: dict[str, Any] = {"batch": 64, "lr": 0.05, "weight_decay": 1e-6, "seed": seed}
        return zoo.Recipe(f"audit-magnet-{number}", model, self.plan.data, epochs, **how)

    def recipes(self) -> tuple[zoo.Recipe, ...]:
        """What an attacker trains for a defended classifier of its own: as ours or yours, with the next seed.

        Nothing where the data are no images, or the user's function takes no other classifier.
        """
        plan, seed = self.plan, self.plan.seed + 1
        if len(self.data.shape) != 3:
            return ()
        own = _again(plan.model, plan) or recipe("classifier", plan.data, self.train, seed)
        if self.kind not in BUILT:
            return (own,) if takes(find(self.kind), "classifier") else ()
        return own, _again(plan.autoencoder, plan) or self._trained(seed)[0]

    def surrogate(self) -> nn.Module:
        """The attacker's own defended classifier, without detectors; trained if it is not at hand.

        Raises:
            UserError: the user's function fails with another classifier.
        """
        classifier, *others = (zoo.get(each).to(self.plan.device) for each in self.recipes())
        if not others:
            return defended(self.kind, classifier, self.data).to(self.plan.device)
        return self._reconstruct(classifier, others[0])

    def told(self) -> str:
        """What it does, in a sentence or two."""
        plan = self.plan
        if self.kind not in BUILT:
            return f"The defence is {self.kind}, of your own."
        drawn = [
            f"its code drawn at {plan.scale:g} times the posterior's deviation"
            if plan.scale
            else "",
            f"noise of deviation {plan.input_noise:g} on its input" if plan.input_noise else "",
        ]
        how = " and ".join(filter(None, drawn))
        text = "The classifier is shown what an autoencoder makes of the image"
        text += f", with {how}, anew at every look." if how else "."
        if self.held is None:
            return text
        text += (
            " Detectors refuse an image that its reconstruction misses; their thresholds let them refuse "
            f"{self.fpr:.2%} of clean images together, set on {len(self.held)} images that nothing "
        )
        if self.train.split != "all":
            return f"{text}was trained or is measured on."
        return f"{text}is measured on; {plan.data} has no test images of its own, so they were trained on."


def _again(name: str | None, plan: Plan) -> zoo.Recipe | None:
    """The recipe of the zoo that the user named, with a seed that is not its own, if it is of this data."""
    if name not in zoo.names() or zoo.recipe(str(name)).data != plan.data:
        return None
    found = zoo.recipe(str(name))
    return replace(found, seed=max(found.seed, plan.seed) + 1)
