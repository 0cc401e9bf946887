"""The trainings that the figures share: one generative model, three ways to learn it, seen on the way.

Common to all: one hidden layer of tanh, Adagrad, minibatches of 100, one draw for each example, initial
weights and biases N(0, 0.01) (read as a deviation), and a prior N(0, I) over the weights, which is a weight
decay of 1/N on the mean loss (Kingma & Welling 2014, section 5). Images are binarised once for all.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.core.protocols import Step
    from trompe.models import Autoencoder

__all__ = ["METHODS", "UPDATES", "Fit", "Quality", "Watched", "fitted", "images", "tuned"]

Quality = Callable[["Autoencoder"], float]
METHODS = ("AEVB", "wake-sleep", "MCEM")
UPDATES = 5
"""Updates of the weights that MCEM makes with each draw of the codes."""


@dataclass(frozen=True)
class Fit:
    """One training.

    Args:
        method: one of `METHODS`.
        latent, hidden: latent coordinates, and units of the hidden layer.
        marks: numbers of samples after which the model is kept, in increasing order. A sample counts
            whenever it enters an update of the weights: for MCEM five times at each visit.
        rate: Adagrad's step size.
        examples: how many training images there are; 0 is all.
        data: a set of images, binarised by the static convention.
        seed: of the initial weights, the order of the examples, and the noise.
    """

    method: str = "AEVB"
    latent: int = 20
    hidden: int = 500
    marks: tuple[int, ...] = (100_000,)
    rate: float = 0.02
    examples: int = 0
    data: str = "mnist"
    batch: int = 100
    deviation: float = 0.01
    seed: int = 0


@functools.lru_cache(maxsize=4)
def images(data: str, split: str, count: int = 0) -> "Tensor":
    """The first `count` images of a split, or all, every pixel 0 or 255 by the static convention.

    Training and test images have draws of their own.
    """
    from trompe import data as sets

    whole = sets.binarized(sets.load(data, split), "static", seed=int(split == "test"))
    kept: Tensor = whole.x if count == 0 else whole.x[:count]
    return kept


def fresh(fit: Fit) -> "Autoencoder":
    """The model with its initial weights."""
    import torch

    from trompe.models import VAE

    shape = tuple(images(fit.data, "test", 1).shape[1:])
    model = VAE(shape, fit.latent, hidden=(fit.hidden,), activation="tanh")
    generator = torch.Generator().manual_seed(fit.seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, fit.deviation, generator=generator)
    return model


def step_for(fit: Fit, model: "nn.Module", examples: int) -> "Step":
    """The method's step; all descend by the same optimiser."""
    import torch

    from trompe.training import AutoencoderStep, MCEMStep, WakeSleepStep, constant

    common: dict[str, Any] = {
        "schedule": constant,
        "optimizer": functools.partial(torch.optim.Adagrad, fused=True),
        "weight_decay": 1 / examples,
    }
    if fit.method == "MCEM":
        chains = {"examples": examples, "latent": fit.latent, "updates": UPDATES}
        return MCEMStep(model, fit.rate, **chains, **common)
    kind = AutoencoderStep if fit.method == "AEVB" else WakeSleepStep
    return kind(model, fit.rate, **common)


class Watched:
    """A step that keeps the model's weights as they are after given numbers of calls."""

    def __init__(
        self, step: "Step", model: "nn.Module", kept: "nn.ModuleList", marks: tuple[int, ...]
    ) -> None:
        self.step, self.model, self.kept, self.marks = step, model, kept, marks
        self.number = 0
        self.schedule = getattr(step, "schedule", None)

    def __call__(self, *batch: "Tensor") -> Mapping[str, "Tensor"]:
        """The step's update."""
        terms = self.step(*batch)
        self.number += 1
        for mark, copy in zip(self.marks, self.kept, strict=True):
            if mark == self.number:
                copy.load_state_dict(self.model.state_dict())
        return terms

    def modules(self) -> Mapping[str, "nn.Module"]:
        """The modules of the step."""
        return self.step.modules()

    def optimizers(self) -> Mapping[str, Any]:
        """The optimisers of the step."""
        return self.step.optimizers()

    def state_dict(self) -> dict[str, Any]:
        """The step, and what has been kept."""
        kept = self.kept.state_dict()
        return {"step": self.step.state_dict(), "kept": kept, "number": self.number}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.step.load_state_dict(state["step"])
        self.kept.load_state_dict(state["kept"])
        self.number = state["number"]


def fitted(fit: Fit) -> dict[int, "Autoencoder"]:
    """The model after each mark of the training, which is made once and kept in the zoo."""
    from torch import nn

    from trompe import zoo
    from trompe.training import Batches, train

    kept = nn.ModuleList([fresh(fit) for _ in fit.marks])
    each = fit.batch * (UPDATES if fit.method == "MCEM" else 1)

    def make(folder: Path) -> dict[str, Any]:
        x, model = images(fit.data, "train", fit.examples), fresh(fit)
        batches = Batches(x, size=fit.batch, seed=fit.seed)
        marks = tuple(max(1, round(mark / each)) for mark in fit.marks)
        step = Watched(step_for(fit, model, len(x)), model, kept, marks)
        history = train(
            step,
            batches,
            steps=marks[-1],
            seed=fit.seed,
            directory=folder,
            log=False,
            progress=False,
        )
        return {"steps": history.total, "seconds": round(history.seconds, 3)}

    name = f"{fit.data}-aevb-{fit.method.lower()}-{fit.latent}"
    zoo.keep(name, {"experiment": "aevb", "fit": fit}, kept, make)
    return dict(zip(fit.marks, kept, strict=True))  # type: ignore[arg-type]


def tuned(
    fit: Fit, rates: tuple[float, ...], samples: int, quality: Quality
) -> tuple[Fit, dict[float, float]]:
    """The training with the rate that is best after so many samples, and how good each was.

    The paper chooses Adagrad's step size from 0.01, 0.02 and 0.1 by the first iterations on the training
    set; it does not say whether once for all. We choose for each curve. A training that breaks down counts
    as minus infinity.
    """
    from trompe.core.errors import UserError

    found = {}
    for rate in rates:
        try:
            (model,) = fitted(replace(fit, rate=rate, marks=(samples,))).values()
            found[rate] = quality(model)
        except UserError as error:
            if "lower the learning rate" not in str(error):
                raise
            found[rate] = float("-inf")
    return replace(fit, rate=max(found, key=lambda rate: found[rate])), found
