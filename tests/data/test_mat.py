"""SVHN's format, on small files written in it."""

import io

import numpy as np
import pytest
from scipy.io import savemat

from trompe.core.errors import UserError
from trompe.data import load, verify
from trompe.data.mat import decode
from trompe.data.published import SETS


def test_the_last_axis_counts_and_ten_is_zero(svhn_root):
    train, test = (load("svhn", split, svhn_root) for split in ("train", "test"))
    assert (train.shape, len(train), len(test)) == ((3, 32, 32), 60, 40)
    assert train.y[:12].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    from scipy.io import loadmat

    source = loadmat(svhn_root / "svhn" / "test_32x32.mat")["X"]
    assert np.array_equal(test.x[7, 2].numpy(), source[:, :, 2, 7])
    assert {state for _, state in verify("svhn", svhn_root)} == {"ok"}


def test_truncated_and_other_files_are_one_sentence(svhn_root):
    path = svhn_root / "svhn" / "train_32x32.mat"
    whole = path.read_bytes()
    for wrong in (whole[: len(whole) // 2], whole[:60], b"", b"<html>no such page</html>" * 20):
        path.write_bytes(wrong)
        with pytest.raises(UserError, match=r"train_32x32.mat is (damaged|not a file)"):
            load("svhn", "train", svhn_root)
    path.write_bytes((svhn_root / "svhn" / "test_32x32.mat").read_bytes())
    with pytest.raises(UserError, match=r"shape \(40, 3, 32, 32\), .* wrong name"):
        load("svhn", "train", svhn_root)


def test_other_content_of_the_same_format_is_noticed(svhn_root, svhn_bytes):
    (svhn_root / "svhn" / "train_32x32.mat").write_bytes(svhn_bytes(60, seed=9))
    with pytest.raises(UserError, match="differs from the published svhn"):
        load("svhn", "train", svhn_root)
    assert verify("svhn", svhn_root)[0].state == "differs from what was published"


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"X": np.zeros((4, 4, 3, 2), np.uint8), "y": [[1], [11]]}, "labels of SVHN are 1..10"),
        ({"X": np.zeros((4, 4, 3, 2), np.uint8), "y": [[0], [1]]}, "labels of SVHN are 1..10"),
        ({"X": np.zeros((4, 4, 3, 2), np.uint8), "y": [[1]]}, "not a file of SVHN's"),
        ({"X": np.zeros((4, 4, 3, 2)), "y": [[1], [2]]}, "got float64"),
        ({"images": np.zeros(3)}, "not a file of SVHN's"),
    ],
)
def test_matlab_files_of_other_things_are_refused(held, message):
    stream = io.BytesIO()
    savemat(stream, held)
    with pytest.raises(UserError, match=message):
        decode(stream.getvalue())


def test_without_it_the_message_says_how_to_get_it(tmp_path):
    with pytest.raises(
        UserError, match=r"test_32x32\.mat is missing; run `trompe data fetch svhn`"
    ):
        load("svhn", "test", tmp_path)
    assert [file.published_name for pair in SETS["svhn"].files.values() for file in pair] == [
        "train_32x32.mat",
        "test_32x32.mat",
    ]
