"""How likely a generative model finds its data: bounds and estimates of `log p(x)`, per example in nats.

The model is any autoencoder with `encode`, a `prior`, and `nll(z, x) -> (B,)`, minus the logarithm of its
likelihood: `trompe.models.Autoencoder` with `stochastic=True` is one. Of grey values the Bernoulli form is
no likelihood: make them binary first.

Draw j of an example comes from the stream (seed of the example, j), so that neither the batch nor the size
of the pieces it is worked off in changes a result.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from trompe.core import mcmc, random
from trompe.core.errors import UserError

__all__ = ["Evidence", "elbo", "importance_weighted", "marginal_likelihood"]

_VALUES = 2**22
"""Numbers of input size that are worked on at a time: 16 MB of float32."""


def elbo(
    model: Any,
    x: Tensor,
    samples: int = 1,
    *,
    seeds: Tensor | None = None,
    analytic: bool = True,
) -> Tensor:
    r"""The evidence lower bound of each example, `(B,)`.

    .. math::
        \mathcal L(x) = \frac{1}{L} \sum_l \log p(x \mid z_l) - KL(q(z \mid x) \| p(z)), \qquad
        z_l \sim q(z \mid x)

    `log p(x) - L(x)` is the KL divergence of q from the posterior (Kingma & Welling 2014, eq. 1 and 7).

    Args:
        x: `(B, *)`, as the likelihood takes it.
        samples: L.
        seeds: `(B,)` streams; by default those of seed 0 and the rows' numbers.
        analytic: the KL term in closed form (eq. 7), or estimated from the same draws (eq. 6).

    Raises:
        UserError: a model without such a density; fewer than one sample.

    >>> from trompe.models import VAE
    >>> elbo(VAE((1, 4, 4), 2, hidden=(8,)), torch.ones(3, 1, 4, 4), samples=5).shape
    torch.Size([3])
    """
    with torch.no_grad():
        parts = [nll if analytic else weights for nll, weights in _draws(model, x, samples, seeds)]
        if not analytic:
            return torch.cat(parts).mean(0)
        return -torch.cat(parts).mean(0) - kl_divergence(model.encode(x), model.prior)


def importance_weighted(
    model: Any, x: Tensor, k: int = 64, *, seeds: Tensor | None = None, widen: float = 1.0
) -> Tensor:
    r"""The importance-weighted bound of each example, `(B,)`.

    .. math:: \log \frac{1}{k} \sum_{j=1}^{k} \frac{p(x \mid z_j) \, p(z_j)}{q(z_j \mid x)}, \qquad
        z_j \sim q(z \mid x)

    In expectation it lies between the ELBO (k = 1) and `log p(x)`, rises with k, and tends to `log p(x)`
    (Burda, Grosse & Salakhutdinov 2016, theorem 1). It is worked off in pieces of bounded memory, so that
    k = 5000 is a question of time alone.

    Args:
        x: `(B, *)`, as the likelihood takes it.
        k: draws for each example.
        seeds: `(B,)` streams; by default those of seed 0 and the rows' numbers.
        widen: draw from q with its deviations times this. The bound holds of any proposal; encoders tend to
            be too narrow, and 2 or 3 in few coordinates then gives a tighter one.

    Raises:
        UserError: a model without such a density; fewer than one draw; a width that is not positive.

    >>> from trompe.models import VAE
    >>> model, x = VAE((1, 4, 4), 2, hidden=(8,)), torch.ones(3, 1, 4, 4)
    >>> bool((importance_weighted(model, x, 500) > elbo(model, x, 500)).all())
    True
    """
    total = x.new_full((len(x),), -math.inf)
    with torch.no_grad():
        for _, weights in _draws(model, x, k, seeds, widen):
            total = torch.logaddexp(total, weights.logsumexp(0))
    return total - math.log(k)


def _draws(
    model: Any, x: Tensor, count: int, seeds: Tensor | None, widen: float = 1.0
) -> Iterator[tuple[Tensor, Tensor]]:
    """In pieces `(c, B)`: `-log p(x|z)` and `log p(x, z) - log q(z)` of draws z from q(z|x), widened."""
    _check(model, x)
    if count < 1 or not widen > 0:
        raise UserError(
            f"expected at least 1 draw for each example, and a positive width, got {count} and {widen}"
        )
    named = (random.seeds(0, len(x)) if seeds is None else seeds).to(x.device)
    posterior, prior = model.encode(x), model.prior
    proposal = Independent(
        Normal(posterior.mean, widen * posterior.stddev), posterior.mean.ndim - 1
    )
    piece = max(1, _VALUES // max(1, x.numel()))
    for first in range(0, count, piece):
        numbers = torch.arange(first, min(first + piece, count), device=x.device)
        z = proposal.mean + proposal.stddev * _noise(named, numbers, proposal.mean)
        nll = _nll(model, z, x)
        flat = z.flatten(0, 1)
        weights = prior.log_prob(flat).view(len(z), -1) - nll - proposal.log_prob(z)
        yield nll, weights


def _noise(seeds: Tensor, numbers: Tensor, like: Tensor) -> Tensor:
    """Standard normal noise `(c, B, *)`: of each example, the draws of these numbers."""
    rows, count = len(seeds), len(numbers)
    with random.streams(seeds.repeat(count), numbers.repeat_interleave(rows)):
        noise = random.normal((count * rows, *like.shape[1:]), like)
    return noise.view(count, *like.shape)


def _nll(model: Any, z: Tensor, x: Tensor) -> Tensor:
    """`-log p(x|z)` `(c, B)` of codes `(c, B, *)`."""
    many = x.expand(len(z), *x.shape).flatten(0, 1)
    found: Tensor = model.nll(z.flatten(0, 1), many)
    return found.view(len(z), -1)


def _check(model: Any, x: Tensor) -> None:
    missing = [name for name in ("encode", "nll", "prior") if not hasattr(model, name)]
    if missing or not getattr(getattr(model, "config", None), "stochastic", True):
        lacks = f"no {missing[0]}" if missing else "no density of codes (stochastic=False)"
        raise UserError(f"{type(model).__name__} has {lacks}; the likelihood of data needs a VAE")
    if len(x) == 0:
        raise UserError("expected at least one example")


@dataclass(frozen=True)
class Evidence:
    """Estimates of `log p(x)` of each example, in nats, from chains on its posterior.

    Attributes:
        value: `(B,)`.
        error: standard error of each, from the differences between the chains, `(B,)`.
        acceptance: share of accepted trajectories of each example, `(B,)`.
    """

    value: Tensor
    error: Tensor
    acceptance: Tensor


def marginal_likelihood(
    model: Any,
    x: Tensor,
    samples: int = 50,
    *,
    chains: int = 4,
    warmup: int = 60,
    thin: int = 1,
    seeds: Tensor | None = None,
) -> Evidence:
    r"""`log p(x)` of each example from posterior draws alone: no encoder takes part but to begin.

    .. math:: \frac{1}{\hat p(x)} = \frac{1}{L} \sum_l
        \frac{q(z_l)}{p(z_l) \, p(x \mid z_l)}, \qquad z_l \sim p(z \mid x)

    (1) Chains of Hamiltonian Monte Carlo draw from `p(z|x)`; (2) a Gaussian q with the mean and the
    covariance of half of their draws is fitted, each example its own; (3) new draws of the same chains give
    the mean above (Kingma & Welling 2014, appendix D). It works for few latent coordinates: below five, as
    the paper has it. In more, q misses the posterior and the mean is ruled by rare draws.

    The paper runs one chain and leaves q open; we run several, which tells the error, and cut q off at
    the ellipsoid that holds 90% of it (Geweke 1999), because beyond the posterior's tail its weights have no
    bound.

    Args:
        x: `(B, *)`, as the likelihood takes it.
        samples: draws of all chains together for q, and again for the mean: L, at least 4 each.
        chains: of each example, begun at draws from `q(z|x)`.
        warmup: transitions of 10 leapfrog steps in which each chain finds its step size, for 90% acceptance.
        thin: transitions between two draws.
        seeds: `(B,)` streams; by default those of seed 0 and the rows' numbers.

    Raises:
        UserError: a model without such a density; fewer than 2 chains, or than 4 draws of each.

    >>> from trompe.models import VAE
    >>> found = marginal_likelihood(VAE((1, 4, 4), 2, hidden=(8,)), torch.ones(3, 1, 4, 4), warmup=20)
    >>> found.value.shape, bool((found.error < 0.5).all())
    (torch.Size([3]), True)
    """
    _check(model, x)
    if chains < 2 or samples < 4 * chains:
        raise UserError("the estimate needs 2 chains or more, and at least 4 samples of each")
    named = (random.seeds(0, len(x)) if seeds is None else seeds).to(x.device)
    with torch.no_grad(), random.streams(named):
        found, joint = _posterior(model, x, chains, -(-samples // chains), warmup, thin)
        shape = (2, -1, chains, len(x))
        drawn = found.samples.view(*shape, found.samples[0, 0].numel())
        value, error = _reciprocal(drawn[0].flatten(0, 1), drawn[1], joint.view(shape)[1])
    return Evidence(value, error, found.acceptance.view(chains, -1).mean(0))


def _posterior(
    model: Any, x: Tensor, chains: int, count: int, warmup: int, thin: int
) -> tuple[mcmc.Chains, Tensor]:
    """Twice `count` draws from `p(z|x)` by each of `chains * B` chains, and log p(x, z) of each."""
    many = x.expand(chains, *x.shape).flatten(0, 1)

    def density(z: Tensor) -> Tensor:
        return model.prior.log_prob(z) - model.nll(z, many)  # type: ignore[no-any-return]

    posterior = model.encode(many)
    z = posterior.mean + posterior.stddev * random.normal(
        tuple(posterior.mean.shape), posterior.mean
    )
    found = mcmc.hmc(density, z, samples=2 * count, warmup=warmup, thin=thin, step_size=0.2)
    return found, torch.stack([density(z) for z in found.samples])


def _reciprocal(fitted: Tensor, drawn: Tensor, joint: Tensor) -> tuple[Tensor, Tensor]:
    """The estimate and its error `(B,)`.

    `fitted` `(n, B, D)` give q; `drawn` `(count, chains, B, D)`, with `joint` = log p(x, z), the mean.
    """
    mean, size = fitted.mean(0), fitted.shape[-1]
    away = (fitted - mean).movedim(0, 2)
    spread = away @ away.mT / (len(fitted) - 1)
    tiny = 1e-6 * spread.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
    spread = spread + tiny[:, None, None] * torch.eye(size).to(spread)
    q = MultivariateNormal(mean, spread, validate_args=False)
    far = torch.linalg.solve_triangular(q.scale_tril, (drawn - mean)[..., None], upper=False)
    inside = far.square().sum((-1, -2)) <= _radius(size, _KEPT)
    ratio = torch.where(inside, q.log_prob(drawn) - math.log(_KEPT) - joint, -math.inf)
    level = ratio.flatten(0, 1).amax(0)
    each = (ratio - level).exp().mean(0)
    middle = each.mean(0)
    error = each.std(0) / math.sqrt(len(each)) / middle
    return -(level + middle.log()), error


_KEPT = 0.9
"""The share of the fitted Gaussian that is kept."""


def _radius(size: int, share: float) -> float:
    """The squared radius of the ball that holds this share of a standard normal in `size` dimensions."""
    from scipy.special import gammaincinv

    return float(2 * gammaincinv(size / 2, share))
