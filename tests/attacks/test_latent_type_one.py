"""Type I in a latent space: linear generators whose optimum is known, users' modules, and slips."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trompe.attacks import LatentTypeI
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import execution
from trompe.models import ACGAN, GAN, ACGANConfig, ClassifierConfig, ClassifierNet, GANConfig

LATENT = 12


def codes(rows: int, size: int = LATENT, seed: int = 0) -> Tensor:
    with random.streams(random.seeds(seed, rows)):
        return random.normal((rows, size), torch.empty(0, dtype=torch.float64))


def linear(matrix: Tensor) -> nn.Module:
    layer = nn.Linear(*reversed(matrix.shape), bias=False)
    layer.weight.data = matrix
    return layer.double().eval()


def through(rank: int) -> tuple[nn.Module, nn.Module, Tensor]:
    """A generator, a victim, and what both make of a code: a matrix with these singular values."""
    generator = torch.Generator().manual_seed(3)
    left, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator).double())
    right, _ = torch.linalg.qr(torch.randn(LATENT, LATENT, generator=generator).double())
    values = torch.linspace(1, 2, rank).double()
    both = left[:, :rank] * values @ right[:, :rank].T
    shape, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator).double())
    return linear(shape @ both), linear(shape.T), both


UNITS = {"sum": 1.0, "mean": 1.0 / LATENT}


def moves_within_the_null_space(make: Callable[..., LatentTypeI], metric: str) -> None:
    """What the victim does not see may move: there J_1 is zero, and at distance eps the loss is too.

    Adam arrives with momentum, and beyond eps nothing holds it: the distance is at most twice eps.
    """
    generator, victim, both = through(8)
    z, unit = codes(6), UNITS[metric]
    settings = {"keep": "embedding", "k": 0.3 * unit, "eps": 2 * unit, "metric": metric}
    attack = make(**settings, shell=False, allowed=0.05, steps=600).using(generator=generator)
    moved = attack(victim, z) - z
    size = moved.square().sum(1) / 2
    assert bool((size > 0.99).all()), f"only {float(size.min()):.2f} of the distance"
    assert float(size.max()) < 2
    seen = (moved @ both.T).norm(dim=1) / moved.norm(dim=1)
    assert float(seen.max()) < 0.01, f"{float(seen.max()):.2f} of the way is seen by the victim"


@pytest.mark.parametrize("metric", UNITS)
def test_codes_move_where_the_victim_is_blind(metric: str) -> None:
    moves_within_the_null_space(LatentTypeI, metric)


def test_a_hinge_of_the_wrong_sign_is_noticed() -> None:
    class Homesick(LatentTypeI):
        def hinge(self, distance: Tensor) -> Tensor:
            return torch.relu(distance - self.eps)

    with pytest.raises(AssertionError, match="of the distance"):
        moves_within_the_null_space(Homesick, "sum")


def test_where_nothing_is_blind_the_weakest_direction_is_taken() -> None:
    """Without a null space the least loss is k s sqrt(eps), at eps along the least singular value s."""
    matrix = torch.diag(torch.tensor([0.5, 2.0, 3.0, 4.0]).double())
    settings = {"keep": "embedding", "k": 0.1, "eps": 1.0, "metric": "sum", "nudge": 0.3}
    attack = LatentTypeI(**settings, shell=False, allowed=9.0, steps=800, patience=None)  # type: ignore[arg-type]
    z = codes(5, 4)
    moved = attack.using(generator=linear(matrix))(linear(torch.eye(4).double()), z) - z
    lost = 0.1 * (moved @ matrix).norm(dim=1) + (1 - moved.square().sum(1)).clamp_min(0)
    torch.testing.assert_close(lost, torch.full_like(lost, 0.1 * 0.5), rtol=1e-2, atol=0)
    ends = torch.tensor([1.0, 0, 0, 0]).double().expand(5, 4)
    torch.testing.assert_close(moved.square(), ends, rtol=1e-2, atol=1e-2)


class Reader(nn.Module):
    """Makes `(code, class)`, two classes; its auxiliary classifier reads the code's first coordinate."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1).double())

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        assert y is not None
        return self.scale * torch.cat([z, y[:, None].to(z.dtype)], 1)

    def classify(self, x: Tensor) -> Tensor:
        return torch.stack([-4 * x[:, 0], 4 * x[:, 0]], 1)


