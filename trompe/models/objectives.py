"""Per-example terms of the autoencoders' objectives, summed over each image and over each code."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

__all__ = ["Likelihood", "kl_to_prior", "reconstruction_loss"]

Likelihood = Literal["bernoulli", "gaussian"]


def _full(t: Tensor) -> Tensor:
    """Half precision is summed in float32; everything else as it is."""
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t


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

    with `m = sigmoid(a)`, or `m = a` where `squash` is off (Kingma & Welling 2014, appendix C).

    Args:
        output: what the decoder gives before its sigmoid, `(B, *)`.
        target: `(B, *)`; grey values are allowed under the Bernoulli likelihood.
        variance: of the Gaussian likelihood, in squared input units.

    Returns:
        `(B,)`.

    >>> loss = reconstruction_loss(torch.zeros(2, 3), torch.ones(2, 3))
    >>> bool(torch.allclose(loss, torch.tensor(3 * math.log(2))))
    True
    """
    output, target = _full(output), _full(target)
    if likelihood == "bernoulli":
        each = F.binary_cross_entropy_with_logits(output, target, reduction="none")
        return each.flatten(1).sum(1)
    mean = output.sigmoid() if squash else output
    squared = (target - mean).flatten(1).square().sum(1)
    return squared / (2 * variance) + 0.5 * math.log(2 * math.pi * variance) * mean[0].numel()


def kl_to_prior(posterior: Distribution) -> Tensor:
    r"""`KL(N(mean, stddev^2) || N(0, I))` of each example, in nats, summed over its code.

    .. math:: \frac{1}{2} \sum_j \mu_j^2 + \sigma_j^2 - 1 - \ln \sigma_j^2

    (Kingma & Welling 2014, appendix B).

    >>> unit = torch.distributions.Normal(torch.zeros(2, 3), torch.ones(2, 3))
    >>> kl_to_prior(unit).tolist()
    [0.0, 0.0]
    """
    mean, stddev = _full(posterior.mean), _full(posterior.stddev)
    each = mean.square() + stddev.square() - 1 - 2 * stddev.log()
    return 0.5 * each.flatten(1).sum(1)
