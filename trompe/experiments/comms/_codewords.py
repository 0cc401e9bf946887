"""What theory says of a block code: its error rates, and the directions from codeword to codeword."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.models import Link

__all__ = ["along", "between", "hard_errors", "union_bound"]


def _apart(link: "Link") -> "Tensor":
    """The differences of any codeword to any other, `(M, M, n)`."""
    book = link.codebook().detach().double()
    return book[None] - book[:, None]


def _directions(link: "Link") -> "tuple[Tensor, Tensor]":
    """The directions from codeword to codeword, `(D, n)` of length one, and how many bits apart those are."""
    import torch

    apart = _apart(link).flatten(0, 1)
    apart = torch.unique(apart[apart.norm(dim=1) > 0], dim=0)
    size = apart.norm(dim=1)
    return apart / size[:, None], (size / 2) ** 2


def union_bound(link: "Link", snr: float, shift: "Tensor | None" = None) -> float:
    r"""What the block error rate of the nearest codeword is at most.

    .. math:: \frac1M \sum_c \sum_{c' \ne c}
        Q\Big(\frac{\|d\|^2 / 2 - \langle d, p \rangle}{\sigma \|d\|}\Big), \qquad d = c' - c

    Without a perturbation p `(n,)` it is that of the weight enumerator,
    :math:`\sum_w A_w Q(\sqrt{2 w R E_b/N_0})`.

    >>> from trompe.models import UNCODED, BlockCode
    >>> round(union_bound(BlockCode(UNCODED), 0.0), 4)  # Q(sqrt(2)), and it is exact
    0.0786
    """
    import torch

    apart = _apart(link)
    size = apart.norm(dim=2)
    pushed = torch.zeros_like(size) if shift is None else apart @ shift.double()
    margin = (size.square() / 2 - pushed) / (link.channel_at(snr).deviation * size)
    errors = torch.erfc(margin / math.sqrt(2)) / 2
    return float(errors[size > 0].sum()) / len(apart)


def hard_errors(link: "Link", snr: float) -> float:
    """The block error rate of hard decoding that mends one wrong bit and no more, as Hamming's does."""
    wrong = math.erfc(1 / link.channel_at(snr).deviation / math.sqrt(2)) / 2
    right = 1 - wrong
    return float(1 - right**link.uses - link.uses * wrong * right ** (link.uses - 1))


def between(link: "Link", snr: float, radius: float) -> "Tensor":
    """Of this length and between two codewords, the perturbation `(n,)` of the largest union bound."""
    ways = radius * _directions(link)[0]
    bounds = [union_bound(link, snr, way) for way in ways]
    return ways[max(range(len(bounds)), key=bounds.__getitem__)].float()


def along(link: "Link", shift: "Tensor") -> tuple[float, int]:
    """The cosine of `(n,)` to the nearest direction between codewords, and how many bits those are apart."""
    ways, bits = _directions(link)
    cosines = ways @ shift.double() / shift.double().norm()
    best = int(cosines.argmax())
    return float(cosines[best]), round(float(bits[best]))
