"""Execution: working copies, metering and policies leave the model alone and count exactly."""

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from trompe.core import execution as ex
from trompe.core.domains import Images
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.core.losses import cross_entropy, margin
from trompe.core.protocols import PointMass
from trompe.core.search import Evaluation, search
from trompe.core.solvers import Steepest


class Coder(nn.Module):
    """A convolutional autoencoder with encode, decode and a part of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(1, 4, 3, padding=1)
        self.outer = nn.Conv2d(4, 1, 3, padding=1)
        self.scale = 2.5

    def encode(self, x: Tensor) -> Independent:
        mean = self.inner(x)
        return Independent(Normal(mean, torch.ones_like(mean) * 0.5), 3)

    def point(self, x: Tensor) -> PointMass:
        return PointMass(self.inner(x))

    def decode(self, z: Tensor) -> Tensor:
        return self.outer(z)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x).mean)


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()


def test_a_lowered_copy_answers_in_float32_by_every_door() -> None:
    model, x = Coder().eval(), torch.rand(2, 1, 6, 6)
    with ex.execution(precision="bf16"):
        copy = ex.working_copy(model)
    assert {p.dtype for p in copy.parameters()} == {torch.bfloat16}
    code = copy.encode(x)  # type: ignore[operator]
    assert code.mean.dtype == code.stddev.dtype == torch.float32
    assert code.batch_shape == (2,)
    assert copy.point(x).mean.dtype == torch.float32  # type: ignore[operator]
    assert copy.decode(code.mean).dtype == torch.float32  # type: ignore[operator]
    assert copy.inner(x).dtype == torch.float32  # type: ignore[operator]
    assert copy.scale == 2.5
    assert copy(x).dtype == torch.float32
    with torch.no_grad():
        assert float((copy(x) - model(x)).abs().max()) < 0.02


def test_a_working_copy_leaves_the_model_untouched() -> None:
    model = classifier()
    before = {name: (v.clone(), v.stride()) for name, v in model.state_dict().items()}
    for how in ({}, {"precision": "bf16"}):
        with ex.execution(**how):
            copy = ex.working_copy(model)
        assert copy is not model
        assert not any(p.requires_grad for p in copy.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name][0])
        assert value.stride() == before[name][1]
        assert value.dtype == torch.float32
    assert all(p.requires_grad for p in model.parameters())


def test_copies_are_made_where_they_pay() -> None:
    perceptron = nn.Linear(3, 2)
    assert ex.working_copy(perceptron) is perceptron
    double = nn.Linear(3, 2).double()
    with ex.execution(precision="bf16"):
        assert ex.working_copy(perceptron) is not perceptron
        assert ex.working_copy(double) is double

    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(1, 1, 1)

        def __deepcopy__(self, memo: object) -> nn.Module:
            raise RuntimeError("there is only one of me")

    single = Single()
    assert ex.working_copy(single) is single


def test_copies_are_kept_for_a_suite_and_never_confused() -> None:
    model = classifier()
    with ex.working_copies():
        assert ex.working_copy(model) is ex.working_copy(model)
        with ex.working_copies():
            inner = ex.working_copy(model)
        assert inner is ex.working_copy(model)
        seen = set()
        for bias in range(20):  # each may take the address of the one before
            passing = nn.Conv2d(1, 1, 1)
            nn.init.constant_(passing.bias, float(bias))  # type: ignore[arg-type]
            seen.add(float(ex.working_copy(passing).bias))  # type: ignore[arg-type]
            del passing
        assert seen == set(map(float, range(20)))
    assert ex.working_copy(model) is not ex.working_copy(model)


def objective(model: nn.Module, v: Tensor, y: Tensor) -> Evaluation:
    logits = model(v)
    score = margin(logits.detach(), y)
    return Evaluation(-cross_entropy(logits, y), score, score < 0)


def test_success_in_bf16_is_success_in_float32() -> None:
    model, x = classifier(), torch.rand(60, 1, 8, 8)
    y = model(x).argmax(1)
    region = Images().region(x, Ball(0.1))
    with ex.execution(precision="bf16"):
        found = search(
            objective, model, x, Steepest(0.02, Ball(0.1)), steps=10, region=region, data=y
        )
    fallen = model(found.best).argmax(1) != y
    assert torch.equal(fallen & found.done, found.done)
    assert bool(found.done.any())


def test_meters_count_exactly_and_nest() -> None:
    model, x = classifier(), torch.rand(6, 1, 8, 8)
    y = model(x).argmax(1)
    region = Images().region(x, Ball(1e-9))
    with ex.metered() as outer:
        ex.predict(model, x[:4])
        with ex.metered() as inner:
            search(objective, model, x, Steepest(1e-10, Ball(1e-9)), steps=7, region=region, data=y)
        ex.spend(backwards=2)
    assert (inner.forwards, inner.backwards) == (6 * 8, 6 * 7)
    assert (outer.forwards, outer.backwards) == (6 * 8 + 4, 6 * 7 + 2)
    ex.spend(forwards=5)  # outside any meter: nobody counts
    assert outer.forwards == 6 * 8 + 4


def test_predict_keeps_no_graph() -> None:
    assert not ex.predict(classifier(), torch.rand(2, 1, 8, 8)).requires_grad


def test_policies_nest_and_are_checked() -> None:
    assert ex.policy().draws == 1
    with ex.execution(draws=20):
        with ex.execution(chunk=3):
            assert (ex.policy().draws, ex.policy().chunk) == (20, 3)
        assert ex.policy().chunk is None
    assert ex.policy().draws == 1
    for wrong in ({"precision": "fp8"}, {"draws": 0}, {"chunk": 0}, {"confirm": (3, 2)}):
        with pytest.raises(UserError), ex.execution(**wrong):
            pass


def test_denormals_are_flushed_inside_only() -> None:
    tiny = torch.tensor([1e-310], dtype=torch.float64)
    before = float(tiny * 1.0)
    with ex.flushed_denormals():
        inside = float(tiny * 1.0)
    assert float(tiny * 1.0) == before
    assert inside == 0.0 or before == inside, "processors without the mode are left alone"
