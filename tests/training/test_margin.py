"""The margin step: its loss in closed form, and an embedder that learns by it."""

import math

import pytest
import torch
from torch import nn

from trompe.core.errors import UserError
from trompe.training import Batches, MarginStep, train
from trompe.training.margin import Prototypes


def test_the_loss_is_that_of_cosines_with_a_margin() -> None:
    step = MarginStep(nn.Identity(), 3, 2, margin=0.2, scale=10.0)
    cosines = torch.tensor([[0.9, 0.1, -0.4], [0.3, 0.2, 0.1]], dtype=torch.float64)
    y = torch.tensor([0, 2])
    expected = 0.0
    for row, label in zip(cosines.tolist(), y.tolist(), strict=True):
        own = 10 * (row[label] - 0.2)
        rest = [10 * value for k, value in enumerate(row) if k != label]
        expected += math.log(sum(math.exp(v - own) for v in [own, *rest])) / 2
    assert float(step.margin_loss(cosines, y)) == pytest.approx(expected)


def test_directions_are_the_steps_own_and_drawn_from_the_seed() -> None:
    state = torch.get_rng_state()
    one, again, other = (Prototypes(nn.Identity(), 4, 3, seed=s).directions for s in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    step = MarginStep(nn.Linear(2, 3), 4, 3)
    assert sum(len(group["params"]) for group in step.optimizer.param_groups) == 3


def test_classes_on_a_circle_are_parted_by_their_angles() -> None:
    """Three bundles of directions, given in polar coordinates that the embedder has to undo."""
    y = torch.arange(300) % 3
    turn = y * (2 * math.pi / 3) + 0.3 * torch.sin(torch.arange(300.0))
    x = torch.stack([turn.cos(), turn.sin()], 1) * (1 + torch.arange(300.0)[:, None] % 5)
    embedder = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in embedder[::2]:
            layer.reset_parameters()  # type: ignore[operator]
    step = MarginStep(embedder, 3, 2, lr=2e-2, margin=0.3)
    train(step, Batches(x, y, size=60), epochs=60, progress=False)
    with torch.no_grad():
        z = nn.functional.normalize(embedder(x))
    cosines = z @ z.T
    same = y[:, None] == y[None]
    assert float(cosines[same].mean()) > 0.95
    assert float(cosines[~same].mean()) < -0.4


def test_what_is_augmented_is_what_is_seen() -> None:
    seen = []
    step = MarginStep(nn.Linear(2, 2), 2, 2, augment=lambda x: seen.append(x) or -x)
    step.model.embedder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    x = torch.ones(2, 2)
    step(x, torch.tensor([0, 1]))
    assert torch.equal(seen[0], x)
    assert torch.equal(seen[1], -x)


def test_traits_are_told_from_the_embedding() -> None:
    """Two classes that are one person's but for a trait: the margin alone would part them as well."""
    traits = torch.tensor([[0.0, 0.5], [1.0, 0.5]])
    y = torch.arange(40) % 2
    x = nn.functional.one_hot(y, 2).float() + 0.1 * torch.sin(torch.arange(80.0)).view(40, 2)
    step = MarginStep(nn.Linear(2, 3), 2, 3, lr=2e-2, traits=traits, weight=1.0)
    told = step.model.traits
    assert told.loss(torch.ones(2, 3), torch.tensor([0, 1])).item() == pytest.approx(
        2 * math.log(2)
    )
    train(step, Batches(x, y, size=20), epochs=60, progress=False)
    with torch.no_grad():
        z = nn.functional.normalize(step.model.embedder(x))
        shares = torch.sigmoid(nn.functional.linear(step.scale * z, told.weight, told.bias))
    assert float((shares - traits[y]).abs().max()) < 0.1


def test_slips_are_one_sentence() -> None:
    for wrong in ({"margin": -0.1}, {"margin": 2.0}, {"scale": 0.0}):
        with pytest.raises(UserError, match="margin must be in"):
            MarginStep(nn.Linear(2, 2), 2, 2, **wrong)  # type: ignore[arg-type]
