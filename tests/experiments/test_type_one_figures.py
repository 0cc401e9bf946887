"""Figures 5 to 7 and the face success rate on the embedded digits: what is recorded, drawn and concluded."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.type_one import faces, figure_5, figure_6, figure_7
from trompe.experiments.type_one._judged import SHARES
from trompe.experiments.type_one._shown import find, one
from trompe.reports.wording import percent

Outcome = tuple[list[Record], str, Path]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outcome]:
    """Run an item once: its records, its page, and its own folder of examples."""
    folder, known = tmp_path_factory.mktemp("type-one"), {}

    def run(item: str) -> Outcome:
        if item not in known:
            mine = folder / "examples" if hasattr(ITEMS[item], "examples") else None
            name, results = f"type_one/{item}", folder / "results"
            path, *_, page = reproduce(name, "smoke", results_root=results, examples=mine)
            known[item] = (read_records(path), page.read_text(), folder / "examples" / item)
        return known[item]

    return run


ITEMS = {"figure_5": figure_5, "figure_6": figure_6, "figure_7": figure_7, "faces": faces}


@pytest.mark.parametrize("item", ITEMS)
def test_each_item_shows_its_numbers_and_its_pictures(
    outcome: Callable[[str], Outcome], item: str
) -> None:
    records, page, mine = outcome(item)
    assert all(record.item == item for record in records)
    drawn = getattr(ITEMS[item], "pictures", lambda records: {})(records)
    for name in drawn:
        assert f"(pictures/{name})" in page
        assert (mine.parents[1] / "docs" / "results" / "pictures" / name).exists()
    for value, _ in getattr(ITEMS[item], "PUBLISHED", {}).values():
        assert (
            item == "figure_5"
            or percent(value) in page
            or f"{value:g}" in page
            or percent(value, 2) in page
        )


def test_who_is_read_as_the_target_is_not_read_as_its_own_class(
    outcome: Callable[[str], Outcome],
) -> None:
    records, _, _ = outcome("figure_5")
    for stage in ("image", "reconstruction", "moved"):
        target, own, real, both = (find(records, name, stage=stage)[0] for name in SHARES)
        assert target.n == own.n == figure_5.SCALES["smoke"].n
        assert target.value + own.value <= 1
        assert both.value <= min(target.value, real.value)
    moved, plain = (one(records, SHARES[0], stage=stage) for stage in ("moved", "reconstruction"))
    assert moved is not None
    assert plain is not None
    assert moved.value > 0.5 > plain.value


def test_no_face_is_carried_by_a_record() -> None:
    config = figure_5.SCALES["cpu"]
    assert config.data[1] == "celeba-male"
    assert list(figure_5._picture(config, 1)) == []
    assert not hasattr(faces, "pictures")


def test_the_curves_cover_the_way(outcome: Callable[[str], Outcome]) -> None:
    records, _, _ = outcome("figure_6")
    config = figure_6.SCALES["smoke"]
    for name in (*figure_6.LOSSES, "k"):
        first, mean = one(records, name, over="one"), one(records, name, over="all")
        assert first is not None
        assert mean is not None
        assert first.config["at"][0] == 0
        assert first.config["at"][-1] == config.steps
        assert len(first.config["y"]) == len(mean.config["low"]) == len(first.config["at"])
        assert (first.n, mean.n) == (1, config.n)
    spread = one(records, "final confidence", over="all")
    assert spread is not None
    quantiles = [spread.extra[f"quantile {q:g}"] for q in figure_6.QUANTILES]
    assert quantiles == sorted(quantiles)


def test_falls_and_rises_are_counted() -> None:
    """One confidence stays, one falls, and one falls and rises again; half a point is not counted."""
    ways = torch.tensor([[0.9, 0.9, 0.9, 0.9], [0.9, 0.5, 0.2, 0.896], [0.895, 0.1, 0.8, 0.899]])
    shape = list(figure_7._shape(ways, {}))
    assert [record.value for record in shape[:2]] == [0.5, 0.25]
    assert shape[2].value == pytest.approx((0.895 + 0.1 + 0.2 + 0.896) / 4)


def test_a_stranger_is_somebody_else_of_the_label_aimed_at() -> None:
    from trompe.experiments.type_one._faces import Changed

    y, person = torch.tensor([0, 1, 1, 0, 1]), torch.tensor([7, 7, 8, 9, 8])
    nothing = torch.zeros(5)
    made = Changed(torch.arange(5), nothing, y, person, 1 - y, nothing, nothing, nothing)
    assert faces._strangers(made).tolist() == [2, 3, 3, 4, 0]


def test_pairs_that_nobody_attacked_are_what_they_are(outcome: Callable[[str], Outcome]) -> None:
    records, page, _ = outcome("faces")
    changed = {stage: one(records, "gender changed", stage=stage) for stage in faces.STAGES}
    assert changed["another"] is not None
    assert changed["another"].value > 0.8 > changed["reconstruction"].value  # type: ignore[union-attr]
    for stage in faces.STAGES:
        shares = [one(records, name, stage=stage) for name in faces.CONDITIONS]
        every = min(share.value for share in shares[:3] if share is not None)
        assert shares[3] is not None
        assert shares[3].value <= every
    assert "lies" in page or "not told apart" in page


@pytest.mark.parametrize(("wins", "word"), [(29, "holds"), (0, "does not hold")])
def test_the_verdict_follows_the_records(
    outcome: Callable[[str], Outcome], wins: int, word: str
) -> None:
    records, _, _ = outcome("faces")
    kept = {"attack": wins, "transition": 15}
    told = [
        replace(
            r, value=(new := Record.rate("", kept[stage], 29)).value, low=new.low, high=new.high
        )
        if r.metric == "same person" and (stage := r.config.get("stage")) in kept
        else r
        for r in records
    ]
    assert f"keeps the person: **{word}**" in faces.render(told)


def test_examples_are_for_the_users_folder(outcome: Callable[[str], Outcome]) -> None:
    _, _, asked = outcome("faces")
    body = json.loads((asked / "questionnaire.json").read_text())
    key = json.loads((asked / "key.json").read_text())["pairs"]
    attacked = [entry for entry in key.values() if entry["kind"] == "attacked"]
    assert len(attacked) == faces.SCALES["smoke"].n
    assert len(body["pairs"]) > len(attacked)
    assert (outcome("figure_7")[2] / "pairs.png").exists()
    assert (outcome("figure_5")[2] / "transition-digits-svae.png").exists()
