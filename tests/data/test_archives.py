import os
import zipfile

import numpy as np
import pytest
import torch

from trompe.core.errors import UserError
from trompe.data import load


@pytest.fixture
def photos(tmp_path):
    def save(**members):
        np.savez_compressed(tmp_path / "photos.npz", **members)
        return tmp_path / "photos.npz"

    return save


X = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])


def test_x_and_y_serve_every_split(photos):
    path = photos(x=X, y=Y)
    train, test = load(path, "train"), load(str(path), "test")
    assert torch.equal(train.x, test.x)
    assert (train.split, train.name) == ("all", "photos.npz")
    assert train.y.tolist() == Y.tolist()


def test_the_names_of_other_collections_are_known(photos):
    assert load(photos(images=X, labels=Y)).y.tolist() == Y.tolist()
    assert load(photos(images=X, attributes=np.ones((6, 40), np.uint8))).y is None


@pytest.mark.parametrize("pattern", [("x_{}", "y_{}"), ("{}_images", "{}_labels")])
def test_members_of_a_split_are_taken_for_that_split(photos, pattern):
    x, y = pattern
    path = photos(
        **{x.format("train"): X[:4], y.format("train"): Y[:4]},
        **{x.format("test"): X[4:], y.format("test"): Y[4:]},
    )
    assert (len(load(path, "train")), len(load(path, "test"))) == (4, 2)
    assert load(path, "test").split == "test"


def test_a_split_that_is_not_there_is_not_replaced_by_another(photos):
    with pytest.raises(UserError, match="holds x_train, y_train"):
        load(photos(x_train=X, y_train=Y), "test")


def test_class_names_travel_along(photos):
    path = photos(x=X, y=Y, classes=np.array(["cat", "dog", "eel"]))
    assert load(path).classes == ("cat", "dog", "eel")
    with pytest.raises(UserError, match="one-dimensional array of strings"):
        load(photos(x=X, y=Y, class_names=np.arange(3)))


def test_a_changed_file_is_read_again(photos):
    path = photos(x=X, y=Y)
    first = load(path)
    assert load(path) is first
    photos(x=X[:2], y=Y[:2])
    os.utime(path, ns=(1, 1))
    assert len(load(path)) == 2


def test_lzma_members_are_read(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    assert load(tmp_path / "a.npz").x.numpy().sum() == X.sum()


def test_pickled_arrays_are_refused_and_never_run(photos, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = photos(x=np.array([Bomb()], dtype=object), y=Y)
    with pytest.raises(UserError, match="could run code"):
        load(path)
    assert not (tmp_path / "ran").exists()


def test_half_a_file_is_refused(photos):
    path = photos(x=X, y=Y)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="only part of one"):
        load(path)


def test_a_corrupt_member_is_refused(photos):
    path = photos(x=X, y=Y)
    data = bytearray(path.read_bytes())
    data[200:260] = bytes(60)
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="member x is damaged"):
        load(path)


def test_a_corrupt_directory_is_refused(photos):
    path = photos(x=X, y=Y)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at : at + 4] = b"XXXX"
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="is damaged"):
        load(path)


def test_a_member_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"")
    with pytest.raises(UserError, match="x"):
        load(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x", b"just text")
    with pytest.raises(UserError, match="x"):
        load(tmp_path / "b.npz")


def test_other_slips(photos, tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load(tmp_path / "none.npz")
    with pytest.raises(UserError, match="holds weights"):
        load(photos(weights=X))
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(UserError, match=r"holds nothing|not an \.npz"):
        load(tmp_path / "empty.npz")
    with pytest.raises(UserError, match="one label for each of 6"):
        load(photos(x=X, y=Y[:3]))
    with pytest.raises(UserError, match="divide by 255"):
        load(photos(x=X.astype(np.float32), y=Y))
