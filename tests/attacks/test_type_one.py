"""Image transition and the Type I attack: closed forms, algorithm 2 by hand, who leaves, what is refused."""

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.attacks.contract import Victim, supervised
from tests.attacks.supervised import Linear
from tests.attacks.test_contract import changed_and_kept
from trompe.attacks import ImageTransition, TypeI, transition
from trompe.core import random
from trompe.core.domains import Images, Vectors
from trompe.core.errors import UserError
from trompe.core.execution import execution, metered

PLAIN = {"domain": Vectors(), "patience": None, "temperature": 1.0, "looks": 0}
ROOT = math.sqrt(2)


def line(decoder: Tensor | None = None) -> Linear:
    """An SVAE on the plane: codes are its points, the label is the sign of the first coordinate."""
    weights = torch.eye(2, dtype=torch.float64) if decoder is None else decoder
    return Linear(weights, head=torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64))


def slanted(slope: float = 1.0) -> nn.Linear:
    """A victim whose answer is the sign of `x_1 + slope * x_2`."""
    victim = nn.Linear(2, 2, bias=False).double()
    rows = torch.tensor([[-1.0, -slope], [1.0, slope]], dtype=torch.float64)
    victim.weight.data.copy_(rows)
    return victim.eval()


def points(*rows: tuple[float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# Closed forms.


def test_a_transition_goes_along_the_label_head_and_nowhere_else() -> None:
    """CE is `softplus(-2 z_1)`; with the norm's price the optimum has `2 sigmoid(-2 z_1) = gamma`."""
    gamma = 0.1
    attack = ImageTransition(steps=2000, lr=0.01, alpha=0.0, gamma=gamma, **PLAIN)
    found = attack.using(svae=line())(nn.Identity().eval(), points((-0.7, 0.0)), torch.tensor([0]))
    wanted = 0.5 * math.log(2 / gamma - 1)
    assert found[0, 0] == pytest.approx(wanted, abs=1e-3)
    assert found[0, 1] == pytest.approx(0.0, abs=1e-6)


def test_the_optimum_of_both_classifiers_is_where_their_gradients_cancel() -> None:
    """With `s = -2 z_1` for the label head and `t = 2 (z_1 + z_2)` for the victim that keeps class 0:
    `2 sigmoid(s) (-1, 0) + 2 k sigmoid(t) (1, 1) + gamma z / |z| = 0`."""
    gamma, k = 0.2, 0.8
    attack = TypeI(steps=1500, lr=0.02, alpha=0.0, gamma=gamma, k=k, **PLAIN).using(svae=line())
    found = attack.trace(slanted(), points((-1.0, 0.3)), torch.tensor([0]), at=[1500]).images[0, 0]
    pull = 2 * torch.sigmoid(-2 * found[0])
    push = 2 * k * torch.sigmoid(2 * found.sum())
    norm = gamma * found / found.norm()
    assert float(-pull + push + norm[0]) == pytest.approx(0.0, abs=1e-6)
    assert float(push + norm[1]) == pytest.approx(0.0, abs=1e-6)


def test_what_the_victim_does_not_see_changes_class_for_nothing() -> None:
    """A victim blind to the label's coordinate: the attack moves along it and keeps the other."""
    victim = slanted()
    victim.weight.data[:, 0] = 0.0
    x, y = points((-1.0, -2.0), (1.5, 2.0)), torch.tensor([0, 1])
    found = TypeI(alpha=0.0, gamma=0.0, k=1.0, **PLAIN).using(svae=line())(victim, x, y)
    assert bool((found[:, 0].sign() == -x[:, 0].sign()).all())
    assert bool((victim(found).argmax(1) == y).all())


def test_a_rotated_decoder_changes_images_and_no_code() -> None:
    """The encoder inverts the decoder, so a rotation in front of the same classifiers is the same attack."""
    turn = torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64) / ROOT
    x, y = points((-1.0, 0.3), (0.8, 0.9)), torch.tensor([0, 1])
    attack = TypeI(alpha=0.0, k=0.3, steps=50, **PLAIN)
    turned = slanted()
    turned.weight.data.copy_(slanted().weight @ turn.T)
    plain = attack.using(svae=line())(slanted(), x, y)
    rotated = attack.using(svae=line(turn))(turned, x @ turn.T, y)
    assert torch.allclose(rotated, plain @ turn.T, atol=1e-9)


# Algorithm 2 by hand.


def by_hand(attack: TypeI, svae: Any, victim: nn.Module, x: Tensor, y: Tensor) -> list[Any]:
    """Algorithm 2 in plain torch, one example at a time: codes and weights of every step."""
    made = []
    goal, cap = attack.hinge, attack.cap
    for row, label in zip(x[:, None], y[:, None], strict=True):
        target = (label + 1) % 10
        z = svae.encode_mean(row).detach().requires_grad_()
        kept = victim(row).detach()
        descent, k, way = torch.optim.Adam([z], attack.lr), 0.0, []
        for step in range(attack.steps + 1):
            label_loss = F.cross_entropy(svae.classify(z), target)
            real = svae.discriminate(z)
            unreal = F.softplus(-real) if attack.realness == "bce" else 1 - torch.sigmoid(real)
            output = victim(svae.decode(z))
            loss = (
                F.cross_entropy(output, label) if attack.keep == "class" else (output - kept).norm()
            )
            if step:
                j1, j2 = loss.item(), label_loss.item()
                seen = torch.sigmoid(real).item() if attack.follows == "discriminator" else j1
                beta = j2 / seen if attack.beta == "ratio" else float(attack.beta)
                k = min(max(k + attack.eta * (beta * seen - j2 + max(seen - goal, 0.0)), 0.0), cap)
            way.append((z.detach().clone()[0], k))
            total = label_loss + attack.alpha * unreal.sum() + attack.gamma * z.norm() + k * loss
            descent.zero_grad()
            total.backward(inputs=[z])
            descent.step()
        made.append(way)
    return made


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beta": "ratio", "realness": "linear"},
        {"keep": "embedding", "goal": 0.5},
        {"keep": "embedding", "goal": 0.5, "follows": "discriminator"},
        {"k": 0.2},
    ],
    ids=str,
)
def test_it_is_algorithm_2(settings: dict[str, Any]) -> None:
    """Codes and weights of 40 steps; rates at which k_t leaves zero, meets its cap and comes back."""
    scene = supervised(Images())
    svae, victim, x, y = scene.networks["svae"], scene.model, scene.x[:3], scene.y[:3]
    settings = {
        "eta": 0.01,
        "cap": 0.05,
        "lr": 0.1,
        "steps": 40,
        "patience": None,
        "temperature": 1.0,
        "looks": 0,
        **settings,
    }
    attack = TypeI(**settings)
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    bound = attack.using(svae=svae)
    with torch.no_grad():
        data = bound.admitted(victim, x, y, None)
        bound._found(victim, *data, lambda step, rows, z, e: seen.update({step: (z, e.terms["k"])}))
    if attack.k is not None:
        assert bool((seen[40][1] == attack.k).all())
        return
    ways = by_hand(attack, svae, victim, x, y)
    weights = torch.tensor([[k for _, k in way] for way in ways], dtype=torch.float64).T
    assert float(weights.max()) > 0, "the weight never moves"
    for step in range(41):
        z, k = seen[step]
        assert torch.allclose(z, torch.stack([way[step][0] for way in ways]), atol=1e-9, rtol=0)
        assert torch.allclose(k, weights[step], atol=1e-9, rtol=0)