class Second(nn.Module):
    """A victim that answers by the second coordinate, or by the last, the class drawn."""

    def __init__(self, column: int = 1, middle: float = 0.0) -> None:
        super().__init__()
        self.column, self.middle = column, middle

    def forward(self, x: Tensor) -> Tensor:
        value = 4 * (x[:, self.column] - self.middle)
        return torch.stack([-value, value], 1)


def test_a_target_is_reached_for_the_generators_own_reader() -> None:
    z = codes(16)
    z[:, 0], z[:, 1] = -z[:, 0].abs(), -z[:, 1].abs() - 0.3
    y = torch.zeros(16).long()
    attack = LatentTypeI(target="next", eps=0.1, k=0.1).using(generator=Reader().eval())
    assert attack.targets(Second().eval(), z, y).tolist() == [1] * 16
    found = attack(Second().eval(), z, y)
    assert bool((found[:, 0] > 0.2).all()), "the auxiliary classifier reads the target"
    assert bool((found[:, 1] < -0.2).all()), "the victim does not"
    torch.testing.assert_close(found.norm(dim=1), z.norm(dim=1))


def test_the_class_that_is_drawn_on_the_way() -> None:
    """A victim that reads what class was drawn keeps its answer for "present", and cannot for "target"."""
    z, y, victim = codes(4), torch.zeros(4).long(), Second(-1, 0.5).eval()
    attack = LatentTypeI(target=1, steps=20, patience=None)
    last = {}
    for draws in ("present", "target"):
        own = replace(attack, draws=draws).using(generator=Reader().eval())
        way = own.trace(victim, z, y)
        last[draws] = way.best[:, -1].tolist(), float(way.confidence[-1].mean())
    assert last["present"][0] == [0] * 4
    assert last["target"][0] == [1] * 4
    assert last["present"][1] > 0.9 > 0.1 > last["target"][1]


def test_a_users_generator_is_called_with_codes_alone() -> None:
    """As a StyleGAN: 512 latents, two stages, no classes, no prior; images in [0, 1]."""
    torch.manual_seed(0)
    mapping, synthesis = nn.Linear(512, 32), nn.Linear(32, 48)
    generator = nn.Sequential(
        mapping, nn.Tanh(), synthesis, nn.Sigmoid(), nn.Unflatten(1, (3, 4, 4))
    )
    embedder = nn.Sequential(nn.Flatten(), nn.Linear(48, 6)).eval()
    z = codes(3, 512).float()
    attack = LatentTypeI(keep="embedding", steps=150).using(generator=generator.eval())
    way = attack.trace(embedder, z, at=(0, 150))
    assert way.images.shape == (2, 3, 3, 4, 4)
    assert way.targets.tolist() == [-1] * 3
    assert float(way.curves["distance"][-1].min()) > 0.9
    assert float(way.curves["victim"][-1].max()) < 1
    wide = LatentTypeI.published("embedding", steps=30).using(generator=generator)
    assert wide.metric == "sum"
    assert float(wide.distance(z, wide(embedder, z)).max()) < 1


@pytest.fixture(scope="module")
def digits() -> tuple[ACGAN, nn.Module, Tensor, Tensor]:
    """An untrained AC-GAN and a victim in float64, with codes and the classes that the victim gives them."""
    generator = ACGAN(ACGANConfig((1, 8, 8), latent=LATENT, channels=(4,), critic=(4,), classes=4))
    victim = ClassifierNet(ClassifierConfig("mlp", (1, 8, 8), classes=4, hidden=(16,)))
    z, y = codes(40), torch.arange(40) % 4
    with torch.no_grad():
        right = victim.double().eval()(generator.double().eval()(z, y)).argmax(1) == y
    return generator, victim, z[right][:5], y[right][:5]


def test_it_keeps_the_promises_of_every_attack(digits: Any) -> None:
    generator, victim, z, y = digits
    attack = LatentTypeI(steps=15, eps=0.2, target="next").using(generator=generator)
    before = copy.deepcopy(generator.state_dict()), torch.get_rng_state(), z.clone()
    seeds = random.seeds(3, len(z))
    found = attack(victim, z, y, seeds=seeds)
    assert torch.equal(found, attack(victim, z, y, seeds=seeds))
    assert not torch.equal(found, attack(victim, z, y, seeds=random.seeds(4, len(z))))
    with torch.inference_mode():
        assert torch.equal(found, attack(victim, z, y, seeds=seeds))
    for row in range(len(z)):
        one = slice(row, row + 1)
        alone = attack(victim, z[one], y[one], seeds=seeds[one])
        torch.testing.assert_close(alone, found[one], rtol=0, atol=1e-9)
    assert torch.equal(before[1], torch.get_rng_state())
    assert torch.equal(before[2], z)
    assert all(torch.equal(v, before[0][k]) for k, v in generator.state_dict().items())
    assert all(p.grad is None for p in (*generator.parameters(), *victim.parameters()))
    assert not found.requires_grad
    assert found.dtype == z.dtype
    again = LatentTypeI(steps=15, eps=0.2, target="next")
    assert attack == again
    assert hash(attack) == hash(again)
    assert np.isfinite(found.numpy()).all()


