"""BPDA and EOT: what gets through a defence."""

import pytest
import torch
from torch import Tensor, nn

from tests.attacks.contract import Mirrored, classifier, misled
from trompe.attacks import APGD, BPDA, EOT, FGSM, PGD, Square, Still, StraightThrough
from trompe.attacks.adaptive import straight_through
from trompe.core import random
from trompe.core.domains import Images, Vectors
from trompe.core.errors import UserError
from trompe.core.execution import metered
from trompe.core.geometry import Ball, norm
from trompe.defenses import Reconstruct


class Purifier(nn.Module):
    """Rounds to levels: its derivative is zero wherever it has one."""

    def __init__(self, levels: int = 6, sign: float = 1.0) -> None:
        super().__init__()
        self.levels, self.sign = levels, sign

    def forward(self, x: Tensor) -> Tensor:
        turned = x if self.sign > 0 else 1 - x
        return (turned * self.levels).round() / self.levels


class Defended(nn.Module):
    """A purified classifier, as `Purified` asks."""

    def __init__(self, purifier: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.purifier, self.classifier = purifier, classifier

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.purifier(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.reconstruct(x))


class Turned(nn.Module):
    """What a purifier that mirrors resembles."""

    def forward(self, x: Tensor) -> Tensor:
        return 1 - x


def rate(model: nn.Module, found: Tensor, y: Tensor) -> float:
    return float((misled(model, found, found, y) > 0).double().mean())


def test_the_forward_pass_is_exact() -> None:
    x = torch.rand(5, 3, dtype=torch.float32, requires_grad=True)
    purifier = Purifier(7)
    through = StraightThrough(purifier, nn.Linear(3, 3))
    assert torch.equal(through(x), purifier(x))
    with torch.no_grad():
        assert torch.equal(through(x), purifier(x))


def test_the_backward_pass_is_the_surrogates() -> None:
    x = torch.rand(4, 3, requires_grad=True)
    weight = torch.rand(4, 3)
    (plain,) = torch.autograd.grad((StraightThrough(Purifier())(x) * weight).sum(), x)
    assert torch.equal(plain, weight)
    surrogate = nn.Linear(3, 3)
    through = StraightThrough(Purifier(), surrogate)
    (given,) = torch.autograd.grad((through(x) * weight).sum(), x)
    assert torch.allclose(given, weight @ surrogate.weight)


def test_bpda_breaks_a_purifier_without_gradients() -> None:
    victim = classifier(Images())
    model = Defended(Purifier(), victim.model)
    model.training = False
    attack = PGD(Ball(0.15), steps=20)
    with pytest.warns(UserWarning, match="exactly zero"):
        blind = attack(model, victim.x, victim.y)
    found = BPDA(attack)(model, victim.x, victim.y)
    assert rate(model, found, victim.y) > rate(model, blind, victim.y) + 0.3
    assert float(norm(found - victim.x, "Linf").max()) <= 0.15 + 1e-9


def test_a_surrogate_serves_where_the_identity_misleads() -> None:
    victim = classifier(Images())
    model = Defended(Purifier(sign=-1), victim.model)
    model.training = False
    x = 1 - victim.x
    attack = BPDA(PGD(Ball(0.15), steps=20))
    wrong = attack(model, x, victim.y)
    right = attack.using(surrogate=Turned())(model, x, victim.y)
    assert rate(model, right, victim.y) > rate(model, wrong, victim.y) + 0.3


def test_any_submodule_can_be_straightened() -> None:
    victim = classifier(Vectors())
    body = nn.Sequential(Purifier(3), victim.model)
    model = nn.Sequential(nn.Identity(), body)
    model.training = body.training = False
    named = BPDA(PGD(Ball(0.5), steps=10, domain=Vectors()), site="1.0")
    known = BPDA(PGD(Ball(0.5), steps=10, domain=Vectors()))
    defended = Defended(Purifier(3), victim.model)
    defended.training = False
    first = named(model, victim.x, victim.y)
    assert torch.equal(first, known(defended, victim.x, victim.y))
    assert isinstance(body[0], Purifier), "the model itself was changed"
    straight = straight_through(model, site="1.0")
    assert isinstance(straight[1][0], StraightThrough)  # type: ignore[index]
    assert straight[1][1] is victim.model  # type: ignore[index]


def test_bpda_on_a_defence_of_the_package() -> None:
    class Flat(nn.Module):
        def encode(self, x: Tensor) -> torch.distributions.Distribution:
            return torch.distributions.Normal((x * 8).round() / 8, torch.ones_like(x))

        def decode(self, z: Tensor) -> Tensor:
            return z

        def forward(self, x: Tensor) -> Tensor:
            return self.encode(x).mean

    victim = classifier(Images())
    model = Reconstruct(Flat(), victim.model)
    model.training = False
    found = BPDA(PGD(Ball(0.15), steps=10))(model, victim.x, victim.y)
    assert rate(model, found, victim.y) > 0.5


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (BPDA(FGSM(Ball(0.1))), "no reconstruct and classifier"),
        (BPDA(FGSM(Ball(0.1)), site="nowhere"), "no submodule 'nowhere'"),
        (BPDA(FGSM(Ball(0.1)), site="0").using(surrogate=nn.Flatten(0)), "shapes"),
    ],
)
def test_what_cannot_be_straightened(attack: BPDA, message: str) -> None:
    victim = classifier(Images())
    with pytest.raises(UserError, match=message):
        attack(victim.model, victim.x[:2], victim.y[:2])


