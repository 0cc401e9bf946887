"""The shallow autoencoders of MagNet: their layers, their noise, and what they refuse."""

import pytest
import torch
from torch import nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.models import ImageMap, ImageMapConfig, build


def test_the_first_of_the_two_is_as_published() -> None:
    """Two convolutions around the mean, two around the way back, one to the image; a sigmoid after each."""
    model = ImageMap(ImageMapConfig())
    kinds = [type(part).__name__ for part in (*model.encoder, *model.decoder)]
    pair = ["Conv2d", "Sigmoid"]
    assert kinds == [*pair, "AvgPool2d", *pair, *pair, "Upsample", *pair, *pair]
    widths = [part.out_channels for part in model.modules() if isinstance(part, nn.Conv2d)]
    assert widths == [3, 3, 3, 3, 1]


@torch.no_grad()
def test_the_second_keeps_the_resolution() -> None:
    model, x = ImageMap(ImageMapConfig((2, 6, 4), (3,))), torch.rand(5, 2, 6, 4)
    assert model.encode(x).mean.shape == (5, 3, 6, 4)
    assert torch.equal(model(x), model.decode(model.encode(x).mean))
    assert 0 < float(model(x).min()) <= float(model(x).max()) < 1


def test_it_is_trained_to_make_the_clean_image_of_a_noisy_one() -> None:
    model = ImageMap(ImageMapConfig((1, 4, 4), (3,), input_noise=0.5))
    x, seeds = torch.rand(6, 1, 4, 4), random.seeds(0, 6)
    with random.streams(seeds):
        noisy = (x + 0.5 * random.normal((6, 1, 4, 4), x)).clamp(0, 1)
    with random.streams(seeds):
        loss = model.losses(x)["loss"]
    torch.testing.assert_close(loss, (model(noisy) - x).square().flatten(1).sum(1))
    quiet = ImageMap(ImageMapConfig((1, 4, 4), (3,), input_noise=0.0))
    torch.testing.assert_close(quiet.losses(x)["loss"], (quiet(x) - x).square().flatten(1).sum(1))


def test_it_is_built_from_its_settings_and_its_seed() -> None:
    one, again, other = (build(ImageMapConfig((1, 4, 4)), seed=seed) for seed in (2, 2, 1))
    first, same, another = (next(model.parameters()) for model in (one, again, other))
    assert torch.equal(first, same)
    assert not torch.equal(first, another)


def test_slips_are_told() -> None:
    for layers in ((), ("average",), (3, "max"), (0,)):
        with pytest.raises(UserError, match="at least one convolution"):
            ImageMapConfig(layers=layers)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="that 4 divides"):
        ImageMapConfig((1, 6, 6), (3, "average", "average"))
    with pytest.raises(UserError, match="input_noise"):
        ImageMapConfig(input_noise=-1.0)
    with pytest.raises(UserError, match="shape"):
        ImageMap(ImageMapConfig())(torch.rand(2, 1, 8, 8))
