"""The autoencoder grid: every member, any image, exact identities."""

import copy
import hashlib
import json
from dataclasses import asdict

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.losses import kl_to_prior
from trompe.core.protocols import Autoencoder as AutoencoderProtocol
from trompe.core.protocols import PointMass
from trompe.models import (
    AE,
    CAE,
    CVAE,
    DAE,
    DVAE,
    VAE,
    Autoencoder,
    AutoencoderConfig,
    build,
)
from trompe.models.objectives import mean_of, reconstruction_loss

MAKERS = (AE, DAE, CAE, VAE, DVAE, CVAE)
SHAPES = ((1, 28, 28), (1, 8, 8), (3, 32, 32), (3, 64, 64), (2, 7, 5))
SMALL = {"shape": (1, 8, 8), "latent": 3, "hidden": (16,), "channels": (4, 8)}


def images(shape: tuple[int, ...] = (1, 8, 8), n: int = 4, dtype: torch.dtype = torch.float32):
    with random.streams(random.seeds(7, n)):
        return random.uniform((n, *shape), torch.empty(0, dtype=dtype))


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("latent", [1, 20])
def test_any_image_comes_back_in_its_shape(architecture, shape, latent):
    model = VAE(shape, latent, architecture=architecture, hidden=(16,), channels=(4, 8))
    x = images(shape, 2)
    posterior, rebuilt = model.encode(x), model(x)
    assert posterior.mean.shape == posterior.stddev.shape == (2, latent)
    assert posterior.batch_shape == (2,)
    assert posterior.event_shape == (latent,)
    assert rebuilt.shape == x.shape
    assert bool(((rebuilt >= 0) & (rebuilt <= 1)).all())


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
@pytest.mark.parametrize("make", MAKERS)
def test_each_member_trains_by_its_own_losses(make, architecture):
    model = make(architecture=architecture, **SMALL)
    x = images()
    with random.streams(random.seeds(0, 4)):
        terms = model.losses(x)
    assert all(value.shape == (4,) for value in terms.values())
    assert ("kl" in terms) == model.config.stochastic
    assert ("contractive" in terms) == (make in (CAE, CVAE))
    terms["loss"].mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    assert isinstance(model, AutoencoderProtocol)


@pytest.mark.parametrize("make", MAKERS)
def test_the_reconstruction_is_that_of_the_mean_bit_for_bit(make):
    model = make(**SMALL)
    x = images()
    assert torch.equal(model(x), model.decode(model.encode(x).mean))
    assert torch.equal(model.encode_mean(x), model.encode(x).mean)
    assert torch.equal(model.with_scale(0.0)(x), model(x))


