"""The attack through a model's own loss: closed forms, likelihoods, and what it refuses."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from trompe.attacks import ElboAttack, LatentAttack, OutputAttack, Penalty
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.execution import execution
from trompe.core.geometry import Ball
from trompe.core.losses import squared_distance
from trompe.core.protocols import PointMass
from trompe.core.random import seeds
from trompe.models import VAE, VAEGAN, AutoencoderAdapter, VAEGANConfig, adapt_autoencoder

DEVIATION, VARIANCE = 0.5, 0.7


class Linear(nn.Module):
    """`q(z|x) = N(E x, s^2)`, `p(x|z) = N(D z, v)`: everything about the attack is quadratic."""

    def __init__(self, point: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.encoder = torch.randn(4, 12, generator=generator, dtype=torch.float64)
        self.decoder = torch.randn(12, 4, generator=generator, dtype=torch.float64)
        self.point = point
        self.training = False

    def encode(self, x: Tensor) -> Distribution:
        mean = x @ self.encoder.T
        if self.point:
            return PointMass(mean)
        return Independent(Normal(mean, torch.full_like(mean, DEVIATION)), 1)

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.decoder.T

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x).mean)

    def nll(self, z: Tensor, target: Tensor) -> Tensor:
        return squared_distance(self.decode(z), target) / (2 * VARIANCE)


@pytest.fixture
def vectors() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 5, 12, generator=generator, dtype=torch.float64)
    return x, y


def best(model: Linear, x: Tensor, target: Tensor, beta: float, c: float) -> Tensor:
    """The minimiser of `|t - D E (x + d)|^2 / 2v + beta/2 |E (x + d)|^2 + c |d|^2`."""
    whole, weight = model.decoder @ model.encoder, model.encoder
    curve = whole.T @ whole / VARIANCE + beta * weight.T @ weight
    pull = (target @ whole) / VARIANCE - x @ curve
    found: Tensor = torch.linalg.solve(curve + 2 * c * torch.eye(12), pull.T).T
    return found


@pytest.mark.parametrize("beta", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("match", ["image", "reconstruction"])
def test_a_linear_gaussian_model_gives_ridge_regression(
    vectors: tuple[Tensor, Tensor], match: str, beta: float
) -> None:
    solves_ridge_regression(ElboAttack, vectors, match, beta)


def solves_ridge_regression(
    kind: type[ElboAttack], vectors: tuple[Tensor, Tensor], match: Any, beta: float
) -> None:
    x, y = vectors
    model = Linear()
    attack = kind(Penalty(0.2), match=match, beta=beta, domain=Vectors())
    target = y if match == "image" else model(y)
    torch.testing.assert_close(
        attack(model, x, y) - x, best(model, x, target, beta, 0.2), atol=1e-6, rtol=0
    )


class ForgetsThePrior(ElboAttack):
    def _weight(self, model: nn.Module) -> float:
        return 0.0


class FleesThePrior(ElboAttack):
    def _weight(self, model: nn.Module) -> float:
        return -0.1 * super()._weight(model)


class ExplainsItself(ElboAttack):
    """The loss of the attacked input's own reconstruction, as in training."""

    def reference(self, model: nn.Module, y: Tensor) -> Any:
        return 0 * super().reference(model, y)


class MeanOverPixels(ElboAttack):
    def _unlikeliness(self, model: Any, z: Tensor, target: Tensor) -> Tensor:
        return super()._unlikeliness(model, z, target) / target[0].numel()


