import numpy as np
import pytest
import torch

from trompe.core.errors import UserError
from trompe.data import from_arrays, load
from trompe.data.classes import only

THINGS = from_arrays(
    np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4),
    [0, 1, 2, 0, 1, 2],
    name="things",
    classes=["cat", "dog", "1"],
)


def test_classes_are_relabelled_in_the_order_given():
    whole = load("digits", "train")
    some = load("digits[8,3]", "train")
    rows = (whole.y == 8) | (whole.y == 3)
    assert torch.equal(some.x, whole.x[rows])
    assert torch.equal(some.y, (whole.y[rows] == 3).long())
    assert (some.name, some.classes, some.split) == ("digits[8,3]", ("8", "3"), "train")
    assert some.checksum not in (whole.checksum, load("digits[3,8]", "train").checksum)


def test_one_class_may_be_asked_for_and_spaces_are_passed_over():
    assert load("digits[ 7 ]").y.unique().tolist() == [0]
    assert load("digits[1, 7]").name == "digits[1,7]"


def test_a_name_goes_before_a_number():
    assert only(THINGS, ("dog",)).x.tolist() == THINGS.x[[1, 4]].tolist()
    assert only(THINGS, ("1",)).x.tolist() == THINGS.x[[2, 5]].tolist()
    assert only(THINGS, ("2", "0")).classes == ("1", "cat")


def test_files_folders_and_functions_may_be_cut_too(tmp_path, monkeypatch):
    np.savez(tmp_path / "own.npz", x=THINGS.x.numpy(), y=THINGS.y.numpy())
    assert len(load(f"{tmp_path}/own.npz[2,0]")) == 4
    (tmp_path / "own_classes.py").write_text(
        "from trompe.data import load\nf = lambda: load('digits')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert len(load("own_classes:f[0]")) == 35


def test_a_path_that_holds_brackets_is_a_path(tmp_path):
    folder = tmp_path / "photos[1]" / "cat"
    folder.mkdir(parents=True)
    from PIL import Image

    Image.new("L", (4, 4)).save(folder / "a.png")
    assert len(load(folder.parent)) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digits[3,11]", "has no class '11'; it has 0, 1"),
        ("digits[3,-1]", "has no class '-1'"),
        ("digits[]", r"names no class; write for example digits\[0\]"),
        ("digits[3,]", "names no class"),
        ("digits[3,3]", "names a class twice"),
        ("digots[3,8]", "did you mean 'digits'"),
        ("digits[3,8", "unknown data set"),
    ],
)
def test_slips_are_one_sentence(spec, message):
    with pytest.raises(UserError, match=message):
        load(spec)


def test_labels_and_examples_must_be_there():
    with pytest.raises(UserError, match="has no labels"):
        only(from_arrays(THINGS.x.numpy(), name="bare"), ("0",))
    with pytest.raises(UserError, match="no example has class 'dog'"):
        only(THINGS.subset([0, 2]), ("0", "dog"))
    with pytest.raises(UserError, match="no example has class 'dog'"):
        only(THINGS.subset([0, 2]), ("dog",))
