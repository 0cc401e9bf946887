"""Figures 8 and 9 on the embedded digits: what is recorded, drawn and concluded."""

from dataclasses import replace
from pathlib import Path

import pytest

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.type_one import figure_8, figure_9
from trompe.experiments.type_one._shown import find, one


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("latent")


@pytest.fixture(scope="module")
def digits(folder: Path) -> list[Record]:
    return read_records(reproduce("type_one/figure_8", "smoke", results_root=folder)[0])


@pytest.fixture(scope="module")
def faces(folder: Path) -> list[Record]:
    made = reproduce("type_one/figure_9", "smoke", results_root=folder, examples=folder / "mine")
    return read_records(made[0])


def test_every_way_is_held_against_no_attack(digits: list[Record]) -> None:
    config = figure_8.SCALES["smoke"]
    ways = (figure_8.AGAIN, *config.ways)
    for way in ways:
        success = one(digits, "over-stability", way=way)
        assert success is not None
        assert success.n == config.n
        changed = one(digits, "judge sees the change", way=way)
        assert changed is not None
        assert success.value <= changed.value
    near, far = (one(digits, "squared distance", way=way) for way in ("published", "ours"))
    assert near is not None
    assert far is not None
    assert near.value < 5 < far.value
    assert set(figure_8.pictures(digits)) == {
        r.config["file"] for r in find(digits, "examples shown")
    }


def test_the_page_concludes_from_its_records(digits: list[Record]) -> None:
    page = figure_8.render(digits)
    assert "independent code of the same class" in page
    sure = [
        replace(r, value=0.9, low=0.8, high=0.95) if r.metric == "over-stability" else r
        for r in digits
    ]
    assert figure_8.render(sure).count("**holds**") == 2
    never = [
        replace(r, value=0.0, low=0.0, high=0.1) if r.metric == "over-stability" else r
        for r in digits
    ]
    assert figure_8.render(never).count("**does not hold**") == 2


def test_embeddings_stay_near_while_codes_go_far(faces: list[Record]) -> None:
    config = figure_9.SCALES["smoke"]
    assert {r.n for r in find(faces, "same person")} == {config.n}
    assert len(find(faces, "way", way="ours")) == config.rows
    free, ours = (one(faces, "squared distance", way=way) for way in ("published", "ours"))
    assert free is not None
    assert ours is not None
    assert free.value < 5 < ours.value
    page = figure_9.render(faces)
    for name in figure_9.pictures(faces):
        assert f"(pictures/{name})" in page
    for distance, _ in figure_9.PUBLISHED.values():
        assert distance in (0.6448, 1.0449, 1.0482) or f"{distance:.3g}" in page


def test_faces_are_drawn_in_the_users_own_folder_only(faces: list[Record], folder: Path) -> None:
    assert not find(faces, "examples shown")
    assert (folder / "mine" / "figure_9" / "ways.png").read_bytes()[1:4] == b"PNG"
