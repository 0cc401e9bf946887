"""The doctor: well on honest classifiers, and not fooled by the ways in which gradients lie."""

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.evaluation.subjects import Noisy, Threshold, flat, truth
from trompe.attacks import APGD, BPDA, EOT, FGSM, PGD
from trompe.attacks.transfer import Transfer
from trompe.core import random
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.execution import execution
from trompe.core.geometry import Ball
from trompe.data import Dataset
from trompe.defenses import Reconstruct
from trompe.evaluation import Check, Diagnosis, doctor, evaluate

Named = dict[str, Check]
BALL = Ball(0.1)
REACH, SLOPE = "gradients reach the input", "autograd agrees with finite differences"
BLACK, UNBOUNDED = (
    "black box is not better than white box",
    "an unbounded radius reaches everything",
)
RANDOM, TRANSFER = "randomness is under control", "transfer is not better than white box"


def _trained(model: nn.Module, data: Dataset) -> nn.Module:
    x, y = data.tensors()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def train() -> Dataset:
    from trompe.data import load

    return load("digits", split="train")


@pytest.fixture(scope="module")
def plain(train: Dataset) -> nn.Module:
    torch.manual_seed(0)
    return _trained(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), train
    )


@pytest.fixture(scope="module")
def other(train: Dataset) -> nn.Module:
    torch.manual_seed(1)
    return _trained(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)), train
    )


class Around(nn.Module):
    """A model with something done to its input or its output."""

    def __init__(self, model: nn.Module, before: Any = None, after: Any = None) -> None:
        super().__init__()
        self.model, self.before, self.after = model, before, after
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x if self.before is None else self.before(x))
        return logits if self.after is None else self.after(logits)  # type: ignore[no-any-return]


def quantised(x: Tensor) -> Tensor:
    """Four grey levels."""
    return (x * 3).round() / 3


class Mirrored(torch.autograd.Function):
    """The identity, whose backward pass has the wrong sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return -grads[0]


class Astray(torch.autograd.Function):
    """The identity, whose backward pass goes somewhere else."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0].flip(-1, -2)


