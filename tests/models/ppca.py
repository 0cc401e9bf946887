"""Probabilistic principal components in closed form: what a linear Gaussian VAE can reach at best."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Components(NamedTuple):
    """`x ~ N(b, W W^T + v I)` at its maximum-likelihood parameters (Tipping & Bishop 1999, section 3.2)."""

    weight: Tensor
    bias: Tensor
    variance: float
    evidence: float


def ppca(x: Tensor, latent: int) -> Components:
    """The best parameters for `x` `(n, d)`, and the mean log-likelihood per example in nats."""
    values, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))
    values, vectors = values.flip(0), vectors.flip(1)
    variance = values[latent:].mean()
    weight = vectors[:, :latent] * (values[:latent] - variance).sqrt()
    logdet = values[:latent].log().sum() + (len(values) - latent) * variance.log()
    mean = -0.5 * (len(values) * (math.log(2 * math.pi) + 1) + logdet)
    return Components(weight, x.mean(0), float(variance), float(mean))


def log_evidence(x: Tensor, weight: Tensor, bias: Tensor, variance: float) -> Tensor:
    """`log p(x)` `(n,)` of a linear decoder with Gaussian noise, exactly."""
    covariance = weight @ weight.T + variance * torch.eye(len(weight), dtype=x.dtype)
    return torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)
