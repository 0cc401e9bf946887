"""One perturbation for all values at a site: closed forms, three sites, broken variants that must fail."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from trompe.attacks.poisoning import PoisoningStep
from trompe.attacks.universal import (
    DAMAGE,
    FLIP,
    MISLEAD,
    NormPenalty,
    Perturbation,
    ShiftStep,
    Universal,
)
from trompe.core import random
from trompe.core.domains import Images
from trompe.core.errors import UserError
from trompe.core.geometry import Ball, norm
from trompe.models import VAE
from trompe.training import AutoencoderStep, Batches, train

LATENT, MARGIN = 6, 1.5


def linear_tail() -> tuple[nn.Sequential, Tensor]:
    """A linear decoder and a linear classifier in float64, and the direction `a` between the classes.

    The difference of logits is `a . z`, so every loss of a shift depends on it through `a . dz` alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        tail = nn.Sequential(nn.Linear(LATENT, 20, bias=False), nn.Linear(20, 2, bias=False))
    tail = tail.double().eval()
    weight = tail[1].weight @ tail[0].weight  # type: ignore[operator]
    return tail, (weight[1] - weight[0]).detach()


def codes(a: Tensor) -> tuple[Tensor, Tensor]:
    """Sixteen codes at the same distance from the boundary, eight of each class."""
    with random.streams(random.seeds(0, 16)):
        z = random.normal((16, LATENT), a)
    y = torch.arange(16) % 2
    wanted = MARGIN * (2 * y - 1).to(a)
    return z + ((wanted - z @ a) / a.square().sum())[:, None] * a, y


def learned(how: Universal) -> tuple[Tensor, Tensor]:
    """The shift learned on the linear tail, and the direction `a`."""
    tail, a = linear_tail()
    return how.fit(tail, [codes(a)]).delta.detach()[0], a


@pytest.mark.parametrize("kind", ["L2", "L1", "Linf"])
def test_in_a_ball_the_shift_is_the_steepest_direction(kind: str) -> None:
    ball = Ball(0.7, kind)  # type: ignore[arg-type]
    delta, a = learned(Universal(ball, steps=200, lr=0.05))
    best = ball.eps * ball.steepest(a[None])[0]
    assert float(delta @ a) == pytest.approx(float(best @ a), rel=1e-3)
    assert torch.allclose(delta, best, atol=0.03)


def test_under_an_l2_price_the_length_solves_the_stationary_equation() -> None:
    """`sigma(m - s |a|) |a| = rho` with the codes at margin m and the shift `s a / |a|`."""
    rho = 0.05
    delta, a = learned(Universal(NormPenalty(rho, "L2"), steps=600, lr=0.1))
    size = float(a.norm())
    length = (MARGIN - math.log(rho / size / (1 - rho / size))) / size
    assert torch.allclose(delta, length * a / size, atol=0.02 * length)


def test_under_an_l1_price_one_coordinate_does_everything() -> None:
    rho = 0.05
    delta, a = learned(Universal(NormPenalty(rho, "L1"), steps=1200, lr=0.1))
    place = int(a.abs().argmax())
    size = float(a[place].abs())
    length = (MARGIN - math.log(rho / size / (1 - rho / size))) / size
    assert float(delta[place]) == pytest.approx(length * float(a[place].sign()), rel=0.02)
    others = torch.cat([delta[:place], delta[place + 1 :]])
    assert float(others.abs().max()) < 0.02 * length


def test_a_shift_of_its_own_for_each_direction_is_opposite_where_the_classes_mirror() -> None:
    tail, a = linear_tail()
    how = Universal(Ball(0.7, "L2"), per_direction=True, steps=400, lr=0.05)
    there, back = how.fit(tail, [codes(a)]).delta.detach()
    assert torch.allclose(there, -back, atol=0.05)


def test_multiplied_one_mask_turns_both_classes() -> None:
    """Only codes whose sign carries the class can be turned by a mask, the same in both directions."""
    tail = nn.Linear(3, 2, bias=False).eval()
    tail.weight.data = torch.tensor([[-1.0, 0, 0], [1.0, 0, 0]])
    y = torch.tensor([0, 1])
    z = torch.tensor([[-2.0, 1, 1], [2.0, 1, 1]])
    shift = Universal(NormPenalty(0.01), mode="multiply", start=0.1, steps=500, lr=0.05).fit(
        tail, [(z, y)]
    )
    assert tail(shift(z, FLIP.directions(y))).argmax(1).tolist() == [1, 0]
    assert torch.equal(shift(z, 1), shift(z, -1))
    assert float(shift.delta.detach()[0, 0]) < -1