@pytest.mark.parametrize("kind", [ForgetsThePrior, FleesThePrior, ExplainsItself, MeanOverPixels])
def test_mutant_is_caught(kind: type[ElboAttack], vectors: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(AssertionError):
        solves_ridge_regression(kind, vectors, "reconstruction", 1.0)


def test_the_kl_has_weight_one_unless_the_model_says_otherwise(
    vectors: tuple[Tensor, Tensor],
) -> None:
    x, y = vectors
    model, attack = Linear(), ElboAttack(Penalty(0.2), domain=Vectors())
    torch.testing.assert_close(
        attack(model, x, y) - x, best(model, x, model(y), 1.0, 0.2), atol=1e-6, rtol=0
    )
    model.config = VAEGANConfig(beta=4.0)  # type: ignore[assignment]
    torch.testing.assert_close(
        attack(model, x, y) - x, best(model, x, model(y), 4.0, 0.2), atol=1e-6, rtol=0
    )


def test_points_have_no_kl(vectors: tuple[Tensor, Tensor]) -> None:
    x, y = vectors
    model = Linear(point=True)
    found = ElboAttack(Penalty(0.2), domain=Vectors())(model, x, y) - x
    torch.testing.assert_close(found, best(model, x, model(y), 0.0, 0.2), atol=1e-6, rtol=0)


def test_pixels_without_a_kl_are_the_attack_on_the_output(vectors: tuple[Tensor, Tensor]) -> None:
    """Half the squared error: the output attack at twice the price."""
    x, y = vectors
    model = Linear()
    mine = ElboAttack(Penalty(0.2), likelihood="pixels", beta=0.0, domain=Vectors())
    other = OutputAttack(Penalty(0.4), match="reconstruction", domain=Vectors())
    torch.testing.assert_close(mine(model, x, y), other(model, x, y), atol=1e-6, rtol=0)


def test_a_sampled_loss_has_the_same_optimum_on_average(vectors: tuple[Tensor, Tensor]) -> None:
    """The draws are common to all iterates, and shift the code by their mean: small over 4000 of them."""
    x, y = vectors
    model = Linear()
    attack = ElboAttack(Penalty(2.0), sampled=True, domain=Vectors(), steps=30)
    with execution(draws=1000):
        found = attack(model, x[:2], y[:2], seeds=seeds(0, 2)) - x[:2]
    wanted = best(model, x, model(y), 1.0, 2.0)[:2]
    assert float((found - wanted).norm()) < 0.1 * float(wanted.norm())


def test_it_descends_the_loss_that_the_model_was_trained_with() -> None:
    model = VAE(shape=(1, 8, 8), latent=4, hidden=(16,), beta=2.0).eval()
    x, y = torch.rand(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    attack = ElboAttack(Ball(0.2), match="image")
    terms = model.losses(x)
    with torch.no_grad():
        told = attack.distance(model, x, y)
    wanted = model.nll(model.encode(x).mean, y) + 2 * terms["kl"]
    torch.testing.assert_close(told, wanted)
    assert bool((attack.distance(model, attack(model, x, y), y) < told).all())


def test_a_vaegan_is_attacked_through_its_features() -> None:
    model = VAEGAN(VAEGANConfig((1, 8, 8), latent=4, channels=(4,), critic=(4,))).eval()
    x, y = torch.rand(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    attack = ElboAttack(Ball(0.3), steps=30)
    found, goal = attack(model, x, y), model(y).detach()
    with torch.no_grad():
        before, after = (attack.distance(model, image, goal) for image in (x, found))
    assert bool((after < before).all())


def test_a_users_model_is_compared_by_pixels_or_asked_for_its_likelihood() -> None:
    class Halves(nn.Module):
        def encode(self, x: Tensor) -> Distribution:
            return PointMass(x / 2)

        def decode(self, z: Tensor) -> Tensor:
            return 2 * z

        def forward(self, x: Tensor) -> Tensor:
            return self.decode(self.encode(x).mean)

    x, y = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    attack, bare = ElboAttack(Ball(0.25)), Halves().eval()
    with pytest.raises(UserError, match=r"Halves has no nll.*likelihood='pixels'"):
        attack(bare, x, y)
    pixels = replace(attack, likelihood="pixels")
    for found in (pixels(bare, x, y), attack(AutoencoderAdapter(bare), x, y)):
        torch.testing.assert_close(found, torch.full_like(x, 0.25))


def test_slips_are_told() -> None:
    with pytest.raises(UserError, match="likelihood must be model or pixels"):
        ElboAttack(Ball(0.1), likelihood="own")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="beta must be zero or more"):
        ElboAttack(Ball(0.1), beta=-1.0)
    with pytest.raises(UserError, match="match must be image or reconstruction"):
        ElboAttack(Ball(0.1), match="code")  # type: ignore[arg-type]


def test_a_diffusers_autoencoder_is_attacked_by_the_same_calls() -> None:
    diffusers = pytest.importorskip("diffusers", reason="needs diffusers (the hf extra)")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4).eval()
    model = adapt_autoencoder(vae)
    x, y = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for attack in (
        ElboAttack(Ball(0.1), beta=0.0, steps=5),
        LatentAttack(Ball(0.1), layer="module.encoder.conv_in", steps=5),
    ):
        with torch.no_grad():
            goal = attack.reference(model, y)
            found = attack(model, x, y)
            near, far = (attack.distance(model, image, goal) for image in (found, x))
        assert bool((near < far).all())
