"""Kos et al. on the embedded digits in seconds: what is recorded, and what the page concludes from it."""

from dataclasses import replace
from pathlib import Path

import pytest

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.generative_examples import mnist
from trompe.experiments.generative_examples._page import page
from trompe.experiments.generative_examples._runs import ATTACKS

Outcome = tuple[list[Record], str]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("kos")
    path, written = reproduce("generative_examples/mnist", "smoke", results_root=folder / "results")
    return read_records(path), Path(written).read_text()


def some(records: list[Record], metric: str, **where: object) -> list[Record]:
    return [
        r
        for r in records
        if r.metric == metric and all(r.config.get(k) == v for k, v in where.items())
    ]


def test_every_attack_has_both_solvers_and_all_budgets(outcome: Outcome) -> None:
    config = mnist.SCALES["smoke"]
    for kind in ATTACKS:
        for solver, budgets in {
            "sign": [f"L2 {config.limits[0]:g}", f"eps {config.radii[0]:g}"],
            "optimised": [f"L2 {config.limits[0]:g}", f"lambda {config.weights[0]:g}"],
        }.items():
            for budget in budgets:
                assert some(outcome[0], "AS-target", kind=kind, solver=solver, budget=budget)


def test_balls_hold_and_rates_are_ordered(outcome: Outcome) -> None:
    """Who is read as the target's class is not read as the source's; a wider ball holds more."""
    for record in some(outcome[0], "AS-target", rounds=1):
        where = {k: record.config[k] for k in ("kind", "solver", "budget", "rounds")}
        (ignored,) = some(outcome[0], "AS-ignore-target", **where)
        assert record.value <= ignored.value
        assert record.n == ignored.n
        kind, _, number = str(record.config["budget"]).partition(" ")
        if kind == "L2" and record.extra:
            assert record.extra["L2"] <= float(number) + 1e-5
    latent = [
        some(outcome[0], "AS-target", kind="latent", solver="optimised", budget=f"L2 {limit:g}")[0]
        for limit in mnist.SCALES["smoke"].limits
    ]
    assert latent[0].value <= latent[1].value


def test_the_page_shows_each_number_and_no_published_cell_of_the_paper(outcome: Outcome) -> None:
    text = outcome[1]
    for heading in (
        "matched norms",
        "claims recalled",
        "published form",
        "feedback",
        "replication",
    ):
        assert heading in text
    assert "could not be recovered" in text
    assert "not the paper's" in text


@pytest.mark.parametrize(
    ("wins", "word"), [(21, "holds"), (0, "does not hold"), (10, "unresolved")]
)
def test_a_claim_follows_the_records(outcome: Outcome, wins: int, word: str) -> None:
    told = [
        replace(r, value=(v := wins if kind == "latent" else 10) / 21, low=low(v), high=high(v))
        if r.metric == "AS-target" and (kind := r.config["kind"])
        else r
        for r in outcome[0]
    ]
    said = page(told).split("reaches the target most often.**")[1].split("**")[0]
    assert said.count(word) == len(mnist.SCALES["smoke"].limits)


def low(wins: int) -> float:
    return Record.rate("", wins, 21).low or 0.0


def high(wins: int) -> float:
    return Record.rate("", wins, 21).high or 0.0


def test_faces_run_on_a_vaegan(tmp_path: Path) -> None:
    path, written = reproduce("generative_examples/faces", "smoke", results_root=tmp_path / "r")
    assert {r.subject for r in read_records(path)} == {"digits-vaegan"}
    assert "judge of smiles" in Path(written).read_text()
