"""Sparsity, gaps and tail probabilities against values known otherwise."""

import math

import pytest
import torch

from trompe.experiments.latentpoison import table_3
from trompe.experiments.latentpoison._tables import published_gap
from trompe.metrics import epsilon_gap, family_wise, hoyer, tail_probability


@pytest.mark.parametrize(
    ("delta", "value"), [(0, 0.0050), (1, 0.0355), (2, 0.2098), (3, 0.5765), (5, 0.9858)]
)
def test_tail_probabilities_are_those_of_the_normal(delta: float, value: float) -> None:
    from scipy.stats import norm

    found = float(tail_probability([delta])[0])
    assert found == pytest.approx(value, abs=5e-5)
    assert found == pytest.approx(norm.sf(2.807 - delta) + norm.cdf(-2.807 - delta), rel=1e-12)


def test_the_sign_of_a_shift_does_not_hide_it() -> None:
    assert torch.allclose(tail_probability([-2.0]), tail_probability([2.0]))


def test_published_table_3_follows_from_tables_1_and_2() -> None:
    """To the last printed digit, which shows what the paper subtracts from what."""
    for (way, norm, kind), (value, _) in table_3.PUBLISHED.items():
        assert published_gap(norm, kind, way) == pytest.approx(value, abs=1e-9)


def test_a_gap_has_no_sign() -> None:
    assert epsilon_gap(0.9, 0.7) == epsilon_gap(0.7, 0.9) == pytest.approx(0.2)


def test_hoyer_lies_between_even_and_single_and_ignores_length() -> None:
    vector = torch.tensor([3.0, 1.0, 0.0, 0.5])
    assert 0 < hoyer(vector) < 1
    assert hoyer(vector) == pytest.approx(hoyer(-7 * vector))
    assert hoyer(vector) < hoyer(torch.tensor([3.0, 0.1, 0.0, 0.0]))
    assert math.isnan(hoyer(torch.zeros(4)))


def test_one_alarm_among_many_is_one_minus_no_alarm_at_all() -> None:
    each = torch.tensor([0.1, 0.5, 0.25])
    assert family_wise(each) == pytest.approx(1 - 0.9 * 0.5 * 0.75)
    assert family_wise(torch.tensor([1.0, 0.0])) == 1.0
