"""Type I digits made once: blocks are kept, added to, and told apart by all that they depend on."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from trompe import zoo
from trompe.attacks.base import ClassifierAttack
from trompe.core.errors import UserError
from trompe.experiments.type_one import _digits
from trompe.experiments.type_one._digits import Made, transformed


@dataclass(frozen=True)
class Darker(ClassifierAttack):
    """Takes a share of the light away, and notes how many images it is given."""

    share: float = field(default=0.01, kw_only=True)
    given: ClassVar[list[int]] = []

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        self.given.append(len(x))
        return (1 - self.share) * x

    def targets(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        return (y + 1) % 10


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A request of blocks of 10, kept in a folder of its own."""
    monkeypatch.setattr(_digits, "BLOCK", 10)
    monkeypatch.setattr(zoo, "root", lambda: tmp_path)
    Darker.given.clear()
    return Made(Darker(), 15, "digits-mlp", "digits-svae", "digits")


def test_more_images_add_to_those_at_hand(asked: Made) -> None:
    few = transformed(asked)
    assert Darker.given == [10, 10]
    many = transformed(replace(asked, n=34))
    assert Darker.given == [10] * 4
    assert len(few) == 15
    assert len(many) == 34
    assert torch.equal(many.take(15).x_adv, few.x_adv)
    assert torch.equal(transformed(asked).x_adv, few.x_adv)
    assert Darker.given == [10] * 4


def test_images_are_those_the_victim_reads_correctly_with_what_was_made_of_them(
    asked: Made,
) -> None:
    victim, found = zoo.get("digits-mlp", progress=False), transformed(asked)
    with torch.no_grad():
        assert torch.equal(victim(found.x).argmax(1), found.y)
        assert torch.equal(victim(found.x_adv), found.logits)
    assert torch.equal(found.before.argmax(1), found.y)
    assert torch.equal(found.x_adv, 0.99 * found.x)
    assert torch.equal(found.target, (found.y + 1) % 10)
    assert bool((found.index.diff() > 0).all())
    assert bool(found.kept.all())
    assert torch.equal(found.confidence, found.logits.softmax(1)[torch.arange(15), found.y])


def test_another_attack_victim_or_seed_is_made_anew(asked: Made) -> None:
    transformed(asked)
    other = zoo.get("digits-mlp", progress=False)
    with torch.no_grad():
        other.head[-1].bias.add_(0.01)
    transformed(replace(asked, attack=Darker(share=0.02)))
    transformed(replace(asked, seed=1))
    transformed(asked, other)
    assert Darker.given == [10] * 8


def test_what_was_cut_off_goes_on(asked: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(Exception):
        pass

    whole = Darker.run

    def falls(self: Darker, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        if len(Darker.given) == 2:
            raise Cut
        return whole(self, model, x, y, seeds)

    monkeypatch.setattr(Darker, "run", falls)
    with pytest.raises(Cut):
        transformed(replace(asked, n=30))
    monkeypatch.setattr(Darker, "run", whole)
    assert len(transformed(replace(asked, n=30))) == 30
    assert Darker.given == [10] * 3


def test_more_images_than_there_are_is_told(asked: Made) -> None:
    with pytest.raises(UserError, match="400 were asked for"):
        transformed(replace(asked, n=400))
