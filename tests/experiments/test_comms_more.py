"""Algorithms, Hamming's code, averages and variants: each at its smallest, and what their pages claim."""

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from trompe.evaluation.block_error import Count
from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.catalogue import chosen
from trompe.experiments.comms import algorithms, hamming, ten_models, variants
from trompe.experiments.comms._algorithms_page import ahead
from trompe.experiments.comms._codewords import along, between, hard_errors, union_bound
from trompe.experiments.comms._hamming_page import best
from trompe.experiments.comms._links import CLEAN, DIRECT, JAMMING, PRINCIPAL
from trompe.experiments.comms._models_page import gains
from trompe.models import BlockCode, noise_deviation


def made(item: str, folder: Path) -> tuple[list[Record], str]:
    path, page = reproduce(f"comms/{item}", "smoke", results_root=folder / "results")
    records, text = read_records(path), page.read_text()
    pictures = chosen(f"comms/{item}")[0].load().pictures(records)
    for name, picture in pictures.items():
        assert f"pictures/{name}" in text
        assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert text.count("**") % 2 == 0
    return records, text


def test_everybody_is_measured_and_the_direct_optimiser_compared(tmp_path: Path) -> None:
    records, text = made("algorithms", tmp_path)
    config = algorithms.SCALES["smoke"]
    rates = [r for r in records if r.metric != algorithms.AHEAD]
    leads = [r for r in records if r.metric == algorithms.AHEAD]
    assert len(rates) == 7 * len(config.points)
    assert len(leads) == 6 * len(config.points)
    assert text.count("the closest is") == len(config.points)


def test_the_code_stands_beside_theory_and_beside_the_autoencoder(tmp_path: Path) -> None:
    records, text = made("hamming", tmp_path)
    bounds = {
        r.extra["snr"]: r.value for r in records if r.metric == "union bound" and not r.attack
    }
    clean = [r for r in records if r.subject == hamming.ML and not r.attack and r.low is not None]
    assert clean
    assert all((r.low or 0) <= bounds[r.extra["snr"]] for r in clean)
    shares = {r.extra["share"] for r in records if r.metric == hamming.NEAREST}
    assert shares == {hamming.FULL, hamming.HALF}
    assert "the code is" in text


def test_each_model_is_averaged_and_each_pair_a_cell(tmp_path: Path) -> None:
    records, text = made("ten_models", tmp_path)
    assert {r.config["cell"] for r in records} == {
        "mlp-7-4",
        "mlp-7-4, seed 1",
        "mlp-7-4 from mlp-7-4, seed 1",
        "mlp-7-4, seed 1 from mlp-7-4",
    }
    assert "victims: 2" in text


def test_every_variant_is_clean_jammed_and_attacked(tmp_path: Path) -> None:
    records, text = made("variants", tmp_path)
    assert {r.attack for r in records} == {CLEAN, JAMMING, DIRECT}
    assert text.count("that the attack does more than jamming") == 2
    names = [str(radio) for radio in variants.SCALES["cpu"].radios]
    assert len(set(names)) == len(names) == 6


# --------------------------------------------------------------------------- theory


def test_the_union_bound_is_that_of_the_weight_enumerator() -> None:
    code, snr = BlockCode(), 6.0
    q = [math.erfc(math.sqrt(w * 4 / 7 * 10 ** (snr / 10))) / 2 for w in (3, 4, 7)]
    assert union_bound(code, snr) == pytest.approx(7 * q[0] + 7 * q[1] + q[2], rel=1e-9)


def test_hard_decision_mends_exactly_one_bit() -> None:
    code, snr = BlockCode(decoder="hard"), 2.0
    p = math.erfc(1 / noise_deviation(snr, 4 / 7) / math.sqrt(2)) / 2
    two_or_more = sum(math.comb(7, k) * p**k * (1 - p) ** (7 - k) for k in range(2, 8))
    assert hard_errors(code, snr) == pytest.approx(two_or_more, rel=1e-9)


