"""Messages: uniform, endless, a function of seed and number, and told slips."""

import pytest
import torch

from trompe.core.errors import UserError
from trompe.data import Messages, Stream


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_every_message_is_as_likely_as_the_others(bits: int) -> None:
    """Pearson's statistic of 400 draws a message, within four deviations of its mean."""
    count, m = 400 * 2**bits, 2**bits
    s, _ = Stream(Messages(bits), count).at(0)
    found = torch.bincount(s, minlength=m).double()
    assert len(found) == m
    statistic = float(((found - 400).square() / 400).sum())
    assert abs(statistic - (m - 1)) < 4 * (2 * (m - 1)) ** 0.5


def test_what_is_to_be_received_is_what_was_sent() -> None:
    s, wanted = Stream(Messages(4), 1000).at(5)
    assert s.shape == (1000,)
    assert s.dtype == torch.int64
    assert torch.equal(s, wanted)


@pytest.mark.parametrize(("seed", "number"), [(1, 0), (0, 1), (1, 1)])
def test_streams_and_batches_are_independent(seed: int, number: int) -> None:
    """Two of them agree as often as chance has it."""
    count = 20_000
    one, other = Stream(Messages(4), count).at(0)[0], Stream(Messages(4), count, seed).at(number)[0]
    table = torch.bincount(16 * one + other, minlength=256).double()
    statistic = float(((table - count / 256).square() / (count / 256)).sum())
    assert abs(statistic - 255) < 4 * (2 * 255) ** 0.5


def test_a_batch_is_a_function_of_seed_and_number() -> None:
    state = torch.get_rng_state()
    one, again = (Stream(Messages(4), 100, seed=7) for _ in range(2))
    for number in (0, 3, 10**9):
        assert torch.equal(one.at(number)[0], again.at(number)[0])
    shares = [one.at(2, rank, 2)[0] for rank in (0, 1)]
    assert torch.equal(torch.stack(shares, 1).flatten(), one.at(2)[0])
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("bits", [0, -1, 2.0, "4", True, None])
def test_a_set_of_one_message_is_refused(bits: object) -> None:
    with pytest.raises(UserError, match="bits must be a whole number of at least 1"):
        Messages(bits)  # type: ignore[arg-type]
