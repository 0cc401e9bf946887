"""Markdown says what the page says; tables of records keep their intervals."""

import math
from dataclasses import replace

import pytest

from trompe.evaluation.records import Record
from trompe.reports import (
    Metric,
    Report,
    Table,
    markdown,
    markdown_table,
    measured,
    metric,
    pivot,
    records_table,
)
from trompe.reports.tables import curve_table, doctor_summary, metrics_table
from trompe.reports.wording import amount, duration, interval, number, percent, value


def _records():
    eps = (0.1, 0.2)
    return [
        Record.rate("robust accuracy", k, 100, subject=s, attack=a, norm="Linf", eps=e)
        for s, a, e, k in (
            ("MLP", "PGD(steps=40)", eps[0], 41),
            ("MLP", "PGD(steps=40)", eps[1], 3),
            ("LeNet", "PGD(steps=40)", eps[0], 77),
        )
    ]


def test_markdown_says_everything_the_report_says(report):
    text = markdown(report)
    for finding in report.findings:
        assert finding.headline in text
    for check in report.doctor:
        assert check.name in text
    for words in (*report.untested, report.verdict, report.command, "**failed**", "1,284,410"):
        assert words in text
    for section in report.sections:
        assert f"## {section.title}" in text
        assert all(block.caption in text for block in section.blocks)
    assert "Partial report" not in text
    assert "\0" not in text


def test_markdown_orders_findings_by_severity(report):
    text = markdown(report)
    places = [text.index(f"### {word}") for word in ("Critical", "High", "Medium", "Low", "Info")]
    assert places == sorted(places)


def test_markdown_marks_a_partial_report(report):
    text = markdown(replace(report, partial=True, missing="Stopped after 2 of 5 attacks."))
    assert "**Partial report.** Stopped after 2 of 5 attacks." in text
    assert "**Partial report.**" in markdown(replace(report, partial=True))


def test_markdown_shows_foreign_words_as_they_are():
    table = Table("t", ("a|b",), [("x|y\n<b>*z*</b>",), ("`a|b`",)])
    lines = markdown_table(table).splitlines()
    assert len(lines) == 4
    assert lines[0] == r"| a\|b |"
    assert lines[2] == r"| x\|y &lt;b>\*z\*&lt;/b> |"
    assert lines[3] == r"| `a\|b` |"


def test_a_command_with_backticks_stays_in_its_fence():
    text = markdown(Report("t", "s", "echo ```", "d"))
    assert "````sh\necho ```\n````" in text


def test_columns_of_numbers_are_set_right():
    table = Table("t", ("model", "clean", "note"), [("a", 0.5, "x"), ("b", None, "y")])
    assert markdown_table(table).splitlines()[1] == "|:--|--:|:--|"
    assert markdown_table(Table("t", ("a", "b"), [])).splitlines() == ["| a | b |", "|:--|:--|"]


def test_the_numbers_of_a_figure_are_a_table(report):
    robust, distortion = report.sections[0].blocks[0], report.sections[1].blocks[0]
    table = curve_table(robust)
    assert table.columns[1:] == ("No defence", "VAE, naive attacker", "VAE, adaptive attacker")
    assert [row[0] for row in table.rows] == ["0", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3"]
    assert table.rows[2][1].startswith("35.2% (")
    assert curve_table(distortion).rows[0][1] == "0.04"


def test_columns_nobody_fills_are_left_out():
    assert metrics_table([Metric("m", 0.5)]).columns == ("Number", "Value")
    full = metrics_table([Metric("m", 0.5, 0.4, 0.6, 10, "rate", "higher", "Wilson 95%", "t")])
    assert full.rows == (("m", "50.0%", "40.0% to 60.0%", "Wilson 95%", 10, "A"),)
    assert full.note == "A. t"


def test_the_doctor_is_summed_up(report):
    assert doctor_summary(report.doctor) == "5 of 7 passed, 1 failed, 1 not made"
    assert doctor_summary(report.doctor[:2]) == "2 of 2 passed"


def test_records_become_rows():
    table = records_table(_records(), "Robust accuracy")
    assert table.columns == ("Subject", "Attack", "Norm", "eps", "Metric", "Value", "n")
    first = table.rows[0]
    assert first[0] == "MLP"
    assert first[5].startswith("41.0% (")
    clean = records_table([Record("clean accuracy", 0.9, 10, subject="MLP")])
    assert clean.columns == ("Subject", "Metric", "Value", "n")


def test_records_become_a_matrix():
    table = pivot(_records())
    assert table.columns == ("Subject", "eps 0.1", "eps 0.2")
    assert [row[0] for row in table.rows] == ["MLP", "LeNet"]
    assert table.rows[1][2] is None
    assert table.rows[0][2].startswith("3.0% (")


def test_a_record_becomes_a_metric():
    made = metric(_records()[0], better="higher")
    assert made.name == "robust accuracy, MLP, PGD(steps=40), Linf eps 0.1"
    assert (made.value, made.n, made.unit, made.better) == (0.41, 100, "rate", "higher")
    assert made.low < 0.41 < made.high
    assert metric(_records()[0], "mine").name == "mine"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (number(1e-5), "1e-5"),
        (number(-0.25), "−0.25"),
        (number(math.nan), "not measured"),
        (number(-math.inf), "−infinite"),
        (percent(-0.01), "−1.0%"),
        (percent(math.nan), "not measured"),
        (duration(0.21), "0.21 s"),
        (duration(59.7), "1 min 0 s"),
        (duration(7384), "2 h 3 min"),
        (value(math.inf), "infinite"),
        (amount("images", True), "yes"),
        (amount("device", "cpu"), "cpu"),
        (interval(Metric("m", 1.0)), ""),
        (measured(Metric("m", 2.5, unit="MSE")), "2.5 MSE"),
        (measured(Metric("m", 2.5, 2, 3, 7)), "2.5 (2 to 3, n = 7)"),
    ],
)
def test_numbers_are_written_as_people_write_them(said, expected):
    assert said == expected
