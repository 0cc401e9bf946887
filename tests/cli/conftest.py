"""A command line in this process, and models and data that a user might bring."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

MODELS = '''
import torch
from torch import nn

from trompe.data import load


class Nearest(nn.Module):
    """The nearest class mean of the digits: linear, without parameters, about nine in ten correct."""

    def __init__(self, classes=10):
        super().__init__()
        x, y = load("digits", "train").tensors()
        self.register_buffer("c", torch.stack([x[y == k].mean(0).flatten() for k in range(classes)]))

    def forward(self, x):
        return 10 * (x.flatten(1) @ self.c.T - self.c.square().sum(1) / 2)


class Changed(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.model, self.change = Nearest(), change

    def forward(self, x):
        return self.change(self.model, x)


class Plain(nn.Module):
    """The identity as an autoencoder: codes are the pixels."""

    def encode(self, x):
        return x.flatten(1)

    def decode(self, z):
        return z.view(-1, 1, 8, 8)

    def forward(self, x):
        return self.decode(self.encode(x))


def nearest():
    return Nearest().eval()


def two_classes():
    return Nearest(2).eval()


def judge():
    return Changed(lambda m, x: m(x)[:, :2]).eval()


def in_train_mode():
    return Nearest()


def probabilities():
    return Changed(lambda m, x: m(x).softmax(1)).eval()


def severed():
    return Changed(lambda m, x: m(x.detach())).eval()


def three_channels():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 10)).eval()


def parameterless():
    return nn.Sequential(nn.AdaptiveAvgPool2d((2, 5)), nn.Flatten()).eval()


def identity():
    return Plain().eval()


def code_reader():
    return nn.Linear(64, 10).eval()


def not_a_model():
    return 3


def breaks():
    raise RuntimeError("my own bug")


def defended(classifier):
    return Changed(lambda m, x: classifier(x * 0.9)).eval()


def examples():
    x, y = load("digits", "test").tensors()
    return x.numpy(), y.numpy()
'''


class Ran(NamedTuple):
    """What a command line left: its exit code and its two streams."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line on standard error, without the program's name."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("trompe: "), self.err
        return lines[0].removeprefix("trompe: ")


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("audit", "--n", "5")` in this process."""
    from trompe.cli import main

    def ran(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Ran(code, *capsys.readouterr())

    return ran


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a module `own` of models, gone from Python afterwards."""
    (tmp_path / "own.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("own", None)
    yield tmp_path
    sys.modules.pop("own", None)


@pytest.fixture
def write_npz(home: Path) -> Callable[..., str]:
    """Write arrays as an .npz file and return its name."""

    def write(name: str = "own.npz", **arrays: object) -> str:
        np.savez_compressed(home / name, **{k: np.asarray(v) for k, v in arrays.items()})
        return name

    return write
