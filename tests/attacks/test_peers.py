"""Adapters: other libraries' attacks behave as ours, and leave no trace."""

import copy
import logging
import os
import random as python_random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.attacks.contract import classifier, misled
from trompe.attacks import ARTAttack, AutoAttack, FoolboxAttack
from trompe.attacks.base import Attack
from trompe.core import random
from trompe.core.domains import Images, Vectors
from trompe.core.errors import UserError
from trompe.core.execution import metered
from trompe.core.geometry import Ball, norm

pytestmark = pytest.mark.peers
ATTACKS: dict[str, tuple[str, Callable[[], Attack]]] = {
    "foolbox-pgd": ("foolbox", lambda: FoolboxAttack("LinfPGD", Ball(0.15))),
    "foolbox-cw": ("foolbox", lambda: FoolboxAttack(
        "L2CarliniWagnerAttack", Ball(2.0, "L2"),
        options={"steps": 50, "binary_search_steps": 4, "stepsize": 0.1, "initial_const": 0.1})),
    "art-pgd": ("art", lambda: ARTAttack(
        "ProjectedGradientDescent", Ball(0.15), options={"max_iter": 10, "num_random_init": 1})),
    "autoattack": ("pyautoattack", lambda: AutoAttack(Ball(0.15), "rand")),
}  # fmt: skip


@pytest.fixture(params=ATTACKS)
def attack(request: pytest.FixtureRequest, home: str) -> Attack:
    library, make = ATTACKS[request.param]
    with np.errstate(all="ignore"):
        pytest.importorskip(library) if library != "art" else _require_art()
    return make()


def _require_art() -> None:
    from importlib.util import find_spec

    if "art" not in sys.modules and find_spec("art") is None:
        pytest.skip("needs the peers extra: art is not installed")


@pytest.fixture
def home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A home folder in which nothing may appear."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return str(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_peer_is_an_attack_like_any_other(attack: Attack, home: str) -> None:
    victim = classifier(Images())
    model = copy.deepcopy(victim.model)
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    parameters[1].grad = torch.ones_like(parameters[1])
    modes = {name: module.training for name, module in model.named_modules()}
    x, y = victim.x[:12].clone(), victim.y[:12].clone()
    seeds = random.seeds(1, 12)
    kept = torch.get_rng_state(), np.random.get_state(), python_random.getstate()  # noqa: NPY002
    tracer = sys.gettrace()
    with metered() as cost:
        found = attack(model, x, y, seeds=seeds)

    assert torch.equal(kept[0], torch.get_rng_state())
    now: Any = np.random.get_state()  # noqa: NPY002
    assert (kept[1][1] == now[1]).all()
    assert kept[2] == python_random.getstate()
    assert sys.gettrace() is tracer
    assert modes == {name: module.training for name, module in model.named_modules()}
    assert [p.requires_grad for p in parameters] == [False] + [True] * (len(parameters) - 1)
    assert torch.equal(parameters[1].grad, torch.ones_like(parameters[1]))
    assert all(p.grad is None for p in parameters if p is not parameters[1])
    assert torch.equal(x, victim.x[:12])
    assert os.listdir(home) == []

    ball: Ball = attack.ball  # type: ignore[attr-defined]
    assert found.dtype == x.dtype
    assert not found.requires_grad
    assert float(norm(found - x, ball.norm).max()) <= ball.eps + 1e-9
    victim.domain.validate(found)
    assert float((misled(model, found, x, y) > 0).double().mean()) > 0.5
    assert cost.forwards >= 12
    assert cost.backwards > 0
    assert torch.equal(found, attack(model, x, y, seeds=seeds)), "same seeds, other result"
    assert torch.equal(attack.at(0.0)(model, x, y), x)
    assert not attack.independent


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_foolbox_reaches_targets() -> None:
    pytest.importorskip("foolbox")
    victim = classifier(Images())
    attack = FoolboxAttack("LinfPGD", Ball(0.3), targeted=True)
    found = attack(victim.model, victim.x[:12], victim.target[:12])
    assert (
        float((-misled(victim.model, found, found, victim.target[:12]) > 0).double().mean()) > 0.5
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_without_a_ball_the_smallest_perturbation_is_asked_for() -> None:
    pytest.importorskip("foolbox")
    victim = classifier(Images())
    attack = FoolboxAttack("L2DeepFoolAttack")
    found = attack(victim.model, victim.x[:6], victim.y[:6])
    assert bool((misled(victim.model, found, found, victim.y[:6]) > 0).all())
    with pytest.raises(UserError, match="no radius"):
        attack.at(0.1)


@pytest.mark.parametrize("classes", [2, 3])
def test_autoattack_on_few_classes(classes: int) -> None:
    pytest.importorskip("pyautoattack")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, classes)).eval()
    x = torch.rand(6, 1, 4, 4)
    y = model(x).argmax(1)
    found = AutoAttack(Ball(0.5))(model, x, y)
    assert float((model(found).argmax(1) == y).double().mean()) < 0.5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("library", "make", "message"),
    [
        ("foolbox", lambda: FoolboxAttack("LinfPDG", Ball(0.1)), "nearest: .*LinfPGD"),
        ("foolbox", lambda: FoolboxAttack("L2PGD", Ball(0.1)), "works in L2"),
        ("foolbox", lambda: FoolboxAttack("LinfPGD", Ball(0.1), options={"n": 1}), "refuses"),
        ("art", lambda: ARTAttack("HopSkip", Ball(0.1)), "nearest: .*HopSkipJump"),
        ("art", lambda: ARTAttack("DeepFool", targeted=True), "takes no target"),
        ("art", lambda: FoolboxAttack("LinfPGD", Ball(0.1), domain=Vectors()), "attacks images"),
        ("art", lambda: AutoAttack(Ball(0.1), "fast"), "versions"),  # type: ignore[arg-type]
        ("art", lambda: AutoAttack(Ball(0.1), domain=Images(-1.0, 1.0)), "FromSigned"),
    ],
)
def test_slips_are_explained(library: str, make: Callable[[], Attack], message: str) -> None:
    _require_art() if library == "art" else pytest.importorskip(library)
    victim = classifier(Images())
    with pytest.raises(UserError, match=message):
        make()(victim.model, victim.x[:2], victim.y[:2])


