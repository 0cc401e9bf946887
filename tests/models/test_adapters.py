"""Adapters: whatever a user's autoencoder answers becomes a posterior over codes."""

import copy
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.protocols import PointMass
from trompe.evaluation.records import read_records
from trompe.models import (
    VAE,
    AutoencoderAdapter,
    DiffusersAutoencoder,
    PythaeAutoencoder,
    adapt_autoencoder,
    check_autoencoder,
    is_autoencoder,
)


def images(shape=(3, 16, 16), n=2):
    with random.streams(random.seeds(1, n)):
        return random.uniform((n, *shape))


@dataclass
class Output:
    """An answer in the manner of pythae."""

    embedding: torch.Tensor
    log_covariance: torch.Tensor | None = None


@dataclass
class Latents:
    """An answer in the manner of diffusers' deterministic autoencoders."""

    latents: torch.Tensor


@dataclass
class Decoded:
    """A decoder's answer in the manner of diffusers."""

    sample: torch.Tensor


class Theirs(nn.Module):
    """A user's autoencoder: halves and doubles, and answers in the given manner."""

    def __init__(self, answer: Any, wrap: Any = None) -> None:
        super().__init__()
        self.answer, self.wrap = answer, wrap
        self.weight = nn.Parameter(torch.ones(()))

    def encode(self, x):
        return self.answer(self.weight * x / 2, 2 * x.clamp_min(0.1).log())

    def decode(self, z):
        return 2 * z if self.wrap is None else self.wrap(2 * z)

    def forward(self, x):
        raise AssertionError("the user's forward is never called")


STOCHASTIC = {
    "pair": lambda m, v: (m, v),
    "list": lambda m, v: [m, v],
    "distribution": lambda m, v: Normal(m, (v / 2).exp()),
    "object": Output,
    "mapping": lambda m, v: {"embedding": m, "log_covariance": v},
}
DETERMINISTIC = {
    "tensor": lambda m, v: m,
    "one": lambda m, v: (m,),
    "object": lambda m, v: Output(m),
    "latents": lambda m, v: Latents(m),
}


@pytest.mark.parametrize("answer", STOCHASTIC.values(), ids=STOCHASTIC)
def test_whatever_the_encoder_answers_its_mean_and_deviation_are_found(answer):
    model, x = adapt_autoencoder(Theirs(answer).eval(), images()), images()
    posterior = model.encode(x)
    torch.testing.assert_close(posterior.mean, x / 2)
    torch.testing.assert_close(posterior.stddev, x.clamp_min(0.1))
    torch.testing.assert_close(model(x), x)


@pytest.mark.parametrize("answer", DETERMINISTIC.values(), ids=DETERMINISTIC)
def test_a_code_without_a_deviation_is_a_point(answer):
    model, x = adapt_autoencoder(Theirs(answer).eval(), images()), images()
    assert isinstance(model.encode(x), PointMass)
    torch.testing.assert_close(model(x), x)


@pytest.mark.parametrize(
    "wrap", [None, Decoded, lambda x: (x, "more"), lambda x: {"reconstruction": x}]
)
def test_whatever_the_decoder_answers_its_image_is_found(wrap):
    x = images()
    torch.testing.assert_close(AutoencoderAdapter(Theirs(lambda m, v: m, wrap))(x), x)


def test_a_model_in_signed_range_meets_it_and_is_shown_the_unit_range():
    seen = []

    def answer(mean, _):
        seen.append(2 * mean.detach())
        return mean

    x = images()
    model = AutoencoderAdapter(Theirs(answer), images="signed")
    torch.testing.assert_close(model(x), x)
    torch.testing.assert_close(seen[0], 2 * x - 1)


def test_codes_are_shifted_and_scaled_both_ways():
    x = images()
    theirs = Theirs(STOCHASTIC["pair"])
    plain = AutoencoderAdapter(theirs).encode(x)
    model = AutoencoderAdapter(theirs, shift=[0.1, 0.2, 0.3], factor=[1.0, 2.0, -4.0])
    moved = model.encode(x)
    shift, factor = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, -4.0])
    expected = (plain.mean - shift.view(1, 3, 1, 1)) * factor.view(1, 3, 1, 1)
    torch.testing.assert_close(moved.mean, expected)
    torch.testing.assert_close(moved.stddev, plain.stddev * factor.abs().view(1, 3, 1, 1))
    torch.testing.assert_close(model(x), x)


