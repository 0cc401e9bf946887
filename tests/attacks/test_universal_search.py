"""The published searches for a shared perturbation, and the direct one beside them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.attacks.contract import autoencoder, classifier
from trompe.attacks import IterativeUniversal, PrincipalUniversal, direct
from trompe.attacks.draws import Draw, best, drawn
from trompe.attacks.goals import misread
from trompe.attacks.universal import DAMAGE, MISREAD, Perturbation, Tail, Universal
from trompe.core import random
from trompe.core.domains import Images
from trompe.core.errors import UserError
from trompe.core.geometry import Ball, norm
from trompe.data import Messages, Stream
from trompe.models import BlockCode, Link

Search = IterativeUniversal | PrincipalUniversal
KINDS = (IterativeUniversal, PrincipalUniversal)


def linear(classes: int, size: int, seed: int = 0) -> nn.Linear:
    """A linear receiver with rows of about unit length, in float64."""
    tail = nn.Linear(size, classes, bias=False).double().eval()
    with random.streams(random.seeds(seed, classes)):
        tail.weight.data = random.normal((classes, size)).double() / math.sqrt(size)
    return tail


def values(tail: nn.Linear, count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Random values, labelled as the tail reads them."""
    with random.streams(random.seeds(seed, count)):
        v = random.normal((count, tail.in_features)).double()
    return v, tail(v).argmax(1)


def errors(tail: Tail, head: Tail, y: Tensor, p: Tensor) -> float:
    with torch.no_grad(), random.streams(random.seeds(77, len(y))):
        return float((tail(head(y) + p).argmax(1) != y).float().mean())


# Closed forms


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("kind", ["L2", "Linf"])
def test_between_two_messages_there_is_one_direction(how: type[Search], kind: str) -> None:
    tail = linear(2, 6)
    w = (tail.weight[1] - tail.weight[0]).detach()
    ball = Ball(0.7, kind)  # type: ignore[arg-type]
    p = how(ball).fit(tail, [values(tail, 40)]).delta.detach()
    wanted = 0.7 * ball.steepest(w[None])
    assert torch.allclose(p, wanted) or torch.allclose(p, -wanted)


def stacked(tail: nn.Linear, v: Tensor, y: Tensor, normalised: bool) -> np.ndarray:
    """What algorithm 2 stacks, written out for a linear receiver."""
    weight, rows = tail.weight.detach().numpy(), []
    for value, label in zip(v.numpy(), y.numpy(), strict=True):
        scores = weight @ value
        share = np.exp(scores - scores.max())
        found = []
        for towards in set(range(len(weight))) - {int(label)}:
            slope = weight[towards] - (share / share.sum()) @ weight
            unit = slope / np.linalg.norm(slope)
            rates, gaps = (weight - weight[label]) @ unit, scores[label] - scores
            reached = [gap / rate for gap, rate in zip(gaps, rates, strict=True) if rate > 1e-12]
            found.append((min(reached, default=math.inf), unit if normalised else slope))
        rows.append(min(found, key=lambda pair: pair[0])[1])
    return np.stack(rows)


@pytest.mark.parametrize("normalised", [True, False])
def test_the_principal_direction_is_the_eigenvector_of_what_is_stacked(normalised: bool) -> None:
    tail = linear(5, 8)
    v, y = values(tail, 60)
    how = PrincipalUniversal(Ball(1.0, "L2"), examples=60, normalised=normalised)
    p = how.fit(tail, [(v, y)]).delta.detach()[0].numpy()
    rows = stacked(tail, v, y, normalised)
    top = np.linalg.eigh(rows.T @ rows).eigenvectors[:, -1]
    assert abs(float(p @ top)) == pytest.approx(1.0, abs=1e-6)