class Endless(torch.autograd.Function):
    """The identity, whose backward pass is NaN where it is not zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] / 0


def examined(model: nn.Module, data: Any, ball: Ball = BALL, **how: Any) -> tuple[Diagnosis, Named]:
    found = doctor(model, data, ball, **{"steps": 10, "queries": 200, **how})
    return found, {check.name: check for check in found.checks}


@pytest.mark.parametrize("ball", [Ball(0.1), Ball(0.5, "L2"), Ball(2.0, "L1")])
def test_a_plain_classifier_is_healthy(plain: nn.Module, digits: Dataset, ball: Ball) -> None:
    found = doctor(plain, digits, ball, n=64)
    assert found.healthy, [c for c in found.checks if c.passed is False]
    asked = 7 if ball.norm == "L1" else 8
    assert sum(check.passed is True for check in found.checks) == asked
    left = len(found.checks) - asked
    assert found.verdict == (
        f"No sign of masked gradients: {asked} checks passed ({left} could not be asked)."
    )


def test_a_surrogate_lets_all_be_asked(plain: nn.Module, other: nn.Module, digits: Dataset) -> None:
    found, _ = examined(plain, digits, surrogate=other)
    assert found.verdict == "No sign of masked gradients: 9 checks passed."


@pytest.mark.parametrize("kind", ["convolution", "clips", "two classes", "vectors", "confident"])
def test_other_honest_models_are_healthy(kind: str, plain: nn.Module, train: Dataset) -> None:
    data: Any = train
    ball = BALL
    domain = None
    if kind == "convolution":
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)
        model = _trained(nn.Sequential(*layers), train)
    elif kind == "clips":
        model = Around(plain, before=lambda x: x.clamp(0, 1))
    elif kind == "two classes":
        x = torch.rand(64, 1, 2, 2)
        model, data = Threshold(), (x, truth(x))
    elif kind == "vectors":
        model = nn.Linear(5, 3).eval()
        x = torch.randn(64, 5)
        data, ball, domain = (x, model(x).argmax(1)), Ball(0.5, "L2"), Vectors()
    else:
        model = Around(plain, after=lambda logits: 1e4 * logits)
    found, _ = examined(model, data, ball, domain=domain)
    assert found.healthy, [c for c in found.checks if c.passed is False]


def test_a_controlled_noise_is_healthy(plain: nn.Module, digits: Dataset) -> None:
    def noisy(x: Tensor) -> Tensor:
        return x + 0.1 * random.normal(tuple(x.shape), x)

    found, named = examined(Around(plain, before=noisy), digits)
    assert found.healthy, [c for c in found.checks if c.passed is False]
    assert "repeats itself" in named[RANDOM].detail


def test_a_detached_purifier_is_caught(plain: nn.Module, digits: Dataset) -> None:
    found, named = examined(Around(plain, before=lambda x: x.detach()), digits)
    assert named[REACH].passed is False
    assert "BPDA" in named[REACH].detail
    assert named[BLACK].passed is False, "asking wins where gradients are severed"
    assert named[SLOPE].passed is None
    assert found.verdict == f"Do not trust this robust accuracy. Not so: {REACH}; {BLACK}."


class Components(nn.Module):
    """An autoencoder in closed form: the leading principal components, with a deviation of each code."""

    def __init__(self, data: Dataset, latent: int = 32, cut: bool = False) -> None:
        super().__init__()
        x = data.tensors()[0].flatten(1)
        self.middle, self.cut = x.mean(0), cut
        self.basis = torch.linalg.svd(x - self.middle, full_matrices=False).Vh[:latent]

    def encode(self, x: Tensor) -> torch.distributions.Normal:
        x = x.detach() if self.cut else x
        z = (x.flatten(1) - self.middle.to(x)) @ self.basis.T.to(x)
        return torch.distributions.Normal(z, torch.full_like(z, 0.1))

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.basis.to(z) + self.middle.to(z)).view(-1, 1, 8, 8)


def test_a_drawn_reconstruction_is_healthy(
    plain: nn.Module, other: nn.Module, train: Dataset, digits: Dataset
) -> None:
    coder = Components(train)
    model, own = (Reconstruct(coder, c, scale=1.0).eval() for c in (plain, other))
    found, named = examined(model, digits, surrogate=own, n=32, draws=4)
    assert found.verdict == "No sign of masked gradients: 9 checks passed."
    assert "repeats itself" in named[RANDOM].detail


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_detached_reconstruction_is_caught_and_broken(
    scale: float, plain: nn.Module, train: Dataset, digits: Dataset
) -> None:
    """The doctor says that the gradient is cut; BPDA goes around, and the doctor believes its number."""
    cut = Reconstruct(Components(train, cut=True), plain, scale).eval()
    whole = Reconstruct(Components(train), plain, scale).eval()
    ball = Ball(0.2)
    small: dict[str, Any] = {"n": 32, "draws": 2}
    found, named = examined(cut, digits, ball, **small)
    assert not found.healthy
    assert (named[REACH].passed, named[BLACK].passed) == (False, False)
    assert "BPDA" in named[REACH].detail
    around = BPDA(PGD(ball, steps=10, loss="margin"))
    data = digits.tensors(slice(0, 32))
    with execution(draws=2):
        exact = evaluate(whole, around.attack, data)
        broken = evaluate(cut, around, data)
    assert broken.clean_accuracy > 0.9
    assert broken.robust_accuracy < 0.2
    assert broken.robust_accuracy <= exact.robust_accuracy + 0.1
    found, named = examined(cut, digits, ball, attack=around, **small)
    assert [c.name for c in found.checks if c.passed is False] == [REACH]
    assert named[SLOPE].passed is None
    assert "40 steps" in named["more steps are not worse"].detail


def test_the_white_box_can_be_a_rung(plain: nn.Module, other: nn.Module, digits: Dataset) -> None:
    """A strong rung passes; one that hopes does not: asking beats it, and no radius reaches everything."""
    found, _ = examined(plain, digits, attack=EOT(APGD(BALL, steps=20), draws=4))
    assert found.healthy, [c for c in found.checks if c.passed is False]
    hoping = Transfer(FGSM(Ball(0.3))).using(surrogate=other)
    found, named = examined(plain, digits, attack=hoping)
    assert named[BLACK].passed is False
    with pytest.raises(UserError, match="a ball of norm L2"):
        examined(plain, digits, Ball(0.1, "L2"), attack=hoping)


def test_the_same_attack_with_another_network_is_another(
    plain: nn.Module, other: nn.Module, digits: Dataset
) -> None:
    """The white box given equals the doctor's transfer but for the network it holds."""
    carried = Transfer(PGD(BALL, steps=10, loss="margin", early_stop=False))
    small: dict[str, Any] = {"n": 32, "steps": 10, "queries": 10}
    _, named = examined(
        plain, digits, attack=carried.using(surrogate=plain), surrogate=nn.Flatten().eval(), **small
    )
    white, blind = named[TRANSFER].detail.split(", ")
    assert white.split()[-2] != blind.split()[-1]


