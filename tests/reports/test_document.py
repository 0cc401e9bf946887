"""The document keeps plain values and refuses what would not make a report."""

import math

import numpy as np
import pytest
import torch

from trompe.reports import Curve, Finding, Forest, Grid, Metric, Report, Series, Table


def test_arrays_and_tensors_become_plain_tuples():
    series = Series("a", np.array([0, 1]), torch.tensor([0.5, 0.25]), [0.4, None], (0.6, math.nan))
    assert series.x == (0.0, 1.0)
    assert series.y == (0.5, 0.25)
    assert math.isnan(series.low[1])
    assert Table("t", ["a", "b"], [[np.float32(0.5), torch.tensor(3)]]).rows == ((0.5, 3),)
    assert type(Metric("m", torch.tensor(0.5), n=np.int64(4)).value) is float


def test_findings_are_ranked_by_severity_and_keep_their_order_within(report):
    severities = [finding.severity for finding in report.ranked]
    assert severities == ["critical", "high", "medium", "low", "info"]
    two = [Finding("low", "first"), Finding("critical", "worst"), Finding("low", "second")]
    ranked = Report("t", "s", "c", "d", findings=two).ranked
    assert [finding.headline for finding in ranked] == ["worst", "first", "second"]


def test_metrics_are_found_by_name(report):
    assert report.metric("clean accuracy").value == 0.972
    assert report.metric("nothing of that name") is None


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_every_image_is_kept_as_three_channels(shape):
    image = Grid("g", ("a",), [[np.full(shape, 7, dtype=np.uint8)]]).rows[0][0]
    assert image.shape == (4, 5, 3)
    assert (image == 7).all()


def test_grids_are_equal_where_their_images_are(report):
    image = np.zeros((2, 2), dtype=np.uint8)
    other = image.copy()
    other[0, 0] = 1
    assert Grid("g", ("a", "b"), [[image, None]]) == Grid("g", ("a", "b"), [[image.copy(), None]])
    assert Grid("g", ("a",), [[image]]) != Grid("g", ("a",), [[other]])
    assert Grid("g", ("a",), [[image]]) != Grid("g", ("a",), [[None]])
    assert Grid("g", ("a",), [[image]]) != Grid("other", ("a",), [[image]])
    assert Grid("g", ("a",), [[image]]) != "g"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Finding("dire", "h"), "severity is one of critical"),
        (lambda: Metric("m", 0.5, low=0.4), "give low and high"),
        (lambda: Metric("m", 0.5, better="up"), "better is"),
        (lambda: Table("t", ("a", "b"), [("x",)]), "2 columns and a row of 1"),
        (lambda: Series("s", (1, 2), (1,)), "as many y"),
        (lambda: Series("s", (1, 2), (1, 2), (0, 1), ()), "as many y"),
        (lambda: Forest("f", "x", ("A", "B"), [("m", (None,))]), "one metric for each"),
        (lambda: Grid("g", ("a",), [[np.zeros((2, 2))]]), "expected a uint8 image"),
        (lambda: Grid("g", ("a", "b"), [[None]]), "needs 2 images"),
        (lambda: Grid("g", ("a",), [[None]], ("one", "two")), "a label and captions"),
        (lambda: Report("t", "s", "c", "d", metrics=[Metric("m", 1), Metric("m", 2)]), "'m'"),
    ],
)
def test_what_makes_no_report_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_curves_take_lists_of_series():
    assert Curve("c", "x", "y", [Series("s", [0], [1])]).series == (Series("s", (0,), (1,)),)