# What a call returns, and who leaves.


def scene(**settings: Any) -> tuple[Any, Victim]:
    """An attack that works on the small digits, and the digits."""
    victim = supervised(Images())
    attack = TypeI(
        **{"steps": 100, "lr": 0.1, "eta": 0.1, "cap": 0.5, "temperature": 1.0, **settings}
    )
    return attack.using(**victim.networks), victim


def rate(attack: Any, victim: Victim) -> float:
    """The share of digits that are another to the SVAE's own reading and the same to the victim."""
    found = attack(victim.model, victim.x, victim.y)
    with torch.no_grad():
        return float(
            (changed_and_kept(victim.model, found, victim.x, victim.y) > 0).double().mean()
        )


def test_most_digits_become_others_and_keep_their_answer() -> None:
    assert rate(*scene()) > 0.3


def test_examples_leave_some_steps_after_their_first_success() -> None:
    rates = []
    with metered() as short:
        rates.append(rate(*scene(patience=10)))
    with metered() as long:
        rates.append(rate(*scene(patience=None)))
    assert short.backwards < 0.95 * long.backwards
    assert rates[0] >= rates[1] - 0.05
    attack, victim = scene(patience=7)
    k = attack.trace(victim.model, victim.x, victim.y).curves
    won = (k["victim"] < -math.log(attack.confidence)) & (k["label"] < -math.log(attack.sure))
    for row in won.any(0).nonzero()[:, 0].tolist():
        left = int(won[:, row].int().argmax()) + 7
        assert bool((k["label"][left:, row] == k["label"][min(left, 100), row]).all())


