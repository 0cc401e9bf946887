"""Distance in features: Mahalanobis to the nearest class, whatever the axes."""

import pytest
import torch
from torch import nn

from trompe.core.errors import UserError
from trompe.core.random import normal, seeds, streams
from trompe.defenses.features import FeatureDistance


def two_clouds(n: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussians around (0, 0) and (10, 0), with standard deviations 1 and 3."""
    with streams(seeds(0, n)):
        x = normal((n, 2), torch.empty(0, dtype=torch.float64)) * torch.tensor([1.0, 3.0])
    y = torch.arange(n) % 2
    return x + 10 * y[:, None] * torch.tensor([1.0, 0.0]), y


def fitted(turn: torch.Tensor) -> FeatureDistance:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU()).double()
    model[0].weight.data.copy_(turn)
    detector = FeatureDistance(model.eval(), "0", classes=2, width=2).double()
    return detector.fit(*two_clouds())


def test_the_distance_is_that_of_the_clouds() -> None:
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 6.0], [8.0, 3.0]], dtype=torch.float64)
    found = fitted(torch.eye(2))(points)
    torch.testing.assert_close(
        found, torch.tensor([0.0, 4.0, 4.0, 5.0]).double(), rtol=0.1, atol=0.02
    )


def test_axes_do_not_matter() -> None:
    points, _ = two_clouds(20)
    turn = torch.tensor([[1.0, 2.0], [-3.0, 0.5]])
    plain, turned = fitted(torch.eye(2))(points), fitted(turn)(points)
    torch.testing.assert_close(turned, plain, rtol=0.05, atol=0.02)


def test_real_inputs_follow_chi_squared_and_outliers_do_not() -> None:
    x, _ = two_clouds()
    scores = fitted(torch.eye(2))(x)
    assert float(scores.mean()) == pytest.approx(2, rel=0.1)
    detector = fitted(torch.eye(2)).calibrate(x, 0.05)
    assert float(detector.threshold) == pytest.approx(5.99, rel=0.1)


def test_a_class_without_examples_is_told() -> None:
    detector = FeatureDistance(nn.Sequential(nn.Identity()), "0", classes=3, width=2)
    with pytest.raises(UserError, match="class 2 has no example"):
        detector.fit(torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
