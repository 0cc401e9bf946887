"""Classifiers: any image shape, each example on its own, normalisation as buffers."""

import copy
import json
from dataclasses import asdict

import pytest
import torch
from torch import nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.models import MLP, ClassifierConfig, ClassifierNet, Conv4, LeNet5, ResNet, build


def over_patches(kind):
    """A maker of a net over patches of three pixels, in two blocks."""

    def make(seed=0, **settings):
        config = ClassifierConfig(kind, channels=(16, 16), patch=3, **settings)
        return ClassifierNet(config, seed=seed)

    return make


MAKERS = (MLP, LeNet5, Conv4, ResNet, over_patches("mixer"), over_patches("transformer"))
SHAPES = ((1, 28, 28), (1, 8, 8), (3, 32, 32), (3, 64, 64), (2, 9, 7))


def images(shape=(1, 28, 28), n=4, dtype=torch.float32):
    with random.streams(random.seeds(1, n)):
        return random.uniform((n, *shape), torch.empty(0, dtype=dtype))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_image_shape_and_two_classes(make, shape):
    assert make(shape=shape, classes=2)(images(shape)).shape == (4, 2)


@pytest.mark.parametrize("make", MAKERS)
def test_an_example_is_classified_alone_as_in_a_batch_and_in_either_mode(make):
    model, x = make().double(), images(dtype=torch.float64)
    together = model.train()(x)
    torch.testing.assert_close(model.eval()(x), together, rtol=0, atol=0)
    alone = torch.cat([model(row) for row in x.split(1)])
    torch.testing.assert_close(alone, together, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_and_layouts(make, dtype):
    model, x = make(mean=(0.3,), std=(0.4,)), images()
    other = copy.deepcopy(model).to(dtype=dtype, memory_format=torch.channels_last)
    found = other(x.to(dtype, memory_format=torch.channels_last))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), model(x), rtol=0.1, atol=0.05)


@pytest.mark.parametrize("make", MAKERS)
def test_normalisation_is_a_buffer_of_the_model(make):
    plain, normal = make(seed=3), make(mean=(0.5,), std=(0.25,), seed=3)
    x = images()
    torch.testing.assert_close(normal(x), plain((x - 0.5) / 0.25))
    assert "normalize.mean" in normal.state_dict()
    assert not any("normalize" in name for name, _ in normal.named_parameters())


def test_normalisation_is_per_channel():
    model = Conv4(shape=(3, 8, 8), mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    x = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    torch.testing.assert_close(model.normalize(x), torch.zeros(1, 3, 8, 8))


def test_the_nets_of_the_papers():
    linear = [m for m in MLP().modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(784, 128), (128, 10)]
    convolutions = [m for m in Conv4().modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [32, 32, 64, 64]
    assert sum(p.numel() for p in LeNet5(shape=(1, 32, 32)).parameters()) == 61_706


def test_vectors_take_an_mlp():
    assert MLP(shape=(64,), hidden=(8,))(torch.zeros(2, 64)).shape == (2, 10)
    normal = MLP(shape=(2,), hidden=(8,), mean=(1.0, 2.0), std=(1.0, 1.0))
    assert normal.normalize(torch.tensor([[1.0, 2.0]])).tolist() == [[0.0, 0.0]]


def test_configurations_are_plain_values_and_seeds_fix_weights():
    config = ResNet(channels=(8, 16)).config
    assert ClassifierConfig(**json.loads(json.dumps(asdict(config)))) == config
    before = torch.get_rng_state()
    a, b, c = build(config, seed=1), build(config, seed=1), build(config, seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a(images()), b(images()))
    assert not torch.equal(a(images()), c(images()))


def test_a_fresh_residual_block_is_the_identity():
    block = ResNet(channels=(8, 8)).features[3]
    x = images((8, 5, 5))
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("make", MAKERS)
def test_gradients_reach_the_input(make):
    x = images().requires_grad_()
    (gradient,) = torch.autograd.grad(make()(x).square().sum(), x)
    assert bool((gradient.flatten(1).norm(dim=1) > 0).all())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "vgg"}, "kind"),
        ({"classes": 1}, "two or more"),
        ({"kind": "conv4", "shape": (64,), "channels": (4, 4, 4, 4)}, "shape (C, H, W)"),
        ({"kind": "conv4", "channels": (4,)}, "takes 4 channels"),
        ({"hidden": (0,)}, "positive integers"),
        ({"mean": (0.1, 0.2)}, "mean and std"),
        ({"kind": "mixer", "channels": (8,), "patch": 0}, "positive integers"),
    ],
)
def test_a_wrong_setting_is_told(settings, says):
    with pytest.raises(UserError) as told:
        ClassifierConfig(**settings)
    assert says in str(told.value)


def test_more_slips_are_told():
    with pytest.raises(UserError, match="multiple of 16"):
        build(ClassifierConfig("transformer", channels=(24,)))
    with pytest.raises(UserError, match="one width"):
        build(ClassifierConfig("mixer", channels=(8, 16)))
    with pytest.raises(UserError, match="std must be positive"):
        MLP(std=(0.0,))
    with pytest.raises(UserError, match="at least 4x4"):
        LeNet5(shape=(1, 3, 3))
    with pytest.raises(UserError, match=r"expected a batch of shape \(B, 1, 28, 28\)"):
        MLP()(torch.zeros(2, 3, 28, 28))
