"""How far an input can be moved before an autoencoder's output leaves a ball: the r-robustness margin.

It is found per example by bisection over the radius, with the strongest change of the output that a
search finds at each radius, judged on fresh draws of the posterior.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from trompe.attacks.autoencoder import OutputAttack
from trompe.core import random
from trompe.core.checks import posterior
from trompe.core.domains import Box, Images, Near
from trompe.core.errors import UserError
from trompe.core.execution import spend, working_copies
from trompe.core.geometry import Ball, Norm, per_example
from trompe.core.geometry import norm as size_of
from trompe.core.objective import Evaluation
from trompe.core.protocols import Domain, PointMass
from trompe.core.search import search
from trompe.evaluation.outcomes import REPORT
from trompe.evaluation.records import wilson

__all__ = ["Margin", "margin", "within"]

_MOST = 4  # times `draws` is the most that one decision takes
_AT_ONCE = 16  # draws decoded together


class Margin(NamedTuple):
    """The margin of each example, `(B,)` each, in the norm asked for.

    Args:
        value: the middle of the bracket; infinite where nothing breaks the example.
        low: the largest radius at which the search broke nothing.
        high: the norm of the smallest change found that breaks the example; infinite where none does.
        adversarial: the input so changed, `(B, *)`; the input itself where none does.
    """

    value: Tensor
    low: Tensor
    high: Tensor
    adversarial: Tensor


def margin(
    model: nn.Module,
    x: Tensor,
    r: float | Tensor,
    *,
    norm: Norm = "L2",
    steps: int = 25,
    restarts: int = 2,
    rounds: int = 8,
    draws: int = 64,
    search_draws: int = 8,
    domain: Domain | None = None,
    seeds: Tensor | None = None,
) -> Margin:
    r"""The r-robustness margin: the largest radius in which the output stays within `r` more often than not.

    .. math:: R^r(x) = \sup\{\rho : P(\|g(x + \delta) - g(x)\|_2 \le r) > 1/2
        \;\text{for all}\; \|\delta\| \le \rho\}

    with `g(x) = decode(z)`, `z ~ q(z|x)`, drawn anew on both sides (Camuto et al. 2021). Of a deterministic
    autoencoder the probability is 0 or 1, and the margin that of a plain Lipschitz question. An example whose
    own two draws lie further apart than `r` half of the time has margin 0.

    A search may miss the worst change: `high` is an **upper bound** of the true margin, but for the error of
    the draws, and `low` is no proof. At each radius the search raises the mean of
    `||g(x + delta) - E g(x)||^2` over a few fixed draws, from the last round's direction and from random
    points. Whether that breaks the example is decided on `draws` fresh draws, and on up to four times as
    many while their 95% interval contains one half.

    Args:
        model: an autoencoder in eval mode, with `encode` and `decode`: ours, or the user's in an adapter.
        x: inputs `(B, *)` of the domain.
        r: the distance between outputs (L2, in units of the output), one number or `(B,)`.
        norm: of the change of the input.
        steps, restarts: gradients and starts of the search at each radius.
        rounds: radii tried for each example: doubled from `r` while nothing breaks, then halved between.
        draws: of both outputs, to decide; never those of the search.
        search_draws: averaged in the loss that is searched. Without them it would follow the mean code alone
            and not see the posterior widen: margins came out a tenth larger on a VAE of digits.
        domain: what an input is; images in [0, 1] unless told otherwise.
        seeds: `(B,)`, the examples' streams.

    Raises:
        UserError: an `r` that is not positive, settings below 1, a model in train mode or no autoencoder.

    >>> from trompe.core.domains import Vectors
    >>> class Double(nn.Module):
    ...     def encode(self, x): return PointMass(2 * x)
    ...     def decode(self, z): return z
    >>> found = margin(Double().eval(), torch.ones(1, 3), 1.0, domain=Vectors(), rounds=12)
    >>> bool(found.low <= 0.5), round(float(found.high), 3)
    (True, 0.5)
    """
    domain = Images() if domain is None else domain
    level = _checked(model, x, r, domain)
    seeds = random.seeds(0, len(x)) if seeds is None else seeds
    plan = _Plan(model, domain, Ball(1.0, norm), steps, restarts, draws, search_draws)
    plan.check(rounds)
    with torch.no_grad(), working_copies():
        return _bisected(plan, x.detach(), level, seeds.to(x.device), rounds)


def _checked(model: nn.Module, x: Tensor, r: float | Tensor, domain: Domain) -> Tensor:
    domain.validate(x)
    if model.training:
        raise UserError("the model is in train mode; call model.eval() before measuring it")
    if not hasattr(model, "decode"):
        raise UserError(f"{type(model).__name__} has no decode(z); wrap it in an adapter")
    level = torch.as_tensor(r, dtype=x.dtype, device=x.device)
    if level.shape not in ((), (1,), (len(x),)):
        raise UserError(
            f"expected r as a number or one for each of {len(x)}, got {tuple(level.shape)}"
        )
    level = level.expand(len(x))
    if not bool((level > 0).all()):
        raise UserError(f"the distance r between outputs must be positive, got {r}")
    return level


@dataclass(frozen=True)
class _Plan:
    """What is the same for all examples and radii."""

    model: Any
    domain: Domain
    unit: Ball
    steps: int
    restarts: int
    draws: int
    search_draws: int

    def check(self, rounds: int) -> None:
        """All counts are of something."""
        if min(self.steps, self.restarts, self.draws, self.search_draws, rounds) < 1:
            raise UserError("steps, restarts, rounds, draws and search_draws must be at least 1")


def _bisected(plan: _Plan, x: Tensor, level: Tensor, seeds: Tensor, rounds: int) -> Margin:
    """Each example's own bracket, all of them searched together."""
    most = _farthest(plan, x)
    low, high = torch.zeros_like(level), torch.full_like(level, torch.inf)
    high[within(plan.model, x, x, level, draws=plan.draws, seeds=seeds) * 2 <= 1] = 0.0
    found, last, radius = x.clone(), x, torch.minimum(level, most)
    for turn in range(rounds):
        rows = ((low < high) & (low < most)).nonzero()[:, 0]
        if len(rows) == 0:
            break
        part = x[rows], level[rows], seeds[rows]
        v = _attacked(plan, *part, radius[rows], last[rows], turn)
        share = within(
            plan.model, *part[:1], v, part[1], draws=plan.draws, seeds=part[2], turn=turn + 1
        )
        broken, size = share * 2 <= 1, size_of(v - x[rows], plan.unit.norm)
        last = last.index_copy(0, rows, v)
        found = found.index_copy(0, rows, torch.where(per_example(broken, v), v, found[rows]))
        high[rows] = torch.where(broken, size, high[rows])
        low[rows] = torch.where(broken, torch.minimum(low[rows], size), radius[rows])
        radius = torch.where(high.isinf(), torch.minimum(2 * radius, most), (low + high) / 2)
    return Margin((low + high) / 2, low, high, found)


