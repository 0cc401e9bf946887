"""The evidence bound and its parts against closed forms: principal components, and known mixtures."""

from itertools import combinations

import pytest
import torch
from torch.distributions import Normal

from tests.models.ppca import log_evidence, ppca
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.losses import kl_to_prior
from trompe.models import AE, VAE
from trompe.models.aggregate import aggregate_log_density, kl_parts
from trompe.models.objectives import sampled_kl

SMALL = {"shape": (1, 8, 8), "latent": 3, "hidden": (16,)}


def normals(shape, seed=0):
    with random.streams(random.seeds(seed, shape[0])):
        return random.normal(shape, torch.empty(0, dtype=torch.float64))


def posterior(count=6, latent=2):
    """Correlated codes of a small data set, with deviations between 0.3 and 0.7."""
    mean = normals((count, latent))
    mean[:, 1:] += mean[:, :1]
    return Normal(mean, 0.5 + 0.2 * normals((count, latent), 1).tanh())


def test_the_sampled_kl_is_the_exact_one_within_a_percent():
    q = posterior(4, 5)
    many = Normal(q.mean.repeat(20_000, 1), q.stddev.repeat(20_000, 1))
    with random.streams(random.seeds(0, 80_000)):
        found = sampled_kl(many, random.sample(many)).view(20_000, 4).mean(0)
    torch.testing.assert_close(found, kl_to_prior(q), rtol=0.01, atol=0)


def test_both_forms_of_the_bound_share_their_draw_and_their_mean():
    model, x = VAE(**SMALL).double(), normals((2, 1, 8, 8)).sigmoid()
    many, seeds = x.repeat(5000, 1, 1, 1), random.seeds(0, 10_000)
    with torch.no_grad(), random.streams(seeds):
        exact = model.negative_elbo(many)
    with torch.no_grad(), random.streams(seeds):
        sampled = model.negative_elbo(many, exact=False)
    with torch.no_grad(), random.streams(seeds):
        q = model.encode(many)
        code = random.sample(q)
    torch.testing.assert_close(sampled - exact, sampled_kl(q, code) - kl_to_prior(q))
    means = [form.view(5000, 2).mean(0) for form in (sampled, exact)]
    torch.testing.assert_close(*means, rtol=0, atol=0.1)
    point = AE(**SMALL).double()
    torch.testing.assert_close(point.negative_elbo(x, exact=False), point.negative_elbo(x))


