"""Communication under attack: every item at its smallest, and what pages say of records made by hand."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from trompe.evaluation.block_error import Count
from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.comms import black_box, summary, white_box
from trompe.experiments.comms._links import (
    ARRIVALS,
    CLEAN,
    JAMMING,
    PUBLISHED_VECTOR,
    at_psr,
    vector,
)
from trompe.experiments.comms._page import beside, curves_of, decibels, ratio, within


def point(curve: str, snr: float, errors: int, blocks: int = 100_000) -> Record:
    return Count(errors, blocks).record(extra={"snr": snr}, config={"curve": curve})


def test_white_box_measures_every_curve_and_judges_every_claim(tmp_path: Path) -> None:
    path, page = reproduce("comms/white_box", "smoke", results_root=tmp_path / "r")
    records, text = read_records(path), page.read_text()
    curves = curves_of(records)
    for name in (JAMMING, white_box.ONE, white_box.BEST, "direct"):
        assert list(curves[at_psr(-6, name)]) == [0.0, 4.0, 8.0, 14.0]
    assert text.count("\n- That") == 9
    assert text.count("**") % 2 == 0
    shown = white_box.pictures(records)
    assert all(f"pictures/{name}" in text for name in shown)
    for picture in shown.values():
        assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_black_box_measures_every_form_of_arrival(tmp_path: Path) -> None:
    path, page = reproduce("comms/black_box", "smoke", results_root=tmp_path / "r")
    records, text = read_records(path), page.read_text()
    forms = {(r.attack, r.config["arrival"]) for r in records if r.metric == black_box.MORE}
    assert len(forms) == (len(black_box.SENT) + 3) * len(ARRIVALS) - 2
    assert curves_of(records).keys() >= {at_psr(-6, black_box.LOST), at_psr(-6, black_box.CEILING)}
    assert text.count("beats jamming, block by block,") == 7
    assert "of 8 drawn blindly" in text
    (drawing,) = black_box.pictures(records).values()
    assert ElementTree.fromstring(drawing).tag.endswith("svg")


def test_a_killed_run_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(config: object) -> None:
        raise KeyboardInterrupt

    where = {"results_root": tmp_path / "r", "resume": True}
    with monkeypatch.context() as patch:
        patch.setattr(white_box, "_compared", killed)
        with pytest.raises(KeyboardInterrupt):
            reproduce("comms/white_box", "smoke", **where)  # type: ignore[arg-type]
    monkeypatch.setattr(white_box, "_clean", killed)
    monkeypatch.setattr(white_box, "_attacked", killed)
    path, _ = reproduce("comms/white_box", "smoke", **where)  # type: ignore[arg-type]
    assert {r.config["cell"] for r in read_records(path)} >= {"clean", "PSR -6 dB", "compared"}


def test_a_claim_is_judged_by_its_whole_interval() -> None:
    asked = 5e-3
    assert within(point(CLEAN, 5, 700), asked) == "**holds**"
    assert within(point(CLEAN, 5, 2000), asked) == "**does not hold**"
    assert within(point(CLEAN, 5, 1000), asked) == "is **unresolved**"
    assert within(None, asked) == "is **unresolved**"


def test_a_ratio_has_an_interval_and_needs_errors_on_both_sides() -> None:
    times = ratio(point("a", 8, 1000), point("b", 8, 100))
    assert times.value == pytest.approx(10)
    assert times.low < 9 < 11 < times.high
    assert str(ratio(point("a", 8, 1000), point("b", 8, 0))) == "not measured"
    assert str(ratio(point("a", 8, 0), point("b", 8, 1000))) == "below 0.0032"


def test_published_points_stand_beside_ours() -> None:
    curves = curves_of([point(CLEAN, 5, 1000), point(CLEAN, 9, 0)])
    text = beside(curves, {CLEAN: (((5.0, 5e-3), (9.0, 2e-6), (14.0, 1e-9)), "a plot")})
    text = text.replace("\\", "")
    assert "| clean | 5 | 0.005 | 0.01 [0.0094, 0.011] (100,000) | 2 [1.9, 2.1] |" in text
    assert "below 3e-5 (100,000 blocks)" in text
    assert "| clean | 14 | 1e-9 | – | – |" in text


def test_decibels_between_two_curves() -> None:
    one = {0.0: point("a", 0, 10_000), 10.0: point("a", 10, 1000)}
    late = {3.0: point("b", 3, 10_000), 13.0: point("b", 13, 1000)}
    told = decibels(late, one, 0.03)
    assert told is not None
    assert told.startswith("+3.0 [+2")
    assert decibels(late, one, 1e-5) is None


def test_the_published_vector_has_the_power_it_is_given() -> None:
    delta = vector(-6.0).delta
    assert delta.shape == (1, len(PUBLISHED_VECTOR))
    assert float(delta.detach().square().sum()) == pytest.approx(7 * 10**-0.6, rel=1e-6)


def test_the_head_of_the_page_judges_what_is_recorded_and_leaves_out_the_rest() -> None:
    jam, names = at_psr(-6, JAMMING), (white_box.ONE, white_box.BEST, "direct")
    white = [point(CLEAN, 5, 700), point(CLEAN, 7, 200), point(jam, 8, 500)]
    white += [point(at_psr(-6, n), 8, e) for n, e in zip(names, (1000, 2500, 9000), strict=True)]
    text = summary({"white_box": white, "hamming": []})
    told = [line.split("|")[2].split(":")[0].strip() for line in text.splitlines()[6:]]
    holds, fails = "**holds**", "**does not hold**"
    assert told == [holds, fails, fails, "is **unresolved**", holds]
    assert summary({"white_box": [], "black_box": []}) == ""
