"""The minimal attacks find the distances that a linear classifier dictates, and fail gracefully."""

import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trompe.attacks import CW, DDN, EAD, DeepFool, ProjectedCW
from trompe.attacks.base import ClassifierAttack
from trompe.attacks.carlini_wagner import Squashed
from trompe.attacks.minimal import Patient, best_of, ranking, weights
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.execution import execution, metered
from trompe.core.geometry import Ball, norm
from trompe.core.losses import margin
from trompe.core.random import seeds
from trompe.core.search import Evaluation, Found
from trompe.core.solvers import Adam

SHAPE = (1, 4, 4)
ATTACKS = {
    "DeepFool": DeepFool(),
    "DeepFool-Linf": DeepFool("Linf"),
    "DeepFool-3": DeepFool(candidates=3),
    "CW": CW(steps=60, rounds=4, c=0.1, lr=0.05),
    "ProjectedCW": ProjectedCW(Ball(0.3), steps=60, c=3.0, lr=0.02),
    "EAD": EAD(steps=60, rounds=4, c=0.1),
    "EAD-L1": EAD(steps=60, rounds=4, c=0.1, rule="L1"),
    "DDN": DDN(steps=60),
}
every = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


def linear(classes: int = 4, size: int = 16, scale: float = 3.0) -> nn.Module:
    """A linear classifier in float64, its logits centred on the middle of the box."""
    layer = nn.Linear(size, classes, dtype=torch.float64)
    nn.init.normal_(layer.weight, std=scale / size**0.5)
    with torch.no_grad():
        layer.bias.copy_(-0.5 * layer.weight.sum(1))
    return nn.Sequential(nn.Flatten(), layer).eval()


def inside(model: nn.Module, count: int = 12) -> tuple[Tensor, Tensor]:
    """Images well inside the box and not too near a boundary, and the model's own answers."""
    x = 0.5 + 0.15 * (torch.rand(10 * count, *SHAPE, dtype=torch.float64) - 0.5)
    with torch.no_grad():
        y = model(x).argmax(1)
    if len(model) > 2:  # type: ignore[arg-type]
        return x[:count], y[:count]
    distance = smallest(model, x, y)
    far = ((distance > 0.04) & (distance < 0.3)).nonzero()[:count, 0]
    return x[far], y[far]


def smallest(model: nn.Module, x: Tensor, y: Tensor, dual: str = "L2") -> Tensor:
    """The exact distance to the nearest boundary: `min_k (z_y - z_k) / ||w_y - w_k||`, in the dual norm."""
    weight: Tensor = model[1].weight.detach()  # type: ignore[index]
    with torch.no_grad():
        logits = model(x)
    leads = logits.gather(1, y[:, None]) - logits
    slopes = weight[y][:, None] - weight
    size = slopes.norm(dim=2) if dual == "L2" else slopes.abs().sum(2)
    return (leads / size).scatter(1, y[:, None], torch.inf).amin(1)


def won(model: nn.Module, x: Tensor, y: Tensor, targeted: bool = False) -> Tensor:
    with torch.no_grad():
        answer = model(x).argmax(1)
    return answer == y if targeted else answer != y


def test_adversarial_iterates_rank_by_distance_before_all_others() -> None:
    scores = ranking(torch.tensor([2.0, 0.1, 0.0, 5.0]), torch.tensor([-1.0, -0.01, 0.0, 3.0]))
    assert scores.argsort().tolist() == [1, 0, 2, 3]


# closed forms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("candidates", [None, 4])
def test_deepfool_without_overshoot_ends_on_the_nearest_boundary(candidates: int | None) -> None:
    model = linear()
    x, y = inside(model)
    found = DeepFool(overshoot=0.0, candidates=candidates)(model, x, y)
    torch.testing.assert_close(norm(found - x, "L2"), smallest(model, x, y), atol=1e-5, rtol=0)


