"""GANs: the generator's protocol, classes, examples that stay apart, and the step that trains both."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe import models
from trompe.core.errors import UserError
from trompe.core.protocols import Generator, Step
from trompe.core.random import normal, seeds, streams
from trompe.models import ACGAN, GAN, ACGANConfig, GANConfig
from trompe.training import Batches, GANStep, constant, train
from trompe.training.gan import shifted

SIZES = {"latent": 4, "channels": (4, 8), "critic": (4, 8)}


def small(classes: int = 3, **settings: object) -> GAN:
    given = {"shape": (1, 8, 8), **SIZES, **settings}
    if classes:
        return ACGAN(ACGANConfig(classes=classes, **given))  # type: ignore[arg-type]
    return GAN(GANConfig(**given))  # type: ignore[arg-type]


def codes(rows: int, size: int = 4) -> Tensor:
    with streams(seeds(0, rows)):
        return normal((rows, size))


@pytest.mark.parametrize("classes", [0, 3])
def test_it_is_a_generator_of_images(classes: int) -> None:
    model = models.build(small(classes).config).eval()
    assert isinstance(model, Generator)
    assert model.prior.mean.shape == (1, 4)
    with torch.no_grad():
        x = model(codes(5), torch.arange(5) % 3) if classes else model(codes(5))
    assert x.shape == (5, 1, 8, 8)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (3, 9, 7)])
def test_any_size_of_image(shape: tuple[int, ...]) -> None:
    model = small(0, shape=shape)
    assert model(codes(2)).shape == (2, *shape)
    assert model.realness(torch.rand(2, *shape)).shape == (2,)


def test_no_image_and_no_opinion_depends_on_its_batch() -> None:
    model, z, y = small().double().eval(), codes(6).double(), torch.arange(6) % 3
    x = model(z, y)
    opinion = model.classify(x), model.realness(x)  # type: ignore[attr-defined]
    for row in range(6):
        one = slice(row, row + 1)
        alone = model(z[one], y[one])
        torch.testing.assert_close(alone, x[one])
        torch.testing.assert_close(model.classify(alone), opinion[0][one])  # type: ignore[attr-defined]
        torch.testing.assert_close(model.realness(alone), opinion[1][one])


def test_the_class_matters() -> None:
    model = small().eval()
    first, second = (model(codes(1), torch.tensor([label])) for label in (0, 1))
    assert not torch.allclose(first, second)


def test_each_network_descends_its_own_loss_only() -> None:
    """The generator's gradients, against the loss written out (Odena et al. 2017, and the hinge)."""
    model, y = small().double().eval(), torch.tensor([0, 1, 2, 2])
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    step = GANStep(model, lr=0.0, schedule=constant)
    with streams(seeds(0, 4), 2):
        told = step(x, y)
    with streams(seeds(0, 4), 2):
        made = model(normal((4, 4), x), y)
    score, logits = model.critic(made)
    real, named = model.critic(x)
    hinge = F.relu(1 - real).mean() + F.relu(1 + score).mean()
    losses = {
        "generator": F.cross_entropy(logits, y) - score.mean(),
        "critic": hinge + F.cross_entropy(named, y) + F.cross_entropy(logits, y),
    }
    torch.testing.assert_close(told["critic"], hinge.detach())
    for part, loss in losses.items():
        weights = list(getattr(model, part).parameters())
        wanted = torch.autograd.grad(loss, weights, retain_graph=True)
        for parameter, grad in zip(weights, wanted, strict=True):
            torch.testing.assert_close(parameter.grad, grad)


def test_training_puts_classes_in_their_place() -> None:
    """Bars, upright or lying: made ones are dark and light where their class has them."""
    x = torch.zeros(2, 1, 8, 8)
    x[0, :, 3:5], x[1, :, :, 3:5] = 1, 1
    x, y = x.repeat(32, 1, 1, 1), torch.tensor([0, 1]).repeat(32)
    model = small(2, channels=(8, 16), critic=(8, 16))
    step = GANStep(model, 3e-3)
    assert isinstance(step, Step)
    assert set(step.optimizers()) == {"generator", "critic"}
    train(step, Batches(x, y, size=32), steps=100, ema=0.9, log=False)
    with torch.no_grad():
        made = model.eval()(codes(40), torch.arange(40) % 2)
        assert float((model.classify(x[:2]).argmax(1) == y[:2]).float().mean()) == 1  # type: ignore[attr-defined]
        # an average of weights is no average of the directions that a spectral norm keeps
        for name, kept in model.critic.named_buffers():
            assert float(kept.norm()) == pytest.approx(1, abs=1e-3), name
    errors = [(made[k::2] - x[k]).abs().mean() for k in (0, 1)]
    assert max(errors) < 0.1


def test_a_state_travels() -> None:
    x, y = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    one, other = GANStep(small()), GANStep(small())
    with streams(seeds(0, 6)):
        one(x, y)
    other.load_state_dict(one.state_dict())
    for step in (one, other):
        with streams(seeds(0, 6), 1):
            step(x, y)
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_shifts_move_whole_images_and_let_gradients_through() -> None:
    x = torch.zeros(50, 1, 9, 9).requires_grad_()
    with torch.no_grad():
        x[:, :, 4, 4] = 1
    with streams(seeds(0, 50)):
        moved = shifted(x, 2)
    places = moved.flatten(1).argmax(1)
    assert bool((moved.flatten(1).sum(1) == 1).all())
    assert {int(p) // 9 for p in places} == {int(p) % 9 for p in places} == {2, 3, 4, 5, 6}
    (grad,) = torch.autograd.grad(moved.sum(), x)
    assert bool((grad[:, :, 4, 4] == 1).all())


def test_slips_are_told() -> None:
    model = small()
    with pytest.raises(UserError, match=r"codes of shape \(B, 4\), got \(2, 5\)"):
        model(codes(2, 5), torch.zeros(2).long())
    with pytest.raises(UserError, match=r"give y, \(B,\) in 0 to 2"):
        model(codes(2))
    with pytest.raises(UserError, match="classes lie in 0 to 2, got 0 to 3"):
        model(codes(2), torch.tensor([0, 3]))
    with pytest.raises(UserError, match="without classes"):
        small(0)(codes(2), torch.zeros(2).long())
    with pytest.raises(UserError, match="needs images"):
        GANConfig((7,))
    with pytest.raises(UserError, match="too small"):
        GANConfig((1, 3, 3), critic=(4, 4))
    with pytest.raises(UserError, match="shift must be a number of pixels"):
        GANConfig(shift=64)
    with pytest.raises(UserError, match="classes must be two or more"):
        ACGANConfig(classes=1)
    with pytest.raises(UserError, match="Linear has no generator"):
        GANStep(nn.Linear(2, 2))
    with pytest.raises(UserError, match="needs labels in 0 to 2"):
        GANStep(model)(torch.rand(2, 1, 8, 8), torch.tensor([0, 3]))
