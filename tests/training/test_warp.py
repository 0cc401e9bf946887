"""Warped training images: each in its own way, from its own stream, and as a classifier's step asks."""

import torch
from torch import nn

from trompe.core.random import seeds, streams
from trompe.training import ClassifierStep, warped


def square() -> torch.Tensor:
    x = torch.zeros(4, 1, 16, 16)
    x[:, :, 5:11, 5:11] = 1
    return x


def drawn(x: torch.Tensor, index: torch.Tensor, **settings: object) -> torch.Tensor:
    with streams(seeds(0, index)):
        return warped(x, **settings)  # type: ignore[arg-type]


def test_nothing_happens_at_strength_zero() -> None:
    assert torch.equal(warped(square(), strength=0), square())


def test_an_image_is_warped_alike_in_any_batch() -> None:
    x, index = square(), torch.arange(4)
    together = drawn(x, index)
    assert not torch.equal(together[0], together[1])
    for place in range(4):
        alone = drawn(x[place : place + 1], index[place : place + 1])
        torch.testing.assert_close(alone[0], together[place])


def test_what_is_shown_stays_and_stays_in_range() -> None:
    x = square()
    made = drawn(x, torch.arange(4))
    assert made.shape == x.shape
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    shares = made.flatten(1).sum(1) / x.flatten(1).sum(1)
    assert bool(((shares > 0.6) & (shares < 1.6)).all())


def test_a_mirror_swaps_the_sides_of_some() -> None:
    x = torch.zeros(16, 1, 8, 8)
    x[..., :4] = 1
    left = drawn(x, torch.arange(16), strength=0, mirror=True)[:, 0, 4, 0]
    assert 0 < int((left > 0.5).sum()) < 16
    assert bool(((left < 1e-4) | (left > 1 - 1e-4)).all())


def test_a_step_trains_on_what_its_augmentation_makes() -> None:
    seen = []

    def record(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return 1 - x

    model = nn.Linear(2, 2)
    step = ClassifierStep(model, lr=0.0, augment=record)
    x, y = torch.eye(2), torch.arange(2)
    loss = float(nn.functional.cross_entropy(model(1 - x), y).detach())
    assert float(step(x, y)["loss"]) == loss
    assert torch.equal(seen[0], x)