def test_deepfool_linf_moves_by_the_margin_over_the_l1_norm() -> None:
    model = linear()
    x, y = inside(model)
    found = DeepFool("Linf", overshoot=0.0)(model, x, y)
    torch.testing.assert_close(
        norm(found - x, "Linf"), smallest(model, x, y, "L1"), atol=1e-5, rtol=0
    )


def test_deepfools_overshoot_is_a_share_of_the_perturbation() -> None:
    model = linear()
    x, y = inside(model)
    found = DeepFool(overshoot=0.1)(model, x, y)
    torch.testing.assert_close(
        norm(found - x, "L2"), 1.1 * smallest(model, x, y), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize(
    "attack",
    [
        CW(steps=400, rounds=8, c=0.1, lr=0.005),
        ProjectedCW(Ball(1.0), steps=600, c=1.0, lr=0.0003),
        DDN(steps=200, radius=0.2, loss="margin", gamma=0.02),
        EAD(steps=300, rounds=8, c=0.1, beta=1e-5),
    ],
    ids=["CW", "ProjectedCW", "DDN", "EAD"],
)
def test_the_l2_attacks_come_within_two_per_cent_of_the_exact_distance(
    attack: ClassifierAttack,
) -> None:
    model = linear()
    x, y = inside(model)
    found = attack(model, x, y)
    assert won(model, found, y).all()
    ratio = norm(found - x, "L2") / smallest(model, x, y)
    assert (ratio >= 1 - 1e-9).all()
    slack = (
        0.05 if isinstance(attack, ProjectedCW) else 0.01
    )  # a fixed weight swings about the boundary
    assert ratio.mean() < 1 + slack
    # The margin heads for the likeliest rival, which now and then is not the nearest.
    assert (ratio < 1 + 2 * slack).sum() >= len(x) - 1


def test_ead_spends_its_perturbation_on_the_coordinates_that_count() -> None:
    model = linear(2)
    with torch.no_grad():
        weight = model[1].weight  # type: ignore[index]
        weight[0] *= torch.tensor([10.0] * 2 + [0.1] * 14)
        weight[1] = -weight[0]
        model[1].bias.copy_(-0.5 * weight.sum(1))  # type: ignore[index]
    x, y = inside(model)
    sparse = EAD(steps=200, rounds=6, c=0.01, beta=1e-2, rule="L1")(model, x, y)
    dense = DDN(steps=100)(model, x, y)
    assert won(model, sparse, y).all()
    assert ((sparse - x).flatten(1) != 0).sum(1).max() <= 2
    assert ((dense - x).flatten(1) != 0).sum(1).min() == 16


def test_a_target_of_two_classes_is_at_the_same_distance_as_an_escape() -> None:
    model = linear(2)
    x, y = inside(model)
    exact = smallest(model, x, y)
    for attack in (
        DeepFool(overshoot=0.0),
        CW(steps=300, rounds=8, c=0.1, lr=0.02),
        DDN(steps=150),
    ):
        found = replace(attack, targeted=True)(model, x, 1 - y)
        torch.testing.assert_close(norm(found - x, "L2"), exact, atol=1e-5, rtol=0.02)


# goals ---------------------------------------------------------------------------------------------


@every
def test_every_attack_wins_inside_the_box_on_an_easy_model(attack: ClassifierAttack) -> None:
    model = linear()
    x, y = inside(model)
    found = attack(model, x, y)
    assert won(model, found, y).all()
    assert found.min() >= 0
    assert found.max() <= 1


@every
def test_every_example_reaches_its_own_target(attack: ClassifierAttack) -> None:
    model = linear()
    x, y = inside(model)
    target = (y + 1 + torch.arange(len(y)) % 3) % 4
    found = replace(attack, targeted=True)(model, x, target)
    assert won(model, found, target, targeted=True).all()


def test_confidence_asks_for_a_margin() -> None:
    model = linear()
    x, y = inside(model)
    for kind in (CW(steps=200, rounds=6, c=0.1, lr=0.05), EAD(steps=200, rounds=6, c=0.1)):
        near, far = kind(model, x, y), replace(kind, confidence=0.5)(model, x, y)
        with torch.no_grad():
            assert (margin(model(far), y) < -0.5).all()
        assert (norm(far - x, "L2") > norm(near - x, "L2")).all()


@every
def test_inputs_that_are_adversarial_already_come_back(attack: ClassifierAttack) -> None:
    model = linear()
    x, y = inside(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = attack(model, x, (y + 1) % 4)
    torch.testing.assert_close(found, x, atol=1e-12, rtol=0)


@every
def test_an_impossible_target_returns_the_nearest_miss(attack: ClassifierAttack) -> None:
    model = linear()
    with torch.no_grad():
        model[1].bias[3] = -1e3  # type: ignore[index]
    x, y = inside(model)
    target = torch.full_like(y, 3)
    found = replace(attack, targeted=True)(model, x, target)
    assert not won(model, found, target, targeted=True).any()
    assert torch.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    with torch.no_grad():
        assert (margin(model(found), target) >= margin(model(x), target)).all()


@every
def test_results_alone_equal_results_in_a_batch(attack: ClassifierAttack) -> None:
    model = nn.Sequential(linear(16), nn.Tanh(), nn.Linear(16, 4)).double().eval()
    x, y = inside(model)
    key = seeds(0, len(x))
    together = attack(model, x, y, seeds=key)
    alone = [attack(model, x[[i]], y[[i]], seeds=key[[i]]) for i in range(len(x))]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-9, rtol=0)


@every
def test_plain_vectors_have_no_box(attack: ClassifierAttack) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 3)).double().eval()
    x = 5 + torch.randn(8, 2, dtype=torch.float64)
    with torch.no_grad():
        model[1].bias.copy_(-5 * model[1].weight.sum(1))  # type: ignore[operator,union-attr,arg-type]
        y = model(x).argmax(1)
    given: dict[str, Any] = {"ball": Ball(10.0)} if isinstance(attack, ProjectedCW) else {}
    given |= {"lr": 0.1} if isinstance(attack, EAD) else {}
    given |= {"c": 100.0} if isinstance(attack, ProjectedCW) else {}
    given |= {"rounds": 6} if isinstance(attack, CW | EAD) else {"steps": 200}
    found = replace(attack, domain=Vectors(), **given)(model, x, y)
    assert won(model, found, y).all()
    assert found.max() > 1


