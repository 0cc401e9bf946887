"""The attacker who passes detectors: where an answer is wrong and accepted, and mutants that miss it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trompe.attacks import EOT, DetectorAware, detector_aware, ladder
from trompe.attacks.ladder import DETECTORS
from trompe.core import random
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.core.search import Evaluation


class Corner(nn.Module):
    """Class 0 where `x_0 > x_1`; what has `x_1 > 1` is refused. So a wrong answer needs `x_0 < x_1 <= 1`."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.noise = noise
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return x if self.noise == 0 else x + self.noise * random.normal(tuple(x.shape), x)

    def excess(self, x: Tensor) -> Tensor:
        return x[:, 1] - 1


X = torch.tensor([[1.5, 0.9]], dtype=torch.float64)
NEAREST = {
    "Linf": 0.5,
    "L2": math.hypot(0.5, 0.1),
}  # to (1, 1); the line itself is at 0.3, and 0.42


def passes(attack: Any, x: Tensor = X, label: int = 0) -> list[bool]:
    y = torch.full((len(x),), label)
    found = attack(Corner(), x, y)
    goal = attack.targeted
    return (((found.argmax(1) == y) == goal) & (found[:, 1] <= 1)).tolist()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("weight", [0.01, 1.0, 1000.0])
def test_it_passes_as_soon_as_the_corner_is_in_reach(norm: Any, weight: float) -> None:
    attack = DetectorAware(Ball(1.0, norm), steps=60, weight=weight, domain=Vectors())
    for factor in (0.8, 0.98, 1.04, 2.0):
        assert passes(attack.at(factor * NEAREST[norm])) == [factor > 1], f"at {factor}"


def test_towards_a_class_it_passes_too() -> None:
    attack = DetectorAware(Ball(0.55), targeted=True, domain=Vectors())
    assert passes(attack, label=1) == [True]


def test_a_random_model_is_passed_on_fresh_draws() -> None:
    """Averaged over draws, the attack leaves the line by more than the noise."""
    model, x = Corner(noise=0.05), X.expand(8, 2)
    attack = EOT(DetectorAware(Ball(0.7), steps=40, domain=Vectors()), draws=10)
    found = attack(model, x, torch.zeros(8, dtype=torch.long))
    with random.streams(random.seeds(0, 8), random.REPORT):
        wrong = model(found).argmax(1) == 1
    assert (wrong & (found[:, 1] <= 1)).double().mean() >= 0.75


def objective(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]) -> Any:
    """`_wrong_and_accepted` with another loss, score or end, from margin and excess."""

    def made(confidence: float, targeted: bool) -> Any:
        def look(model: Any, v: Tensor, data: Any) -> Evaluation:
            margin = detector_aware.margin_of(model(v), data["y"], targeted)
            loss, score, done = change(margin, model.excess(v))
            terms = {"margin": margin.detach()}
            return Evaluation(loss, score.detach(), done.bool(), terms)

        return look

    return made


MUTANTS = {
    "takes what is refused": lambda m, e: (m, m, m < 0),
    "takes what is right": lambda m, e: (m + 10 * e.clamp_min(0), torch.maximum(m, e), e <= 0),
    "ranks by the margin": lambda m, e: (m + 10 * e.clamp_min(0), m, (m < 0) & (e <= 0) & (m > 9)),
    "seeks what is refused": lambda m, e: (-e, torch.maximum(m, e), (m < 0) & (e <= 0)),
}


@pytest.mark.parametrize("change", MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_misses_the_corner(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector_aware, "_wrong_and_accepted", objective(change))
    with pytest.raises(AssertionError):
        test_it_passes_as_soon_as_the_corner_is_in_reach("Linf", 1.0)


def test_a_weight_that_moves_the_wrong_way_is_noticed() -> None:
    low, high = torch.tensor([0.0, 2.0, 2.0]), torch.tensor([6.0, torch.inf, 8.0])
    attack = DetectorAware(Ball(0.1), factor=3.0)
    assert attack._next(low, high).tolist() == [2.0, 6.0, 4.0]


def test_the_ladder_has_it_where_there_are_detectors() -> None:
    assert DETECTORS in ladder(Corner(), Ball(0.1), domain=Vectors())
    assert DETECTORS not in ladder(nn.Identity().eval(), Ball(0.1), domain=Vectors())


def test_slips_are_told() -> None:
    attack = DetectorAware(Ball(0.1), domain=Vectors())
    with pytest.raises(UserError, match="excess"):
        attack(nn.Identity().eval(), X, torch.tensor([0]))
    for slip in ({"steps": 0}, {"rounds": 0}, {"weight": 0.0}, {"factor": 1.0}, {"confidence": -1}):
        with pytest.raises(UserError, match=r"at least 1|above"):
            replace(attack, **slip)  # type: ignore[arg-type]
