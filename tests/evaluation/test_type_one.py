"""Over-stability on a toy whose answers are known: a victim, a judge and a test of realness that each look at
one pixel, and attacks that change some of them."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trompe.attacks.base import Attack
from trompe.core.errors import UserError
from trompe.evaluation.pairs import CONDITIONS, judged_pairs
from trompe.evaluation.type_one import over_stability
from trompe.models.judge import UNDECIDED, Judge

SEEN, SHOWN, FRAME = 0, 1, 2  # the pixels of victim, judge and realness
LEVELS = 4


class Reads(nn.Module):
    """A classifier of the brightness of one pixel, in `LEVELS` equal parts; `gain` says how surely."""

    def __init__(self, pixel: int, gain: float = 400.0) -> None:
        super().__init__()
        self.pixel, self.gain = pixel, gain

    def forward(self, x: Tensor) -> Tensor:
        middles = (torch.arange(LEVELS) + 0.5) / LEVELS
        return -self.gain * (x.flatten(1)[:, self.pixel, None] - middles).square()


class Framed(nn.Module):
    def accept(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, FRAME] > 0.5


@dataclass(frozen=True)
class Paints(Attack):
    """Sets pixels to the brightness of the next class, or the frame to nothing."""

    pixels: tuple[int, ...] = (SHOWN,)
    unframe: bool = False
    aims: bool = True
    calls: list[int] = field(default_factory=list, compare=False, repr=False)

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        assert y is not None
        return y

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        self.calls.append(len(x))
        made = x.clone().flatten(1)
        for pixel in self.pixels:
            made[:, pixel] = ((y + 1) % LEVELS + 0.5) / LEVELS
        if self.unframe:
            made[:, FRAME] = 0
        return made.view_as(x)


@dataclass(frozen=True)
class Aimed(Paints):
    def targets(
        self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor | None = None
    ) -> Tensor:
        return (y + 1) % LEVELS


def examples(n: int = 12) -> tuple[Tensor, Tensor]:
    y = torch.arange(n) % LEVELS
    x = torch.zeros(n, 1, 2, 2)
    x.flatten(1)[:, SEEN] = x.flatten(1)[:, SHOWN] = (y + 0.5) / LEVELS
    x[:, 0, 1, 0] = 1
    return x, y


def judge() -> Judge:
    return Judge({"reader": Reads(SHOWN).eval()}, Framed(), card={"right": 99, "n": 100})


def victim(gain: float = 400.0) -> nn.Module:
    return Reads(SEEN, gain).eval()


def rates(attack: Attack, model: nn.Module | None = None) -> dict[str, float]:
    found = over_stability(model or victim(), attack, examples(), judge(), batch=5)
    return {record.metric: record.value for record in found.records}


def test_an_attack_that_only_the_judge_sees_always_succeeds() -> None:
    found = over_stability(victim(), Aimed(), examples(), judge(), subject="toy")
    won = found.records[0]
    assert (found.rate, won.n, won.subject) == (1.0, 12, "toy")
    assert won.counts == {"success": 12, "not changed": 0, "not real": 0, "victim changed": 0}
    assert won.low == pytest.approx(12 / (12 + 1.96**2), rel=1e-3)
    assert won.extra["as 8-bit files"] == 1
    assert "judged by classifiers, not people: reader, right on 99 of 100" in won.config["judge"]
    assert all("not people" in record.threat for record in found.records)
    assert [record.metric for record in found.records] == list(CONDITIONS)


def test_each_condition_fails_by_itself() -> None:
    lost = rates(Aimed(pixels=(SEEN, SHOWN)))
    assert lost["over-stability"] == lost["victim keeps its class"] == 0
    assert lost["judge sees the change"] == lost["looks real"] == 1
    garbage = rates(Aimed(unframe=True))
    assert garbage["over-stability"] == garbage["looks real"] == 0
    assert garbage["judge sees the change"] == garbage["victim keeps it at 50%"] == 1
    idle = rates(Aimed(pixels=()))
    assert idle["over-stability"] == idle["judge sees the change"] == 0
    assert idle["judge still sees the old class"] == 1


def test_a_victim_that_keeps_its_class_unsurely_is_not_deceived() -> None:
    unsure = rates(Aimed(), victim(gain=1.0))
    assert unsure["victim keeps its class"] == 1
    assert unsure["victim keeps it at 50%"] == unsure["over-stability"] == 0


def test_without_a_target_any_other_class_will_do_but_not_indecision() -> None:
    assert rates(Paints())["over-stability"] == 1
    members = {"reader": Reads(SHOWN).eval(), "other": Reads(SEEN).eval()}
    both = Judge(members, Framed())
    found = over_stability(victim(), Paints(), examples(), both)
    assert found.rate == 0
    assert {pair.found.judged for pair in found.pairs} == {UNDECIDED}


def test_only_images_count_that_victim_and_judge_read_correctly() -> None:
    x, y = examples()
    x[0, 0, 0, SEEN] = 1 - x[0, 0, 0, SEEN]
    x[1, 0, 0, SHOWN] = 1 - x[1, 0, 0, SHOWN]
    attack = Aimed()
    found = over_stability(victim(), attack, (x, y), judge())
    assert (found.asked, found.eligible, sum(attack.calls)) == (12, 10, 10)
    assert [pair.index for pair in found.pairs] == list(range(2, 12))
    extra = found.records[0].extra
    assert (extra["asked"], extra["victim erred"], extra["judge erred"]) == (12, 1, 1)


def test_success_is_measured_again_on_the_8_bit_file() -> None:
    """An image between two levels that the victim's edge divides is another thing once it is saved."""
    x, y = torch.zeros(1, 1, 2, 2), torch.tensor([0])
    x[0, 0, 0, 0] = 63.74 / 255  # below the edge at 63.75, and rounded to 64 above it
    x[0, 0, 0, SHOWN], x[0, 0, 1, 0] = 0.375, 1.0
    model = Reads(SEEN, gain=1e9).eval()
    (pair,) = judged_pairs(model, judge(), x, x, y, torch.tensor([1]))
    assert pair.success(pair.found)
    assert not pair.success(pair.delivered)


