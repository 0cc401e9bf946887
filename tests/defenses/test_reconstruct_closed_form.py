"""Reconstruction where everything is known: a projection, and a Gaussian posterior of linear maps."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.special import ndtr

from trompe.attacks import EOT, PGD, Still
from trompe.core import random
from trompe.core.domains import Vectors
from trompe.core.geometry import Ball
from trompe.defenses import Reconstruct
from trompe.evaluation.outcomes import REPORT, outcomes
from trompe.models import AE, VAE, Autoencoder

SIZE, LATENT = 6, 2
LINEAR = {"shape": (SIZE,), "hidden": (), "likelihood": "gaussian", "squash": False}
DOUBLE = torch.empty(0, dtype=torch.float64)


def noise(n: int, *shape: int, seed: int = 3) -> Tensor:
    with random.streams(random.seeds(seed, n)):
        return random.normal((n, *shape), DOUBLE)


def gaussians(n: int = 4000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two classes at `-m` and `m` with one covariance: points, labels, m and the covariance."""
    scales = torch.tensor([2.0, 1.5, 0.5, 0.4, 0.3, 0.2], dtype=torch.float64)
    turn = torch.linalg.qr(noise(SIZE, SIZE, seed=1)).Q
    middle = turn @ torch.tensor([1.0, 1.5, 0.3, 0.2, 0.1, 0.0], dtype=torch.float64)
    y = torch.arange(n) % 2
    x = (2 * y[:, None] - 1) * middle + (noise(n, SIZE) * scales) @ turn.T
    return x, y, middle, turn @ torch.diag(scales**2) @ turn.T


def components(x: Tensor) -> Tensor:
    """The projection `(D, D)` onto the first principal components."""
    vectors = torch.linalg.eigh(torch.cov(x.T)).eigenvectors[:, -LATENT:]
    return vectors @ vectors.T


def trained(x: Tensor) -> Autoencoder:
    """A linear autoencoder at the minimum of its own training loss."""
    model = AE(latent=LATENT, **LINEAR).double()
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-10
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model.losses(x)["loss"].mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return model.eval()


def linear(weight: Tensor) -> nn.Linear:
    """Two classes that differ by `weight @ x`."""
    net = nn.Linear(len(weight), 2, bias=False).double().eval()
    with torch.no_grad():
        net.weight.copy_(torch.stack([-weight / 2, weight / 2]))
    return net


