"""Moves along level sets, where the answer is known in closed form; and broken ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.attacks.contract import CHECKS, Subject, Victim, classifier
from trompe.attacks import LevelSet, NullSpace
from trompe.attacks import level_set as module
from trompe.core.domains import Images, Vectors
from trompe.core.errors import UserError
from trompe.core.geometry import norm
from trompe.core.losses import margin
from trompe.data import Spheres
from trompe.models import FromBinary, QuadraticConfig, QuadraticNet

NULL, LEVEL = NullSpace(domain=Vectors()), LevelSet(domain=Vectors())


def spheres(dimension: int, count: int = 60) -> tuple[Tensor, Tensor]:
    """Points in float64, of norm 0.8 and 1 to its precision."""
    x, y = Spheres(dimension).draw(count, torch.Generator().manual_seed(0))
    x = x.double()
    return x / x.norm(dim=1, keepdim=True) * torch.tensor([0.8, 1.0]).double()[y][:, None], y


def inner(dimension: int, count: int = 60) -> tuple[Tensor, Tensor]:
    x, y = spheres(dimension, count)
    return x[y == 0], y[y == 0]


def quadratic(size: int = 20, hidden: int = 15) -> QuadraticNet:
    net = QuadraticNet(QuadraticConfig(size, hidden)).double().eval()
    return net.requires_grad_(False)


class First(nn.Module):
    """Sees one coordinate."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([-x[:, 0], x[:, 0]], 1)


def test_null_space_ends_on_the_outer_sphere_and_the_network_sees_nothing() -> None:
    model, (x, y) = quadratic(), inner(20)
    found = NULL(model, x, y)
    assert float((found.norm(dim=1) - 1).abs().max()) < 1e-12
    assert float((model.f(found) - model.f(x)).abs().max()) < 1e-9


def test_null_space_by_hand() -> None:
    """Two coordinates seen, two not: 0.5^2 + 0.1^2 are kept, and the rest is shared equally."""
    model = quadratic(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.eye(4)[:2] * torch.tensor([[2.0], [1.0]]))
    x = torch.tensor([[0.5, -0.1, 0.6, 0.14]], dtype=torch.float64)
    each = ((1 - 0.26) / 2) ** 0.5
    found = NULL(model, x, torch.tensor([0])).abs()
    assert found.tolist()[0] == pytest.approx([0.5, 0.1, each, each])


def test_the_published_formula_forgets_what_was_there() -> None:
    """z' has 0.36 on the unseen coordinates, so its norm is that of the seen ones and 0.36."""
    model, (x, y) = quadratic(), inner(20)
    curvature, rotation = model.eigen()
    seen = (x @ rotation)[:, curvature != 0].square().sum(1)
    found = replace(NULL, formula="published")(model, x, y)
    assert torch.allclose(found.norm(dim=1), (seen + 0.36).sqrt())
    assert float((found.norm(dim=1) - 1).abs().min()) > 1e-4


def test_published_spheres_give_the_norm_that_the_formula_leads_to() -> None:
    """Of 100 coordinates 90 are seen: E ||x'||^2 = 0.9 * 0.64 + 0.36."""
    model, (x, y) = quadratic(100, 90), inner(100, 4000)
    found = replace(NULL, formula="published")(model, x, y)
    assert float(found.norm(dim=1).square().mean()) == pytest.approx(0.936, abs=2e-3)
    assert float(found.norm(dim=1).std()) == pytest.approx(0.014, abs=2e-3)


def test_null_space_comes_as_near_as_it_can() -> None:
    """From the outer sphere inwards: what is seen is longer than 0.8 already."""
    model, (x, y) = quadratic(), spheres(20)
    x, y = x[y == 1], y[y == 1]
    curvature, rotation = model.eigen()
    seen = (x @ rotation)[:, curvature != 0].norm(dim=1)
    found = NULL(model, x, y)
    assert torch.allclose(found.norm(dim=1), seen.clamp_min(0.8))
    assert bool((seen > 0.8).any())
    assert bool((seen < 0.8).any())


