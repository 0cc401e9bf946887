"""Numbers that describe a perturbation and what it does, as closed forms of arrays."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["CUT", "epsilon_gap", "family_wise", "hoyer", "tail_probability"]

CUT = 2.807
"""Half the interval that holds 99.5% of a standard normal (Creswell et al. 2017, appendix 6.4)."""


def hoyer(values: Tensor) -> float:
    r"""Sparsity of a vector: 0 where all entries have one size, 1 where a single one is not zero.

    .. math:: \frac{\sqrt{n} - \|v\|_1 / \|v\|_2}{\sqrt{n} - 1}

    Hoyer 2004, "Non-negative matrix factorization with sparseness constraints", section 3. It does not depend
    on the vector's length; of a vector of zeros, and of a single number, it is NaN.

    >>> hoyer(torch.tensor([1.0, -1.0, 1.0, -1.0])), hoyer(torch.tensor([0.0, 5.0, 0.0]))
    (0.0, 1.0)
    """
    flat = values.detach().double().flatten()
    length = float(torch.linalg.vector_norm(flat))
    if length == 0 or len(flat) < 2:
        return math.nan
    root = math.sqrt(len(flat))
    return (root - float(flat.abs().sum()) / length) / (root - 1)


def epsilon_gap(untampered: float, tampered: float) -> float:
    """How far two mean confidences lie apart: of class k's reconstructions, and of codes shifted *into* k.

    Creswell et al. 2017, section 3.3, as their table 3 follows from their tables 1 and 2: zero where a
    classifier's certainty betrays nothing.

    >>> round(epsilon_gap(0.79, 0.98), 2)
    0.19
    """
    return abs(untampered - tampered)


def tail_probability(delta: Tensor | Sequence[float]) -> Tensor:
    r"""How often a standard normal coordinate shifted by `delta` leaves +-2.807, elementwise, float64.

    .. math:: P(\delta) = 1 - \Phi(2.807 - \delta) + \Phi(-2.807 - \delta)

    Creswell et al. 2017, appendix 6.4. Untouched coordinates leave it half a per cent of the time.

    >>> [round(float(p), 4) for p in tail_probability([0, 1, 2, 3, 5])]
    [0.005, 0.0355, 0.2098, 0.5765, 0.9858]
    """
    shift = torch.as_tensor(delta, dtype=torch.float64)
    total: Tensor = torch.special.ndtr(shift - CUT) + torch.special.ndtr(-CUT - shift)
    return total


def family_wise(probabilities: Tensor) -> float:
    """How often at least one of independent coordinates raises the alarm: `1 - prod(1 - P_i)`.

    Testing every coordinate of a long code alarms often even where nothing was shifted: compare with the
    value at `delta = 0`.

    >>> round(family_wise(tail_probability([0.0] * 200)), 3)
    0.633
    """
    return float(-torch.expm1(torch.log1p(-probabilities.double()).sum()))
