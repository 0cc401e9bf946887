"""How a perturbation meets blocks that it is not synchronised with, and jamming."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trompe.attacks.arrival import Arrival, Jamming
from trompe.attacks.universal import MISLEAD, Perturbation, Universal
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.data import Messages, Stream
from trompe.models import BlockCode, radius_of


def drawn(module: torch.nn.Module, v: Tensor, index: Tensor, seed: int = 0) -> Tensor:
    with random.streams(random.seeds(seed, index)), torch.no_grad():
        return module(v)  # type: ignore[no-any-return]


@pytest.mark.parametrize("uses", [1, 4])
@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("shift", ["none", "time", "entries"])
@pytest.mark.parametrize("sign", [False, True])
def test_all_forms_have_the_power_of_the_first(
    uses: int, width: int, shift: str, sign: bool
) -> None:
    p = torch.arange(1.0, uses * width + 1)
    forms = Arrival(sign, shift, uses).variants(p)  # type: ignore[arg-type]
    delays = 1 if shift == "none" else uses
    assert forms.shape == (delays * (1 + sign), uses * width)
    assert torch.equal(forms[0], p)
    assert len(forms.unique(dim=0)) == len(forms)
    assert torch.equal(forms.abs().sort(1).values, p.expand_as(forms))
    assert torch.equal(forms.sum(0) == 0, torch.full_like(p, sign) > 0), (
        "with a sign, none on average"
    )


def test_delays_of_whole_uses_and_of_numbers() -> None:
    p = torch.tensor([1.0, 2, 3, 10, 20, 30])
    whole = Arrival(shift="time", uses=3).variants(p)
    assert whole.tolist() == [[1, 2, 3, 10, 20, 30], [3, 1, 2, 30, 10, 20], [2, 3, 1, 20, 30, 10]]
    mixed = Arrival(shift="entries", uses=3).variants(p)
    assert mixed.tolist() == [[1, 2, 3, 10, 20, 30], [30, 1, 2, 3, 10, 20], [20, 30, 1, 2, 3, 10]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Jamming(1.5),
        lambda: Perturbation(
            torch.arange(8.0)[None], arrival=Arrival(sign=True, shift="time", uses=4)
        ),
    ],
    ids=["jamming", "perturbation"],
)
def test_a_block_meets_the_same_alone_and_in_a_batch(make: Callable[[], torch.nn.Module]) -> None:
    module, v = make(), torch.arange(80.0).view(10, 8)
    state = torch.get_rng_state()
    together = drawn(module, v, torch.arange(10))
    for k in range(10):
        alone = drawn(module, v[k : k + 1], torch.tensor([k]))
        assert torch.equal(alone, together[k : k + 1])
    assert len((together - v).unique(dim=0)) > 1
    assert not torch.equal(drawn(module, v, torch.arange(10), seed=1), together)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("psr", [-20.0, 0.0, 3.0])
def test_jamming_has_its_power_in_every_block_and_no_direction(psr: float) -> None:
    radius, blocks = radius_of(psr, 7), 20_000
    v = torch.zeros(blocks, 14, dtype=torch.float64)
    g = drawn(Jamming(radius), v, torch.arange(blocks)) / radius
    assert float((g.norm(dim=1) - 1).abs().max()) < 1e-6
    assert float(g.mean(0).abs().max()) < 4.5 / math.sqrt(14 * blocks)
    covariance = 14 * g.T @ g / blocks
    assert torch.allclose(
        covariance, torch.eye(14, dtype=torch.float64), atol=5 * math.sqrt(2 / blocks)
    )


def test_the_last_form_is_drawn_by_the_largest_number_below_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which in single precision would be one, and the form after the last."""

    def largest(shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.full(shape, 1 - 2.0**-50, dtype=torch.float64).to(like.dtype)

    p = Perturbation(torch.arange(1.0, 5.0)[None], arrival=Arrival(shift="time", uses=4))
    monkeypatch.setattr(random, "uniform", largest)
    with torch.no_grad():
        assert p(torch.zeros(1, 4)).tolist() == [[2.0, 3.0, 4.0, 1.0]]


def test_what_is_learned_for_every_arrival_keeps_it() -> None:
    code, arrival = BlockCode(), Arrival(sign=True, shift="time", uses=7)
    how = Universal(Ball(2.0, "L2"), MISLEAD, steps=20, arrival=arrival)
    p = how.fit(code.receiver, Stream(Messages(4), 64), head=code.heard(6.0))
    assert p.arrival == arrival
    assert float(p.delta.detach().norm()) <= 2.0 * (1 + 1e-6)
    again = how.fit(code.receiver, Stream(Messages(4), 64), head=code.heard(6.0))
    assert torch.equal(p.delta, again.delta)


@pytest.mark.parametrize(
    ("made", "answer"),
    [
        (lambda: Arrival(shift="space", uses=7), "shift must be one of none, time, entries"),  # type: ignore[arg-type]
        (lambda: Arrival(shift="time"), "say how many, got None"),
        (lambda: Arrival(shift="entries", uses=0), "say how many, got 0"),
        (lambda: Arrival(shift="time", uses=5).variants(torch.ones(7)), "5 channel uses takes"),
        (lambda: Arrival(shift="time", uses=2).variants(torch.ones(1, 2)), "takes as many numbers"),
        (lambda: Jamming(0.0), "needs a radius above zero, got 0"),
        (lambda: Jamming(-1.0), "needs a radius above zero"),
        (lambda: Jamming(math.nan), "needs a radius above zero"),
        (lambda: Jamming(math.inf), "needs a radius above zero"),
        (
            lambda: Perturbation(torch.ones(1, 7), "multiply", arrival=Arrival(sign=True)),
            "only what is added",
        ),
        (lambda: Perturbation(torch.ones(2, 7), arrival=Arrival(sign=True)), "only what is added"),
    ],
)
def test_slips_are_told(made: Callable[[], object], answer: str) -> None:
    with pytest.raises(UserError, match=answer):
        made()