# details -------------------------------------------------------------------------------------------


def test_the_variable_of_cw_maps_the_edges_exactly_and_moves_them() -> None:
    x = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    variable = Squashed(0.0, 1.0, 0.99)
    w = variable.to_variable(x).requires_grad_()
    back = variable.to_input(w)
    torch.testing.assert_close(back, x, atol=1e-12, rtol=0)
    (slope,) = torch.autograd.grad(back.sum(), w)
    assert (slope > 0.005).all()


@pytest.mark.parametrize("shrink", [0.99, 0.999999])
def test_cw_moves_pixels_that_are_exactly_black_or_white(shrink: float) -> None:
    model = linear(2)
    x = (torch.rand(6, *SHAPE, dtype=torch.float64) > 0.5).double()
    with torch.no_grad():
        y = model(x).argmax(1)
    found = CW(steps=300, rounds=3, c=10.0, lr=0.1, shrink=shrink, abort_early=False)(model, x, y)
    assert won(model, found, y).all()
    moved = (found - x).abs() > 0.02
    assert (moved & (x == 0)).any()
    assert (moved & (x == 1)).any()


@every
def test_a_search_in_bfloat16_succeeds_in_float32(attack: ClassifierAttack) -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 2), nn.ELU(), nn.Flatten(), nn.Linear(72, 4)).eval()
    x = torch.rand(16, *SHAPE)
    with torch.no_grad():
        y = model(x).argmax(1)
    with execution(precision="bf16"):
        found = attack(model, x, y)
    assert won(model, found, y).sum() >= won(model, attack(model, x, y), y).sum()


