"""Attacks on verification where the best perturbation is known, and a mutant that forgets its direction."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from trompe.attacks import VerificationFGSM, VerificationPGD
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.execution import metered
from trompe.core.geometry import Ball, Norm
from trompe.core.objective import Evaluation
from trompe.core.random import seeds


def orthogonal(rows: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64)).Q


@pytest.fixture
def w() -> Tensor:
    """A linear embedder of 6 numbers to 4, its singular values 3, 2, 1, 0.5."""
    values = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5], dtype=torch.float64))
    return orthogonal(4, 4, 0) @ values @ orthogonal(6, 4, 1).T


class Linear(nn.Module):
    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = w
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w.T


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def other() -> Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def pgd(norm: Norm = "L2", eps: float = 0.5, **settings: object) -> VerificationPGD:
    settings = {"steps": 60, "step_size": 0.5, "domain": Vectors(), **settings}
    return VerificationPGD(Ball(eps, norm), **settings)  # type: ignore[arg-type]


def test_dodging_itself_is_the_top_singular_vector(w: Tensor, x: Tensor) -> None:
    moved = pgd()(Linear(w), x) - x
    top = torch.linalg.svd(w).Vh[0]
    torch.testing.assert_close((moved @ top).abs(), x.new_full((5,), 0.5), atol=1e-8, rtol=0)
    torch.testing.assert_close((moved @ w.T).norm(dim=1), x.new_full((5,), 1.5), atol=1e-8, rtol=0)


def test_dodging_itself_in_a_cube_ends_in_the_best_corner(w: Tensor, x: Tensor) -> None:
    corners = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5], dtype=torch.float64)] * 6)
    best = (corners @ w.T).norm(dim=1).max()
    attack = pgd("Linf", steps=20, step_size=None, restarts=60, threshold=float(best) - 1e-9)
    far = ((attack(Linear(w), x) - x) @ w.T).norm(dim=1)
    torch.testing.assert_close(far, best.expand(5), atol=1e-9, rtol=0)


@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm_is_the_exact_step(targeted: bool, w: Tensor, x: Tensor, other: Tensor) -> None:
    attack = VerificationFGSM(Ball(0.05), alpha=1e-9, targeted=targeted, domain=Vectors())
    step = ((x - other) @ w.T @ w).sign() * 0.05
    found = attack(Linear(w), x, other)
    torch.testing.assert_close(found, x - step if targeted else x + step, atol=3e-9, rtol=0)


def test_impersonation_arrives_where_the_ball_allows_it(
    w: Tensor, x: Tensor, other: Tensor
) -> None:
    """From anywhere the nearest embedding within reach is the constrained least-squares solution."""
    model = Linear(w)
    wide = pgd("L2", 50.0, targeted=True, steps=400, step_size=None)(model, x, other)
    assert float((model(wide) - model(other)).norm(dim=1).max()) < 0.1
    tight = pgd("L2", 0.2, targeted=True, steps=200, step_size=0.1)(model, x, other)
    # the optimum of ||W (x + d - o)||^2 on ||d|| = r solves (W'W + l) d = W'W (o - x)
    moved = tight - x
    gram = w.T @ w
    pull = (other - x - moved) @ gram
    along = (pull * moved).sum(1) / (pull.norm(dim=1) * moved.norm(dim=1))
    assert float(along.min()) > 1 - 1e-6
    torch.testing.assert_close(moved.norm(dim=1), x.new_full((5,), 0.2), atol=1e-9, rtol=0)


def test_what_crosses_the_threshold_leaves(w: Tensor, x: Tensor) -> None:
    model = Linear(w)
    with metered() as all_steps:
        pgd(steps=50)(model, x)
    with metered() as few:
        found = pgd(steps=50, threshold=1.0)(model, x)
    apart = (model(found) - model(x)).norm(dim=1)
    assert bool((apart > 1.0).all())
    assert few.backwards < all_steps.backwards / 5


def test_each_example_draws_for_itself(w: Tensor, x: Tensor) -> None:
    attack = VerificationFGSM(Ball(0.05), domain=Vectors())
    first = attack(Linear(w), x, seeds=seeds(0, 5))
    assert not torch.equal(first, attack(Linear(w), x, seeds=seeds(1, 5)))
    assert torch.equal(first[2:], attack(Linear(w), x[2:], seeds=seeds(0, 5)[2:]))


class Towards(VerificationPGD):
    """A mutant that comes nearer where it should flee."""

    def objective(self, model: nn.Module, v: Tensor, data: object) -> Evaluation:
        seen = super().objective(model, v, data)
        return Evaluation(-seen.loss, -seen.score, ~seen.done)


class Uncentred(VerificationPGD):
    """A mutant that starts at the input, where the distance to itself has no gradient."""

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        return self.searched(model, x, y, seeds, x, solver=_steepest(self.ball), steps=self.steps)


def _steepest(ball: Ball) -> object:
    from trompe.core.solvers import Steepest

    return Steepest(ball.eps / 4, ball)


@pytest.mark.parametrize("mutant", [Towards, Uncentred])
@pytest.mark.filterwarnings("ignore::trompe.core.objective.GradientWarning")
def test_mutants_do_not_find_the_singular_vector(
    mutant: type[VerificationPGD], w: Tensor, x: Tensor
) -> None:
    attack = pgd()
    broken = mutant(
        **{name: getattr(attack, name) for name in attack.describe() if name != "attack"}
    )
    moved = broken(Linear(w), x) - x
    assert float((moved @ w.T).norm(dim=1).max()) < 1.4


def test_slips_are_one_sentence(w: Tensor, x: Tensor, other: Tensor) -> None:
    with pytest.raises(UserError, match="who is to be impersonated"):
        pgd(targeted=True)(Linear(w), x)
    with pytest.raises(UserError, match="one other picture per input"):
        pgd()(Linear(w), x, other[:2])
    with pytest.raises(UserError, match="needs an embedder"):
        pgd()(nn.Unflatten(1, (2, 3)).eval(), x)
    for wrong in ({"steps": 0}, {"threshold": 0.0}, {"step_size": -1.0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            replace(pgd(), **wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="alpha"):
        VerificationFGSM(Ball(0.1), alpha=0.0)
