"""Moving the code of an image to another class: image transition, and what Type I attacks share with it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.attacks.base import Attack
from trompe.attacks.minimal import ranking
from trompe.attacks.trajectories import Callback, Recorder, Trajectory, evenly
from trompe.core import random
from trompe.core.checks import check_labels, check_logits
from trompe.core.domains import Box
from trompe.core.errors import UserError
from trompe.core.execution import predict, working_copies
from trompe.core.geometry import per_example
from trompe.core.losses import cross_entropy
from trompe.core.protocols import Region
from trompe.core.search import Evaluation, Solver, search
from trompe.core.solvers import Adam

__all__ = ["Content", "ImageTransition"]

TARGETS = ("next", "random", "least-likely")
_TARGET = 2**38  # the draw by which random targets are chosen; starts are drawn at 0
_FREE = Box(-torch.inf, torch.inf)


@dataclass(frozen=True)
class Content:
    """A solver whose examples leave some steps after their first success: a score below zero.

    Args:
        solver: the rule of descent.
        patience: how many steps an example goes on; None keeps all to the end.
    """

    solver: Solver
    patience: int | None

    def start(self, v: Tensor) -> Any:
        """The solver's own state, and the steps since the first success."""
        return {"inner": self.solver.start(v), "since": v.new_zeros(len(v), dtype=torch.int64)}

    def settled(self, seen: Evaluation, state: Any, number: int, total: int) -> Tensor | None:
        """Who has gone on for long enough."""
        if self.patience is None or number < self.patience:
            return None
        done: Tensor = state["since"] >= self.patience
        return done

    def step(
        self,
        v: Tensor,
        grad: Tensor,
        seen: Evaluation,
        state: Any,
        region: Region,
        number: int,
        total: int,
    ) -> tuple[Tensor, Any]:
        """One step of the solver."""
        v, inner = self.solver.step(v, grad, seen, state["inner"], region, number, total)
        begun = (state["since"] > 0) | (seen.score < 0)
        return v, {"inner": inner, "since": state["since"] + begun}


class Scene(nn.Module):
    """The attacker's network and the victim, searched through as one model."""

    def __init__(self, svae: nn.Module, victim: nn.Module) -> None:
        super().__init__()
        self.svae, self.victim = svae, victim