# Sites: an encoder's images, a channel


def test_a_perturbation_of_a_linear_encoders_images_is_its_top_singular_vector() -> None:
    with random.streams(random.seeds(1, 20)):
        x = random.uniform((20, 1, 4, 4)).double()
        matrix = random.normal((20, 16))[:5].double()

    def encoder(v: Tensor) -> Tensor:
        return v.flatten(1) @ matrix.T

    how = Universal(Ball(0.5, "L2"), DAMAGE, steps=300, lr=0.05)
    shift = how.fit(encoder, [(x, encoder(x))])
    moved = (encoder(shift(x)) - encoder(x)).norm(dim=1)
    best = 0.5 * float(torch.linalg.matrix_norm(matrix, 2))
    assert torch.allclose(moved, torch.full_like(moved, best), rtol=1e-3)


def test_images_stay_images_and_noise_of_the_norm_does_less() -> None:
    model = VAE((1, 8, 8), 4, hidden=(16,)).eval()
    with random.streams(random.seeds(2, 32)):
        x = random.uniform((32, 1, 8, 8))
    clean = model.encode(x).mean.detach()
    ball = Ball(0.1, "Linf")
    how = Universal(ball, DAMAGE, steps=150, lr=0.02, domain=Images())
    shift = how.fit(lambda v: model.encode(v).mean, [(x, clean)])
    inputs = shift(x).detach()
    assert float(inputs.min()) >= 0
    assert float(inputs.max()) <= 1
    assert float(norm(shift.delta.detach(), "Linf")) <= 0.1 + 1e-6

    def damage(v: Tensor) -> float:
        return float((model.encode(v).mean - clean).detach().norm(dim=1).mean())

    noise = 0.1 * torch.sign(shift.delta.detach().roll(3, -1))
    assert damage(inputs) > 1.5 * damage((x + noise).clamp(0, 1))


def test_a_channel_vector_causes_more_errors_than_a_random_one_of_its_power() -> None:
    """Eight messages on a ring through a noisy channel: the receiver takes the nearest."""
    angle = torch.arange(8) * (2 * math.pi / 8)
    book = torch.cat([angle.cos()[:, None], angle.sin()[:, None] * 0.5], 1).repeat(1, 2)
    sent = torch.arange(8).repeat(32)

    def receive(v: Tensor) -> Tensor:
        noisy = v + 0.05 * random.normal(tuple(v.shape), v)
        return -20 * (noisy[:, None] - book).square().sum(2)

    def errors(p: Tensor) -> float:
        with torch.no_grad(), random.streams(random.seeds(9, len(sent))):
            return float((receive(book[sent] + p).argmax(1) != sent).float().mean())

    ball = Ball(0.4, "L2")
    shift = Universal(ball, MISLEAD, steps=200, lr=0.05).fit(receive, [(book[sent], sent)])
    jam = ball.sample(torch.zeros(50, 4), random.seeds(5, 50))
    jam = jam / jam.norm(dim=1, keepdim=True) * 0.4
    average = sum(errors(p) for p in jam) / len(jam)
    assert errors(shift.delta.detach()) > average + 0.05


# What every variant must keep, and variants that do not


def grows(how: Universal) -> None:
    delta, _ = learned(replace(how, start=1e-3, steps=100))
    assert float(delta.norm()) > 0.5


def turns_both_ways(how: Universal) -> None:
    tail, a = linear_tail()
    z, y = codes(a)
    shift = how.fit(tail, [(z, y)])
    assert torch.equal(tail(shift(z, FLIP.directions(y))).argmax(1), 1 - y)


def stays_in_its_ball(how: Universal) -> None:
    delta, _ = learned(replace(how, budget=Ball(0.3, "L2"), steps=100))
    assert float(delta.norm()) <= 0.3 + 1e-9


