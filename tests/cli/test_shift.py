"""`trompe attack shift`: what it writes, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run
from trompe.evaluation.records import read_records

PAIR = ["--data", "digits[0,1]"]
OWN = ["--classifier", "own:two_classes", "--judge", "own:judge"]


def test_one_shift_turns_both_classes_and_is_kept(run: Run, home: Path) -> None:
    """The identity's codes are pixels: the shift is the direction between the two means."""
    done = run(
        "attack",
        "shift",
        "--model",
        "own:identity",
        *PAIR,
        *OWN,
        "--n",
        "40",
        "--steps",
        "60",
        "--lr",
        "0.05",
    )
    assert done.code == 0
    folder = home / "trompe-attack" / "shift"
    kept = np.load(folder / "shift.npz")
    found = np.load(folder / "adversarial.npz")
    assert kept["delta"].shape == (1, 64)
    change = (found["x_adv"] - found["rebuilt"]).reshape(len(found["y"]), -1)
    sign = 1 - 2 * found["y"][:, None]
    assert np.allclose(change, sign * kept["delta"], atol=1e-5)
    records = read_records(folder / "records.json")
    flips = [r for r in records if r.metric == "flip rate"]
    assert [r.config["group"] for r in flips] == ["0 -> 1", "1 -> 0"]
    assert len(list(folder.glob("*-rebuilt.png"))) == 8


def test_a_cap_is_kept(run: Run, home: Path) -> None:
    run(
        "attack",
        "shift",
        "--model",
        "own:identity",
        *PAIR,
        *OWN,
        "--eps",
        "0.5",
        "--n",
        "10",
        "--steps",
        "5",
    )
    delta = np.load(home / "trompe-attack" / "shift" / "shift.npz")["delta"]
    assert np.linalg.norm(delta) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--model", "own:identity", "--data", "digits", *OWN],
            "cut it to two, as in --data mnist[3,8]",
        ),
        (["--model", "own:two_classes", *PAIR, *OWN], "shift attacks autoencoders"),
        (["--model", "own:identity", *PAIR, *OWN, "--rho", "-1"], "rho must be zero or more"),
        (["--model", "own:identity", *PAIR, *OWN, "--steps", "0"], "steps must be at least 1"),
        (["--model", "own:identity", *PAIR, "--classifier", "own:identity"], "is an autoencoder"),
        (["--model", "own:identity", *PAIR, *OWN, "--n", "1"], "--n 1: the examples to measure on"),
        (
            ["--model", "own:identity", *PAIR, "--classifier", "own:nearest"],
            "--classifier own:nearest tells 10 classes apart; digits[0,1] has two",
        ),
        (
            ["--model", "own:identity", *PAIR, *OWN[:3], OWN[1]],
            "is the attacker's classifier; a judge is one that no shift meets",
        ),
        (
            ["--model", "own:identity", *PAIR, *OWN, "--pictures", "-1"],
            "--pictures must be at least 0",
        ),
    ],
)
def test_slips_are_told(run: Run, home: Path, words: list[str], sentence: str) -> None:
    assert sentence in run("attack", "shift", *words).sentence
