"""The VAE-GAN: an autoencoder with a learned likelihood, and the step that trains its three networks."""

import pytest
import torch
from torch import Tensor, nn

from trompe import models
from trompe.core.errors import UserError
from trompe.core.losses import kl, squared_distance
from trompe.core.protocols import Autoencoder, Step
from trompe.core.random import seeds, streams
from trompe.models import VAEGAN, VAEGANConfig
from trompe.training import VAEGANStep, constant


def small(**settings: object) -> VAEGAN:
    given: dict[str, object] = {"latent": 4, "channels": (6,), "critic": (5, 7), **settings}
    return VAEGAN(VAEGANConfig((1, 8, 8), **given))  # type: ignore[arg-type]


@pytest.fixture
def x() -> Tensor:
    return torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_it_is_an_autoencoder_of_the_grid(x: Tensor) -> None:
    model = models.build(VAEGANConfig((1, 8, 8), latent=4, channels=(6,), critic=(5,))).eval()
    assert isinstance(model, Autoencoder)
    assert models.adapt_autoencoder(model, x) is model
    assert model(x).shape == x.shape
    torch.testing.assert_close(model(x), model.decode(model.encode(x).mean))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (3, 9, 7)])
def test_any_size_of_image(shape: tuple[int, ...]) -> None:
    model = VAEGAN(VAEGANConfig(shape, latent=3, channels=(4, 4), critic=(4, 4, 4)))
    batch = torch.rand(2, *shape)
    features, score = model.critic(batch)
    assert model(batch).shape == batch.shape
    assert score.shape == (2,)
    torch.testing.assert_close(features, model.critic.features(batch))


def test_the_likelihood_is_that_of_the_features(x: Tensor) -> None:
    model = small(feature=1).eval()
    code = model.encode(x).mean
    seen = [model.critic.layers[0](image).flatten(1) for image in (x, model.decode(code))]
    torch.testing.assert_close(model.nll(code, x), 0.5 * squared_distance(*seen))
    with streams(seeds(0, 6)):
        terms = model.losses(x)
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["kl"])


def test_no_output_depends_on_its_batch(x: Tensor) -> None:
    model = small().double().train()
    features, score = model.critic(x.double())
    for row in range(len(x)):
        alone = model.critic(x[row : row + 1].double())
        torch.testing.assert_close(alone[0][0], features[row])
        torch.testing.assert_close(alone[1][0], score[row])


def test_each_network_descends_its_own_loss_only(x: Tensor) -> None:
    """The gradients that the step leaves, against three separate passes (Larsen et al. 2016, algorithm 1)."""
    model = small(gamma=0.3).double()
    step, batch = VAEGANStep(model, lr=0.0, schedule=constant), x.double()
    with streams(seeds(0, 6), 3):
        step(batch)
    found = {name: p.grad for name, p in model.named_parameters()}
    for part, pick in {"critic": 0, "decoder": 1, "encoder": 2, "mean": 2, "logvar": 2}.items():
        with streams(seeds(0, 6), 3):
            loss = _by_hand(model, batch)[pick]
        named = {n: p for n, p in model.named_parameters() if n.startswith(part + ".")}
        wanted = torch.autograd.grad(loss, list(named.values()))
        for name, grad in zip(named, wanted, strict=True):
            torch.testing.assert_close(found[name], grad)


def _by_hand(model: VAEGAN, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    from trompe.core import random

    posterior = model.encode(x)
    rebuilt = model.decode(random.sample(posterior))
    made = model.decode(random.normal((len(x), 4), x))
    like = 0.5 * squared_distance(model.critic(x)[0].detach(), model.critic(rebuilt)[0]).mean()
    real, *fake = (model.critic(image)[1].sigmoid() for image in (x, rebuilt, made))
    critic = -real.log().mean() - sum((1 - one).log().mean() for one in fake)
    fooling = -sum(one.log().mean() for one in fake)
    unit = torch.distributions.Normal(torch.zeros(6, 4), torch.ones(6, 4))
    return critic, 0.3 * like + fooling, kl(posterior, unit).mean() + like


def test_training_brings_the_reconstruction_nearer() -> None:
    x = torch.eye(8)[:, None, :, None].expand(8, 1, 8, 8)  # one bright row each
    step = VAEGANStep(
        small(channels=(16,), critic=(8,), gamma=10.0, beta=0.01), lr=1e-2, schedule=constant
    )
    assert isinstance(step, Step)
    assert set(step.optimizers()) == {"encoder", "decoder", "critic"}
    errors = []
    for number in range(150):
        with streams(seeds(0, 8), number):
            errors.append(float(step(x)["mse"]))
    assert errors[-1] < 0.5 * errors[0]


def test_a_state_travels(x: Tensor) -> None:
    one, other = VAEGANStep(small()), VAEGANStep(small())
    with streams(seeds(0, 6)):
        one(x)
    other.load_state_dict(one.state_dict())
    for step in (one, other):
        with streams(seeds(0, 6), 1):
            step(x)
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_slips_are_told() -> None:
    with pytest.raises(UserError, match="layer of the discriminator, 1 to 2, got 3"):
        VAEGANConfig(feature=3)
    with pytest.raises(UserError, match="needs images"):
        VAEGANConfig((7,), architecture="mlp")
    with pytest.raises(UserError, match="gamma must be positive"):
        VAEGANConfig(gamma=0.0)
    with pytest.raises(UserError, match="is stochastic"):
        VAEGANConfig(stochastic=False)
    with pytest.raises(UserError, match="Linear has no discriminator"):
        VAEGANStep(nn.Linear(2, 2))
