"""What a judge reads of shifted codes, where every confidence is known."""

import pytest
import torch
from torch import Tensor, nn

from trompe.attacks.universal import Perturbation
from trompe.core.errors import UserError
from trompe.core.protocols import PointMass
from trompe.data import from_arrays
from trompe.evaluation.shift import read_shift, shift_pictures, shift_records


class Identity(nn.Module):
    """Codes are the inputs."""

    def encode(self, x: Tensor) -> PointMass:
        return PointMass(x)

    def decode(self, z: Tensor) -> Tensor:
        return z


def judge(x: Tensor) -> Tensor:
    """Reads class 1 with confidence sigmoid(2 x)."""
    return torch.cat([-x[:, :1], x[:, :1]], 1)


VALUES = torch.tensor([[-1.0, 0.0], [-2.0, 0.0], [1.5, 0.0], [0.5, 0.0]])
LABELS = torch.tensor([0, 0, 1, 1])
SHIFT = Perturbation(torch.tensor([[1.75, 0.0]]))


def test_confidences_are_those_of_the_label_and_then_of_the_other_class() -> None:
    examples = from_arrays(VALUES.numpy(), LABELS.numpy())
    reading = read_shift(Identity(), SHIFT, judge, examples)  # type: ignore[arg-type]
    t = 1 - 2 * LABELS
    assert torch.allclose(reading.original, torch.sigmoid(-2 * t * VALUES[:, 0]))
    assert torch.equal(reading.original, reading.rebuilt)
    assert torch.allclose(reading.tampered, torch.sigmoid(2 * t * (VALUES[:, 0] + 1.75 * t)))
    groups = reading.groups()
    assert torch.equal(groups["0 -> 1"], reading.tampered[:2])
    assert torch.equal(groups["1 -> 0"], reading.tampered[2:])


def test_flips_and_gaps_follow_by_direction() -> None:
    """-1 + 1.75 is turned and -2 + 1.75 is not; 1.5 - 1.75 and 0.5 - 1.75 both are."""
    examples = from_arrays(VALUES.numpy(), LABELS.numpy())
    reading = read_shift(Identity(), SHIFT, judge, examples)  # type: ignore[arg-type]
    found = {
        (r.metric, r.config["group"]): r for r in shift_records(reading, SHIFT.delta, subject="s")
    }
    assert found["flip rate", "0 -> 1"].value == 0.5
    assert found["flip rate", "1 -> 0"].value == 1.0
    into_one = abs(float(reading.rebuilt[2:].mean() - reading.tampered[:2].mean()))
    assert found["epsilon gap", "0 -> 1"].value == pytest.approx(into_one)
    vector = found["Hoyer sparsity", "both"]
    assert (vector.value, vector.extra["noticeable"], vector.n) == (1.0, 1.0, 2)


def test_pictures_without_and_with_the_shift() -> None:
    before, after = shift_pictures(Identity(), SHIFT, VALUES, LABELS)
    assert torch.equal(before, VALUES)
    assert (after - before)[:, 0].tolist() == [1.75, 1.75, -1.75, -1.75]


def test_both_classes_are_needed_and_a_judge_of_two() -> None:
    upper = from_arrays(VALUES[2:].numpy(), LABELS[2:].numpy(), classes=("0", "1"))
    reading = read_shift(Identity(), SHIFT, judge, upper)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="are of one class"):
        list(shift_records(reading, SHIFT.delta))
    with pytest.raises(UserError, match="tells 4 classes apart"):
        read_shift(Identity(), SHIFT, lambda x: judge(x).repeat(1, 2), upper)  # type: ignore[arg-type]


def test_labels_are_needed() -> None:
    with pytest.raises(UserError, match="has no labels"):
        read_shift(Identity(), SHIFT, judge, from_arrays(VALUES.numpy()))  # type: ignore[arg-type]