def test_a_look_back_prefers_images_that_are_read_again_as_the_target() -> None:
    attack, victim = scene()
    svae: Any = victim.networks["svae"]

    def read(looks: int) -> Tensor:
        bound = replace(attack, looks=looks).using(svae=svae)
        codes = svae.encode_mean(bound(victim.model, victim.x, victim.y))
        return F.cross_entropy(svae.classify(codes), (victim.y + 1) % 10).detach()

    assert read(20) < read(0)


def test_the_trace_is_the_way_of_the_call() -> None:
    attack, victim = scene(patience=10)
    x, y = victim.x[:6], victim.y[:6]
    way = attack.trace(victim.model, x, y, at=(0, 7, 100))
    assert torch.equal(way.best, attack(victim.model, x, y))
    assert torch.equal(way.targets, attack.targets(victim.model, x, y))
    assert way.images.shape == (3, *x.shape)
    assert set(way.curves) == {"label", "discriminator", "victim", "k"}
    assert all(curve.shape == (101, 6) for curve in way.curves.values())
    svae: Any = victim.networks["svae"]
    assert torch.allclose(way.images[0], svae.decode(svae.encode_mean(x)))
    said = F.cross_entropy(victim.model(way.images[1]), y, reduction="none")
    assert torch.allclose(way.curves["victim"][7], said)
    assert torch.allclose(way.confidence[7], (-said).exp())
    assert not way.curves["k"][0].any()


def test_targets() -> None:
    _, victim = scene()
    model, x, y = victim.model, victim.x, victim.y

    def goals(target: str | int, seed: int = 0) -> Tensor:
        attack = ImageTransition(target=target).using(**victim.networks)
        return attack.targets(model, x, y, random.seeds(seed, len(x)))

    assert torch.equal(goals("next"), (y + 1) % 10)
    assert not bool((goals("random") == y).any())
    assert set(goals("random").tolist()) == set(range(10))
    assert not torch.equal(goals("random"), goals("random", seed=1))
    logits = model(x)
    least = goals("least-likely")
    assert bool((logits.gather(1, least[:, None])[:, 0] == logits.amin(1)).all())
    some = y != 3
    attack = ImageTransition(target="3").using(**victim.networks)
    assert attack == ImageTransition(target=3)
    assert bool((attack.targets(model, x[some], y[some]) == 3).all())


def test_it_leaves_the_svae_alone_and_works_in_half_precision() -> None:
    attack, victim = scene(steps=10)
    svae: Any = victim.networks["svae"]
    before = {name: value.clone() for name, value in svae.state_dict().items()}
    attack(victim.model, victim.x[:4], victim.y[:4])
    assert all(torch.equal(value, before[name]) for name, value in svae.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in svae.parameters())
    small = replace(attack).using(svae=copy.deepcopy(svae).float())
    model, x = copy.deepcopy(victim.model).float(), victim.x[:16].float()
    with execution(precision="bf16"):
        found = small(model, x, victim.y[:16])
    assert found.dtype == torch.float32
    assert bool(found.isfinite().all())


def test_without_a_look_back_successes_are_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, search = [], transition.search

    def spied(*given: Any, verify: bool, **how: Any) -> Any:
        asked.append(verify)
        return search(*given, verify=verify, **how)

    monkeypatch.setattr(transition, "search", spied)
    for looks in (0, 3):
        attack, victim = scene(steps=2, looks=looks)
        attack(victim.model, victim.x[:2], victim.y[:2])
    assert asked == [True, False]


