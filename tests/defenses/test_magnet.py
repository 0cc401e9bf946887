import math

import pytest
import torch
from torch import nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.defenses import Collection, OutputDivergence, magnet


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


def test_divergence_is_that_of_its_formula() -> None:
    x = torch.randn(6, 4, dtype=torch.float64)
    p, q = (x / 3).softmax(1), (0.2 * x / 3).softmax(1)
    m = (p + q) / 2
    expected = 0.5 * (p * (p / m).log()).sum(1) + 0.5 * (q * (q / m).log()).sum(1)
    found = OutputDivergence(nn.Identity(), Times(0.2), 3.0)(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_divergence_ends_at_log_two_and_stays_finite() -> None:
    x = torch.tensor([[1000.0, -1000.0]])
    score = float(OutputDivergence(nn.Identity(), Times(-1.0), 1.0)(x))
    assert math.isclose(score, math.log(2), rel_tol=1e-6)


def test_collection_draws_each_evenly_and_for_each_example_alone() -> None:
    collection = Collection([Times(1.0), Times(2.0), Times(3.0)])
    seeds = random.seeds(0, 3000)
    with random.streams(seeds):
        whole = collection(torch.ones(3000, 2))
    shares = [float((whole[:, 0] == k).float().mean()) for k in (1, 2, 3)]
    assert all(abs(share - 1 / 3) < 0.04 for share in shares)
    with random.streams(seeds[7:8]):
        assert torch.equal(collection(torch.ones(1, 2)), whole[7:8])
    with random.streams(seeds, 1):
        assert not torch.equal(collection(torch.ones(3000, 2)), whole)


def test_collection_is_differentiable() -> None:
    x = torch.ones(8, 2, requires_grad=True)
    with random.streams(random.seeds(0, 8)):
        shown = Collection([Times(1.0), Times(5.0)])(x)
    (grad,) = torch.autograd.grad(shown.sum(), x)
    torch.testing.assert_close(grad, shown.detach())


def test_magnet_reads_the_reformed_input_and_refuses_what_the_reformer_changes() -> None:
    guarded = magnet(nn.Identity(), nn.ReLU(), temperatures=(10.0, 40.0)).eval()
    clean = torch.rand(400, 3)
    clean[:, 0] -= 0.02
    guarded.calibrate(clean, fpr=0.05)
    assert float((~guarded.accept(clean)).float().mean()) <= 0.05
    logits, accepted = guarded.decide(torch.tensor([[0.5, 0.2, 0.1], [-3.0, 0.2, 0.1]]))
    assert torch.equal(logits[1], torch.tensor([0.0, 0.2, 0.1]))
    assert accepted.tolist() == [True, False]


def test_two_autoencoders_stand_under_their_own_norms() -> None:
    guarded = magnet(nn.Identity(), nn.ReLU(), [Times(0.5), Times(2.0)])
    scores = guarded.scores(torch.tensor([[3.0, 4.0]]))
    assert {name: float(score) for name, score in scores.items()} == {
        "error-L2": 2.5,
        "error-L1": 7.0,
    }


def test_slips_are_told() -> None:
    with pytest.raises(UserError, match="temperature"):
        OutputDivergence(nn.Identity(), nn.ReLU(), 0.0)
    with pytest.raises(UserError, match="two autoencoders"):
        Collection([nn.ReLU()])
    with pytest.raises(UserError, match="has its norm"):
        magnet(nn.Identity(), nn.ReLU(), [nn.ReLU()])
    with pytest.raises(UserError, match="at least one detector"):
        magnet(nn.Identity(), nn.ReLU(), norms=())
