"""The Type I attack in a generator's latent space: codes far apart, one answer (Tang et al. 2019, III-D)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.attacks.base import Attack
from trompe.attacks.generators import check_norms, first_image, length, made
from trompe.attacks.minimal import ranking
from trompe.attacks.trajectories import Callback, Recorder, Trajectory, evenly
from trompe.attacks.transition import Content
from trompe.core import random
from trompe.core.checks import check_logits
from trompe.core.domains import Box, Vectors
from trompe.core.errors import UserError
from trompe.core.execution import predict, working_copies
from trompe.core.losses import cross_entropy
from trompe.core.protocols import Domain
from trompe.core.search import Evaluation, search
from trompe.core.solvers import Adam

__all__ = ["LatentTypeI", "Shell"]

_SLACK = 0.01  # how much of eps may be missing: the hinge holds codes at eps, give or take a step
_SURE = -math.log(0.9)  # the cross-entropy at which a classifier counts as convinced
_NUDGE = 2**37  # the draw of the first step: a user's codes may be the draw 0 of the same seeds
_FREE = Box(-torch.inf, torch.inf)


@dataclass(frozen=True)
class Shell:
    """The codes as far from `center` as the attack began, `radius` `(B, 1)`: as likely under a Gaussian.

    >>> Shell(torch.zeros(1, 2), torch.tensor([[5.0]])).project(torch.tensor([[0.6, 0.8]]))
    tensor([[3., 4.]])
    """

    center: Tensor
    radius: Tensor

    def project(self, v: Tensor) -> Tensor:
        """The nearest such code."""
        away = v - self.center
        return self.center + away * (self.radius / length(away).clamp_min(1e-12))


class _Scene(nn.Module):
    """A generator and the victim, searched through as one model."""

    def __init__(self, generator: nn.Module, victim: nn.Module) -> None:
        super().__init__()
        self.generator, self.victim = generator, victim


@dataclass(frozen=True)
class LatentTypeI(Attack):
    r"""Move a generator's code far away while the victim's answer to the image stays.

    .. math::
        L(z') = k \, J_1(G(z'), f_1(G(z))) + \max(\epsilon - \|z' - z\|^2, 0)

    (Tang et al. 2019, equation 13), minimised by Adam for each code on its own. `attack(victim, z, y)` takes
    codes and returns **codes**: the images are `generator(z')`, and `trace` has those of the whole way. The
    generator is handed in by `using(generator=...)`: any module that is called as `G(z)`, or `G(z, y)` where
    it has classes. `J_1` is the cross-entropy of the victim at the answer that it gives to `G(z)`, or with
    `keep="embedding"` the distance of the victim's outputs.

    With a `target`, the cross-entropy of the generator's auxiliary classifier, `classify(x)`, at the target
    is added with the weight `k * pull`; the paper names this term and no weight.

    Iterates that satisfy (12) come first (the distance reached to 1%, J_1 at most `allowed`, the target read
    with probability 0.9), and among them the smallest loss. An example leaves `patience` steps after it first
    satisfied it.

    Where we depart from the paper: at z' = z the hinge's gradient is exactly zero and J_1 at its least, so
    the search starts `nudge` away, in a direction drawn from the example's seed. (A distance of embeddings
    rises as k s r where the hinge falls as r^2: below r = k s / 2, s the victim's slope, the search goes back
    home.) The best iterate is returned, not the last. The published distance is a raw sum
    (`metric="sum"`): 0.1 in 128 dimensions is 0.0008 per dimension, where two independent codes are 2 apart,
    and no eye sees it; the default is one per dimension, `metric="mean"`. Codes keep the norm they came with,
    as (13) alone would leave the prior; `shell=False` is the published search. `LatentTypeI.published()` and
    `LatentTypeI.published("embedding")` are the paper's settings.

    Args:
        k: weight of J_1.
        eps: squared distance to reach, in the metric's units.
        metric: `"mean"` over the code's dimensions, or the published `"sum"`.
        keep: the victim's `"class"`, or its `"embedding"`.
        target: the class that the auxiliary classifier is to read: `"next"` (the present one plus one, the
            last to 0), a class number for all, or None.
        pull: weight of the target's term, in units of J_1.
        draws: the class that a generator with classes draws on the way: the `"present"` one, or the
            `"target"`, so that only the victim's answer is left to win.
        allowed: J_1 up to which the victim's answer counts as kept; by default `-log 0.9` for a class and 1
            for an embedding.
        steps: gradients per example.
        lr: Adam's step, in units of the code.
        nudge: deviation of the first step from z, per dimension.
        shell: keep the norm of the code.
        patience: steps after its first success at which an example leaves; None spends all steps on all.

    Raises:
        UserError: settings out of range; codes that the prior practically never draws; images that the victim
            does not take; a target without an auxiliary classifier, or of no class.

    >>> generator, victim = nn.Linear(4, 3), nn.Linear(3, 2)
    >>> z = torch.eye(4)
    >>> attack = LatentTypeI(eps=0.5, allowed=0.7).using(generator=generator.eval())
    >>> found = attack(victim.eval(), z)
    >>> bool((attack.distance(z, found) > 0.49).all())
    True
    """

    k: float = field(default=1e-2, kw_only=True)
    eps: float = field(default=1.0, kw_only=True)
    metric: Literal["mean", "sum"] = field(default="mean", kw_only=True)
    keep: Literal["class", "embedding"] = field(default="class", kw_only=True)
    target: str | int | None = field(default=None, kw_only=True)
    pull: float = field(default=1.0, kw_only=True)
    draws: Literal["present", "target"] = field(default="present", kw_only=True)
    allowed: float | None = field(default=None, kw_only=True)
    steps: int = field(default=500, kw_only=True)
    lr: float = field(default=0.01, kw_only=True)
    nudge: float = field(default=0.01, kw_only=True)
    shell: bool = field(default=True, kw_only=True)
    patience: int | None = field(default=50, kw_only=True)
    domain: Domain = field(default_factory=Vectors, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.target, str) and self.target.isdigit():
            object.__setattr__(self, "target", int(self.target))
        if isinstance(self.target, str) and self.target != "next":
            raise UserError(f"target must be next, a class number or None, got {self.target!r}")
        for name, known in (
            ("metric", ("mean", "sum")),
            ("keep", ("class", "embedding")),
            ("draws", ("present", "target")),
        ):
            if getattr(self, name) not in known:
                raise UserError(f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}")
        positive = (self.k, self.eps, self.lr, self.nudge)
        if not all(0 < value < math.inf for value in positive) or not self.pull >= 0:
            raise UserError("k, eps, lr and nudge must be above 0, and pull zero or more")
        if self.steps < 1 or (self.patience is not None and self.patience < 1):
            raise UserError("steps and patience must be at least 1")
        if self.draws == "target" and self.target is None:
            raise UserError("draws='target' draws the target's class: give a target")

    @classmethod
    def published(cls, keep: Literal["class", "embedding"] = "class", **changes: Any) -> Self:
        """The paper's settings: for an AC-GAN of 128 dimensions, or a StyleGAN of 512 (section IV-E).

        >>> LatentTypeI.published("embedding").k
        0.001
        """
        k, eps = (1e-2, 0.1) if keep == "class" else (1e-3, 0.35)
        given = {"k": k, "eps": eps, "metric": "sum", "keep": keep, "shell": False, **changes}
        return cls(**given)

    def distance(self, z: Tensor, other: Tensor) -> Tensor:
        """The squared distance `(B,)` of codes, in the metric's units."""
        square = (other - z).flatten(1).square()
        return square.sum(1) if self.metric == "sum" else square.mean(1)

    def targets(
        self, model: nn.Module, z: Tensor, y: Tensor | None = None, seeds: Tensor | None = None
    ) -> Tensor:
        """The classes `(B,)` that a call with the same arguments would aim at; -1 without a target."""
        with torch.no_grad(), working_copies():
            z, y, seeds = self.admitted(model, z, y, seeds)
            return self._data(model, z, y).get("target", torch.full_like(y, -1))

    def trace(
        self,
        model: nn.Module,
        z: Tensor,
        y: Tensor | None = None,
        *,
        seeds: Tensor | None = None,
        at: Sequence[int] | None = None,
    ) -> Trajectory:
        """The attack with its way: images at some steps and the losses at all.

        The curves are `"victim"` (J_1), `"distance"` (in the metric's units), with a class to keep
        `"confidence"`, and with a target `"label"`, its cross-entropy. Targets are -1 where there are none.

        Args:
            at: the steps whose images are kept; by default ten, evenly spread.
        """
        with torch.no_grad(), working_copies():
            z, y, seeds = self.admitted(model, z, y, seeds)
            data = self._data(model, z, y)
            recorder = Recorder(len(z), self.steps, evenly(self.steps, 9) if at is None else at)
            best = self._search(model, z, data, seeds, recorder)
            generator, classes = self.network("generator"), data.get("drawn")
            goals = data.get("target", torch.full_like(y, -1))
            return recorder.trajectory(lambda v: made(generator, v, classes), best, goals)

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """Codes are the prior's, images the victim's; the classes, -1 where there are none."""
        generator = self.network("generator")
        if generator.training:
            raise UserError("the generator is in train mode; call generator.eval() first")
        if self.target is not None and not hasattr(generator, "classify"):
            raise UserError(
                f"a target is read by the generator's auxiliary classifier, but {type(generator).__name__} "
                "has no classify(x): leave target out, or take an AC-GAN"
            )
        check_norms(generator, x)
        if y is not None and (y.shape != x.shape[:1] or y.is_floating_point()):
            raise UserError(
                f"expected {len(x)} whole-number classes, got {y.dtype} of shape {tuple(y.shape)}"
            )
        answer = _answer(model, first_image(generator, x, None if y is None else y.to(x.device)))
        if self.keep == "class":
            check_logits(answer, 1)
        return x.new_full((len(x),), -1).long() if y is None else y.long().to(x.device)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """One search among codes."""
        return self._search(model, x, self._data(model, x, y), seeds)

    def objective(self, model: Any, v: Tensor, data: Any) -> Evaluation:
        """Equation 13, and by how much (12) is still violated."""
        image = made(model.generator, v, data.get("drawn"))
        output = model.victim(image)
        if self.keep == "class":
            drift = cross_entropy(output, data["kept"])
        else:
            drift = torch.linalg.vector_norm((output - data["kept"]).flatten(1), dim=1)
        distance = self.distance(data["z"], v)
        loss = self.k * drift + self.hinge(distance)
        excess = torch.maximum(drift - self._most, 1 - _SLACK - distance / self.eps)
        terms = {"victim": drift.detach(), "distance": distance.detach()}
        if self.keep == "class":
            terms["confidence"] = (-terms["victim"]).exp()
        if self.target is not None:
            label = cross_entropy(model.generator.classify(image), data["target"])
            loss = loss + self.k * self.pull * label
            excess = torch.maximum(excess, label - _SURE)
            terms["label"] = label.detach()
        score = ranking(loss.detach(), excess.detach())
        return Evaluation(loss, score, score < 0, terms)

    def hinge(self, distance: Tensor) -> Tensor:
        """What is missing of the distance."""
        return F.relu(self.eps - distance)

    @property
    def _most(self) -> float:
        """The largest J_1 at which the answer counts as kept."""
        if self.allowed is not None:
            return self.allowed
        return _SURE if self.keep == "class" else 1.0

    def _data(self, model: nn.Module, z: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Where codes began, the answers to keep and, where there are such, the classes."""
        generator: Any = self.network("generator")
        present = None if bool((y < 0).all()) else y
        image = made(generator, z, present)
        answer = predict(model, image)
        data = {"z": z, "kept": answer.argmax(1) if self.keep == "class" else answer}
        if present is not None:
            data["drawn"] = y
            wrong = int((data["kept"] != y).sum()) if self.keep == "class" else 0
            if wrong:
                raise UserError(
                    f"the victim errs on {wrong} of the {len(z)} images already, so it has no right answer "
                    "to keep: leave those codes out"
                )
        if self.target is not None:
            data["target"] = self._goals(generator.classify(image), present)
            if self.draws == "target":
                data["drawn"] = data["target"]
        return data

    def _goals(self, opinion: Tensor, present: Tensor | None) -> Tensor:
        """The class that each image is to become."""
        now, classes = opinion.argmax(1) if present is None else present, opinion.shape[1]
        if not isinstance(self.target, int):
            return (now + 1) % classes
        if self.target >= classes:
            raise UserError(
                f"target must lie in 0..{classes - 1} for an auxiliary classifier of {classes} classes, got "
                f"{self.target}"
            )
        goal = torch.full_like(now, self.target)
        same = int((goal == now).sum())
        if same:
            raise UserError(
                f"{same} of {len(now)} images are of class {self.target} already: leave them out, or "
                "choose another target"
            )
        return goal

    def _search(
        self,
        model: nn.Module,
        z: Tensor,
        data: dict[str, Tensor],
        seeds: Tensor,
        callback: Callback | None = None,
    ) -> Tensor:
        """The best codes."""
        generator = self.network("generator")
        center = getattr(getattr(generator, "prior", None), "mean", z.new_zeros(1)).to(z)
        region = Shell(center.expand_as(z), length(z - center)) if self.shell else _FREE
        with random.streams(seeds, _NUDGE):
            start = region.project(z + self.nudge * random.normal(tuple(z.shape), z))
        return search(
            self.objective,
            _Scene(generator, model),
            start,
            Content(Adam(self.lr), self.patience),
            steps=self.steps,
            region=region,
            data=data,
            seeds=seeds,
            leave=False,
            verify=True,
            callback=callback,
        ).best


def _answer(model: nn.Module, image: Tensor) -> Tensor:
    """What the victim says of the generator's image."""
    try:
        return predict(model, image)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the victim does not take the generator's images, which have shape {tuple(image.shape[1:])}: "
            f"{str(error).partition(chr(10))[0]}"
        ) from error
