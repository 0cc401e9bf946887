"""Broken links and broken counts must fail the checks that the package's own pass."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.evaluation.links import CHECKS
from trompe import models
from trompe.attacks.arrival import Arrival
from trompe.evaluation import block_error
from trompe.models import BlockCode, CommsAutoencoder, channel, radius_of

Patch = pytest.MonkeyPatch
TRIALS = block_error._Trials


def half_power(patch: Patch) -> None:
    """Half of the power goes to dimensions that the link does not use."""
    patch.setattr(models, "radius_of", lambda psr, n: radius_of(psr, n) / math.sqrt(2))


def power_of_an_amplitude(patch: Patch) -> None:
    """Twenty for ten in the decibel."""
    patch.setattr(models, "radius_of", lambda psr, n: math.sqrt(n) * 10 ** (psr / 10))


def delay_that_mixes(patch: Patch) -> None:
    """Rolls the numbers as one row."""

    def variants(self: Arrival, delta: Tensor) -> Tensor:
        forms = torch.stack([delta.roll(k) for k in range(self.uses or 1)])
        return torch.cat([forms, -forms])

    patch.setattr(Arrival, "variants", variants)


def delay_over_both(patch: Patch) -> None:
    """Delays the quadrature by one use more."""

    def variants(self: Arrival, delta: Tensor) -> Tensor:
        phase, quadrature = delta.view(2, -1)
        forms = torch.stack(
            [torch.cat([phase.roll(k), quadrature.roll(k + 1)]) for k in range(self.uses or 1)]
        )
        return torch.cat([forms, -forms])

    patch.setattr(Arrival, "variants", variants)


def never_the_last_form(patch: Patch) -> None:
    which = TRIALS._which
    patch.setattr(
        TRIALS, "_which", lambda self, seed, size, forms: which(self, seed, size, forms - 1)
    )


def seed_reset(patch: Patch) -> None:
    """Begins its stream again in every batch."""
    wrong = TRIALS.wrong
    patch.setattr(TRIALS, "wrong", lambda self, number, size, keys: wrong(self, 0, size, keys))


def noise_of_the_batch(patch: Patch) -> None:
    """One draw for all messages."""
    normal = TRIALS._normal

    def repeated(self: Any, seed: int, size: int, width: int) -> Tensor:
        rows = normal(self, seed, size, width)
        return rows[:size].repeat(len(rows) // size, 1)

    patch.setattr(TRIALS, "_normal", repeated)


def noise_twice(patch: Patch) -> None:
    """Half of the blocks meet the noise of the others with its sign turned."""
    normal = TRIALS._normal

    def mirrored(self: Any, seed: int, size: int, width: int) -> Tensor:
        rows = normal(self, seed, size, width)
        half = rows[: len(rows) // 2]
        return torch.cat([half, -half])

    patch.setattr(TRIALS, "_normal", mirrored)


def jamming_of_varying_power(patch: Patch) -> None:
    """Gaussian numbers of the right mean power, not brought to it."""

    def jam(self: Any, seed: int, size: int) -> Tensor:
        width = self.link.dimensions
        return self._columns(self._normal(seed, size, width) / math.sqrt(width))  # type: ignore[no-any-return]

    patch.setattr(TRIALS, "_jamming", jam)


def jamming_drawn_once(patch: Patch) -> None:
    jam = TRIALS._jamming

    def once(self: Any, seed: int, size: int) -> Tensor:
        found = jam(self, 0, size)
        return found[..., :1].expand_as(found)

    patch.setattr(TRIALS, "_jamming", once)


def noise_without_the_rate(patch: Patch) -> None:
    """Es/N0 for Eb/N0."""
    deviation = channel.noise_deviation
    patch.setattr(channel, "noise_deviation", lambda snr, rate: deviation(snr, 1.0))


def noise_of_both_dimensions(patch: Patch) -> None:
    """N0 in each dimension, which is that of both together."""
    deviation = channel.noise_deviation
    patch.setattr(channel, "noise_deviation", lambda snr, rate: math.sqrt(2) * deviation(snr, rate))


def each_message_scaled(patch: Patch) -> None:
    """A sphere for a codebook."""
    codebook = CommsAutoencoder.codebook

    def scaled(self: CommsAutoencoder) -> Tensor:
        x = codebook(self)
        energy = x.square().sum(1, keepdim=True)
        return x * (self.uses / energy).sqrt()

    patch.setattr(CommsAutoencoder, "codebook", scaled)


def half_energy(patch: Patch) -> None:
    """n for the 2n numbers of a block, as if each were a use."""
    codebook = CommsAutoencoder.codebook
    patch.setattr(CommsAutoencoder, "codebook", lambda self: codebook(self) / math.sqrt(2))


def hard_for_ml(patch: Patch) -> None:
    patch.setattr(
        models, "BlockCode", lambda *given, **rest: BlockCode(*given, **rest | {"decoder": "hard"})
    )


def ml_for_hard(patch: Patch) -> None:
    patch.setattr(
        models, "BlockCode", lambda *given, **rest: BlockCode(*given, **rest | {"decoder": "ml"})
    )


def another_code(patch: Patch) -> None:
    """One wrong parity bit: a code of least distance 2."""
    *rows, last = models.HAMMING_7_4
    worse = (*rows, (*last[:-1], 0))
    patch.setattr(models, "BlockCode", partial(BlockCode, worse))


MUTANTS: list[tuple[Callable[[Patch], None], str]] = [
    (half_power, "the_power_is_that_asked_for"),
    (power_of_an_amplitude, "the_power_is_that_asked_for"),
    (jamming_of_varying_power, "the_power_is_that_asked_for"),
    (jamming_drawn_once, "every_block_meets_noise_of_its_own"),
    (delay_that_mixes, "a_delay_moves_uses_as_a_whole"),
    (delay_over_both, "a_delay_moves_uses_as_a_whole"),
    (never_the_last_form, "a_delay_moves_uses_as_a_whole"),
    (seed_reset, "every_block_meets_noise_of_its_own"),
    (noise_of_the_batch, "every_block_meets_noise_of_its_own"),
    (noise_twice, "every_block_meets_noise_of_its_own"),
    (noise_without_the_rate, "noise_is_of_the_level_asked_for"),
    (noise_without_the_rate, "hammings_code_errs_as_known"),
    (noise_of_both_dimensions, "bits_err_as_known"),
    (each_message_scaled, "the_codebook_has_the_energy_of_its_uses"),
    (half_energy, "the_codebook_has_the_energy_of_its_uses"),
    (hard_for_ml, "hammings_code_errs_as_known"),
    (ml_for_hard, "hard_decoding_errs_as_known"),
    (another_code, "hammings_code_errs_as_known"),
]


@pytest.mark.parametrize(
    ("mutant", "caught"), MUTANTS, ids=lambda value: getattr(value, "__name__", value)
)
def test_mutant_is_caught(mutant: Callable[[Patch], None], caught: str, monkeypatch: Patch) -> None:
    (check,) = (check for check in CHECKS if check.__name__ == caught)
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check()
