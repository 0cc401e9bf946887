"""Drawings of radio links: points stand where their numbers say, and what was not measured looks so."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch

from trompe.core.errors import UserError
from trompe.reports.radio import ErrorCurve, constellation, error_curves, stems

SVG = "{http://www.w3.org/2000/svg}"
HALVES = ((0, 1e-1, 9e-2, 2e-1), (2, 1e-2, 9e-3, 2e-2), (4, 1e-4, 5e-5, 2e-4))
SQUARE = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]


def _all(text: str, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(text).iter(SVG + tag))


def _words(text: str) -> list[str]:
    return ["".join(element.itertext()) for element in _all(text, "text")]


def _heights(text: str) -> list[float]:
    return [float(c.get("cy")) for c in _all(text, "circle")]


def test_each_decade_of_the_error_rate_has_the_same_room():
    first, second, third = _heights(error_curves([ErrorCurve("clean", HALVES)]))
    assert (third - second) == pytest.approx(2 * (second - first), abs=0.3)
    assert first < second < third, "more errors stand higher"


def test_an_error_rate_of_zero_is_an_upper_bound():
    points = (*HALVES, (6, 0.0, 0.0, 3e-6))
    drawn = error_curves([ErrorCurve("clean", points)])
    bounds = [p for p in _all(drawn, "path") if "h10" in p.get("d", "")]
    assert len(_heights(drawn)) == 3, "the bound is no point of the line"
    assert len(bounds) == 1
    height = float(bounds[0].get("d").split("h")[0].split()[1])
    assert height > max(_heights(drawn))
    assert "0 (0 to 3e-6) at 6" in "".join(bounds[0].itertext())
    assert "arrow: at most" in _words(drawn)
    assert "nan" not in drawn


def test_what_was_published_is_hollow_without_a_line_and_wears_its_curves_colour():
    lone = ErrorCurve("clean", HALVES)
    paper = ErrorCurve("clean", ((2, 1e-2, 1e-2, 1e-2),), measured=False)
    drawn = error_curves([lone, paper])
    *filled, hollow = _all(drawn, "circle")
    assert hollow.get("fill") == "none"
    assert hollow.get("stroke") == filled[0].get("fill")
    assert float(hollow.get("cy")) == float(filled[1].get("cy"))
    assert drawn.count('stroke-linejoin="round"') == 1
    assert _words(drawn).count("clean") == 1, "one label for both"
    assert "hollow: published" in _words(drawn)
    assert "hollow: published" not in _words(error_curves([lone]))


def test_titles_and_marks_are_drawn_and_every_word_is_escaped():
    curve = ErrorCurve("<script>", HALVES)
    drawn = error_curves([curve], title="a & <b>", marks=((2, "<i>trained"),), x='"dB"')
    assert {"<script>", "a & <b>", "<i>trained", '"dB"'} <= set(_words(drawn))
    assert "<script" not in drawn
    for other in (constellation(SQUARE, 1, title="<b>"), stems([1.0, 0.0], 1, title="<b>")):
        assert "<b>" in _words(other)


@pytest.mark.parametrize("curves", [
    [],
    [ErrorCurve("nothing", ())],
    [ErrorCurve("never", ((0, 0.0, 0.0, 3e-7),))],
    [ErrorCurve("always", ((0, 1.0, 0.9, 1.0),))],
    [ErrorCurve("unknown", ((0, math.nan, math.nan, math.nan), (1, 0.1, 0.1, 0.1)))],
])  # fmt: skip
def test_poor_curves_are_still_drawings(curves):
    assert "nan" not in error_curves(curves)


def test_a_constellation_has_a_panel_for_each_use_on_axes_of_equal_scale():
    drawn = constellation(np.tile(SQUARE, (1, 2))[:, [0, 2, 1, 3]], 2)
    assert [w for w in _words(drawn) if "use" in w] == ["channel use 1", "channel use 2"]
    points = _all(drawn, "circle")[:4]
    right, up, left, down = [(float(p.get("cx")), float(p.get("cy"))) for p in points]
    assert right[0] - left[0] == pytest.approx(down[1] - up[1], abs=0.11)
    assert right[1] == left[1]
    assert up[1] < down[1], "quadrature points upwards"


def test_the_perturbation_moves_every_point_by_the_same():
    drawn = constellation(SQUARE, 1, perturbation=[[0.5, -0.25]], deviation=0.2)
    moved, sent = _all(drawn, "rect")[:4], _all(drawn, "circle")[:4]
    side = float(moved[0].get("width")) / 2
    shifts = {
        (
            round(float(m.get("x")) + side - float(s.get("cx"))),
            round(float(m.get("y")) + side - float(s.get("cy"))),
        )
        for m, s in zip(moved, sent, strict=True)
    }
    assert len(shifts) == 1
    ((right, down),) = shifts
    assert right > 0
    assert down == pytest.approx(right / 2, abs=1)
    assert "norm 0.559" in ET.fromstring(drawn).get("aria-label")
    assert drawn.count("fill-opacity") == 4, "a circle of noise around each point"


def test_blocks_in_phase_only_stand_on_the_axis():
    drawn = constellation([[1.0, -1.0], [-1.0, 1.0]], 2)
    assert len(set(_heights(drawn)[:4])) == 1


def test_stems_reach_from_zero_to_each_number():
    drawn = stems([0.5, -0.25, 0.0, 0.1], 2)
    in_phase, in_quadrature = _all(drawn, "circle")[:2], _all(drawn, "rect")[:2]
    (zero,) = {float(p.get("d").split()[1].split("V")[0].split("H")[0])
               for p in _all(drawn, "path") if p.get("class") == "axis"}  # fmt: skip
    above, below = [zero - float(p.get("cy")) for p in in_phase]
    assert above == pytest.approx(-2 * below, abs=0.2)
    assert len(in_quadrature) == 2
    assert "in quadrature" not in _words(stems([0.5, -0.25], 2))
    assert stems([0.0, 0.0], 1).startswith("<svg")


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [math.nan, 1.0], [], [[[1.0, 2.0]]]])
def test_numbers_that_are_no_block_are_refused_in_a_sentence(values):
    with pytest.raises(UserError, match=r"numbers in each block|not finite"):
        stems(values, 1)
    with pytest.raises(UserError, match=r"numbers in each block|not finite"):
        constellation(SQUARE, 1, perturbation=values)


def test_two_rows_are_not_one_perturbation():
    with pytest.raises(UserError, match="one perturbation is drawn, got 2"):
        stems([[0.5, 0.1], [0.2, 0.3]], 2)


def test_the_same_numbers_make_the_same_drawing():
    for draw in (
        lambda: error_curves([ErrorCurve("clean", HALVES)]),
        lambda: constellation(SQUARE, 1, [0.1, 0.2], 0.3),
        lambda: stems([0.1, 0.2], 1),
    ):
        assert draw() == draw()


def test_tensors_that_carry_a_gradient_are_drawn_as_their_numbers():
    numbers = [[0.5, -0.25]]
    tensor = torch.tensor(numbers, requires_grad=True)
    assert stems(tensor, 1) == stems(numbers, 1)
    assert constellation(SQUARE, 1, tensor) == constellation(SQUARE, 1, numbers)