def test_what_damages_a_linear_receiver_most_is_its_top_eigenvector() -> None:
    root = linear(7, 7).weight.detach()
    matrix = root + root.T
    lengths, vectors = torch.linalg.eigh(matrix)
    top = vectors[:, lengths.abs().argmax()]
    with random.streams(random.seeds(2, 30)):
        v = random.normal((30, 7)).double()
    how = Universal(Ball(0.5, "L2"), DAMAGE, steps=300, lr=0.05)
    p = how.fit(lambda v: v @ matrix, [(v, v @ matrix)]).delta.detach()[0]
    assert abs(float(p @ top)) == pytest.approx(0.5, rel=1e-3)


@cache
def weak_link() -> Link:
    """One bit is sent once and the other three times."""
    return BlockCode(((1, 0, 0, 0), (0, 1, 1, 1)))


@pytest.mark.parametrize("how", [*KINDS, direct])
def test_on_a_channel_the_weak_bit_is_found(how: Callable[[Ball], Search]) -> None:
    link, ball = weak_link(), Ball(0.8, "L2")
    heard = link.heard(6.0)
    shift = how(ball).fit(link.receiver, Stream(Messages(2), 200), head=heard, seed=4)
    p = shift.delta.detach()
    assert abs(float(p[0, 0])) > 0.95 * ball.eps
    y = torch.arange(4).repeat(2000)
    with random.streams(random.seeds(5, len(y))):
        g = random.normal((len(y), 4))
    assert errors(link.receiver, heard, y, p) > 1.5 * errors(
        link.receiver, heard, y, ball.eps * g / g.norm(dim=1, keepdim=True)
    )


# Sites of images


def attacked(
    how: Search | Universal, tail: Tail, x: Tensor, y: Tensor
) -> tuple[float, float, Perturbation]:
    """Errors under the perturbation, and under its own pixels in another order."""
    shift = how.fit(tail, [(x, y)])
    with torch.no_grad():
        mixed = shift.delta.flatten()[
            torch.randperm(64, generator=torch.Generator().manual_seed(0))
        ]
        other = Perturbation(mixed.view_as(shift.delta), domain=Images())
        wrong = [float((tail(p(x)).argmax(1) != y).float().mean()) for p in (shift, other)]
        assert Images().project(shift(x)).equal(shift(x))
    return wrong[0], wrong[1], shift


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("site", ["classifier", "encoder and head"])
def test_images_are_misled_at_once(how: type[Search], site: str) -> None:
    victim = (classifier if site == "classifier" else autoencoder)(Images())
    model, head = victim.model, victim.networks.get("classifier")

    def tail(x: Tensor) -> Tensor:
        return model(x) if head is None else head(model.encode(x).mean)  # type: ignore[operator]

    settings = {"draws": 60, "restarts": 3} if how is IterativeUniversal else {"examples": 64}
    ball = Ball(1.5 if site == "classifier" else 1.0, "L2")
    right = tail(victim.x).argmax(1)
    wrong, mixed, shift = attacked(how(ball, domain=Images(), **settings), tail, victim.x, right)
    assert wrong > mixed + 0.1
    assert float(norm(shift.delta.detach(), "L2")) == pytest.approx(ball.eps, rel=1e-6)


# What every search keeps, and broken ones that do not


def fills_its_ball(how: Search) -> None:
    tail = linear(4, 6).float()
    v, y = values(linear(4, 6), 30)
    for kind in ("L2", "Linf", "L1"):
        ball = Ball(0.37, kind)  # type: ignore[arg-type]
        p = replace(how, ball=ball).fit(tail, [(v.float(), y)]).delta.detach()
        assert float(norm(p, kind)) == pytest.approx(0.37, rel=1e-6)  # type: ignore[arg-type]


def repeats_itself(how: Search) -> None:
    link, state = weak_link(), torch.get_rng_state()
    made = [
        how.fit(link.receiver, Stream(Messages(2), 50), head=link.heard(4.0), seed=seed).delta
        for seed in (1, 1, 2)
    ]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in link.parameters())