def _farthest(plan: _Plan, x: Tensor) -> Tensor:
    """The norm of the largest change that the domain allows, `(B,)`."""
    low, high = _edges(plan, x)
    return size_of(torch.maximum(x - low, high - x), plan.unit.norm)


def _edges(plan: _Plan, x: Tensor) -> tuple[Tensor, Tensor]:
    """The box that inputs lie in; infinite for plain vectors."""
    box = plan.domain.region(x)
    if not isinstance(box, Box):
        raise UserError(f"a margin needs a domain that is a box or everything, got {plan.domain}")
    return (torch.as_tensor(edge, dtype=x.dtype, device=x.device) for edge in (box.low, box.high))  # type: ignore[return-value]


def _attacked(
    plan: _Plan, x: Tensor, level: Tensor, seeds: Tensor, radius: Tensor, last: Tensor, turn: int
) -> Tensor:
    """The inputs within each example's own radius whose reconstructions are farthest from the clean mean.

    Searched in units of the radius, so that one ball and one step length serve all. Without a posterior to
    draw from, an example leaves as soon as it is broken.
    """
    unit, scale = plan.unit, per_example(radius, x)
    edges = [(edge - x) / scale for edge in _edges(plan, x)]
    boxed = edges if bool(edges[0].isfinite().all()) else []
    clean, noise, exact = _clean(plan, x, seeds, turn)
    enough = level.square() if exact else torch.full_like(level, torch.inf)
    region = Near(torch.zeros_like(x), unit, *boxed)
    data = {"x": x, "scale": scale, "clean": clean, "noise": noise, "enough": enough}
    data |= {"last": (last - x) / scale, "region": region}  # type: ignore[dict-item]

    def start(data: Any, seeds: Tensor, restart: int) -> Tensor:
        """The last round's direction, where there is one, and then random points."""
        point = unit.sample(data["last"], seeds + turn * plan.restarts + restart)
        length = per_example(size_of(data["last"], unit.norm), point)
        if restart == 0:
            point = torch.where(length > 0, data["last"] / length.clamp_min(1e-12), point)
        moved: Tensor = data["region"].project(point)
        return moved

    found = search(
        _objective,
        plan.model,
        start,
        OutputAttack(unit, targeted=False).rule(),
        steps=plan.steps,
        region=region,
        data=data,
        seeds=seeds,
        restarts=plan.restarts,
    )
    return plan.domain.project(x + scale * found.best)


