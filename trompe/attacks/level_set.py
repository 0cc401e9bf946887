"""Significant changes that a classifier does not see: moves along its level sets.

Both constructions of Tang et al. 2019, section II-B. `NullSpace` changes what a quadratic network is blind
to, in closed form; `LevelSet` follows the level set of any differentiable classifier.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from trompe.attacks.base import ClassifierAttack
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import predict, working_copies
from trompe.core.geometry import norm
from trompe.core.protocols import Region
from trompe.core.search import Evaluation, search

__all__ = ["LevelSet", "NullSpace"]

Formula = Literal["exact", "published"]
Quantity = Callable[[Tensor], Tensor]
Callback = Callable[[int, Tensor, Tensor, Evaluation], None]
_BLIND = 1e-9  # the share of a direction that must lie off the classifier's gradients to count
_FAR = 1e6  # the longest step, where a slope all but vanishes
_TRIES = 4  # to go round the edges of the domain
_THERE = 1e-4  # relatively: nearer to its goal than that, an example stands on it


@dataclass(frozen=True)
class _Between(ClassifierAttack):
    """What both share: every class has its level of a quantity, and an example goes to another class's.

    Args:
        levels: of the classes, in their order; by default the radii of the two spheres.
    """

    levels: tuple[float, ...] = field(default=(0.8, 1.0), kw_only=True)

    def __post_init__(self) -> None:
        if len(self.levels) < 2 or not all(map(math.isfinite, self.levels)):
            raise UserError(f"levels are finite numbers, one for each class, got {self.levels}")

    def goal(self, y: Tensor, now: Tensor) -> Tensor:
        """The level `(B,)` of the class after y's, or if `targeted` of y's own; `now` is where they are."""
        if (most := int(y.max())) >= len(self.levels):
            raise UserError(f"class {most} has no level: give {most + 1} levels, not {self.levels}")
        to = now.new_tensor(self.levels)[y if self.targeted else (y + 1) % len(self.levels)]
        there = ((now - to).abs() <= _THERE * to.abs()).nonzero()[:, 0].tolist()
        if there:
            raise UserError(
                f"example {there[0]} is to go to level {float(to[there[0]]):g} and is there already; "
                "is its label the class that it is of?"
            )
        return to


@dataclass(frozen=True)
class NullSpace(_Between):
    r"""Set what a quadratic network does not see so that the input gets another norm, `R`.

    In coordinates z in which :math:`f_1(x) = \sum_{i \le d} \lambda_i z_i^2 + b`, the others decide nothing:

    .. math:: z_i' = z_i \;(i \le d), \qquad z_i' = \sqrt{\Bigl(R^2 - \sum_{j \le d} z_j^2\Bigr) / (n - d)}
              \;(i > d)

    (Tang et al. 2019, section II-B, the first construction.) The answer of the network is the same, and the
    norm is R, to rounding. Where already the coordinates that are seen are longer than R, the others become
    zero: that is as near as this construction comes.

    Departure: the paper sets :math:`z_i' = \sqrt{(R^2 - r^2) / (n - d)}` with r the norm before. That forgets
    what the unseen coordinates held, and the norm that results is not R. It is `formula="published"`.

    Args:
        levels: R, the norm of each class; of two, an example of the first goes to the second, and back.
        formula: `"exact"` or `"published"`.

    Raises:
        UserError: a model without `eigen()`, one that sees every direction, an example that is there already.

    >>> from trompe.core.domains import Vectors
    >>> from trompe.models import QuadraticConfig, QuadraticNet
    >>> model, x = QuadraticNet(QuadraticConfig(4, 2)).eval(), torch.tensor([[0.8, 0.0, 0.0, 0.0]])
    >>> found = NullSpace(domain=Vectors())(model, x, torch.tensor([0]))
    >>> found.norm().round(decimals=4).item(), bool(torch.allclose(model(found), model(x), atol=1e-5))
    (1.0, True)
    """

    formula: Formula = field(default="exact", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.formula not in get_args(Formula):
            raise UserError(f"formula must be exact or published, got {self.formula!r}")

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """Rotate, set the unseen coordinates, and rotate back."""
        curvature, rotation = _eigen(model)
        unseen = curvature == 0
        if not bool(unseen.any()):
            raise UserError(
                f"the network sees all {len(unseen)} directions of its input and is blind to none; one "
                "with fewer hidden units than inputs has a null space, and LevelSet needs none"
            )
        z = x.flatten(1) @ rotation.to(x)
        now = norm(x, "L2")
        kept = z[:, ~unseen].square().sum(1) if self.formula == "exact" else now.square()
        rest = (self.goal(y, now).square() - kept).clamp_min(0) / unseen.sum()
        z = torch.where(unseen.to(x.device), rest.sqrt()[:, None], z)
        return (z @ rotation.T.to(x)).view_as(x)


def _eigen(model: nn.Module) -> tuple[Tensor, Tensor]:
    eigen = getattr(model, "eigen", None)
    if eigen is None:
        raise UserError(
            f"{type(model).__name__} has no eigen(), the axes of a quadratic form; NullSpace is for "
            "QuadraticNet, and LevelSet for any model"
        )
    return eigen()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class LevelSet(_Between):
    r"""Follow the classifier's level set in the direction that changes another quantity g the fastest.

    Each step is the shortest one that to first order keeps f_1 and brings g nearer to its goal,

    .. math:: x_{t+1} = x_t + \Delta_t \frac{P \nabla g}{\|P \nabla g\|^2}, \qquad
              P = I - \frac{\nabla f_1 \nabla f_1^T}{\|\nabla f_1\|^2}

    and takes back what the curvature of the last step added (Tang et al. 2019, section II-B, the second
    construction, with g the norm: "projecting a radial vector onto the surface"; their surface
    :math:`\nabla f_1(x) = 0` is read as the level set, to which :math:`\nabla f_1` is orthogonal). With K
    classes all K - 1 log-odds are kept: the logits are the same up to a constant.

    With an oracle's function as g this is a Type I attack, on a classifier that misses what the oracle sees;
    with the oracle as the model and a classifier's function as g it is one of Type II.

    Args:
        levels: of g for each class; an example goes to that of the class after its own.
        steps: gradients spent on each example; the last fifth of them only corrects.
        tolerance: how far from its level each function may end, relatively where the level is above one.

    Networks:
        quantity: `g(x) -> (B,)`, by `using(quantity=...)`; the Euclidean norm without one.

    Raises:
        UserError: a classifier whose gradient vanishes at every example, an example that is there already, a
            quantity that is not one number per example.

    >>> from trompe.core.domains import Vectors
    >>> model = nn.Linear(3, 2).eval()
    >>> x = torch.tensor([[0.48, 0.64, 0.0]])
    >>> found = LevelSet(domain=Vectors())(model, x, torch.tensor([0]))
    >>> found.norm().round(decimals=4).item(), bool(torch.allclose(_odds(model(found)), _odds(model(x))))
    (1.0, True)
    """

    steps: int = field(default=50, kw_only=True)
    tolerance: float = field(default=1e-6, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or not self.tolerance > 0:
            raise UserError("steps must be at least 1, and tolerance above 0")

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """One search whose functions are the log-odds and the quantity."""
        return self._follow(model, x, y, seeds)

    def trace(
        self, model: nn.Module, x: Tensor, y: Tensor, *, seeds: Tensor | None = None
    ) -> Tensor:
        """The whole way, `(steps + 1, B, *)`: the input first, and what the attack returns last."""
        self.domain.validate(x)
        seeds = random.seeds(0, len(x)) if seeds is None else seeds
        path = x.repeat(self.steps + 1, *[1] * x.ndim)

        def note(step: int, rows: Tensor, v: Tensor, seen: Evaluation) -> None:
            path[step:, rows] = v

        with torch.no_grad(), working_copies():
            y = self.check(model, x, y, seeds)
            path[-1] = self._follow(model, x, y, seeds, note)
        return path

    def _follow(
        self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor, note: Callback | None = None
    ) -> Tensor:
        g = self._networks.get("quantity", _length)
        odds, now = _odds(predict(model, x)), g(x)
        if now.shape != (len(x),):
            raise UserError(f"a quantity is one number per example, (B,), got {tuple(now.shape)}")
        data = {"odds": odds, "from": now, "to": self.goal(y, now)}
        return search(
            held(g, self.tolerance),
            model,
            x,
            Along(),
            steps=self.steps,
            region=self.domain.region(x),
            data=data,
            seeds=seeds,
            callback=note,
        ).best


def _length(x: Tensor) -> Tensor:
    return norm(x, "L2")


def _odds(logits: Tensor) -> Tensor:
    """The log-odds of every class against the first, `(B, K - 1)`."""
    return logits[:, 1:] - logits[:, :1]


def held(g: Quantity, tolerance: float) -> Callable[[nn.Module, Tensor, Any], Evaluation]:
    """The objective `(B, K)`: how far each log-odds is from where it was, and at last g from its goal."""

    def objective(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        strayed, left = _odds(model(v)) - data["odds"], g(v) - data["to"]
        loss = torch.cat([strayed, left[:, None]], 1)
        level = torch.cat([data["odds"], data["to"][:, None]], 1).abs().clamp_min(1)
        share = loss.detach().abs() / level
        way = (data["from"] - data["to"]).abs()
        score = share[:, :-1].amax(1) + left.detach().abs() / way
        return Evaluation(loss, score, (share <= tolerance).all(1))

    return objective


@dataclass(frozen=True)
class Along:
    """The rule: the shortest step that to first order brings all functions but the last to zero.

    Of the last it takes an equal part of what is left, and all of it once only corrections remain. The step
    is `J^T (J J^T)^+ r`, with the functions' gradients as the rows of J and their values as r.

    Args:
        corrections: the share of the steps, at the end, that only correct.
    """

    corrections: float = 0.2

    def start(self, v: Tensor) -> Any:
        """It remembers nothing."""
        return None

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
        """One step along the level set."""
        slopes = grad.flatten(2)
        if number == 0 and bool((slopes[:, :-1] == 0).all()):
            raise UserError(
                "the classifier's gradient is zero at every example: it has no level set to follow "
                "there, is constant, or masks its gradients"
            )
        left = max(1, math.ceil((1 - self.corrections) * total) - number)
        wanted = torch.cat([seen.loss[:, :-1], seen.loss[:, -1:] / left], 1)
        for _ in range(_TRIES):
            there = v - _shortest(slopes, wanted).view_as(v)
            inside = region.project(there)
            held_up = (inside != there).flatten(1)
            if not bool(held_up.any()):
                break
            slopes = slopes.masked_fill(held_up[:, None], 0)
        return inside, state


def _shortest(slopes: Tensor, wanted: Tensor) -> Tensor:
    """The shortest `(B, n)` whose products with the rows of `(B, K, n)` are `wanted` `(B, K)`."""
    size = slopes.norm(dim=2).clamp_min(torch.finfo(slopes.dtype).tiny)
    rows = slopes / size[:, :, None]
    blind = max(_BLIND, 10 * torch.finfo(slopes.dtype).eps)
    inverse: Tensor = torch.linalg.pinv(rows @ rows.mT, rtol=blind, hermitian=True)
    share = inverse @ (wanted / size).clamp(-_FAR, _FAR)[:, :, None]
    return torch.squeeze(rows.mT @ share, 2)
