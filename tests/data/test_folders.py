import numpy as np
import pytest
from PIL import Image

from trompe.core.errors import UserError
from trompe.data import load

RNG = np.random.default_rng(0)


def picture(path, shape=(6, 5), mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = RNG.integers(0, 256, shape, np.uint8)
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path)
    return array


def test_class_folders_give_labels_in_the_order_of_their_names(tmp_path):
    dog = picture(tmp_path / "dog" / "b.png")
    cats = [picture(tmp_path / "cat" / name) for name in ("1.png", "2.png")]
    (tmp_path / "cat" / "notes.txt").write_text("passed over")
    (tmp_path / "cat" / ".hidden.png").write_text("passed over")
    data = load(tmp_path)
    assert data.classes == ("cat", "dog")
    assert data.y.tolist() == [0, 0, 1]
    assert np.array_equal(data.x.numpy()[:, 0], np.stack([*cats, dog]))
    assert (data.name, data.split) == (tmp_path.name, "all")


def test_numbered_folders_are_in_numerical_order(tmp_path):
    for number in ("10", "9", "2"):
        picture(tmp_path / number / "a.png")
    assert load(tmp_path).classes == ("2", "9", "10")


def test_a_folder_named_like_the_split_is_entered(tmp_path):
    for split, count in (("train", 3), ("test", 1)):
        for i in range(count):
            picture(tmp_path / split / "cat" / f"{i}.png")
    assert (len(load(tmp_path, "train")), len(load(tmp_path, "test"))) == (3, 1)
    assert load(tmp_path, "train").split == "train"


def test_images_by_themselves_have_no_labels(tmp_path):
    pixels = picture(tmp_path / "a.png", (6, 5, 3))
    data = load(tmp_path)
    assert data.y is None
    assert np.array_equal(data.x.numpy()[0], pixels.transpose(2, 0, 1))


def test_grey_among_colour_becomes_colour(tmp_path):
    grey = picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "a" / "2.png", (6, 5, 3), "P")
    picture(tmp_path / "a" / "3.png", (6, 5, 4))
    data = load(tmp_path)
    assert data.shape == (3, 6, 5)
    assert np.array_equal(data.x.numpy()[0], np.stack([grey] * 3))


def test_an_image_of_another_size_is_named(tmp_path):
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "a" / "2.png", (6, 7))
    with pytest.raises(UserError, match=r"2\.png is 7x6 pixels, the first image 5x6"):
        load(tmp_path)


def test_damaged_and_deep_images_are_named(tmp_path):
    picture(tmp_path / "a" / "1.png", (40, 40))
    path = tmp_path / "a" / "1.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(UserError, match=r"1\.png cannot be read"):
        load(tmp_path)
    path.write_text("not an image")
    with pytest.raises(UserError, match="cannot identify"):
        load(tmp_path)
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(path)
    with pytest.raises(UserError, match="8 bits per channel"):
        load(tmp_path)


def test_empty_and_mixed_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="holds no images"):
        load(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        load(tmp_path)
    picture(tmp_path / "cat" / "1.png")
    picture(tmp_path / "loose.png")
    with pytest.raises(UserError, match="beside class folders"):
        load(tmp_path)