def test_flat_codes_are_scaled_per_coordinate():
    x = torch.tensor([[0.2, 0.6]])
    model = AutoencoderAdapter(Theirs(STOCHASTIC["pair"]), shift=[0.1, 0.1], factor=[2.0, 4.0])
    torch.testing.assert_close(model.encode(x).mean, torch.tensor([[0.0, 0.8]]))
    torch.testing.assert_close(model(x), x)


def test_logits_pass_a_sigmoid_and_overshoot_is_clamped():
    x = images()
    logits = AutoencoderAdapter(Theirs(lambda m, v: m), logits=True)
    torch.testing.assert_close(logits(x), x.sigmoid())
    clamped = AutoencoderAdapter(Theirs(lambda m, v: 3 * m), clamp=True)
    torch.testing.assert_close(clamped(x), (3 * x).clamp(0, 1))


def test_the_latent_scale_draws_from_the_ambient_streams():
    x, seeds = images(), random.seeds(0, 2)
    model = AutoencoderAdapter(Theirs(STOCHASTIC["pair"]))
    with random.streams(seeds):
        found = model.with_scale(0.5)(x)
    with random.streams(seeds):
        q = model.encode(x)
        expected = model.decode(q.mean + 0.5 * q.stddev * random.normal(tuple(x.shape), x))
    torch.testing.assert_close(found, expected)
    assert torch.equal(model.with_scale(0.0)(x), model(x))


def test_half_precision_inside_float32_outside():
    model = AutoencoderAdapter(copy.deepcopy(Theirs(STOCHASTIC["pair"])).to(torch.bfloat16))
    x = images()
    posterior = model.encode(x)
    assert posterior.mean.dtype == posterior.stddev.dtype == model(x).dtype == torch.float32
    torch.testing.assert_close(model(x), x, rtol=0.02, atol=0.02)


def test_ours_pass_through_unchanged():
    ours = VAE((1, 8, 8), 2, hidden=(4,)).eval()
    assert adapt_autoencoder(ours, images((1, 8, 8))) is ours
    adapter = AutoencoderAdapter(Theirs(lambda m, v: m))
    assert adapt_autoencoder(adapter) is adapter
    assert is_autoencoder(ours)
    assert not is_autoencoder(nn.Linear(2, 2))


def test_adapters_copy_and_leave_the_model_as_it_was():
    theirs = Theirs(STOCHASTIC["pair"])
    before = {name: value.clone() for name, value in theirs.state_dict().items()}
    model = copy.deepcopy(AutoencoderAdapter(theirs, factor=2.0)).double()
    x = images().double().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    torch.testing.assert_close(gradient, torch.ones_like(x))
    assert theirs.weight.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in theirs.state_dict().items())


class Sampling(Theirs):
    """Its encoder hides the posterior and returns a fresh draw."""

    def encode(self, x):
        return x + random.normal(tuple(x.shape), x)


REFUSED = [
    (nn.Linear(2, 2), "neither encode and decode"),
    (Theirs(lambda m, v: (m, v, m)), "cannot read a posterior"),
    (Theirs(lambda m, v: "code"), "cannot read a posterior"),
    (Theirs(lambda m, v: m, wrap=lambda x: "image"), "cannot read images"),
    (Theirs(lambda m, v: m, wrap=lambda x: 2 * x - 1), "images='signed'"),
    (Theirs(lambda m, v: m, wrap=lambda x: x[:, :1]), "come back as"),
    (Theirs(lambda m, v: m, wrap=lambda x: x / 0), "NaN or infinite"),
    (Sampling(None), "fresh random sample"),
]