def keeps_values_apart(how: Universal) -> None:
    """The loss of one example does not depend on its companions."""
    tail, a = linear_tail()
    z, y = codes(a)
    z = z * torch.linspace(0.1, 2, 16)[:, None]
    shift = how.perturbation((LATENT,))
    shift.delta.data = shift.delta.data.double()
    whole = how.losses(tail, shift, z, y)
    assert torch.allclose(whole[3:4], how.losses(tail, shift, z[3:4], y[3:4]))


@dataclass(frozen=True)
class OnTheCleanImage(Universal):
    """The loss is taken where nothing was shifted, as in the authors' joint script."""

    def losses(
        self, tail: Callable[[Tensor], Tensor], shift: Perturbation, v: Tensor, y: Tensor
    ) -> Tensor:
        return self.goal.loss(tail(v), y)


@dataclass(frozen=True)
class OneSign(Universal):
    def losses(
        self, tail: Callable[[Tensor], Tensor], shift: Perturbation, v: Tensor, y: Tensor
    ) -> Tensor:
        return self.goal.loss(tail(shift(v, 1)), y)


@dataclass(frozen=True)
class TowardsTheLabel(Universal):
    def losses(
        self, tail: Callable[[Tensor], Tensor], shift: Perturbation, v: Tensor, y: Tensor
    ) -> Tensor:
        return -super().losses(tail, shift, v, y)


@dataclass(frozen=True)
class Uncapped(Universal):
    def cap(self, shift: Perturbation) -> None:
        pass


@dataclass(frozen=True)
class Averaged(Universal):
    def losses(
        self, tail: Callable[[Tensor], Tensor], shift: Perturbation, v: Tensor, y: Tensor
    ) -> Tensor:
        return super().losses(tail, shift, v, y).mean().expand(len(v))


CHECKS = [grows, turns_both_ways, stays_in_its_ball, keeps_values_apart]
MUTANTS: list[tuple[type[Universal], Callable[[Universal], None]]] = [
    (OnTheCleanImage, grows),
    (OneSign, turns_both_ways),
    (TowardsTheLabel, turns_both_ways),
    (Uncapped, stays_in_its_ball),
    (Averaged, keeps_values_apart),
]
SETTINGS = {"budget": NormPenalty(0.05), "steps": 300, "lr": 0.1}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_package_keeps(check: Callable[[Universal], None]) -> None:
    check(Universal(**SETTINGS))  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "check"), MUTANTS, ids=lambda part: part.__name__)
def test_a_broken_variant_is_caught(
    kind: type[Universal], check: Callable[[Universal], None]
) -> None:
    with pytest.raises(AssertionError):
        check(kind(**SETTINGS))  # type: ignore[arg-type]


