"""The channel: levels in dB, noise and fading of the moments they claim, draws that belong to examples."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trompe.core import random
from trompe.core.errors import UserError
from trompe.models import UNCODED, BlockCode, CommsAutoencoder, CommsConfig, Link, noise_deviation
from trompe.models.channel import Channel, Fading, radius_of

FADINGS: tuple[Fading, ...] = ("none", "rayleigh")


def sent(channel: Channel, x: Tensor, index: Tensor | None = None, seed: int = 0) -> Tensor:
    """What arrives of blocks that are these examples."""
    index = torch.arange(len(x)) if index is None else index
    with random.streams(random.seeds(seed, index)):
        return channel(x)  # type: ignore[no-any-return]


def error_rate(link: Link, blocks: int) -> float:
    s = torch.arange(blocks) % link.messages
    with random.streams(random.seeds(0, blocks)), torch.no_grad():
        return float((link(s).argmax(1) != s).double().mean())


def within(rate: float, expected: float, blocks: int, deviations: float = 4.0) -> bool:
    return abs(rate - expected) < deviations * math.sqrt(expected * (1 - expected) / blocks)


@pytest.mark.parametrize("snr", [-10.0, 0.0, 4.0, 8.5, 20])
@pytest.mark.parametrize("rate", [1 / 7, 4 / 7, 1.0, 2.0])
def test_noise_has_the_density_that_its_level_says(snr: float, rate: float) -> None:
    """The energy of a bit, 1 / R, over the noise density, twice the variance of a real dimension."""
    density = 2 * noise_deviation(snr, rate) ** 2
    assert 10 * math.log10(1 / rate / density) == pytest.approx(snr, abs=1e-6)


@pytest.mark.parametrize("psr", [-30.0, -6.0, 0.0, 3.0])
@pytest.mark.parametrize("n", [1, 7, 20])
def test_a_perturbation_has_the_power_that_its_ratio_says(psr: float, n: int) -> None:
    assert 10 * math.log10(radius_of(psr, n) ** 2 / n) == pytest.approx(psr, abs=1e-6)


def test_noise_is_white_and_of_its_deviation() -> None:
    blocks, deviation = 40_000, 0.7
    x = torch.linspace(-2, 2, 6).expand(blocks, 6)
    w = sent(Channel(deviation, 3), x).double() - x.double()
    spread = 4 * deviation**2 * math.sqrt(2 / blocks)
    covariance = w.T @ w / blocks
    assert float(w.mean(0).abs().max()) < 4 * deviation / math.sqrt(blocks)
    assert torch.allclose(covariance, deviation**2 * torch.eye(6, dtype=torch.float64), atol=spread)


def test_gains_are_those_of_rayleigh() -> None:
    """|h| of unit mean energy: E|h| = sqrt(pi) / 2, E|h|^2 = 1, E|h|^4 = 2; the same in both dimensions."""
    blocks, uses = 20_000, 3
    channel = Channel(1.0, uses, "rayleigh")
    with random.streams(random.seeds(0, blocks)):
        drawn = random.normal((blocks, 2 * uses)).double()
    turned = channel.faded(torch.ones(blocks, 2 * uses, dtype=torch.float64), drawn)
    gain = 1 / turned
    assert torch.equal(gain[:, :uses], gain[:, uses:])
    assert torch.allclose(gain[:, 0].square(), (drawn[:, 0].square() + drawn[:, uses].square()) / 2)
    h = gain[:, :uses].flatten()
    for power, moment in ((1, math.sqrt(math.pi) / 2), (2, 1.0), (4, 2.0)):
        spread = float((h**power).std()) / math.sqrt(len(h))
        assert abs(float((h**power).mean()) - moment) < 4 * spread


@pytest.mark.parametrize("snr", [0.0, 4.0, 7.0])
def test_bits_over_white_noise_err_as_often_as_known(snr: float) -> None:
    blocks = 60_000
    expected = math.erfc(math.sqrt(10 ** (snr / 10))) / 2
    assert within(error_rate(BlockCode(UNCODED, snr=snr), blocks), expected, blocks)


@pytest.mark.parametrize("snr", [0.0, 10.0])
def test_bits_over_a_rayleigh_channel_err_as_often_as_known(snr: float) -> None:
    """`(1 - sqrt(g / (1 + g))) / 2` (Proakis, chapter 13)."""
    blocks, g = 60_000, 10 ** (snr / 10)
    expected = (1 - math.sqrt(g / (1 + g))) / 2
    link = BlockCode(UNCODED, snr=snr, fading="rayleigh")
    assert within(error_rate(link, blocks), expected, blocks)


@pytest.mark.parametrize("fading", FADINGS)
def test_a_block_meets_the_same_draws_alone_and_in_a_batch(fading: Fading) -> None:
    channel, x = Channel(0.5, 3, fading), torch.arange(30.0).view(5, 6)
    state = torch.get_rng_state()
    together = sent(channel, x)
    for k in range(5):
        assert torch.equal(sent(channel, x[k : k + 1], torch.tensor([k])), together[k : k + 1])
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(sent(channel, x, seed=1), together)
    assert not torch.equal(channel(x), channel(x)), "without streams, noise is fresh"


@pytest.mark.parametrize("fading", FADINGS)
def test_a_channel_without_noise_changes_nothing(fading: Fading) -> None:
    x = torch.arange(12.0).view(2, 6)
    assert torch.equal(sent(Channel(0.0, 3, fading), x), x)


def test_the_channel_of_a_link_is_at_the_level_asked_for() -> None:
    link = CommsAutoencoder(CommsConfig(7, 4, snr=3.0, fading="rayleigh"))
    assert (link.rate, link.messages, link.dimensions) == (4 / 7, 16, 14)
    assert link.channel.deviation == noise_deviation(3.0, 4 / 7)
    assert link.channel_at(-2).deviation == noise_deviation(-2.0, 4 / 7)
    assert link.channel_at(-2).fading == link.channel.fading == "rayleigh"
    s = torch.arange(16)
    with random.streams(random.seeds(0, 16)):
        heard = link.heard(5.0)(s)
    assert torch.equal(heard, sent(link.channel_at(5.0), link.transmit(s)))


def test_a_whole_number_of_any_make_is_a_level() -> None:
    numpy = pytest.importorskip("numpy")
    for level in (numpy.int64(3), numpy.float32(3.0), 3):
        assert noise_deviation(level, 1.0) == noise_deviation(3.0, 1.0)


WRONG_LEVELS = [math.nan, math.inf, -math.inf, "8.5", None, True, 1e4, -1e4]


@pytest.mark.parametrize("level", WRONG_LEVELS)
@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (lambda level: noise_deviation(level, 0.5), "Eb/N0"),
        (lambda level: radius_of(level, 7), "the PSR"),
        (lambda level: BlockCode(snr=level), "Eb/N0"),
        (lambda level: BlockCode().channel_at(level), "Eb/N0"),
        (lambda level: BlockCode().heard(level), "Eb/N0"),
        (lambda level: CommsAutoencoder(CommsConfig(snr=level)), "Eb/N0"),
    ],
)
def test_a_level_that_is_none_is_refused(
    asked: Callable[[object], object], name: str, level: object
) -> None:
    with pytest.raises(
        UserError, match=f"{name} must be a finite number of dB, 300 at most either way, got"
    ):
        asked(level)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (lambda: noise_deviation(5.0, 0.0), "the rate must be above zero"),
        (lambda: noise_deviation(5.0, math.nan), "the rate must be above zero"),
        (lambda: radius_of(0.0, 0), "n must be at least 1"),
        (lambda: Channel(-1.0, 7), "deviation must be zero or more"),
        (lambda: Channel(math.nan, 7), "deviation must be zero or more"),
        (lambda: Channel(1.0, 7, "rice"), "one of none, rayleigh"),  # type: ignore[arg-type]
        (lambda: BlockCode().receive(torch.zeros(2, 14)), r"shape \(B, 7\), got \(2, 14\)$"),
    ],
)
def test_slips_are_told(asked: Callable[[], object], answer: str) -> None:
    with pytest.raises(UserError, match=answer):
        asked()
