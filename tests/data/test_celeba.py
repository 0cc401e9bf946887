"""On made-up pictures: no face is in this repository."""

import numpy as np
import pytest
import torch
from PIL import Image

from trompe.core.errors import UserError
from trompe.data import celeba, fetch, fixed, listing, load, verify

NAMES = ("Smiling", "Male", "No_Beard")
PARTS = {"000001.jpg": 0, "000002.jpg": 0, "162771.jpg": 1, "182638.jpg": 2, "202599.jpg": 2}
TRAITS = ((1, -1, -1), (-1, 1, 1), (1, 1, -1), (-1, -1, 1), (1, -1, 1))


def picture(k):
    """178x218, of one colour inside the crop and another outside it."""
    array = np.full((218, 178, 3), 255, np.uint8)
    array[35:183, 15:163] = (10 * k, 20 * k, 30 * k)
    return array


def write_lists(folder, comma=False):
    gap = "," if comma else " "
    rows = [gap.join(map(str, (f, *t))) for f, t in zip(PARTS, TRAITS, strict=True)]
    parts = [gap.join((f, str(p))) for f, p in PARTS.items()]
    if comma:
        head = gap.join(("image_id", *NAMES))
        (folder / "list_attr_celeba.csv").write_text("\n".join((head, *rows)))
        (folder / "list_eval_partition.csv").write_text("\n".join(("image_id,partition", *parts)))
    else:
        (folder / "list_attr_celeba.txt").write_text(
            "\n".join(("5", " ".join(NAMES), *rows)) + "\n"
        )
        (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")


@pytest.fixture
def pictures(tmp_path):
    """The layout that people download; returns the root that holds celeba/."""
    inside = tmp_path / "celeba" / "img_align_celeba"
    inside.mkdir(parents=True)
    for k, file in enumerate(PARTS):
        Image.fromarray(picture(k)).save(inside / file, quality=100, subsampling=0)
    write_lists(inside.parent)
    return tmp_path


def write_archive(path, parts, level, **more):
    n = len(parts)
    np.savez(
        path,
        images=np.arange(n * 64 * 64 * 3).reshape(n, 64, 64, 3).astype(np.uint8) // 2 + level,
        attributes=np.array([[k % 2, 1 - k % 2] for k in range(n)], np.uint8),
        attribute_names=np.array(["Smiling", "Wavy_Hair"]),
        official_partition=np.array(parts, np.uint8),
        **more,
    )


@pytest.fixture
def archives(tmp_path):
    (tmp_path / "celeba").mkdir()
    write_archive(tmp_path / "celeba" / "a.npz", [0, 1, 2], 0)
    write_archive(tmp_path / "celeba" / "b.npz", [2, 0], 100)
    return tmp_path


def test_archives_are_joined_and_parted_by_the_official_split(archives):
    train, test = (load("celeba-smiling", split, archives) for split in ("train", "test"))
    assert (train.shape, len(train), len(test)) == ((3, 64, 64), 3, 2)
    assert train.y.tolist() == [0, 1, 1]
    assert test.y.tolist() == [0, 0]
    assert train.classes == ("not smiling", "smiling")
    assert test.x[1].min() >= 100, "the second archive's"
    first = np.load(archives / "celeba" / "a.npz")["images"][2]
    assert torch.equal(test.x[0], torch.from_numpy(first.transpose(2, 0, 1)))


def test_faces_alone_have_no_labels_and_attributes_may_be_cut(archives):
    assert load("celeba", "train", archives).y is None
    hair = load("celeba-wavy_hair", "train", archives)
    assert (hair.name, hair.y.tolist()) == ("celeba-wavy-hair", [1, 0, 0])
    assert load("celeba-wavy-hair[wavy hair]", "train", archives).y.tolist() == [0]
    assert not fixed("celeba")


def test_downloaded_pictures_are_cropped_and_shrunk(pictures):
    train, test = (load("celeba-no-beard", split, pictures) for split in ("train", "test"))
    assert (len(train), len(test)) == (3, 2)
    assert train.y.tolist() == [0, 1, 0]
    assert test.y.tolist() == [1, 1]
    for row, k in ((0, 3), (1, 4)):
        colour = torch.tensor([10.0 * k, 20 * k, 30 * k])[:, None, None]
        assert (test.x[row] - colour).abs().max() < 6, "nothing from outside the crop"


def test_the_lists_may_be_csv_the_pictures_nested_and_the_partition_absent(pictures):
    folder = pictures / "celeba"
    expected = {split: load("celeba-male", split, pictures) for split in ("train", "test")}
    for file in folder.glob("list_*"):
        file.unlink()
    write_lists(folder, comma=True)
    (folder / "list_eval_partition.csv").unlink()
    outer = folder / "img_align_celeba"
    outer.rename(folder / "inner")
    outer.mkdir()
    (folder / "inner").rename(outer / "img_align_celeba")
    for split, before in expected.items():
        celeba._faces.cache_clear()
        assert load("celeba-male", split, pictures).checksum == before.checksum


def test_listed_pictures_that_are_absent_are_passed_over_and_told(pictures):
    (pictures / "celeba" / "img_align_celeba" / "000002.jpg").unlink()
    assert len(load("celeba", "train", pictures)) == 2
    assert {state for _, state in verify("celeba", pictures)} == {
        "ok",
        "1 of 5 pictures are missing",
    }


def test_people_are_counted_in_the_order_of_their_numbers(archives):
    with pytest.raises(UserError, match="does not say who is on the pictures"):
        load("celeba-identity", "train", archives)
    folder = archives / "celeba"
    write_archive(folder / "a.npz", [0, 1, 2], 0, identity=np.array([90, 7, 5]))
    write_archive(folder / "b.npz", [2, 0], 100, identity=np.array([3, 90]))
    celeba._faces.cache_clear()
    celeba._from_archive.cache_clear()
    train, test = (load("celeba-identity", split, archives) for split in ("train", "test"))
    assert (train.classes, train.y.tolist()) == (("person 7", "person 90"), [1, 0, 1])
    assert (test.classes, test.y.tolist()) == (("person 3", "person 5"), [1, 0])
    shares = celeba.traits("train", archives)
    assert shares.tolist() == [[1.0, 0.0], [0.5, 0.5]], "of person 7; of both pictures of person 90"
    assert load("celeba-identity[person 90]", "train", archives).y.tolist() == [0, 0]


def test_the_list_of_people_is_read(pictures):
    listed = pictures / "celeba" / "identity_CelebA.txt"
    listed.write_text("".join(f"{file} {9 - k}\n" for k, file in enumerate(PARTS)))
    train = load("celeba-identity", "train", pictures)
    assert (train.classes, train.y.tolist()) == (("person 7", "person 8", "person 9"), [2, 1, 0])
    assert ("ok", str(listed)) in {(state, str(path)) for path, state in verify("celeba", pictures)}
    celeba._faces.cache_clear()
    listed.write_text("".join(f"{file} nobody\n" for file in PARTS))
    with pytest.raises(UserError, match="does not name a person by number for each picture"):
        load("celeba-identity", "train", pictures)


def test_list_and_verify_know_it(archives, pictures, tmp_path_factory):
    rows = {row.name: row for row in listing(archives)}
    assert (rows["celeba"].state, rows["celeba"].train, rows["celeba"].test) == ("present", 3, 2)
    assert [state for _, state in verify("celeba", archives)] == ["ok", "ok"]
    empty = tmp_path_factory.mktemp("empty")
    assert verify("celeba", empty)[0].state == "missing"
    row = next(row for row in listing(empty) if row.name == "celeba")
    assert (row.state, row.train, row.test) == ("missing", 182637, 19962)


def test_a_damaged_archive_is_told_by_each(archives):
    path = archives / "celeba" / "a.npz"
    path.write_bytes(path.read_bytes()[:900])
    assert next(row for row in listing(archives) if row.name == "celeba").state == "damaged"
    assert "is not an .npz archive" in verify("celeba", archives)[0].state
    with pytest.raises(UserError, match=r"is not an \.npz archive"):
        load("celeba", "test", archives)
    np.savez(path, images=np.zeros((2, 64, 64, 3), np.uint8), official_partition=np.zeros(2))
    with pytest.raises(UserError, match="has no member attributes"):
        load("celeba", "train", archives)


def test_slips_are_one_sentence(archives, pictures, tmp_path_factory):
    with pytest.raises(UserError, match="no attribute 'smile'; did you mean 'smiling'"):
        load("celeba-smile", "test", archives)
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(UserError, match=r"celeba is not at hand: .*ask for it at .*TROMPE_DATA"):
        load("celeba-smiling", "test", empty)
    with pytest.raises(UserError, match="cannot fetch 'celeba': its terms forbid"):
        fetch("celeba", empty)


def test_damaged_lists_and_pictures_are_one_sentence(pictures):
    folder = pictures / "celeba"
    face = folder / "img_align_celeba" / "000001.jpg"
    Image.new("RGB", (64, 64)).save(face)
    with pytest.raises(UserError, match=r"000001.jpg is 64x64 pixels; .* 178x218"):
        load("celeba", "train", pictures)
    face.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"000001.jpg cannot be read as an image"):
        load("celeba", "train", pictures)
    listed = folder / "list_attr_celeba.txt"
    listed.write_text(listed.read_text()[:-4])
    with pytest.raises(UserError, match=r"only part of one: see the row of 202599.jpg"):
        load("celeba", "test", pictures)
    listed.write_text("<html>")
    with pytest.raises(UserError, match="it has no row"):
        load("celeba", "test", pictures)