@dataclass(frozen=True)
class ImageTransition(Attack):
    r"""Make an image of another class by moving its code (Tang et al. 2019, section III-B).

    .. math::
        J_{IT}(z) = -\log f_2(y'|z) + \alpha D(z) + \gamma \|z\|_2

    is minimised by Adam from the code's mean; `f_2` is the label head of a supervised VAE, handed in by
    `using(svae=...)`, and the image is what its decoder makes of the code. No victim is deceived: `model` is
    asked for least likely targets only, and may be any classifier.

    The search ranks iterates by J_IT among those that the label head gives to the target with probability
    `sure`; an example leaves `patience` steps after it first got there. An iterate that convinces the label
    head need not be another digit to anybody else: of `looks` codes on the way, and the best, that one is
    returned whose image, encoded again, is the target most surely.

    Where we depart from the paper: D is the discriminator's cross-entropy (the authors' program; the text's
    `1 - f_dis(z)` is `realness="linear"`), and the label's cross-entropy has the minus sign that one line of
    the text lacks. The paper takes 20,000 steps of 0.005 and returns the last iterate; in a few hundred the
    code stops where the label head is just convinced, unless its logits are divided by a temperature: the
    paper's is 1. Its program has a gamma of 5e-4 for this task.

    Args:
        target: the class to reach: `"next"` (the present one plus one, the last to 0), `"random"`,
            `"least-likely"` (of the victim, the present one apart), or a class number for all.
        steps: gradients per example.
        lr: Adam's step, in standard deviations of the prior.
        alpha: weight of the discriminator's loss; 0 leaves the discriminator out.
        gamma: weight of the code's norm.
        realness: the discriminator's loss: `"bce"`, `-log f_dis(z)`, or `"linear"`, `1 - f_dis(z)`.
        start: at the code's `"mean"`, or at a `"random"` draw of the prior, which forgets the image.
        temperature: by which the logits of the label head are divided in what is descended.
        sure: the probability of the target at which the label head counts as convinced.
        looks: how many codes on the way are looked back at; 0 returns the best by J_IT.
        patience: steps after its first success at which an example leaves; None spends all steps on all.

    Raises:
        UserError: settings out of range, an unknown target, a target that is the present class, no SVAE, or
            one that does not fit the images or labels.

    >>> from trompe.models import SVAE, SVAEConfig
    >>> svae = SVAE(SVAEConfig.sized((1, 8, 8), 10)).eval()
    >>> attack = ImageTransition(steps=2).using(svae=svae)
    >>> victim, x = torch.nn.Flatten().eval(), torch.rand(2, 1, 8, 8)
    >>> attack(victim, x, torch.tensor([3, 9])).shape
    torch.Size([2, 1, 8, 8])
    >>> attack.targets(victim, x, torch.tensor([3, 9]))
    tensor([4, 0])
    """

    target: str | int = field(default="next", kw_only=True)
    steps: int = field(default=250, kw_only=True)
    lr: float = field(default=0.1, kw_only=True)
    alpha: float = field(default=0.01, kw_only=True)
    gamma: float = field(default=1e-4, kw_only=True)
    realness: Literal["bce", "linear"] = field(default="bce", kw_only=True)
    start: Literal["mean", "random"] = field(default="mean", kw_only=True)
    temperature: float = field(default=5.0, kw_only=True)
    sure: float = field(default=0.9, kw_only=True)
    looks: int = field(default=25, kw_only=True)
    patience: int | None = field(default=50, kw_only=True)

    def __post_init__(self) -> None:
        if str(self.target).isdigit():
            object.__setattr__(self, "target", int(self.target))
        elif self.target not in TARGETS:
            raise UserError(
                f"target must be a class number or one of {', '.join(TARGETS)}, got {self.target!r}"
            )
        if self.steps < 1 or not self.lr > 0 or (self.patience is not None and self.patience < 1):
            raise UserError("steps and patience must be at least 1, and lr above 0")
        if not (self.alpha >= 0 and self.gamma >= 0 and 0 < self.sure < 1):
            raise UserError("alpha and gamma must be zero or more, and sure between 0 and 1")
        if not self.temperature > 0 or self.looks < 0:
            raise UserError("temperature must be above 0, and looks zero or more")
        if self.realness not in ("bce", "linear"):
            raise UserError(f"realness must be bce or linear, got {self.realness!r}")
        if self.start not in ("mean", "random"):
            raise UserError(f"start must be mean or random, got {self.start!r}")

    def targets(
        self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor | None = None
    ) -> Tensor:
        """The classes `(B,)` that a call with the same arguments would aim at."""
        with torch.no_grad(), working_copies():
            x, y, seeds = self.admitted(model, x, y, seeds)
            return self._targets(model, x, y, seeds)

    def trace(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        seeds: Tensor | None = None,
        at: Sequence[int] | None = None,
    ) -> Trajectory:
        """The attack with its way: images at some steps and the losses at all.

        Args:
            at: the steps whose images are kept; by default ten, evenly spread.
        """
        with torch.no_grad(), working_copies():
            x, y, seeds = self.admitted(model, x, y, seeds)
            recorder = Recorder(len(x), self.steps, evenly(self.steps, 9) if at is None else at)
            best = self._found(model, x, y, seeds, recorder)
            return recorder.trajectory(self._image, best, self._targets(model, x, y, seeds))

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """The SVAE fits the images; labels are classes of its label head."""
        svae: Any = self.network("svae")
        if svae.training:
            raise UserError("the SVAE is in train mode; call svae.eval() first")
        missing = [n for n in ("encode_mean", "decode", "classify", "discriminate", "prior")
                   if not hasattr(svae, n)]  # fmt: skip
        if missing:
            raise UserError(
                f"{type(svae).__name__} has no {', '.join(missing)}: a Type I attack needs a supervised VAE, "
                "such as zoo.get('mnist-svae')"
            )
        try:
            code = svae.encode_mean(x[:1])
            shape = tuple(svae.decode(code).shape[1:])
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"the SVAE does not take images of shape {tuple(x.shape[1:])}: "
                f"{str(error).partition(chr(10))[0]}"
            ) from error
        if shape != tuple(x.shape[1:]):
            raise UserError(
                f"the SVAE makes images of shape {shape}, but the inputs have {tuple(x.shape[1:])}"
            )
        if y is None:
            raise UserError("a Type I attack needs the present labels: attack(model, x, y)")
        return check_labels(y, len(x), self._classes(x)).to(x.device)

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """One search among codes; the image of the best."""
        return self._image(self._found(model, x, y, seeds))

    def objective(self, model: Any, z: Tensor, data: Any) -> Evaluation:
        """J_IT, and what is left to convince the label head."""
        transition, terms = self.transition(model.svae, z, data)
        return judged(transition, transition, self.unsure(terms), terms)

    def unsure(self, terms: dict[str, Tensor]) -> Tensor:
        """By how much the label head's loss is above that of one who is sure."""
        return terms["label"] + math.log(self.sure)

    def transition(self, svae: Any, z: Tensor, data: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """J_IT `(B,)`, and of its terms the label's cross-entropy and the discriminator's loss."""
        logits = svae.classify(z)
        label = cross_entropy(logits, data["target"])
        published = self.temperature == 1
        pull = label if published else cross_entropy(logits / self.temperature, data["target"])
        loss = torch.add(pull, torch.linalg.vector_norm(z.flatten(1), dim=1), alpha=self.gamma)
        terms = {"label": label}
        if self.alpha:
            logit = svae.discriminate(z)
            unreal = F.softplus(-logit) if self.realness == "bce" else torch.sigmoid(-logit)
            terms["discriminator"] = unreal
            loss = torch.add(loss, unreal, alpha=self.alpha)
        return loss, terms

    def memory(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """What the objective finds in its data besides the target."""
        return {}

    def _found(
        self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor, *callbacks: Callback
    ) -> Tensor:
        """The codes that one search comes upon, the best of those it was asked to look back at."""
        svae = self.network("svae")
        data = {"target": self._targets(model, x, y, seeds), **self.memory(model, x, y)}
        way = Recorder(len(x), self.steps, evenly(self.steps, self.looks)) if self.looks else None

        def note(step: int, rows: Tensor, z: Tensor, seen: Evaluation) -> None:
            for callback in (way, *callbacks):
                if callback is not None:
                    callback(step, rows, z, seen)

        best = search(
            self.objective,
            Scene(svae, model),
            self._first(svae, x, seeds),
            Content(Adam(self.lr), self.patience),
            steps=self.steps,
            region=_FREE,
            data=data,
            seeds=seeds,
            leave=False,
            verify=not self.looks,  # the look back is in full precision
            callback=note,
        ).best
        return best if way is None else self._reread(model, data, [*way.codes, best])

    def _reread(self, model: nn.Module, data: Any, codes: list[Tensor]) -> Tensor:
        """The one of each example's codes whose image, encoded again, is the target most surely."""
        svae: Any = self.network("svae")
        best, least = codes[0], torch.full_like(codes[0].flatten(1)[:, 0], torch.inf)
        for z in codes:
            image = self._image(z)
            again = cross_entropy(svae.classify(svae.encode_mean(image)), data["target"])
            unsure = cross_entropy(svae.classify(z), data["target"]) + math.log(self.sure)
            score = ranking(again, self.lacking(model, image, data, unsure))
            best = torch.where(per_example(score < least, z), z, best)
            least = torch.minimum(score, least)
        return best

    def lacking(self, model: nn.Module, image: Tensor, data: Any, unsure: Tensor) -> Tensor:
        """How much is left to success `(B,)`, where the label head lacks so much: below zero nothing."""
        return unsure

    def _first(self, svae: Any, x: Tensor, seeds: Tensor) -> Tensor:
        """The code's mean, or a draw of the prior."""
        mean: Tensor = svae.encode_mean(x)
        if self.start == "mean":
            return mean
        with random.streams(seeds):
            noise = random.normal(tuple(mean.shape), mean)
        drawn: Tensor = svae.prior.mean + svae.prior.stddev * noise
        return drawn

    def _image(self, z: Tensor) -> Tensor:
        svae: Any = self.network("svae")
        return self.domain.project(svae.decode(z))

    def _classes(self, x: Tensor) -> int:
        svae: Any = self.network("svae")
        return int(svae.classify(svae.encode_mean(x[:1])).shape[1])

    def _targets(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """The class that each example is to become."""
        classes = self._classes(x)
        if isinstance(self.target, int):
            goal = torch.full_like(y, self.target)
            if self.target >= classes:
                raise UserError(
                    f"target must lie in 0..{classes - 1} for an SVAE of {classes} classes, got {self.target}"
                )
            same = int((goal == y).sum())
            if same:
                raise UserError(
                    f"{same} of {len(y)} inputs are of class {self.target} already: leave them out, "
                    "or choose another target"
                )
            return goal
        if self.target == "next":
            return (y + 1) % classes
        if self.target == "random":
            with random.streams(seeds, _TARGET):
                share = random.uniform((len(y),), x.new_empty(0, dtype=torch.float64))
            return (y + 1 + (share * (classes - 1)).long()) % classes
        return self._least_likely(model, x, y, classes)

    def _least_likely(self, model: nn.Module, x: Tensor, y: Tensor, classes: int) -> Tensor:
        logits = check_logits(predict(model, x), len(x))
        if logits.shape[1] != classes:
            raise UserError(
                f"least-likely asks the victim, whose {logits.shape[1]} outputs are not the {classes} "
                "classes of the SVAE: take next or random"
            )
        return logits.scatter(1, y[:, None], torch.inf).argmin(1)


def judged(loss: Tensor, quality: Tensor, excess: Tensor, terms: dict[str, Tensor]) -> Evaluation:
    """The evaluation of iterates that succeed where `excess < 0`, and are then ranked by their quality."""
    score = ranking(quality.detach(), excess.detach())
    return Evaluation(loss, score, score < 0, terms)