def looks_further(how: Search) -> None:
    """Of one batch, more draws are other values with other noise."""
    assert isinstance(how, IterativeUniversal)
    tail, alone = linear(6, 8), replace(how, restarts=1)
    one, ten = (replace(alone, draws=n).fit(tail, [values(tail, 50)]).delta for n in (1, 10))
    assert not torch.allclose(one, ten)


def takes_the_worse_sign(how: Search) -> None:
    """One of the messages lies nearer to the boundary."""
    tail = linear(2, 6)
    w = (tail.weight[1] - tail.weight[0]).detach()
    y = torch.arange(20) % 2
    v = torch.where(y[:, None] == 0, -0.2, 1.0) * w / w.square().sum()
    shift = how.fit(tail, [(v, y)])
    assert float(tail(shift(v)).argmax(1).ne(y).double().mean()) == 0.5


@dataclass(frozen=True)
class HalfPower(IterativeUniversal):
    def fit(self, *args: object, **settings: object) -> Perturbation:
        return Perturbation(super().fit(*args, **settings).delta * math.sqrt(0.5))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Reset(IterativeUniversal):
    """The seed is reset inside the loop, as in the authors' program."""

    def draw(self, batch: Sequence[Tensor], head: Tail | None, seeds: Tensor, number: int) -> Draw:
        return super().draw(batch, head, seeds, 0)


@dataclass(frozen=True)
class OtherSign(PrincipalUniversal):
    def fit(self, *args: object, **settings: object) -> Perturbation:
        return Perturbation(-super().fit(*args, **settings).delta)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Unseeded(PrincipalUniversal):
    def fit(self, *args: object, **settings: object) -> Perturbation:
        return super().fit(*args, **{**settings, "seed": 0})  # type: ignore[arg-type]


BALL = Ball(0.4, "L2")
BOTH = (IterativeUniversal(BALL), PrincipalUniversal(BALL, examples=30))
CHECKS = [(how, check) for how in BOTH for check in (fills_its_ball, repeats_itself)]
CHECKS += [(BOTH[0], looks_further), (BOTH[1], takes_the_worse_sign)]


@pytest.mark.parametrize(("how", "check"), CHECKS, ids=lambda part: getattr(part, "__name__", ""))
def test_the_package_keeps(how: Search, check: Callable[[Search], None]) -> None:
    check(how)


@pytest.mark.parametrize(
    ("how", "check"),
    [
        (HalfPower(BALL), fills_its_ball),
        (Reset(BALL), looks_further),
        (OtherSign(BALL), takes_the_worse_sign),
        (Unseeded(BALL, examples=30), repeats_itself),
    ],
    ids=lambda part: getattr(part, "__name__", type(part).__name__),
)
def test_a_broken_variant_is_caught(how: Search, check: Callable[[Search], None]) -> None:
    with pytest.raises(AssertionError):
        check(how)


# Restarts of the direct optimiser


def two_hills(v: Tensor) -> Tensor:
    """Read surely but near two points of the circle; the hill at -1 is the lower one."""
    gap = (
        4 - 3 * torch.exp(-8 * (v[:, 0] + 1).square()) - 6 * torch.exp(-8 * (v[:, 0] - 1).square())
    )
    return torch.stack([gap, torch.zeros_like(gap)], 1)


def test_the_best_of_several_starts_is_returned() -> None:
    batch = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    one = Universal(Ball(1.0, "L2"), MISREAD, steps=60, lr=0.05)

    def height(how: Universal, seed: int) -> float:
        return float(how.fit(two_hills, [batch], seed=seed).delta.detach()[0, 0])

    assert min(height(one, seed) for seed in range(6)) < 0
    assert all(height(replace(one, restarts=8), seed) > 0.95 for seed in range(6))


