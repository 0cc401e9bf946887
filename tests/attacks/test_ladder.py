"""The ladder: which rungs there are, what each attacker knows, and on which a defence falls."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.attacks.contract import defended
from trompe.attacks import ladder
from trompe.attacks.adaptive import Wrapper
from trompe.attacks.base import Attack
from trompe.attacks.ladder import (
    APGD_RUNG,
    APGDT_RUNG,
    AROUND,
    CW_MEAN,
    CW_RUNG,
    LATENT_START,
    MEAN,
    OBLIVIOUS,
    SQUARE,
    SURROGATE,
)
from trompe.core.domains import Images
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.defenses import Reconstruct

BALL = Ball(0.12)


def deterministic() -> Reconstruct:
    return defended(Images()).model  # type: ignore[return-value]


def sampled() -> Reconstruct:
    known = deterministic()
    model = Reconstruct(known.autoencoder, known.classifier, 0.5)
    model.training = False
    return model


class Detached(nn.Module):
    """A purifier that cuts the graph; the value is the same."""

    def __init__(self, model: Reconstruct) -> None:
        super().__init__()
        self.model, self.classifier = model, model.classifier
        self.training = False

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.model.reconstruct(x).detach()

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.reconstruct(x))


class Whole(nn.Module):
    """A defended model that shows nothing of its parts."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def names(model: nn.Module, **known: Any) -> list[str]:
    return list(ladder(model, BALL, example=defended(Images()).x, **known))


def inside(attack: Attack) -> list[Attack]:
    """An attack and those that it is put around."""
    return [attack, *(inside(attack.attack) if isinstance(attack, Wrapper) else [])]


def test_a_random_defence_has_every_rung_in_order() -> None:
    assert names(sampled(), surrogate=deterministic()) == [
        OBLIVIOUS, SURROGATE, CW_MEAN, MEAN, CW_RUNG, APGD_RUNG, APGDT_RUNG, AROUND, LATENT_START, SQUARE
    ]  # fmt: skip


def test_rungs_that_a_model_does_not_allow_are_left_out() -> None:
    everything = set(names(sampled()))
    assert everything - set(names(deterministic())) == {MEAN}  # the same as APGD
    bare = deterministic().classifier
    assert names(Whole(sampled())) == [CW_RUNG, APGD_RUNG, APGDT_RUNG, SQUARE]
    assert set(names(Whole(sampled()), classifier=bare)) >= {OBLIVIOUS, AROUND}
    assert names(Detached(deterministic())) == [OBLIVIOUS, AROUND, SQUARE]
    assert SQUARE not in ladder(sampled(), Ball(1.0, "L1"))
    purified = sampled()
    purified.autoencoder = nn.Flatten()
    assert LATENT_START not in ladder(purified, BALL)


def test_draws_are_averaged_only_where_there_are_any() -> None:
    averaged = {
        name: [a.draws for a in inside(attack) if hasattr(a, "draws")]
        for name, attack in ladder(sampled(), BALL, surrogate=sampled(), draws=7).items()
    }
    alone = {OBLIVIOUS, CW_MEAN, MEAN}
    assert {name for name, draws in averaged.items() if not draws} == alone
    assert all(draws == [7] for name, draws in averaged.items() if name not in alone)
    for attack in ladder(deterministic(), BALL, example=defended(Images()).x).values():
        assert not any(hasattr(a, "draws") for a in inside(attack))


def test_what_is_carried_over_is_carried_to_the_end() -> None:
    found = ladder(sampled(), BALL, surrogate=sampled())
    for name in (OBLIVIOUS, SURROGATE, CW_MEAN, MEAN):
        last: Any = inside(found[name])[-1]
        assert not last.early_stop, name


def test_effort_scales_steps_and_queries() -> None:
    def spent(effort: float) -> dict[str, int]:
        found = ladder(sampled(), BALL, effort=effort)
        lasts: dict[str, Any] = {name: inside(attack)[-1] for name, attack in found.items()}
        return {name: last.steps for name, last in lasts.items()}

    assert spent(2.0) == {name: 2 * steps for name, steps in spent(1.0).items()}
    with pytest.raises(UserError, match="effort must be above 0"):
        ladder(sampled(), BALL, effort=0)
    with pytest.raises(UserError, match="draws must be at least 1"):
        ladder(sampled(), BALL, draws=0)


def accuracy(model: nn.Module, name: str, eps: float, effort: float = 0.3) -> float:
    victim = defended(Images())
    x, y = victim.x[:32], victim.y[:32]
    found = ladder(model, Ball(eps), example=x, effort=effort)[name](model, x, y)
    assert float((found - x).abs().max()) <= eps + 1e-9
    with torch.no_grad():
        return float((model(found).argmax(1) == y).double().mean())


def test_who_knows_the_defence_does_more_than_who_does_not() -> None:
    model = deterministic()
    blind = accuracy(model, OBLIVIOUS, 0.12)
    for name in (CW_RUNG, APGD_RUNG, APGDT_RUNG, LATENT_START):
        assert accuracy(model, name, 0.12) <= blind - 0.3, name


def test_a_detached_purifier_falls_to_who_goes_around_it() -> None:
    model = Detached(deterministic())
    assert accuracy(model, AROUND, 0.4) < 0.5
