"""The zoo: a recipe names a checkpoint; it is trained once, measured, and refused when damaged."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from trompe import zoo
from trompe.core.errors import UserError
from trompe.core.random import seeds, streams
from trompe.data import Dataset
from trompe.models import AutoencoderConfig, ClassifierConfig
from trompe.training import ClassifierStep
from trompe.zoo import Recipe, making

SMALL = Recipe("small", ClassifierConfig("mlp", (1, 8, 8), hidden=(16,)), "digits", epochs=2)
CODE = AutoencoderConfig((1, 8, 8), latent=4, hidden=(16,))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TROMPE_CACHE", str(tmp_path / "zoo"))
    return tmp_path / "zoo"


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(making, "train", train)


def test_the_second_call_loads_what_the_first_trained(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = zoo.get(SMALL, progress=False)
    forbid_training(monkeypatch)
    second = zoo.get(SMALL)
    assert not second.training
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    endings = sorted(path.suffix for path in cache.iterdir())
    assert endings == [".json", ".lock", ".safetensors"]


def test_the_card_says_what_was_made_and_how_good_it_is(digits: Dataset) -> None:
    model = zoo.get(SMALL, progress=False)
    card = zoo.card(SMALL)
    assert card["recipe"] == json.loads(json.dumps(SMALL.to_json()))
    assert card["hash"] == SMALL.hash
    assert card["data"]["test"] == digits.checksum
    assert card["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert card["seconds"] > 0
    x, y = digits.tensors()
    assert y is not None
    right = int((model(x).argmax(1) == y).sum())
    assert card["metrics"] == {"accuracy": pytest.approx(right / len(y)), "n": len(y)}


def test_every_number_but_the_name_is_in_the_hash() -> None:
    assert replace(SMALL, name="other").hash == SMALL.hash
    changes: list[dict[str, object]] = [
        {"seed": 1},
        {"epochs": 3},
        {"batch": 64},
        {"lr": 1e-3},
        {"train_size": 100},
        {"ema": 0.9},
        {"data": "mnist"},
        {"model": replace(SMALL.model, hidden=(17,))},
        {"model": CODE},
    ]
    hashes = {replace(SMALL, **change).hash for change in changes}  # type: ignore[arg-type]
    assert len(hashes | {SMALL.hash}) == len(changes) + 1


def test_a_setting_that_stands_at_its_default_is_not_in_the_hash() -> None:
    content = json.dumps(SMALL.settings())
    assert "smoothing" not in content
    assert "smoothing" in json.dumps(replace(SMALL, smoothing=0.1).settings())
    assert '"epochs": 2' in content


def test_a_bound_is_measured_on_what_the_convention_draws(digits: Dataset) -> None:
    from trompe.data import binarized

    vae = Recipe("vae", CODE, "digits", epochs=1, train_size=128, binarize="dynamic")
    model = zoo.get(vae, progress=False)
    drawn = binarized(digits, "static")
    assert zoo.card(vae)["data"]["test"] == drawn.checksum != digits.checksum
    assert zoo.card(vae)["metrics"] == pytest.approx(zoo.measure(model, drawn))
    with pytest.raises(UserError, match="binarize must be one of none, threshold, static"):
        replace(vae, binarize="often")


def test_recipes_of_one_seed_are_trained_to_the_same_bits(tmp_path: Path) -> None:
    vae = Recipe("vae", CODE, "digits", epochs=1, train_size=256)
    one = zoo.get(vae, root=tmp_path / "a", progress=False).state_dict()
    two = zoo.get(vae, root=tmp_path / "b", progress=False).state_dict()
    other = zoo.get(replace(vae, seed=1), root=tmp_path / "a", progress=False).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("stochastic", [True, False])
def test_an_autoencoder_is_measured_as_such(stochastic: bool, digits: Dataset) -> None:
    chosen = Recipe("code", replace(CODE, stochastic=stochastic), "digits", epochs=1)
    model = zoo.get(chosen, progress=False)
    metrics = zoo.card(chosen)["metrics"]
    assert ("negative_elbo" in metrics) == stochastic
    x, _ = digits.tensors()
    with torch.no_grad():
        expected = float((model(x) - x).square().mean())
    assert metrics["mse"] == pytest.approx(expected, rel=1e-4)
    assert metrics["n"] == len(digits)
    if stochastic:
        with torch.no_grad(), streams(seeds(0, len(x))):
            bound = float(model.negative_elbo(x).mean())  # type: ignore[operator]
        assert metrics["negative_elbo"] == pytest.approx(bound, rel=1e-4)


PROCESS = """
import sys
from pathlib import Path
from trompe import zoo
from trompe.zoo import making
from trompe.models import ClassifierConfig

train = making.train
def counted(*a, **k):
    with open(sys.argv[1], "a") as file:
        file.write("trained\\n")
    return train(*a, **k)