class Shaken(nn.Module):
    """A classifier behind additive noise."""

    def __init__(self, model: nn.Module, scale: float) -> None:
        super().__init__()
        self.model, self.scale = model, scale
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x + self.scale * random.normal(tuple(x.shape), x))


def survival(model: nn.Module, found: Tensor, y: Tensor, draws: int = 40) -> float:
    """Expected accuracy on draws that no attack has seen."""
    right = 0.0
    for draw in range(draws):
        with random.streams(random.seeds(99, len(y)), 2**50 + draw), torch.no_grad():
            right += float((model(found).argmax(1) == y).double().mean())
    return right / draws


def test_expectation_beats_single_draws_on_a_random_model() -> None:
    victim = classifier(Images())
    model = Shaken(victim.model, 0.25)
    attack = PGD(Ball(0.1), steps=15)
    single = survival(model, attack(model, victim.x, victim.y), victim.y)
    expected = survival(model, EOT(attack, draws=12)(model, victim.x, victim.y), victim.y)
    assert expected < single - 0.02


@pytest.mark.parametrize("attack", [PGD(Ball(0.1), steps=5), Square(Ball(0.1), steps=10)])
def test_without_randomness_expectation_is_the_plain_attack(attack: PGD | Square) -> None:
    victim = classifier(Images())
    x, y = victim.x[:8], victim.y[:8]
    assert torch.equal(attack(victim.model, x, y), EOT(attack)(victim.model, x, y))


def test_draws_are_one_batch_and_are_counted() -> None:
    victim = classifier(Images())
    rows: list[int] = []
    model = Shaken(victim.model, 0.1)
    victim_hook = victim.model.register_forward_pre_hook(
        lambda m, given: rows.append(len(given[0]))
    )
    try:
        with metered() as cost:
            EOT(FGSM(Ball(0.1), early_stop=False), draws=7)(model, victim.x[:3], victim.y[:3])
    finally:
        victim_hook.remove()
    assert 3 * 7 in rows
    assert cost.forwards == sum(rows)
    assert cost.backwards == 3 * 7


def test_a_generator_of_the_models_own_counts_as_random() -> None:
    generator = torch.Generator().manual_seed(0)
    rows: list[int] = []

    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            rows.append(len(x))
            return x.flatten(1)[:, :2] + torch.rand(len(x), 2, generator=generator)

    EOT(FGSM(Ball(0.1)), draws=5)(Own().eval(), torch.rand(2, 1, 2, 2), torch.tensor([0, 1]))
    assert 2 * 5 in rows


