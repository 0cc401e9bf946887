"""The r-robustness margin, where it is known: linear maps, Gaussian codes."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from trompe.core import random
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.geometry import Norm
from trompe.core.objective import GradientWarning
from trompe.core.protocols import PointMass
from trompe.evaluation.margin import Margin, margin, within
from trompe.models import VAE, AutoencoderAdapter


class Linear(nn.Module):
    """`g(x) = D (E x + s * noise)`; without `s` a deterministic autoencoder."""

    def __init__(self, encoder: Tensor, decoder: Tensor, s: float = 0.0) -> None:
        super().__init__()
        self.encoder, self.decoder, self.s = encoder, decoder, s

    def encode(self, x: Tensor) -> Distribution:
        mean = x.flatten(1) @ self.encoder.T
        if self.s == 0:
            return PointMass(mean)
        spread = Normal(mean, torch.full_like(mean, self.s), validate_args=False)
        return Independent(spread, 1, validate_args=False)

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.decoder.T


@pytest.fixture
def maps() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    encoder = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    return encoder, torch.randn(6, 3, generator=generator, dtype=torch.float64)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def found(model: nn.Module, x: Tensor, r: float, **settings: int) -> Margin:
    return margin(model.eval(), x, r, domain=Vectors(), **settings)  # type: ignore[arg-type]


def test_of_a_linear_map_it_is_r_over_the_largest_singular_value(
    maps: tuple[Tensor, Tensor], x: Tensor
) -> None:
    for r in (0.1, 5.0):
        value, low, high, adversarial = found(Linear(*maps), x, r, rounds=18, steps=40)
        exact = r / torch.linalg.matrix_norm(maps[1] @ maps[0], 2)
        torch.testing.assert_close(value, exact.expand(4), rtol=1e-4, atol=0)
        assert (low <= exact * (1 + 1e-6)).all()
        assert (high >= exact * (1 - 1e-6)).all()
        torch.testing.assert_close((adversarial - x).norm(dim=1), high)


@pytest.mark.parametrize(("norm", "dual"), [("Linf", 3.5), ("L1", 2.0)])
def test_of_one_unit_it_is_r_over_the_dual_norm_of_its_weights(norm: Norm, dual: float) -> None:
    model = Linear(torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[3.0]])).eval()
    high = margin(model, torch.zeros(2, 3), 1.0, norm=norm, domain=Vectors(), rounds=16).high
    torch.testing.assert_close(high, torch.full((2,), 1 / (3 * dual)), rtol=1e-3, atol=0)


def test_of_a_gaussian_code_it_is_where_the_noncentral_chi_squared_has_its_median() -> None:
    """`g(x') - g(x) = a d + s sqrt(2) n` in k dimensions: P = F(r^2 / 2 s^2; k, |a d|^2 / 2 s^2)."""
    from scipy.optimize import brentq
    from scipy.stats import ncx2

    k, a, s, r = 3, 2.0, 0.4, 2.0
    eye = torch.eye(k, dtype=torch.float64)
    exact = brentq(
        lambda d: ncx2.cdf(r**2 / (2 * s**2), k, (a * d) ** 2 / (2 * s**2)) - 0.5, 0.01, 5
    )
    model, x = Linear(a * eye, eye, s), torch.zeros(8, k, dtype=torch.float64)
    value = found(model, x, r, rounds=9, draws=300, steps=8, restarts=1).value
    assert exact < r / a, "noise makes the margin smaller"
    assert float(value.mean()) == pytest.approx(exact, rel=0.02)
    torch.testing.assert_close(value, torch.full_like(value, exact), rtol=0.06, atol=0)


def test_an_example_that_its_own_noise_breaks_has_margin_zero(maps: tuple[Tensor, Tensor]) -> None:
    result = found(Linear(*maps, s=3.0), torch.zeros(3, 6, dtype=torch.float64), 0.1)
    for part in result[:3]:
        assert (part == 0).all()


def test_what_cannot_be_broken_has_no_margin() -> None:
    """A constant output; and outputs that the box holds closer than r."""
    nothing = Linear(torch.zeros(1, 4), torch.zeros(4, 1)).eval()
    with pytest.warns(GradientWarning):
        value, low, high, adversarial = margin(
            nothing, torch.zeros(2, 4), 1.0, domain=Vectors(), rounds=3
        )
    assert value.isinf().all()
    assert high.isinf().all()
    assert (low == 4.0).all(), "radii are doubled: 1, 2, 4"
    assert (adversarial == 0).all()
    identity = AutoencoderAdapter(Halves()).eval()
    x = torch.full((2, 1, 2, 2), 0.5)
    far = margin(identity, x, 2.0)
    assert far.high.isinf().all()
    torch.testing.assert_close(far.low, torch.full((2,), 1.0), msg="no image is farther away")


class Halves(nn.Module):
    """A user's autoencoder that returns its input."""

    def encode(self, x: Tensor) -> Tensor:
        return x / 2

    def decode(self, z: Tensor) -> Tensor:
        return 2 * z


