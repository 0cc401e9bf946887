"""Figures 1 to 4 of Hlihor et al. on the embedded digits: what is attacked, judged and concluded."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.reconstruction import (
    _attacked,
    figure_1,
    figure_2,
    figure_3,
    figure_4,
)
from trompe.experiments.reconstruction._attacked import CONTROL, PAPER, Defended, measured
from trompe.experiments.reconstruction._claims import BARE, Board, Claim, Figure, Line
from trompe.experiments.reconstruction._curves_page import _singly, _steps

Outcome = tuple[list[Record], str, Path]
ITEMS: dict[str, ModuleType] = {
    "figure_1": figure_1,
    "figure_2": figure_2,
    "figure_3": figure_3,
    "figure_4": figure_4,
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outcome]:
    """Run an item once: its records, its page, and where that lies."""
    folder, known = tmp_path_factory.mktemp("reconstruction"), {}

    def run(item: str) -> Outcome:
        if item not in known:
            path, page = reproduce(
                f"reconstruction/{item}", "smoke", results_root=folder / "results"
            )
            known[item] = (read_records(path), page.read_text(), page.parent)
        return known[item]

    return run


@pytest.mark.parametrize("item", ITEMS)
def test_each_figure_shows_its_curves_and_judges_its_claims(
    outcome: Callable[[str], Outcome], item: str
) -> None:
    records, page, folder = outcome(item)
    for name, drawing in ITEMS[item].pictures(records).items():
        assert f"(pictures/{name})" in page
        assert (folder / "pictures" / name).exists()
        assert ElementTree.fromstring(drawing).tag.endswith("svg")
    assert f"under {PAPER} it **" in page
    assert f"under {CONTROL} it **" in page


@pytest.mark.parametrize("item", ITEMS)
def test_no_attack_helps_where_nothing_is_drawn(
    outcome: Callable[[str], Outcome], item: str
) -> None:
    """An image counts as wrong clean, or is attacked; it never becomes right."""
    board = Board(outcome(item)[0])
    lines = {Line(*(r.config[k] for k in Line._fields)) for r in outcome(item)[0]}
    assert BARE in lines
    for line in (line for line in lines if line.scale == 0):
        clean = board.right("digits", [line], "", [0.0])
        for by in (PAPER, CONTROL):
            for eps in board.radii("digits"):
                assert bool((board.right("digits", [line], by, [eps]) <= clean).all())


def test_a_model_of_two_figures_is_measured_once(outcome: Callable[[str], Outcome]) -> None:
    for item in ITEMS:
        outcome(item)
    ours = {
        item: [r for r in outcome(item)[0] if r.config["kind"] == "vae" and r.config["stp"] == 0.4]
        for item in ("figure_2", "figure_3", "figure_4")
    }
    assert len(ours["figure_3"]) == len(_attacked.SAMPLED) * 5
    dates = {item: [(r.value, r.created) for r in found] for item, found in ours.items()}
    assert dates["figure_2"] == dates["figure_3"] == dates["figure_4"]


def test_all_scales_are_judged_on_one_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    find = _attacked.Cell._found
    monkeypatch.setattr(
        _attacked.Cell, "_found", lambda *given: made.append(given[1]) or find(*given)
    )
    setting = replace(_attacked.SMOKE, n=4, steps=2, control=2)
    records = measured.__wrapped__(setting, Defended("digits", "vae", 0.4))
    assert len(made) == 4
    assert all(str(attack).startswith("Still(") for attack in made)
    assert len(records) == 5 * 5


def test_shares_of_draws_are_counted(outcome: Callable[[str], Outcome]) -> None:
    for record in outcome("figure_3")[0]:
        counts = [int(c) for c in record.config["right"]]
        assert record.config["drawn"] == (5 if record.config["scale"] else 1)
        assert max(counts) <= record.config["drawn"]
        assert record.value == pytest.approx(sum(counts) / record.config["drawn"] / record.n)


def test_without_noise_or_penalty_a_kind_is_the_plain_one() -> None:
    assert Defended("digits", "dvae") == Defended("digits", "vae")
    assert Defended("digits", "cae", 0.1) == Defended("digits", "ae", 0.1)
    assert str(Defended("digits", "cvae", 0.1, 0.01)) == "digits, CVAE, stp 0.1, weight 0.01"


def line(kind: str, right: str, eps: float = 0.1, by: str = PAPER) -> Record:
    about = {"data": "d", "kind": kind, "stp": 0.1, "weight": 0.0, "scale": 0.0}
    about |= {"by": by, "right": right, "drawn": 1}
    return Record("accuracy", right.count("1") / len(right), len(right), eps=eps, config=about)


def test_a_difference_is_paired_image_by_image() -> None:
    board = Board([line("dae", "1" * 60), line("ae", "0" * 30 + "1" * 30), line("cae", "01" * 30)])
    dae, ae, cae = (Line(kind, 0.1) for kind in ("dae", "ae", "cae"))
    gap = board.gap("d", Claim("better", [dae], [ae]), PAPER)
    assert (gap.value, gap.n) == (0.5, 60)
    verdicts = [
        claim.verdict(board.gap("d", claim, PAPER))
        for claim in (
            Claim("better", [dae], [ae]),
            Claim("better", [ae], [dae]),
            Claim("better", [ae], [cae]),
            Claim("not better", [ae], [dae], little=True),
            Claim("not better", [dae], [ae], little=True),
        )
    ]
    assert verdicts == ["holds", "does not hold", "is unresolved", "holds", "does not hold"]


def test_a_claim_is_about_the_radii_it_names() -> None:
    by = ("", PAPER, PAPER)
    rows = {"ae": ("11", "11", "00"), "dae": ("11", "10", "01")}
    records = [
        line(kind, right, eps, name)
        for kind, rights in rows.items()
        for eps, right, name in zip((0.0, 0.1, 0.3), rights, by, strict=True)
    ]
    board = Board(records)
    for at, value in (("none", 0.0), ("all radii", 0.0), ("the largest", 0.5)):
        claim = Claim("", [Line("dae", 0.1)], [Line("ae", 0.1)], at)  # type: ignore[arg-type]
        assert board.gap("d", claim, PAPER).value == value


def test_signs_are_taken_from_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from trompe import data

    every = data.from_arrays(torch.rand(60, 1, 8, 8), torch.arange(60) // 6)
    monkeypatch.setattr(data, "load", lambda name, split: every)
    monkeypatch.setattr(Defended, "stack", lambda self, device: {})
    setting = replace(_attacked.SMOKE, n=10)
    assert _attacked.Cell(setting, Defended("btsc")).y.tolist() == list(range(10))
    assert _attacked.Cell(setting, Defended("mnist")).y.tolist() == [0] * 6 + [1] * 4


def test_a_step_that_costs_is_told_though_the_ends_rise() -> None:
    rights = {0.1: "0" * 60, 0.2: "1" * 60, 0.4: "0" * 30 + "1" * 30}
    records = [
        replace(r, config={**r.config, "stp": stp, "by": by})
        for stp, right in rights.items()
        for r in [line("ae", right)]
        for by in (PAPER, CONTROL)
    ]
    figure = Figure(1, (), (), (tuple(Line("ae", stp) for stp in rights),))
    said = _steps(figure, Board(records))
    assert said.count("AE, stp 0.2 to AE, stp 0.4 on d under") == 2
    assert "AE, stp 0.1 to" not in said


def test_a_single_weight_that_helps_is_told_though_the_mean_does_not() -> None:
    rights = {0.0: "0" * 30 + "1" * 30, 0.1: "1" * 60, 1.0: "0" * 60}
    records = [
        replace(r, config={**r.config, "weight": weight, "by": by})
        for weight, right in rights.items()
        for r in [line("cae", right)]
        for by in (PAPER, CONTROL)
    ]
    none, *some = (Line("cae", 0.1, weight) for weight in rights)
    said = _singly(Figure(4, (), (Claim("", some, [none]),)), Board(records))
    assert "Of 4 comparisons of a single weight with none" in said
    assert "2 lie above zero by their intervals and 2 below" in said
    assert said.count("CAE, stp 0.1, weight 0.1 on d under") == 2
    assert not _singly(Figure(1, (), (Claim("", some, [none, none]),)), Board(records))
