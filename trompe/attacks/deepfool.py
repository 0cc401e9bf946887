"""DeepFool: steps to the nearest of the linearised boundaries."""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trompe.attacks.base import ClassifierAttack
from trompe.attacks.minimal import ranking
from trompe.core.errors import UserError
from trompe.core.geometry import Ball, norm, per_example
from trompe.core.protocols import Region
from trompe.core.search import Evaluation, Objective, search

__all__ = ["DeepFool"]

_TINY = 1e-12
# How much longer steps are, so that boundaries are crossed: far from them, and near.
_LEAST, _NUDGE = 1e-6, 1e-4
_FURTHER = 1e-3  # the perturbation of a refuted claim grows by this share, beside the overshoot


@dataclass(frozen=True)
class DeepFool(ClassifierAttack):
    """The nearest linearised boundary, again and again (Moosavi-Dezfooli et al. 2016, algorithm 2).

    With `f_k = z_y - z_k` and gradient `w_k`, the step goes to the class that minimises `|f_k| / ||w_k||_q`
    and has that length in the norm p (q its dual): `r = |f_k| / ||w_k||_2^2 w_k` for L2,
    `r = |f_k| / ||w_k||_1 sign(w_k)` for Linf. The iterate is `x + (1 + overshoot) * sum of steps`, clipped
    to the domain: `x` stays the reference, and the overshoot is not compounded. The label takes the place
    of the model's first answer, so that inputs that are misclassified already come back unchanged. Pixels at
    the edge of the box count only while the boundary is far (`Nearest` says how).

    Args:
        norm: `"L2"` or `"Linf"`, the distance that is made small.
        steps: the most steps of one example; it leaves as soon as it is adversarial.
        candidates: how many of the likeliest classes are looked at, the input's own among them; None for all.
            A gradient is spent on each of the others, so four candidates cost a third of ten.
        overshoot: how far beyond the linearised boundary, as a share of the perturbation.
        targeted: `y` are targets; the boundary is then the one between the target and its strongest rival.

    >>> flat = torch.nn.Flatten().eval()
    >>> x = torch.tensor([[[[0.6, 0.2]]]])
    >>> DeepFool(overshoot=0.0)(flat, x, torch.tensor([0])).flatten().round(decimals=4)
    tensor([0.4000, 0.4000])
    """

    norm: Literal["L2", "Linf"] = "L2"
    steps: int = field(default=50, kw_only=True)
    candidates: int | None = field(default=None, kw_only=True)
    overshoot: float = field(default=0.02, kw_only=True)

    def __post_init__(self) -> None:
        if self.norm not in ("L2", "Linf"):
            raise UserError(f"norm must be L2 or Linf, got {self.norm!r}")
        if self.steps < 1 or not self.overshoot >= 0:
            raise UserError("steps must be at least 1, and overshoot zero or more")
        if self.candidates is not None and self.candidates < 2:
            raise UserError(f"candidates must be at least 2, got {self.candidates}")

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """Search with one function per rival class."""
        return search(
            rivals(self.norm, self.candidates, self.targeted),
            model,
            x,
            Nearest(self.norm, self.overshoot),
            steps=self.steps,
            region=self.domain.region(x),
            data={"x": x, "y": y},
            seeds=seeds,
        ).best


def rivals(kind: Literal["L2", "Linf"], candidates: int | None, targeted: bool) -> Objective:
    """The objective: the leads `z_y - z_k` over the likeliest rivals, `(B, K)`.

    Targeted it is the target's lag behind the strongest rival, `(B, 1)`.
    """

    def objective(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        logits, own = model(v), data["y"][:, None]
        others = logits.scatter(1, own, -torch.inf)
        count = logits.shape[1] - 1 if candidates is None else min(candidates, logits.shape[1]) - 1
        top = others.topk(1 if targeted else count, dim=1).values
        lead = logits.gather(1, own) - top
        loss = -lead if targeted else lead
        excess = loss.detach()[:, 0]
        score = ranking(norm(v.detach() - data["x"], kind), excess)
        return Evaluation(loss, score, score < 0)

    return objective


@dataclass(frozen=True)
class Nearest:
    """The rule of DeepFool as a solver.

    While an example is far from its boundary the whole slope counts, and what leaves the region is cut off:
    the steps fall short, and more gradients guide them. Within a fifth of its first lead only coordinates
    that the region lets move count, so that the rest of the way takes one or two steps, not dozens.
    """

    norm: Literal["L2", "Linf"]
    overshoot: float
    near: float = 0.2

    def start(self, v: Tensor) -> Any:
        """The clean input, the sum of the steps so far, and the first lead."""
        first = torch.full((len(v),), torch.inf, dtype=v.dtype, device=v.device)
        return {"x": v, "total": torch.zeros_like(v), "first": first}

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
        """One step onto the nearest boundary."""
        lead = seen.loss[:, 0]
        first = lead if number == 0 else state["first"]
        near = lead <= self.near * first
        if bool(near.any()):
            grad = torch.where(per_example(near, grad), _movable(v, grad, region), grad)
        slope, length = self._nearest(grad, seen.loss)
        length = length + torch.where(near, _NUDGE, _LEAST).to(v.dtype)
        moved = state["total"] - per_example(length, v) * slope
        # Who leads no more and is still here is tied, or was refuted in full precision: go further.
        further = (1 + self.overshoot + _FURTHER) * state["total"]
        moved = torch.where(per_example(lead <= 0, v), further, moved)
        ahead = region.project(torch.add(state["x"], moved, alpha=1 + self.overshoot))
        real = (ahead - state["x"]) / (1 + self.overshoot)
        moved = torch.where(per_example(near, v), real, moved)
        return ahead, {"x": state["x"], "total": moved, "first": first}

    def _nearest(self, grad: Tensor, leads: Tensor) -> tuple[Tensor, Tensor]:
        """The direction of norm one to the nearest boundary `(B, *)`, and the distance `(B,)`."""
        slopes = grad.flatten(2)
        size = slopes.norm(dim=2) if self.norm == "L2" else slopes.abs().sum(2)
        distance, which = (leads.abs() / size.clamp_min(_TINY)).min(1)
        slope = grad[torch.arange(len(grad), device=grad.device), which]
        return Ball(1.0, self.norm).steepest(slope), distance


def _movable(v: Tensor, grad: Tensor, region: Region) -> Tensor:
    """The slopes `(B, K, *)` in the coordinates in which a step down is not stopped by the region."""
    tiny = 1e-3 * (1 + v.abs())
    free = [region.project(v - slope.sign() * tiny) != v for slope in grad.unbind(1)]
    return grad * torch.stack(free, 1)