def test_a_trained_linear_autoencoder_projects_on_the_principal_components() -> None:
    """Baldi & Hornik 1989: the loss has no other minimum."""
    x = gaussians(400)[0]
    shown = Reconstruct(trained(x), nn.Flatten()).reconstruct(x)
    centre = x.mean(0)
    expected = centre + (x - centre) @ components(x)
    torch.testing.assert_close(shown, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("eps", [0.0, 0.5, 1.5])
def test_defended_accuracy_is_that_of_the_projected_weights(eps: float) -> None:
    """`Phi((w P m - eps ||P w||) / sqrt(w P C P w))`: P takes away reach and signal alike."""
    x, y, middle, covariance = gaussians()
    projection = components(x)
    weight = torch.ones(SIZE, dtype=torch.float64)
    model = AE(latent=LATENT, **LINEAR).double().eval()
    basis = torch.linalg.eigh(projection).eigenvectors[:, -LATENT:]
    with torch.no_grad():
        for layer, value in ((model.mean, basis.T), (model.decoder[0], basis)):
            layer.weight.copy_(value)
            layer.bias.zero_()
    defended = Reconstruct(model, linear(weight))
    attack = PGD(Ball(eps, "L2"), steps=3, random_start=False, early_stop=False, loss="margin",
                 step_size=max(eps, 1.0), domain=Vectors())  # fmt: skip
    found = attack(defended, x, y)
    seen = projection @ weight
    sign = (2 * y - 1).double()
    with torch.no_grad():
        left = sign * defended(found).diff(dim=1)[:, 0]
    torch.testing.assert_close(left, sign * (x @ seen) - eps * seen.norm())
    expected = ndtr((middle @ seen - eps * seen.norm()) / (seen @ covariance @ seen).sqrt())
    deviation = (expected * (1 - expected) / len(x)).sqrt()
    assert abs((left > 0).double().mean() - expected) < 4 * deviation + 1e-9


class Posterior:
    """A VAE of linear maps whose deviations differ, a linear classifier, and what follows from them."""

    def __init__(self, kind: type[Reconstruct], scale: float, input_noise: float = 0.0) -> None:
        model = VAE(latent=LATENT, **LINEAR).double().eval()
        deviation = torch.tensor([0.5, 2.0], dtype=torch.float64)
        with torch.no_grad():
            model.mean.weight.copy_(noise(LATENT, SIZE, seed=5))
            model.decoder[0].weight.copy_(noise(SIZE, LATENT, seed=6))
            model.mean.bias.zero_()
            model.decoder[0].bias.zero_()
            model.logvar.weight.zero_()
            model.logvar.bias.copy_(2 * deviation.log())
        weight = noise(1, SIZE, seed=7)[0]
        self.model = kind(model, linear(weight), scale, input_noise)
        of_code = weight @ model.decoder[0].weight.detach()
        self.slope = of_code @ model.mean.weight.detach()
        self.spread = float(
            ((scale * of_code * deviation).square().sum()
             + (input_noise * self.slope).square().sum()).sqrt()
        )  # fmt: skip

    def points(self, n: int) -> tuple[Tensor, Tensor]:
        """Inputs a known number of deviations from the boundary, all of the second class."""
        far = torch.linspace(-1.5, 1.5, n, dtype=torch.float64) * (self.spread or 1.0)
        return far[:, None] * self.slope / self.slope.square().sum(), torch.ones(n).long()

    def expected(self, x: Tensor) -> Tensor:
        """The probability of the second class, `Phi(margin / deviation of the margin)`."""
        return ndtr(x @ self.slope / self.spread)


DRAWS = 400


def the_probability_of_an_answer_is_known(kind: type[Reconstruct]) -> None:
    for scale, input_noise in ((0.1, 0.0), (1.0, 0.0), (0.1, 0.3)):
        case = Posterior(kind, scale, input_noise)
        x, y = case.points(25)
        seen = outcomes(case.model, x, y, random.seeds(0, 25), REPORT, DRAWS).correct
        expected = case.expected(x)
        deviation = (expected * (1 - expected) / DRAWS).sqrt()
        assert bool(((seen - expected).abs() < 5 * deviation).all())
        assert abs(float((seen - expected).mean())) < 0.02


def every_query_draws_anew(kind: type[Reconstruct]) -> None:
    case = Posterior(kind, 1.0)
    x, _ = case.points(8)
    with random.streams(random.seeds(0, 8)):
        first, second = case.model(x), case.model(x)
    assert not torch.isclose(first, second).any()


def without_scale_nothing_is_drawn(kind: type[Reconstruct]) -> None:
    case = Posterior(kind, 0.0)
    x, _ = case.points(8)
    with random.streams(random.seeds(0, 8)) as used:
        margin = case.model(x).diff(dim=1)[:, 0]
    torch.testing.assert_close(margin, x @ case.slope)
    assert used.calls == 0


CHECKS: list[Callable[[type[Reconstruct]], None]] = [
    the_probability_of_an_answer_is_known,
    every_query_draws_anew,
    without_scale_nothing_is_drawn,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_on_a_linear_gaussian_vae(check: Callable[[type[Reconstruct]], None]) -> None:
    check(Reconstruct)


@pytest.mark.parametrize("still", [False, True])
def test_against_known_draws_the_mean_is_the_best_way_there_is(still: bool) -> None:
    """The margin's deviation is the same everywhere: EOT finds nothing that the mean does not."""
    case, eps = Posterior(Reconstruct, 1.0), 0.7
    x, y = case.points(25)
    inner = PGD(Ball(eps, "L2"), steps=4, random_start=False, early_stop=False, loss="margin",
                step_size=1.0, domain=Vectors())  # fmt: skip
    attack = Still(inner) if still else EOT(inner, draws=5)
    found = attack(case.model, x, y, seeds=random.seeds(2, 25))
    best = x - eps * case.slope / case.slope.norm()
    torch.testing.assert_close(found, best)
    seen = outcomes(case.model, found, y, random.seeds(0, 25), REPORT, DRAWS).correct
    expected = case.expected(best)
    assert abs(float((seen - expected).mean())) < 0.02


class IgnoresTheScale(Reconstruct):
    def _code(self, x: Tensor) -> Tensor:
        q = self.autoencoder.encode(x)
        return q.mean + q.stddev * random.normal(tuple(q.mean.shape), q.mean)


class TakesTheVariance(Reconstruct):
    def _code(self, x: Tensor) -> Tensor:
        q = self.autoencoder.encode(x)
        if self.scale == 0:
            return q.mean
        return q.mean + self.scale * q.variance * random.normal(tuple(q.mean.shape), q.mean)


class ScalesTheVariance(Reconstruct):
    """Takes s for a factor on the variance."""

    def _code(self, x: Tensor) -> Tensor:
        q = self.autoencoder.encode(x)
        if self.scale == 0:
            return q.mean
        return q.mean + self.scale**0.5 * q.stddev * random.normal(tuple(q.mean.shape), q.mean)


class DrawsOnce(Reconstruct):
    """Keeps its first draw for all queries."""

    def _code(self, x: Tensor) -> Tensor:
        q = self.autoencoder.encode(x)
        if self.scale == 0:
            return q.mean
        if not hasattr(self, "kept"):
            self.kept = random.normal(tuple(q.mean.shape), q.mean)
        return q.mean + self.scale * q.stddev * self.kept


class ForgetsTheInputNoise(Reconstruct):
    def reconstruct(self, x: Tensor) -> Tensor:
        return self.autoencoder.decode(self._code(x))


@pytest.mark.parametrize(
    ("kind", "caught"),
    [
        (IgnoresTheScale, the_probability_of_an_answer_is_known),
        (IgnoresTheScale, without_scale_nothing_is_drawn),
        (TakesTheVariance, the_probability_of_an_answer_is_known),
        (ScalesTheVariance, the_probability_of_an_answer_is_known),
        (ForgetsTheInputNoise, the_probability_of_an_answer_is_known),
        (DrawsOnce, the_probability_of_an_answer_is_known),
        (DrawsOnce, every_query_draws_anew),
    ],
    ids=lambda value: value.__name__,
)
def test_a_mutant_is_caught(
    kind: type[Reconstruct], caught: Callable[[type[Reconstruct]], None]
) -> None:
    with pytest.raises(AssertionError):
        caught(kind)
