"""The questions for people: the same files from the same seed, and nothing that gives answers away."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trompe.core.errors import UserError
from trompe.data import Dataset
from trompe.evaluation.pairs import Look, Pair
from trompe.evaluation.questionnaire import questionnaire


def attacked(n: int = 12) -> tuple[torch.Tensor, list[Pair]]:
    images = torch.arange(n * 2 * 64).remainder(256).to(torch.uint8).view(n, 2, 1, 8, 8)
    look = Look(True, 0.9, 1, 0.9, True)
    return images, [Pair(100 + i, i % 10, (i + 1) % 10, look, look, 0.1) for i in range(n)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_seed_writes_the_same_files(tmp_path: Path, digits: Dataset) -> None:
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        questionnaire(tmp_path / name, *attacked(), digits, seed=seed)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    names_a, names_c = (set(files(tmp_path / name)) for name in "ac")
    assert len(names_a & names_c) == 2  # the questionnaire and the key


def test_each_pair_is_asked_once_with_its_pictures(tmp_path: Path, digits: Dataset) -> None:
    images, pairs = attacked()
    path = questionnaire(tmp_path, images, pairs, digits, controls=3)
    asked, key = json.loads(path.read_text()), json.loads((tmp_path / "key.json").read_text())
    assert asked["schema"] == key["schema"] == 1
    assert [p["id"] for p in asked["pairs"]] == list(key["pairs"])
    kinds = [entry["kind"] for entry in key["pairs"].values()]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "attacked": 12, "unchanged": 3, "alike": 3, "different": 3, "garbage": 3,
    }  # fmt: skip
    assert kinds[:12].count("attacked") < 12
    shown = {p["id"]: p for p in asked["pairs"]}
    for name, entry in key["pairs"].items():
        first, second = (
            np.array(Image.open(tmp_path / shown[name][side]))[..., 0]
            for side in ("first", "second")
        )
        if entry["kind"] == "attacked":
            pair = images[entry["index"] - 100, :, 0].numpy()
            assert (first == pair[0]).all()
            assert (second == pair[1]).all()
        else:
            assert (first == second).all() == (entry["kind"] == "unchanged")
        if entry["kind"] == "different":
            assert entry["first"] != entry["second"]


def test_questions_are_words_and_answers_and_nothing_tells_which_is_right(
    tmp_path: Path, digits: Dataset
) -> None:
    path = questionnaire(tmp_path, *attacked(), digits)
    body = json.loads(path.read_text())
    assert [q["id"] for q in body["questions"]] == ["same", "class", "real"]
    assert body["questions"][0]["text"] == "Do both pictures show the same digit?"
    assert body["questions"][1]["answers"][:2] == ["0", "1"]
    assert body["questions"][2]["text"] == "Is the second picture a digit at all?"
    assert all(set(pair) == {"id", "first", "second"} for pair in body["pairs"])
    for word in ("attacked", "garbage", "unchanged", "target", "label"):
        assert word not in path.read_text()
        assert not any(word in name for name in files(tmp_path))


def test_slips_are_told(tmp_path: Path, digits: Dataset) -> None:
    images, pairs = attacked()
    with pytest.raises(UserError, match="got 12 and 5"):
        questionnaire(tmp_path, images[:5], pairs, digits)
    one_class = digits.subset(digits.y == 3)
    with pytest.raises(UserError, match="two classes"):
        questionnaire(tmp_path, images, pairs, one_class)
    with pytest.raises(UserError, match="no labels"):
        questionnaire(tmp_path, images, pairs, Dataset("plain", digits.x))
