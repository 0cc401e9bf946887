"""Hamiltonian Monte Carlo against what is known exactly: energies, moments, posteriors."""

import math

import pytest
import torch
from torch import Tensor

from trompe.core import mcmc
from trompe.core.errors import UserError
from trompe.core.random import seeds, streams

SCALES = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


def gaussian(z: Tensor) -> Tensor:
    return -0.5 * (z / SCALES).square().sum(1)


def quartic(z: Tensor) -> Tensor:
    return -z.square().square().sum(1) + z.sum(1)


def points(rows: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 3, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("density", [gaussian, quartic])
def test_a_trajectory_runs_backwards_to_where_it_began(density: mcmc.Density) -> None:
    here, momentum = mcmc.start(density, points(16)), points(16, 1)
    size = torch.linspace(0.01, 0.2, 16, dtype=torch.float64)
    there, final = mcmc.leapfrog(density, here, momentum, size, 25)
    back, reversed_ = mcmc.leapfrog(density, there, -final, size, 25)
    assert torch.allclose(back.z, here.z, atol=1e-9)
    assert torch.allclose(-reversed_, momentum, atol=1e-9)


def test_the_energy_error_falls_with_the_square_of_the_step() -> None:
    here, momentum = mcmc.start(quartic, points(64)), points(64, 1)

    def error(size: float, steps: int) -> float:
        there, final = mcmc.leapfrog(
            quartic, here, momentum, torch.full((64,), size).double(), steps
        )
        energies = [
            0.5 * r.square().sum(1) - state.log_density
            for state, r in ((here, momentum), (there, final))
        ]
        return float((energies[1] - energies[0]).abs().mean())

    assert error(0.01, 20) / error(0.005, 40) == pytest.approx(4, rel=0.05)


def test_moments_of_a_gaussian_and_the_acceptance_that_was_asked_for() -> None:
    with streams(seeds(0, 400)):
        chains = mcmc.hmc(gaussian, points(400), samples=25, warmup=100)
    flat = chains.samples.flatten(0, 1)
    assert torch.allclose(flat.mean(0) / SCALES, torch.zeros(3).double(), atol=0.05)
    assert torch.allclose(flat.var(0) / SCALES.square(), torch.ones(3).double(), rtol=0.06)
    assert float(chains.acceptance.mean()) == pytest.approx(0.9, abs=0.03)


def test_coarse_steps_are_corrected_by_the_acceptance() -> None:
    """Detailed balance: with steps so long that many are refused, the moments still are exact."""
    with streams(seeds(1, 2000)):
        z = points(2000) * SCALES
        chains = mcmc.hmc(gaussian, z, samples=12, warmup=0, steps=2, step_size=0.85)
    assert 0.2 < float(chains.acceptance.mean()) < 0.95
    ratio = chains.samples[-1].var(0) / SCALES.square()
    assert torch.allclose(ratio, torch.ones(3).double(), rtol=0.12)


def test_the_posterior_of_a_linear_model_with_gaussian_noise() -> None:
    """z ~ N(0, I), x | z ~ N(Wz, v I): the mean and the covariance are known."""
    weight, v, x = points(5, 2), 0.3, points(2, 3)[:, :1].new_tensor([1.0, -0.5, 0.2, 0.8, -1.1])

    def density(z: Tensor) -> Tensor:
        return -0.5 * z.square().sum(1) - (x - z @ weight.T).square().sum(1) / (2 * v)

    precision = torch.eye(3).double() + weight.T @ weight / v
    covariance = torch.linalg.inv(precision)
    mean = covariance @ weight.T @ x / v
    with streams(seeds(2, 500)):
        flat = mcmc.hmc(density, points(500), samples=20, warmup=80).samples.flatten(0, 1)
    assert torch.allclose(flat.mean(0), mean, atol=0.03)
    assert torch.allclose(flat.T.cov(), covariance, atol=0.04 * float(covariance.diag().max()))


def test_a_chain_moves_alone_as_in_a_batch_and_leaves_no_gradient() -> None:
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)

    def density(z: Tensor) -> Tensor:
        return gaussian(z * weight)

    z, named = points(6), seeds(3, 6)
    with streams(named), torch.no_grad():
        together = mcmc.hmc(density, z, samples=3, warmup=10)
    with streams(named[4:5]):
        alone = mcmc.hmc(density, z[4:5], samples=3, warmup=10)
    assert torch.allclose(together.samples[:, 4:5], alone.samples)
    assert weight.grad is None
    assert not together.samples.requires_grad


def test_a_trajectory_that_diverges_is_refused() -> None:
    with streams(seeds(4, 8)):
        chains = mcmc.hmc(quartic, points(8), samples=2, warmup=0, step_size=1e6)
    assert torch.equal(chains.samples[0], points(8))
    assert float(chains.acceptance.max()) == 0


def test_a_start_of_no_density_is_refused() -> None:
    with pytest.raises(UserError, match="not finite where the chains begin"):
        mcmc.hmc(lambda z: z.sum(1) + math.inf, points(2), samples=1)
    with pytest.raises(UserError, match="at least 1"):
        mcmc.hmc(gaussian, points(2), samples=0)