def test_slices_are_kept_and_not_attacked_again(tmp_path: Path) -> None:
    attack = Aimed()
    first = over_stability(victim(), attack, examples(), judge(), batch=5, folder=tmp_path)
    again = over_stability(victim(), attack, examples(), judge(), batch=5, folder=tmp_path)
    assert attack.calls == [5, 5, 2]
    assert again.pairs == first.pairs
    assert torch.equal(again.images, first.images)  # type: ignore[arg-type]
    assert first.images is not None
    assert first.images.shape == (12, 2, 1, 2, 2)
    x, _ = examples()
    assert torch.equal(first.images[:, 0], (x * 255).round().to(torch.uint8))
    other = over_stability(
        victim(gain=401.0), attack, examples(), judge(), batch=5, folder=tmp_path
    )
    assert len(attack.calls) == 6
    assert other.eligible == 12


def test_a_deadline_that_is_over_leaves_the_first_slice() -> None:
    found = over_stability(victim(), Aimed(), examples(), judge(), batch=5, deadline=0)
    assert (found.asked, found.complete) == (5, False)


def test_the_worst_pairs_are_successes_in_which_both_are_sure() -> None:
    x, y = examples()
    x[7, 0, 0, SEEN] += 0.05
    found = over_stability(victim(30.0), Aimed(), (x, y), judge())
    worst = found.worst(12)
    sure = [found.pairs[i].found.confidence * found.pairs[i].found.sure for i in worst]
    assert sure == sorted(sure, reverse=True)
    assert all(found.pairs[i].success(found.pairs[i].found) for i in worst)


def test_a_model_that_does_not_fit_is_told() -> None:
    with pytest.raises(UserError, match="does not take inputs"):
        over_stability(nn.Linear(3, 2).eval(), Aimed(), examples(), judge())


@dataclass(frozen=True)
class Towards(Aimed):
    """Leads all to class 1, and refuses those that are there."""

    target: int = 1

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        assert y is not None
        if bool((y == self.target).any()):
            raise UserError("there already")
        return y


def test_images_of_the_target_are_left_out_and_counted() -> None:
    attack = Towards()
    found = over_stability(victim(), attack, examples(), judge(), batch=5)
    assert (found.asked, found.eligible, sum(attack.calls)) == (12, 9, 9)
    assert 1 not in {pair.label for pair in found.pairs}
    extra = found.records[0].extra
    assert (extra["of the target already"], extra["victim erred"]) == (3, 0)
