"""The Type I attack: change what an image is, while the victim's answer stays (Tang et al. 2019)."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from trompe.attacks.transition import ImageTransition, judged
from trompe.core import random
from trompe.core.checks import check_logits
from trompe.core.errors import UserError
from trompe.core.execution import predict
from trompe.core.losses import cross_entropy
from trompe.core.search import Evaluation

__all__ = ["ImageTransition", "TypeI"]

Keep = Literal["class", "embedding"]

_PUBLISHED: dict[Keep, dict[str, Any]] = {
    "class": {"steps": 20_000, "lr": 0.005, "cap": 1e-3},
    "embedding": {"steps": 15_000, "lr": 0.01, "cap": 5e-3},
}


@dataclass(frozen=True)
class TypeI(ImageTransition):
    r"""Make an image of another class of which the victim says what it said before (Tang et al. 2019).

    .. math::
        J_{SA}(z) = J_{IT}(z) + k_t J_1(f_{dec}(z)), \quad
        k_{t+1} = \left[k_t + \eta \left(\beta J_1 - J_2 + \max(J_1 - \hat{J}_1, 0)\right)\right]_0^{cap}

    (equations 8 to 10, algorithm 2): to what moves the code to another class (`ImageTransition`) comes the
    victim's loss J_1, at a weight that each example adapts. It is zero until the code has changed class, J_2
    being the label head's cross-entropy, and then grows while the victim's loss is above its goal.

    An iterate succeeds where the label head gives the target probability `sure` and the victim the kept class
    `confidence` (its embedding is within `goal`). Successes are ranked by J_IT, for k_t drifts and J_SA with
    it, and come before all others, which are ranked by what they lack; then the way is looked back at.

    Where we depart from the paper, which contradicts itself: beta is a constant ratio, as it is set, and not
    that of the present losses, as equation 11 defines it (`beta="ratio"`, which cancels the two terms); eta
    is that of the authors' program, the text has none; the result is what the decoder makes of the code,
    where algorithm 2 returns an encoding; and the program for faces feeds k_t with the discriminator's output
    in the place of the embedding's distance (`follows="discriminator"`). The caps of the paper, 0.001 for
    classes (text, program) and 0.005 for embeddings (algorithm 2, program), are for its 20,000 steps: in
    a few hundred they leave the victim's answer changed. `published` has the paper's numbers.

    Args:
        keep: `"class"`, the victim's answer: J_1 is its cross-entropy at the present labels; or
            `"embedding"`: J_1 is the distance `||f_1(x') - f_1(x)||_2`, for verification.
        k: a constant weight in the place of k_t.
        eta: the rate at which k_t adapts.
        beta: the ratio of J_2 to J_1 to be kept, or `"ratio"`, the one they have.
        goal: J_1 above which k_t is pushed up; 0.01 for classes and 1.0 for embeddings unless given.
        cap: the largest k_t.
        follows: what k_t adapts to: the `"victim"`'s loss, or the `"discriminator"`'s output.
        confidence: the victim's probability for the kept class that makes a success.

    Raises:
        UserError: besides those of `ImageTransition`, a victim that errs on an input already, or whose
            classes are not those of the SVAE.

    >>> from trompe.models import SVAE, SVAEConfig
    >>> svae = SVAE(SVAEConfig.sized((1, 8, 8), 10)).eval()
    >>> victim = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
    >>> x = torch.rand(2, 1, 8, 8)
    >>> way = TypeI(steps=4).using(svae=svae).trace(victim, x, victim(x).argmax(1), at=(0, 4))
    >>> way.images.shape, way.curves["k"].shape
    (torch.Size([2, 2, 1, 8, 8]), torch.Size([5, 2]))
    """

    keep: Keep = field(default="class", kw_only=True)
    k: float | None = field(default=None, kw_only=True)
    eta: float = field(default=1e-4, kw_only=True)
    beta: float | Literal["ratio"] = field(default=1e-3, kw_only=True)
    goal: float | None = field(default=None, kw_only=True)
    cap: float = field(default=0.1, kw_only=True)
    follows: Literal["victim", "discriminator"] = field(default="victim", kw_only=True)
    confidence: float = field(default=0.5, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep not in ("class", "embedding"):
            raise UserError(f"keep must be class or embedding, got {self.keep!r}")
        if isinstance(self.beta, str) and self.beta != "ratio":
            raise UserError(f"beta must be a number or ratio, got {self.beta!r}")
        if self.follows not in ("victim", "discriminator"):
            raise UserError(f"follows must be victim or discriminator, got {self.follows!r}")
        if self.follows == "discriminator" and not self.alpha:
            raise UserError("follows='discriminator' needs a discriminator: set alpha above 0")
        if not 0 < self.confidence < 1:
            raise UserError(f"confidence must lie between 0 and 1, got {self.confidence}")
        numbers = (self.k, self.eta, self.goal, self.cap, self.beta)
        if any(isinstance(n, int | float) and not 0 <= n < torch.inf for n in numbers):
            raise UserError("k, eta, beta, goal and cap must be zero or more")

    @classmethod
    def published(cls, keep: Keep = "class", **changes: Any) -> Self:
        """The paper's numbers, with `changes` of ours: 20,000 steps and more, which want a GPU.

        >>> TypeI.published().cap, TypeI.published("embedding", lr=0.02).steps
        (0.001, 15000)
        """
        numbers = {"temperature": 1.0, "looks": 0, "patience": None, "keep": keep}
        return cls(**{**numbers, **_PUBLISHED[keep], **changes})

    @property
    def hinge(self) -> float:
        """The goal in force."""
        return {"class": 0.01, "embedding": 1.0}[self.keep] if self.goal is None else self.goal

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """Besides: the victim has the SVAE's classes and errs on no input, on the draw that is reported."""
        y = super().check(model, x, y, seeds)
        if self.keep == "embedding":
            return y
        with random.streams(seeds, random.REPORT):
            logits = check_logits(predict(model, x), len(x))
        classes = self._classes(x)
        if logits.shape[1] != classes:
            raise UserError(
                f"the victim has {logits.shape[1]} classes, the SVAE {classes}: train one on the same labels"
            )
        wrong = int((logits.argmax(1) != y).sum())
        if wrong:
            raise UserError(
                f"the victim errs on {wrong} of {len(y)} inputs already, so it has no right answer to keep: "
                "leave those out"
            )
        return y

    def memory(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """What the victim is to keep, and k_t: minus infinity, which is clipped to k_0 = 0."""
        kept = y if self.keep == "class" else predict(model, x)
        start = -torch.inf if self.k is None else self.k
        return {"kept": kept, "k": x.new_full((len(x),), start)}

    def objective(self, model: Any, z: Tensor, data: Any) -> Evaluation:
        """J_SA with the weight of this step, and what is left to success."""
        transition, terms = self.transition(model.svae, z, data)
        drift = self.drift(model.victim(model.svae.decode(z)), data["kept"])
        terms["victim"] = drift
        k = self.adapted(data["k"], {name: term.detach() for name, term in terms.items()})
        lacking = torch.maximum(drift - self.allowed(), self.unsure(terms))
        return judged(transition + k * drift, transition, lacking, {**terms, "k": k})

    def drift(self, output: Tensor, kept: Tensor) -> Tensor:
        """J_1 `(B,)`."""
        if self.keep == "class":
            return cross_entropy(output, kept)
        distance: Tensor = torch.linalg.vector_norm((output - kept).flatten(1), dim=1)
        return distance

    def allowed(self) -> float:
        """The J_1 that a success may have."""
        return -math.log(self.confidence) if self.keep == "class" else self.hinge

    def lacking(self, model: nn.Module, image: Tensor, data: Any, unsure: Tensor) -> Tensor:
        """The larger of what the label head and what the victim lacks."""
        drift = self.drift(predict(model, image), data["kept"])
        return torch.maximum(drift - self.allowed(), unsure)

    def adapted(self, k: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """The weight `(B,)` that follows `k` at these losses (equation 10)."""
        if self.k is not None:
            return k
        drift = terms["victim"]
        if self.follows == "discriminator":
            unreal = terms["discriminator"]
            drift = (-unreal).exp() if self.realness == "bce" else 1 - unreal
        pull = (drift - self.hinge).clamp_min(0)
        if self.beta != "ratio":
            pull = pull + self.beta * drift - terms["label"]
        return (k + self.eta * pull).clamp(0, self.cap)
