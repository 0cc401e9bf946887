"""What a perturbation does to codes: how they turn, how far they move, how wide they all lie.

Codes are the means of the posterior, so any autoencoder can be measured: its point, or its Gaussian's centre.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trompe.attacks.singular import farther_end
from trompe.core import random
from trompe.core.checks import posterior
from trompe.core.domains import Images
from trompe.core.errors import UserError
from trompe.core.execution import spend
from trompe.core.geometry import Ball, norm
from trompe.core.jacobian import Linearised, stretched
from trompe.core.objective import Evaluation
from trompe.core.protocols import Domain
from trompe.core.search import search
from trompe.core.solvers import Steepest

__all__ = [
    "BATCH",
    "Ratio",
    "batches",
    "check_evaluated",
    "codes_of",
    "cosine",
    "diameter",
    "displacement",
    "largest_ratio",
    "local_lipschitz",
    "norm_ratio",
    "reader",
]

BATCH = 256
_UNIT = Ball(1.0, "L2")
_TINY = 1e-12


@torch.no_grad()
def codes_of(model: nn.Module, x: Tensor, *, seeds: Tensor | None = None) -> Tensor:
    """The mean codes `(B, D)` of inputs `(B, *)`, in batches.

    Args:
        model: an autoencoder in eval mode.
        x: its inputs.
        seeds: `(B,)`, of an encoder that draws.

    Raises:
        UserError: a model in train mode, without `encode`, or whose `encode` returns no distribution.

    >>> from trompe.models import AE
    >>> codes_of(AE((1, 8, 8), latent=3, hidden=(4,)).eval(), torch.rand(5, 1, 8, 8)).shape
    torch.Size([5, 3])
    """
    check_evaluated(model)
    spend(forwards=len(x))
    return torch.cat([reader(model, keys)(part) for part, keys in batches(x, seeds)])


def cosine(clean: Tensor, moved: Tensor) -> Tensor:
    r"""The cosine of the angle between two codes of each example, `(B,)`: 1 where they point the same way.

    .. math:: \frac{\langle \mu, \mu' \rangle}{\|\mu\|_2 \, \|\mu'\|_2}

    Hlihor et al. 2020, figure 5 above. The angle is seen from the origin: for codes far from it, such as a
    deterministic autoencoder's, the same displacement turns less. NaN where a code is zero.

    Args:
        clean, moved: codes `(B, D)`.

    Raises:
        UserError: codes of different shapes.

    >>> [round(float(c), 4) for c in cosine(torch.eye(2), torch.tensor([[1.0, 1.0], [0.0, 9.0]]))]
    [0.7071, 1.0]
    """
    a, b = _paired(clean, moved)
    return ((a * b).sum(1) / (norm(a, "L2") * norm(b, "L2"))).clamp(-1, 1)


def norm_ratio(clean: Tensor, moved: Tensor) -> Tensor:
    r"""How much longer a code has become, `(B,)`: `||mu'||_2 / ||mu||_2`, 1 where its length is kept.

    Hlihor et al. 2020, figure 5 below. NaN or infinite where the clean code is zero.

    Args:
        clean, moved: codes `(B, D)`.

    Raises:
        UserError: codes of different shapes.

    >>> norm_ratio(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 10.0]]))
    tensor([2.])
    """
    a, b = _paired(clean, moved)
    return norm(b, "L2") / norm(a, "L2")


def displacement(clean: Tensor, moved: Tensor) -> Tensor:
    """How far each code has moved, `(B,)`: `||mu' - mu||_2`, in the units of the code.

    Args:
        clean, moved: codes `(B, D)`.

    Raises:
        UserError: codes of different shapes.

    >>> displacement(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
    tensor([5.])
    """
    a, b = _paired(clean, moved)
    return norm(b - a, "L2")


def diameter(codes: Tensor, *, chunk: int = 512) -> float:
    r"""The largest distance between two codes of a set, exactly: `max_{i, j} ||mu_i - mu_j||_2`.

    All pairs are compared, a block of `chunk` x `chunk` at a time, but for those that cannot win: two codes
    at distances r and s from the centre are at most r + s apart. Farthest first, few blocks are left.

    A maximum grows with the size of the set: compare sets of one size.

    Args:
        codes: `(N, D)`.
        chunk: the side of a block.

    Raises:
        UserError: fewer than two codes.

    >>> angle = torch.arange(8) * torch.pi / 4
    >>> round(diameter(torch.stack([angle.cos(), angle.sin()], 1)), 4)
    2.0
    """
    if len(codes) < 2:
        raise UserError(f"a diameter is of two codes or more, got {len(codes)}")
    flat = codes.detach().flatten(1)
    flat = flat - flat.mean(0)
    radius, order = norm(flat, "L2").sort(descending=True)
    blocks, farthest = flat[order].split(chunk), radius[::chunk].tolist()
    best = 0.0
    for i, one in enumerate(blocks):
        for j in range(i, len(blocks)):
            if (farthest[i] + farthest[j]) * (1 + 1e-6) <= best:  # rounding of the radii
                break
            apart = torch.cdist(one, blocks[j], compute_mode="donot_use_mm_for_euclid_dist")
            best = max(best, float(apart.max()))
    return best


def local_lipschitz(
    model: nn.Module, x: Tensor, *, steps: int = 30, seeds: Tensor | None = None
) -> Tensor:
    r"""The largest singular value of the encoder's Jacobian at each input, `(B,)`: code units per input unit.

    .. math:: \sigma_1\!\left(\frac{\partial \mu}{\partial x}\right) =
        \lim_{\epsilon \to 0} \max_{\|\delta\|_2 \le \epsilon} \frac{\|\mu(x + \delta) - \mu(x)\|_2}{\epsilon}

    by `steps` of the power iteration on `J^T J` (`trompe.core.jacobian.stretched`), from below: what is
    returned is a stretch that some direction has. The domain is not asked: `largest_ratio` stays within it.

    Args:
        model: an autoencoder in eval mode, differentiable twice almost everywhere (ReLU is).
        x: where, `(B, *)`.
        steps: two backward passes each.
        seeds: `(B,)`, of the first direction, and of an encoder that draws.

    Raises:
        UserError: a model in train mode or no autoencoder, an encoder without a gradient path.

    >>> from trompe.core.protocols import PointMass
    >>> class Linear(nn.Module):
    ...     def encode(self, x): return PointMass(x * torch.tensor([1.0, -3.0]))
    >>> local_lipschitz(Linear().eval(), torch.rand(2, 2)).round(decimals=3)
    tensor([3., 3.])
    """
    check_evaluated(model)
    if steps < 1:
        raise UserError("steps must be at least 1")
    found = []
    for part, keys in batches(x, seeds):
        read = reader(model, keys)
        with torch.inference_mode(False):
            way = stretched(read, part, _UNIT, steps=steps, seeds=keys)
            found.append(norm(Linearised(read, part).forward(way), "L2").detach())
    return torch.cat(found)


class Ratio(NamedTuple):
    """The largest stretch that a search found near each input, `(B,)`, and where, `(B, *)`."""

    value: Tensor
    at: Tensor


def largest_ratio(
    model: nn.Module,
    x: Tensor,
    eps: float,
    *,
    steps: int = 40,
    restarts: int = 2,
    domain: Domain | None = None,
    seeds: Tensor | None = None,
) -> Ratio:
    r"""A lower bound on the encoder's Lipschitz constant near each input: the largest stretch found there.

    .. math:: \max_{\epsilon / 10 \le \|x' - x\|_2 \le \epsilon, \; x' \in \text{domain}}
        \frac{\|\mu(x') - \mu(x)\|_2}{\|x' - x\|_2}

    Ascent of its logarithm by normalised gradients, first from the end of the singular direction, then from
    random points. Unlike `local_lipschitz` it sees the curvature, and only what an attacker may reach. Nearer
    than a tenth of the radius rounding would speak, so nothing there counts.

    Args:
        model: an autoencoder in eval mode.
        x: inputs `(B, *)` of the domain.
        eps: the L2 radius, in input units.
        steps, restarts: gradients and starts of the search.
        domain: what an input is; images in [0, 1] unless told otherwise.
        seeds: `(B,)`, of the starts, and of an encoder that draws.

    Raises:
        UserError: a radius or counts that are not positive, a model in train mode or no autoencoder.

    >>> from trompe.core.domains import Vectors
    >>> from trompe.core.protocols import PointMass
    >>> class Linear(nn.Module):
    ...     def encode(self, x): return PointMass(x * torch.tensor([1.0, -3.0]))
    >>> found = largest_ratio(Linear().eval(), torch.zeros(1, 2), 0.5, domain=Vectors())
    >>> round(float(found.value), 3)
    3.0
    """
    domain = Images() if domain is None else domain
    domain.validate(x)
    check_evaluated(model)
    if not (eps > 0 and min(steps, restarts) >= 1):
        raise UserError("eps must be positive, and steps and restarts at least 1")
    keys, ball = (random.seeds(0, len(x)) if seeds is None else seeds).to(x.device), Ball(eps, "L2")
    clean, region = codes_of(model, x, seeds=keys), domain.region(x, ball)
    end = farther_end(_read, model, x, ball, region, steps=20, seeds=keys)
    found = search(
        _stretch(eps),
        model,
        _starts(ball),
        Steepest(eps / 4, ball, schedule="cosine"),
        steps=steps,
        region=region,
        data={"x": x, "clean": clean, "end": end, "region": region},
        seeds=keys,
        restarts=restarts,
    ).best
    far, way = displacement(clean, codes_of(model, found, seeds=keys)), norm(found - x, "L2")
    value = torch.where(way >= 0.1 * eps, far / way.clamp_min(_TINY), torch.nan)
    return Ratio(value, found)


def _starts(ball: Ball) -> Callable[[Any, Tensor, int], Tensor]:
    """The end of the singular direction, and then points on the sphere."""

    def start(data: Any, seeds: Tensor, restart: int) -> Tensor:
        if restart == 0:
            return data["end"]  # type: ignore[no-any-return]
        with random.streams(seeds, restart):
            way = random.normal(tuple(data["x"].shape), data["x"])
        point: Tensor = data["region"].project(data["x"] + ball.eps * ball.steepest(way))
        return point

    return start


def _stretch(eps: float) -> Callable[[nn.Module, Tensor, Any], Evaluation]:
    """Less the logarithm of the stretch; iterates too near the input rank last."""

    def objective(model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        far = displacement(data["clean"], _read(model, v))
        way = norm(v - data["x"], "L2")
        loss = way.clamp_min(_TINY).log() - far.clamp_min(_TINY).log()
        score = torch.where(way.detach() >= 0.1 * eps, loss.detach(), torch.inf)
        return Evaluation(loss, score, torch.zeros_like(score, dtype=torch.bool))

    return objective


def _read(model: nn.Module, x: Tensor) -> Tensor:
    return posterior(model, x).mean.flatten(1)


def reader(model: nn.Module, seeds: Tensor) -> Callable[[Tensor], Tensor]:
    """The mean code as a function of the input, on the same draws whenever it is asked."""

    def read(x: Tensor) -> Tensor:
        with random.streams(seeds):
            return _read(model, x)

    return read


def check_evaluated(model: nn.Module) -> None:
    if model.training:
        raise UserError("the model is in train mode; call model.eval() before measuring its codes")


def _paired(clean: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
    if clean.shape != moved.shape:
        raise UserError(
            f"got codes of {tuple(clean.shape)} and {tuple(moved.shape)}; they go in pairs"
        )
    return clean.flatten(1), moved.flatten(1)


def batches(x: Tensor, seeds: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and their seeds, `BATCH` at a time.

    Raises:
        UserError: no input.
    """
    if not len(x):
        raise UserError("there is no input to measure codes of")
    seeds = (random.seeds(0, len(x)) if seeds is None else seeds).to(x.device)
    return zip(x.split(BATCH), seeds.split(BATCH), strict=True)
