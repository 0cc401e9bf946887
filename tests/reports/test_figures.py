"""Figures put values where their axes say, and stay well-formed whatever they are given."""

import itertools
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trompe.reports import Curve, Forest, Metric, Series, magnified
from trompe.reports.axes import axis, fit, label, ticks
from trompe.reports.figures import curve, forest, swatch
from trompe.reports.images import png, read_png

SVG = "{http://www.w3.org/2000/svg}"


def _drawings(text):
    return list(ET.fromstring(f"<div>{text}</div>"))


def test_a_linear_axis_is_linear_and_holds_its_ends():
    x = axis([0.0, 10.0], 100, 300)
    assert [x.at(v) for v in (0, 5, 10)] == [100, 200, 300]
    assert x.at(99) == 300
    assert math.isnan(x.at(math.nan))


def test_a_logarithmic_axis_gives_each_decade_the_same_room():
    x = axis([0.01, 1.0], 0, 200, log=True)
    assert x.at(0.1) == pytest.approx(100)
    assert x.at(0.0) == 0
    assert x.ticks[0] == 0.01
    assert x.ticks[-1] == 1.0
    assert all(b / a == pytest.approx(10) for a, b in zip((0.01, 0.1), (0.1, 1.0), strict=True))


def test_a_y_axis_points_upwards():
    y = axis([0.0, 1.0], 300, 20)
    assert y.at(0) == 300
    assert y.at(1) == 20


def test_few_values_still_make_an_axis():
    assert fit([]) == (0.0, 1.0)
    assert fit([3.0, 3.0])[0] < 3 < fit([3.0, 3.0])[1]
    assert axis([2.0], 0, 100).low < 2 < axis([2.0], 0, 100).high
    assert axis([2.0], 0, 100, log=True).low < 2


@given(
    st.floats(-1e6, 1e6, allow_nan=False),
    st.floats(1e-6, 1e6, allow_nan=False),
)
def test_ticks_are_round_few_and_within(low, span):
    marks = ticks(low, low + span)
    assert len(marks) <= 8
    assert all(low - span * 1e-6 - 1e-6 <= m <= low + span * 1.000001 + 1e-6 for m in marks)


@given(st.floats(-1e4, 1e4, allow_nan=False), st.floats(1e-3, 1e4, allow_nan=False))
def test_each_tick_reads_differently(low, span):
    x = axis([low, low + span], 0, 600)
    for percent in (False, True):
        words = [label(x, tick, percent=percent) for tick in x.ticks]
        assert len(set(words)) == len(words)


def test_points_are_drawn_at_their_values():
    line = Series("s", (0.0, 0.5, 1.0), (0.0, 1.0, 0.5))
    wide, narrow = _drawings(curve(Curve("c", "x", "y", (line,), percent=True)))
    for drawing in (wide, narrow):
        places = [(float(c.get("cx")), float(c.get("cy"))) for c in drawing.iter(SVG + "circle")]
        (x0, y0), (x1, y1), (x2, y2) = places
        assert x1 == pytest.approx((x0 + x2) / 2, abs=0.11)
        assert y1 < y2 < y0, "larger values stand higher"
        assert y2 == pytest.approx((y0 + y1) / 2, abs=0.11)


def test_intervals_make_a_band_and_gaps_break_line_and_band():
    whole = Series("s", (0, 1, 2), (1, 2, 3), (0, 1, 2), (2, 3, 4))
    nan = math.nan
    gap = Series("s", (0, 1, 2, 3, 4), (1, 2, nan, 3, 4), (0, 1, nan, 2, 3), (2, 3, nan, 4, 5))
    assert curve(Curve("c", "x", "y", (whole,))).count("fill-opacity") == 2
    assert curve(Curve("c", "x", "y", (gap,))).count("fill-opacity") == 4
    assert "nan" not in curve(Curve("c", "x", "y", (gap,)))


def test_on_a_logarithmic_axis_zero_is_left_out():
    line = Series("s", (0, 0.1, 1), (1, 2, 3))
    wide, _ = _drawings(curve(Curve("c", "x", "y", (line,), log_x=True)))
    assert len(list(wide.iter(SVG + "circle"))) == 2


