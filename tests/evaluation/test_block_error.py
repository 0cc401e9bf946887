"""Block error rates by Monte Carlo: closed forms, pairing, stopping, memory, and what is refused."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.evaluation.links import CHECKS, CLEAN, EVERY, a_direction, close, counted, met, tail
from trompe.attacks.arrival import Arrival, Jamming
from trompe.attacks.universal import MISLEAD, Perturbation, Universal
from trompe.core import random
from trompe.core.domains import Images
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.data import Messages, Stream
from trompe.evaluation.block_error import (
    Condition,
    Count,
    Interference,
    block_errors,
    compared,
    curves,
    gain_db,
)
from trompe.models import UNCODED, BlockCode, CommsAutoencoder, CommsConfig, Link, radius_of

TWICE = ((1, 1),)  # every bit twice: decided bits tie as often as one of them is wrong


class Closed(nn.Module):
    """A receiver that nobody can look into."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, y: Tensor) -> Tensor:
        return self.inner(y)  # type: ignore[no-any-return]


class Levels(Link):
    """2^k amplitudes in one dimension: the inner ones have neighbours on both sides."""

    def __init__(self, bits: int) -> None:
        super().__init__(1, bits, 1, 8.5)
        x = 2.0 * torch.arange(self.messages) - self.messages + 1
        self.words = (x / x.square().mean().sqrt())[:, None]
        self.receiver = nn.Linear(1, self.messages).requires_grad_(False)
        self.receiver.weight.copy_(2 * self.words)
        self.receiver.bias.copy_(-self.words[:, 0].square())
        self.eval()

    def codebook(self) -> Tensor:
        return self.words


def closed(link: Link) -> Link:
    link.receiver = Closed(link.receiver)
    return link


def radio(architecture: str = "mlp", **settings: Any) -> CommsAutoencoder:
    """Untrained, and so often wrong, for reasons of many kinds."""
    return CommsAutoencoder(CommsConfig(7, 4, architecture, **settings)).eval()  # type: ignore[arg-type]


def interferences(link: Link) -> dict[str, Interference | None]:
    p = a_direction(link.dimensions, radius_of(-6.0, link.uses))[None]
    arrival = Arrival(sign=True, shift="time", uses=link.uses)
    return {
        "none": None,
        "jamming": Jamming(radius_of(-2.0, link.uses)),
        "perturbation": Perturbation(p),
        "unsynchronised": Perturbation(p, arrival=arrival),
    }


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_is_known_of_links_is_measured(check: Callable[[], None]) -> None:
    check()


# Receivers


@pytest.mark.parametrize("interference", ["none", "jamming", "perturbation", "unsynchronised"])
@pytest.mark.parametrize(
    "make",
    [
        radio,
        lambda: radio("cnn"),
        lambda: radio(fading="rayleigh"),
        BlockCode,
        lambda: BlockCode(decoder="hard"),
        lambda: BlockCode(TWICE, "hard"),
        lambda: Levels(3),
    ],
    ids=["mlp", "cnn", "rayleigh", "ml", "hard", "ties", "levels"],
)
def test_a_receiver_multiplied_out_agrees_with_itself_on_every_block(
    make: Callable[[], Link], interference: str
) -> None:
    condition = Condition(2.0, interferences(make())[interference])
    both = compared(
        make(), condition, condition, against=closed(make()), blocks=20_000, errors=EVERY
    )
    assert both.value == 0.0
    n = both.n + 2
    assert both.high == pytest.approx(1.959963984540054 * math.sqrt(1 / n) / math.sqrt(n)), (
        "of two that never differ"
    )


def test_decided_bits_that_tie_are_read_as_the_first_message() -> None:
    """Which of the two is sent does not matter to the sum: p^2, and p (1 - p) for half of what ties."""
    link = BlockCode(TWICE, "hard")
    p = tail(math.sqrt(2 * link.rate * 10**0.2))
    assert close(counted(link, 2.0, blocks=100_000)[2.0], p * p + p * (1 - p))


def test_a_receiver_without_numbers_receives_nothing() -> None:
    for link in (radio(), closed(radio())):
        for parameter in link.receiver.parameters():
            parameter.detach().fill_(math.nan)
        rate = block_errors(link, {"": Condition(5.0)}, blocks=1600)[""].rate
        assert rate >= 15 / 16


def test_a_receiver_that_says_nothing_receives_the_first_message() -> None:
    for link in (radio(), closed(radio())):
        for parameter in link.receiver.parameters():
            parameter.detach().zero_()
        found = block_errors(link, {"": Condition(5.0)}, blocks=1600, errors=EVERY)
        assert found[""] == Count(1500, 1600)


