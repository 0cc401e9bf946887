"""Steps: what they descend, what they report, and what they refuse."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.core.protocols import Step
from trompe.core.random import seeds, streams
from trompe.models import Autoencoder, AutoencoderConfig
from trompe.training import AutoencoderStep, ClassifierStep, constant, one_cycle

KINDS = {
    "AE": {"stochastic": False},
    "DAE": {"stochastic": False, "input_noise": 0.3, "denoise": True},
    "AE on noise": {"stochastic": False, "input_noise": 0.3, "likelihood": "gaussian"},
    "CAE": {"stochastic": False, "contractive": 0.1},
    "CAE exact": {"stochastic": False, "contractive": 0.1, "probes": None},
    "VAE": {},
    "VAE beta": {"beta": 4.0},
    "DVAE": {"input_noise": 0.3, "denoise": True},
    "CVAE": {"contractive": 0.1, "contractive_deviation": 0.1},
}


def autoencoder(**settings: object) -> Autoencoder:
    return Autoencoder(AutoencoderConfig((1, 4, 4), latent=3, hidden=(8,), **settings))  # type: ignore[arg-type]


def test_one_cycle_rises_and_falls_without_a_jump() -> None:
    values = [one_cycle(k / 1000) for k in range(1001)]
    top = values.index(max(values))
    assert top == 300
    assert values[top] == pytest.approx(1)
    assert values[: top + 1] == sorted(values[: top + 1])
    assert values[top:] == sorted(values[top:], reverse=True)
    assert max(abs(a - b) for a, b in pairwise(values)) < 0.01
    assert constant(0.3) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_autoencoder_of_the_grid_gets_better(kind: str) -> None:
    step = AutoencoderStep(autoencoder(**KINDS[kind]), lr=1e-2, schedule=constant)
    x = torch.rand(16, 1, 4, 4).round()
    assert isinstance(step, Step)
    reported = []
    for number in range(60):
        with streams(seeds(0, 16), torch.tensor(number)):
            reported.append({name: float(value) for name, value in step(x).items()})
    assert reported[-1]["reconstruction"] < reported[0]["reconstruction"]
    assert all(math.isfinite(value) for values in reported for value in values.values())
    assert ("kl" in reported[0]) == ("VAE" in kind)


def test_a_classifier_learns_and_reports_what_it_was_before_the_update() -> None:
    x, y = torch.eye(4), torch.arange(4)
    step = ClassifierStep(nn.Linear(4, 4), lr=0.1, schedule=constant)
    first = step(x, y, y)
    logits = step.model(x).detach()
    second = step(x, y)
    assert float(second["loss"]) == pytest.approx(float(nn.functional.cross_entropy(logits, y)))
    assert second["loss"] < first["loss"]
    for _ in range(50):
        last = step(x, y)
    assert float(last["accuracy"]) == 1


def test_a_gradient_is_clipped() -> None:
    model = nn.Linear(1, 1)
    step = AutoencoderStep(model, lr=1.0, losses=lambda x: {"loss": 1e6 * model(x)}, clip=0.5)
    step(torch.ones(1, 1))
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(0.5, rel=1e-4)


def test_only_what_requires_a_gradient_is_trained() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    before = [p.detach().clone() for p in model.parameters()]
    ClassifierStep(model, weight_decay=0.1)(torch.ones(2, 2), torch.tensor([0, 1]))
    changed = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert changed == [False, False, True, True]


def test_states_travel_between_steps() -> None:
    x, y = torch.randn(8, 3), torch.randint(0, 2, (8,))
    one, other = ClassifierStep(nn.Linear(3, 2)), ClassifierStep(nn.Linear(3, 2))
    one(x, y)
    other.load_state_dict(one.state_dict())
    one(x, y)
    other(x, y)
    assert torch.equal(one.model.weight, other.model.weight)  # type: ignore[arg-type]


def test_slips_are_told() -> None:
    with pytest.raises(UserError, match="no trainable parameters"):
        ClassifierStep(nn.Flatten())
    with pytest.raises(UserError, match="Linear has no method losses"):
        AutoencoderStep(nn.Linear(2, 2))


def test_the_given_losses_take_the_place_of_the_models() -> None:
    model = autoencoder()

    def losses(x: Tensor) -> dict[str, Tensor]:
        return {"loss": (model(x) - x).square().flatten(1).sum(1)}

    assert list(AutoencoderStep(model, losses=losses)(torch.rand(4, 1, 4, 4))) == ["loss"]


def test_dynamic_binarisation_draws_every_pixel_anew_at_each_step() -> None:
    seen: list[Tensor] = []
    model = autoencoder()

    def losses(x: Tensor) -> dict[str, Tensor]:
        seen.append(x)
        return model.losses(x)

    step = AutoencoderStep(model, losses=losses, dynamic=True)
    x = torch.full((512, 1, 4, 4), 0.25)
    for number in range(2):
        with streams(seeds(0, 512), number):
            step(x)
    assert set(torch.cat(seen).unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(*seen)
    share = float(torch.cat(seen).mean())
    assert abs(share - 0.25) < 4 * math.sqrt(0.25 * 0.75 / (2 * 512 * 16))
