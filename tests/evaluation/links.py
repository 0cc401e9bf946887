"""What is known of radio links and of what meets their blocks, as checks that broken ones must fail.

`test_block_error.py` runs them over the package, `test_link_mutants.py` over mutants of it. Whatever is under
test is looked up in its module when a check runs.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trompe import models
from trompe.attacks import universal
from trompe.attacks.arrival import Arrival, Jamming
from trompe.evaluation.block_error import Condition, Count, block_errors
from trompe.models import Link

CLEAN = 300.0  # dB: no noise that a number of double precision would show
EVERY = 10**9  # errors, more than there are blocks: count all


class Overheard(nn.Module):
    """A receiver that keeps what it hears, and answers nothing."""

    def __init__(self, messages: int) -> None:
        super().__init__()
        self.messages = messages
        self.heard: list[Tensor] = []

    def forward(self, y: Tensor) -> Tensor:
        self.heard.append(y.clone())
        return y.new_zeros(len(y), self.messages)


class Tapped(Link):
    """A link that sends what another would, in double precision, to a receiver that listens."""

    def __init__(self, link: Link) -> None:
        super().__init__(link.uses, link.bits, link.dimensions, 8.5, link.fading)
        with torch.no_grad():
            self.words = link.codebook().double()
        self.receiver = self.tap = Overheard(self.messages)
        self.eval()

    def codebook(self) -> Tensor:
        return self.words


def met(link: Link, condition: Condition, blocks: int, seed: int = 0) -> list[Tensor]:
    """What was added to the blocks on their way, batch by batch, `(M, B, d)`."""
    tapped = Tapped(link)
    block_errors(tapped, {"": condition}, blocks=blocks, errors=EVERY, seed=seed)
    return [
        heard.view(tapped.messages, -1, tapped.dimensions) - tapped.words[:, None]
        for heard in tapped.tap.heard
    ]


def counted(link: Link, *levels: float, blocks: int) -> dict[float, Count]:
    """Errors without an attacker; not stopped early, which would not be the same test."""
    met = {snr: Condition(snr) for snr in levels}
    return block_errors(link, met, blocks=blocks, errors=EVERY)


def tail(x: float) -> float:
    """Q, the share of a normal variable beyond x."""
    return math.erfc(x / math.sqrt(2)) / 2


def close(count: Count, expected: float, deviations: float = 4.0) -> bool:
    spread = math.sqrt(expected * (1 - expected) / count.blocks)
    return abs(count.rate - expected) < deviations * spread


def a_direction(size: int, length: float) -> Tensor:
    """A fixed one of that length, no two of its entries alike."""
    v = torch.linspace(-1.0, 2.0, size, dtype=torch.float64).exp()
    return length * v / v.norm()


# Checks


def bits_err_as_known() -> None:
    """Plain BPSK: Q(sqrt(2 Eb/N0))."""
    for snr, count in counted(
        models.BlockCode(models.UNCODED), 0.0, 4.0, 7.0, blocks=400_000
    ).items():
        assert close(count, tail(math.sqrt(2 * 10 ** (snr / 10))))


def hammings_code_errs_as_known() -> None:
    """Maximum likelihood: below the union bound of its weights, near it at 7 dB, and 0.0121 at 4 dB."""
    found = counted(models.BlockCode(decoder="ml"), 4.0, 5.0, 6.0, 7.0, blocks=1_000_000)
    assert abs(found[4.0].rate - 0.0121) < 0.0006
    for snr, count in found.items():
        power = 2 * 4 / 7 * 10 ** (snr / 10)
        bound = sum(n * tail(math.sqrt(power * weight)) for weight, n in ((3, 7), (4, 7), (7, 1)))
        assert count.rate < bound or close(count, bound)
        assert count.rate > 0.85 * bound or snr < 7


def hard_decoding_errs_as_known() -> None:
    """Two wrong bits of seven, or more, of a code that corrects one."""
    code = models.BlockCode(decoder="hard")
    for snr, count in counted(code, 0.0, 4.0, 7.0, blocks=300_000).items():
        p = tail(math.sqrt(2 * 4 / 7 * 10 ** (snr / 10)))
        expected = sum(math.comb(7, i) * p**i * (1 - p) ** (7 - i) for i in range(2, 8))
        assert close(count, expected)


def noise_is_of_the_level_asked_for() -> None:
    """1 / sqrt(2 R Eb/N0) in every dimension, white, fresh in every block."""
    for link in (models.BlockCode(), models.CommsAutoencoder(models.CommsConfig(3, 6))):
        w = torch.cat([part.flatten(0, 1) for part in met(link, Condition(3.0), 40_000)])
        variance = 1 / (2 * link.bits / link.uses * 10**0.3)
        covariance = w.T @ w / len(w)
        ideal = variance * torch.eye(link.dimensions, dtype=torch.float64)
        assert torch.allclose(covariance, ideal, atol=5 * variance * math.sqrt(2 / len(w)))


def every_block_meets_noise_of_its_own() -> None:
    """Within a batch and from batch to batch; not even the same with another sign."""
    for condition in (Condition(0.0), Condition(CLEAN, Jamming(2.0))):
        batches = met(models.BlockCode(), condition, 10_000)
        assert len(batches) > 1
        first = torch.cat([part.flatten(0, 1) for part in batches])[:, 0].abs()
        assert len(first.unique()) > 0.99 * len(first)


def the_power_is_that_asked_for() -> None:
    """Of a perturbation and of jamming, of every block, to a millionth of a dB."""
    for link in (models.BlockCode(), models.CommsAutoencoder(models.CommsConfig(7, 4))):
        for psr in (-6.0, 0.0, 3.0):
            radius = models.radius_of(psr, link.uses)
            added = universal.Perturbation(a_direction(link.dimensions, radius)[None])
            for interference in (added, Jamming(radius)):
                for part in met(link, Condition(CLEAN, interference), 200):
                    power = 10 * (part.square().sum(2) / link.uses).log10()
                    assert float((power - psr).abs().max()) < 1e-6


def a_delay_moves_uses_as_a_whole() -> None:
    """What is in phase stays in phase, and beside its quadrature; all delays and signs as often."""
    uses, link = 7, models.CommsAutoencoder(models.CommsConfig(7, 4))
    p = a_direction(2 * uses, 1.0)
    arrival = Arrival(sign=True, shift="time", uses=uses)
    added = universal.Perturbation(p[None], arrival=arrival)
    found = torch.cat([part.flatten(0, 1) for part in met(link, Condition(CLEAN, added), 7000)])
    forms = torch.stack(
        [sign * p.view(2, uses).roll(k, 1).flatten() for sign in (1, -1) for k in range(uses)]
    )
    distance, which = torch.cdist(found, forms).min(1)
    assert float(distance.max()) < 1e-6
    times = torch.bincount(which, minlength=2 * uses).double()
    expected = len(found) / (2 * uses)
    assert float((times - expected).abs().max()) < 4.5 * math.sqrt(expected)


def the_codebook_has_the_energy_of_its_uses() -> None:
    """On average, not each block: a constellation may place its messages at any distance."""
    for architecture in ("mlp", "cnn"):
        config = models.CommsConfig(5, 4, architecture)  # type: ignore[arg-type]
        with torch.no_grad():
            energy = models.CommsAutoencoder(config).codebook().double().square().sum(1)
        assert abs(float(energy.mean()) / 5 - 1) < 1e-6
        assert float(energy.max() / energy.min()) > 1.1


CHECKS: tuple[Callable[[], None], ...] = (
    bits_err_as_known,
    hammings_code_errs_as_known,
    hard_decoding_errs_as_known,
    noise_is_of_the_level_asked_for,
    every_block_meets_noise_of_its_own,
    the_power_is_that_asked_for,
    a_delay_moves_uses_as_a_whole,
    the_codebook_has_the_energy_of_its_uses,
)
