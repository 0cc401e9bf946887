"""`trompe attack type-one` and `image-transition`: as the Python calls do, and refusing what they refuse."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.cli.conftest import Run
from trompe import zoo
from trompe.attacks.transition import ImageTransition
from trompe.attacks.type_one import TypeI
from trompe.core import random
from trompe.data import load, root
from trompe.evaluation.judge import Verdict
from trompe.evaluation.records import read_records

SVAE = """
import torch

from trompe import zoo
from trompe.core import random
from trompe.models import SVAE, SVAEConfig

def fresh(shape=(1, 8, 8), classes=10):
    return SVAE(SVAEConfig.sized(shape, classes)).eval()

def larger():
    return fresh((1, 28, 28))

def of_two():
    return fresh(classes=2)

def training():
    return fresh().train()

class Noisy(torch.nn.Module):
    def forward(self, x):
        logits = zoo.get("digits-mlp")(x)
        return logits + 6 * random.normal(tuple(logits.shape), logits)

def noisy():
    return Noisy().eval()

def blind():
    return zoo.get("digits-mlp")
"""
MODEL = ["--model", "digits-mlp", "--n", "12", "--steps", "5"]


class Lenient(nn.Module):
    """A judge with one classifier, to whom everything is real."""

    def forward(self, x: Tensor) -> Verdict:
        told = zoo.get("digits-mlp")(x).softmax(1).detach()
        return Verdict(told.argmax(1), told.amax(1), torch.ones(len(x), dtype=torch.bool))


@pytest.fixture(autouse=True)
def _judge(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """No judge is trained here, and there are SVAEs that a user might bring."""
    monkeypatch.setattr(zoo, "judge_for", lambda spec, without=(): Lenient())
    (home / "brought.py").write_text(SVAE)


@pytest.mark.parametrize(
    ("verb", "kind"), [("type-one", TypeI), ("image-transition", ImageTransition)]
)
def test_the_command_and_the_call_make_the_same_images(run: Run, verb: str, kind: Any) -> None:
    ran = run("attack", verb, *MODEL, "--target", "random", "--lr", "0.1", "--out", "there")
    assert ran.code == 0, ran.err
    with np.load("there/adversarial.npz") as archive:
        kept = {name: torch.from_numpy(archive[name]) for name in archive}
    victim, svae = zoo.get("digits-mlp"), zoo.get("digits-svae")
    x, y = load("digits").tensors([k * len(load("digits")) // 12 for k in range(12)])
    assert y is not None
    right = victim(x).argmax(1) == y
    x, y, seeds = x[right], y[right], random.seeds(0, right.nonzero()[:, 0])
    attack = kind(target="random", steps=5, lr=0.1).using(svae=svae)
    assert torch.equal(kept["x"], x)
    assert torch.equal(kept["x_adv"], attack(victim, x, y, seeds=seeds))
    assert torch.equal(kept["target"], attack.targets(victim, x, y, seeds=seeds))
    sure = victim(kept["x_adv"]).softmax(1).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(kept["confidence"], sure)
    first = read_records("there/records.json")[0]
    assert (first.metric, first.n) == ("over-stability", len(x))
    assert first.extra["victim erred"] == 12 - len(x)


def test_the_ways_are_drawn(run: Run) -> None:
    assert run("attack", "type-one", *MODEL, "--svae", "brought:fresh", "--pictures", "2").code == 0
    folder = Path("trompe-attack/type-one")
    with Image.open(folder / "trajectories.png") as drawn:
        assert drawn.width > 4 * 84  # the image, two steps or more, and what was returned
        assert 2 * 84 < drawn.height < 3 * 84
    assert len(list(folder.glob("*-adversarial.png"))) == 2
    assert (
        run(
            "attack",
            "type-one",
            *MODEL,
            "--svae",
            "brought:fresh",
            "--pictures",
            "0",
            "--out",
            "none",
        ).code
        == 0
    )
    assert not list(Path("none").glob("*.png"))


def test_what_is_misread_or_there_already_is_left_out_and_told(run: Run) -> None:
    given = ["--model", "own:nearest", "--data", "digits", "--n", "60", "--steps", "2"]
    ran = run("attack", "type-one", *given, "--svae", "brought:fresh", "--target", "3")
    assert ran.code == 0
    with np.load("trompe-attack/type-one/adversarial.npz") as archive:
        y, count = archive["y"], len(archive["x_adv"])
    told = read_records("trompe-attack/type-one/records.json")[0].extra
    assert 3 not in y
    assert told["victim erred"] > 0
    assert told["of the target already"] > 0
    assert count == 60 - told["victim erred"] - told["of the target already"]
    assert f"{told['victim erred']:.0f} of 60 images (victim erred)" in ran.err
    assert f"{told['of the target already']:.0f} of 60 images (of the target already)" in ran.err


def test_a_random_victim_meets_what_it_read_correctly(run: Run, write_npz: Any) -> None:
    """Its kind is unknown, and its data has no test images of its own: both are told."""
    x, y = load("digits").take(60).tensors()
    assert y is not None
    data = write_npz(x=x.numpy(), y=y.numpy())
    given = ["--model", "brought:noisy", "--data", data, "--n", "40", "--steps", "2"]
    ran = run("attack", "type-one", *given, "--svae", "brought:fresh", "--pictures", "1")
    assert ran.code == 0, ran.err
    assert read_records("trompe-attack/type-one/records.json")[0].extra["victim erred"] > 0
    assert "brought:noisy's kind of network is unknown" in ran.err
    assert "has no test images of its own" in ran.err


def test_judges_learn_from_the_data_root(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def judge_for(spec: str, without: tuple[str, ...] = ()) -> Lenient:
        seen.append((str(root()), without))
        return Lenient()

    monkeypatch.setattr(zoo, "judge_for", judge_for)
    given = ["--svae", "brought:fresh", "--data-root", "sets", "--pictures", "0"]
    assert run("attack", "type-one", *MODEL, *given).code == 0
    assert seen == [("sets", ("mlp",))]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--target", "nearest"], "target must be a class number or one of next, random"),
        (["--target", "12"], "target must lie in 0..9"),
        (["--svae", "brought:larger"], "the SVAE"),
        (["--svae", "brought:of_two"], "classes"),
        (["--svae", "brought:training"], "train mode"),
        (["--svae", "brought:blind"], "a Type I attack needs a supervised VAE"),
        (["--svae", "nonsense"], "unknown model 'nonsense'"),
        (["--steps", "0"], "steps and patience must be at least 1"),
        (["--model", "own:identity", "--data", "digits"], "is an autoencoder"),
    ],
)  # fmt: skip
def test_slips_are_told(run: Run, words: list[str], sentence: str) -> None:
    given = [*MODEL, "--svae", "brought:fresh"]
    ran = run("attack", "type-one", *given, *words)
    assert ran.code == 2
    assert sentence in ran.sentence


def test_where_nothing_is_left_to_attack_the_reason_is_told(run: Run, write_npz: Any) -> None:
    x, y = load("digits").tensors()
    assert y is not None
    threes = write_npz("threes.npz", x=x[y == 3].numpy(), y=y[y == 3].numpy())
    shifted = write_npz("shifted.npz", x=x.numpy(), y=((y + 1) % 10).numpy())
    given = ["attack", "type-one", *MODEL, "--svae", "brought:fresh", "--data"]
    ran = run(*given, threes, "--target", "3")
    assert ran.code == 2
    assert "are of class 3 already: choose another target" in ran.sentence
    ran = run(*given, shifted)
    assert ran.code == 2
    assert "the model misreads all 12 images" in ran.sentence


def test_without_labels_there_is_no_answer_to_keep(run: Run, write_npz: Any) -> None:
    data = write_npz(x=load("digits").tensors()[0][:20].numpy())
    for more in ([], ["--svae", "brought:fresh"]):
        ran = run("attack", "type-one", *MODEL, "--data", data, *more)
        assert ran.code == 2
        assert "label" in ran.sentence
