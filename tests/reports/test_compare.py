"""Two reports side by side: a difference is one where the intervals part."""

from dataclasses import replace

import pytest

from trompe.reports import Metric, Report, compare, html, markdown
from trompe.reports.compare import outcome


def _report(*metrics, **rest):
    return Report("Audit", "a model", "trompe audit", "2026-11-20", metrics=metrics, **rest)


def _rate(value, half=0.05, **rest):
    rest = {"unit": "rate", "better": "higher", "n": 100} | rest
    return Metric("robust accuracy", value, value - half, value + half, **rest)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (_rate(0.8), _rate(0.5), "worse"),
        (_rate(0.5), _rate(0.8), "better"),
        (_rate(0.8, better="lower"), _rate(0.5, better="lower"), "better"),
        (_rate(0.8, better=""), _rate(0.5, better=""), "different"),
        (_rate(0.8), _rate(0.72), "unclear"),
        (Metric("m", 0.5, 0.4, 0.6), Metric("m", 0.7, 0.6, 0.8), "unclear"),
        (_rate(0.8), _rate(0.8), "same"),
        (_rate(0.8), Metric("m", 0.1), "no interval"),
        (Metric("m", 0.1), Metric("m", 0.1), "same"),
    ],
)
def test_outcomes(a, b, expected):
    assert outcome(a, b) == expected


def test_a_loss_is_a_finding_and_a_large_one_is_severe():
    small = compare(_report(_rate(0.8)), _report(_rate(0.65)))
    large = compare(_report(_rate(0.8)), _report(_rate(0.2)))
    gain = compare(_report(_rate(0.2)), _report(_rate(0.8)))
    assert [f.severity for r in (small, large, gain) for f in r.findings] == [
        "medium",
        "high",
        "info",
    ]
    assert large.findings[0].headline == "Robust accuracy fell from 80.0% to 20.0%: worse"
    assert "rose" in gain.findings[0].headline


def test_overlap_is_no_finding_and_no_proof():
    page = compare(_report(_rate(0.8)), _report(_rate(0.78)))
    assert page.findings == ()
    assert "no proof" in page.summary


def test_different_threat_models_are_said():
    a, b = _rate(0.8, threat="Knows all."), _rate(0.2, threat="Knows nothing.")
    finding = compare(_report(a), _report(b)).findings[0]
    assert "different threat models" in finding.detail
    assert "Knows all." in finding.detail
    assert compare(_report(a), _report(a)).findings == ()


def test_what_only_one_has_or_has_in_another_unit_stands_apart():
    a = _report(_rate(0.8), Metric("time", 3.0, unit="s"), Metric("only A", 1.0))
    b = _report(_rate(0.8), Metric("time", 3.0, unit="min"))
    last = compare(a, b).sections[-1]
    assert last.title == "In one report only"
    assert last.blocks[0].rows == (("time", "3 s", "3 min"), ("only A", "1", None))


def test_nothing_in_common():
    page = compare(_report(Metric("x", 1.0)), _report(Metric("y", 1.0)))
    assert "no number in common" in page.summary
    assert "Side by side" not in [section.title for section in page.sections]


def test_settings_that_differ_are_shown_and_partial_reports_named():
    a = _report(_rate(0.8), settings={"seed": 0, "eps": 0.1}, environment={"torch": "2.13"})
    b = _report(
        _rate(0.8),
        settings={"seed": 1, "eps": 0.1},
        environment={"torch": "2.14"},
        partial=True,
        missing="Stopped.",
    )
    page = compare(a, b)
    assert page.partial
    assert page.missing == "B is a partial report. Stopped."
    tables = {t.caption: t.rows for t in page.sections[0].blocks}
    assert tables["Settings that differ"] == (("seed", 0, 1),)
    assert tables["Environment in which they differ"] == (("torch", "2.13", "2.14"),)


def test_a_comparison_is_a_report_like_any_other(report):
    worse = replace(report.metrics[0], value=0.5, low=0.45, high=0.55)
    other = replace(report, metrics=(worse, *report.metrics[1:]))
    page = compare(report, other, command="trompe compare a b", created="2026-11-20")
    assert page.command == "trompe compare a b"
    assert page.untested == report.untested
    assert "The rates with their intervals" in html(page)
    assert "Clean accuracy fell from 97.2% to 50.0%" in markdown(page)