making.train = counted
recipe = zoo.Recipe("both", ClassifierConfig("mlp", (1, 8, 8), hidden=(16,)), "digits", epochs=30)
model = zoo.get(recipe)
print(float(sum(p.detach().double().sum() for p in model.parameters())).hex())
"""


def test_two_processes_that_ask_at_once_train_once(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "count")]
    both = [
        subprocess.Popen(command, env=environment, text=True, stdout=-1, stderr=-1) for _ in "ab"
    ]
    answers = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert (tmp_path / "count").read_text() == "trained\n"
    assert answers[0][0] == answers[1][0] != ""
    assert answers[0][1] == answers[1][1] == ""


def test_who_waits_is_told(caplog: pytest.LogCaptureFixture, cache: Path) -> None:
    cache.mkdir()
    held = threading.Event()

    def hold() -> None:
        with FileLock(zoo.path(SMALL).with_suffix(".lock")):
            held.set()
            time.sleep(0.3)

    threading.Thread(target=hold).start()
    held.wait()
    with caplog.at_level(logging.INFO, "trompe.zoo"):
        zoo.get(SMALL, progress=False)
    assert "waiting" in caplog.text


def test_a_training_that_was_cut_off_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = zoo.get(replace(SMALL, name="whole"), progress=False).state_dict()
    train = making.train

    def cut_off(step: ClassifierStep, *arguments: object, **options: object) -> None:
        def stop(*_: object) -> None:
            nonlocal count
            count += 1
            if count == 15:
                raise RuntimeError("cut off")

        count = 0
        step.optimizer.register_step_pre_hook(stop)
        train(step, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(making, "train", cut_off)
    with pytest.raises(RuntimeError, match="cut off"):
        zoo.get(SMALL, progress=False)
    resumed = []

    def watched(*arguments: object, **options: object) -> object:
        history = train(*arguments, **options)  # type: ignore[arg-type]
        resumed.append(history.resumed)
        return history

    monkeypatch.setattr(making, "train", watched)
    again = zoo.get(SMALL, progress=False).state_dict()
    assert resumed == [11]  # one epoch of 1442 digits in batches of 128
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_damaged_or_foreign_checkpoint_is_refused() -> None:
    zoo.get(SMALL, progress=False)
    path = zoo.path(SMALL)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        zoo.get(SMALL)
    other = replace(SMALL, model=replace(SMALL.model, hidden=(9,)))
    zoo.get(other, progress=False)
    path.write_bytes(zoo.path(other).read_bytes())
    with pytest.raises(UserError, match="does not fit its recipe; delete it"):
        zoo.get(SMALL)


def test_weights_without_a_card_are_trained_anew() -> None:
    zoo.get(SMALL, progress=False)
    path = zoo.path(SMALL)
    path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match="has not been trained"):
        zoo.card(SMALL)
    zoo.get(SMALL, progress=False)
    assert json.loads(path.with_suffix(".json").read_text())["metrics"]["n"] == 355


def test_own_data_that_changes_under_its_name_is_another_recipe(tmp_path: Path) -> None:
    source = tmp_path / "own.npz"
    chosen = replace(SMALL, data=str(source))
    paths = []
    for shade in (10, 20):
        np.savez(source, x=np.full((20, 8, 8, 1), shade, np.uint8), y=np.arange(20) % 10)
        paths.append(zoo.path(chosen))
    assert paths[0] != paths[1]


def test_names_and_slips(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert zoo.recipe("digits-vae").data == "digits"
    assert set(zoo.names()) >= {"digits-mlp", "mnist-conv4", "fashion-mnist-dae-conv"}
    with pytest.raises(UserError, match="unknown recipe 'mnist'; there are digits-mlp"):
        zoo.get("mnist")
    assert zoo.root() == cache
    assert zoo.root(tmp_path) == tmp_path
    monkeypatch.delenv("TROMPE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert zoo.root() == tmp_path / "trompe" / "zoo"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        zoo.get(SMALL, root=tmp_path / "file")


def test_the_hashes_of_the_recipes_differ() -> None:
    assert len({made.hash for made in zoo.RECIPES.values()}) == len(zoo.RECIPES)


@pytest.mark.slow
def test_the_digits_recipes_reach_their_targets() -> None:
    zoo.get("digits-mlp", progress=False)
    assert zoo.card("digits-mlp")["metrics"]["accuracy"] >= 0.97
    zoo.get("digits-vae", progress=False)
    assert zoo.card("digits-vae")["metrics"]["negative_elbo"] < 25.5


@pytest.mark.slow
def test_the_perceptron_reaches_its_target_on_mnist(mnist: Dataset) -> None:
    zoo.get("mnist-mlp", progress=False)
    card = zoo.card("mnist-mlp")
    assert card["metrics"]["accuracy"] >= 0.972
    assert card["data"]["test"] == mnist.checksum
