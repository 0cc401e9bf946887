"""Losses per example, `(B,)`: never summed or averaged over the batch.

Logits have shape `(B, K)`, labels `(B,)`. Distances between codes take two distributions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from trompe.core.errors import UserError
from trompe.core.protocols import PointMass

__all__ = [
    "DIVERGENCES",
    "cross_entropy",
    "dlr",
    "kl",
    "kl_published",
    "kl_to_prior",
    "margin",
    "mean_distance",
    "squared_distance",
    "symmetric_kl",
    "targeted_dlr",
    "wasserstein2",
]


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """`-log softmax(z)_y`, `(B,)`."""
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """`z_y - max_{i != y} z_i`, `(B,)`: positive where class y wins (Carlini & Wagner 2017, f_6).

    >>> margin(torch.tensor([[2.0, 5.0, 1.0]]), torch.tensor([1]))
    tensor([3.])
    """
    own = y[:, None]
    return logits.gather(1, own)[:, 0] - logits.scatter(1, own, -torch.inf).amax(1)


def dlr(logits: Tensor, y: Tensor, *, towards: bool = False) -> Tensor:
    """Difference of logits ratio, `(z_y - max_{i != y} z_i) / (z_(1) - z_(3))`, `(B,)`.

    Croce & Hein 2020, equation 6, with the sign of a margin: positive where class y wins. It does not
    change when logits are shifted or scaled. A two-class model has no third logit; there the margin is
    divided by one plus its own size, held constant.

    Where y has the third largest logit the ratio is -1 whatever the logits are, and its gradient zero. That
    is no loss to those who leave y, but to those who aim at it: `towards` holds the denominator constant.
    """
    value = margin(logits, y)
    if logits.shape[1] < 3:
        return value / (value.detach().abs() + 1)
    top = (logits.detach() if towards else logits).topk(3, dim=1).values
    return value / (top[:, 0] - top[:, 2]).clamp_min(1e-12)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """`(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)`, `(B,)` (Croce & Hein 2020, equation 7).

    With fewer than four classes the denominator uses the lowest logits there are, held constant: with three,
    the ratio to the lowest would be 1 whatever the logits are.
    """
    value = (logits.gather(1, y[:, None]) - logits.gather(1, target[:, None]))[:, 0]
    if logits.shape[1] < 3:
        return value / (value.detach().abs() + 1)
    few = logits.shape[1] < 4
    top = (logits.detach() if few else logits).topk(3 if few else 4, dim=1).values
    return value / (top[:, 0] - top[:, 2:].mean(1)).clamp_min(1e-12)


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """`||a - b||_2^2` of each example, `(B,)`."""
    return (a - b).flatten(1).square().sum(1)


def _require_spread(*distributions: Distribution) -> None:
    if any(isinstance(d, PointMass) for d in distributions):
        raise UserError(
            "this divergence needs a stochastic encoder; use 'L2' for an autoencoder whose codes are points"
        )


def mean_distance(p: Distribution, q: Distribution) -> Tensor:
    """`||mu_p - mu_q||_2^2`, `(B,)`: the latent distance of Kos et al. 2018."""
    return squared_distance(p.mean, q.mean)


def kl(p: Distribution, q: Distribution) -> Tensor:
    """`KL(p || q)` of diagonal Gaussians, `(B,)`, in nats.

    `1/2 sum [v_p / v_q + (mu_q - mu_p)^2 / v_q - 1 + log(v_q / v_p)]` (Tabacof et al. 2016 minimise it).

    >>> unit = torch.distributions.Normal(torch.zeros(1, 2), torch.ones(1, 2))
    >>> kl(torch.distributions.Normal(torch.ones(1, 2), torch.ones(1, 2)), unit)
    tensor([1.])
    """
    _require_spread(p, q)
    ratio = (p.variance / q.variance).flatten(1)
    shift = ((q.mean - p.mean).square() / q.variance).flatten(1)
    return 0.5 * (ratio + shift - 1 - ratio.log()).sum(1)


def kl_published(p: Distribution, q: Distribution) -> Tensor:
    """What the published code of Tabacof et al. 2016 minimises for KL, `(B,)`: for replication only.

    `sum [(s_p + (mu_p - mu_q)^2) / s_q + log(v_q / v_p) - 1/2]`: the deviation s stands where the variance v
    belongs, and the factor 1/2 is missing. It is no divergence: between equal Gaussians it is half their
    dimension, and over p it is least at twice the deviation of q. Use `kl` for anything else.

    >>> unit, wide = (torch.distributions.Normal(torch.zeros(1, 1), s * torch.ones(1, 1)) for s in (1, 2))
    >>> bool(kl_published(wide, unit) < kl_published(unit, unit))
    True
    """
    _require_spread(p, q)
    near = (p.stddev + (p.mean - q.mean).square()) / q.stddev
    return (near + 2 * (q.stddev / p.stddev).log() - 0.5).flatten(1).sum(1)


def kl_to_prior(posterior: Distribution) -> Tensor:
    r"""`KL(N(mean, stddev^2) || N(0, I))` of each example, in nats, summed over its code.

    .. math:: \frac{1}{2} \sum_j \mu_j^2 + \sigma_j^2 - 1 - \ln \sigma_j^2

    (Kingma & Welling 2014, appendix B). Zero for a point; half precision is summed in float32.

    >>> unit = torch.distributions.Normal(torch.zeros(2, 3), torch.ones(2, 3))
    >>> kl_to_prior(unit).tolist()
    [0.0, 0.0]
    """
    mean = posterior.mean.to(torch.promote_types(posterior.mean.dtype, torch.float32))
    if isinstance(posterior, PointMass):
        return mean.new_zeros(len(mean))
    stddev = posterior.stddev.to(mean.dtype)
    each = mean.square() + stddev.square() - 1 - 2 * stddev.log()
    return 0.5 * each.flatten(1).sum(1)


def symmetric_kl(p: Distribution, q: Distribution) -> Tensor:
    """`KL(p || q) + KL(q || p)`, `(B,)`, in nats (not halved)."""
    return kl(p, q) + kl(q, p)


def wasserstein2(p: Distribution, q: Distribution) -> Tensor:
    """`W_2^2 = ||mu_p - mu_q||^2 + ||sigma_p - sigma_q||^2` of diagonal Gaussians, `(B,)`."""
    return mean_distance(p, q) + squared_distance(p.stddev, q.stddev)


DIVERGENCES = {
    "L2": mean_distance,
    "kl": kl,
    "kl_published": kl_published,
    "symmetric_kl": symmetric_kl,
    "wasserstein2": wasserstein2,
}
"""The distances between codes by the names that attacks take."""
