"""Measures of attacks on autoencoders, on models whose outputs are known."""

import pytest
import torch
from torch import Tensor, nn

from trompe.attacks import LatentAttack, OutputAttack, Penalty
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.core.protocols import PointMass
from trompe.core.random import normal
from trompe.evaluation.autoencoder import (
    Curve,
    auddc,
    curve,
    distances,
    judge,
    mean_curve,
    relative_distortion,
    relative_target_distance,
)


class Identity(nn.Module):
    """Reconstructs exactly; its code is its input."""

    def encode(self, x: Tensor) -> PointMass:
        return PointMass(x)

    def forward(self, x: Tensor) -> Tensor:
        return x


class Swap(nn.Module):
    """Turns class 0 into class 1 and back, each time it is passed."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1)


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * normal(tuple(x.shape), x)


@pytest.fixture
def points() -> tuple[Tensor, Tensor]:
    x, y = torch.rand(2, 6, 5, dtype=torch.float64)
    return x, y


def test_the_area_under_a_straight_line_is_a_half() -> None:
    x = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None]
    torch.testing.assert_close(auddc(x, 1 - x), torch.tensor([0.5], dtype=torch.float64))


def test_the_area_does_not_depend_on_the_order_of_the_points() -> None:
    x = torch.rand(9, 4)
    y = torch.rand(9, 4)
    shuffled = torch.randperm(9)
    torch.testing.assert_close(auddc(x, y), auddc(x[shuffled], y[shuffled]))


def test_a_curve_that_ends_early_goes_on_at_its_smallest_distance() -> None:
    """Trapezoid to (0.5, 0.2), then 0.2 as far as 1: 0.5 (1 + 0.2) / 2 + 0.5 * 0.2."""
    x, y = torch.tensor([[0.0], [0.5]]), torch.tensor([[1.0], [0.2]])
    torch.testing.assert_close(auddc(x, y), torch.tensor([0.4]))
    # The smallest distance, not the last: a rise before the end does not count for the extension.
    x, y = torch.tensor([[0.0], [0.5], [0.5]]), torch.tensor([[1.0], [0.2], [0.6]])
    torch.testing.assert_close(auddc(x, y), torch.tensor([0.3 + 0.5 * (0.6 + 0.2) / 2]))


def test_both_axes_are_clipped_to_the_unit_interval() -> None:
    x, y = torch.tensor([[0.0], [0.5], [3.0]]), torch.tensor([[1.5], [0.5], [-2.0]])
    torch.testing.assert_close(auddc(x, y), torch.tensor([0.375 + 0.125]))


def test_curves_of_different_lengths_are_refused() -> None:
    with pytest.raises(UserError, match=r"shape \(K, B\)"):
        auddc(torch.zeros(3, 2), torch.zeros(2, 2))


def test_distances_at_the_ends(points: tuple[Tensor, Tensor]) -> None:
    x, y = points
    zero, one = torch.zeros(6, dtype=x.dtype), torch.ones(6, dtype=x.dtype)
    torch.testing.assert_close(relative_distortion(x, x, y), zero)
    torch.testing.assert_close(relative_distortion(x, y, y), one)
    reached = y + 0.01
    torch.testing.assert_close(relative_target_distance(x, x, reached, y), one)
    torch.testing.assert_close(relative_target_distance(reached, x, reached, y), zero)


def test_an_output_better_than_the_targets_own_is_below_zero(
    points: tuple[Tensor, Tensor],
) -> None:
    x, y = points
    assert (relative_target_distance(y, x, y + 0.01, y) < 0).all()


def test_the_distance_is_undefined_where_there_is_nothing_to_gain(
    points: tuple[Tensor, Tensor],
) -> None:
    x, y = points
    assert relative_target_distance(x, y, y, y).isnan().all()
    assert relative_distortion(x, x, x).isnan().all()


def test_measured_on_the_identity(points: tuple[Tensor, Tensor]) -> None:
    x, y = points
    found = distances(Identity().eval(), x, x + 0.25 * (y - x), y)
    quarter = torch.full((6,), 0.25, dtype=x.dtype)
    torch.testing.assert_close(found.distortion, quarter)
    torch.testing.assert_close(found.distance, 1 - quarter)
    torch.testing.assert_close(found.change, found.l2)
    torch.testing.assert_close(found.rmsd, found.l2 / 5**0.5)


def test_without_a_target_only_the_change_is_known(points: tuple[Tensor, Tensor]) -> None:
    x, _ = points
    found = distances(Identity().eval(), x, x + 0.1)
    assert found.distance.isnan().all()
    assert found.distortion.isnan().all()
    torch.testing.assert_close(found.change, torch.full((6,), 0.1 * 5**0.5, dtype=x.dtype))


def test_a_random_model_meets_the_same_noise_on_all_images(points: tuple[Tensor, Tensor]) -> None:
    x, y = points
    found = distances(Noisy().eval(), x, x, y)
    torch.testing.assert_close(found.change, torch.zeros(6, dtype=x.dtype))


@pytest.mark.parametrize("penalty", [True, False])
def test_the_curve_of_the_identity_is_the_straight_line(
    points: tuple[Tensor, Tensor], penalty: bool
) -> None:
    x, y = points
    budget = Penalty(1.0) if penalty else Ball(1.0, "L2")
    budgets = (0.01, 0.3, 1.0, 5.0) if penalty else (0.05, 0.1, 0.2)
    traced = curve(Identity().eval(), LatentAttack(budget, domain=Vectors()), x, y, budgets=budgets)
    torch.testing.assert_close(traced.distance, 1 - traced.distortion, atol=1e-5, rtol=0)
    assert traced.adversarial.shape == (len(budgets), *x.shape)
    if penalty:
        torch.testing.assert_close(
            traced.distortion[1], torch.full((6,), 1 / 1.3, dtype=x.dtype), atol=1e-5, rtol=0
        )
        last = traced.distortion[0]  # from there the curve goes on level
        torch.testing.assert_close(
            traced.auddc(), 1 - last + last**2 / 2 + 0 * last, atol=1e-2, rtol=0
        )
        expected = torch.tensor([0.75, 0.5])
        torch.testing.assert_close(traced.mean([0.25, 0.5]), expected, atol=1e-3, rtol=0)


def test_a_curve_of_maximum_damage_knows_the_change(points: tuple[Tensor, Tensor]) -> None:
    x, _ = points
    attack = OutputAttack(Ball(1.0, "L2"), targeted=False, domain=Vectors(), steps=10)
    traced = curve(Identity().eval(), attack, x, budgets=(0.5, 1.0))
    radii = torch.tensor([0.5, 1.0], dtype=x.dtype)[:, None].expand(2, 6)
    torch.testing.assert_close(traced.change, radii, atol=1e-4, rtol=0)
    assert traced.auddc().isnan().all()


def test_the_mean_curve_leaves_out_examples_without_one() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, torch.nan]])
    torch.testing.assert_close(mean_curve(x, 1 - x, [0.5]), torch.tensor([0.5]))
    assert mean_curve(x[:, 1:], x[:, 1:], [0.5]).isnan().all()


def test_the_judge_counts_only_sources_it_reads_correctly() -> None:
    x = torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0], [3.0, 0.0, 0.0]])
    adversarial = torch.tensor([[0.0, 3.0, 0.0], [0.0, 3.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    labels, targets = torch.tensor([0, 1, 0, 0]), torch.tensor([1, 0, 0, 1])
    found = judge(Identity().eval(), nn.Identity().eval(), x, adversarial, labels, targets)
    assert found.counted.tolist() == [True, True, False, True]
    assert found.ignored.tolist() == [True, False, False, True]
    assert found.reached.tolist() == [True, False, True, False]
    assert (found.n, found.ignore_target, found.target) == (3, 2, 1)
    assert found.label.tolist() == [1, 1, 0, 2]


def test_feedback_passes_the_image_through_the_model_again() -> None:
    x = torch.tensor([[3.0, 0.0]])
    once, twice = (
        judge(Swap().eval(), nn.Identity().eval(), x, x, torch.tensor([0]), rounds=rounds)
        for rounds in (1, 2)
    )
    assert once.label.item() == 1
    assert twice.label.item() == 0
    assert not once.counted.item()
    assert twice.counted.item()


def test_untargeted_attacks_reach_no_target() -> None:
    x = torch.tensor([[3.0, 0.0]])
    found = judge(Identity().eval(), nn.Identity().eval(), x, x.flip(1), torch.tensor([0]))
    assert (found.n, found.ignore_target, found.target) == (1, 1, 0)


def test_slips_of_the_judge() -> None:
    x, labels = torch.rand(1, 2), torch.tensor([0])
    with pytest.raises(UserError, match="the judge is in train mode"):
        judge(Identity().eval(), nn.Identity(), x, x, labels)
    with pytest.raises(UserError, match="at least once"):
        judge(Identity().eval(), nn.Identity().eval(), x, x, labels, rounds=0)


def test_a_curve_keeps_its_budgets(points: tuple[Tensor, Tensor]) -> None:
    x, y = points
    traced = curve(
        Identity().eval(), OutputAttack(Ball(1.0), domain=Vectors()), x, y, budgets=[0.1]
    )
    assert isinstance(traced, Curve)
    assert traced.budgets == (0.1,)
    assert (traced.adversarial[0] - x).abs().max() <= 0.1 + 1e-9
