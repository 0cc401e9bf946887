"""The contractive penalty against Jacobians in closed form and by brute force."""

import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap

from trompe.core import random
from trompe.core.errors import UserError
from trompe.models import CAE, CVAE, VAE, contractive_penalty
from trompe.models.contractive import squared_jacobian


def images(n=4, shape=(1, 8, 8)):
    with random.streams(random.seeds(1, n)):
        return random.uniform((n, *shape), torch.empty(0, dtype=torch.float64))


def test_of_a_linear_encoder_it_is_the_squared_norm_of_its_matrix():
    model = CAE(latent=40, shape=(1, 8, 8), hidden=()).double()
    penalty = contractive_penalty(model.encode_mean, images(), probes=None)
    expected = model.mean.weight.square().sum().expand(4)
    torch.testing.assert_close(penalty, expected, rtol=1e-12, atol=0)


def test_of_one_sigmoid_layer_it_is_the_formula_of_the_paper():
    """`sum_j (h_j (1 - h_j))^2 sum_i W_ji^2` (Rifai et al. 2011, section 4)."""
    layer = nn.Sequential(nn.Linear(6, 5), nn.Sigmoid()).double()
    x = images(3, (6,))
    h = layer(x)
    expected = ((h * (1 - h)).square() * layer[0].weight.square().sum(1)).sum(1)
    torch.testing.assert_close(contractive_penalty(layer, x, None), expected)


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
@pytest.mark.parametrize("output", ["mean", "stddev"])
def test_exact_agrees_with_the_full_jacobian(architecture, output):
    model = VAE((1, 8, 8), 5, architecture=architecture, hidden=(16,), channels=(4, 8)).double()
    x = images()

    def encode(v):
        return getattr(model.encode(v), output)

    full = vmap(jacrev(lambda v: encode(v[None])[0]))(x)
    torch.testing.assert_close(
        contractive_penalty(encode, x, None), full.flatten(1).square().sum(1)
    )


def test_over_all_signs_the_estimate_of_a_linear_encoder_is_exact(monkeypatch):
    """The expectation itself, not a mean of draws: each of the 2^L probes once."""
    layer, x = nn.Linear(6, 5).double(), images(2, (6,))
    every = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 5)
    monkeypatch.setattr(random, "signs", lambda shape, like: every.expand(shape))
    found = contractive_penalty(layer, x, probes=32)
    torch.testing.assert_close(found, contractive_penalty(layer, x, None), rtol=1e-12, atol=0)


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_random_signs_are_unbiased(architecture):
    """64 probes come within 2% of the batch mean of 64 images."""
    model = VAE((1, 8, 8), 16, architecture=architecture, hidden=(32,), channels=(8, 8)).double()
    x = images(64)
    with torch.no_grad():
        exact = contractive_penalty(model.encode_mean, x, None)
        with random.streams(random.seeds(0, 64)):
            estimate = contractive_penalty(model.encode_mean, x, 64)
    assert abs(float(estimate.mean() / exact.mean()) - 1) < 0.02


def test_one_probe_is_exact_where_the_rows_are_orthogonal():
    """The variance of random signs comes from off-diagonal entries of `J J^T` alone."""
    layer = nn.Linear(4, 3, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3, 4) * torch.tensor([[1.0], [2.0], [3.0]]))
    with random.streams(random.seeds(0, 2)):
        found = contractive_penalty(layer, images(2, (4,)), probes=1)
    torch.testing.assert_close(found, torch.full((2,), 14.0, dtype=torch.float64))


@pytest.mark.parametrize("probes", [1, 3, None])
def test_it_is_differentiable_in_the_weights(probes):
    layer = nn.Sequential(nn.Linear(4, 3), nn.Tanh()).double()
    x = images(2, (4,))

    def penalty(weight):
        with random.streams(random.seeds(0, 2)):
            return contractive_penalty(lambda v: torch.tanh(v @ weight.T), x, probes)

    assert torch.autograd.gradcheck(penalty, (layer[0].weight.detach().requires_grad_(),))


def test_without_gradients_it_leaves_no_graph():
    model = CVAE((1, 8, 8), 3, hidden=(8,), probes=None).double()
    with torch.no_grad():
        assert not contractive_penalty(model.encode_mean, images()).requires_grad
        terms = model.losses(images())
    assert not any(value.requires_grad for value in terms.values())
    with random.streams(random.seeds(0, 4)):
        again = model.losses(images())["contractive"]
    torch.testing.assert_close(terms["contractive"], again)


def test_inputs_and_gradients_are_left_alone():
    model, x = VAE((1, 8, 8), 3, hidden=(8,)).double(), images()
    before = x.clone()
    contractive_penalty(model.encode_mean, x).sum()
    assert torch.equal(x, before)
    assert not x.requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_slips_are_told():
    with pytest.raises(UserError, match="one or more"):
        contractive_penalty(nn.Flatten(), images(), probes=0)
    with pytest.raises(UserError, match="does not depend"):
        squared_jacobian(torch.zeros(2, 3), torch.zeros(2, 3, requires_grad=True))
