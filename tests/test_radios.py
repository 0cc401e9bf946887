"""Radios of the zoo: a name is trained once, measured, resumed where it was cut off."""

import json
import math
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from trompe import zoo
from trompe.core.errors import UserError
from trompe.defenses import LinkStep
from trompe.models import CommsAutoencoder, CommsConfig
from trompe.training import ClassifierStep
from trompe.zoo import Radio, radios
from trompe.zoo.radios import Opponent, Stage

STAGES = (Stage(200, 1e-2, 60), Stage(100, 1e-3, 20))
SMALL = Radio(CommsConfig(3, 2), STAGES)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TROMPE_CACHE", str(tmp_path / "zoo"))
    monkeypatch.setattr(radios, "measure", partial(radios.measure, batches=1))
    return tmp_path / "zoo"


def weights(how: Radio) -> dict[str, torch.Tensor]:
    return zoo.radio(how, progress=False).state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_second_call_loads_what_the_first_trained(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = weights(SMALL)
    monkeypatch.setattr(radios, "train", None)
    second = zoo.get(SMALL)
    assert isinstance(second, CommsAutoencoder)
    assert not any(part.training for part in second.modules())
    assert same(first, second.state_dict())
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".lock", ".safetensors"]


def test_the_card_says_what_was_made_and_how_good_it_is() -> None:
    model = zoo.radio(SMALL, progress=False)
    card = zoo.card(SMALL)
    assert card["settings"]["radio"] == {"kind": "CommsConfig", "n": 3, "k": 2}
    assert card["settings"]["stages"] == [[200, 1e-2, 60], [100, 1e-3, 20]]
    assert card["steps"] == 80
    rate, n = card["metrics"]["block_error_rate_at_5_dB"], card["metrics"]["n"]
    s = torch.arange(n) % model.messages
    with torch.no_grad():
        again = float((model.receive(model.heard(5.0)(s)).argmax(1) != s).double().mean())
    assert 0 < rate < 0.3, "after 80 steps far better than the 0.75 of a guess"
    assert abs(rate - again) < 5 * math.sqrt(2 * rate * (1 - rate) / n)


def test_seeds_decide_the_weights() -> None:
    one = weights(SMALL)
    assert not same(one, weights(replace(SMALL, seed=1)))
    zoo.path(SMALL).unlink()
    assert same(one, weights(SMALL))


def test_whatever_the_weights_depend_on_is_in_their_name() -> None:
    changes = [
        SMALL,
        replace(SMALL, seed=1),
        replace(SMALL, stages=STAGES[:1]),
        *(
            replace(SMALL, model=replace(SMALL.model, **change))
            for change in (
                {"n": 4},
                {"k": 3},
                {"architecture": "cnn"},
                {"snr": 7.0},
                {"fading": "rayleigh"},
                {"activation": "relu"},
            )
        ),
    ]
    assert len({zoo.path(how).stem.rpartition("-")[2] for how in changes}) == len(changes)


@pytest.mark.parametrize(("step", "against"), [(30, None), (70, None), (70, "bank")])
def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(
    step: int, against: Opponent | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In its first stage and in its second; a stage that had ended is not begun again."""
    how = SMALL if against is None else replace(SMALL, psr=-6.0, against=against)
    kind = ClassifierStep if against is None else LinkStep
    whole = zoo.radio(how, root=tmp_path / "whole", progress=False).state_dict()
    calls: list[int] = []
    update = kind.__call__

    def interrupted(self: Any, *batch: torch.Tensor) -> Any:
        calls.append(1)
        if len(calls) == step:
            signal.raise_signal(signal.SIGINT)
        return update(self, *batch)

    monkeypatch.setattr(kind, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        weights(how)
    assert len(calls) == step
    with pytest.raises(UserError, match="has not been trained"):
        zoo.card(how)
    assert same(whole, weights(how))
    assert len(calls) == 80


def test_names_and_slips() -> None:
    assert zoo.radio_named("cnn-4-6").model == CommsConfig(4, 6, "cnn")
    assert all(zoo.radio_named(name).name == name for name in zoo.RADIOS)
    assert zoo.radio_named("mlp-1-8").model.k == 8, "rates above one are legal"
    assert zoo.path("mlp-7-4") == zoo.path(Radio())
    for name, answer in {
        "mlp-0-4": "n must be a whole number of at least 1, got 0",
        "mlp-7-0": "there would be one message",
        "mlp--7-4": "n must be a whole number of at least 1, got -7",
        "mlp-7-40": "k must be at most 12",
        "rnn-7-4": "write mlp-N-K or cnn-N-K",
        "mlp-7": "write mlp-N-K or cnn-N-K",
        "mlp-7-4x": "write mlp-N-K or cnn-N-K",
    }.items():
        with pytest.raises(UserError, match=answer):
            zoo.radio_named(name)
    with pytest.raises(UserError, match="at least one stage"):
        Radio(stages=())


def test_a_damaged_checkpoint_is_refused() -> None:
    weights(SMALL)
    path = zoo.path(SMALL)
    other = replace(SMALL, model=replace(SMALL.model, n=2))
    weights(other)
    path.write_bytes(zoo.path(other).read_bytes())
    with pytest.raises(UserError, match="does not fit its recipe; delete it"):
        weights(SMALL)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        weights(SMALL)


def test_a_card_is_plain_json() -> None:
    weights(SMALL)
    card = json.loads(zoo.path(SMALL).with_suffix(".json").read_text())
    assert card == zoo.card(SMALL)