def test_a_receiver_that_draws_is_reproducible() -> None:
    class Noisy(Closed):
        def forward(self, y: Tensor) -> Tensor:
            return super().forward(y + random.normal(tuple(y.shape), y))

    link = BlockCode()
    link.receiver = Noisy(link.receiver)
    counts = [
        block_errors(link, {"": Condition(2.0)}, blocks=5000, seed=seed) for seed in (0, 0, 1)
    ]
    assert counts[0] == counts[1] != counts[2]


def test_a_link_in_double_precision_is_counted_alike() -> None:
    one, other = (
        block_errors(link, {"": Condition(1.0)}, blocks=10_000)
        for link in (radio(), radio().double())
    )
    assert abs(one[""].errors - other[""].errors) <= 2


# Conditions


def test_a_condition_counts_the_same_alone_and_beside_others() -> None:
    """Also where others stop before it, or after."""
    link = BlockCode()
    conditions = {
        (name, snr): Condition(snr, interference)
        for name, interference in interferences(link).items()
        for snr in (0.0, 9.0)
    }
    how = {"blocks": 30_000, "errors": 2000, "seed": 4}
    together = block_errors(link, conditions, **how)
    for key, condition in conditions.items():
        assert block_errors(link, {key: condition}, **how)[key] == together[key]
    assert len({count.blocks for count in together.values()}) > 1
    assert len({count.rate for count in together.values()}) == len(conditions)


