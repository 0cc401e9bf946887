import textwrap

import pytest

from trompe.core.errors import UserError
from trompe.data import load, names
from trompe.data.folders import load_folder

SOURCE = """
import numpy as np, torch
from trompe.data import Dataset, from_arrays

X = np.arange(2 * 16, dtype=np.uint8).reshape(2, 4, 4)

def pair(): return X, [0, 1]
def tensors(): return torch.rand(2, 3, 4, 4), torch.tensor([0, 1])
def alone(): return X
def whole(): return from_arrays(X, name="mine")
def by_split(split): return X[: 1 if split == "test" else 2]
def keyword(*, split="train"): return X[: 1 if split == "test" else 2]
def broken(): raise RuntimeError("disk on fire")
def needy(path): return X
def text(): return "photos"
def bright(): return X.astype(float)
NUMBER = 3
builtin = dict
"""


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    name = f"own_data_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(SOURCE))
    (tmp_path / f"{name}_bad.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_function_may_return_a_pair_examples_alone_or_a_dataset(module):
    assert load(f"{module}:pair").y.tolist() == [0, 1]
    assert load(f"{module}:tensors").shape == (3, 4, 4)
    assert load(f"{module}:alone").y is None
    assert load(f"{module}:whole").name == "mine"
    assert load(f"{module}:pair").name == f"{module}:pair"


def test_a_function_that_wants_the_split_gets_it(module):
    for name in ("by_split", "keyword"):
        assert len(load(f"{module}:{name}", "train")) == 2
        assert len(load(f"{module}:{name}", "test")) == 1
        assert load(f"{module}:{name}", "test").split == "test"
    assert load(f"{module}:pair", "train").split == "all"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("broken", "raised RuntimeError: disk on fire"),
        ("needy", "raised TypeError.*path"),
        ("text", r"returned str; return a trompe\.data\.Dataset"),
        ("bright", "divide by 255"),
        ("builtin", "returned dict"),
        ("NUMBER", "has no function 'NUMBER'"),
        ("missing", "has no function 'missing'"),
    ],
)
def test_slips_in_the_users_function_are_one_sentence(module, function, message):
    with pytest.raises(UserError, match=message):
        load(f"{module}:{function}")


def test_a_module_that_cannot_be_imported_is_told(module):
    with pytest.raises(UserError, match=r"ModuleNotFoundError.*install it"):
        load("no_such_module_here:data")
    with pytest.raises(UserError, match="ZeroDivisionError"):
        load(f"{module}_bad:data")


def test_names_are_those_that_load_knows():
    assert names()[:3] == ("digits", "mnist", "fashion-mnist")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("minst", "did you mean 'mnist'"),
        ("nothing/like/it", "known are digits, mnist, fashion-mnist"),
        ("C:\\data", "unknown data set"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(spec, message):
    with pytest.raises(UserError, match=message):
        load(spec)


def test_other_files_and_splits_are_refused(tmp_path):
    (tmp_path / "table.csv").write_text("1,2")
    with pytest.raises(UserError, match="do not know how to read"):
        load(tmp_path / "table.csv")
    with pytest.raises(UserError, match="split must be 'train' or 'test'"):
        load("digits", "validation")
    with pytest.raises(UserError, match="is not a folder"):
        load_folder(tmp_path / "table.csv")