def test_codes_drawn_from_the_same_seeds_are_left_behind(digits: Any) -> None:
    """A first step along the code itself would end where it began, on the shell."""
    generator, victim, z, y = digits
    way = LatentTypeI(steps=1).using(generator=generator).trace(victim, z, y)
    start = way.curves["distance"][0]
    assert float(start.min()) > 1e-5


def test_who_has_arrived_leaves(digits: Any) -> None:
    generator, victim, z, y = digits
    asked: list[int] = []

    class Counting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            asked.append(len(x))
            return victim(x)

    attack = LatentTypeI(steps=200, eps=0.01, patience=5, allowed=9.0).using(generator=generator)
    attack(Counting().eval(), z, y)
    assert sum(asked) < 100 * len(z)


def test_slips_are_told(digits: Any) -> None:
    generator, victim, z, y = digits
    attack = LatentTypeI(steps=2).using(generator=generator)

    def refused(
        words: str, model: nn.Module = victim, z: Any = z, y: Any = y, **options: Any
    ) -> None:
        chosen = LatentTypeI(steps=2, **options).using(generator=generator) if options else attack
        with pytest.raises(UserError, match=words):
            chosen(model, z, y)

    refused("must be finite", z=z * torch.nan)
    refused(r"codes of shape \(B, 12\), got \(5, 11\)", z=z[:, 1:])
    refused(r"expected norms of 0.232 to 8.35 in 12 dimensions, got", z=10 * z)
    refused("victim errs on 5 of the 5", y=(y + 1) % 4)
    refused("give y", y=None)
    refused("whole-number classes", y=y.float())
    refused(r"images, which have shape \(1, 8, 8\)", model=nn.Linear(3, 2).double().eval())
    refused("0..3 for an auxiliary classifier of 4 classes, got 7", target=7)
    refused("of class .* already", target=int(y[0]))
    plain = GAN(GANConfig((1, 8, 8), latent=LATENT, channels=(4,), critic=(4,))).double().eval()
    with pytest.raises(UserError, match=r"GAN has no classify\(x\)"):
        LatentTypeI(target="next").using(generator=plain)(victim, z)
    with pytest.raises(UserError, match="without classes"):
        attack.using(generator=plain)(victim, z, y)
    with pytest.raises(UserError, match="without classes: mat1"):
        LatentTypeI().using(generator=nn.Linear(5, 2).eval())(victim, z.float())
    with pytest.raises(UserError, match="needs a network"):
        LatentTypeI()(victim, z, y)
    for words, options in {
        "target must be next": {"target": "other"},
        "metric must be mean or sum": {"metric": "max"},
        "k, eps, lr and nudge": {"eps": 0.0},
        "steps and patience": {"patience": 0},
        "give a target": {"draws": "target"},
    }.items():
        with pytest.raises(UserError, match=words):
            LatentTypeI(**options)


class Rosy(nn.Module):
    """Reads the sign of the first coordinate; a copy of lower precision never sees a change."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Conv1d(1, 1, 1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        sign = 10 * x[:, 0] if self.unused.weight.dtype == torch.float32 else 10 + 0 * x[:, 0]
        return torch.stack([sign, -sign], 1)


def test_what_only_the_lower_precision_takes_for_a_success_is_none() -> None:
    victim, z = Rosy(), codes(40, 2).float()
    z[:, 0] = z[:, 0].abs().clamp_min(0.1)
    settings: dict[str, Any] = {"eps": 1.0, "metric": "sum", "shell": False, "lr": 0.05}
    attack = LatentTypeI(steps=60, patience=None, **settings).using(generator=nn.Identity().eval())
    with execution(precision="bf16"):
        found = attack(victim, z)
    far = attack.distance(z, found) >= 0.99
    assert bool(far.any())
    assert bool((found[far, 0] > 0).all())