def test_a_users_adapter_is_measured_by_the_same_call() -> None:
    x = torch.full((2, 1, 2, 2), 0.5)
    high = margin(AutoencoderAdapter(Halves()).eval(), x, 0.5, rounds=16).high
    torch.testing.assert_close(high, torch.full((2,), 0.5), rtol=1e-4, atol=0)


@pytest.fixture
def vae() -> nn.Module:
    model = VAE((1, 8, 8), latent=4, hidden=(16,)).eval()
    model.logvar.weight.data.zero_()  # type: ignore[union-attr]
    model.logvar.bias.data.fill_(-7.0)  # type: ignore[union-attr]
    for part in (model.mean, model.decoder[0], model.decoder[2]):
        part.weight.data *= 4
    return model


def test_it_grows_with_r_and_holds_what_it_promises(vae: nn.Module) -> None:
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    before, state = x.clone(), torch.get_rng_state()
    small, large = (margin(vae, x, r, steps=15) for r in (0.6, 1.2))
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert (small.value < large.value).all()
    for r, result in ((0.6, small), (1.2, large)):
        assert ((result.low <= result.value) & (result.value <= result.high)).all()
        assert result.adversarial.min() >= 0
        assert result.adversarial.max() <= 1
        torch.testing.assert_close((result.adversarial - x).flatten(1).norm(dim=1), result.high)
        level = torch.full((6,), r)
        share = within(vae, x, result.adversarial, level, draws=200, seeds=random.seeds(8, 6))
        assert (share < 0.6).all(), "on draws that decided nothing it is broken half the time"
        noise = (x + per_direction(x) * result.low.view(-1, 1, 1, 1)).clamp(0, 1)
        kept = within(vae, x, noise, level, draws=100, seeds=random.seeds(9, 6))
        assert (kept > 0.5).all(), "noise of the same norm breaks nothing"


def per_direction(x: Tensor) -> Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    return noise / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def test_an_example_alone_is_as_in_its_batch(vae: nn.Module) -> None:
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(4)).double()
    seeds, model = random.seeds(5, 3), vae.double()
    together = margin(model, x, 1.0, steps=5, draws=16, rounds=5, seeds=seeds)
    for i in range(3):
        alone = margin(
            model, x[i : i + 1], 1.0, steps=5, draws=16, rounds=5, seeds=seeds[i : i + 1]
        )
        torch.testing.assert_close(alone.high, together.high[i : i + 1], atol=1e-9, rtol=0)


def test_a_probability_of_one_half_gets_more_draws() -> None:
    """A shift that lies at r, but for noise: sixteen draws cannot tell, sixty-four are taken."""
    model = Linear(torch.eye(1), torch.eye(1), s=0.05).eval()
    x, v = torch.zeros(200, 1), torch.ones(200, 1)
    seeds = random.seeds(0, 200)
    share = within(model, x, v, torch.ones(200), draws=16, seeds=seeds)
    assert float((share * 16 % 1).abs().max()) > 1e-4
    assert float(share.mean()) == pytest.approx(0.5, abs=0.03)
    clear = within(model, x, v, torch.full((200,), 2.0), draws=16, seeds=seeds)
    assert (clear == 1).all()


def test_slips_are_answered_in_a_sentence(vae: nn.Module) -> None:
    x = torch.rand(2, 1, 8, 8)
    with pytest.raises(UserError, match="must be positive"):
        margin(vae, x, 0.0)
    with pytest.raises(UserError, match="one for each of 2"):
        margin(vae, x, torch.ones(3))
    with pytest.raises(UserError, match="must be at least 1"):
        margin(vae, x, 1.0, draws=0)
    with pytest.raises(UserError, match="divide by 255"):
        margin(vae, 255 * x, 1.0)
    with pytest.raises(UserError, match="train mode"):
        margin(VAE((1, 8, 8), latent=2, hidden=(4,)), x, 1.0)
    with pytest.raises(UserError, match="wrap it in an adapter"):
        margin(nn.Flatten().eval(), x, 1.0)
    assert math.isfinite(float(margin(vae, x, 0.5, rounds=4, steps=5).low.sum()))
