"""Figure 5 of Hlihor et al. on the embedded digits: what is recorded, drawn and concluded."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.reconstruction import figure_5
from trompe.experiments.reconstruction._codes_page import Board
from trompe.experiments.reconstruction.figure_5 import KINDS

Outcome = tuple[list[Record], str, Path]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("codes")
    path, page = reproduce("reconstruction/figure_5", "smoke", results_root=folder / "results")
    return read_records(path), page.read_text(), page.parent


def test_the_page_shows_curves_numbers_and_layers(outcome: Outcome) -> None:
    records, page, folder = outcome
    for name, drawing in figure_5.pictures(records).items():
        assert f"(pictures/{name})" in page
        assert (folder / "pictures" / name).exists()
        assert ElementTree.fromstring(drawing).tag.endswith("svg")
    layers = {r.config["layer"] for r in records if r.metric == "relative gain"}
    assert {"encoder.0", "mean", "code"} <= layers
    assert "| encoder.2 |" in page
    assert "| mean |" not in page, "it is the code, which is shown"


def test_the_records_agree_with_each_other(outcome: Outcome) -> None:
    """Whoever turned has moved; a stretch that was found is no steeper than the steepest slopes allow."""
    board = Board("digits", outcome[0])
    for kind in KINDS:
        for stp in board.stps:
            cosine, turn = (board.one(name, kind, stp) for name in ("cosine", "turn"))
            assert cosine.value == pytest.approx(1 - turn.value, abs=1e-6)
            gain, length = board.one("gain", kind, stp, "code"), board.one("length", kind, stp)
            assert 0 < gain.value < 1.5 * board.one("local Lipschitz", kind, stp).value
            far = board.one("displacement", kind, stp)
            assert far.value == pytest.approx(gain.value * length.value, rel=0.5)
            assert far.value < board.one("diameter", kind, stp).value


def _changed(records: list[Record], metric: str, kind: str, value: float) -> list[Record]:
    """The records as if one kind's had another value, without doubt."""
    return [
        replace(r, value=value, low=value, high=value)
        if r.metric == metric and r.config["kind"] == kind
        else r
        for r in records
    ]


def test_claims_follow_the_records(outcome: Outcome) -> None:
    records = outcome[0]
    wide = _changed(_changed(records, "diameter", "ae", 30.0), "diameter", "vae", 10.0)
    assert "than a VAE's: **holds**" in figure_5.render(wide)
    assert "**holds**, 3.0 at stp 0" in figure_5.render(wide)
    grown = _changed(_changed(wide, "diameter", "dae", 50.0), "diameter", "dvae", 11.0)
    assert "for DAE: **holds**" in figure_5.render(grown)
    assert "**holds**, a factor of 1.10" in figure_5.render(grown)
    shrunk = _changed(wide, "diameter", "dae", 20.0)
    assert "for DAE: **does not hold**" in figure_5.render(shrunk)
    for value, verdict in ((-1.0, "holds"), (1.0, "does not hold")):
        moved = _changed(records, "displacement apart", "dvae - vae", value)
        assert f"less than VAE: **{verdict}**" in figure_5.render(moved)
    doubt = [
        replace(r, low=-1.0, high=1.0) if r.metric == "displacement apart" else r for r in records
    ]
    assert "less than VAE: **is unresolved**" in figure_5.render(doubt)