def test_wrappers_are_attacks_like_any_other() -> None:
    attack = EOT(BPDA(APGD(Ball(0.1), steps=3)), draws=4)
    assert attack == EOT(BPDA(APGD(Ball(0.1), steps=3)), draws=4)
    assert hash(attack) == hash(EOT(BPDA(APGD(Ball(0.1), steps=3)), draws=4))
    assert attack.at(0.2).ball == Ball(0.2)
    assert not attack.targeted
    assert attack.independent
    shown = attack.describe()
    assert shown["attack"] == "EOT(BPDA(APGD))"
    assert shown["draws"] == 4
    assert shown["steps"] == 3
    on_vectors = EOT(PGD(Ball(0.1), domain=Vectors()))
    assert on_vectors.domain == Vectors()
    with pytest.raises(UserError, match="at least 1"):
        EOT(PGD(Ball(0.1)), draws=0)


def test_both_together_leave_the_model_alone() -> None:
    victim = classifier(Images())
    model = Defended(Purifier(), Shaken(victim.model, 0.1))
    model.training = False
    modes = {name: module.training for name, module in model.named_modules()}
    EOT(BPDA(PGD(Ball(0.1), steps=3)), draws=3)(model, victim.x[:4], victim.y[:4])
    assert modes == {name: module.training for name, module in model.named_modules()}
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_mirror_is_no_defence() -> None:
    victim = classifier(Images())
    model = Mirrored(victim.model, 1.0)
    x = model.reconstruct(victim.x)
    through = PGD(Ball(0.15), steps=10)(model, x, victim.y)
    around = BPDA(PGD(Ball(0.15), steps=10))(model, x, victim.y)
    assert rate(model, through, victim.y) > 0.5
    assert rate(model, around, victim.y) < 0.1, "the identity is no surrogate for a mirror"


class Blurred(nn.Module):
    """A classifier that draws noise onto its input, and can leave it out."""

    def __init__(self, model: nn.Module, width: float = 0.3) -> None:
        super().__init__()
        self.model, self.width = model, width
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x + self.width * random.normal(tuple(x.shape), x))

    def deterministic(self) -> nn.Module:
        return self.model


def attacks_the_mean(kind: type[Still]) -> None:
    """What is found is what is found on the model without its draws, bit for bit, and no draw is made."""
    victim = classifier(Images())
    x, y, seeds = victim.x[:8], victim.y[:8], random.seeds(0, 8)
    attack = PGD(Ball(0.12), steps=5)
    with random.streams(seeds) as used:
        found = kind(attack)(Blurred(victim.model), x, y, seeds=seeds)
    assert torch.equal(found, attack(victim.model, x, y, seeds=seeds))
    assert used.calls == 0


def test_still_attacks_the_mean() -> None:
    attacks_the_mean(Still)


class SamplingLeftOn(Still):
    """Attacks the model as it is deployed."""

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        return self.attack.run(model, x, y, seeds)


def test_sampling_left_on_in_the_mean_attack_is_caught() -> None:
    with pytest.raises(AssertionError):
        attacks_the_mean(SamplingLeftOn)


def test_a_model_without_a_still_form_is_refused() -> None:
    victim = classifier(Images())
    with pytest.raises(
        UserError, match=r"no deterministic\(\), so its draws cannot be switched off"
    ):
        Still(FGSM(Ball(0.1)))(victim.model, victim.x[:2], victim.y[:2])


def test_the_mean_is_no_worst_case() -> None:
    """What only just fools the mean fools few draws; who averages over them does more."""
    victim = classifier(Images())
    model, x, y = Blurred(victim.model), victim.x[:32], victim.y[:32]
    still = Still(PGD(Ball(0.12), steps=20))(model, x, y)
    averaged = EOT(PGD(Ball(0.12), steps=20), draws=10)(model, x, y)
    assert survival(model, averaged, y) < survival(model, still, y) - 0.05