def test_the_worst_direction_leads_to_a_neighbour_and_fills_the_power() -> None:
    code = BlockCode()
    worst = between(code, 8.0, 1.3)
    cosine, bits = along(code, worst)
    assert float(worst.norm()) == pytest.approx(1.3)
    assert (cosine, bits) == (pytest.approx(1.0), 3)
    assert union_bound(code, 8.0, worst) > union_bound(code, 8.0, 1.3 * torch.eye(7)[0])


# --------------------------------------------------------------------------- claims


def lead(attack: str, low: float, high: float) -> Record:
    return Record("", (low + high) / 2, 100, low, high, attack=attack)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.01, 0.03, (True, False)), (-0.01, 0.03, (False, False)), (-0.03, -0.01, (False, True))],
)
def test_the_direct_optimiser_is_ahead_by_whole_intervals(
    low: float, high: float, expected: tuple[bool, bool]
) -> None:
    leads = {
        JAMMING: lead(JAMMING, -0.9, -0.8),
        algorithms.ONE: lead(algorithms.ONE, 0.1, 0.2),
        PRINCIPAL: lead(PRINCIPAL, low, high),
    }
    assert ahead(leads) == expected


def test_the_best_attack_is_never_jamming() -> None:
    rates = {
        JAMMING: Count(900, 1000).record(attack=JAMMING),
        DIRECT: Count(20, 1000).record(attack=DIRECT),
        hamming.BETWEEN: Count(30, 1000).record(attack=hamming.BETWEEN),
    }
    assert best(rates).attack == hamming.BETWEEN


def crossed(times: dict[tuple[int, int], float]) -> list[Record]:
    """Models of 1,000 errors in 100,000 blocks under jamming, and so many times that from each other."""
    at, told = {"snr": 8.0, "psr": -6.0}, {"model": "mlp-7-4"}
    config = {**told, "schedule": "made up", "errors": 1, "blocks": 100_000, "learned": 8.5}
    records = []
    for victim in sorted({pair[0] for pair in times}):
        for attack, errors in ((CLEAN, 10), (JAMMING, 1000), (ten_models.WHITE, 10_000)):
            count = Count(errors, 100_000)
            records.append(
                count.record(subject=f"{victim}", attack=attack, extra=at, config=config)
            )
    for (victim, other), value in times.items():
        for how in ten_models.CROSSED:
            about = {"subject": f"{victim}", "attack": how, "extra": at}
            about["config"] = {**config, "substitute": f"{other}"}
            records.append(Count(round(1000 * value), 100_000).record(**about))
            gap = 0.01 * (value - 1)
            records.append(Record(ten_models.MORE, gap, 100_000, gap - 1e-3, gap + 1e-3, **about))
    return records


def test_the_mean_is_over_victims() -> None:
    found = gains({("a", "b"): 1.0, ("a", "c"): 3.0, ("b", "a"): 2.0})
    assert (found.mean, found.models, found.least, found.most) == (2.0, 2, 2.0, 2.0)


@pytest.mark.parametrize(("each", "shrinks"), [(1.0, "**holds**"), (9.0, "**does not hold**")])
def test_the_advantage_shrinks_or_does_not(each: float, shrinks: str) -> None:
    pairs = {(v, s): each + 0.01 * v for v in range(3) for s in range(3) if v != s}
    text = ten_models.render(crossed(pairs))
    assert f"That the advantage shrinks on average {shrinks}" in text
    assert "sure" in text


def test_a_variant_is_said_to_gain_more_only_beyond_the_intervals() -> None:
    records = []
    for name, attacked in (("mlp-7-4", 5000), ("mlp-4-4", 20_000)):
        told = {
            "rate": 1.0,
            "schedule": "made up",
            "errors": 1,
            "blocks": 1,
            "psr": -6.0,
            "snr": 8.0,
        }
        about = {"subject": name, "extra": {"snr": 8.0}, "config": told}
        for attack, errors in ((CLEAN, 10), (JAMMING, 1000), (DIRECT, attacked)):
            records.append(Count(errors, 100_000).record(attack=attack, **about))
        records.append(Record(variants.MORE, 0.04, 100_000, 0.03, 0.05, **about))
    text = variants.render(records)
    assert "gains more over jamming than that on mlp-7-4 **holds**" in text
