"""Per-example terms of the autoencoders' objectives, summed over each image and over each code."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

__all__ = [
    "Likelihood",
    "full",
    "log_normal",
    "mean_of",
    "reconstruction_loss",
    "sampled_kl",
]

Likelihood = Literal["bernoulli", "continuous_bernoulli", "gaussian"]


def full(t: Tensor) -> Tensor:
    """Half precision is summed in float32; everything else as it is."""
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t


_NEAR = 0.1
"""Logits closer to 0 than this meet a series: the exact expressions are 0 / 0 there."""


def _log_normaliser(logits: Tensor) -> Tensor:
    r"""`log(a / tanh(a / 2))`: what makes `s(a)^t s(-a)^(1 - t)` a density of `t` on [0, 1]."""
    near = logits.abs() < _NEAR
    far = torch.where(near, 1.0, logits)
    square = logits.square()
    series = square / 12 - 7 * square**2 / 1440 + 31 * square**3 / 90720
    exact = far.abs().log() - (far / 2).tanh().abs().log()
    return torch.where(near, math.log(2) + series, exact)


def _continuous_mean(logits: Tensor) -> Tensor:
    r"""The mean `1 / (1 - exp(-a)) - 1 / a` of a continuous Bernoulli; 1/2 at 0."""
    near = logits.abs() < _NEAR
    far = torch.where(near, 1.0, logits)
    series = 0.5 + logits / 12 - logits**3 / 720 + logits**5 / 30240
    return torch.where(near, series, 0.5 / (far / 2).tanh() + 0.5 - 1 / far)


def mean_of(output: Tensor, likelihood: Likelihood = "bernoulli", *, squash: bool = True) -> Tensor:
    r"""The mean of a pixel under its likelihood, given what the decoder says of it.

    .. math:: s(a), \qquad \frac{1}{1 - e^{-a}} - \frac{1}{a}, \qquad s(a) \text{ or } a

    for Bernoulli, continuous Bernoulli and Gaussian (with `squash` and without).

    >>> mean_of(torch.tensor([0.0, 50.0]), "continuous_bernoulli")
    tensor([0.5000, 0.9800])
    """
    if likelihood == "continuous_bernoulli":
        return _continuous_mean(output)
    return output.sigmoid() if squash else output


def reconstruction_loss(
    output: Tensor,
    target: Tensor,
    likelihood: Likelihood = "bernoulli",
    *,
    variance: float = 0.1,
    squash: bool = True,
) -> Tensor:
    r"""`-log p(target | output)` of each example, in nats, summed over its pixels.

    .. math::
        -\sum_i t_i \log s(a_i) + (1 - t_i) \log (1 - s(a_i)), \qquad
        \sum_i \frac{(t_i - m_i)^2}{2 v} + \frac{1}{2} \log 2 \pi v

    with `m = sigmoid(a)`, or `m = a` where `squash` is off (Kingma & Welling 2014, appendix C). The
    continuous Bernoulli adds `-log(a / tanh(a / 2))` to each term of the first sum, which makes a density of
    it (Loaiza-Ganem & Cunningham 2019).

    Args:
        output: what the decoder gives before its sigmoid, `(B, *)`.
        target: `(B, *)`; of grey values the Bernoulli form is a cross-entropy and no likelihood.
        variance: of the Gaussian likelihood, in squared input units.

    Returns:
        `(B,)`.

    >>> loss = reconstruction_loss(torch.zeros(2, 3), torch.ones(2, 3))
    >>> bool(torch.allclose(loss, torch.tensor(3 * math.log(2))))
    True
    """
    output, target = full(output), full(target)
    if likelihood == "gaussian":
        mean = mean_of(output, likelihood, squash=squash)
        squared = (target - mean).flatten(1).square().sum(1)
        return squared / (2 * variance) + 0.5 * math.log(2 * math.pi * variance) * mean[0].numel()
    each = F.binary_cross_entropy_with_logits(output, target, reduction="none")
    if likelihood == "continuous_bernoulli":
        each = each - _log_normaliser(output)
    return each.flatten(1).sum(1)


def log_normal(value: Tensor, mean: Tensor, stddev: Tensor) -> Tensor:
    """The log-density of each coordinate under `N(mean, stddev^2)`, in nats; shapes broadcast."""
    value, mean, stddev = full(value), full(mean), full(stddev)
    return -0.5 * ((value - mean) / stddev).square() - stddev.log() - 0.5 * math.log(2 * math.pi)


def sampled_kl(posterior: Distribution, code: Tensor) -> Tensor:
    """`log q(z|x) - log p(z)` `(B,)` at one draw `z` of each posterior: unbiased for the KL to the prior.

    With it the bound is the joint Monte Carlo form of Kingma & Welling 2014, equation 6 (SGVB-A).

    >>> unit = torch.distributions.Normal(torch.zeros(2, 3), torch.ones(2, 3))
    >>> sampled_kl(unit, torch.ones(2, 3)).tolist()
    [0.0, 0.0]
    """
    own = log_normal(code, posterior.mean, posterior.stddev)
    prior = log_normal(code, torch.zeros_like(code), torch.ones_like(code))
    return (own - prior).flatten(1).sum(1)
