"""Adversarial training and logit pairing where the gradient is known, and broken variants that miss it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.attacks.gradient import FGSM, PGD
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.core.protocols import Step
from trompe.defenses import AdversarialStep, LogitPairingStep, adversarial, strengthened
from trompe.training import Batches, ClassifierStep, constant, train

SGD: dict[str, Any] = {
    "schedule": constant,
    "optimizer": lambda parameters, lr, weight_decay: torch.optim.SGD(parameters, lr=lr),
}
X = torch.rand(64, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > X[:, 1]).long()


def linear(classes: int = 2, dtype: torch.dtype = torch.float32) -> nn.Linear:
    layer = nn.Linear(5, classes, bias=False).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        layer.weight.copy_(torch.rand(classes, 5, generator=generator) - 0.5)
    return layer


def shifted(model: nn.Module, x: Tensor, y: Tensor, *, seeds: Tensor) -> Tensor:
    """An attack that the tests know: every input by the same vector."""
    return x + torch.linspace(-0.2, 0.3, 5, dtype=x.dtype)


@pytest.mark.parametrize("attack", [FGSM(Ball(0.0)), PGD(Ball(0.0), steps=3)])
def test_at_radius_zero_adversarial_training_is_plain_training_bit_for_bit(attack: Any) -> None:
    results = []
    for step in (AdversarialStep(linear(), attack, 0.1), ClassifierStep(linear(), 0.1)):
        images = X.view(64, 1, 1, 5)
        step.model = nn.Sequential(nn.Flatten(), step.model)
        train(step, Batches(images, Y, size=16), steps=12)
        results.append(step.model[1].weight)
    assert torch.equal(*results)
    assert not torch.equal(results[0], linear().weight)


def test_on_a_linear_model_the_worst_case_is_the_norm_of_the_weights() -> None:
    """Over an Linf ball the margin is less by `eps ||w_0 - w_1||_1` (Goodfellow et al. 2015, section 5)."""
    eps, model = 0.1, linear(dtype=torch.float64)
    x = X.double() * 0.6 + 0.2  # away from the box's edge
    difference = (model.weight[0] - model.weight[1]).detach().requires_grad_()
    side = 1.0 - 2.0 * Y
    value = F.softplus(-side * (x @ difference) + eps * difference.abs().sum()).mean()
    (slope,) = torch.autograd.grad(value, difference)
    before = model.weight.detach().clone()
    wide = nn.Sequential(nn.Flatten(), model)
    attack = PGD(Ball(eps), steps=1, step_size=2 * eps, random_start=False, early_stop=False)
    step = AdversarialStep(wide, attack, 1.0, **SGD)
    found = step(x.view(64, 1, 1, 5), Y)
    assert float(found["loss"]) == pytest.approx(float(value.detach()), rel=1e-9)
    assert torch.allclose(before - model.weight, torch.stack([slope, -slope]), atol=1e-9)


def test_the_gradient_of_logit_pairing_on_a_linear_model() -> None:
    """With logits `W x`, `||W d||^2` averaged over the batch has the gradient `2 W mean(d d')`."""
    model, lam, x = linear(3, torch.float64), 0.7, X.double()
    y = torch.arange(64) % 3
    before = model.weight.detach().clone()
    d = shifted(model, x, y, seeds=y) - x
    fits = []
    for inputs in (x, x + d):
        miss = (inputs @ before.T).softmax(1) - F.one_hot(y, 3)
        fits.append(miss.T @ inputs / 64)
    expected = fits[0] + fits[1] + lam * 2 * before @ (d.T @ d) / 64
    found = LogitPairingStep(model, shifted, 1.0, weight=lam, **SGD)(x, y)
    assert torch.allclose(before - model.weight, expected, atol=1e-12)
    assert float(found["pairing"]) == pytest.approx(float((d @ before.T).square().sum(1).mean()))


def test_half_of_the_loss_may_be_of_clean_inputs() -> None:
    losses = {}
    for clean in (0.0, 0.5, 1.0):
        step = AdversarialStep(linear(), shifted, 0.0, clean=clean, schedule=constant)
        losses[clean] = float(step(X, Y)["loss"])
    assert losses[0.5] == pytest.approx((losses[0.0] + losses[1.0]) / 2)
    assert losses[1.0] == pytest.approx(float(F.cross_entropy(linear()(X), Y).detach()))


class Watchful:
    """An attack that notes what it is given."""

    def __init__(self) -> None:
        self.modes: list[bool] = []
        self.seeds: list[Tensor] = []

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, *, seeds: Tensor) -> Tensor:
        self.modes.append(model.training)
        self.seeds.append(seeds)
        return x


def test_the_attack_meets_eval_mode_and_draws_of_its_own_at_every_step() -> None:
    model = nn.Sequential(linear(), nn.Dropout(0.5))
    model[1].eval()
    attack = Watchful()
    step = AdversarialStep(model, attack)
    assert isinstance(step, Step)
    for number in (0, 1, 1):
        with random.streams(random.seeds(0, 64), number):
            step(X, Y)
    assert attack.modes == [False] * 3
    assert [part.training for part in model.modules()] == [True, True, False]
    first, second, again = attack.seeds
    assert torch.equal(second, again)
    assert not bool((first == second).any())
    assert len(second.unique()) == 64


def test_the_radius_grows_over_the_first_steps() -> None:
    step = AdversarialStep(nn.Sequential(nn.Flatten(), linear()), FGSM(Ball(0.2)), warm=4)
    moved = []
    for _ in range(6):
        x = torch.full((64, 1, 1, 5), 0.5)
        moved.append(float((step.attacked(x, Y) - x).abs().amax()))
        step(x, Y)
    assert moved == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.2, 0.2])


@pytest.mark.parametrize("kind", [AdversarialStep, LogitPairingStep])
def test_an_interrupted_training_ends_with_the_same_bits(kind: Any, tmp_path: Path) -> None:
    images, attack = X.view(64, 1, 1, 5), PGD(Ball(0.1), steps=2)

    def fresh() -> Any:
        model = nn.Sequential(nn.Flatten(), linear())
        return kind(model, attack, 0.05, warm=5, schedule=constant)

    whole, part, rest = fresh(), fresh(), fresh()
    batches = Batches(images, Y, size=16)
    train(whole, batches, steps=6)

    class Cut(Exception):
        pass

    class Stopping:
        """The same batches, until the power fails."""

        size = 16

        def __len__(self) -> int:
            return len(batches)

        def to(self, device: Any) -> "Stopping":
            return self

        def at(self, number: int, rank: int = 0, world: int = 1) -> tuple[Tensor, ...]:
            if number == 4:
                raise Cut
            return batches.at(number)

    with pytest.raises(Cut):
        train(part, Stopping(), steps=6, directory=tmp_path, checkpoint_every=3, log=False)
    train(rest, batches, steps=6, directory=tmp_path, checkpoint_every=3, log=False)
    assert torch.equal(rest.model[1].weight, whole.model[1].weight)


def test_half_of_the_examples_are_sent_back_with_their_new_labels() -> None:
    x, y = torch.zeros(10, 1, 2, 2, dtype=torch.uint8), torch.zeros(10, dtype=torch.int64)
    new, labels = torch.linspace(0, 1, 9)[:, None, None, None].expand(9, 1, 2, 2), torch.arange(9)
    made = strengthened((x, y), (new, labels), times=3, seed=1)
    assert made.x.dtype == torch.uint8
    assert len(made.x) == len(made.y) == 10 + 3 * 4
    assert sorted([*made.sent.tolist(), *made.held_out.tolist()]) == list(range(9))
    assert torch.equal(made.y[10:], made.sent.repeat(3))
    assert torch.equal(made.x[10:14, 0, 0, 0], (new[made.sent, 0, 0, 0] * 255).round().byte())
    other = strengthened((x, y), (new, labels), seed=2)
    assert not torch.equal(made.sent, other.sent)
    floats = strengthened((x.float(), y), (new, labels))
    assert torch.equal(floats.x[10:], new[floats.sent])


class Detached(LogitPairingStep):
    """Pairs the attacked logits with clean ones that are held constant."""

    def terms(self, x: Tensor, x_adv: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        terms, logits = super().terms(x, x_adv, y)
        pairing = (self.model(x).detach() - logits).square().sum(1).mean()
        fit = terms["loss"] - self.weight * terms["pairing"]
        return {"loss": fit + self.weight * pairing, "pairing": pairing}, logits


class Summed(LogitPairingStep):
    """Averages over the classes as well."""

    def terms(self, x: Tensor, x_adv: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        terms, logits = super().terms(x, x_adv, y)
        less = terms["pairing"] * (1 - 1 / logits.shape[1])
        return {**terms, "loss": terms["loss"] - self.weight * less}, logits


@pytest.mark.parametrize("broken", [Detached, Summed])
def test_a_broken_pairing_has_another_gradient(
    broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "LogitPairingStep", broken)
    with pytest.raises(AssertionError):
        test_the_gradient_of_logit_pairing_on_a_linear_model()


class OnClean(AdversarialStep):
    """Attacks, and trains on what it attacked."""

    def attacked(self, x: Tensor, y: Tensor) -> Tensor:
        super().attacked(x, y)
        return x


class Downhill(AdversarialStep):
    """Makes the inputs easier."""

    def attacked(self, x: Tensor, y: Tensor) -> Tensor:
        return 2 * x - super().attacked(x, y)


@pytest.mark.parametrize("broken", [OnClean, Downhill])
def test_broken_adversarial_training_misses_the_worst_case(
    broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "AdversarialStep", broken)
    with pytest.raises(AssertionError):
        test_on_a_linear_model_the_worst_case_is_the_norm_of_the_weights()


def test_an_attack_that_met_train_mode_or_one_draw_for_all_steps_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr(adversarial, "_evaluated", nullcontext)
    with pytest.raises(AssertionError):
        test_the_attack_meets_eval_mode_and_draws_of_its_own_at_every_step()
    monkeypatch.undo()
    monkeypatch.setattr(
        adversarial.random, "uniform", lambda shape, like: torch.rand(shape).double() * 0
    )
    with pytest.raises(AssertionError):
        test_the_attack_meets_eval_mode_and_draws_of_its_own_at_every_step()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: AdversarialStep(linear(), shifted, clean=1.5), "between 0 and 1"),
        (lambda: LogitPairingStep(linear(), shifted, weight=-1.0), "zero or more"),
        (lambda: AdversarialStep(nn.Flatten(), shifted), "no trainable parameters"),
        (lambda: AdversarialStep(linear(), shifted, warm=3), "cannot grow over 3 steps"),
        (lambda: strengthened((X, Y), (X[:, :4], Y)), "cannot be sent back"),
        (lambda: strengthened((X, Y), (X, Y), share=1.0), "none to train on or none to measure"),
    ],
)
def test_slips_are_told(make, told) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=told):
        make()
