"""Distance in features: to the nearest real examples, in units of their spread."""

import pytest
import torch
from torch import nn

from trompe.core.errors import UserError
from trompe.core.random import normal, seeds, streams
from trompe.defenses.detectors import ReconstructionError
from trompe.defenses.features import FeatureDistance


def fitted(known: torch.Tensor, k: int = 4, **layers: float) -> FeatureDistance:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU()).eval()
    model[0].weight.data.copy_(
        torch.diag(torch.tensor([layers.get("a", 1.0), layers.get("b", 1.0)]))
    )
    return FeatureDistance(model, "0", len(known), 2, k=k).fit(known)


def corners() -> torch.Tensor:
    """Four points whose coordinates have standard deviations 1 and 2."""
    return torch.tensor([[1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]])


def test_distances_are_to_the_nearest_in_units_of_the_spread() -> None:
    detector = fitted(corners(), k=1)
    points = torch.tensor([[1.0, 2.0], [1.0, 4.0], [4.0, 2.0], [0.0, 0.0]])
    torch.testing.assert_close(detector(points), torch.tensor([0.0, 1.0, 3.0, 2**0.5]))
    every = fitted(corners(), k=4)(torch.zeros(1, 2))
    torch.testing.assert_close(every, torch.tensor([2**0.5]))


def test_the_scale_of_features_does_not_matter() -> None:
    with streams(seeds(0, 30)):
        points = normal((30, 2))
    plain, scaled = fitted(corners())(points), fitted(corners(), a=100.0, b=-0.1)(points)
    torch.testing.assert_close(scaled, plain, rtol=1e-3, atol=1e-4)


def test_what_is_far_is_refused_and_real_examples_pass() -> None:
    with streams(seeds(0, 600)):
        cloud = normal((600, 2))
    detector = fitted(cloud[:300]).calibrate(cloud[300:], 0.05)
    assert float((detector(cloud[300:]) <= detector.threshold).float().mean()) >= 0.95
    assert bool((detector(cloud[:50] + 10) > detector.threshold).all())


def test_slips_are_told() -> None:
    with pytest.raises(UserError, match=r"1\.\.4"):
        FeatureDistance(nn.Sequential(nn.Identity()), "0", size=4, width=2, k=5)
    with pytest.raises(UserError, match="expected 4 real examples, got 3"):
        FeatureDistance(nn.Sequential(nn.Identity()), "0", size=4, width=2, k=1).fit(
            torch.rand(3, 2)
        )


def test_a_relative_error_does_not_depend_on_the_ink() -> None:
    halving = nn.Sequential(nn.Linear(2, 2, bias=False)).eval()
    halving[0].weight.data.copy_(torch.eye(2) / 2)
    x = torch.tensor([[3.0, 4.0], [30.0, 40.0], [0.0, 0.0]])
    assert ReconstructionError(halving)(x).tolist() == pytest.approx([2.5, 25.0, 0.0])
    assert ReconstructionError(halving, relative=True)(x).tolist() == pytest.approx([0.5, 0.5, 0.0])