class Noisy(nn.Module):
    """A victim that errs on some draws."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits + 4 * random.normal(tuple(logits.shape), logits)


def test_a_random_victim_is_read_on_the_draw_that_is_reported() -> None:
    attack, victim = scene(steps=2)
    model, x, y = Noisy(victim.model), victim.x, victim.y
    seeds = random.seeds(5, len(x))
    with random.streams(seeds, random.REPORT), torch.no_grad():
        right = model(x).argmax(1) == y
    assert 0 < right.sum() < len(x)
    attack(model, x[right], y[right], seeds=seeds[right])
    with pytest.raises(UserError, match=f"errs on {int((~right).sum())} of {len(x)} inputs"):
        attack(model, x, y, seeds=seeds)


# What it refuses.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "nearest"}, "one of next, random, least-likely"),
        ({"target": -1}, "a class number or one of"),
        ({"steps": 0}, "at least 1"),
        ({"gamma": -1.0}, "zero or more"),
        ({"temperature": 0.0}, "above 0"),
        ({"realness": "square"}, "bce or linear"),
        ({"start": "median"}, "mean or random"),
        ({"keep": "face"}, "class or embedding"),
        ({"beta": "rate"}, "a number or ratio"),
        ({"cap": -0.1}, "zero or more"),
        ({"confidence": 1.0}, "between 0 and 1"),
        ({"follows": "discriminator", "alpha": 0.0}, "needs a discriminator"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TypeI(**settings)


def test_what_does_not_fit_is_told() -> None:
    attack, victim = scene()
    model, x, y = victim.model, victim.x[:6], victim.y[:6]

    def refused(
        message: str, attack: Any = attack, x: Tensor = x, y: Any = y, model: Any = model
    ) -> None:
        with pytest.raises(UserError, match=message):
            attack(model, x, y)

    refused("needs a network: call .using", TypeI())
    refused("has no encode_mean.*supervised VAE", TypeI().using(svae=nn.Identity().eval()))
    refused(
        "SVAE is in train mode", TypeI().using(svae=copy.deepcopy(victim.networks["svae"]).train())
    )
    refused("does not take images of shape", x=torch.rand(6, 1, 9, 9, dtype=x.dtype))
    refused("the SVAE makes images of shape", x=x.view(6, 1, 4, 16))
    refused("needs the present labels", y=None)
    refused("labels must lie in 0..9", y=y + 10)
    refused("errs on 2 of 6 inputs already", y=torch.cat([(y[:2] + 1) % 10, y[2:]]))
    refused("of 6 inputs are of class", scene(target=int(y[0]))[0])
    refused("target must lie in 0..9", scene(target=10)[0])
    halves = nn.Sequential(model, nn.Linear(10, 2).double()).eval()
    refused("the victim has 2 classes, the SVAE 10", model=halves)
    refused(
        "are not the 10 classes", scene(target="least-likely", keep="embedding")[0], model=halves
    )
    with pytest.raises(UserError, match=r"the steps to keep must lie in 0\.\.100"):
        attack.trace(model, x, y, at=(0, 101))


# Mutants: each fails a test that was not written for it.


def no_label(attack: TypeI, svae: Any, z: Tensor, data: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """J_IT without the label head: nothing asks for another class."""
    label = F.cross_entropy(svae.classify(z), data["target"], reduction="none")
    unreal = F.softplus(-svae.discriminate(z))
    loss = attack.alpha * unreal + attack.gamma * z.norm(dim=1)
    return loss, {"label": label.detach(), "discriminator": unreal}


def relents(attack: TypeI, k: Tensor, terms: dict[str, Tensor]) -> Tensor:
    """The weight's update with its sign flipped."""
    pull = (terms["victim"] - attack.hinge).clamp_min(0) + 1e-3 * terms["victim"] - terms["label"]
    return (k - attack.eta * pull).clamp(0, attack.cap)


@pytest.mark.parametrize(("name", "broken"), [("transition", no_label), ("adapted", relents)])
def test_mutants_are_caught(name: str, broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TypeI, name, broken)
    with pytest.raises(AssertionError):
        test_most_digits_become_others_and_keep_their_answer()
