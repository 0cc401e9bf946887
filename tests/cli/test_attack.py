"""`trompe attack NAME`: every attack of the package, its settings, and the files it leaves."""

import importlib
import json
import pkgutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import trompe.attacks as package
from tests.cli.conftest import Run
from trompe.attacks.base import Attack
from trompe.attacks.gradient import PGD
from trompe.attacks.transition import ImageTransition
from trompe.cli import tree
from trompe.cli.attack import OnAutoencoder
from trompe.cli.attacks import commands, kebab
from trompe.cli.parsing import parse
from trompe.core.geometry import Ball
from trompe.data import load
from trompe.evaluation.records import read_records

COMMANDS = commands()
PEERS = {"art-attack", "auto-attack", "foolbox-attack"}
THROUGH_CODES = {"image-transition", "type-one"}  # what they leave: test_transition.py
NEEDED = {
    "model": ["--model", "own:nearest"],
    "eps": ["--eps", "0.1"],
    "name": ["--name", "LinfPGD"],
    "classifier": ["--classifier", "own:code_reader"],
}


def words(name: str) -> list[str]:
    """The least that an attack must be told."""
    command = COMMANDS[name]
    found = [word for option in tree.required(command) for word in NEEDED[option]]
    if "penalty" in tree.options(command):
        found += ["--penalty", "0.1"]
    return found


def built(name: str, *more: str) -> Attack:
    """The attack that a command line stands for."""
    command: Any = parse(tree.find(["attack", name, *words(name), *more]))
    found: Attack = command.attack(load("digits"))
    return found


def test_a_norm_without_its_radius(run: Run, home: Path) -> None:
    given = ["--model", "own:identity", "--data", "digits", "--penalty", "1", "--norm", "L2"]
    assert "--norm is that of --eps" in run("attack", "latent", *given).sentence


def test_every_attack_has_a_verb() -> None:
    listed = set()
    for module in pkgutil.iter_modules(package.__path__):
        loaded = importlib.import_module(f"trompe.attacks.{module.name}")
        kinds = [getattr(loaded, name) for name in loaded.__all__]
        listed |= {k for k in kinds if isinstance(k, type) and issubclass(k, Attack)}
    outside = {"Attack", "AutoencoderAttack", "ClassifierAttack", "Named", "Peer"}  # abstract
    around = {"BPDA", "EOT", "Still", "Transfer", "Wrapper"}  # --bpda, --eot, --still, --surrogate
    outside |= {"VerificationAttack", "VerificationFGSM", "VerificationPGD"}  # of pairs
    outside |= {"LatentStart", "LatentTypeI", "LevelSet", "NullSpace"}  # on codes, and on spheres
    outside |= {"DetectorAware"}  # of classifiers with detectors
    assert {kebab(k.__name__) for k in listed if k.__name__ not in outside | around} == set(
        COMMANDS
    )


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_defaults_of_a_verb_are_those_of_the_class(name: str) -> None:
    found = built(name)
    assert kebab(type(found).__name__) == name
    settings = {f.name: getattr(found, f.name) for f in fields(found) if f.init}
    needed = {key: settings.pop(key) for key in ("ball", "budget", "name") if key in settings}
    assert replace(found) == type(found)(**needed, domain=settings["domain"])