@pytest.mark.parametrize("kernel", range(2, 8))
def test_every_kernel_halves_and_doubles_any_size(kernel):
    for shape in [(1, 1, 1), (2, 7, 5), (1, 8, 6), (1, 5, 8)]:
        settings = {"architecture": "conv", "channels": (2, 3), "kernel": kernel, "dense": (6, 5)}
        model, x = VAE(shape, 2, **settings), images(shape, 2)
        height, width = ((n + 3) // 4 for n in shape[1:])
        first = next(m for m in model.encoder if isinstance(m, nn.Linear))
        assert first.in_features == 3 * height * width
        assert model(x).shape == x.shape


def test_dense_layers_stand_between_the_convolutions_and_the_code():
    model = VAE((3, 32, 32), 100, architecture="conv", channels=(32, 64), kernel=4, dense=(512, 64))
    into = [m for m in model.encoder if isinstance(m, nn.Linear)]
    out = [m for m in model.decoder if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in into] == [(64 * 8 * 8, 512), (512, 64)]
    widths = [(100, 64), (64, 512), (512, 64 * 8 * 8)]
    assert [(m.in_features, m.out_features) for m in out] == widths
    assert model.mean.in_features == 64


def test_settings_that_stand_at_their_defaults_change_no_weight():
    """Checksums of seeded builds from before `kernel` and `dense`: trained weights stay loadable."""
    conv = {"architecture": "conv", "channels": (4, 8)}
    known = {
        "ac449141af898901": VAE((1, 8, 8), 3, hidden=(16,)),
        "a3397dfc7d409ca5": VAE((3, 7, 6), 3, **conv),
        "0774fea1ee96ddc4": AE((1, 8, 8), 3, **conv),
    }
    for checksum, model in known.items():
        found = hashlib.sha256()
        for name, value in model.state_dict().items():
            found.update(name.encode() + value.numpy().tobytes())
        assert found.hexdigest()[:16] == checksum


def test_a_deterministic_autoencoder_returns_a_point():
    assert isinstance(AE(**SMALL).encode(images()), PointMass)
    assert not isinstance(VAE(**SMALL).encode(images()), PointMass)


def test_scale_moves_the_code_by_that_many_deviations():
    model = VAE(**SMALL).double()
    x = images(dtype=torch.float64)
    seeds = random.seeds(0, 4)
    with random.streams(seeds):
        rebuilt = model.with_scale(0.5)(x)
    with random.streams(seeds):
        noise = random.normal((4, 3), x)
    q = model.encode(x)
    torch.testing.assert_close(rebuilt, model.decode(q.mean + 0.5 * q.stddev * noise))
    assert not torch.allclose(rebuilt, model(x))


def test_another_scale_shares_the_weights():
    model = VAE(**SMALL)
    other = model.with_scale(1.0)
    with torch.no_grad():
        model.mean.bias.add_(1.0)
    assert other.mean.bias is model.mean.bias
    assert (model.config.scale, other.config.scale) == (0.0, 1.0)


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_an_example_meets_the_same_draws_alone_and_in_a_batch(architecture):
    config = AutoencoderConfig(
        architecture=architecture,
        **SMALL,
        input_noise=0.2,
        denoise=True,
        contractive=0.1,
        contractive_deviation=0.1,
        probes=2,
        scale=1.0,
    )
    model = Autoencoder(config).double()
    x, seeds = images(dtype=torch.float64), random.seeds(3, 4)
    with random.streams(seeds):
        together, terms = model(x), model.losses(x)
    for i in range(4):
        with random.streams(seeds[i : i + 1]):
            alone, own = model(x[i : i + 1]), model.losses(x[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-9, atol=1e-9)
        for name, value in own.items():
            torch.testing.assert_close(value[0], terms[name][i], rtol=1e-9, atol=1e-9)


def test_the_loss_is_the_weighted_sum_of_its_terms():
    model = CVAE(**SMALL, beta=3.0, contractive=0.5, contractive_deviation=0.25, probes=None)
    with random.streams(random.seeds(0, 4)):
        t = model.losses(images())
    expected = (
        t["reconstruction"]
        + 3.0 * t["kl"]
        + 0.5 * t["contractive"]
        + 0.25 * t["contractive_deviation"]
    )
    torch.testing.assert_close(t["loss"], expected)


def test_denoising_aims_at_the_clean_image_and_its_absence_at_the_noisy_one():
    settings = SMALL | {"input_noise": 0.3, "likelihood": "gaussian"}
    x, seeds = images(dtype=torch.float64), random.seeds(0, 4)
    with random.streams(seeds):
        noisy = x + 0.3 * random.normal((4, 1, 8, 8), x)
    for denoise, target in ((True, x), (False, noisy)):
        model = AE(denoise=denoise, **settings).double()
        with random.streams(seeds):
            found = model.losses(x)["reconstruction"]
        output = model.decode_logits(model.encode_mean(noisy))
        torch.testing.assert_close(found, reconstruction_loss(output, target, "gaussian"))


def test_clipping_touches_the_input_and_not_the_target():
    settings = SMALL | {"input_noise": 0.5, "likelihood": "gaussian", "clip_noise": True}
    model = AE(**settings).double()
    x, seeds = images(dtype=torch.float64), random.seeds(0, 4)
    with random.streams(seeds):
        noisy = x + 0.5 * random.normal((4, 1, 8, 8), x)
        assert float(noisy.max()) > 1
    with random.streams(seeds):
        found = model.losses(x)["reconstruction"]
    output = model.decode_logits(model.encode_mean(noisy.clamp(0, 1)))
    torch.testing.assert_close(found, reconstruction_loss(output, noisy, "gaussian"))


def test_a_linear_gaussian_vae_has_the_evidence_of_principal_components():
    """The best diagonal posterior misses the evidence by a gap in closed form."""
    variance, d, k = 0.3, 4, 2
    settings = {"hidden": (), "likelihood": "gaussian", "variance": variance, "squash": False}
    model = VAE((d,), k, **settings).double()
    w, b = model.decoder[0].weight.detach(), model.decoder[0].bias.detach()
    precision = torch.eye(k).double() + w.T @ w / variance
    covariance = torch.linalg.inv(precision)
    x = images((d,), 5, torch.float64)
    mean = (x - b) @ w / variance @ covariance
    with torch.no_grad():
        model.mean.weight.copy_(covariance @ w.T / variance)
        model.mean.bias.copy_(-model.mean.weight @ b)
    torch.testing.assert_close(model.encode(x).mean, mean)
    evidence = torch.distributions.MultivariateNormal(
        b, w @ w.T + variance * torch.eye(d).double()
    ).log_prob(x)
    with torch.no_grad():
        model.logvar.weight.zero_()
        model.logvar.bias.copy_(-precision.diagonal().log())
    with torch.no_grad(), random.streams(random.seeds(0, 10_000)):
        bound = model.negative_elbo(x.repeat(2000, 1)).view(2000, 5).mean(0)
    optimal_gap = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    torch.testing.assert_close(bound, -evidence + optimal_gap, rtol=0.01, atol=0.02)


def test_kl_in_closed_form_agrees_with_monte_carlo_and_with_torch():
    model = VAE(**SMALL).double()
    q = model.encode(images(dtype=torch.float64))
    found = kl_to_prior(q)
    zero = torch.zeros(3, dtype=torch.float64)
    exact = kl_divergence(Normal(q.mean, q.stddev), Normal(zero, zero + 1)).sum(1)
    torch.testing.assert_close(found, exact)
    rows = Normal(q.mean.repeat(20_000, 1), q.stddev.repeat(20_000, 1))
    with random.streams(random.seeds(0, 80_000)):
        z = random.sample(rows)
    ratio = rows.log_prob(z) - Normal(zero, zero + 1).log_prob(z)
    torch.testing.assert_close(ratio.sum(1).view(20_000, 4).mean(0), found, rtol=0.05, atol=0.005)


def test_likelihoods_are_those_of_torch():
    a, t = torch.linspace(-4, 4, 12).view(2, 6).double(), torch.tensor([0.0, 1.0]).repeat(2, 3)
    t = t.double()
    bernoulli = torch.distributions.Bernoulli(logits=a).log_prob(t).sum(1)
    torch.testing.assert_close(reconstruction_loss(a, t), -bernoulli)
    normal = Normal(a.sigmoid(), 0.5).log_prob(t).sum(1)
    torch.testing.assert_close(reconstruction_loss(a, t, "gaussian", variance=0.25), -normal)


def test_the_continuous_bernoulli_is_that_of_torch_and_smooth_at_one_half():
    a = torch.cat([torch.linspace(-12, 12, 49), torch.tensor([-0.11, -0.09, 0.09, 0.11])])
    a = a.double()[:, None]
    t = torch.linspace(0, 1, 5).double().expand(len(a), 5)
    theirs = torch.distributions.ContinuousBernoulli(logits=a)
    found = reconstruction_loss(a.expand_as(t), t, "continuous_bernoulli")
    torch.testing.assert_close(found, -theirs.log_prob(t).sum(1), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(
        mean_of(a, "continuous_bernoulli"), theirs.mean, rtol=1e-6, atol=1e-6
    )


def test_the_continuous_bernoulli_is_a_density_with_that_mean():
    t = torch.linspace(0, 1, 20_001).double()
    for logit in (-9.0, -0.0999, 0.0, 1e-9, 0.1001, 3.0):
        a = torch.full((len(t), 1), logit, dtype=torch.float64)
        density = (-reconstruction_loss(a, t[:, None], "continuous_bernoulli")).exp()
        assert float(torch.trapezoid(density, t)) == pytest.approx(1, abs=1e-7)
        mean = float(mean_of(a[0], "continuous_bernoulli"))
        assert float(torch.trapezoid(t * density, t)) == pytest.approx(mean, abs=1e-7)


def test_gradients_of_the_continuous_bernoulli_at_and_near_one_half():
    a = torch.tensor([[0.0, 1e-12, -0.0999, 0.1001, 30.0, -30.0]], dtype=torch.float64)
    t = torch.full_like(a, 0.25)
    a.requires_grad_()
    (gradient,) = torch.autograd.grad(reconstruction_loss(a, t, "continuous_bernoulli"), a)
    torch.testing.assert_close(gradient, mean_of(a.detach(), "continuous_bernoulli") - t)


def test_decoding_gives_the_mean_of_each_likelihood():
    z = torch.linspace(-2, 2, 6).view(2, 3)
    grey = VAE(likelihood="continuous_bernoulli", **SMALL)
    logits = grey.decode_logits(z)
    expected = torch.distributions.ContinuousBernoulli(logits=logits).mean
    torch.testing.assert_close(grey.decode(z), expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(VAE(**SMALL).decode(z), logits.sigmoid())


def test_losses_are_summed_in_float32_where_the_model_is_half():
    a, t = torch.zeros(1, 5000, dtype=torch.bfloat16), torch.ones(1, 5000, dtype=torch.bfloat16)
    loss = reconstruction_loss(a, t)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.full((1,), 5000 * 0.693147), rtol=1e-4, atol=0)


def test_the_reconstruction_loss_is_taken_at_the_mean():
    model = VAE(**SMALL)
    x = images()
    direct = reconstruction_loss(model.decode_logits(model.encode(x).mean), x)
    assert torch.equal(model.reconstruction_loss(x), direct)
    deterministic = AE(**SMALL)
    assert torch.equal(deterministic.negative_elbo(x), deterministic.reconstruction_loss(x))


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_and_layouts(architecture, dtype):
    model = VAE(architecture=architecture, scale=1.0, **SMALL)
    x = images()
    other = copy.deepcopy(model).to(dtype=dtype, memory_format=torch.channels_last)
    seeds = random.seeds(0, 4)
    with random.streams(seeds):
        expected = model(x)
    with random.streams(seeds):
        found = other(x.to(dtype, memory_format=torch.channels_last))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
@pytest.mark.parametrize("probes", [1, None])
def test_losses_under_autocast_stay_near_those_in_float32(architecture, probes):
    settings = {"contractive_deviation": 0.1, "probes": probes, "input_noise": 0.2, "denoise": True}
    model = CVAE(architecture=architecture, **SMALL, **settings)
    x, seeds = images(), random.seeds(0, 4)
    with random.streams(seeds):
        exact = model.losses(x)
    with random.streams(seeds), torch.autocast("cpu", torch.bfloat16):
        rough = model.losses(x)
    rough["loss"].mean().backward()
    for name, value in exact.items():
        torch.testing.assert_close(rough[name].float(), value, rtol=0.1, atol=0.05)


def test_a_few_steps_of_its_losses_improve_the_bound():
    model, x = VAE(**SMALL), images(n=32).round()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    bounds = []
    for step in range(60):
        with random.streams(random.seeds(step, 32)):
            terms = model.losses(x)
        bounds.append(terms["loss"].mean().detach())
        optimizer.zero_grad()
        terms["loss"].mean().backward()
        optimizer.step()
    assert float(bounds[-1]) < float(bounds[0]) - 2


def test_copies_are_independent_and_weights_travel_by_state_dict():
    model = VAE(seed=1, **SMALL)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.mean.bias.add_(1.0)
    assert not torch.equal(model.mean.bias, other.mean.bias)
    fresh = build(model.config)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(images()), model(images()))


def test_the_seed_fixes_the_weights_and_leaves_the_global_generator():
    before = torch.get_rng_state()
    a, b, c = VAE(seed=1, **SMALL), VAE(seed=1, **SMALL), VAE(seed=2, **SMALL)
    with random.streams(random.seeds(0, 4)):
        a.losses(images())
        a.with_scale(1.0)(images())
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.mean.weight, b.mean.weight)
    assert not torch.equal(a.mean.weight, c.mean.weight)


def test_gradients_reach_the_input_through_posterior_and_decoder():
    model = VAE(**SMALL).double()
    x = images(dtype=torch.float64)[:1].requires_grad_()
    assert torch.autograd.gradcheck(model, (x,))
    assert torch.autograd.gradcheck(lambda v: model.encode(v).stddev, (x,))


def test_the_prior_is_standard_normal_in_the_dtype_of_the_weights():
    prior = VAE(**SMALL).double().prior
    assert prior.mean.shape == (1, 3)
    assert prior.mean.dtype == torch.float64
    assert float(prior.stddev.min()) == float(prior.stddev.max()) == 1.0


def test_configurations_are_plain_values():
    config = CVAE(architecture="conv", **SMALL).config
    assert AutoencoderConfig(**json.loads(json.dumps(asdict(config)))) == config
    assert hash(config) == hash(copy.deepcopy(config))


def test_the_named_architectures_of_the_papers():
    tabacof = [m for m in VAE(hidden=(512, 512)).encoder if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in tabacof] == [(784, 512), (512, 512)]
    convolutional = VAE(latent=128, architecture="conv")
    assert convolutional.mean.in_features == 32 * 7 * 7
    kernels = [m for m in convolutional.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [m.kernel_size for m in kernels] == [(3, 3)] * 4


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"latent": 0}, "positive integers"),
        ({"architecture": "transformer"}, "mlp, conv, bilinear"),
        ({"architecture": "conv", "shape": (64,)}, "shape (C, H, W)"),
        ({"likelihood": "poisson"}, "must be one of bernoulli, continuous_bernoulli, gaussian"),
        ({"activation": "gelu"}, "activation"),
        ({"architecture": "conv", "kernel": 8}, "from 2 to 7"),
        ({"dense": (16,)}, "are its hidden"),
        ({"architecture": "conv", "dense": (0,)}, "positive integers"),
        ({"likelihood": "continuous_bernoulli", "squash": False}, "likelihood='gaussian'"),
        ({"input_noise": 0.3}, "denoise=True"),
        ({"squash": False}, "gaussian"),
        ({"beta": -1.0}, "beta"),
        ({"contractive": float("nan")}, "contractive"),
        ({"variance": 0.0}, "variance"),
        ({"probes": 0}, "probes"),
        ({"stochastic": False, "scale": 1.0}, "scale"),
        ({"latnt": 3}, "latnt"),
    ],
)
def test_a_wrong_setting_is_told(settings, says):
    settings = dict(settings)
    with pytest.raises(UserError) as told:
        VAE(settings.pop("shape", (1, 8, 8)), settings.pop("latent", 3), **settings)
    assert says in str(told.value)


def test_a_wrong_shape_is_told():
    with pytest.raises(
        UserError, match=r"expected a batch of shape \(B, 1, 8, 8\), got \(1, 8, 8\)"
    ):
        VAE(**SMALL)(images()[0])
    with pytest.raises(UserError, match="expected a batch"):
        VAE(**SMALL).encode(images((3, 8, 8)))


def test_functional_calls_see_other_weights():
    """What optimisers of shared parameters need: no cached reference to a weight."""
    model = VAE(**SMALL)
    zeros = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    rebuilt = functional_call(model, zeros, (images(),))
    assert torch.equal(rebuilt, torch.full_like(rebuilt, 0.5))


def test_build_wants_a_configuration():
    with pytest.raises(UserError, match="dict"):
        build({"latent": 2})
