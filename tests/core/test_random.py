"""Random streams: draws belong to examples."""

import math

import pytest
import torch

from trompe.core import random


@pytest.mark.parametrize("draw", [random.uniform, random.normal, random.signs])
def test_alone_as_in_a_batch(draw) -> None:
    keys = random.seeds(7, 12)
    with random.streams(keys, 3):
        together = [draw((12, 2, 5)), draw((12, 4))]
    for row in range(12):
        with random.streams(keys[row : row + 1], 3):
            alone = [draw((1, 2, 5)), draw((1, 4))]
        assert all(torch.equal(a[0], b[row]) for a, b in zip(alone, together, strict=True))


def test_draw_numbers_may_differ_between_examples() -> None:
    keys = random.seeds(7, 3)
    with random.streams(keys, torch.tensor([5, 0, 9])):
        mixed = random.uniform((3, 4))
    with random.streams(keys, 9):
        ninth = random.uniform((3, 4))
    assert torch.equal(mixed[2], ninth[2])
    assert not torch.equal(mixed[0], ninth[0])


def test_copies_of_a_batch_meet_draws_of_their_own() -> None:
    keys = random.seeds(0, 4)
    with random.streams(keys):
        many = random.uniform((12, 3))
    assert len(torch.unique(many)) == 36
    with random.streams(keys[2:3]):
        alone = random.uniform((3, 3))
    assert torch.equal(many[2::4], alone)
    with random.streams(keys), pytest.raises(RuntimeError, match="multiple"):
        random.uniform((6, 3))


def test_moments() -> None:
    count = 40000
    with random.streams(random.seeds(0, count)):
        u, z, s = (draw((count, 5), torch.empty(0, dtype=torch.float64))
                   for draw in (random.uniform, random.normal, random.signs))  # fmt: skip
    n = math.sqrt(u.numel())
    assert float(u.min()) > 0
    assert float(u.max()) < 1
    assert abs(float(u.mean()) - 0.5) < 4 * math.sqrt(1 / 12) / n
    assert abs(float(u.var()) - 1 / 12) < 4 * math.sqrt(1 / 180) / n
    assert abs(float(z.mean())) < 4 / n
    assert abs(float(z.var()) - 1) < 4 * math.sqrt(2) / n
    assert abs(float(z.pow(3).mean())) < 4 * math.sqrt(15) / n
    assert abs(float(z.pow(4).mean()) - 3) < 4 * math.sqrt(96) / n
    assert abs(float(s.mean())) < 4 / n
    assert set(s.unique().tolist()) == {-1.0, 1.0}


def test_examples_calls_draws_and_seeds_are_independent() -> None:
    count = 5000
    like = torch.empty(0, dtype=torch.float64)
    keys, others = random.seeds(0, count), random.seeds(1, count)
    with random.streams(keys, 0):
        first, second = random.normal((count, 2), like), random.normal((count, 2), like)
    with random.streams(keys, 1):
        third = random.normal((count, 2), like)
    with random.streams(others, 0):
        fourth = random.normal((count, 2), like)
    columns = torch.cat([first, second, third, fourth, first.roll(1, 0)], 1)
    off = torch.corrcoef(columns.T) - torch.eye(10, dtype=torch.float64)
    assert float(off.abs().max()) < 4.5 / math.sqrt(count)


def test_seeds_of_indices() -> None:
    assert torch.equal(random.seeds(3, 5), random.seeds(3, torch.arange(5)))
    assert len(torch.cat([random.seeds(s, 1000) for s in range(-5, 6)]).unique()) == 11000


def test_without_streams_draws_are_fresh_and_private() -> None:
    state = torch.get_rng_state()
    assert not torch.equal(random.normal((2, 3)), random.normal((2, 3)))
    assert torch.equal(state, torch.get_rng_state())


def test_contexts_nest() -> None:
    with random.streams(random.seeds(0, 2)) as outer:
        first = random.uniform((2, 3))
        with random.streams(random.seeds(9, 2)):
            random.uniform((2, 3))
        second = random.uniform((2, 3))
    assert outer.calls == 2
    with random.streams(random.seeds(0, 2)):
        assert torch.equal(random.uniform((2, 3)), first)
        assert torch.equal(random.uniform((2, 3)), second)


def test_sample_is_reparametrised() -> None:
    mean = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    spread = torch.full((3, 4), 2.0, dtype=torch.float64, requires_grad=True)
    with random.streams(random.seeds(0, 3)):
        drawn = random.sample(torch.distributions.Normal(mean, spread))
    with random.streams(random.seeds(0, 3)):
        noise = random.normal((3, 4), mean)
    by_mean, by_spread = torch.autograd.grad(drawn.sum(), (mean, spread))
    assert torch.equal(drawn, 2 * noise)
    assert torch.equal(by_mean, torch.ones_like(mean))
    assert torch.equal(by_spread, noise)


def test_dtype_follows() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        like = torch.empty(0, dtype=dtype)
        assert {d((2, 3), like).dtype for d in (random.uniform, random.normal, random.signs)} == {
            dtype
        }