OTHER = {int: "3", float: "0.125", str: "margin"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_setting_of_an_attack_changes_it(name: str) -> None:
    usual, command = built(name), COMMANDS[name]
    common = set(tree.options(command.__mro__[1]))
    tried = 0
    for option in sorted(set(tree.options(command)) - common - {"penalty"}):
        field = option.removeprefix("no-").replace("-", "_")
        if field in ("eps", "norm") and "budget" in {f.name for f in fields(usual)}:
            continue  # a radius instead of the penalty; tested below
        value = _another(usual, field)
        if (name, option) == ("auto-attack", "targeted"):
            continue  # refused, which is an answer too
        also = ["--eps", "0.25"] if option == "norm" and name in PEERS - {"auto-attack"} else []
        damage = option == "start" and name not in THROUGH_CODES
        also += ["--no-targeted"] if damage else []
        changed = built(name, f"--{option}", *value, *also)
        assert changed != built(name, *also), f"--{option} {value} changes nothing"
        tried += 1
    assert tried


def _another(attack: Attack, field: str) -> list[str]:
    """Some other value of a field, as typed."""
    if field == "eps":
        return ["0.25"]
    if field == "options":
        return ["steps=5"]
    choices = {
        "norm": "L2", "solver": "adam", "divergence": "wasserstein2", "rule": "L1", "version": "plus",
        "match": "reconstruction", "loss": "margin", "candidates": "3", "name": "L2PGD",
        "likelihood": "pixels", "start": "singular", "of": "output", "target": "random",
        "realness": "linear", "follows": "discriminator",
    }  # fmt: skip
    if field == "start" and isinstance(attack, ImageTransition):
        return ["random"]
    ball = getattr(attack, "ball", None)
    in_ball = field == "norm" and not hasattr(attack, "norm")
    now = getattr(ball, "norm", "Linf") if in_ball else getattr(attack, field)
    if field == "match" and now == choices[field]:
        return ["image"]
    if field in choices:
        return [choices[field] if choices[field] != now else "Linf"]
    if isinstance(now, bool):
        return []
    return ["3"] if isinstance(now, int) else ["0.125"]


def test_a_radius_and_its_norm_are_a_ball() -> None:
    assert built("pgd", "--eps", "8/255", "--norm", "L2") == PGD(Ball(8 / 255, "L2"))
    command: Any = parse(tree.find(["attack", "latent-attack", "--model", "x", "--eps", "0.5"]))
    assert command.attack(load("digits")).budget == Ball(0.5)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - PEERS - THROUGH_CODES))
