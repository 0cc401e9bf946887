"""Damage, margins and one vector for all: they run on digits, and their sentences follow from the records."""

from dataclasses import replace
from pathlib import Path

import pytest

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.autoencoder_robustness import _damage_page, _margin_page
from trompe.experiments.autoencoder_robustness.damage import PLAIN


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[Record]], str]:
    folder = tmp_path_factory.mktemp("robustness") / "results"
    written = reproduce("autoencoder_robustness", "smoke", results_root=folder)
    *files, page = written
    return {file.name.split(".")[0]: read_records(file) for file in files}, Path(page).read_text()


def of(records: list[Record], **wanted: object) -> list[Record]:
    return [r for r in records if all(r.config[key] == value for key, value in wanted.items())]


def test_every_way_to_do_damage_beats_noise(outcome: tuple[dict[str, list[Record]], str]) -> None:
    records = outcome[0]["damage"]
    noise = {(r.config["site"], r.norm): r.value for r in of(records, way="noise")}
    for record in records:
        if record.config["way"] != "noise":
            assert record.value > noise[record.config["site"], record.norm]
    assert all(r.extra["apart"] == 0 for r in of(records, way=PLAIN))


def test_equal_gradients_are_spent(outcome: tuple[dict[str, list[Record]], str]) -> None:
    records = outcome[0]["damage"]
    for way in ("singular direction", PLAIN, "two random starts", "singular start"):
        assert {r.backwards / r.n for r in of(records, way=way)} == {24}


def test_one_vector_does_less_than_each_its_own_and_more_than_noise(
    outcome: tuple[dict[str, list[Record]], str],
) -> None:
    records = outcome[0]["universal_input"]
    for site in ("code", "output"):
        noise, shared, own = (r.value for r in of(records, site=site))
        assert noise < shared < own


def test_margins_come_with_what_the_bound_is_made_of(
    outcome: tuple[dict[str, list[Record]], str],
) -> None:
    for record in outcome[0]["margin"]:
        assert record.value >= 0
        assert record.extra["posterior deviation"] > 0
        assert record.extra["encoder's singular value"] > 0
    assert "upper bound" in outcome[1]


def margins(values: dict[float, list[float]]) -> list[Record]:
    names = (
        *("without noise", "posterior deviation", "encoder's singular value"),
        *("decoder's singular value", "squared error"),
    )
    return [
        Record(
            "margin at r = 4",
            value,
            8,
            extra={**dict.fromkeys(names, beta), "broken by its own noise": 0},
            config={"beta": beta, "training": seed},
        )
        for beta, each in values.items()
        for seed, value in enumerate(each)
    ]


def test_the_claim_holds_fails_or_is_unresolved() -> None:
    grows = margins({1.0: [1.0, 1.1, 1.0], 10.0: [2.0, 2.2, 2.1]})
    falls = margins({1.0: [2.0, 2.2, 2.1], 10.0: [1.0, 1.1, 1.0]})
    open_ = margins({1.0: [1.0, 2.0, 1.5], 10.0: [1.2, 1.7, 1.6]})
    assert "**holds**" in _margin_page.rendered(grows)
    assert "does not hold" in _margin_page.rendered(falls)
    assert "**unresolved**" in _margin_page.rendered(open_)


def test_the_singular_start_is_judged_by_paired_intervals(
    outcome: tuple[dict[str, list[Record]], str],
) -> None:
    def apart(low: float, high: float) -> str:
        extra = {"apart": (low + high) / 2, "apart low": low, "apart high": high}
        return _damage_page.rendered(
            [
                replace(r, extra=extra) if r.config["way"] == "singular start" else r
                for r in outcome[0]["damage"]
            ]
        )

    assert "is worth its gradients as a start." in apart(0.1, 0.2)
    assert "is not worth its gradients" in apart(-0.2, -0.1)
    assert "worth its gradients is unresolved" in apart(-0.1, 0.1)