def test_seeds_decide_and_global_generators_stay() -> None:
    state = torch.get_rng_state()
    found = [
        block_errors(BlockCode(), {"": Condition(2.0)}, blocks=5000, errors=EVERY, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]
    assert torch.equal(state, torch.get_rng_state())


def test_every_message_is_sent_as_often() -> None:
    for part in met(BlockCode(), Condition(0.0), 10_001):
        assert part.shape[0] == 16
    assert block_errors(BlockCode(), {"": Condition(0.0)}, blocks=33)[""].blocks == 48


def test_counts_spread_as_those_of_independent_blocks() -> None:
    """Over seeds, in deviations of a binomial variable; also where messages lie between others."""
    for link, snr, p in (
        (Levels(3), 10.0, 7 / 4 * tail(math.sqrt(2 * 3 * 10 / 21))),
        (BlockCode(UNCODED), 4.0, tail(math.sqrt(2 * 10**0.4))),
    ):
        counts = [
            block_errors(link, {"": Condition(snr)}, blocks=2000, errors=EVERY, seed=seed)[""]
            for seed in range(300)
        ]
        z = torch.tensor([(c.rate - p) / math.sqrt(p * (1 - p) / c.blocks) for c in counts])
        assert abs(float(z.mean())) < 4 / math.sqrt(300)
        assert abs(float(z.square().mean()) - 1) < 4 * math.sqrt(2 / 300)


def test_a_delay_of_entries_crosses_from_phase_to_quadrature() -> None:
    """As in the authors' program: of 2n numbers, by 0 to n - 1."""
    p = torch.arange(1.0, 7.0, dtype=torch.float64)
    forms = Arrival(shift="entries", uses=3).variants(p)
    assert forms.tolist() == [[1, 2, 3, 4, 5, 6], [6, 1, 2, 3, 4, 5], [5, 6, 1, 2, 3, 4]]
    forms = Arrival(shift="time", uses=3).variants(p)
    assert forms.tolist() == [[1, 2, 3, 4, 5, 6], [3, 1, 2, 6, 4, 5], [2, 3, 1, 5, 6, 4]]
    alone = Arrival(sign=True, shift="time", uses=3).variants(p[:3])
    assert alone[:3].tolist() == [[1, 2, 3], [3, 1, 2], [2, 3, 1]]
    assert torch.equal(alone[3:], -alone[:3])


@pytest.mark.parametrize("shift", ["none", "time", "entries"])
def test_a_perturbation_arrives_here_as_in_a_call_of_it(shift: str) -> None:
    """The same forms, as often."""
    link, arrival = radio(), Arrival(sign=True, shift=shift, uses=7)  # type: ignore[arg-type]
    p = Perturbation(a_direction(14, 1.0)[None], arrival=arrival)
    forms = arrival.variants(p.delta[0].detach())
    counted = torch.cat(met(link, Condition(CLEAN, p), 4200), 1).flatten(0, 1)
    with random.streams(random.seeds(0, 4200)), torch.no_grad():
        called = p(torch.zeros(4200, 14, dtype=torch.float64))
    for found in (counted, called):
        distance, which = torch.cdist(found, forms).min(1)
        assert float(distance.max()) < 1e-6
        times = torch.bincount(which, minlength=len(forms)).double()
        expected = len(found) / len(forms)
        assert float((times - expected).abs().max()) < 4.5 * math.sqrt(expected)


@pytest.mark.parametrize("psr", [-10.0, 0.0, 2.0])
def test_what_is_learned_keeps_to_its_power(psr: float) -> None:
    link = BlockCode()
    radius = radius_of(psr, link.uses)
    how = Universal(Ball(radius, "L2"), MISLEAD, steps=30)
    p = how.fit(link.receiver, Stream(Messages(4), 64), head=link.heard(6.0))
    for part in met(link, Condition(CLEAN, p), 64):
        power = part.norm(dim=2)
        assert float((power / radius - 1).abs().max()) < 1e-6


# Stopping


def test_it_stops_at_enough_errors_or_at_the_last_block() -> None:
    conditions = {snr: Condition(snr) for snr in (-3.0, 4.0, 60.0)}
    found = block_errors(BlockCode(), conditions, blocks=100_000)
    assert found[-3.0].errors >= 100
    assert found[-3.0].blocks < found[4.0].blocks < 100_000
    assert 100 <= found[4.0].errors < 200
    assert found[60.0] == Count(0, 100_000)
    more = block_errors(BlockCode(), conditions, blocks=100_000, errors=500)
    assert more[4.0].errors >= 500


def test_without_errors_there_is_an_upper_bound() -> None:
    record = Count(0, 6000).record(subject="x")
    assert (record.value, record.low, record.high, record.n) == (0.0, 0.0, 5e-4, 6000)
    assert (record.interval, record.subject) == ("rule of three 95%", "x")
    some = Count(20, 1000).record("other")
    assert some.interval == "Wilson 95%"
    assert some.low is not None and some.high is not None  # noqa: PT018
    assert some.low < some.value == 0.02 < some.high
    assert math.isnan(Count().rate)


def test_memory_does_not_grow_with_the_number_of_blocks() -> None:
    """While 100 MB of noise are drawn."""
    link, sizes = radio(), []
    inner = link.receiver

    class Watched(Closed):
        def forward(self, y: Tensor) -> Tensor:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            sizes.append(pages * 4096)
            return super().forward(y)

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    link.receiver = Watched(inner)
    block_errors(link, {"": Condition(5.0)}, blocks=1_800_000, errors=EVERY)
    early = max(sizes[: len(sizes) // 10])
    assert max(sizes) - early < 20e6


# Curves and comparisons


def test_a_curve_ends_with_its_first_point_of_few_errors() -> None:
    link = BlockCode()
    asked: list[float] = []

    def jamming(snr: float) -> Interference:
        asked.append(snr)
        return Jamming(radius_of(-6.0, 7))

    names: dict[str, Any] = {"clean": None, "jammed": jamming}
    found = curves(link, [9.0, 1.0, 5.0, 7.0, 11.0, 13.0, 30.0], names, blocks=30_000)
    for curve in found.values():
        *before, last = (count.errors for count in curve.values())
        assert min(before) >= 100 > last
        assert list(curve) == sorted(curve)
    assert list(found["jammed"]) == asked
    assert len(found["jammed"]) > len(found["clean"])
    alone = block_errors(link, {5.0: Condition(5.0)}, blocks=30_000)
    assert found["clean"][5.0] == alone[5.0]


def test_a_gain_is_a_horizontal_distance() -> None:
    def curve(cost: float) -> dict[float, Count]:
        levels = (0.0, 2.0, 4.0, 6.0, 8.0)
        return {x + cost: Count(round(1e9 * 10 ** (-x / 2)), 10**9) for x in levels}

    for rate in (0.5, 0.01, 2e-3):
        assert gain_db(curve(2.5), curve(0.0), rate) == pytest.approx(2.5, abs=1e-6)
    assert math.isnan(gain_db(curve(2.5), curve(0.0), 1e-9))
    assert math.isnan(gain_db({}, curve(0.0), 0.1))
    for rate in (0.0, -0.1, math.nan):
        with pytest.raises(UserError, match="above zero, got"):
            gain_db(curve(2.5), curve(0.0), rate)


def test_a_paired_difference_is_that_of_the_counts_and_narrower() -> None:
    link = BlockCode()
    one, other = Condition(3.0, Jamming(radius_of(-12.0, 7))), Condition(3.0)
    how = {"blocks": 40_000, "errors": EVERY, "seed": 2}
    record = compared(link, one, other, subject="link", **how)  # type: ignore[arg-type]
    counts = block_errors(link, {1: one, 2: other}, **how)
    assert record.value == pytest.approx(counts[1].rate - counts[2].rate)
    assert (record.n, record.subject) == (counts[1].blocks, "link")
    assert record.low is not None and record.high is not None  # noqa: PT018
    assert 0 < record.low < record.value < record.high
    rates = [count.rate for count in counts.values()]
    unpaired = 1.96 * math.sqrt(sum(p * (1 - p) for p in rates) / record.n)
    assert record.high - record.value < 0.9 * unpaired
    back = compared(link, other, one, **how)  # type: ignore[arg-type]
    assert back.value == -record.value


def test_two_links_are_compared_on_the_same_noise() -> None:
    record = compared(
        BlockCode(decoder="hard"),
        Condition(4.0),
        Condition(4.0),
        against=BlockCode(),
        blocks=20_000,
    )
    assert record.low is not None
    assert record.low > 0
    with pytest.raises(UserError, match="do not send the same blocks"):
        compared(BlockCode(), Condition(4.0), Condition(4.0), against=radio())
    with pytest.raises(UserError, match="one of these two fades"):
        compared(radio(), Condition(4.0), Condition(4.0), against=radio(fading="rayleigh"))


# Slips


@pytest.mark.parametrize(
    "asked", [{"blocks": 0}, {"errors": 0}, {"blocks": -5}, {"blocks": 1e6}, {"errors": "many"}]
)
def test_blocks_and_errors_are_whole_numbers_above_zero(asked: dict[str, Any]) -> None:
    (name,) = asked
    sentence = f"{name} must be a whole number of at least 1, got"
    for call in (
        lambda: block_errors(BlockCode(), {"": Condition(5.0)}, **asked),
        lambda: curves(BlockCode(), [5.0], {"": None}, **asked),
        lambda: compared(BlockCode(), Condition(5.0), Condition(4.0), **asked),
    ):
        with pytest.raises(UserError, match=sentence):
            call()


@pytest.mark.parametrize("level", [math.nan, math.inf, "5", None])
def test_a_level_that_is_none_is_refused(level: Any) -> None:
    with pytest.raises(UserError, match="Eb/N0 must be a finite number of dB"):
        block_errors(BlockCode(), {"": Condition(level)})
    with pytest.raises(UserError, match="Eb/N0 must be a finite number of dB"):
        curves(BlockCode(), [2.0, level], {"": None})


@pytest.mark.parametrize(
    ("interference", "answer"),
    [
        (lambda: torch.ones(1, 7), "interference is a Perturbation, Jamming or None, got Tensor"),
        (lambda: Perturbation(torch.ones(1, 14)), "has 14 numbers, a block 7"),
        (lambda: Perturbation(torch.ones(1, 7), "multiply"), "one perturbation that is added"),
        (lambda: Perturbation(torch.ones(2, 7)), "one perturbation that is added"),
        (lambda: Perturbation(torch.ones(1, 7), domain=Images()), "the domain Vectors"),
        (lambda: Jamming(radius_of(-math.inf, 7)), "the PSR must be a finite number of dB"),
        (lambda: Jamming(0.0), "jamming needs a radius above zero"),
        (lambda: Jamming(math.nan), "jamming needs a radius above zero"),
        (lambda: Universal(Ball(0.0, "L2"), MISLEAD), "radius zero"),
        (lambda: Universal(Ball(radius_of(-math.inf, 7), "L2"), MISLEAD), "finite number of dB"),
        (
            lambda: Perturbation(torch.ones(1, 7), arrival=Arrival(shift="time", uses=5)),
            "takes as many numbers or twice as many",
        ),
    ],
)
def test_interference_that_is_none_is_refused(interference: Callable[[], Any], answer: str) -> None:
    with pytest.raises(UserError, match=answer):
        block_errors(BlockCode(), {"": Condition(5.0, interference())})


def test_a_link_in_train_mode_is_refused() -> None:
    with pytest.raises(UserError, match=r"train mode; call link.eval\(\)"):
        block_errors(radio().train(), {"": Condition(5.0)})


def test_what_is_unusual_is_legal() -> None:
    """A rate above one, Eb/N0 below 0 dB, more power in the perturbation than in the block."""
    link = CommsAutoencoder(CommsConfig(1, 3)).eval()
    louder = Perturbation(a_direction(2, radius_of(3.0, 1))[None])
    found = block_errors(link, {"": Condition(-5.0, louder), 1: Condition(-5.0)}, blocks=4000)
    assert all(0 < count.rate <= 1 for count in found.values())
