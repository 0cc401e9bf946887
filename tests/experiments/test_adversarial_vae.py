"""The items on adversarial VAEs on the embedded digits, and what their pages conclude from given records."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.adversarial_vae import _area_page, _curve_page, _output_page, auddc, curves
from trompe.experiments.adversarial_vae._crossed import crossed

Outcome = tuple[list[Record], str]


def smoke(item: str, folder: Path) -> Outcome:
    path, page = reproduce(f"adversarial_vae/{item}", "smoke", results_root=folder / "results")
    return read_records(path), Path(page).read_text()


@pytest.fixture(scope="module")
def areas(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return smoke("auddc", tmp_path_factory.mktemp("auddc"))


def test_every_case_has_an_area(areas: Outcome) -> None:
    names = {case.name for case in auddc.cases(auddc.SCALES["smoke"])}
    assert names <= {record.subject for record in areas[0]}
    assert all(0 <= r.value <= 1 for r in areas[0] if auddc.SAMPLED not in r.subject)


def test_the_published_procedure_and_one_batch_draw_one_curve(areas: Outcome) -> None:
    ours, theirs = (
        next(r for r in areas[0] if r.subject == name)
        for name in ("VAE, same pairs in one batch", "VAE, published procedure")
    )
    assert ours.value == pytest.approx(theirs.value, abs=0.02)
    for d in auddc.GRID:
        key = f"distance at {d:g}"
        assert ours.extra[key] == pytest.approx(theirs.extra[key], abs=0.03)


def test_the_page_shows_published_values_beside_ours(areas: Outcome) -> None:
    assert "| VAE, published | 1 x 25 | 0.387 | 0.075 | 0.826" in areas[1]
    assert "**unresolved**" in areas[1]


def moved(records: list[Record], name: str, by: float) -> list[Record]:
    """The records with the areas of one model set to those of the AE and more."""
    of = {r.config["training"]: r.config["areas"] for r in records if r.subject == "AE"}
    return [
        replace(r, config={**r.config, "areas": [v + by for v in of[r.config["training"]]]})
        if r.subject == name
        else r
        for r in records
    ]


@pytest.mark.parametrize(("by", "word"), [(0.1, "**holds**"), (-0.1, "**does not hold**")])
def test_the_order_follows_from_the_records(areas: Outcome, by: float, word: str) -> None:
    page = _area_page.rendered(moved(areas[0], "VAE", by))
    line = next(line for line in page.splitlines() if line.startswith("- VAE less AE"))
    assert word in line


def test_an_order_that_needs_the_published_measurement_is_said_to(areas: Outcome) -> None:
    published = "VAE, published KL" + auddc.SAMPLED
    apart = moved(moved(areas[0], "VAE", -0.1), published, 0.1)
    assert "more about the measurement" in _area_page.rendered(apart)
    assert "more about the measurement" not in _area_page.rendered(moved(apart, "VAE", 0.1))


def test_the_interval_allows_for_other_trainings_and_other_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(400):
        training = 0.5 * torch.randn(5, 1, generator=generator)
        pair = torch.randn(1, 40, generator=generator)
        noise = torch.randn(5, 40, generator=generator)
        found = crossed((training + pair + noise).tolist())
        covered += found.low <= 0 <= found.high
    assert covered / 400 >= 0.94


def test_a_classifier_gives_way_more_abruptly(tmp_path: Path) -> None:
    records, page = smoke("curves", tmp_path)
    drops = {record.subject: record.value for record in records}
    assert drops["classifier by cross-entropy"] > max(drops["VAE"], drops["AE"])
    picture = (tmp_path / "docs/results/pictures" / _curve_page.NAME).read_text()
    assert picture.count("stroke-linejoin") == len(records)
    assert f"pictures/{_curve_page.NAME}" in page
    alike = [replace(r, config=records[0].config) for r in records]
    assert "**is unresolved**" in _curve_page.rendered(alike)


def test_a_step_is_all_in_its_steepest_tenth() -> None:
    drop, share = curves.shape([0.0, 0.3, 0.301, 1.0], [1.0, 1.0, 0.0, 0.0])
    assert drop == pytest.approx(1.0)
    assert share == pytest.approx(0.0, abs=0.01)
    assert all(value != value for value in curves.shape([0.0, 1.0], [1.0, 0.9]))


def test_a_fall_beyond_the_target_has_no_share_of_the_way() -> None:
    drop, share = curves.shape([0.0, 1.0, 2.0], [1.0, 0.9, 0.0])
    assert drop == pytest.approx(0.09)
    assert share != share


def test_attacks_on_the_output_meet_the_same_ball(tmp_path: Path) -> None:
    records, page = smoke("output_attack", tmp_path)
    for record in records:
        assert record.eps
        assert record.extra["l2"] <= record.eps * (1 + 1e-5)
        assert record.extra["l2"] >= 0.9 * record.eps
    assert (tmp_path / "docs/results/pictures" / _output_page.NAME).read_bytes()[:4] == b"\x89PNG"
    assert "only blurs **" in page
    grey = [
        r
        if r.config["attacks"] == "codes"
        else replace(r, value=0.0, low=0.0, high=0.0, extra={**r.extra, "grey": 2.0})
        for r in records
    ]
    assert "only blurs **holds**" in _output_page.rendered(grey)
