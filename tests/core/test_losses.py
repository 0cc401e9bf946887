"""Losses per example, against closed forms, autograd and sampling."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from trompe.core import losses
from trompe.core.errors import UserError
from trompe.core.protocols import PointMass


def logits(classes: int = 6) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    z = torch.randn(40, classes, dtype=torch.float64) * 3
    return z, torch.arange(40) % classes


def gaussians() -> tuple[Independent, Independent]:
    torch.manual_seed(0)
    parts = [torch.randn(7, 4, dtype=torch.float64) for _ in range(4)]
    p = Independent(Normal(parts[0], parts[1].exp()), 1)
    return p, Independent(Normal(parts[2], parts[3].exp()), 1)


def test_cross_entropy_and_its_gradient() -> None:
    z, y = logits()
    z.requires_grad_()
    value = losses.cross_entropy(z, y)
    assert torch.allclose(value, -z.log_softmax(1)[torch.arange(40), y])
    (grad,) = torch.autograd.grad(value.sum(), z)
    assert torch.allclose(grad, z.softmax(1) - torch.eye(6, dtype=z.dtype)[y])


def test_margin_is_positive_where_the_class_wins() -> None:
    z, y = logits()
    value = losses.margin(z, y)
    assert torch.equal(value > 0, z.argmax(1) == y)
    z.requires_grad_()
    (grad,) = torch.autograd.grad(losses.margin(z, y).sum(), z)
    rival = z.scatter(1, y[:, None], -torch.inf).argmax(1)
    eye = torch.eye(6, dtype=z.dtype)
    assert torch.equal(grad, eye[y] - eye[rival])


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_dlr(classes: int) -> None:
    z, y = logits(classes)
    value = losses.dlr(z, y)
    assert bool(value.isfinite().all())
    assert torch.equal(value > 0, losses.margin(z, y) > 0)
    assert torch.allclose(losses.dlr(z + 5, y), value), "a shift changes it"
    if classes > 2:
        assert torch.allclose(losses.dlr(z * 7.5, y), value), "a scale changes it"
        top = z.sort(1, descending=True).values
        assert torch.allclose(value, losses.margin(z, y) / (top[:, 0] - top[:, 2]))
    # However confident the model, the gradient does not vanish as that of cross-entropy does.
    far = (z * 1e3).requires_grad_()
    (grad,) = torch.autograd.grad(losses.dlr(far, y).sum(), far)
    assert bool((grad.abs().sum(1) > 0)[z.argmax(1) == y].all())


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_targeted_dlr(classes: int) -> None:
    z, y = logits(classes)
    target = (y + 1) % classes
    value = losses.targeted_dlr(z, y, target)
    rows = torch.arange(40)
    assert bool(value.isfinite().all())
    assert torch.equal(value > 0, z[rows, y] > z[rows, target])
    if classes >= 4:
        top = z.sort(1, descending=True).values
        scale = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
        assert torch.allclose(value, (z[rows, y] - z[rows, target]) / scale)
        assert torch.allclose(losses.targeted_dlr(3 * z - 4, y, target), value)


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_whoever_aims_at_a_class_has_a_gradient_towards_it(classes: int) -> None:
    """Wherever the target ranks, its logit is to rise: DLR itself is constant where it ranks third."""
    z = torch.arange(classes, 0, -1.0).double().expand(classes, classes).clone().requires_grad_()
    target = torch.arange(classes)
    (slope,) = torch.autograd.grad(losses.dlr(z, target, towards=True).sum(), z)
    assert bool((slope.gather(1, target[:, None]) > 0).all())
    own, others = torch.zeros(classes - 1, dtype=torch.int64), target[1:]
    rows = z[1:]
    (slope,) = torch.autograd.grad(losses.targeted_dlr(rows, own, others).sum(), rows)
    assert bool((slope.gather(1, others[:, None]) < 0).all())


def test_divergences_of_gaussians_against_torch() -> None:
    p, q = gaussians()
    assert torch.allclose(losses.kl(p, q), kl_divergence(p, q))
    assert torch.allclose(losses.symmetric_kl(p, q), kl_divergence(p, q) + kl_divergence(q, p))
    assert torch.allclose(losses.kl(p, p), torch.zeros(7).double())


def test_divergences_of_gaussians_against_sampling() -> None:
    p, q = gaussians()
    draws = p.sample(torch.Size([200000]))
    ratio = p.log_prob(draws) - q.log_prob(draws)
    error = ratio.std(0) / len(draws) ** 0.5
    assert bool(((ratio.mean(0) - losses.kl(p, q)).abs() < 5 * error).all())
    # The optimal coupling of two Gaussians moves all quantiles alike.
    noise = torch.randn(200000, 7, 4, dtype=torch.float64)
    moved = (p.mean + p.stddev * noise - q.mean - q.stddev * noise).square().sum(2)
    error = moved.std(0) / len(noise) ** 0.5
    assert bool(((moved.mean(0) - losses.wasserstein2(p, q)).abs() < 5 * error).all())


def test_points() -> None:
    a, b = PointMass(torch.zeros(3, 2)), PointMass(torch.ones(3, 2))
    assert losses.mean_distance(a, b).tolist() == [2.0] * 3
    assert losses.wasserstein2(a, b).tolist() == [2.0] * 3
    for name in ("kl", "symmetric_kl"):
        with pytest.raises(UserError, match="stochastic encoder"):
            losses.DIVERGENCES[name](a, b)


def test_all_are_per_example() -> None:
    z, y = logits()
    p, q = gaussians()
    for loss in (losses.cross_entropy, losses.margin, losses.dlr):
        whole = loss(z, y)
        assert whole.shape == (40,)
        assert torch.allclose(loss(z[3:4], y[3:4]), whole[3:4])
    for divergence in losses.DIVERGENCES.values():
        assert divergence(p, q).shape == (7,)
    assert losses.squared_distance(torch.ones(2, 3, 4), torch.zeros(2, 3, 4)).tolist() == [
        12.0,
        12.0,
    ]
