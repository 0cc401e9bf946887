"""The page says everything, escapes everything, loads nothing and can be read by everyone."""

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest

from trompe.reports import Check, Finding, Grid, Report, Section, Table, checks, html
from trompe.reports.page import _numeric

VOID = {"meta", "link", "img", "br", "input", "hr"}
HOSTILE = "<script>alert(\"x\")</script><img src=x onerror=alert(1)> & 'quoted'"


class _Reader(HTMLParser):
    """Elements with their attributes, ids, headings, and whether they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, *tags):
        return [attributes for tag, attributes in self.found if tag in tags]


def _read(report):
    reader = _Reader()
    reader.feed(html(report))
    reader.close()
    assert reader.open == [], "every element is closed"
    return reader


@pytest.fixture
def page(report):
    return _read(report)


def test_the_page_says_everything(report, page):
    said = " ".join(page.text.split()).replace("\N{NO-BREAK SPACE}", " ")
    for finding in report.findings:
        assert finding.headline in said
        assert finding.interval in said
        assert finding.threat in said
    for check in report.doctor:
        assert check.name in said
        assert check.why in said
    for words in (*report.untested, report.verdict, report.command, report.summary):
        assert words in said
    for metric in report.metrics:
        assert metric.name in said
    for words in ("1 min 21 s", "1,284,410", "2.13.0", "20 November 2026, 19:24 UTC"):
        assert words in said
    assert "Partial" not in said


def test_findings_come_by_severity_and_carry_it_in_words(report, page):
    badges = re.findall(r"Severity: (\w+)", page.text)
    assert badges == ["Critical", "High", "Medium", "Low", "Info"]


def test_a_partial_report_says_so_first(report):
    text = html(replace(report, partial=True, missing="Stopped after 2 of 5 attacks."))
    assert "<title>Partial: " in text
    assert text.index("Stopped after 2 of 5 attacks.") < text.index("Findings</h2>")
    assert "The run was stopped" in html(replace(report, partial=True))


def test_nothing_is_loaded_and_nothing_runs(page):
    assert page.all("script", "iframe", "object", "embed", "base", "form") == []
    policy = next(m for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")
    for _, attributes in page.found:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert value.startswith(("data:", "#"))
    assert "url(" not in files("trompe.reports").joinpath("page.css").read_text()
    assert "@import" not in files("trompe.reports").joinpath("page.css").read_text()


def test_foreign_words_are_escaped_wherever_they_stand():
    image = np.zeros((2, 2), dtype=np.uint8)
    table = Table(HOSTILE, (HOSTILE, "b"), [(HOSTILE, HOSTILE)], HOSTILE, HOSTILE)
    grid = Grid(HOSTILE, (HOSTILE,), [[image]], (HOSTILE,), ((HOSTILE,),), HOSTILE, HOSTILE)
    reader = _read(
        Report(
            HOSTILE,
            HOSTILE,
            HOSTILE,
            HOSTILE,
            HOSTILE,
            (Finding("high", HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
            (Section(HOSTILE, HOSTILE, (table, grid), HOSTILE),),
            (),
            (Check(HOSTILE, None, HOSTILE, HOSTILE, HOSTILE),),
            HOSTILE,
            {HOSTILE: HOSTILE},
            (HOSTILE,),
            {HOSTILE: HOSTILE},
            {HOSTILE: HOSTILE},
            True,
            HOSTILE,
        )
    )
    assert reader.all("script") == []
    assert len(reader.all("img")) == 1
    assert reader.text.count("alert(1)") > 20


def test_headings_ids_and_alternatives_are_in_order(page):
    levels = [int(tag[1]) for tag, _ in page.found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    ids = [a["id"] for _, a in page.found if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"][1:] for a in page.all("a")}
    labels = {a["aria-labelledby"] for _, a in page.found if "aria-labelledby" in a}
    assert links | labels <= set(ids)
    images = page.all("img")
    assert len(images) == 20
    assert all(image["alt"] for image in images)
    assert any("Adversarial, Image 3: read as 3" in image["alt"] for image in images)
    drawings = [a for a in page.all("svg") if a.get("role") == "img"]
    assert len(drawings) == 4
    assert all(a["aria-label"] for a in drawings)
    captions = len(page.all("caption")) + sum("aria-labelledby" in a for a in page.all("table"))
    assert captions == len(page.all("table"))
    regions = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert regions
    assert all(a.get("tabindex") == "0" and a.get("role") == "region" for a in regions)


def test_the_smallest_report_is_a_page():
    reader = _read(Report("t", "s", "c", "yesterday"))
    assert "This run has no findings." in reader.text
    assert "yesterday" in reader.text
    assert "Can these numbers" not in reader.text


def test_words_between_backticks_are_code_and_a_lone_backtick_is_itself():
    text = html(Report("t", "s", "c", "d", "Use `eps`.\n\nA lone ` stays."))
    assert "<p>Use <code>eps</code>.</p><p>A lone ` stays.</p>" in text


def test_columns_of_numbers_are_told_from_words():
    rows = (("a", "61.4%", 360, "PGD", None, "2026-01-02", True, "−0.1 ± 0.2", "3 digits"),)
    assert _numeric(rows) == {1, 2, 5, 7}
    assert _numeric(()) == set()


def test_the_doctors_checks_become_rows(report):
    class Seen:
        name, passed, detail, why = "more steps", True, "fine", "because"

    assert checks([Seen()], "MLP") == (Check("more steps", True, "fine", "because", "MLP"),)


def _schemes():
    """The colours of the light and of the dark scheme."""
    style = files("trompe.reports").joinpath("page.css").read_text(encoding="utf-8")
    light, dark = (style.split(":root {")[i].split("}")[0] for i in (1, 2))
    first = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return {"light": first, "dark": first | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark))}


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one, two):
    low, high = sorted((_luminance(one), _luminance(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_either_scheme(scheme):
    colours = _schemes()[scheme]
    severities = ("critical", "high", "medium", "low", "info")
    pairs = [(name, "paper") for name in ("ink", "soft", "link", *severities)]
    pairs += [(f"s{i}", "paper") for i in range(1, 7)]
    pairs += [(name, f"{name}-wash") for name in severities] + [("ink", "wash")]
    pairs += [("ink", "medium-wash")]
    for text, ground in pairs:
        assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
