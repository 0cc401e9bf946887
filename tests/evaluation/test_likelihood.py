"""Bounds and estimates of the evidence against a model whose evidence is known exactly."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from trompe.core.errors import UserError
from trompe.core.random import seeds
from trompe.evaluation import likelihood
from trompe.evaluation.likelihood import elbo, importance_weighted, marginal_likelihood
from trompe.models import AE, VAE
from trompe.models.autoencoders import gaussian

VARIANCE = 0.4


class Linear(nn.Module):
    """z ~ N(0, I), x | z ~ N(Wz, v I): probabilistic PCA, and a posterior that can be made worse."""

    def __init__(self, stretch: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        basis = torch.linalg.qr(torch.randn(6, 2, dtype=torch.float64, generator=generator))[0]
        self.weight = basis * torch.tensor([1.5, 0.7])
        self.stretch = stretch

    @property
    def prior(self) -> Distribution:
        return gaussian(torch.zeros(1, 2).double(), torch.ones(1, 2).double())

    def encode(self, x: Tensor) -> Distribution:
        """Exact at stretch 1: the columns of W are orthogonal, so the posterior is diagonal."""
        variance = 1 / (1 + self.weight.square().sum(0) / VARIANCE)
        mean = x @ self.weight / VARIANCE * variance
        return gaussian(mean, self.stretch * variance.sqrt().expand_as(mean))

    def nll(self, z: Tensor, x: Tensor) -> Tensor:
        far = (x - z @ self.weight.T).square().sum(1) / (2 * VARIANCE)
        return far + 0.5 * x.shape[1] * math.log(2 * math.pi * VARIANCE)

    def evidence(self, x: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + VARIANCE * torch.eye(6).double()
        return MultivariateNormal(torch.zeros(6).double(), covariance).log_prob(x)


class NoPrior(Linear):
    """Forgets the prior in the joint density."""

    @property
    def prior(self) -> Distribution:
        prior = super().prior
        prior.log_prob = lambda z: z.new_zeros(len(z))  # type: ignore[method-assign]
        return prior


class NoNormaliser(Linear):
    """Drops the likelihood's constant."""

    def nll(self, z: Tensor, x: Tensor) -> Tensor:
        return (x - z @ self.weight.T).square().sum(1) / (2 * VARIANCE)


def data(rows: int = 20) -> Tensor:
    return torch.randn(rows, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def bounds_are_exact(model: Linear) -> None:
    """With the exact posterior every importance weight is p(x)."""
    x = data()
    exact = model.evidence(x)
    assert torch.allclose(importance_weighted(model, x, 3), exact)
    assert torch.allclose(elbo(model, x, 2, analytic=False), exact)


def bounds_are_in_order(model: Linear) -> None:
    x = data(200)
    exact = model.evidence(x).mean()
    bounds = [importance_weighted(model, x, k).mean() for k in (1, 8, 64, 4000)]
    assert elbo(model, x, 500).mean() < bounds[1] < bounds[2] < exact
    assert float(bounds[3]) == pytest.approx(float(exact), abs=0.01)
    wide = importance_weighted(model, x, 4000, widen=1.5)
    assert float(wide.mean()) == pytest.approx(float(exact), abs=0.02)


def chains_find_the_evidence(model: Linear) -> None:
    x = data(60)
    found = marginal_likelihood(model, x, 400, chains=8)
    score = (found.value - model.evidence(x)) / found.error
    assert float(score.square().mean().sqrt()) < 1.6
    assert float(found.error.mean()) < 0.1
    assert float((found.value - model.evidence(x)).mean().abs()) < 0.03


CHECKS = {
    bounds_are_exact: 1.0,
    bounds_are_in_order: 1.6,
    chains_find_the_evidence: 1.6,
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_estimates_meet_the_exact_evidence(check: Callable[[Linear], None]) -> None:
    check(Linear(CHECKS[check]))


@pytest.mark.parametrize("kind", [NoPrior, NoNormaliser])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_model_of_another_density_is_caught(
    check: Callable[[Linear], None], kind: type[Linear]
) -> None:
    with pytest.raises(AssertionError):
        check(kind(CHECKS[check]))


def test_the_bound_is_the_evidence_less_the_divergence_of_the_posterior() -> None:
    model, x = Linear(1.6), data()
    gap = 2 * (0.5 * (1.6**2 - 1) - math.log(1.6))
    assert torch.allclose(elbo(model, x, 20_000), model.evidence(x) - gap, atol=0.05)
    both = [elbo(model, x, 20_000, analytic=how) for how in (True, False)]
    assert torch.allclose(*both, atol=0.05)


def test_neither_the_batch_nor_the_pieces_change_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, named = Linear(1.6), data(5), seeds(7, 5)
    whole = importance_weighted(model, x, 50, seeds=named)
    monkeypatch.setattr(likelihood, "_VALUES", 6 * 7)
    assert torch.allclose(importance_weighted(model, x, 50, seeds=named), whole)
    assert torch.allclose(importance_weighted(model, x[3:], 50, seeds=named[3:]), whole[3:])


def test_chains_and_importance_weights_agree_on_a_network() -> None:
    model = VAE((1, 4, 4), 2, hidden=(8,), seed=3).double()
    x = torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round().double()
    found = marginal_likelihood(model, x, 200)
    close = importance_weighted(model, x, 4000)
    assert float((found.value - close).abs().mean()) < 0.05
    assert float(found.acceptance.mean()) == pytest.approx(0.9, abs=0.08)
    assert all(p.grad is None for p in model.parameters())


def test_what_has_no_density_is_refused() -> None:
    x = torch.ones(2, 1, 4, 4)
    with pytest.raises(UserError, match="stochastic=False"):
        elbo(AE((1, 4, 4), 2, hidden=(8,)), x)
    with pytest.raises(UserError, match="has no encode"):
        importance_weighted(nn.Linear(2, 2), x)
    with pytest.raises(UserError, match="at least 1 draw"):
        importance_weighted(VAE((1, 4, 4), 2, hidden=(8,)), x, 0)
    with pytest.raises(UserError, match="2 chains"):
        marginal_likelihood(VAE((1, 4, 4), 2, hidden=(8,)), x, chains=1)
