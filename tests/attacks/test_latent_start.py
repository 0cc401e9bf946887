"""LatentStart: the nearest wrong code, and what is reached of it, in closed form on linear stacks."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.attacks.contract import Subject, defended, inside_ball_and_domain, misled
from trompe.attacks import EOT, LatentStart
from trompe.core import random
from trompe.core.domains import Images, Vectors
from trompe.core.errors import UserError
from trompe.core.execution import execution, metered
from trompe.core.geometry import Ball, Norm
from trompe.core.losses import margin
from trompe.core.protocols import PointMass
from trompe.defenses import Reconstruct

DOMAIN = Vectors()
FAR = {"code_steps": 80, "rounds": 6, "lr": 0.05, "confidence": 0.0, "domain": DOMAIN}


class Projection(nn.Module):
    """The projection on a few orthonormal directions: what a linear autoencoder learns."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)

    def encode(self, x: Tensor) -> PointMass:
        return PointMass(x @ self.rows.T)

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.rows

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x).mean)


def stack(classes: int = 2, scale: float = 0.0) -> tuple[Reconstruct, Tensor, Tensor]:
    """A linear classifier behind a projection from 12 dimensions to 4, and what it says of 16 points."""
    generator = torch.Generator().manual_seed(classes)
    draw = {"generator": generator, "dtype": torch.float64}
    rows = torch.linalg.qr(torch.randn(12, 4, **draw)).Q.T
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        read = nn.Linear(12, classes).double()
    model = Reconstruct(Projection(rows), read, scale).eval()
    x = 2 * torch.randn(16, 12, **draw)
    return model, x, model.deterministic()(x).argmax(1)


def slopes(model: Reconstruct, y: Tensor) -> Tensor:
    """Among codes, the gradients of the right logit minus each other one: `(B, K - 1, 4)`."""
    weight = model.classifier.weight @ model.autoencoder.rows.T
    others = torch.stack([torch.tensor([k for k in range(len(weight)) if k != int(c)]) for c in y])
    return (weight[y][:, None] - weight[others]).detach()


def reach(model: Reconstruct, x: Tensor, y: Tensor) -> Tensor:
    """The distance of each code from the nearest that is read wrongly."""
    logits, gradients = model.deterministic()(x).detach(), slopes(model, y)
    others = logits.scatter(1, y[:, None], torch.inf).isfinite()
    gaps = (logits.gather(1, y[:, None]) - logits)[others].view(len(y), -1)
    return (gaps / gradients.norm(dim=2)).amin(1)


def finds_the_nearest_wrong_code(kind: type[LatentStart]) -> None:
    for classes in (2, 4):
        model, x, y = stack(classes)
        with torch.no_grad():
            found = kind(Ball(1.0, "L2"), **FAR).code(model, x, y, random.seeds(0, 16))  # type: ignore[arg-type]
            far = (found.best - model.autoencoder.encode(x).mean).norm(dim=1)
        assert bool(found.done.all())
        assert bool((margin(model.classifier(model.autoencoder.decode(found.best)), y) < 0).all())
        nearest = reach(model, x, y)
        assert bool((far >= nearest - 1e-9).all())
        assert float((far / nearest).max()) < 1.05


def keeps_to_the_ball(kind: type[LatentStart]) -> None:
    make: Any = lambda domain: kind(Ball(0.1), steps=3, code_steps=5, rounds=2, domain=domain)  # noqa: E731
    inside_ball_and_domain(Subject("LatentStart", make, "defended", misled), defended(Images()))


def test_the_nearest_wrong_code_is_kept() -> None:
    finds_the_nearest_wrong_code(LatentStart)
    keeps_to_the_ball(LatentStart)


class Overshoots(LatentStart):
    """Keeps a wrong code that is not the nearest."""

    def code(self, *given: Any) -> Any:
        found = super().code(*given)
        home = given[0].autoencoder.encode(given[1]).mean
        return found._replace(best=home + 1.5 * (found.best - home))


class NoPull(LatentStart):
    """Begins with a weight so large that the way home does not count."""

    def __init__(self, ball: Ball, **settings: Any) -> None:
        super().__init__(ball, **{**settings, "rounds": 1, "lr": 1.0})


