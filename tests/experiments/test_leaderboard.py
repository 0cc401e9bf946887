"""The leaderboard of autoencoders: it runs on digits, and its sentences follow from its records."""

import math
from pathlib import Path

import pytest

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.adversarial_vae._board import differences, interval, rendered
from trompe.experiments.adversarial_vae.leaderboard import SCALES, models


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], str]:
    folder = tmp_path_factory.mktemp("leaderboard")
    path, page = reproduce("adversarial_vae/leaderboard", "smoke", results_root=folder / "results")
    return read_records(path), Path(page).read_text()


def test_each_model_meets_the_attack_from_each_training(
    outcome: tuple[list[Record], str],
) -> None:
    records, page = outcome
    names = list(models(SCALES["smoke"], 0))
    assert names == ["AE", "VAE", "beta-VAE 2", "beta-TCVAE 2"]
    assert [r.subject for r in records] == 2 * names
    for record in records:
        assert 0 < record.value < 1
        assert record.extra["distance at 0.1"] > record.extra["distance at 1"]
        assert 0 < record.extra["squared error"] < 0.2
    assert all(f"| {name} | 2 |" in page for name in names)
    assert "0.387" not in page  # the published value is of another data set


def board(areas: dict[str, list[float]], errors: dict[str, float] | None = None) -> list[Record]:
    config = {"octaves": [-1, 1], "steps": 3, "pairs": 10, "data": "mnist"}
    return [
        Record(
            "AUDDC",
            value,
            10,
            subject=name,
            extra={"squared error": (errors or {}).get(name, 0.01), "read": 0.9, "in use": 4.0},
            config={**config, "training": seed},
        )
        for name, values in areas.items()
        for seed, value in enumerate(values)
    ]


def test_intervals_are_students_over_trainings() -> None:
    low, high = interval([1.0, 2.0, 3.0])[1:]
    assert (high - low) / 2 == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert math.isnan(interval([1.0]).low)
    assert not interval([1.0]).resolved


def test_differences_pair_the_trainings() -> None:
    """Both spread widely over seeds, and always by the same difference."""
    records = board({"VAE": [0.1, 0.5, 0.9], "AE": [0.05, 0.45, 0.84]})
    found = differences(records, "VAE", "AE")
    assert found.mean == pytest.approx(0.16 / 3)
    assert found.resolved


@pytest.mark.parametrize(
    ("areas", "verdict"),
    [
        ([0.50, 0.51, 0.52], "**holds**"),
        ([0.20, 0.21, 0.22], "**does not hold; the reverse is measured**"),
        ([0.20, 0.60, 0.33], "**is unresolved**"),
    ],
)
def test_the_verdict_on_the_total_correlation_follows(areas: list[float], verdict: str) -> None:
    page = rendered(
        board({"AE": [0.3, 0.31, 0.32], "VAE": [0.35, 0.36, 0.37], "beta-TCVAE 5": areas})
    )
    assert verdict in page
    assert "0.387 ± 0.075" in page


def test_the_price_is_told_and_dominated_models_are_left_out() -> None:
    errors = {"VAE": 0.01, "AE": 0.02, "beta-VAE 2": 0.03}
    areas = {"VAE": [0.4, 0.4], "AE": [0.3, 0.3], "beta-VAE 2": [0.5, 0.5]}
    page = rendered(board(areas, errors))
    assert "The top of the board is beta-VAE 2, at 3.00 times the squared error" in page
    assert "each of: beta-VAE 2, VAE." in page


def test_a_collapsed_model_without_curves_stands_at_the_end() -> None:
    page = rendered(board({"beta-VAE 2": [math.nan] * 2, "VAE": [0.4] * 2, "AE": [0.3] * 2}))
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert rows[1:4] == ["VAE", "AE", "beta-VAE 2"]
    assert "beta-VAE 2 against VAE: unresolved" in page