def test_projected_cw_stays_in_its_ball_and_reaches_further_with_a_larger_weight() -> None:
    model = linear()
    x, y = inside(model)
    attack = ProjectedCW(Ball(0.02), lr=0.001, c=1e-3)
    weak, strong = attack(model, x, y), replace(attack, c=100.0)(model, x, y)
    assert norm(strong - x, "Linf").max() <= 0.02 + 1e-12
    assert won(model, weak, y).sum() < won(model, strong, y).sum()
    assert won(model, strong, y).equal(smallest(model, x, y, "L1") < 0.02)
    assert attack.at(0.0)(model, x, y).equal(x)


def test_each_example_finds_its_own_weight() -> None:
    needed = torch.tensor([0.02, 3.0, 1e20])

    def attempt(c: Tensor) -> Found:
        enough = c >= needed
        return Found(c[:, None], torch.where(enough, -1 / (1 + c), torch.ones_like(c)), enough)

    found = weights(attempt, torch.full((3,), 1e-3), 12)
    assert found.done.tolist() == [True, True, False]
    torch.testing.assert_close(found.best[:2, 0], needed[:2], atol=0, rtol=0.05)


def test_a_claim_that_was_not_confirmed_is_no_success() -> None:
    claim = Found(torch.zeros(1, 2), torch.tensor([-0.9]), torch.tensor([False]))
    proven = Found(torch.ones(1, 2), torch.tensor([-0.1]), torch.tensor([True]))
    for pair in ((claim, proven), (proven, claim)):
        assert best_of(*pair).best.equal(proven.best)


def test_examples_settle_when_neither_loss_nor_score_falls() -> None:
    solver = Patient(Adam(0.1), window=4)
    v = torch.zeros(3, 2)
    state, settled = solver.start(v), None
    for number in range(5):
        falls = 1.0 - 0.1 * number
        loss = torch.tensor([1.0, falls, 1.0])
        seen = Evaluation(loss, torch.tensor([1.0, 1.0, falls]), loss < 0)
        settled = solver.settled(seen, state, number, 20)
        v, state = solver.step(
            v, torch.ones_like(v), seen, state, CW().domain.region(v), number, 20
        )
    assert settled is not None
    assert settled.tolist() == [True, False, False]


def test_aborting_early_saves_gradients_and_keeps_the_distance() -> None:
    model = linear()
    x, y = inside(model)
    patient = CW(steps=400, rounds=5, c=1e-2, lr=0.02, abort_early=False)
    with metered() as whole:
        slow = patient(model, x, y)
    with metered() as part:
        fast = replace(patient, abort_early=True)(model, x, y)
    assert part.backwards < 0.8 * whole.backwards
    torch.testing.assert_close(norm(fast - x, "L2"), norm(slow - x, "L2"), atol=0, rtol=0.02)


def test_candidates_save_gradients() -> None:
    model = linear(10)
    x, y = inside(model)
    with metered() as every_class:
        DeepFool()(model, x, y)
    with metered() as some:
        DeepFool(candidates=4)(model, x, y)
    assert some.backwards <= every_class.backwards / 3


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (DeepFool, {"norm": "L1"}, "norm must be L2 or Linf"),
        (DeepFool, {"candidates": 1}, "candidates must be at least 2"),
        (DeepFool, {"overshoot": -0.1}, "overshoot zero or more"),
        (CW, {"steps": 0}, "at least 1"),
        (CW, {"c": 0.0}, "lr and c must be above 0"),
        (CW, {"shrink": 1.0}, "shrink must lie between"),
        (EAD, {"rule": "L2"}, "rule must be EN or L1"),
        (EAD, {"rounds": 0}, "at least 1"),
        (EAD, {"beta": -1.0}, "beta and confidence zero or more"),
        (DDN, {"gamma": 1.0}, "gamma between 0 and 1"),
        (DDN, {"loss": "hinge"}, "loss must be one of"),
        (ProjectedCW, {"ball": Ball(0.1), "lr": 0.0}, "lr and c above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    kind: type[ClassifierAttack], setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        kind(**setting)


def test_attacks_without_a_ball_have_no_radius() -> None:
    with pytest.raises(UserError, match="no radius"):
        CW().at(0.1)