def _clean(plan: _Plan, x: Tensor, seeds: Tensor, turn: int) -> tuple[Tensor, Tensor, bool]:
    """The mean of a few reconstructions, their noise `(B, K, *code)`, and whether the code is a point."""
    spend(forwards=len(x))
    with random.streams(seeds, turn):
        code = posterior(plan.model, x)
        exact = isinstance(code, PointMass)
        shape = (len(x), 1 if exact else plan.search_draws, *code.mean.shape[1:])
        noise = random.normal(shape, x)
    return _drawn(plan.model, code, noise).mean(1), noise, exact


def _drawn(model: Any, code: Distribution, noise: Tensor) -> Tensor:
    """Reconstructions with this noise, `(B, K, *)`."""
    z = code.mean[:, None] + code.stddev[:, None] * noise
    decoded: Tensor = model.decode(z.flatten(0, 1))
    return decoded.view(*noise.shape[:2], *decoded.shape[1:])


def _objective(model: nn.Module, u: Tensor, data: Any) -> Evaluation:
    """Away from the mean clean reconstruction, on fixed draws."""
    code = posterior(model, data["x"] + data["scale"] * u)
    away = _drawn(model, code, data["noise"]) - data["clean"][:, None]
    far = away.flatten(2).square().sum(2).mean(1)
    return Evaluation(-far, -far.detach(), far.detach() > data["enough"])


def within(
    model: Any,
    x: Tensor,
    v: Tensor,
    r: Tensor,
    *,
    draws: int,
    seeds: Tensor,
    turn: int = 0,
) -> Tensor:
    """An estimate of `P(||g(v) - g(x)|| <= r)`, `(B,)`, on draws that only this `turn` uses.

    `draws` pairs for each example, and up to four times as many where the 95% interval contains one half.
    """
    share, wins = torch.zeros_like(r), torch.zeros_like(r)
    rows, total = torch.arange(len(x), device=x.device), 0
    for block in range(_MOST):
        with random.streams(seeds[rows], REPORT + (turn << 20)):
            spend(forwards=2 * len(rows))
            code = posterior(model, torch.cat([x[rows], v[rows]]))
        count = 1 if isinstance(code, PointMass) else draws
        for at in range(0, count, _AT_ONCE):
            number = REPORT + (turn << 20) + 1 + block * draws + at
            some = min(_AT_ONCE, count - at)
            with random.streams(seeds[rows], number):
                noise = random.normal((2 * len(rows), some, *code.mean.shape[1:]), x)
                clean, moved = _drawn(model, code, noise).chunk(2)
            far = (moved - clean).flatten(2).norm(dim=2)
            wins[rows] += (far <= r[rows, None]).sum(1).to(wins)
        total += count
        share[rows] = wins[rows] / total
        edges = [wilson(k, total) for k in wins[rows].tolist()]
        open_ = torch.tensor([low < 0.5 < high for low, high in edges], device=x.device)
        rows = rows[open_ & (count > 1)]
        if len(rows) == 0:
            break
    return share
