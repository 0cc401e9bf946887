"""The conventional chain: Hamming's code by its closed forms, both decoders, any generator."""

import math
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from trompe.core import random
from trompe.core.errors import UserError
from trompe.models import HAMMING_7_4, UNCODED, BlockCode

REPEATED = ((1, 1, 1, 1, 1),)
SIMPLEX = ((1, 0, 1, 0, 1, 0, 1), (0, 1, 1, 0, 0, 1, 1), (0, 0, 0, 1, 1, 1, 1))
CODES = {"hamming": HAMMING_7_4, "uncoded": UNCODED, "repeated": REPEATED, "simplex": SIMPLEX}
MESSAGES = torch.arange(16)


def words(code: BlockCode) -> torch.Tensor:
    """Codewords as bits, `(M, n)`."""
    return ((1 - code.codebook()) / 2).long()


def errors(code: BlockCode, snr: float, blocks: int) -> torch.Tensor:
    """Whether each block is in error; codes of one size meet the same noise."""
    s = torch.arange(blocks) % code.messages
    with random.streams(random.seeds(0, blocks)):
        return code.receive(code.heard(snr)(s)).argmax(1) != s


def test_a_code_draws_nothing() -> None:
    state = torch.get_rng_state()
    BlockCode()
    assert torch.equal(state, torch.get_rng_state())


def test_the_weights_of_hammings_code() -> None:
    weights = Counter(words(BlockCode()).sum(1).tolist())
    assert weights == {0: 1, 3: 7, 4: 7, 7: 1}


def test_the_least_distance_of_hammings_code_is_three() -> None:
    own = words(BlockCode())
    assert min(int((a != b).sum()) for a, b in combinations(own, 2)) == 3


def test_hammings_code_is_perfect_and_linear() -> None:
    """Balls of radius one about the codewords hold every one of the 2^7 words once."""
    own = words(BlockCode())
    reached = {
        tuple((word ^ flip).tolist())
        for word in own
        for flip in torch.cat([torch.zeros(1, 7), torch.eye(7)]).long()
    }
    assert len(reached) == 2**7
    known = {tuple(word) for word in own.tolist()}
    assert all(tuple((a ^ b).tolist()) in known for a, b in combinations(own, 2))


def test_a_message_is_its_first_four_bits_the_first_the_most_significant() -> None:
    own = words(BlockCode())[:, :4]
    assert torch.equal(own @ torch.tensor([8, 4, 2, 1]), MESSAGES)


@pytest.mark.parametrize("decoder", ["ml", "hard"])
def test_every_single_error_is_corrected(decoder: str) -> None:
    code = BlockCode(decoder=decoder)  # type: ignore[arg-type]
    for place in range(7):
        y = code.transmit(MESSAGES).clone()
        y[:, place] *= -1
        assert torch.equal(code.receive(y).argmax(1), MESSAGES)


def test_every_double_error_is_taken_for_another_message_by_the_hard_decoder() -> None:
    code = BlockCode(decoder="hard")
    for pair in combinations(range(7), 2):
        y = code.transmit(MESSAGES).clone()
        y[:, list(pair)] *= -1
        assert not bool((code.receive(y).argmax(1) == MESSAGES).any())


def test_only_the_soft_decoder_hears_how_sure_a_bit_is() -> None:
    """Two bits that are hardly wrong among five that are surely right."""
    y = 1.5 * BlockCode().transmit(MESSAGES)
    y[:, :2] *= -0.1
    assert torch.equal(BlockCode().receive(y).argmax(1), MESSAGES)
    assert not torch.equal(BlockCode(decoder="hard").receive(y).argmax(1), MESSAGES)


@pytest.mark.parametrize("name", CODES)
def test_maximum_likelihood_is_the_nearest_codeword(name: str) -> None:
    code = BlockCode(CODES[name])
    with random.streams(random.seeds(0, 500)):
        y = random.normal((500, code.uses))
    nearest = torch.cdist(y, code.codebook()).argmin(1)
    assert torch.equal(code.receive(y).argmax(1), nearest)


@pytest.mark.parametrize("name", CODES)
def test_hard_decoding_is_the_nearest_codeword_of_decided_bits(name: str) -> None:
    code = BlockCode(CODES[name], "hard")
    with random.streams(random.seeds(0, 500)):
        y = random.normal((500, code.uses))
    distance = ((y < 0)[:, None].long() != words(code)).sum(2)
    chosen = code.receive(y).argmax(1)
    assert torch.equal(distance.gather(1, chosen[:, None])[:, 0], distance.amin(1))


@pytest.mark.parametrize("snr", [0.0, 4.0])
def test_maximum_likelihood_errs_less_than_hard_decoding(snr: float) -> None:
    blocks = 30_000
    soft = errors(BlockCode(), snr, blocks)
    hard = errors(BlockCode(decoder="hard"), snr, blocks)
    only = int((hard & ~soft).sum()), int((soft & ~hard).sum())
    assert only[0] - only[1] > 4 * math.sqrt(sum(only))


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("decoder", ["ml", "hard"])
def test_any_generator_is_sent_with_unit_energy_and_read_without_noise(
    name: str, decoder: str
) -> None:
    code = BlockCode(CODES[name], decoder)  # type: ignore[arg-type]
    assert code.rate == len(CODES[name]) / len(CODES[name][0])
    assert (code.uses, code.dimensions) == (len(CODES[name][0]),) * 2
    assert torch.equal(code.codebook().square().sum(1), torch.full((code.messages,), code.uses))
    assert torch.equal(code.receive(code.codebook()).argmax(1), torch.arange(code.messages))
    assert not code.training
    again = BlockCode(CODES[name], decoder)  # type: ignore[arg-type]
    again.load_state_dict(code.state_dict())
    assert torch.equal(again.codebook(), code.codebook())


@pytest.mark.parametrize(
    ("generator", "answer"),
    [
        ((), "k >= 1 rows of n >= 1 bits"),
        (((),), "k >= 1 rows of n >= 1 bits"),
        (((1, 0), (1,)), "k >= 1 rows of n >= 1 bits"),
        (((1, 2),), "bits, 0 or 1"),
        (((1, 1), (1, 1)), "same codeword"),
        (((0, 0),), "same codeword"),
        ((1, 0), "k >= 1 rows of n >= 1 bits"),
        (("10",), "bits, 0 or 1"),
        (((0.5, 1.0),), "bits, 0 or 1"),
        (((1,) * 20,) * 13, "k must be at most 12, got 13"),
    ],
)
def test_a_generator_that_is_none(generator: tuple[tuple[int, ...], ...], answer: str) -> None:
    with pytest.raises(UserError, match=answer):
        BlockCode(generator)


@pytest.mark.parametrize("kind", [np.array, torch.tensor, lambda g: np.array(g, dtype=float)])
def test_a_generator_may_be_an_array(kind: Callable[[Any], Any]) -> None:
    code = BlockCode(kind(HAMMING_7_4))
    assert torch.equal(code.codebook(), BlockCode().codebook())


def test_a_decoder_that_is_none() -> None:
    with pytest.raises(UserError, match="decoder must be ml or hard, got 'viterbi'"):
        BlockCode(decoder="viterbi")  # type: ignore[arg-type]
