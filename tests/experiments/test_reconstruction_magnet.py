"""MagNet measured: it runs on the embedded digits, and its sentences and rates follow from what it saw."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from trompe.core.random import seeds, streams, uniform
from trompe.defenses import Guarded
from trompe.evaluation.records import Record, read_records, wilson
from trompe.experiments import reproduce
from trompe.experiments.reconstruction import magnet
from trompe.experiments.reconstruction._magnet_page import rendered


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], str]:
    folder = tmp_path_factory.mktemp("magnet")
    path, page = reproduce("reconstruction/magnet", "smoke", results_root=folder / "results")
    assert Path(page.parent, "pictures", "magnet-attackers.svg").exists()
    return read_records(path), page.read_text()


def test_every_outcome_is_right_wrong_or_refused(outcome: tuple[list[Record], str]) -> None:
    found = [r for r in outcome[0] if r.metric == magnet.SUCCESS]
    assert {r.config["knows"] for r in found} == {magnet.OBLIVIOUS, magnet.STACK, magnet.AWARE}
    for record in found:
        assert sum(record.extra[k] for k in ("right", "wrong", "refused")) == pytest.approx(1)
        assert record.value == pytest.approx(record.extra["wrong"])
        if record.subject in (magnet.BARE, magnet.REFORMER):
            assert record.extra["refused"] == 0


def test_half_a_defence_is_no_harder_to_fool_blindly(outcome: tuple[list[Record], str]) -> None:
    """What MagNet lets pass its detectors alone let pass too."""
    found = {(r.subject, r.attack): r for r in outcome[0] if r.metric == magnet.SUCCESS}
    for attack in ("FGSM", "PGD 0.1"):
        both, alone = (found[name, attack] for name in (magnet.BOTH, magnet.DETECTORS))
        assert both.extra["refused"] == alone.extra["refused"]


def test_published_numbers_stand_beside_ours(outcome: tuple[list[Record], str]) -> None:
    assert "| FGSM | 0.191, 0.082, 0.163, 0.094 |" in outcome[1]
    assert "lie outside MagNet's own claim" in outcome[1]


def test_the_page_says_where_the_rate_missed(outcome: tuple[list[Record], str]) -> None:
    missed = [
        replace(r, low=0.2, high=0.3) if (r.metric, r.subject) == (magnet.RATE, magnet.BOTH) else r
        for r in outcome[0]
    ]
    assert outcome[1].count("| no |") + 1 == rendered(missed).count("| no |")


def table(n: int) -> Tensor:
    """Scores of three detectors, all different."""
    with streams(seeds(0, n)):
        return uniform((n, 3), torch.empty(0, dtype=torch.float64))


def rates_hold(count: Callable[[Tensor, Tensor, int, float], int]) -> None:
    """Over 60 halvings of 2000 the mean rate is the one asked; what is refused is what was never shown."""
    scores, rates = table(2000), []
    for seed in range(60):
        rates.append(count(scores, seeds(seed, 2000).argsort(), 1000, 0.05) / 1000)
    mean = sum(rates) / len(rates)
    assert abs(mean - 0.05) < 0.003
    spread = torch.tensor(rates).std()
    assert 0.0075 < float(spread) < 0.0125, (
        "of two independent halves: sqrt(2 p (1 - p) / n) = 0.0097"
    )
    inside = sum(low <= 0.05 <= high for low, high in (wilson(1000 * r, 1000) for r in rates))
    assert 0.68 <= inside / len(rates) <= 0.95, "one of six misses"
    unlike = scores.clone()
    unlike[1000:] += 1.0
    assert count(unlike, torch.arange(2000), 1000, 0.05) == 1000


def test_the_rate_holds_on_what_the_thresholds_never_saw() -> None:
    rates_hold(magnet.false_alarms)


def calibrated_on_the_test_half(scores: Tensor, order: Tensor, held: int, fpr: float) -> int:
    return magnet.false_alarms(
        scores, torch.cat([order[held:], order[held:]]), len(order) - held, fpr
    )


def calibrated_on_all(scores: Tensor, order: Tensor, held: int, fpr: float) -> int:
    twice = torch.cat([order, order[held:]])
    return magnet.false_alarms(scores, twice, len(order), fpr)


@pytest.mark.parametrize("broken", [calibrated_on_the_test_half, calibrated_on_all])
def test_thresholds_that_saw_the_test_half_are_noticed(
    broken: Callable[[Tensor, Tensor, int, float], int],
) -> None:
    with pytest.raises(AssertionError):
        rates_hold(broken)


def test_each_detector_at_the_full_rate_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three detectors that share nothing refuse nearly three times what was asked of their union."""

    def alone(self: Guarded, clean: Tensor, fpr: float) -> Guarded:
        for detector in self.detectors.values():
            detector.calibrate(clean, fpr)  # type: ignore[operator]
        return self

    monkeypatch.setattr(Guarded, "calibrate", alone)
    with pytest.raises(AssertionError):
        rates_hold(magnet.false_alarms)


def test_the_item_sets_thresholds_and_attacks_on_different_images() -> None:
    config = magnet.SCALES["smoke"]
    x, held, rest = magnet._halves(config.data, config.seed)
    assert sorted(torch.cat([held, rest]).tolist()) == list(range(len(x)))
    attacked = magnet._images(config, config.n)[2]
    assert not set(attacked.tolist()) & set(held.tolist())
