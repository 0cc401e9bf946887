"""The quadratic network: its form, its axes, and what it is blind to."""

import pytest
import torch

from trompe.core.errors import UserError
from trompe.models import QuadraticConfig, QuadraticNet, build


def net(size: int = 7, hidden: int = 4) -> QuadraticNet:
    return QuadraticNet(QuadraticConfig(size, hidden), seed=3).double().eval()


def test_the_form_is_that_of_the_paper() -> None:
    model = net(2, 2)
    model.load_state_dict(
        {
            "weight": torch.tensor([[1.0, 2.0], [0.0, -1.0]]),
            "scale": torch.tensor(0.5),
            "bias": torch.tensor(-3.0),
        }
    )
    x = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    assert model.f(x).tolist() == [0.5 * (9 + 1) - 3]
    assert model(x).tolist() == [[-1.0, 1.0]]


@pytest.mark.parametrize("hidden", [3, 7, 9])
def test_in_the_rotated_axes_it_is_a_sum_of_squares(hidden: int) -> None:
    model, x = net(7, hidden), torch.eye(7, dtype=torch.float64) + 0.1
    curvature, rotation = model.eigen()
    z = x @ rotation
    assert torch.allclose(rotation @ rotation.T, torch.eye(7, dtype=torch.float64))
    assert torch.allclose((curvature * z.square()).sum(1) + model.bias, model.f(x))
    assert int((curvature == 0).sum()) == max(0, 7 - hidden)


def test_moving_along_an_unseen_axis_changes_nothing() -> None:
    model = net()
    curvature, rotation = model.eigen()
    x = torch.ones(1, 7, dtype=torch.float64)
    for axis in rotation.T[curvature == 0]:
        assert torch.allclose(model.f(x + 5 * axis), model.f(x), atol=1e-12)


def test_a_repeated_row_is_no_further_direction() -> None:
    model = net()
    with torch.no_grad():
        model.weight[3] = model.weight[0]
    assert int((model.eigen()[0] == 0).sum()) == 4


def test_it_is_built_from_its_settings_and_its_seed() -> None:
    one, again = (build(QuadraticConfig(5, 3), seed=2) for _ in range(2))
    other = build(QuadraticConfig(5, 3), seed=1)
    assert torch.equal(one.weight, again.weight)  # type: ignore[arg-type]
    assert not torch.equal(one.weight, other.weight)  # type: ignore[arg-type]


def test_slips_are_told() -> None:
    with pytest.raises(UserError, match="positive integers, got 100 and 0"):
        QuadraticConfig(hidden=0)
    with pytest.raises(UserError, match="shape"):
        net()(torch.zeros(1, 3, dtype=torch.float64))
