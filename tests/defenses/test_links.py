"""Defences of radio links where their effect is known, and broken variants that miss it."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.attacks.gradient import FGSM
from trompe.attacks.universal import Perturbation
from trompe.core import random
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.core.protocols import Step
from trompe.data import Messages, Stream
from trompe.defenses import Averaged, Bank, Key, Keyed, LinkStep, phases, rotations
from trompe.evaluation.block_error import Condition, block_errors
from trompe.models import HAMMING_7_4, BlockCode, CommsAutoencoder, CommsConfig, Link
from trompe.models.link_adapter import adapt_link
from trompe.training import ClassifierStep, constant, train

P = torch.linspace(-0.5, 0.8, 14)


def radio(**settings: Any) -> CommsAutoencoder:
    return CommsAutoencoder(CommsConfig(**settings))


def trained(step: Step, steps: int = 12, **options: Any) -> None:
    train(step, Stream(Messages(4), 64), steps=steps, log=False, progress=False, **options)


# --------------------------------------------------------------------------- training


@pytest.mark.parametrize(
    "attack",
    [
        Bank(Ball(0.0, "L2"), (14,), size=3),
        FGSM(Ball(0.0, "L2"), domain=Vectors(), early_stop=False),
    ],
)
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_at_radius_zero_it_is_plain_training_bit_for_bit(architecture: str, attack: Any) -> None:
    plain, robust = radio(architecture=architecture), radio(architecture=architecture)
    before = robust.codebook().detach()
    trained(ClassifierStep(plain, 1e-2, schedule=constant))
    trained(LinkStep(robust, attack, 1e-2, schedule=constant))
    pairs = zip(plain.parameters(), robust.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(robust.codebook(), before)


def test_the_loss_reaches_the_transmitter_and_not_the_perturbation() -> None:
    """With an attack that adds a known function of what is heard, the gradient is that of a fixed shift."""
    link = radio(snr=80.0)
    s = torch.arange(16)

    def attack(
        model: nn.Module, x: Tensor, y: Tensor | None = None, *, seeds: Tensor | None = None
    ) -> Tensor:
        return x + x.square() / 4

    step = LinkStep(link, attack, 1.0, optimizer=_descent)
    x = link.transmit(s)
    loss = F.cross_entropy(link.receiver(x + x.detach().square() / 4), s)
    expected = torch.autograd.grad(loss, list(link.parameters()))
    before = [weight.detach().clone() for weight in link.parameters()]
    with random.streams(random.seeds(0, 16)):
        found = step(s, s)
    assert float(found["loss"]) == pytest.approx(float(loss.detach()), rel=1e-3)
    for weight, old, slope in zip(link.parameters(), before, expected, strict=True):
        assert torch.allclose(old - weight, slope, atol=1e-3)


def _descent(parameters: Any, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr)


def test_a_bank_finds_the_worst_direction_of_a_linear_receiver() -> None:
    """Where the scores are `w x` and `-w x`, the first message is lost along `-w`, by the whole radius."""
    w = torch.tensor([3.0, -4.0])
    reader = nn.Linear(2, 2, bias=False).eval()
    with torch.no_grad():
        reader.weight.copy_(torch.stack([w, -w]))
    bank = Bank(Ball(0.5, "L2"), (2,), size=4, rate=0.5, renewed=0)
    for _ in range(60):
        found = bank(reader, torch.zeros(8, 2), torch.zeros(8, dtype=torch.int64))
    assert torch.allclose(found, (-0.5 * w / 5).expand(8, 2), atol=1e-5)
    assert float(bank.members.norm(dim=1).max()) <= 0.5 + 1e-6


def test_each_member_of_a_bank_is_renewed_in_its_turn() -> None:
    def changed(renewed: int) -> set[int]:
        bank = Bank(Ball(1.0, "L2"), (14,), size=3, rate=1e-9, renewed=renewed)
        first, link = bank.members.clone(), radio().eval()
        s = torch.arange(6)
        for _ in range(5):
            bank(link.receiver, torch.zeros(6, 14), s)
        far = (bank.members - first).norm(dim=1) > 0.1
        return set(far.nonzero().flatten().tolist())

    assert changed(0) == set()
    assert changed(2) == {1, 2}
    assert changed(1) == {0, 1, 2}


def test_a_training_that_takes_up_a_state_goes_on_with_the_same_bits() -> None:
    def made(seed: int) -> LinkStep:
        link = CommsAutoencoder(CommsConfig(), seed=seed)
        return LinkStep(link, Bank(Ball(1.0, "L2"), (14,), size=5, renewed=3, seed=seed), 1e-2)

    def run(step: LinkStep, numbers: range) -> None:
        for number in numbers:
            with random.streams(random.seeds(0, 16), number):
                step(torch.arange(16))

    one = made(0)
    run(one, range(5))
    state = copy.deepcopy(one.state_dict())
    run(one, range(5, 10))
    other = made(0)
    other.load_state_dict(state)
    run(other, range(5, 10))
    assert torch.equal(one.link.codebook(), other.link.codebook())
    assert set(state) >= {"model", "attack", "optimizer"}
    for name, module in one.modules().items():
        for key, values in module.state_dict().items():
            assert torch.equal(values, other.modules()[name].state_dict()[key]), (name, key)


# --------------------------------------------------------------------------- averaging


def test_averaging_over_the_identity_alone_is_the_receiver() -> None:
    link, y = radio().eval(), torch.randn(5, 14, generator=torch.Generator().manual_seed(0))
    alone = adapt_link(Averaged(link, torch.eye(14)[None]))
    assert torch.allclose(alone.receive(y), link.receive(y).log_softmax(1), atol=1e-6)
    assert torch.equal(alone.codebook(), link.codebook())


def test_averaged_probabilities_are_the_mean_over_the_rotations() -> None:
    link, y = radio().eval(), torch.ones(1, 14)
    turns = rotations(3, 14, angle=0.5)
    shares = torch.stack([link.receive(y @ q.mT).softmax(1) for q in turns]).mean(0)
    assert torch.allclose(Averaged(link, turns).receive(y).exp(), shares, atol=1e-6)


def test_gradients_pass_through_the_average() -> None:
    link = Averaged(radio().eval(), phases(torch.tensor([-0.3, 0.3]), 7))
    y = torch.ones(1, 14, requires_grad=True)
    (slope,) = torch.autograd.grad(link.receive(y)[0, 0], y)
    assert float(slope.norm()) > 0


def test_a_common_phase_multiplies_every_use() -> None:
    y = torch.randn(14, generator=torch.Generator().manual_seed(0))
    turned = phases(torch.tensor([0.7]), 7)[0] @ y
    expected = torch.complex(y[:7], y[7:]) * torch.exp(torch.tensor(0.7j))
    assert torch.allclose(torch.complex(turned[:7], turned[7:]), expected, atol=1e-6)


def test_rotations_near_the_identity_turn_by_about_their_angle() -> None:
    q = rotations(400, 14, angle=0.2).double()
    assert torch.allclose(q @ q.mT, torch.eye(14, dtype=torch.float64).expand_as(q), atol=1e-5)
    turned = torch.acos((q[:, 0, 0]).clamp(-1, 1))
    assert float(turned.square().mean().sqrt()) == pytest.approx(0.2, rel=0.1)


def test_uniform_rotations_send_a_vector_everywhere_alike() -> None:
    """The first column is uniform on the sphere: mean 0, covariance I / d."""
    column = rotations(20_000, 4)[:, :, 0]
    assert float(column.mean(0).abs().max()) < 0.02
    assert torch.allclose(column.T @ column / len(column), torch.eye(4) / 4, atol=0.02)


# --------------------------------------------------------------------------- keys


def test_the_receiver_undoes_what_the_transmitter_turned() -> None:
    link = radio().eval()
    keyed, s = Keyed(link, Key(3, frame=5)), torch.arange(16)
    sent = keyed.transmit(s)
    assert not torch.allclose(sent, link.transmit(s), atol=0.1)
    assert torch.allclose(sent.norm(dim=1), link.transmit(s).norm(dim=1), atol=1e-5)
    assert torch.allclose(keyed.receive(sent), link.receive(link.transmit(s)), atol=1e-4)


def test_a_perturbation_arrives_as_the_key_says_with_its_length_unchanged() -> None:
    link, key, s = radio().eval(), Key(1, frame=16), torch.arange(16)
    keyed, arrived = Keyed(link, key), key.variants(P)
    assert torch.allclose(arrived.norm(dim=1), P.norm().expand(16), atol=1e-5)
    whole = keyed.receive(keyed.transmit(s) + P)
    assert torch.allclose(whole, link.receive(link.transmit(s) + arrived), atol=1e-4)


class Forgetful(Keyed):
    """A mutant: its receiver does not turn back."""

    def receive(self, y: Tensor) -> Tensor:
        return self.link.receive(y)  # type: ignore[no-any-return]


def test_a_receiver_that_forgets_to_turn_back_hears_nothing() -> None:
    code, s = BlockCode(HAMMING_7_4, snr=20.0).eval(), torch.arange(16).repeat(50)

    def errors(kind: type[Keyed]) -> float:
        with random.streams(random.seeds(0, len(s))):
            return float((kind(code, Key())(s).argmax(1) != s).float().mean())

    assert errors(Keyed) == 0.0
    assert errors(Forgetful) > 0.8


def test_the_chain_with_its_key_errs_as_often_as_the_key_as_an_arrival_says() -> None:
    code: Link = BlockCode(HAMMING_7_4, snr=4.0).eval()
    key, p = Key(2, frame=500), Perturbation(torch.ones(1, 7) * 0.6)
    keyed, s = Keyed(code, key), torch.arange(16).repeat(2500)
    with random.streams(random.seeds(0, len(s))), torch.no_grad():
        heard = code.channel(p(keyed.transmit(s)))
        whole = float((keyed.receive(heard).argmax(1) != s).float().mean())
    met = Perturbation(p.delta.detach(), arrival=key)  # type: ignore[arg-type]
    counted = block_errors(code, {0: Condition(4.0, met)}, blocks=40_000, errors=40_000)[0]
    assert whole == pytest.approx(counted.rate, abs=0.008)


# --------------------------------------------------------------------------- slips


def test_slips_are_named() -> None:
    link = radio().eval()
    with pytest.raises(UserError, match="at least 1 member"):
        Bank(Ball(1.0, "L2"), (2,), size=0)
    with pytest.raises(UserError, match=r"shape \(R, 14, 14\), got \(1, 3, 3\)"):
        Averaged(link, torch.eye(3)[None])
    with pytest.raises(UserError, match="counts of at least 1"):
        rotations(0, 3)
    with pytest.raises(UserError, match="at least 1 block"):
        Key(frame=0)
    with pytest.raises(UserError, match="after fading"):
        Keyed(radio(fading="rayleigh"), Key())
