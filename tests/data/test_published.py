import gzip
import shutil
from pathlib import Path

import pytest
import torch

from trompe.core.errors import UserError
from trompe.data import load, root, rooted
from trompe.data.published import SETS


def test_the_root_is_the_argument_then_the_variable_then_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TROMPE_DATA", raising=False)
    assert root() == tmp_path / "trompe" / "data"
    monkeypatch.setenv("TROMPE_DATA", "~/here")
    assert root() == Path.home() / "here"
    assert root(tmp_path) == tmp_path
    with rooted(tmp_path / "there"), rooted(None):
        assert root() == tmp_path / "there"
        assert root(tmp_path) == tmp_path
    assert root() == Path.home() / "here"


def test_compressed_and_plain_files_load_alike(tiny, tiny_root):
    train, test = (load("tiny", split, tiny_root) for split in ("train", "test"))
    assert (len(train), len(test)) == (30, 12)
    assert train.x.shape == (30, 1, 5, 4)
    assert train.x.numpy().tobytes() == tiny["train-images"][-600:]
    assert test.y.tolist() == [0, 1, 2] * 4
    assert test.classes == ("a", "b", "c")
    assert test.split == "test"


def test_the_variable_names_the_root(tiny_root, monkeypatch):
    monkeypatch.setenv("TROMPE_DATA", str(tiny_root))
    assert len(load("tiny")) == 12


def test_a_set_is_decoded_once(tiny_root):
    assert load("tiny", "test", tiny_root) is load("tiny", "test", tiny_root)


def test_a_missing_file_tells_how_to_get_it(tiny, tmp_path):
    with pytest.raises(UserError, match=r"trompe data fetch tiny.*TROMPE_DATA"):
        load("tiny", "test", tmp_path)


def test_half_a_file_is_said_to_be_truncated(tiny_root):
    path = tiny_root / "tiny" / "train-images.gz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match="truncated"):
        load("tiny", "train", tiny_root)


def test_a_file_under_the_wrong_name_is_noticed_by_its_counts(tiny_root):
    folder = tiny_root / "tiny"
    shutil.copy(folder / "train-labels.gz", folder / "test-labels.gz")
    with pytest.raises(UserError, match=r"\(30,\).*wrong name"):
        load("tiny", "test", tiny_root)


def test_changed_labels_of_the_right_count_are_noticed_by_their_content(tiny, tiny_root):
    data = bytearray(tiny["test-labels"])
    data[-1] ^= 1
    (tiny_root / "tiny" / "test-labels").write_bytes(bytes(data))
    with pytest.raises(UserError, match="differs from the published tiny"):
        load("tiny", "test", tiny_root)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_catalogue_has_the_known_counts(name):
    known = SETS[name]
    shapes = {split: [file.shape for file in pair] for split, pair in known.files.items()}
    assert shapes == {
        "train": [(60000, 28, 28), (60000,)],
        "test": [(10000, 28, 28), (10000,)],
    }
    assert len(known.classes) == 10
    digests = {file.sha256 for pair in known.files.values() for file in pair}
    assert {len(digest) for digest in digests} == {64}
    assert len(digests) == 4


HISTOGRAMS = {
    "mnist": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    "fashion-mnist": [1000] * 10,
}


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_the_real_test_set(name):
    if not (root() / name).is_dir():
        pytest.skip(f"{name} is absent; set TROMPE_DATA to the folder that holds it")
    data = load(name, "test")
    assert data.x.shape == (10000, 1, 28, 28)
    assert torch.bincount(data.y).tolist() == HISTOGRAMS[name]
    x, _ = data.tensors(slice(100))
    assert (x.min(), x.max()) == (0, 1)


def test_the_real_training_labels_and_first_digit():
    if not (root() / "mnist").is_dir():
        pytest.skip("mnist is absent; set TROMPE_DATA to the folder that holds it")
    data = load("mnist", "train")
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert torch.bincount(data.y).tolist() == counts
    assert data.y[:5].tolist() == [5, 0, 4, 1, 9]


def test_gzip_of_another_wrapping_is_the_same_set(tiny, tiny_root):
    path = tiny_root / "tiny" / "train-labels.gz"
    path.write_bytes(gzip.compress(tiny["train-labels"], compresslevel=1, mtime=7))
    assert len(load("tiny", "train", tiny_root)) == 30
