"""Wake-sleep and Monte Carlo EM: what they descend, where their codes come from, and how they resume."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.core.protocols import Step
from trompe.core.random import seeds, streams
from trompe.evaluation import marginal_likelihood
from trompe.models import AE, VAE, Autoencoder
from trompe.training import AutoencoderStep, Batches, MCEMStep, WakeSleepStep, constant, train

SHAPE = (1, 4, 4)
ADAGRAD = {"optimizer": torch.optim.Adagrad, "schedule": constant}


def model() -> Autoencoder:
    return VAE(SHAPE, 2, hidden=(16,), activation="tanh")


def patterns(rows: int = 40) -> Tensor:
    """Two patterns and their noise: something to learn."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randint(0, 2, (rows, 1, 1, 1), generator=generator)
    flips = torch.rand(rows, *SHAPE, generator=generator) < 0.1
    whole = (torch.arange(16).view(SHAPE) % 2 == kinds).float()
    return (whole - flips.float()).abs()


def made(kind: str, net: nn.Module) -> Step:
    return {
        "aevb": partial(AutoencoderStep, net, 0.05),
        "wake-sleep": partial(WakeSleepStep, net, 0.05),
        "mcem": partial(MCEMStep, net, 0.05, examples=40, latent=2),
    }[kind](**ADAGRAD)


@pytest.mark.parametrize("kind", ["aevb", "wake-sleep", "mcem"])
def test_every_method_makes_the_data_more_likely(kind: str) -> None:
    net, x = model(), patterns()
    step = made(kind, net)
    assert isinstance(step, Step)
    before = marginal_likelihood(net, x, 40, warmup=20).value.mean()
    train(step, Batches(x, size=20), steps=100, log=False)
    assert isinstance(step.optimizers()["model"], torch.optim.Adagrad)
    assert marginal_likelihood(net, x, 40, warmup=20).value.mean() > before + 1


@pytest.mark.parametrize("kind", ["wake-sleep", "mcem"])
def test_a_resumed_training_ends_with_the_same_bits(kind: str) -> None:
    x = patterns()

    def after(numbers: list[range]) -> list[Tensor]:
        net = model()
        step, batches = made(kind, net), Batches(x, size=20)
        for part in numbers:
            state, step = step.state_dict(), made(kind, net)
            step.load_state_dict(state)
            for number in part:
                with streams(seeds(0, batches.at(number)[2]), number):
                    step(*batches.at(number))
        return list(net.parameters())

    for a, b in zip(after([range(8)]), after([range(3), range(3, 8)]), strict=True):
        assert torch.equal(a, b)


def test_sleep_teaches_the_encoder_alone_and_wake_the_decoder_alone() -> None:
    net = model()
    step = WakeSleepStep(net, **ADAGRAD)
    seen: dict[str, Tensor] = {}
    step.update = lambda loss: seen.update(loss=loss)  # type: ignore[method-assign]
    with streams(seeds(0, 40)):
        terms = step(patterns())
    encoder = [*net.encoder.parameters(), *net.mean.parameters()]
    (gradient,) = torch.autograd.grad(seen["loss"], encoder[:1], retain_graph=True)
    with streams(seeds(0, 40)):
        again = step(patterns()[torch.randperm(40)])
    other = torch.autograd.grad(seen["loss"], encoder[:1])[0]
    assert torch.equal(gradient, other), "the encoder learns from dreams, not from data"
    assert float(terms["sleep"]) == float(again["sleep"])


def test_the_chains_of_mcem_tune_themselves_to_the_posterior() -> None:
    """With a decoder that stays as it is, the codes become draws of its posterior."""
    net, x = model().double(), patterns().double()
    step = MCEMStep(net, 0.0, examples=40, latent=2, updates=1, **ADAGRAD)
    accepted, total = [], torch.zeros(2).double()
    for number in range(200):
        with streams(seeds(0, 40), number):
            terms = step(x, torch.zeros(40), torch.arange(40))
        accepted.append(float(terms["acceptance"]))
        total += step.codes.mean(0) / 100 if number >= 100 else 0
    assert sum(accepted[100:]) / 100 == pytest.approx(0.9, abs=0.02)
    z = torch.randn(5000, 1, 2, dtype=torch.float64)
    weights = (-net.nll(z.expand(-1, 40, -1).flatten(0, 1), x.repeat(5000, 1, 1, 1))).view(-1, 40)
    exact = (weights.softmax(0)[..., None] * z).sum(0).mean(0)
    assert torch.allclose(total, exact, atol=0.05)


def test_what_cannot_be_trained_so_is_refused() -> None:
    with pytest.raises(UserError, match="stochastic=True"):
        WakeSleepStep(AE(SHAPE, 2, hidden=(8,)))
    with pytest.raises(UserError, match="`draw`"):
        WakeSleepStep(VAE(SHAPE, 2, hidden=(8,), likelihood="continuous_bernoulli"))
    with pytest.raises(UserError, match="must end in an index"):
        MCEMStep(model(), examples=4, latent=2)(patterns())
    with pytest.raises(UserError, match="after inputs and labels"):
        MCEMStep(model(), examples=4, latent=2)(patterns(), torch.zeros(40, dtype=torch.int64))
