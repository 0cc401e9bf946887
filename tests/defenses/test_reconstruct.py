"""Reconstruction defences: a classifier like any other, differentiable end to end."""

import copy

import pytest
import torch
from torch import nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.protocols import PointMass
from trompe.defenses import Reconstruct
from trompe.models import AE, MLP, VAE

SMALL = {"shape": (1, 8, 8), "latent": 4, "hidden": (16,)}


def images(n=4, dtype=torch.float64):
    with random.streams(random.seeds(1, n)):
        return random.uniform((n, 1, 8, 8), torch.empty(0, dtype=dtype))


def parts():
    return VAE(**SMALL).double(), MLP(shape=(1, 8, 8), hidden=(8,), classes=3).double()


class Projection(nn.Module):
    """A linear autoencoder with orthonormal rows W: `x -> W^T W x`."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linalg.qr(images(3).flatten(1).T).Q.T)

    def encode(self, x):
        return PointMass(x.flatten(1) @ self.weight.T)

    def decode(self, z):
        return (z @ self.weight).view(-1, 1, 8, 8)

    def forward(self, x):
        return self.decode(self.encode(x).mean)


def test_a_linear_autoencoder_shows_the_classifier_an_orthogonal_projection():
    autoencoder, x = Projection(), images()
    w = autoencoder.weight
    defended = Reconstruct(autoencoder, nn.Flatten())
    torch.testing.assert_close(defended(x), x.flatten(1) @ w.T @ w)
    outside = x.flatten(1) - x.flatten(1) @ w.T @ w
    moved = x + outside.view_as(x)
    torch.testing.assert_close(defended(moved), defended(x))


@pytest.mark.parametrize("make", [AE, VAE])
def test_scale_zero_is_the_mean_bit_for_bit(make):
    autoencoder, (_, classifier) = make(**SMALL).double(), parts()
    x = images()
    expected = classifier(autoencoder.decode(autoencoder.encode(x).mean))
    assert torch.equal(Reconstruct(autoencoder, classifier)(x), expected)
    ignored = Reconstruct(autoencoder.with_scale(0.0), classifier)
    assert torch.equal(ignored(x), expected)


def test_noise_is_that_of_the_ambient_streams_in_its_order():
    autoencoder, classifier = parts()
    x, seeds = images(), random.seeds(5, 4)
    with random.streams(seeds):
        found = Reconstruct(autoencoder, classifier, scale=0.5, input_noise=0.2)(x)
    with random.streams(seeds):
        noisy = x + 0.2 * random.normal(tuple(x.shape), x)
        q = autoencoder.encode(noisy)
        z = q.mean + 0.5 * q.stddev * random.normal((4, 4), x)
    torch.testing.assert_close(found, classifier(autoencoder.decode(z)))


@pytest.mark.parametrize("settings", [{}, {"scale": 1.0}, {"scale": 1.0, "input_noise": 0.3}])
def test_an_example_meets_the_same_draws_alone_and_in_a_batch(settings):
    defended = Reconstruct(*parts(), **settings)
    x, seeds = images(8), random.seeds(5, 8)
    with random.streams(seeds):
        together = defended(x)
    for i in range(8):
        with random.streams(seeds[i : i + 1]):
            torch.testing.assert_close(defended(x[i : i + 1])[0], together[i], rtol=1e-9, atol=1e-9)


def test_fresh_draws_differ_and_the_global_generator_stays():
    defended, x = Reconstruct(*parts(), scale=1.0), images()
    state = torch.get_rng_state()
    assert not torch.equal(defended(x), defended(x))
    assert torch.equal(state, torch.get_rng_state())


def test_the_noisy_input_is_clipped_on_request():
    x, seeds = images(), random.seeds(0, 4)
    shown = {}
    for clip in (False, True):
        defended = Reconstruct(Projection(), nn.Flatten(), input_noise=2.0, clip=clip)
        with random.streams(seeds):
            shown[clip] = defended(x)
    with random.streams(seeds):
        noisy = (x + 2 * random.normal(tuple(x.shape), x)).clamp(0, 1)
    torch.testing.assert_close(shown[True], Reconstruct(Projection(), nn.Flatten())(noisy))
    assert not torch.allclose(shown[True], shown[False])


@pytest.mark.parametrize("settings", [{}, {"scale": 0.7, "input_noise": 0.1}])
def test_gradients_flow_through_the_whole_stack(settings):
    defended = Reconstruct(*parts(), **settings)

    def logits(x):
        with random.streams(random.seeds(0, 1)):
            return defended(x)

    assert torch.autograd.gradcheck(logits, (images(1).requires_grad_(),))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_copies_and_changes_precision_as_one_module(dtype):
    defended = Reconstruct(*parts(), scale=0.5)
    other = copy.deepcopy(defended).to(dtype=dtype, memory_format=torch.channels_last)
    seeds, x = random.seeds(0, 4), images()
    with random.streams(seeds):
        expected = defended(x)
    with random.streams(seeds):
        found = other(x.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=0.05, atol=0.05)
    assert "scale=0.5" in repr(defended)


def test_it_takes_over_the_mode_of_its_parts():
    autoencoder, classifier = parts()
    assert Reconstruct(autoencoder.eval(), classifier).training
    assert not Reconstruct(autoencoder.eval(), classifier.eval()).training


def test_slips_are_told():
    autoencoder, classifier = parts()
    with pytest.raises(UserError, match="adapt_autoencoder"):
        Reconstruct(classifier, autoencoder)
    with pytest.raises(UserError, match="scale"):
        Reconstruct(autoencoder, classifier, scale=-1.0)
    with pytest.raises(UserError, match="input_noise"):
        Reconstruct(autoencoder, classifier, input_noise=float("inf"))