def test_a_linear_gaussian_vae_trains_to_the_likelihood_of_principal_components():
    """Its decoder's exact evidence comes within 1e-4 nats of the maximum, and the bound is tight there."""
    scale = torch.tensor([1.5, 1.0, 0.5, 0.45, 0.4, 0.35]).double()
    turn = torch.linalg.qr(torch.arange(36.0).double().view(6, 6).sin())[0]
    x = normals((256, 6), 5) * scale @ turn + torch.linspace(-1, 1, 6)
    best = ppca(x, 2)
    settings = {"hidden": (), "likelihood": "gaussian", "squash": False}
    model = VAE((6,), 2, variance=best.variance, **settings).double()
    optimizer = torch.optim.Adam(model.parameters(), 0.05, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.05, total_steps=1000, final_div_factor=1e5, cycle_momentum=False
    )
    for step in range(1000):
        with random.streams(random.seeds(step, len(x))):
            loss = model.losses(x)["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad(), random.streams(random.seeds(0, 200 * len(x))):
        bound = -float(model.negative_elbo(x.repeat(200, 1)).mean())
    last = model.decoder[0]
    found = float(log_evidence(x, last.weight.data, last.bias.data, best.variance).mean())
    assert best.evidence - 1e-4 < found <= best.evidence + 1e-12
    assert bound == pytest.approx(found, abs=5e-3)


def test_the_oracle_of_principal_components_is_a_maximum():
    x = normals((64, 4)) @ normals((4, 4), 1)
    best = ppca(x, 2)
    at = log_evidence(x, best.weight, best.bias, best.variance).mean()
    assert float(at) == pytest.approx(best.evidence)
    for step in (0.05, -0.05):
        moved = log_evidence(x, best.weight + step, best.bias, best.variance).mean()
        noisier = log_evidence(x, best.weight, best.bias, best.variance * (1 + step)).mean()
        assert max(moved, noisier) < at


def mixture_on_a_grid(q, points=401):
    """Densities of the aggregate on a grid wide enough for all of it: joint, its product, and a cell."""
    axis = torch.linspace(-6, 6, points).double()
    each = Normal(q.mean[:, :, None], q.stddev[:, :, None]).log_prob(axis).exp()
    joint = torch.einsum("ni,nj->ij", each[:, 0], each[:, 1]) / len(q.mean)
    product = each[:, 0].mean(0)[:, None] * each[:, 1].mean(0)
    return joint, product, float(axis[1] - axis[0]) ** 2


def test_on_the_whole_set_the_parts_of_the_kl_are_those_of_the_mixture():
    """Total correlation by quadrature; all three sum to the KL."""
    q = posterior()
    joint, product, cell = mixture_on_a_grid(q)
    expected = float((joint * (joint / product).log()).sum() * cell)
    totals = dict.fromkeys(("index_code", "total_correlation", "dimensions"), 0.0)
    rounds = 1500
    for seed in range(rounds):
        with random.streams(random.seeds(seed, 6)):
            code = random.sample(q)
        parts = kl_parts(q, code, 6)
        for name, part in parts.items():
            totals[name] += float(part.mean()) / rounds
    torch.testing.assert_close(sum(parts.values()), sampled_kl(q, code))
    assert expected > 0.2
    assert totals["total_correlation"] == pytest.approx(expected, rel=0.05)
    assert sum(totals.values()) == pytest.approx(float(kl_to_prior(q).mean()), rel=0.02)


def test_the_density_is_unbiased_over_all_batches_of_the_set():
    """Averaged over every batch that holds example 0, the estimate is the aggregate itself."""
    q, code = posterior(), normals((6, 2), 3)
    whole = [part[0].exp() for part in aggregate_log_density(q, code, 6)]
    batches = [[0, *rest] for rest in combinations(range(1, 6), 2)]
    found = []
    for rows in batches:
        some = Normal(q.mean[rows], q.stddev[rows])
        found.append([part[0].exp() for part in aggregate_log_density(some, code[rows], 6)])
    for place, expected in enumerate(whole):
        average = torch.stack([parts[place] for parts in found]).mean(0)
        torch.testing.assert_close(average, expected)
    mixture = Normal(q.mean, q.stddev).log_prob(code[0]).sum(1).exp().mean()
    torch.testing.assert_close(whole[0], mixture)


def test_independent_codes_have_no_total_correlation():
    """A product of two sets of posteriors, one per coordinate."""
    rows = torch.cartesian_prod(torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([0.5, -3.0])).double()
    q = Normal(rows, torch.tensor([0.4, 0.9], dtype=torch.float64).expand(6, 2))
    parts = kl_parts(q, normals((6, 2)), 6)
    torch.testing.assert_close(parts["total_correlation"], torch.zeros(6, dtype=torch.float64))


def test_the_objective_adds_the_weighted_total_correlation():
    settings = {"beta": 2.0, "total_correlation": 3.0, "examples": 50}
    model, x = VAE(**SMALL, **settings).double(), normals((5, 1, 8, 8)).sigmoid()
    seeds = random.seeds(0, 5)
    with random.streams(seeds):
        terms = model.losses(x)
    with random.streams(seeds):
        q = model.encode(x)
        parts = kl_parts(q, random.sample(q), 50)
    torch.testing.assert_close(terms["total_correlation"], parts["total_correlation"])
    expected = terms["reconstruction"] + 2 * terms["kl"] + 3 * parts["total_correlation"]
    torch.testing.assert_close(terms["loss"], expected)
    terms["loss"].mean().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


def test_slips_with_the_total_correlation_are_told():
    with pytest.raises(UserError, match="its size as examples"):
        VAE(**SMALL, total_correlation=1.0)
    with pytest.raises(UserError, match="stochastic=False"):
        AE(**SMALL, total_correlation=1.0, examples=10)
    model = VAE(**SMALL, total_correlation=1.0, examples=3)
    for count in (1, 4):
        with pytest.raises(UserError, match="from a batch of 2 to 3"):
            model.losses(torch.zeros(count, 1, 8, 8))
