"""The items of LatentPoison, on the embedded digits in seconds."""

from dataclasses import replace
from pathlib import Path

import pytest

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.latentpoison import digits, tables_1_2
from trompe.experiments.latentpoison._page import Found
from trompe.experiments.latentpoison._runs import FACES, SMOKE, Lab, effective_beta


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[Record]], Path]:
    folder = tmp_path_factory.mktemp("latentpoison")
    *files, page = reproduce("latentpoison", "smoke", results_root=folder / "results")
    return {path.name.split(".")[0]: read_records(path) for path in files}, page


def test_the_independent_shift_turns_the_judge_both_ways(
    outcome: tuple[dict[str, list[Record]], Path],
) -> None:
    found = Found(outcome[0]["tables_1_2"])
    for way in ("0 -> 1", "1 -> 0"):
        assert found.at("flip rate", "Independent, L2, rho 0.1", way).value > 0.8


def test_an_l1_price_is_sparser(outcome: tuple[dict[str, list[Record]], Path]) -> None:
    found = Found(outcome[0]["table_3"])
    sparse, dense = (found.vectors(f"Independent, {norm}, rho 0.1")[0] for norm in ("L1", "L2"))
    assert sparse.value > dense.value + 0.1


def test_a_dear_price_gives_a_shorter_shift(outcome: tuple[dict[str, list[Record]], Path]) -> None:
    found = Found(outcome[0]["tables_1_2"])
    cheap, dear = (
        found.vectors(f"Independent, L2, rho {rho}")[0].extra["L2"] for rho in ("0.1", "1")
    )
    assert dear < cheap


def test_confidences_are_complete_and_gaps_follow_from_them(
    outcome: tuple[dict[str, list[Record]], Path],
) -> None:
    found = Found(outcome[0]["table_3"])
    for attack in found.attacks():
        for way in ("0 -> 1", "1 -> 0"):
            rebuilt = found.at("confidence", attack, f"reconstruction {way[-1]}").value
            gap = abs(rebuilt - found.at("confidence", attack, way).value)
            assert found.at("epsilon gap", attack, way).value == pytest.approx(gap)


def test_judge_and_attacker_are_two_networks() -> None:
    recipes = Lab(SMOKE).recipes()
    assert recipes["judge"].model.kind != recipes["attacker"].model.kind
    assert recipes["judge"].seed != recipes["attacker"].seed


def test_the_effective_beta_of_the_papers_reduction() -> None:
    assert effective_beta(FACES) == pytest.approx(0.1 * 64 * 64 / 200)
    assert effective_beta(replace(FACES, reduction="elbo", alpha=1.0)) == 1.0


def test_the_page_says_what_follows(outcome: tuple[dict[str, list[Record]], Path]) -> None:
    text = outcome[1].read_text()
    for phrase in (
        "Effective beta",
        "go on from the independent VAE",
        "tables themselves it fails in 2",
    ):
        assert phrase in text
    drawn = outcome[1].parent / "pictures"
    assert {path.suffix for path in drawn.iterdir()} == {".svg", ".png"}
    weak = [replace(r, value=0.5) if r.metric == "flip rate" else r for r in outcome[0]["digits"]]
    assert "**missed**" in digits.render(weak)
    assert "holds in all 12" not in tables_1_2.render(
        [
            replace(r, value=0.0) if "->" in str(r.config.get("group")) else r
            for r in outcome[0]["tables_1_2"]
        ]
    )
