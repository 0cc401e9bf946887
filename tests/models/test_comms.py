"""Autoencoders as radios: energy, rate, the sizes as published, what stands where in a block."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.models import CommsAutoencoder, CommsConfig

SHAPES = [(1, 1), (7, 4), (2, 4), (4, 6), (3, 8)]


def sizes(part: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    """Each layer with weights, and the shape of these."""
    return [
        (type(layer).__name__, tuple(layer.weight.shape))
        for layer in part.modules()
        if isinstance(layer, nn.Embedding | nn.Linear | nn.Conv1d | nn.Conv2d)
    ]


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_the_mean_energy_of_a_block_is_n(architecture: str, n: int, k: int) -> None:
    model = CommsAutoencoder(CommsConfig(n, k, architecture), seed=1)  # type: ignore[arg-type]
    assert (model.rate, model.messages, model.dimensions) == (k / n, 2**k, 2 * n)
    with torch.no_grad():
        for parameter in model.transmitter.parameters():
            parameter.mul_(3.0).add_(0.1)  # as a training might
        x = model.codebook().double()
        assert x.shape == (2**k, 2 * n)
        assert float(x.square().sum(1).mean()) == pytest.approx(n, rel=1e-6)
        assert model(torch.arange(2**k)).shape == (2**k, 2**k)


def test_what_is_sent_for_a_message_does_not_depend_on_its_neighbours() -> None:
    """Unlike a transmitter that is scaled by each batch's power."""
    model = CommsAutoencoder(CommsConfig(7, 4))
    s = torch.tensor([3, 3, 0, 15])
    assert torch.equal(model.transmit(s), model.codebook()[s])
    assert torch.equal(model.transmit(s[:1]), model.transmit(s)[:1])


def test_the_perceptron_has_the_published_sizes() -> None:
    model = CommsAutoencoder(CommsConfig(7, 4))
    assert sizes(model.transmitter) == [("Embedding", (16, 16)), ("Linear", (14, 16))]
    assert sizes(model.receiver) == [("Linear", (16, 14)), ("Linear", (16, 16))]
    assert isinstance(model.transmitter[1], nn.ELU)  # type: ignore[index]
    assert sum(p.numel() for p in model.parameters()) == 1006


def test_the_convolutional_radio_has_the_published_sizes() -> None:
    model = CommsAutoencoder(CommsConfig(7, 4, "cnn"))
    assert sizes(model.transmitter) == [
        ("Embedding", (16, 16)),
        ("Conv1d", (16, 1, 6)),
        ("Linear", (14, 256)),
    ]
    assert sizes(model.receiver) == [
        ("Conv2d", (16, 1, 2, 3)),
        ("Conv2d", (8, 16, 2, 3)),
        ("Linear", (32, 112)),
        ("Linear", (16, 32)),
    ]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_convolutions_keep_the_size_of_what_they_read() -> None:
    """With zeros on both sides and, where their number is odd, one more at the end."""
    model = CommsAutoencoder(CommsConfig(7, 4, "cnn"))
    y = torch.randn(5, 14, generator=torch.Generator().manual_seed(0))
    h = y.view(5, 1, 2, 7)  # in phase in the first row, in quadrature in the second
    dense = []
    for layer in model.receiver.modules():
        if isinstance(layer, nn.Conv2d):
            h = F.conv2d(h, layer.weight, layer.bias, padding="same").relu()
        elif isinstance(layer, nn.Linear):
            dense.append(layer)
    hidden, last = dense
    assert torch.allclose(model.receive(y), last(hidden(h.flatten(1)).relu()), atol=1e-5)

    layers = list(model.transmitter.modules())
    embedding = next(layer for layer in layers if isinstance(layer, nn.Embedding))
    conv = next(layer for layer in layers if isinstance(layer, nn.Conv1d))
    linear = next(layer for layer in layers if isinstance(layer, nn.Linear))
    e = F.elu(embedding.weight)[:, None]
    filtered = F.conv1d(e, conv.weight, conv.bias, padding="same").relu()
    sent = linear(filtered.flatten(1))
    assert torch.allclose(model.transmitter(torch.arange(16)), sent, atol=1e-6)


def test_in_phase_comes_first_and_then_quadrature() -> None:
    """Fading is the same for both numbers of a use, and for no other two."""
    model = CommsAutoencoder(CommsConfig(3, 2, fading="rayleigh"))
    blocks = 400
    with random.streams(random.seeds(0, blocks)):
        drawn = random.normal((blocks, 6))
    gain = 1 / model.channel.faded(torch.ones(blocks, 6), drawn)
    alike = torch.corrcoef(gain.T) > 0.5
    assert torch.equal(alike, torch.eye(3, dtype=torch.bool).repeat(2, 2))


def test_seeds_decide_the_weights_and_nothing_else() -> None:
    state = torch.get_rng_state()
    one, again, other = (CommsAutoencoder(CommsConfig(7, 4), seed=seed) for seed in (3, 3, 4))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one.codebook(), again.codebook())
    assert not torch.equal(one.codebook(), other.codebook())


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_it_is_told_whole_by_its_settings_and_its_state(architecture: str) -> None:
    config = CommsConfig(4, 3, architecture)  # type: ignore[arg-type]
    one, other = CommsAutoencoder(config, seed=0), CommsAutoencoder(config, seed=1)
    other.load_state_dict(one.state_dict())
    y = torch.ones(2, 8)
    assert torch.equal(one.codebook(), other.codebook())
    assert torch.equal(one.receive(y), other.receive(y))


def test_a_gradient_passes_the_channel() -> None:
    """Transmitter and receiver learn together, over noise and fading, and over the scaling to n."""
    model = CommsAutoencoder(CommsConfig(7, 4, fading="rayleigh"))
    s = torch.arange(16)
    with random.streams(random.seeds(0, 16)):
        F.cross_entropy(model(s), s).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())
    last = model.transmitter[-1]  # type: ignore[index]
    along = sum(float((p.detach() * p.grad).sum()) for p in last.parameters())
    assert along == pytest.approx(0.0, abs=1e-6), "the scale of what is sent is not its to choose"


@pytest.mark.parametrize(
    ("made", "answer"),
    [
        (lambda: CommsConfig(0, 4), "n must be a whole number of at least 1, got 0"),
        (lambda: CommsConfig(-7, 4), "n must be a whole number of at least 1, got -7"),
        (lambda: CommsConfig(7, 0), "k must be .* got 0; there would be one message"),
        (lambda: CommsConfig(7, 2.0), "k must be a whole number"),  # type: ignore[arg-type]
        (lambda: CommsConfig("7", 4), "n must be a whole number"),  # type: ignore[arg-type]
        (lambda: CommsConfig(7, 13), "k must be at most 12, got 13"),
        (lambda: CommsConfig(7, 4, "rnn"), "architecture must be mlp or cnn"),  # type: ignore[arg-type]
        (lambda: CommsConfig(7, 4, fading="rice"), "fading must be one of none, rayleigh"),  # type: ignore[arg-type]
        (lambda: CommsConfig(7, 4, activation="sine"), "activation must be one of relu"),  # type: ignore[arg-type]
    ],
)
def test_slips_are_told(made: Callable[[], CommsConfig], answer: str) -> None:
    with pytest.raises(UserError, match=answer):
        CommsAutoencoder(made())