def test_the_tail_is_left_as_it_was() -> None:
    tail, a = linear_tail()
    before = [p.clone() for p in tail.parameters()]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    Universal(NormPenalty(0.1), steps=20).fit(tail, [codes(a)])
    assert all(p.grad is None for p in tail.parameters())
    assert all(torch.equal(p, q) for p, q in zip(tail.parameters(), before, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


# The loop of training


def noisy_head(x: Tensor) -> Tensor:
    return x + 0.1 * random.normal(tuple(x.shape), x)


def test_the_plain_loop_and_the_training_loop_agree_to_the_bit() -> None:
    tail, a = linear_tail()
    batches = Batches(*codes(a), size=4)
    how = Universal(NormPenalty(0.1, "L1"), steps=4)
    plain = how.fit(tail, batches, seed=5, head=noisy_head)
    step = ShiftStep(how, tail, (LATENT,), head=noisy_head, seed=5)
    step.shift.delta.data = step.shift.delta.data.double()
    train(step, batches, steps=4, seed=5, progress=False)
    assert torch.equal(plain.delta, step.shift.delta)


def test_a_step_continues_from_its_state() -> None:
    tail, a = linear_tail()
    how = Universal(NormPenalty(0.1))
    one, other = (ShiftStep(how, tail.float(), (LATENT,), seed=s) for s in (0, 1))
    z, y = codes(a.float())
    one(z, y)
    other.load_state_dict(one.state_dict())
    one(z, y), other(z, y)
    assert torch.equal(one.shift.delta, other.shift.delta)


def halves(contrast: float) -> tuple[Tensor, Tensor]:
    """Brighter above, or brighter below."""
    y = torch.arange(64) % 2
    with random.streams(random.seeds(4, 64)):
        x = 0.2 * random.uniform((64, 1, 4, 4))
    x[y == 0, :, :2] += contrast
    x[y == 1, :, 2:] += contrast
    return x, y


@pytest.fixture(scope="module")
def pictures() -> tuple[Tensor, Tensor]:
    """What an autoencoder learns at once."""
    return halves(0.7)


def poisoned(pictures: tuple[Tensor, Tensor], phi: float, steps: int = 40) -> PoisoningStep:
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
    weight = torch.cat([torch.ones(8), -torch.ones(8)])
    linear = classifier[1]
    assert isinstance(linear, nn.Linear)
    linear.weight.data, linear.bias.data = torch.stack([weight, -weight]), torch.zeros(2)
    how = Universal(NormPenalty(0.01), start=1e-3, lr=0.1)
    model = VAE((1, 4, 4), 3, hidden=(16,))
    step = PoisoningStep(model, classifier, how, 3, 1e-2, schedule=lambda _: 1.0, phi=phi)
    train(step, Batches(*pictures, size=16), steps=steps, progress=False)
    assert all(p.grad is None for p in classifier.parameters())
    return step


def test_poisoning_leaves_the_autoencoders_training_as_it_is(
    pictures: tuple[Tensor, Tensor],
) -> None:
    """The shift's loss reaches the shift only: the weights are those of plain training, bit for bit."""
    step = poisoned(pictures, phi=0.0)
    plain = AutoencoderStep(VAE((1, 4, 4), 3, hidden=(16,)), 1e-2, schedule=lambda _: 1.0)
    train(plain, Batches(*pictures, size=16), steps=40, progress=False)
    for mine, theirs in zip(step.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_poisoned_shift_grows_and_turns_the_decodings(pictures: tuple[Tensor, Tensor]) -> None:
    step = poisoned(pictures, phi=0.0, steps=80)
    x, y = pictures
    z = step.model.encode(x).mean
    shifted = step.model.decode(step.attack.shift(z, FLIP.directions(y)))
    assert float(step.attack.shift.delta.detach().norm()) > 0.5
    assert float((step.classifier(shifted).argmax(1) != y).float().mean()) > 0.9


def test_the_class_term_keeps_what_the_autoencoder_would_drop() -> None:
    faint = halves(0.1)

    def surely(phi: float) -> float:
        step, (x, y) = poisoned(faint, phi, 150), faint
        rebuilt = step.model.decode(step.model.encode(x).mean)
        return float(step.classifier(rebuilt).detach().softmax(1)[torch.arange(64), y].mean())

    assert surely(phi=100.0) > 0.9 > 0.7 > surely(phi=0.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Universal(0.1), "NormPenalty or a Ball"),  # type: ignore[arg-type]
        (lambda: Universal(NormPenalty(-1.0)), "rho must be zero or more"),
        (lambda: Universal(Ball(1.0), DAMAGE, per_direction=True), "goes one way"),
        (lambda: FLIP.directions(torch.tensor([0, 2])), "0 or 1"),
        (lambda: Perturbation(torch.zeros(3, 2)), "1 or 2"),
        (lambda: Perturbation(torch.zeros(1, 2))(torch.zeros(4, 3)), "for values of shape"),
        (lambda: Universal(NormPenalty(0.1)).fit(nn.Linear(2, 2), []), "train mode"),
        (lambda: Universal(NormPenalty(0.1)).fit(nn.Linear(2, 2).eval(), []), "no batches"),
        (
            lambda: Universal(NormPenalty(0.1), steps=3).fit(
                nn.Linear(2, 2).eval(), iter([(torch.zeros(2, 2), torch.tensor([0, 1]))] * 2)
            ),
            "ended after 2 and cannot be begun again",
        ),
        (
            lambda: Universal(Ball(1.0)).fit(
                lambda z: z.detach(), [(torch.zeros(2, 2), torch.tensor([0, 1]))]
            ),
            "no gradient path",
        ),
    ],
)
def test_slips_are_told(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()
