"""A report read back from its JSON is the report that was written; anything else is refused."""

import json
import math
from dataclasses import replace

import pytest

from trompe.core.errors import UserError
from trompe.reports import (
    SCHEMA,
    Curve,
    Forest,
    Metric,
    Report,
    Section,
    Series,
    Table,
    from_json,
    to_json,
)


def test_a_rich_report_survives_the_round_trip(report):
    text = to_json(report)
    assert from_json(text) == report
    assert json.loads(text)["schema"] == SCHEMA
    assert to_json(from_json(text)) == text


def test_numbers_that_json_lacks_survive():
    table = Table("t", ("a", "b", "c"), [("x", math.inf, -math.inf), ("y", math.nan, "nan")])
    curve = Curve("c", "x", "y", [Series("s", (0, 1), (math.nan, 1))], y_range=(0.0, 2.0))
    rows = [("m", (Metric("m", math.inf), None))]
    forest = Forest("f", "x", ("A", "B"), rows)
    report = Report("t", "s", "c", "d", sections=[Section("s", blocks=(table, curve, forest))])
    text = to_json(report)
    assert "NaN" not in text
    assert "Infinity" not in text
    assert from_json(text) == report


def test_whole_numbers_and_truths_keep_their_type():
    report = Report("t", "s", "c", "d", cost={"images": 3, "seconds": 1.0, "gpu": False, "x": None})
    cost = from_json(to_json(report)).cost
    assert [type(value) for value in cost.values()] == [int, float, bool, type(None)]


def test_pixels_survive_exactly(report):
    grids = [b for s in report.sections for b in s.blocks if type(b).__name__ == "Grid"]
    again = [b for s in from_json(to_json(report)).sections for b in s.blocks if b in grids]
    assert len(again) == len(grids) == 1


def _without(document, name):
    return {key: value for key, value in document.items() if key != name}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda d: d | {"schema": 99}, "schema 99"),
        (lambda d: _without(d, "schema"), "it has no schema"),
        (lambda d: _without(d, "title"), r"report\.title"),
        (lambda d: d | {"surprise": 1}, r"report\.surprise"),
        (lambda d: d | {"findings": 3}, r"report\.findings is not a list"),
        (lambda d: d | {"findings": [{"severity": "dire", "headline": "h"}]}, r"findings\[0\]"),
        (lambda d: d | {"partial": "no"}, r"report\.partial"),
        (lambda d: d | {"title": 3}, r"report\.title"),
        (lambda d: d | {"cost": []}, r"report\.cost is not an object"),
        (lambda d: d | {"cost": {"a": [1]}}, r"report\.cost\.a"),
        (lambda d: d | {"cost": {"a": {"float": "12"}}}, r"report\.cost\.a"),
        (lambda d: d | {"metrics": [{"name": "m", "value": "1"}]}, r"metrics\[0\]\.value"),
        (lambda d: d | {"metrics": [{"name": "m", "value": True}]}, r"metrics\[0\]\.value"),
        (lambda d: d | {"metrics": [{"name": "m", "value": 1, "low": 0}]}, "one end"),
        (lambda d: d | {"sections": [{"title": "s", "blocks": [{"kind": "Pie"}]}]}, "a block of"),
        (lambda d: d | {"sections": ["s"]}, r"sections\[0\] is not an object"),
    ],
)
def test_damaged_documents_say_where(report, spoil, says):
    document = spoil(json.loads(to_json(replace(report, sections=()))))
    with pytest.raises(UserError, match=says):
        from_json(json.dumps(document))


@pytest.mark.parametrize("png", ["bm90IGEgcG5n", "***", 3])
def test_a_damaged_image_is_refused(report, png):
    document = json.loads(to_json(report))
    document["sections"][1]["blocks"][1]["rows"][0][0] = {"png": png}
    with pytest.raises(UserError, match=r"rows\[0\]\[0\]"):
        from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "3", "null", '{"title": "x"}'])
def test_what_is_no_report_is_refused_in_one_sentence(text):
    with pytest.raises(UserError, match="this is not a report") as caught:
        from_json(text)
    assert "\n" not in str(caught.value)