@pytest.mark.parametrize(("model", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_what_is_no_autoencoder_is_told(model, says):
    with pytest.raises(UserError, match=says):
        adapt_autoencoder(model.eval(), images())


def test_more_slips_are_told():
    with pytest.raises(UserError, match="train mode"):
        check_autoencoder(VAE((3, 16, 16), 2, hidden=(4,)), images())
    with pytest.raises(UserError, match="'compress'"):
        AutoencoderAdapter(Theirs(None), encode="compress")
    with pytest.raises(UserError, match="unit"):
        AutoencoderAdapter(Theirs(None), images="bytes")
    with pytest.raises(UserError, match="no diffusers configuration"):
        DiffusersAutoencoder(Theirs(None))


class PythaeLike(nn.Module):
    """The parts of a pythae model that are used: `encoder` and `decoder` submodules."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = _PythaeEncoder(), _PythaeDecoder()


class _PythaeEncoder(nn.Module):
    def forward(self, x):
        return Output(x / 2, torch.zeros_like(x))


class _PythaeDecoder(nn.Module):
    def forward(self, z):
        return {"reconstruction": 2 * z}


@pytest.mark.parametrize("adapt", [PythaeAutoencoder, adapt_autoencoder])
def test_pythae_models_are_read_by_their_submodules(adapt):
    model, x = adapt(PythaeLike()), images()
    torch.testing.assert_close(model(x), x)
    torch.testing.assert_close(model.encode(x).stddev, torch.ones_like(x))


def test_the_package_of_a_model_says_what_it_is():
    kind = type("Theirs", (PythaeLike,), {"__module__": "pythae.models.vae"})
    assert adapt_autoencoder(kind()).calls == ("encoder", "decoder")


def test_the_committed_comparison_with_pythae_found_no_difference():
    """`make peers` writes the record: pythae cannot share this environment."""
    file = Path(__file__).resolve().parents[2] / "results" / "peers" / "pythae.json"
    if not file.is_file():
        pytest.skip("needs results/peers/pythae.json, which `make peers` writes")
    found = read_records(file)
    subjects = {record.subject for record in found}
    assert {"pythae AE", "pythae VAE bce", "pythae VAE mse", "pythae VAE audited"} <= subjects
    assert all(record.value <= record.config["tolerance"] for record in found)


needs_diffusers = pytest.mark.skipif(
    importlib.util.find_spec("diffusers") is None, reason="needs diffusers (the hf extra)"
)


def tiny_kl(**settings):
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        **settings,
    ).eval()


@needs_diffusers
@pytest.mark.parametrize("shift", [None, 0.1])
def test_diffusers_codes_and_images_are_those_of_its_pipelines(shift):
    vae, x = tiny_kl(scaling_factor=0.3, shift_factor=shift), images()
    model = adapt_autoencoder(vae, x)
    posterior = model.encode(x)
    with torch.no_grad():
        inside = vae.encode(2 * x - 1).latent_dist
        code = (inside.mean - (shift or 0)) * 0.3
        decoded = (vae.decode(inside.mean).sample / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(posterior.mean, code)
    torch.testing.assert_close(posterior.stddev, inside.std * 0.3)
    torch.testing.assert_close(model(x), decoded)
    assert posterior.event_shape == code.shape[1:]


@needs_diffusers
def test_diffusers_statistics_of_the_latents_are_used_where_given():
    mean, std = [0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0]
    vae, x = tiny_kl(latents_mean=mean, latents_std=std, scaling_factor=0.5), images()
    inside = vae.encode(2 * x - 1).latent_dist.mean
    wide = [torch.tensor(values).view(1, 4, 1, 1) for values in (mean, std)]
    model = DiffusersAutoencoder(vae, clamp=False)
    torch.testing.assert_close(model.encode(x).mean, (inside - wide[0]) * 0.5 / wide[1])
    torch.testing.assert_close(model(x), (vae.decode(inside).sample + 1) / 2)


@needs_diffusers
def test_diffusers_gradients_flow_and_draws_are_ours():
    model, x = DiffusersAutoencoder(tiny_kl(), scale=1.0), images().requires_grad_()
    state = torch.get_rng_state()
    seeds = random.seeds(0, 2)
    with random.streams(seeds):
        first = model(x)
    with random.streams(seeds):
        torch.testing.assert_close(model(x), first, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(first.sum(), x)
    assert bool((gradient.flatten(1).norm(dim=1) > 0).all())
    assert torch.equal(state, torch.get_rng_state())


@needs_diffusers
def test_diffusers_half_precision_is_upcast_in_a_copy():
    vae, x = tiny_kl().half(), images()
    model = DiffusersAutoencoder(vae)
    rebuilt = model(x)
    assert rebuilt.dtype == torch.float32
    assert next(model.parameters()).dtype == torch.float32
    assert vae.dtype == torch.float16
    torch.testing.assert_close(rebuilt, DiffusersAutoencoder(tiny_kl())(x), rtol=0, atol=0.01)


@needs_diffusers
def test_diffusers_bfloat16_stays_inside():
    model = DiffusersAutoencoder(tiny_kl().to(torch.bfloat16))
    assert next(model.parameters()).dtype == torch.bfloat16
    assert model(images()).dtype == model.encode(images()).stddev.dtype == torch.float32


@needs_diffusers
def test_diffusers_deterministic_autoencoders_work_too():
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    ).eval()
    model, x = adapt_autoencoder(tiny), images()
    assert isinstance(model.encode(x), PointMass)
    assert model(x).shape == x.shape