@pytest.mark.parametrize("steps", [10, 50])
def test_level_set_agrees_with_the_closed_form_where_one_coordinate_is_seen(steps: int) -> None:
    """x_1 stays, and the others are stretched to sqrt((1 - x_1^2) / (0.64 - x_1^2)) of themselves."""
    x, y = inner(5)
    found = replace(LEVEL, steps=steps)(First().eval(), x, y)
    stretch = ((1 - x[:, :1].square()) / (0.64 - x[:, :1].square())).sqrt()
    wanted = torch.cat([x[:, :1], x[:, 1:] * stretch], 1)
    assert float((found.norm(dim=1) - 1).abs().max()) < 1e-6
    assert torch.allclose(found, wanted, atol=1e-6)


def test_level_set_on_a_plane_moves_off_its_normal_only() -> None:
    """A planted linear f1: the part along its weight stays, and the way to the sphere is the shortest."""
    x, y = inner(6)
    weight = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, 1.0]).double()
    model = FromBinary(nn.Linear(6, 1).double()).eval()
    with torch.no_grad():
        model.model.weight.copy_(weight)  # type: ignore[operator, union-attr]
    found = LEVEL(model, x, y)
    unit = weight / weight.norm()
    along = (x @ unit)[:, None] * unit
    rest = x - along
    wanted = along + rest * ((1 - along.square().sum(1)) / rest.square().sum(1)).sqrt()[:, None]
    assert torch.allclose(found, wanted, atol=1e-6)


def test_level_set_keeps_any_network_and_reaches_the_sphere() -> None:
    """Three classes, curved: every example, in both directions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 3)).double().eval()
    x, y = spheres(20)
    found = LEVEL(model, x, y)
    with torch.no_grad():
        kept = model(found).log_softmax(1) - model(x).log_softmax(1)
    assert float(kept.abs().max()) < 1e-5
    assert torch.allclose(found.norm(dim=1), torch.tensor([1.0, 0.8]).double()[y], atol=2e-6)


def test_on_the_quadratic_network_it_succeeds_on_every_sample() -> None:
    model, (x, y) = quadratic(100, 90), inner(100, 300)
    found = LEVEL(model, x, y)
    assert float((found.norm(dim=1) - 1).abs().max()) < 1e-6
    assert float((model.f(found) - model.f(x)).abs().max()) < 1e-5


def test_on_images_it_goes_round_the_edges_of_the_box() -> None:
    """Nine log-odds of a convolutional network and the norm, with most pixels black."""
    victim = classifier(Images())
    x, y = victim.x[:16], victim.y[:16]
    level = 1.1 * float(norm(x, "L2").mean())
    found = LevelSet(levels=(level,) * 10)(victim.model, x, y)
    with torch.no_grad():
        kept = victim.model(found).log_softmax(1) - victim.model(x).log_softmax(1)
    assert float(kept.abs().max()) < 1e-3
    assert torch.allclose(norm(found, "L2"), torch.full((16,), level).double(), atol=1e-4)
    assert float(found.min()) == 0


def test_another_quantity_takes_the_place_of_the_norm() -> None:
    """Hold x_1 and bring x_2 + x_3 to the other class's level: the shortest way shares it equally."""

    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, 1] + x[:, 2]

    x = torch.tensor([[0.3, -0.5, 0.1], [0.2, 0.7, 0.4]], dtype=torch.float64)
    attack = replace(LEVEL, levels=(-1.0, 1.0)).using(quantity=Sum())
    found = attack(First().eval(), x, torch.tensor([0, 1]))
    assert found.tolist()[0] == pytest.approx([0.3, 0.2, 0.8])
    assert found.tolist()[1] == pytest.approx([0.2, 0.7 - 1.05, 0.4 - 1.05])


def test_the_way_begins_at_the_input_and_ends_where_the_attack_does() -> None:
    model, (x, y) = quadratic(), inner(20)
    way = replace(LEVEL, steps=20).trace(model, x, y)
    assert way.shape == (21, *x.shape)
    assert torch.equal(way[0], x)
    assert torch.equal(way[-1], replace(LEVEL, steps=20)(model, x, y))
    assert bool((way.norm(dim=2).diff(dim=0)[:14] > 0).all())
    assert float((model.f(way.flatten(0, 1)).view(21, -1) - model.f(x)).abs().max()) < 0.01


