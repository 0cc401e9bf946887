"""Receivers as matrices: only what is one, and only where the matrices are small."""

import pytest
import torch
from torch import Tensor, nn

from trompe.evaluation import columns
from trompe.evaluation.block_error import Condition, block_errors
from trompe.evaluation.columns import receiver_of
from trompe.models import BlockCode, CommsAutoencoder, CommsConfig

EVERY = 10**9


class Backwards(nn.Sequential):
    """Its layers, and then something else."""

    def forward(self, y: Tensor) -> Tensor:
        return super().forward(y).flip(1)  # type: ignore[no-any-return, no-untyped-call]


class Opposed(nn.Linear):
    """Affine by its name."""

    def forward(self, y: Tensor) -> Tensor:
        return -super().forward(y).abs()


def opposed(inner: nn.Linear) -> nn.Module:
    found = Opposed(inner.in_features, inner.out_features, bias=False).requires_grad_(False)
    found.weight.copy_(inner.weight)
    return found


@pytest.mark.parametrize("kind", [Backwards, opposed, lambda inner: nn.Sequential(opposed(inner))])
def test_a_receiver_of_a_kind_of_its_own_is_measured_by_what_it_says(kind: type[nn.Module]) -> None:
    """None of these ever reads a message as what it is, which their layers would."""
    code = BlockCode()
    code.receiver = kind(code.receiver).eval()
    s = torch.arange(16)
    said = int((code.receive(code.transmit(s)).argmax(1) != s).sum())
    found = block_errors(code, {0: Condition(40.0)}, blocks=1600, errors=EVERY)[0]
    assert found.errors == 100 * said == 1600


def test_a_receiver_of_many_messages_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """`W - W[s]` of 4096 messages would be 275 GB."""
    large = CommsAutoencoder(CommsConfig(2, 12)).eval()
    assert isinstance(receiver_of(large.receiver, torch.zeros(1, 4)), columns._Called)
    radio, how = CommsAutoencoder(CommsConfig()).eval(), {"blocks": 8000, "errors": EVERY}
    one = block_errors(radio, {0: Condition(5.0)}, **how)
    monkeypatch.setattr(columns, "LARGEST", 1)
    assert isinstance(receiver_of(radio.receiver, torch.zeros(1, 14)), columns._Called)
    assert block_errors(radio, {0: Condition(5.0)}, **how) == one


def test_the_largest_radio_is_counted() -> None:
    radio = CommsAutoencoder(CommsConfig(2, 12)).eval()
    found = block_errors(radio, {0: Condition(5.0)}, blocks=1, errors=EVERY)[0]
    assert found.blocks == 4096
    assert 0 < found.errors <= 4096
