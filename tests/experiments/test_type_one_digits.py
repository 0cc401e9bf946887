"""Success on digits: it runs on the embedded digits, and its sentences follow from its records."""

from dataclasses import replace
from pathlib import Path

import pytest

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.type_one._digits_page import rendered
from trompe.experiments.type_one.digits import BASE, NEAREST, SCALES, variants

Outcome = tuple[list[Record], str]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("digits")
    path, page = reproduce("type_one/digits", "smoke", results_root=folder / "results")
    return read_records(path), Path(page).read_text()


def test_every_variant_meets_the_same_images(outcome: Outcome) -> None:
    records, page = outcome
    won = [r for r in records if r.metric == "over-stability"]
    names = [r.config.get("variant") for r in won if r.config["row"] == "variants"]
    assert names == [*variants(SCALES["smoke"]), NEAREST]
    assert len({r.n for r in won if r.config["row"] == "variants"}) == 1
    assert all(f"| {name} |" in page for name in names)
    for record in won:
        assert sum(record.counts.values()) == record.n
        assert "not people" in record.threat
        assert "not people" in record.config["judge"]
        assert record.config["steps"] == (0 if record.config.get("variant") == NEAREST else 40)
    apart = [r for r in records if r.metric == "difference in over-stability"]
    first = next(r for r in won if r.config.get("variant") == BASE)
    for difference, other in zip(
        apart, [r for r in won if r.config["row"] == "variants"][1:], strict=True
    ):
        assert difference.value == pytest.approx(other.value - first.value)


def test_the_judge_is_shown_beside(outcome: Outcome) -> None:
    records, page = outcome
    real = {r.config["images"]: r.value for r in records if r.metric == "taken as real"}
    assert {"real", "decoded", "uniform noise", "far codes", "attacked"} <= set(real)
    assert real["uniform noise"] < 0.1 < 0.8 < real["real"]
    assert "Judged by classifiers, not people" in page


def made(successes: int, counts: dict[str, int], n: int = 1000) -> list[Record]:
    base = Record.rate("over-stability", successes, n, subject="mnist-mlp", counts=counts)
    config = {"row": "victims", "steps": 500, "judge": "judged by classifiers, not people: resnet"}
    extra = {"asked": 1100.0, "judge erred": 2.0, "as 8-bit files": successes / n}
    return [replace(base, config=config, extra=extra, seconds=10.0)]


@pytest.mark.parametrize(
    ("successes", "verdict"), [(900, "holds"), (800, "is unresolved"), (500, "does not hold")]
)
def test_the_rate_asked_for_is_held_against_the_interval(successes: int, verdict: str) -> None:
    lost = 1000 - successes
    counts = {"success": successes, "not changed": lost - 10, "not real": 4, "victim changed": 6}
    page = rendered(made(successes, counts))
    assert f"80% against mnist-mlp **{verdict}**" in page
    assert (
        f"{lost - 10} ({100 * (lost - 10) / lost:.0f}%) are of one kind: the judge does not see"
        in page
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.3, -0.1, "gains"), (-0.1, 0.1, "makes no resolved difference"), (0.1, 0.2, "costs")],
)
def test_a_part_is_worth_what_is_lost_without_it(low: float, high: float, verdict: str) -> None:
    apart = Record("difference in over-stability", (low + high) / 2, 250, low, high)
    config = {"row": "variants", "variant": "fixed weight"}
    counts = dict.fromkeys(("success", "not changed", "not real", "victim changed"), 250)
    page = rendered([*made(900, counts), replace(apart, config=config)])
    assert f"adapting the weight {verdict} (" in page