class ReturnsTheImage(LatentStart):
    """Delivers what the code decodes to, wherever that is."""

    def match(self, model: Any, image: Tensor, *given: Any) -> Any:
        return super().match(model, image, *given)._replace(best=image)

    def _in_ball(self, objective: Any, model: Any, start: Tensor, x: Tensor, *given: Any) -> Any:
        return super()._in_ball(objective, model, start, start, *given)


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (Overshoots, finds_the_nearest_wrong_code),
        (NoPull, finds_the_nearest_wrong_code),
        (ReturnsTheImage, keeps_to_the_ball),
    ],
    ids=lambda value: value.__name__,
)
def test_mutant_is_caught(kind: type[LatentStart], check: Any) -> None:
    with pytest.raises(AssertionError):
        check(kind)


@pytest.mark.parametrize(("norm", "order"), [("L2", 2.0), ("Linf", 1.0)])
def test_it_succeeds_exactly_where_a_wrong_code_is_in_reach(norm: Norm, order: float) -> None:
    """The least margin in a ball of radius r is `m - r ||P a||`, `||.||` the dual norm, P the projection."""
    model, x, y = stack()
    gap = margin(model(x), y).detach()
    slope = slopes(model, y)[:, 0] @ model.autoencoder.rows.detach()
    dual = slope.norm(p=order, dim=1)
    for share in (0.9, 1.1):
        for row in range(2):
            one = slice(row, row + 1)
            ball = Ball(share * float(gap[row] / dual[row]), norm)
            attack = LatentStart(ball, code_steps=20, rounds=3, domain=DOMAIN)
            found = attack(model, x[one], y[one])
            left = float(margin(model(found), y[one]).detach())
            least = float(gap[row] - ball.eps * dual[row])
            assert (left < 0) == (share > 1)
            assert share > 1 or left <= least + 0.02 * float(gap[row])


def test_an_image_out_of_reach_is_approached_along_the_codes() -> None:
    """The nearest reconstruction in an L2 ball lies a radius along the way to the image."""
    model, x, y = stack()
    attack = LatentStart(Ball(0.5 * float(reach(model, x, y).min()), "L2"), steps=100, **FAR)  # type: ignore[arg-type]
    seeds = random.seeds(0, 16)
    with torch.no_grad():
        code = attack.code(model, x, y, seeds).best
        found = attack.match(model, model.autoencoder.decode(code), x, y, seeds).best
        way = code - model.autoencoder.encode(x).mean
        gone = model.autoencoder.encode(found).mean - model.autoencoder.encode(x).mean
    assert torch.cosine_similarity(way, gone).min() > 0.999
    assert (gone.norm(dim=1) / attack.ball.eps).min() > 0.999


def test_codes_are_searched_once_whatever_the_draws() -> None:
    model, x, y = stack(scale=0.5)
    spent = []
    for draws in (1, 5):
        with execution(draws=draws), metered() as cost, torch.no_grad():
            attack = LatentStart(Ball(0.1), code_steps=3, rounds=2)
            attack.code(model, x, y, random.seeds(0, 16))
        spent.append(cost)
    assert spent[0] == spent[1]


class Blurred(Projection):
    """A projection that is unsure of its codes."""

    def encode(self, x: Tensor) -> Any:
        mean = x @ self.rows.T
        return torch.distributions.Normal(mean, torch.ones_like(mean))


def test_a_random_defence_is_left_only_where_draws_agree() -> None:
    still, x, y = stack()
    model = Reconstruct(Blurred(still.autoencoder.rows.detach()), still.classifier, 0.2).eval()
    ball = Ball(1.5 * float(reach(still, x, y).max()), "L2")
    found = EOT(LatentStart(ball, domain=DOMAIN), draws=8)(model, x, y)
    for draw in range(5):
        with random.streams(random.seeds(7, 16), random.REPORT + draw), torch.no_grad():
            assert float((model(found).argmax(1) != y).double().mean()) >= 0.8


def test_slips_are_told() -> None:
    _, x, y = stack()
    with pytest.raises(UserError, match="has no codes to search"):
        LatentStart(Ball(0.1), domain=DOMAIN)(nn.Linear(12, 2).double().eval(), x, y)
    with pytest.raises(UserError, match="must be at least 1"):
        LatentStart(Ball(0.1), rounds=0)
    with pytest.raises(UserError, match="lr must be above 0"):
        LatentStart(Ball(0.1), lr=0.0)