def unsure_or_wrong(v: Tensor) -> Tensor:
    """To the right all are nearly even and none is wrong; to the left half are wrong, and half are sure."""
    x, kind = v[:, 0], (v[:, 1] > 5).double()
    gap = 2 - 1.9 * x.clamp_min(0) - 2.5 * kind * (-x).clamp_min(0)
    return torch.stack([gap, torch.zeros_like(gap)], 1)


def test_a_sharp_goal_seeks_errors_and_not_doubt() -> None:
    batch = torch.tensor([[0.0, 0.0], [0.0, 10.0]]).double(), torch.zeros(2, dtype=torch.int64)
    for sharpness, wrong in ((1.0, 0.0), (20.0, 0.5)):
        how = direct(Ball(1.0, "L2"), goal=misread(sharpness), restarts=8, steps=60)
        found = unsure_or_wrong(how.fit(unsure_or_wrong, [batch])(batch[0])).argmax(1)
        assert float(found.double().mean()) == wrong


def test_the_direct_optimiser_outdoes_both_searches() -> None:
    """Sixteen messages at random places: a ring of unequal neighbours."""
    book = linear(16, 6).weight.detach().float() * 3
    heard: Tail = lambda s: book[s] + 0.4 * random.normal((len(s), 6))  # noqa: E731

    def receive(y: Tensor) -> Tensor:
        return -(y[:, None] - book).square().sum(2) / (2 * 0.4**2)

    ball, y = Ball(0.7, "L2"), torch.arange(16).repeat(2000)
    found = [
        errors(receive, heard, y, how.fit(receive, Stream(Messages(4), 200), head=heard).delta)
        for how in (direct(ball, restarts=6, steps=100), *(kind(ball) for kind in KINDS))
    ]
    assert found[0] > max(found[1:])


def test_halving_finds_the_least_of_noisy_losses() -> None:
    def draws() -> object:
        for number in range(10**6):
            yield drawn((torch.zeros(8, 1), torch.zeros(8)), None, random.seeds(0, 8), number)

    def loss(place: float, draw: Draw) -> Tensor:
        with draw.noise():
            return (place + random.normal((8,))).mean()

    assert best(loss, [0.5, 0.3, 0.2, 0.0, 0.9, 0.7, 0.4], draws()) == 0.0  # type: ignore[arg-type]
    assert best(loss, [3.0], iter(())) == 3.0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: IterativeUniversal(Ball(0.0, "L2")), "finite radius above zero"),
        (lambda: PrincipalUniversal(Ball(math.inf, "L2")), "finite radius above zero"),
        (lambda: PrincipalUniversal(0.1), "fills a Ball"),  # type: ignore[arg-type]
        (lambda: IterativeUniversal(BALL, draws=0), "draws and restarts"),
        (lambda: IterativeUniversal(BALL, halvings=0), "halvings"),
        (lambda: PrincipalUniversal(BALL, examples=0), "examples"),
        (lambda: Universal(BALL, MISREAD, restarts=0), "restarts"),
        (lambda: misread(0.0), "sharpness must be above zero"),
        (lambda: misread(math.nan), "sharpness must be above zero"),
        (lambda: BOTH[0].fit(nn.Linear(2, 2), []), "train mode"),
        (lambda: BOTH[0].fit(nn.Linear(2, 2).eval(), []), "no batches"),
        (lambda: BOTH[1].fit(nn.Linear(2, 2).eval(), []), "no batches"),
        (
            lambda: BOTH[1].fit(
                linear(2, 4), [(values(linear(2, 4), 9)[0], 1 - values(linear(2, 4), 9)[1])]
            ),
            "no step was found",
        ),
        (
            lambda: BOTH[0].fit(linear(1, 4), [values(linear(1, 4), 9)]),
            "a single class",
        ),
        (
            lambda: BOTH[0].fit(lambda v: v.detach(), [(torch.eye(2), torch.arange(2))]),
            "no gradient path",
        ),
    ],
)
def test_slips_are_told(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()
