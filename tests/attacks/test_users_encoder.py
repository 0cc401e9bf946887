"""Attacks on an encoder that is not ours: a diffusers autoencoder, with random weights."""

import pytest
import torch
from torch import Tensor, nn

from trompe.attacks import LatentAttack, SingularDirection
from trompe.core.geometry import Ball, norm
from trompe.evaluation.margin import margin
from trompe.models import adapt_autoencoder


@pytest.fixture
def model() -> nn.Module:
    diffusers = pytest.importorskip("diffusers", reason="needs diffusers (the hf extra)")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = diffusers.AutoencoderKL(
            block_out_channels=(8,), norm_num_groups=4, layers_per_block=1, latent_channels=2
        )
    return adapt_autoencoder(vae.eval())


@pytest.fixture
def x() -> Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def to_target(model: nn.Module, v: Tensor, target: Tensor) -> Tensor:
    with torch.no_grad():
        return norm(model.encode(v).mean - model.encode(target).mean, "L2")  # type: ignore[operator]


def test_the_code_is_drawn_to_that_of_a_grey_image(model: nn.Module, x: Tensor) -> None:
    """PhotoGuard's encoder attack: Linf 0.06 and steps of 0.02 for images in [-1, 1]."""
    grey = torch.full_like(x, 0.5)
    guard = LatentAttack(Ball(0.03), solver="steepest", step_size=0.01, steps=15)
    found = guard(model, x, grey)
    assert float((found - x).abs().max()) <= 0.03 + 1e-6
    blend = x + (0.03 * (grey - x) / (grey - x).abs().amax((1, 2, 3), keepdim=True))
    near = to_target(model, found, grey)
    assert (near < to_target(model, blend, grey)).all(), "nearer than a step towards grey itself"


def test_its_singular_direction_does_more_than_noise(model: nn.Module, x: Tensor) -> None:
    """Its attention is differentiated twice."""
    ball = Ball(0.3, "L2")
    found = SingularDirection(ball, steps=8)(model, x)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    noise = x + 0.3 * noise / norm(noise, "L2").view(-1, 1, 1, 1)
    assert (to_target(model, found, x) > to_target(model, noise, x)).all()


def test_its_margin_is_found_by_the_same_call(model: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        code = model.encode(x)  # type: ignore[operator]
        spread = norm(model.decode(code.mean + code.stddev) - model.decode(code.mean), "L2")  # type: ignore[operator]
    r = 2 * float(spread.max())
    found = margin(model, x, r, steps=3, restarts=1, rounds=3, draws=8, search_draws=2)
    assert (found.low <= found.high).all()
    assert (found.low > 0).any()
    assert found.adversarial.shape == x.shape
