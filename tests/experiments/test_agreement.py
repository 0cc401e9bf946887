"""Our baselines beside Foolbox's and ART's, on the embedded digits in seconds."""

from dataclasses import replace
from pathlib import Path

import pytest

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.baselines._tables import agreements, rendered

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], str]:
    pytest.importorskip("foolbox", reason="needs Foolbox: pip install 'trompe[peers]'")
    folder = tmp_path_factory.mktemp("agreement")
    path, page = reproduce("baselines/agreement", "smoke", results_root=folder / "results")
    return read_records(path), Path(page).read_text()


def value(records: list[Record], metric: str, attack: str) -> float:
    return next(r.value for r in records if r.metric == metric and r.attack == attack)


@pytest.mark.parametrize("attack", ["FGSM", "PGD", "DeepFool", "DDN", "C&W", "EAD"])
def test_success_and_distance_are_foolboxs(outcome: tuple[list[Record], str], attack: str) -> None:
    row = next(row for row in agreements(outcome[0]) if row[0].endswith(attack))
    _, won, peer_won, far, peer_far = row
    assert won.value == pytest.approx(peer_won.value, abs=1 / won.n + 1e-9)
    assert far.value == pytest.approx(peer_far.value, rel=0.02)


def test_carlini_wagner_is_no_farther_than_foolboxs(outcome: tuple[list[Record], str]) -> None:
    """Foolbox's can hardly move a pixel off the box's edge in so few steps; ours can."""
    row = next(row for row in agreements(outcome[0]) if row[0].endswith("our shrink"))
    assert row[1].value >= row[2].value
    assert row[3].value <= row[4].value


def test_the_attack_on_codes_is_arts_to_three_decimals(outcome: tuple[list[Record], str]) -> None:
    metric = "mean squared distance of codes"
    theirs = value(outcome[0], metric, "FeatureAdversariesPyTorch, ART")
    assert value(outcome[0], metric, "LatentAttack, ART's rule") == pytest.approx(theirs, abs=5e-4)
    assert value(outcome[0], metric, "LatentAttack, its own solver") <= theirs + 5e-4


def test_both_libraries_met_the_same_images(outcome: tuple[list[Record], str]) -> None:
    for _, won, peer_won, far, peer_far in agreements(outcome[0]):
        assert won.n == peer_won.n
        assert far.n == peer_far.n <= won.n


def test_the_page_says_what_follows(outcome: tuple[list[Record], str]) -> None:
    records, page = outcome
    assert "comparisons at equal settings agree" in page
    assert "equal to three decimals" in page
    worse = [
        replace(r, value=2 * r.value) if r.metric == "mean L2" and r.attack == "DDN, trompe" else r
        for r in records
    ]
    assert "**weaker**" in rendered(worse)
