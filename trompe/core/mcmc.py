"""Hamiltonian Monte Carlo: draws from a density known up to a factor, one chain for each example.

Every row of a batch is a chain of its own, with a step size of its own. Its momenta, its steps and its
acceptances come from the ambient streams of `trompe.core.random`, so that a chain makes the same moves
alone and in a batch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.geometry import per_example

__all__ = ["Chains", "Density", "State", "hmc", "leapfrog", "start", "transition"]

Density = Callable[[Tensor], Tensor]
"""`log_density(z) -> (B,)` of points `(B, *)`, up to a constant for each row; differentiable."""


@dataclass(frozen=True)
class State:
    """Where the chains are: points `(B, *)`, their log densities `(B,)`, and its gradients `(B, *)`."""

    z: Tensor
    log_density: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Chains:
    """What the chains visited.

    Attributes:
        samples: `(S, B, *)`.
        acceptance: the share of proposals accepted after the warm-up, `(B,)`.
        step_size: to which the warm-up led, `(B,)`.
    """

    samples: Tensor
    acceptance: Tensor
    step_size: Tensor


def start(log_density: Density, z: Tensor) -> State:
    """The state at the points `z` `(B, *)`; no gradient is left behind on anything."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = log_density(z)
        (gradient,) = torch.autograd.grad(value.sum(), z)
    return State(z.detach(), value.detach(), gradient)


def leapfrog(
    log_density: Density, state: State, momentum: Tensor, step_size: Tensor, steps: int
) -> tuple[State, Tensor]:
    r"""Follow Hamilton's equations of `H = -log p(z) + |r|^2 / 2` by leapfrog steps.

    .. math::
        r \leftarrow r + \tfrac{\epsilon}{2} \nabla \log p(z), \quad z \leftarrow z + \epsilon r, \quad
        r \leftarrow r + \tfrac{\epsilon}{2} \nabla \log p(z)

    The map is reversible, preserves volume, and changes H by O(epsilon^2) (Neal 2011, section 2.3).

    Args:
        momentum: r `(B, *)`.
        step_size: epsilon of each chain, `(B,)`.
        steps: how many; each costs one gradient.

    Returns:
        The state at the end, and the momentum there.

    >>> here = start(lambda z: -0.5 * z.square().sum(1), torch.ones(1, 2))
    >>> there, r = leapfrog(lambda z: -0.5 * z.square().sum(1), here, -here.z, torch.tensor([0.1]), 5)
    >>> back, _ = leapfrog(lambda z: -0.5 * z.square().sum(1), there, -r, torch.tensor([0.1]), 5)
    >>> bool(torch.allclose(back.z, here.z))
    True
    """
    size = per_example(step_size, state.z)
    for _ in range(steps):
        momentum = momentum + 0.5 * size * state.gradient
        state = start(log_density, state.z + size * momentum)
        momentum = momentum + 0.5 * size * state.gradient
    return state, momentum


def transition(
    log_density: Density, state: State, step_size: Tensor, steps: int = 10, jitter: float = 0.2
) -> tuple[State, Tensor]:
    """One Metropolis step along a trajectory with a fresh momentum; the density is left invariant.

    Draws, in this order: the momentum, the step (`step_size` times a uniform number in 1 +- `jitter`, which
    no orbit of the trajectory's length can withstand: Neal 2011, section 3.2), the acceptance.

    Returns:
        The next state, and the probability `(B,)` with which the proposal was to be accepted:
        `min(1, exp(H - H'))`, zero where the trajectory left the finite numbers.
    """
    momentum = random.normal(tuple(state.z.shape), state.z)
    spread = 2 * random.uniform((len(state.z),), state.z) - 1
    found, final = leapfrog(log_density, state, momentum, step_size * (1 + jitter * spread), steps)
    gained = found.log_density - _kinetic(final) - state.log_density + _kinetic(momentum)
    probability = gained.nan_to_num(-math.inf, -math.inf, -math.inf).clamp(max=0).exp()
    accepted = random.uniform((len(state.z),), state.z) < probability
    return _chosen(accepted, found, state), probability


def hmc(
    log_density: Density,
    z: Tensor,
    *,
    samples: int,
    warmup: int = 100,
    steps: int = 10,
    step_size: float | Tensor = 0.1,
    acceptance: float = 0.9,
    thin: int = 1,
) -> Chains:
    """Draw from each row's density by Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011).

    While it warms up, each chain adapts its step size until `acceptance` of its proposals are accepted
    (Robbins & Monro 1951, on the logarithm, averaged over the later half); then the step size stays.
    Kingma & Welling 2014, appendix E, tune to 90% likewise.

    Args:
        log_density: `(B, *) -> (B,)`, up to a constant for each row.
        z: where the chains begin, `(B, *)`.
        samples: states kept of each chain.
        warmup: transitions before the first of them.
        steps: leapfrog steps of a transition.
        step_size: where the adaptation begins: a number, or one of each chain `(B,)`.
        acceptance: share of accepted proposals to aim at.
        thin: transitions from one kept state to the next.

    Raises:
        UserError: a density that is not finite where a chain begins; numbers out of range.

    >>> with random.streams(random.seeds(0, 500)):
    ...     chains = hmc(lambda z: -0.5 * z.square().sum(1), torch.zeros(500, 1), samples=20, warmup=30)
    >>> chains.samples.shape, round(float(chains.samples.var()), 1)
    (torch.Size([20, 500, 1]), 1.0)
    """
    if min(samples, steps, thin) < 1 or warmup < 0 or not 0 < acceptance < 1:
        raise UserError(
            "samples, steps and thin must be at least 1, warmup at least 0, acceptance in (0, 1)"
        )
    state = start(log_density, z)
    if not bool(state.log_density.isfinite().all()):
        raise UserError("the density is not finite where the chains begin; start them elsewhere")
    size = torch.as_tensor(step_size, dtype=z.dtype, device=z.device).expand(len(z))
    state, size = _warmed(log_density, state, size, warmup, steps, acceptance)
    kept, shares = [], []
    for number in range(samples * thin):
        state, probability = transition(log_density, state, size, steps)
        shares.append(probability)
        if number % thin == thin - 1:
            kept.append(state.z)
    return Chains(torch.stack(kept), torch.stack(shares).mean(0), size)


def _warmed(
    log_density: Density, state: State, size: Tensor, warmup: int, steps: int, acceptance: float
) -> tuple[State, Tensor]:
    """The chains after their warm-up, and the step sizes that it led to."""
    log_size, total, later = size.log(), torch.zeros_like(size), warmup // 2
    for number in range(warmup):
        state, probability = transition(log_density, state, log_size.exp(), steps)
        log_size = log_size + 3 * (probability - acceptance) / math.sqrt(1 + number)
        if number >= later:
            total = total + log_size
    return state, (total / (warmup - later)).exp() if warmup else size


def _kinetic(momentum: Tensor) -> Tensor:
    return 0.5 * momentum.flatten(1).square().sum(1)


def _chosen(first: Tensor, one: State, other: State) -> State:
    where = per_example(first, one.z)
    return State(
        torch.where(where, one.z, other.z),
        torch.where(first, one.log_density, other.log_density),
        torch.where(where, one.gradient, other.gradient),
    )