@pytest.mark.parametrize(
    ("module", "attack"),
    [
        ("foolbox", FoolboxAttack("LinfPGD", Ball(0.1))),
        ("art.attacks", ARTAttack("DeepFool")),
        ("pyautoattack", AutoAttack(Ball(0.1))),
    ],
)
def test_absence_names_the_extra(
    module: str, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    victim = classifier(Images())
    with pytest.raises(UserError, match=r"trompe\[peers\]"):
        attack(victim.model, victim.x[:1], victim.y[:1])


def test_settings_make_the_identity_of_an_attack() -> None:
    first = FoolboxAttack("LinfPGD", Ball(0.1), options={"steps": 3, "abs_stepsize": 0.1})
    second = FoolboxAttack("LinfPGD", Ball(0.1), options={"abs_stepsize": 0.1, "steps": 3})
    assert first == second
    assert hash(first) == hash(second)
    assert first.describe()["options"] == "{'abs_stepsize': 0.1, 'steps': 3}"


def test_art_leaves_no_files_in_the_home_folder(tmp_path: Any) -> None:
    """A fresh process, since ART writes when it is first imported."""
    _require_art()
    program = (
        "import torch; from trompe.attacks import ARTAttack; from trompe.core.geometry import Ball\n"
        "model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)).eval()\n"
        "x = torch.rand(2, 1, 2, 2)\n"
        "ARTAttack('FastGradientMethod', Ball(0.1))(model, x, torch.tensor([0, 1]))\n"
        "import art.config; print(art.config.ART_DATA_PATH)"
    )
    env = {**os.environ, "HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert list(tmp_path.iterdir()) == []
    assert ran.stdout.strip() == str(tmp_path / ".art" / "data")


def test_autoattack_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyautoattack")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    x = torch.rand(2, 1, 2, 2)
    AutoAttack(Ball(0.05), "rand")(model, x, model(x).argmax(1))
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("auto-attack").level == logging.NOTSET
