"""The direction that a model stretches most, where it is known; and as a start of longer searches."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from tests.attacks.contract import CHECKS, Subject, autoencoder
from tests.attacks.test_contract import ball, code_damage
from trompe.attacks import LatentAttack, LatentClassifierAttack, OutputAttack, SingularDirection
from trompe.core.domains import Images, Vectors
from trompe.core.errors import UserError
from trompe.core.execution import metered
from trompe.core.geometry import Ball, Norm
from trompe.core.jacobian import Linearised
from trompe.core.protocols import PointMass
from trompe.core.random import seeds
from trompe.models import VAE


class Linear(nn.Module):
    """`mean = W x`, and an output `U W x`."""

    def __init__(self, w: Tensor, u: Tensor | None = None) -> None:
        super().__init__()
        self.w, self.u = w, u

    def encode(self, x: Tensor) -> PointMass:
        return PointMass(x.flatten(1) @ self.w.T)

    def forward(self, x: Tensor) -> Tensor:
        assert self.u is not None
        return (x.flatten(1) @ self.w.T @ self.u.T).view_as(x)


@pytest.fixture
def w() -> Tensor:
    """Singular values 3, 2, 1, 0.5: the power iteration has a gap to live on."""
    generator = torch.Generator().manual_seed(0)
    left = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(6, 4, generator=generator, dtype=torch.float64)).Q
    return left @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5], dtype=torch.float64)) @ right.T


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_of_a_linear_encoder_it_is_the_top_singular_vector(w: Tensor, x: Tensor) -> None:
    attack = SingularDirection(Ball(0.5, "L2"), steps=40, domain=Vectors())
    moved = attack(Linear(w).eval(), x) - x
    top = torch.linalg.svd(w).Vh[0]
    torch.testing.assert_close((moved @ top).abs(), x.new_full((5,), 0.5), atol=1e-8, rtol=0)
    torch.testing.assert_close((moved @ w.T).norm(dim=1), x.new_full((5,), 1.5), atol=1e-8, rtol=0)


def test_of_the_output_it_is_the_top_singular_vector_of_the_whole_map(w: Tensor, x: Tensor) -> None:
    u = torch.randn(6, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    attack = SingularDirection(Ball(0.5, "L2"), of="output", steps=200, domain=Vectors())
    moved = attack(Linear(w, u).eval(), x) - x
    top = torch.linalg.svd(u @ w).Vh[0]
    torch.testing.assert_close((moved @ top).abs(), x.new_full((5,), 0.5), atol=1e-8, rtol=0)


@pytest.mark.parametrize("norm", ["Linf", "L1"])
def test_in_other_balls_it_is_the_corner_that_is_stretched_most(
    w: Tensor, x: Tensor, norm: Norm
) -> None:
    """A convex function is largest at a corner: the best of all 64, or of all 12, for most of the starts."""
    signs = torch.tensor(list(product((-1.0, 1.0), repeat=6)), dtype=torch.float64)
    corners = signs if norm == "Linf" else torch.eye(6, dtype=torch.float64)
    best = 0.5 * (corners @ w.T).norm(dim=1).max()
    x = x.repeat(4, 1)
    attack = SingularDirection(Ball(0.5, norm), steps=40, domain=Vectors())
    reached = ((attack(Linear(w).eval(), x) - x) @ w.T).norm(dim=1)
    assert float(reached.max()) == pytest.approx(float(best), rel=1e-9)
    assert (reached <= best * (1 + 1e-9)).all()
    assert float(reached.median()) > 0.9 * float(best)


class Bent(nn.Module):
    """The code grows on one side and stays on the other."""

    def encode(self, x: Tensor) -> PointMass:
        return PointMass(torch.nn.functional.softplus(4 * x.flatten(1)))


def test_the_better_of_both_signs_is_kept() -> None:
    x = torch.zeros(6, 1)
    found = SingularDirection(Ball(0.5, "L2"), domain=Vectors())(Bent().eval(), x)
    torch.testing.assert_close(found, torch.full((6, 1), 0.5))


def test_at_the_edge_of_the_box_the_rest_takes_up_the_radius() -> None:
    """Half of the pixels are black and cannot darken: the others move further, and the ball is full."""
    x = torch.cat([torch.zeros(4, 1, 4, 8), torch.full((4, 1, 4, 8), 0.5)], 2)
    model = VAE((1, 8, 8), latent=4, hidden=(16,)).eval()
    found = SingularDirection(Ball(0.8, "L2"))(model, x)
    assert found.min() >= 0
    torch.testing.assert_close((found - x).flatten(1).norm(dim=1), torch.full((4,), 0.8))


def test_products_are_those_of_the_jacobian() -> None:
    model = VAE((1, 4, 4), latent=3, hidden=(8,)).double().eval()
    x, generator = torch.rand(2, 1, 4, 4).double(), torch.Generator().manual_seed(0)
    at = Linearised(model.encode_mean, x)
    v = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    u = torch.randn(2, 3, generator=generator, dtype=x.dtype)
    for i in range(2):
        full = torch.func.jacrev(lambda one: model.encode_mean(one[None])[0])(x[i]).flatten(1)
        torch.testing.assert_close(at.forward(v)[i], full @ v[i].flatten())
        torch.testing.assert_close(at.transpose(u)[i].flatten(), u[i] @ full)


def test_attention_is_differentiated_twice() -> None:
    class Attends(nn.Module):
        def encode(self, x: Tensor) -> PointMass:
            rows = x.flatten(2).transpose(1, 2)[:, None]
            mixed = nn.functional.scaled_dot_product_attention(rows, rows, rows)
            return PointMass(mixed.flatten(1))

    x = torch.rand(2, 4, 2, 2)
    found = SingularDirection(Ball(0.1, "L2"))(Attends().eval(), x)
    assert not torch.equal(found, x)


def test_an_iteration_costs_two_gradients(w: Tensor, x: Tensor) -> None:
    with metered() as cost:
        SingularDirection(Ball(0.5, "L2"), steps=7, domain=Vectors())(Linear(w).eval(), x)
    assert cost.backwards == 5 * 2 * 7


# --- as a start ---------------------------------------------------------------------------------------


def damaged(attack: LatentAttack | OutputAttack, model: nn.Module, x: Tensor) -> Tensor:
    return ((attack(model, x) - x) @ model.w.T).norm(dim=1)  # type: ignore[operator,union-attr]


def test_a_search_that_starts_there_is_done_at_once_on_a_linear_encoder(
    w: Tensor, x: Tensor
) -> None:
    once = LatentAttack(Ball(0.5, "L2"), targeted=False, steps=1, domain=Vectors())
    plain, led = (
        damaged(replace(once, start=s), Linear(w).eval(), x) for s in ("random", "singular")
    )
    best = x.new_full((5,), 1.5)
    torch.testing.assert_close(led, best, rtol=1e-3, atol=0)
    assert (plain < 0.99 * best).any()


def test_restarts_never_hurt_the_singular_start() -> None:
    victim = autoencoder(Images())
    led = LatentAttack(ball(Images()), targeted=False, steps=5, start="singular")
    more = replace(led, restarts=3)
    a, b = (
        code_damage(victim.model, each(victim.model, victim.x[:16]), victim.x[:16], victim.x[:16])
        for each in (led, more)
    )
    assert (b >= a - 1e-9).all()


def test_the_output_attack_starts_along_the_outputs_direction() -> None:
    victim = autoencoder(Images())
    x = victim.x[:16]
    attack = OutputAttack(Ball(0.3, "L2"), targeted=False, steps=1, start="singular")
    direction = SingularDirection(Ball(0.3, "L2"), of="output", steps=10)
    reached, alone = (
        (victim.model(each(victim.model, x, seeds=seeds(0, 16))) - victim.model(x))
        .flatten(1)
        .norm(dim=1)
        for each in (attack, direction)
    )
    assert (reached >= alone - 1e-9).all()


# --- mutants and slips --------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoIteration(SingularDirection):
    """Takes the first direction as it was drawn."""

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        v = self.ball.steepest(self.ball.sample(x, seeds))
        return self.domain.region(x, self.ball).project(x + self.ball.eps * v)


@dataclass(frozen=True)
class NoProjection(SingularDirection):
    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        return x + 1.5 * (super().run(model, x, y, seeds) - x)


@pytest.mark.parametrize(
    ("kind", "caught"),
    [
        (NoIteration, "beats_noise_of_its_norm"),
        (NoProjection, "inside_ball_and_domain"),
    ],
)
def test_mutant_is_caught(kind: type[SingularDirection], caught: str) -> None:
    (check,) = (check for check in CHECKS if check.__name__ == caught)
    subject = Subject(
        kind.__name__,
        lambda domain: kind(ball(domain, "L2"), domain=domain),
        "autoencoder",
        code_damage,
        ranks=False,
    )
    with pytest.raises(AssertionError):
        check(subject, autoencoder(Images()))


class Severed(nn.Module):
    def encode(self, x: Tensor) -> PointMass:
        return PointMass(x.detach().flatten(1))


X = torch.rand(2, 1, 2, 2)
SLIPS: dict[str, tuple[Callable[[], object], str]] = {
    "no ball": (lambda: SingularDirection(0.1), "fills a Ball"),  # type: ignore[arg-type]
    "of": (lambda: SingularDirection(Ball(0.1), of="loss"), "code or output"),  # type: ignore[arg-type]
    "steps": (lambda: SingularDirection(Ball(0.1), steps=0), "at least 1"),
    "severed": (lambda: SingularDirection(Ball(0.1))(Severed().eval(), X), "no gradient path"),
    "no encoder": (lambda: SingularDirection(Ball(0.1))(nn.Identity().eval(), X), "has no encode"),
    "start": (lambda: LatentAttack(Ball(0.1), start="zero"), "random or singular"),  # type: ignore[arg-type]
    "targeted": (lambda: LatentAttack(Ball(0.1), start="singular"), "maximum damage"),
    "labels": (
        lambda: LatentClassifierAttack(Ball(0.1), targeted=False, start="singular").using(
            classifier=nn.Identity().eval()
        )(Bent().eval(), X, torch.tensor([0, 1])),
        "no singular direction",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_slips_are_answered_in_a_sentence(slip: str) -> None:
    call, sentence = SLIPS[slip]
    with pytest.raises(UserError, match=sentence):
        call()