def test_a_quantiser_is_caught_without_a_warning(plain: nn.Module, digits: Dataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, named = examined(Around(plain, before=quantised), digits, Ball(0.2))
    assert not found.healthy
    assert named[REACH].detail.startswith("exactly zero on 100.0%")
    assert named[REACH].passed is False
    assert named[BLACK].passed is False
    assert named[UNBOUNDED].passed is False


def test_saturation_is_caught(plain: nn.Module, digits: Dataset) -> None:
    """Logits through a steep sigmoid: the class is the same, the gradient underflows."""
    found, named = examined(Around(plain, after=lambda z: torch.tanh(100 * z)), digits)
    assert not found.healthy
    assert named[REACH].passed is False


def test_noise_of_the_global_generator_is_caught(digits: Dataset) -> None:
    found, named = examined(Noisy(0.05, controlled=False), (x := torch.rand(64, 1, 2, 2), truth(x)))
    assert named[RANDOM].passed is False
    assert "trompe.core.random" in named[RANDOM].detail
    assert not found.healthy


@pytest.mark.parametrize("wrong", [Mirrored, Astray])
def test_a_wrong_backward_pass_is_caught(wrong: Any, plain: nn.Module, digits: Dataset) -> None:
    found, named = examined(Around(plain, before=wrong.apply), digits)
    assert named[SLOPE].passed is False
    assert not found.healthy


def test_a_gradient_that_is_nan_is_caught(plain: nn.Module, digits: Dataset) -> None:
    found, named = examined(Around(plain, before=Endless.apply), digits)
    assert named[REACH].passed is False
    assert "NaN" in named[REACH].detail
    assert not found.healthy


def test_a_gradient_that_turns_nan_on_the_way_is_told(plain: nn.Module, digits: Dataset) -> None:
    """Clean images have gradients; what an attack makes of them has not."""
    clean = digits.tensors(slice(0, 64))[0]

    def trap(x: Tensor) -> Tensor:
        return x if bool(torch.isin(x.detach(), clean).all()) else Endless.apply(x)

    found, named = examined(Around(plain, before=trap), digits)
    assert named[REACH].passed is True
    assert not found.healthy
    assert any(c.passed is False and "NaN or infinite" in c.detail for c in found.checks)


def test_shattered_gradients_are_caught(plain: nn.Module, digits: Dataset) -> None:
    """A fine ripple in the input is all that the gradient sees: averaging over draws would not help."""

    def rippled(x: Tensor) -> Tensor:
        return x + 0.004 * torch.sin(x * 5000)

    found, named = examined(Around(plain, before=rippled), digits)
    assert not found.healthy
    assert named[BLACK].passed is False


def test_random_draws_that_hide_the_gradient_are_caught(plain: nn.Module, digits: Dataset) -> None:
    """Expectation over the randomness is dead: each draw's gradient is of the wrong sign or the right."""

    def dead(x: Tensor) -> Tensor:
        sign = random.signs((len(x), 1, 1, 1), x)
        return x.detach() + sign * (x - x.detach())

    found, named = examined(Around(plain, before=dead), digits, draws=4)
    assert named[RANDOM].passed is True
    assert not found.healthy


def test_a_model_that_is_always_wrong_proves_nothing(plain: nn.Module, digits: Dataset) -> None:
    x, y = digits.tensors(slice(0, 32))
    assert y is not None
    wrong = (plain(x).argmax(1) + 1) % 10
    found, named = examined(plain, (x, wrong))
    assert "no example is classified correctly" in named[BLACK].detail
    assert sum(check.passed is None for check in found.checks) == 6


def test_the_seed_is_heeded_and_the_answer_repeats(digits: Dataset) -> None:
    x = flat(*torch.linspace(0.3, 0.7, 32).tolist())
    one, two = (
        doctor(Noisy(0.05), (x, truth(x)), BALL, steps=4, queries=20, draws=2) for _ in "ab"
    )
    assert one == two
    three = doctor(Noisy(0.05), (x, truth(x)), BALL, steps=4, queries=20, draws=2, seed=1)
    assert [c.detail for c in three.checks] != [c.detail for c in one.checks]


def test_progress_names_every_question(plain: nn.Module, digits: Dataset) -> None:
    told: list[tuple[int, int, str]] = []
    found, _ = examined(plain, digits, n=16, steps=2, queries=5, progress=lambda *a: told.append(a))
    assert [text for _, _, text in told] == [check.name for check in found.checks]
    assert [done for done, _, _ in told] == list(range(len(found.checks)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x, y, m: (x * 255, y, m), "divide by 255"),
        (lambda x, y, m: (x, y + 10, m), "labels must lie in 0..9"),
        (lambda x, y, m: (x.expand(-1, 3, -1, -1), y, m), "inputs of shape"),
        (lambda x, y, m: (x, y, Around(m, after=lambda z: z.softmax(1))), "probabilities"),
        (lambda x, y, m: (x, y, nn.Sequential(m)), "train mode"),
        (lambda x, y, m: (x[:0], y[:0], m), "empty"),
    ],
)
def test_slips_are_told(change: Any, told: str, plain: nn.Module, digits: Dataset) -> None:
    x, y = digits.tensors(slice(0, 8))
    x, y, model = change(x, y, plain)
    with pytest.raises(UserError, match=told):
        doctor(model, (x, y), BALL)