def test_every_attack_runs_and_leaves_what_it_measured(run: Run, home: Path, name: str) -> None:
    on_autoencoder = issubclass(COMMANDS[name], OnAutoencoder)
    given = [*words(name), "--data", "digits", "--n", "6", "--out", "there", "--pictures", "2"]
    given[given.index("own:nearest")] = "own:identity" if on_autoencoder else "own:nearest"
    if {"steps", "rounds"} & set(tree.options(COMMANDS[name])):
        given += ["--steps", "3"]
    ran = run("attack", name, *given)
    assert ran.code == 0, ran.err
    with np.load("there/adversarial.npz") as archive:
        arrays = dict(archive)
    assert arrays["x"].shape == arrays["x_adv"].shape == (6, 1, 8, 8)
    assert arrays["index"].tolist() == [k * len(load("digits")) // 6 for k in range(6)]
    x, y = load("digits").tensors(arrays["index"])
    assert np.array_equal(arrays["x"], x.numpy())
    assert y is not None
    assert arrays["y"].tolist() == y.tolist()
    records = read_records("there/records.json")
    assert records
    assert all(record.config["command"].startswith(f"trompe attack {name}") for record in records)
    assert all(record.metric in ran.out for record in records)
    pictures = sorted(path.name for path in Path("there").glob("*-adversarial.png"))
    assert pictures == [f"{at:05d}-adversarial.png" for at in arrays["index"][:2]]
    with Image.open(Path("there") / pictures[0]) as shown:
        values = np.asarray(shown)[..., 0]
    assert np.array_equal(values, np.rint(arrays["x_adv"][0, 0] * 255))


def test_what_is_saved_is_what_was_counted(run: Run, home: Path) -> None:
    ran = run("attack", "pgd", *words("pgd"), "--data", "digits", "--n", "40", "--out", "there")
    assert ran.code == 0, ran.err
    with np.load("there/adversarial.npz") as archive:
        arrays = {name: torch.as_tensor(values) for name, values in archive.items()}
    from own import nearest  # type: ignore[import-not-found]

    clean, robust = read_records("there/records.json")
    right = [nearest()(arrays[name]).argmax(1) == arrays["y"] for name in ("x", "x_adv")]
    assert [clean.value, robust.value] == [float(rows.double().mean()) for rows in right]
    assert robust.extra["broken"] == int((right[0] & ~right[1]).sum()) > 0
    assert (arrays["x_adv"] - arrays["x"]).abs().max() <= 0.1 + 1e-6
    assert (clean.n, robust.eps, robust.norm, robust.backwards > 0) == (40, 0.1, "Linf", True)


def test_a_targeted_attack_reaches_its_targets(run: Run, home: Path) -> None:
    given = ["--model", "own:nearest", "--data", "digits", "--eps", "1", "--n", "20", "--targeted"]
    assert run("attack", "pgd", *given).code == 0
    with np.load("trompe-attack/pgd/adversarial.npz") as archive:
        assert (archive["target"] == (archive["y"] + 1) % 10).all()
    reached = read_records("trompe-attack/pgd/records.json")[-1]
    assert (reached.metric, reached.value) == ("target reached", 1.0)


def test_an_autoencoder_is_moved_to_an_image_of_another_class(run: Run, home: Path) -> None:
    given = ["--model", "own:identity", "--data", "digits", "--eps", "1", "--n", "12"]
    ran = run("attack", "output", *given, "--out", "there")
    assert ran.code == 0, ran.err
    distance, distortion, *_ = read_records("there/records.json")
    assert distance.metric == "mean relative target distance"
    assert abs(distance.value) < 1e-3
    assert abs(distortion.value - 1) < 1e-3
    with np.load("there/adversarial.npz") as archive:
        np.testing.assert_allclose(archive["x_adv"], archive["target"], atol=1e-3)
        np.testing.assert_allclose(archive["reconstruction"], archive["target"], atol=1e-3)
    assert run("attack", "output", *given, "--no-targeted").code == 0


def test_what_is_put_around_an_attack(run: Run, home: Path) -> None:
    given = [
        "--model",
        "own:nearest",
        "--data",
        "digits",
        "--eps",
        "0.1",
        "--n",
        "8",
        "--steps",
        "3",
    ]
    names = {}
    for option in (["--eot", "2"], ["--surrogate", "own:parameterless"], ["--draws", "3"]):
        assert run("attack", "pgd", *given, *option, "--out", "there").code == 0
        record = read_records("there/records.json")[1]
        names[option[0]] = record.attack
        assert json.dumps(record.config["settings"]).count(option[1]) >= 1
    assert names["--eot"] == "EOT(PGD)"
    assert names["--surrogate"] == "Transfer(PGD)"
    assert "purifi" in run("attack", "pgd", *given, "--bpda").err
    assert "has no deterministic()" in run("attack", "pgd", *given, "--still").err


def test_seed_and_precision_reach_the_search(run: Run, home: Path) -> None:
    given = [
        "--model",
        "own:nearest",
        "--data",
        "digits",
        "--eps",
        "0.1",
        "--n",
        "8",
        "--steps",
        "2",
    ]
    found = []
    for number, more in enumerate(([], [], ["--seed", "1"])):
        assert run("attack", "pgd", *given, *more, "--out", str(number)).code == 0
        with np.load(f"{number}/adversarial.npz") as archive:
            found.append(archive["x_adv"])
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert run("attack", "pgd", *given, "--precision", "bf16", "--out", "3").code == 0


@pytest.mark.parametrize("name", ["latent", "output"])
def test_a_classifier_is_no_autoencoder(run: Run, home: Path, name: str) -> None:
    ran = run("attack", name, "--model", "own:nearest", "--data", "digits", "--eps", "0.1")
    assert ran.code == 2
    assert "attacks autoencoders: what has encode and decode" in ran.sentence


def test_a_classifiers_attack_meets_no_autoencoder(run: Run, home: Path) -> None:
    ran = run("attack", "pgd", "--model", "own:identity", "--data", "digits", "--eps", "0.1")
    assert ran.code == 2
    assert "is an autoencoder; this attack is for classifiers" in ran.sentence


def test_vectors_have_no_pictures(run: Run, home: Path, write_npz: Any) -> None:
    (home / "flat.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def load():\n    return nn.Sequential(nn.Identity()).eval()\n"
    )
    x = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    data = write_npz(x=x, y=x.argmax(1))
    ran = run("attack", "pgd", "--model", "flat:load", "--data", data, "--eps", "2", "--norm", "L2")
    assert ran.code == 0, ran.err
    assert not list(Path("trompe-attack/pgd").glob("*.png"))
    assert read_records("trompe-attack/pgd/records.json")[1].value < 1