def test_labels_of_lines_that_end_together_do_not_overlap():
    lines = [Series(f"line {i}", (0, 1), (0, 0.001 * i)) for i in range(6)]
    wide, _ = _drawings(curve(Curve("c", "x", "y", lines, percent=True)))
    heights = sorted(
        float(t.get("y")) for t in wide.iter(SVG + "text") if t.get("class") == "series"
    )
    assert len(heights) == 6
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 12
    assert max(heights) <= float(wide.get("height"))


@pytest.mark.parametrize("figure", [
    Curve("empty", "x", "y", ()),
    Curve("nothing measured", "x", "y", (Series("s", (0, 1), (math.nan, math.nan)),)),
    Curve("one point", "x", "y", (Series("s", (1,), (1,)),)),
    Curve("long", "x", "y", (Series("s " * 60, range(40), range(40)),)),
    Curve("zeros", "x", "y", (Series("s", (0,), (0,)),), log_x=True),
])  # fmt: skip
def test_poor_figures_are_still_drawings(figure):
    for drawing in _drawings(curve(figure)):
        assert drawing.get("role") == "img"
        assert drawing.get("aria-label").startswith(figure.caption)


def test_words_are_escaped():
    line = Series('<script>alert("x")</script>', (0, 1), (0, 1))
    text = curve(Curve("<b>", "x & y", "'", (line,)))
    assert "<script" not in text
    assert "<b>" not in text
    assert len(_drawings(text)) == 2


def test_colours_follow_the_page_and_stand_alone():
    line = Series("s", (0, 1), (0, 1))
    colours = set(re.findall(r'stroke="([^"]+)"', curve(Curve("c", "x", "y", (line,)))))
    assert colours == {"var(--s1, #0b6b7d)"}
    assert ET.fromstring(swatch(3)).get("aria-hidden") == "true"


def test_a_forest_shows_each_interval_and_skips_what_is_missing():
    a = Metric("m", 0.5, 0.4, 0.6, unit="rate")
    rows = [("m", (a, None)), ("a very long name of a metric that is wrapped in two", (a, a))]
    for drawing in _drawings(forest(Forest("f", "", ("A", "B"), rows, percent=True))):
        assert len(list(drawing.iter(SVG + "circle"))) == 2
        assert len(list(drawing.iter(SVG + "rect"))) == 1
        assert "A against B" in drawing.get("aria-label")


def test_images_survive_png():
    colours = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert (read_png(png(colours)) == colours).all()
    grey = np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4, 1), 3, axis=2)
    assert (read_png(png(grey)) == grey).all()


def test_a_magnified_perturbation_tells_more_from_less():
    image, gain = magnified(np.array([[[0.1, -0.1, 0.0]]]))
    assert gain == pytest.approx(10)
    more, less, none = image[0].astype(int)
    assert more[0] > more[2], "what is added is orange"
    assert less[2] > less[0], "what is removed is blue"
    assert max(none) - min(none) < 5, "what is left alone is grey"


def test_a_magnified_colour_perturbation_is_grey_plus_gain():
    image, _ = magnified(np.zeros((3, 2, 2)), 4)
    assert image.shape == (2, 2, 3)
    assert (abs(image.astype(int) - 127) <= 1).all()
    assert magnified(np.zeros((1, 2, 2)))[1] == 1.0


def test_no_two_of_eight_lines_look_alike_without_their_colours():
    signs = [re.sub(r"var\([^)]*\)", "", swatch(index)) for index in range(8)]
    assert len(set(signs)) == 8
    lines = [Series(f"line {i}", (0, 1), (i, i)) for i in range(8)]
    colours = set(re.findall(r'fill="(var[^"]+)"', curve(Curve("c", "x", "y", lines))))
    assert len(colours) == 8


def test_a_line_that_ends_early_is_not_drawn_on_by_its_label():
    early, late = Series("early", (0, 1), (1, 2)), Series("late", (0, 9), (1, 3))
    assert curve(Curve("c", "x", "y", (early, late))).count('stroke-dasharray="1 4"') == 1
