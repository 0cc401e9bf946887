"""Transfer: what is made on one model and delivered to another."""

import pytest
import torch
from torch import nn

from tests.evaluation.subjects import Threshold, flat, truth
from trompe.attacks import FGSM, PGD
from trompe.attacks.transfer import Transfer
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.evaluation import evaluate

X = flat(0.3, 0.45, 0.55, 0.7)
Y = truth(X)


def test_it_is_the_attack_on_the_surrogate_whatever_the_victim() -> None:
    attack = PGD(Ball(0.1), steps=3)
    carried = Transfer(attack).using(surrogate=Threshold())
    blind = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    assert torch.equal(carried(blind, X, Y), attack(Threshold(), X, Y))


def test_an_equal_surrogate_is_the_white_box() -> None:
    attack = FGSM(Ball(0.1))
    carried = Transfer(attack).using(surrogate=Threshold())
    white, black = (evaluate(Threshold(), a, (X, Y), eps=(0.1, 0.3)) for a in (attack, carried))
    assert [c.shares for c in white.cases] == [c.shares for c in black.cases]
    assert [r.value for r in black.records[1:]] == [0.5, 0.0]


def test_the_victim_needs_no_gradient() -> None:
    class Severed(Threshold):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.detach())

    carried = Transfer(FGSM(Ball(0.1))).using(surrogate=Threshold())
    assert evaluate(Severed(), carried, (X, Y)).robust_accuracy == 0.5


def test_another_radius_keeps_the_surrogate_and_the_settings_are_the_identity() -> None:
    carried = Transfer(FGSM(Ball(0.1))).using(surrogate=Threshold())
    assert carried.at(0.3).ball == Ball(0.3)
    assert carried.at(0.3).network("surrogate") is carried.network("surrogate")
    assert carried == Transfer(FGSM(Ball(0.1)))


def test_without_a_surrogate_it_says_what_it_needs() -> None:
    with pytest.raises(UserError, match="surrogate"):
        Transfer(FGSM(Ball(0.1)))(Threshold(), X, Y)
