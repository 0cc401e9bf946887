"""The items on detection and on scores: what they measure on the digits, and what their pages conclude."""

from dataclasses import replace

import pytest

from trompe.evaluation.records import Record
from trompe.experiments.latentpoison import detection, score_only
from trompe.experiments.latentpoison._runs import SMOKE, Case, Lab

AREAS = {"L2": {"Independent": 0.6, "Poisoning": 0.6, "Poisoning+Class": 0.9}}
AREAS["L1"] = dict.fromkeys(AREAS["L2"], 0.9)
COLUMNS = ("Mahalanobis", "Mahalanobis of 8 codes", "largest z-score", "entropy of the output")


def one(attack: str, areas: dict[str, float], flips: float, **config: object) -> list[Record]:
    """The records of one shift: flips, and each detector's area and what it catches."""
    made = [
        Record(
            "flip rate", flips, 99, flips, flips, attack=attack, extra={"L2": 1.0}, config=config
        )
    ]
    for name, area in areas.items():
        for metric in ("ROC AUC", "true positives at 0.05"):
            about = {**config, "detector": name}
            made.append(
                Record(metric, area, 50, area - 0.02, area + 0.02, attack=attack, config=about)
            )
    return made


def page(hard: float = 0.6, after: float = 0.55, flips: float = 0.95) -> str:
    records = []
    for norm, kinds in AREAS.items():
        for kind, area in kinds.items():
            name = Case(kind, norm, 0.1).name  # type: ignore[arg-type]
            areas = dict.fromkeys(COLUMNS, hard if area < 0.9 else 0.9)
            records += one(name, areas, 0.99, **{"tail max": 0.1})
    areas = dict.fromkeys(COLUMNS, after)
    records += one("evading Mahalanobis, 1", areas, flips, evades="Mahalanobis", weight=1.0)
    return detection.render(records)


def test_the_papers_claim_is_read_from_the_areas() -> None:
    assert "it holds" in page(hard=0.6)
    assert "unresolved" in page(hard=0.9)
    assert "does not hold" in page(hard=0.97)


@pytest.mark.parametrize(
    ("after", "flips", "said"),
    [
        (0.5, 0.95, ": evaded"),
        (0.5, 0.8, "at the price of flips"),
        (0.6, 0.95, "not evaded"),
    ],
)
def test_evasion_is_a_smaller_area_with_flips_that_stay(
    after: float, flips: float, said: str
) -> None:
    (line,) = [
        line for line in page(after=after, flips=flips).splitlines() if line.startswith("- ")
    ]
    assert line.endswith(said) or said in line


def areas(records: list[Record], detector: str) -> float:
    return next(
        r.value for r in records if r.metric == "ROC AUC" and r.config.get("detector") == detector
    )


def test_a_shift_that_knows_the_distance_is_nearer() -> None:
    lab, config = Lab(SMOKE), detection.SCALES["smoke"]
    plain = list(detection._published(lab, config, Case(rho=config.rho)))
    shy = list(detection._evading(lab, config, "Mahalanobis", 1.0))
    assert areas(shy, "Mahalanobis") < areas(plain, "Mahalanobis") - 0.05
    flips = [next(r.value for r in found if r.metric == "flip rate") for found in (plain, shy)]
    assert flips[0] > 0.9
    assert flips[1] > 0.7
    assert areas(plain, "Mahalanobis of 4 codes") > areas(plain, "Mahalanobis")
    assert {r.n for r in plain if r.metric == "flip rate"} == {len(lab.test)}


def test_scores_are_enough_on_the_digits() -> None:
    lab, config = Lab(SMOKE), score_only.SCALES["smoke"]
    known = [*score_only._open(lab, config), *score_only._from_zero(lab, config)]
    asked = list(score_only._closed(lab, config, config.budgets[-1]))
    assert min(r.value for r in asked) > 0.75
    steps, size, pairs = config.budgets[-1]
    assert 0.9 * 2 * steps * size * pairs < asked[0].extra["queries"] <= 2 * steps * size * pairs
    assert asked[0].extra["cosine"] > 0.5
    text = score_only.render(known + asked)
    assert "it holds" in text
    weak = [replace(r, value=0.1, low=0.05, high=0.2) for r in asked]
    assert "fall short" in score_only.render(known + weak)
