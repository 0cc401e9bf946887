"""Figures 1 to 3 of the Type I attack, in seconds: the ROC, the features, the spheres."""

from dataclasses import replace
from pathlib import Path

import pytest

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.type_one import _roc_page, figure_1, figure_2, figure_3
from trompe.experiments.type_one._shown import find, one

Outcome = tuple[dict[str, list[Record]], str, Path]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    results = tmp_path_factory.mktemp("toys") / "results"
    found = {}
    for item in ("figure_1", "figure_2", "figure_3"):
        path, page = reproduce(f"type_one/{item}", "smoke", results_root=results)
        found[item] = read_records(path)
    return found, page.read_text(), page


def test_every_picture_of_the_page_is_there(outcome: Outcome) -> None:
    _, text, page = outcome
    for name in ("roc", "features", "spheres", "spheres-answer"):
        assert f"(pictures/type-one-{name}.svg)" in text
        assert (page.parent / "pictures" / f"type-one-{name}.svg").read_text().startswith("<svg")


def test_type_two_moves_the_roc_and_type_one_makes_negatives(outcome: Outcome) -> None:
    records = outcome[0]["figure_1"]
    rates, turned = _roc_page._rates(records), one(records, "another digit")
    assert rates["TPR", figure_1.TYPE_II].value < rates["TPR", figure_1.CLEAN].value
    assert turned is not None
    assert rates["FPR", figure_1.TYPE_I].n == round(turned.value * turned.n) > 0
    assert "Type II lowers the TPR: **holds**" in outcome[1]


def test_the_curve_passes_through_the_rates_at_the_threshold(outcome: Outcome) -> None:
    """At a probability of one half the log-odds are zero."""
    for record in find(outcome[0]["figure_1"], "TPR"):
        assert _roc_page._above(record.config["quantiles"], 0.0) == pytest.approx(
            record.value, abs=2 / record.n
        )


def test_the_claims_about_the_roc_follow_the_records(outcome: Outcome) -> None:
    records = [
        replace(r, low=0.0, high=1.0) if r.metric in ("TPR", "FPR") else r
        for r in outcome[0]["figure_1"]
    ]
    assert figure_1.render(records).count("**is unresolved**") == 2


def test_each_attack_succeeds_on_every_sample_through_its_own_feature(outcome: Outcome) -> None:
    records = outcome[0]["figure_2"]
    one_, two = (one(records, "success", kind=kind) for kind in figure_2.KINDS)
    assert one_ is not None
    assert two is not None
    assert one_.value == two.value == 1
    assert one_.extra["x2"] > 0.95
    assert two.extra["x3"] > 0.1
    felt = [r.value for r in find(records, "sensitivity", subject="f1")]
    assert felt[1] < 0.1 * felt[2]
    assert [r.value for r in find(records, "sensitivity", subject="f2")][2] == 0


def test_a_classifier_that_reads_the_missing_feature_is_told(outcome: Outcome) -> None:
    records = [
        replace(r, value=0.5, low=0.4, high=0.6)
        if r.metric == "answer kept" and r.subject == "f1"
        else r
        for r in outcome[0]["figure_2"]
    ]
    assert figure_2.render(records).count("**does not hold**") == 2


def test_spheres_every_sample_moves_and_the_published_formula_misses(outcome: Outcome) -> None:
    records = outcome[0]["figure_3"]
    out = {str(r.config["way"]): r for r in find(records, "success", direction=figure_3.OUTWARDS)}
    assert out[figure_3.NULL].value == out[figure_3.LEVEL].value == 1
    assert out[figure_3.PUBLISHED_NULL].value == out[figure_3.STRAIGHT].value == 0
    assert out[figure_3.PUBLISHED_NULL].extra["class kept"] == 1
    assert out[figure_3.STRAIGHT].extra["class kept"] < 0.5
    back = one(records, "success", way=figure_3.LEVEL, direction=figure_3.INWARDS)
    assert back is not None
    assert back.value < 1


def test_on_the_way_the_network_says_the_same(outcome: Outcome) -> None:
    for way in (figure_3.NULL, figure_3.LEVEL):
        line = find(outcome[0]["figure_3"], "still called inner", way=way)
        assert len(line) == figure_3.SCALES["smoke"].points + 1
        assert {r.value for r in line} == {line[0].value}
        assert line[-1].extra["norm"] == pytest.approx(1, abs=1e-6)


def test_an_error_below_the_published_bound_is_told(outcome: Outcome) -> None:
    records = outcome[0]["figure_3"]
    assert "**does not hold**. It sees" in figure_3.render(records)
    small = [
        replace(r, value=0.0, low=0.0, high=3e-5) if r.metric == "error" else r for r in records
    ]
    assert "**holds**. It sees" in figure_3.render(small)
    near = [replace(r, low=5e-5, high=2e-4) if r.metric == "error" else r for r in records]
    assert "**is unresolved**. It sees" in figure_3.render(near)
