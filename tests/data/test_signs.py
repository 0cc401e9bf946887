from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trompe.core.errors import UserError
from trompe.data import Dataset, load
from trompe.data.fetching import fetch, listing, verify
from trompe.data.published import root as data_root


def picture(path: Path, level: int, size: tuple[int, int] = (40, 36)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, 0, 255 - level)).save(path)


def listed(path: Path, rows: Iterable[tuple[str, int]]) -> None:
    lines = ["Filename;Width;Height;ClassId", *(f"{name};40;36;{label}" for name, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def labels(dataset: Dataset) -> list[int]:
    assert dataset.y is not None
    return dataset.y.tolist()


@pytest.fixture
def gtsrb(tmp_path: Path) -> Path:
    """The original layout, with its wrapping folder, in small."""
    train = tmp_path / "gtsrb" / "GTSRB" / "Final_Training" / "Images"
    for label, level in ((0, 10), (42, 200)):
        folder = train / f"{label:05d}"
        picture(folder / "00000_00000.ppm", level)
        picture(folder / "00000_00001.ppm", level + 1)
        listed(
            folder / f"GT-{label:05d}.csv", [("00000_00000.ppm", label), ("00000_00001.ppm", label)]
        )
    test = tmp_path / "gtsrb" / "GTSRB" / "Final_Test" / "Images"
    picture(test / "00000.ppm", 77)
    listed(test / "GT-final_test.csv", [("00000.ppm", 16)])
    return tmp_path


def test_original_archive_of_gtsrb(gtsrb: Path) -> None:
    train, test = (load("gtsrb", split, gtsrb) for split in ("train", "test"))
    assert train.shape == (3, 32, 32)
    assert len(train.classes) == 43
    assert labels(train) == [0, 0, 42, 42]
    assert labels(test) == [16]
    assert test.x[0, :, 0, 0].tolist() == [77, 0, 178]


def test_class_folders_of_btsc_without_lists(tmp_path: Path) -> None:
    for part, label in (("Training", 3), ("Testing", 61)):
        picture(tmp_path / "btsc" / part / f"{label:05d}" / "01.ppm", 50, (100, 80))
    assert labels(load("btsc", "train", tmp_path)) == [3]
    assert labels(load("btsc", "test", tmp_path)) == [61]


@pytest.mark.parametrize("layout", ["parts", "split"])
def test_prepared_arrays(tmp_path: Path, layout: str) -> None:
    x = np.arange(3 * 32 * 32 * 3, dtype=np.uint64).astype(np.uint8).reshape(3, 32, 32, 3)
    y = np.array([5, 6, 7], np.uint8)
    folder = tmp_path / "btsc"
    folder.mkdir()
    np.savez(folder / "a_other.npz", images=x[..., 0], shape=y)
    if layout == "parts":
        np.savez(folder / "b.npz", x_train=x[:2], y_train=y[:2], x_test=x[2:], y_test=y[2:])
    else:
        np.savez(folder / "b.npz", images=x, labels=y, split=np.array([0, 0, 1]))
    test = load("btsc", "test", tmp_path)
    assert labels(test) == [7]
    assert (test.x[0].numpy() == x[2].transpose(2, 0, 1)).all()


def test_listed_and_verified_but_not_fetched(gtsrb: Path) -> None:
    state = {row.name: row.state for row in listing(gtsrb)}
    assert (state["gtsrb"], state["btsc"]) == ("present", "missing")
    assert [row.state for row in verify("gtsrb", gtsrb)] == ["ok"]
    assert "not at hand" in verify("btsc", gtsrb)[0].state
    with pytest.raises(UserError, match=r"benchmark\.ini\.rub\.de"):
        fetch("gtsrb", gtsrb)


def test_slips_are_told(gtsrb: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="btsc is not at hand"):
        load("btsc", "test", gtsrb)
    images = gtsrb / "gtsrb" / "GTSRB" / "Final_Test" / "Images"
    (images / "GT-final_test.csv").unlink()
    with pytest.raises(UserError, match=r"GT-final_test\.csv"):
        load("gtsrb", "test", tmp_path)
    listed(images / "GT-final_test.csv", [("absent.ppm", 1)])
    with pytest.raises(UserError, match="absent"):
        load("gtsrb", "test", tmp_path)
    (images / "GT-final_test.csv").write_text("a;b\n1;2\n", encoding="utf-8")
    with pytest.raises(UserError, match="Filename and ClassId"):
        load("gtsrb", "test", tmp_path)
    listed(images / "GT-final_test.csv", [("00000.ppm", 43)])
    with pytest.raises(UserError, match=r"classes 0\.\.42, found 43"):
        load("gtsrb", "test", tmp_path)


@pytest.mark.parametrize(("name", "train", "test"), [("btsc", 1944, 576), ("gtsrb", 8144, 2388)])
def test_counts_at_hand(name: str, train: int, test: int) -> None:
    if not list((data_root() / name).glob("*.npz")):
        pytest.skip(f"{name} is not at hand")
    assert len(load(name, "train")) == train
    held_out = load(name, "test")
    assert len(held_out) == test
    assert len(held_out.classes) == (62 if name == "btsc" else 43)