def test_targets_name_the_level() -> None:
    model, (x, y) = quadratic(), inner(20)
    there = replace(NULL, targeted=True)(model, x, y + 1)
    assert torch.equal(there, NULL(model, x, y))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda x, y: NULL(quadratic(20, 20), x, y), "sees all 20 directions .* blind to none"),
        (lambda x, y: NULL(quadratic(20, 30), x, y), "sees all 20 directions"),
        (lambda x, y: NULL(nn.Linear(20, 2).double().eval(), x, y), "Linear has no eigen()"),
        (lambda x, y: NULL(quadratic(), x, y + 1), "example 0 is to go to level 0.8 and is there"),
        (lambda x, y: LEVEL(quadratic(), x, y + 1), "level 0.8 and is there already"),
        (lambda x, y: LEVEL(Flat().eval(), x, y), "gradient is zero at every example"),
        (lambda x, y: LEVEL(Many().eval(), x, y + 2), "class 2 has no level: give 3 levels"),
        (lambda x, y: LEVEL.using(quantity=nn.Identity())(quadratic(), x, y), r"one number .* \(\d+, 20\)"),
        (lambda x, y: NullSpace(formula="mine"), "formula must be exact or published"),  # type: ignore[arg-type]
        (lambda x, y: LevelSet(levels=(1.0,)), "levels are finite numbers, one for each class"),
        (lambda x, y: LevelSet(steps=0), "steps must be at least 1"),
    ],
)  # fmt: skip
def test_slips_are_told(act: Callable[[Tensor, Tensor], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        act(*inner(20, 8))


class Flat(nn.Module):
    """Constant, with a gradient of zero."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([0 * x[:, 0], 0 * x[:, 1] + 2], 1)


class Many(nn.Module):
    """Four classes."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :4]


# The contract of every attack, on a network that has a null space; and mutants of the step, which fail it.


def unseen(model: nn.Module, found: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """How much of the way to the other sphere was gone, where the classifier did not notice."""
    left = (norm(found, "L2") - torch.tensor([1.0, 0.8]).to(x)[y]).abs()
    kept = (margin(model(found), y) - margin(model(x), y)).abs() < 1e-3
    return (1 - left / 0.2).clamp_min(0) * kept


def victim() -> Victim:
    x, y = inner(20, 200)
    return Victim(Vectors(), quadratic(), x[:64], y[:64], 1 - y[:64])


TRAITS: dict[str, Any] = {"bounded": False, "ranks": False, "targetable": False}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("attack", [NULL, replace(LEVEL, steps=20)], ids=lambda a: type(a).__name__)
def test_contract_on_spheres(attack: Any, check: Callable[[Subject, Victim], None]) -> None:
    steps = isinstance(attack, LevelSet)
    check(Subject(type(attack).__name__, lambda d: attack, "classifier", unseen, steps=steps, **TRAITS),
          victim())  # fmt: skip


@dataclass(frozen=True)
class OntoTheGradient(module.Along):
    """Projects the way onto the classifier's gradient instead of off it."""

    def step(self, v: Tensor, grad: Tensor, seen: Any, *rest: Any) -> tuple[Tensor, Any]:
        slope = grad[:, 0] / grad[:, 0].norm(dim=1, keepdim=True)
        onto = (grad[:, 1] * slope).sum(1, keepdim=True) * slope
        return v - seen.loss[:, 1:] / 10 * onto, None


@dataclass(frozen=True)
class Radial(module.Along):
    """Does not project at all."""

    def step(self, v: Tensor, grad: Tensor, seen: Any, *rest: Any) -> tuple[Tensor, Any]:
        return v - seen.loss[:, 1:] / 10 * grad[:, 1], None


@dataclass(frozen=True)
class WrongWay(module.Along):
    """Moves along the level set, away from the goal."""

    def step(self, v: Tensor, grad: Tensor, seen: Any, *rest: Any) -> tuple[Tensor, Any]:
        sign = seen.loss.new_tensor([1.0, -1.0])
        return super().step(v, grad, seen._replace(loss=seen.loss * sign), *rest)


@pytest.mark.parametrize("mutant", [OntoTheGradient, Radial, WrongWay])
def test_mutant_is_caught(mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Along", mutant)
    with pytest.raises(AssertionError):
        test_on_the_quadratic_network_it_succeeds_on_every_sample()
    (check,) = (check for check in CHECKS if check.__name__ == "beats_noise_of_its_norm")
    with pytest.raises(AssertionError):
        test_contract_on_spheres(replace(LEVEL, steps=20), check)
