r"""The aggregate posterior, and the three parts of the KL term that it makes visible.

.. math:: q(z) = \frac{1}{N} \sum_{n=1}^N q(z|x_n), \qquad
    \mathbb{E}_n \mathrm{KL}(q(z|x_n) || p(z)) = I_q(z; n)
    + \mathrm{KL}\Bigl(q(z) \Big|\Big| \prod_j q(z_j)\Bigr) + \sum_j \mathrm{KL}(q(z_j) || p(z_j))

(Chen et al. 2018, section 3.1).
"""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from trompe.core.errors import UserError
from trompe.models.objectives import full, log_normal

__all__ = ["aggregate_log_density", "kl_parts"]


def aggregate_log_density(
    posterior: Distribution, code: Tensor, examples: int
) -> tuple[Tensor, Tensor]:
    r"""Estimates of `log q(z)` `(B,)` and of every `log q(z_j)` `(B, d)` from a batch of the data.

    .. math:: \hat q(z_i) = \frac{1}{N} q(z_i|x_i)
        + \frac{N - 1}{N} \frac{1}{B - 1} \sum_{k \ne i} q(z_i|x_k)

    Unbiased for `q` where the batch is drawn without replacement, and exact where it is the whole set; its
    logarithm is neither. This is the stratified estimate of Chen et al. 2018, appendix C, averaged over
    its choice of the one example that gets another weight; their minibatch-weighted form gives `x_i` the
    same weight as the others, and then `N` is a constant without gradient.

    Args:
        posterior: `q(z|x_i)`, a diagonal Gaussian over codes `(B, d)`, for a random batch.
        code: one draw from each, `(B, d)`.
        examples: `N`, the size of the data set.

    Raises:
        UserError: a batch of one, or one larger than the set.
    """
    count = len(code)
    if not 1 < count <= examples:
        raise UserError(
            f"the aggregate posterior of {examples} examples is estimated from a batch of 2 to "
            f"{examples}, got {count}"
        )
    other = math.log((examples - 1) / (examples * (count - 1)))
    weight = torch.full((count, count), other, device=code.device, dtype=full(code).dtype)
    weight.fill_diagonal_(-math.log(examples))
    each = log_normal(code[:, None], posterior.mean[None], posterior.stddev[None])
    joint = (each.sum(2) + weight).logsumexp(1)
    return joint, (each + weight[:, :, None]).logsumexp(1)


def kl_parts(posterior: Distribution, code: Tensor, examples: int) -> dict[str, Tensor]:
    """The three parts of the KL to the prior, each `(B,)` in nats, for one draw per example.

    `index_code` is what the code says of its example, `total_correlation` the dependence between its
    coordinates, `dimensions` how far each is from the prior. They sum to the sampled KL of each example.
    Arguments and errors are those of `aggregate_log_density`.

    >>> same = torch.distributions.Normal(torch.zeros(4, 2), torch.ones(4, 2))
    >>> {name: round(float(part.sum()), 4) + 0 for name, part in kl_parts(same, same.mean, 4).items()}
    {'index_code': 0.0, 'total_correlation': 0.0, 'dimensions': 0.0}
    """
    joint, marginals = aggregate_log_density(posterior, code, examples)
    own = log_normal(code, posterior.mean, posterior.stddev).sum(1)
    product = marginals.sum(1)
    prior = log_normal(code, torch.zeros_like(code), torch.ones_like(code)).sum(1)
    return {
        "index_code": own - joint,
        "total_correlation": joint - product,
        "dimensions": product - prior,
    }
