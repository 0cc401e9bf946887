"""Everything that can be wrong with what a user hands in: one sentence, exit code 2, nothing written."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]
VERBS = {
    "audit": ("audit", "--n", "8", "--out", "new/report"),
    "doctor": ("doctor", "--n", "8", "--json", "new.json"),
    "attack": ("attack", "pgd", "--eps", "0.1", "--n", "8", "--out", "new/inputs"),
}
each_verb = pytest.mark.parametrize("verb", VERBS)


def images(n: int = 8, shape: tuple[int, ...] = (8, 8), seed: int = 0) -> np.ndarray:
    """Grey noise."""
    return np.random.default_rng(seed).random((n, *shape))


def labels(n: int = 8, k: int = 10) -> np.ndarray:
    """0, 1, 2, ..."""
    return np.arange(n) % k


@pytest.fixture
def refused(run: Run, home: Path) -> Callable[..., str]:
    """Run one of the verbs, and require that it was refused and left nothing behind."""

    def call(verb: str, *words: str) -> str:
        before = set(home.rglob("*"))
        ran = run(*VERBS[verb], *words)
        assert ran.code == 2, ran
        assert ran.out == ""
        new = {path for path in set(home.rglob("*")) - before if "__pycache__" not in path.parts}
        assert not new, f"left behind: {new}"
        return ran.sentence

    return call


Refused = Callable[..., str]
WriteNpz = Callable[..., str]

WRONG_DATA = {
    "0..255 as floats": ({"x": images() * 255, "y": labels()}, "divide by 255"),
    "NaN": ({"x": np.where(images() > 0.9, np.nan, 0.5), "y": labels()}, "NaN or infinite"),
    "five channels": ({"x": images(shape=(8, 8, 5)), "y": labels()}, "with C 1 or 3"),
    "empty": ({"x": np.zeros((0, 8, 8)), "y": np.zeros(0, int)}, "is empty"),
    "negative labels": ({"x": images(), "y": labels() - 1}, "labels must be class numbers"),
    "labels as shares": ({"x": images(), "y": labels() / 10}, "whole numbers"),
    "fewer labels": ({"x": images(), "y": labels(5)}, "one label for each of 8"),
    "objects": ({"x": images(), "y": np.array([{}] * 8)}, "pickled Python objects"),
    "no images": ({"z": images()}, "has no member x"),
}


@each_verb
@pytest.mark.parametrize("wrong", WRONG_DATA)
def test_data_that_is_wrong(refused: Refused, write_npz: WriteNpz, verb: str, wrong: str) -> None:
    arrays, answer = WRONG_DATA[wrong]
    assert answer in refused(verb, "--model", "own:nearest", "--data", write_npz(**arrays))


@pytest.mark.parametrize("verb", ["audit", "doctor", "attack"])
def test_labels_out_of_the_models_range(refused: Refused, write_npz: WriteNpz, verb: str) -> None:
    data = write_npz(x=images(), y=labels() + 5)
    assert "labels" in refused(verb, "--model", "own:nearest", "--data", data)


@each_verb
def test_labels_that_are_missing(refused: Refused, write_npz: WriteNpz, verb: str) -> None:
    assert "no labels" in refused(verb, "--model", "own:nearest", "--data", write_npz(x=images()))


@each_verb
@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("own:three_channels", "does not take inputs of shape (1, 8, 8)"),
        ("own:in_train_mode", "train mode"),
        ("own:probabilities", "probabilities"),
        ("own:not_a_model", "returned int, not a torch.nn.Module"),
        ("own:breaks", "raised RuntimeError: my own bug"),
        ("own:absent", "own has no function 'absent'"),
        ("absent:load", "could not import absent"),
        ("absent", "unknown model 'absent'"),
    ],
)
def test_models_that_are_wrong(refused: Refused, verb: str, model: str, answer: str) -> None:
    assert answer in refused(verb, "--model", model, "--data", "digits")


@pytest.mark.parametrize("verb", ["audit", "attack"])
def test_a_severed_gradient(refused: Refused, verb: str) -> None:
    assert "gradient" in refused(verb, "--model", "own:severed", "--data", "digits")


def test_the_doctor_diagnoses_a_severed_gradient(run: Run, home: Path) -> None:
    ran = run(
        "doctor", "--model", "own:severed", "--data", "digits", "--n", "16", "--queries", "50"
    )
    assert ran.code == 1
    assert "FAILED" in ran.out
    assert "gradients reach the input" in ran.out.splitlines()[-1]


@each_verb
def test_half_a_file(refused: Refused, home: Path, write_npz: WriteNpz, verb: str) -> None:
    whole = home / write_npz(x=images(), y=labels())
    (home / "half.npz").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert "only part of one" in refused(verb, "--model", "own:nearest", "--data", "half.npz")


@each_verb
@pytest.mark.parametrize(
    ("data", "answer"),
    [("cifar11", "unknown data set"), ("gone.npz", "could not read"), ("own:breaks", "my own bug")],
)
def test_data_that_is_not_there(refused: Refused, verb: str, data: str, answer: str) -> None:
    assert answer in refused(verb, "--model", "own:nearest", "--data", data)


@pytest.mark.parametrize("verb", ["audit", "attack", "compare"])
@pytest.mark.parametrize("place", ["own.py", "own.py/below", "/dev/full"])
def test_a_folder_that_is_a_file(run: Run, home: Path, verb: str, place: str) -> None:
    words = {
        "audit": ("audit", "--model", "own:nearest", "--data", "digits"),
        "attack": ("attack", "pgd", "--model", "own:nearest", "--data", "digits", "--eps", "0.1"),
        "compare": ("compare", "a", "b"),
    }[verb]
    text = (home / "own.py").read_text()
    ran = run(*words, "--out", place)
    assert ran.code == 2
    assert "file" in ran.sentence
    assert (home / "own.py").read_text() == text


def test_a_file_that_is_a_folder(run: Run, home: Path) -> None:
    ran = run("doctor", "--model", "own:nearest", "--data", "digits", "--n", "8", "--json", home)
    assert (ran.code, ran.out) == (2, "")
    assert "is a folder; name a file" in ran.sentence


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_without_room(run: Run, home: Path) -> None:
    words = ("--model", "own:nearest", "--data", "digits", "--n", "8", "--queries", "20")
    ran = run("doctor", *words, "--steps", "2", "--json", "/dev/full")
    assert (ran.code, ran.out) == (2, "")
    assert "no space left on device" in ran.sentence
    assert Path("/dev/full").is_char_device()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_without_room() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "trompe", "data", "list"]
        ran = subprocess.run(
            command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ran.returncode == 2
    assert ran.stderr == "trompe: no space left on device\n"


def test_a_reader_that_leaves() -> None:
    command = f"{sys.executable} -m trompe --completion bash | head -1; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    assert ran.returncode in (0, 141)


def test_a_disk_that_fills_up_leaves_no_half_written_folder(home: Path) -> None:
    """A limit on the size of a file stands for the full disk."""

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    words = [
        "attack",
        "fgsm",
        "--model",
        "own:nearest",
        "--data",
        "digits",
        "--eps",
        "0.1",
        "--out",
        "new",
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "trompe", *words],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        preexec_fn=little_room,
        check=False,
    )
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr == "trompe: cannot write new: file too large\n"
    assert not (home / "new").exists()
