import math
from dataclasses import replace

import pytest
import torch

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.losses import kl_to_prior
from trompe.models import SVAE, AutoencoderConfig, SVAEConfig, build
from trompe.training import Batches, DiscriminatorStep, SupervisedStep, train


def small(shape: tuple[int, ...] = (1, 8, 8), classes: int = 3) -> SVAE:
    return SVAE(SVAEConfig.sized(shape, classes))


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 29, 23), (7,)]
)
def test_sizes_fit_the_images(shape: tuple[int, ...]) -> None:
    model, x = small(shape), torch.rand(2, *shape)
    z = model.encode(x).mean
    assert model(x).shape == x.shape
    assert model.classify(z).shape == (2, 3)
    assert model.discriminate(z).shape == (2,)


def test_published_network_of_digits() -> None:
    layers = [m for m in small((1, 28, 28), 10).decoder if isinstance(m, torch.nn.Conv2d)]
    widths = [(m.in_channels, m.out_channels) for m in layers]
    assert widths == [(64, 32), (32, 32), (32, 16), (16, 1)]
    assert [m.weight.shape[0] for m in small((1, 28, 28), 10).head if hasattr(m, "weight")] == [
        256,
        128,
        10,
    ]


def test_loss_is_minus_the_bound_of_image_and_label() -> None:
    model, x, y = small().double(), torch.rand(4, 1, 8, 8).double(), torch.tensor([0, 1, 2, 0])
    seeds = random.seeds(0, 4)
    with random.streams(seeds):
        terms = model.losses(x, y)
    with random.streams(seeds):
        z = random.sample(model.encode(x))
    image = model.decode(z)
    log_image = (x * image.log() + (1 - x) * (1 - image).log()).flatten(1).sum(1)
    log_label = model.classify(z).log_softmax(1)[torch.arange(4), y]
    bound = log_image + log_label - kl_to_prior(model.encode(x))
    torch.testing.assert_close(terms["loss"], -bound, rtol=1e-9, atol=1e-9)


def test_supervision_weighs_the_label() -> None:
    config = SVAEConfig.sized((1, 8, 8), 3)
    x, y = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    found = {}
    for weight in (1.0, 30.0):
        with random.streams(random.seeds(0, 4)):
            found[weight] = SVAE(replace(config, supervision=weight)).losses(x, y)
    torch.testing.assert_close(
        found[30.0]["loss"] - found[1.0]["loss"], 29 * found[1.0]["label"], rtol=1e-4, atol=1e-4
    )


def test_without_labels_it_is_the_bound_of_the_image_alone() -> None:
    model, x = small(), torch.rand(4, 1, 8, 8)
    with random.streams(random.seeds(0, 4)):
        terms = model.losses(x)
    assert "label" not in terms
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["kl"])


def test_each_stage_moves_its_own_networks_only() -> None:
    model = small()
    before = {name: p.clone() for name, p in model.named_parameters()}
    x, y = torch.rand(8, 1, 8, 8), torch.randint(0, 3, (8,))
    with random.streams(random.seeds(0, 8)):
        SupervisedStep(model)(x, y)
    moved = {
        n.partition(".")[0] for n, p in model.named_parameters() if not torch.equal(p, before[n])
    }
    assert moved == {"encoder", "mean", "logvar", "decoder", "head"}
    before = {name: p.clone() for name, p in model.named_parameters()}
    with random.streams(random.seeds(0, 8)):
        DiscriminatorStep(model)(x, y)
    moved = {
        n.partition(".")[0] for n, p in model.named_parameters() if not torch.equal(p, before[n])
    }
    assert moved == {"critic"}


def test_discriminator_learns_the_ratio_of_the_densities() -> None:
    class Codes(torch.nn.Module):
        """Codes are N(2, 1) whatever the image: log d / (1 - d) is 2 z - 2."""

        def __init__(self) -> None:
            super().__init__()
            self.critic = torch.nn.Linear(1, 1)

        def encode(self, x: torch.Tensor) -> torch.distributions.Distribution:
            from trompe.models.autoencoders import gaussian

            return gaussian(torch.full((len(x), 1), 2.0), torch.ones(len(x), 1))

        def discriminate(self, z: torch.Tensor) -> torch.Tensor:
            return self.critic(z)[:, 0]

    model = Codes()
    train(
        DiscriminatorStep(model, 0.1),
        Batches(torch.zeros(4096, 1), torch.zeros(4096, dtype=torch.long), size=512, seed=0),
        epochs=60,
        progress=False,
    )
    assert math.isclose(model.critic.weight.item(), 2.0, abs_tol=0.1)
    assert math.isclose(model.critic.bias.item(), -2.0, abs_tol=0.15)


def test_settings_are_checked() -> None:
    with pytest.raises(UserError, match="two classes"):
        SVAEConfig(classes=1)
    with pytest.raises(UserError, match="supervision"):
        SVAEConfig(supervision=0.0)
    with pytest.raises(UserError, match="widths"):
        SVAEConfig(head=(0,))
    with pytest.raises(UserError, match="has no input_noise"):
        SVAEConfig(input_noise=0.1, denoise=True)
    with pytest.raises(UserError, match="in pairs and an odd kernel"):
        AutoencoderConfig(architecture="bilinear", channels=(8,))
    with pytest.raises(UserError, match="discriminator of codes"):
        SupervisedStep(torch.nn.Linear(2, 2))


def test_build_knows_it() -> None:
    assert isinstance(build(SVAEConfig.sized((1, 8, 8), 10)), SVAE)
