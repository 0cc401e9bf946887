"""The ladder's items: they run on the embedded digits, and their sentences follow from their records."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trompe.attacks.ladder import OBLIVIOUS
from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.reconstruction import autoattack, figure_6, ladder
from trompe.experiments.reconstruction._climbed import Defence, shares, written
from trompe.experiments.reconstruction._ladder_page import BLIND
from trompe.experiments.store import Store

Outcome = tuple[list[Record], str]


def outcome(item: str, folder: Path) -> Outcome:
    path, page, *_ = reproduce(f"reconstruction/{item}", "smoke", results_root=folder / "results")
    return read_records(path), page.read_text()


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return outcome("ladder", tmp_path_factory.mktemp("ladder"))


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return outcome("figure_6", tmp_path_factory.mktemp("figure_6"))


def test_every_rung_is_measured_alone_at_every_radius(climbed: Outcome) -> None:
    records, config = climbed[0], ladder.SCALES["smoke"]
    for defence in config.defences:
        mine = [r for r in records if r.subject == str(defence)]
        for eps in config.eps:
            rungs = {r.attack for r in mine if r.eps == eps and r.metric == "robust accuracy"}
            assert OBLIVIOUS in rungs
            assert any(" + " in attack for attack in rungs), "and the worst case per image"
        examined = next(r for r in mine if r.metric == "checks passed")
        assert len(examined.config["checks"]) == 9
        assert "{:d} of {:d}".format(*examined.counts.values()) in climbed[1]


def falls(records: list[Record], near: tuple[float, ...], fall: tuple[float, ...]) -> str:
    """The page with other differences."""
    ends = {ladder.NEAR: near, ladder.FALL: fall}
    made = [
        replace(r, value=ends[r.metric][0], low=ends[r.metric][1], high=ends[r.metric][2])
        if r.metric in ends
        else r
        for r in records
    ]
    return ladder.render(made)


def test_the_verdict_on_the_ladder_follows_from_the_intervals(climbed: Outcome) -> None:
    page = falls(climbed[0], (0.02, 0.01, 0.05), (0.8, 0.7, 0.9))
    assert page.count("**holds**") == 6
    page = falls(climbed[0], (0.3, 0.2, 0.4), (0.1, 0.05, 0.15))
    assert page.count("**does not hold**") == 6
    page = falls(climbed[0], (0.1, 0.05, 0.15), (0.3, 0.25, 0.35))
    assert page.count("**unresolved**") == 6


def test_how_images_fared_is_kept_to_be_paired() -> None:
    standing = torch.tensor([1.0, 0.5, 0.0, 0.05])
    assert shares(written(standing, 20), 20).tolist() == pytest.approx(standing.tolist())


def test_a_defence_has_the_attackers_own_stack_of_another_seed() -> None:
    defence = Defence("vae", 0.4, 1.0)
    model, own = defence.model("digits"), defence.own("digits")
    assert model.scale == own.scale == 1.0
    assert any(
        not torch.equal(a, b) for a, b in zip(model.parameters(), own.parameters(), strict=True)
    )


def told(who: str, right: str) -> Record:
    config = {**vars(autoattack.SCALES["smoke"]), "who": who, "version": "standard", "looks": 1}
    config |= {"right": right, "broken": {"APGD": 3}, "data": "digits"}
    config |= {
        "effort": {"share": 1.0, "queries": 9},
        "random": {"share": 0.5, "draws": 2, "queries": 9},
    }
    n, stands = len(right), right.count("1")
    return Record.rate("robust accuracy", stands, n, subject="VAE", config=config, seconds=2.0)


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        ("0" * 400, "1" * 30 + "0" * 370, "stronger beyond the interval"),
        ("0" * 500, "0" * 500, "**holds**."),
        ("1" * 30 + "0" * 370, "0" * 400, "**does not hold**"),
        ("1" + "0" * 39, "0" * 40, "**unresolved**"),
    ],
)
def test_our_ladder_is_judged_by_the_paired_interval(ours: str, theirs: str, says: str) -> None:
    clean = replace(told(autoattack.OURS, ours), metric="clean accuracy")
    records = [clean, told(autoattack.OURS, ours), told(autoattack.THEIRS, theirs)]
    assert says in autoattack.render(records)


def test_without_pyautoattack_the_page_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = replace(autoattack.SCALES["smoke"], pairs=autoattack.SCALES["smoke"].pairs[:1], n=4)
    store = Store(tmp_path / "r.json", "reconstruction", "autoattack", "smoke", config)
    records = list(autoattack.run(config, store))
    assert {r.config["who"] for r in records} == {autoattack.OURS}
    assert "pip install 'trompe[peers]'" in autoattack.render(records)


@pytest.mark.peers
def test_autoattack_meets_the_same_images(tmp_path: Path) -> None:
    pytest.importorskip("pyautoattack", reason="needs pyautoattack: pip install 'trompe[peers]'")
    records, page = outcome("autoattack", tmp_path)
    robust = [r for r in records if r.metric == "robust accuracy"]
    assert [r.config["who"] for r in robust] == [autoattack.OURS, autoattack.THEIRS] * 2
    assert len({len(r.config["right"]) for r in robust}) == 1
    assert "AutoAttack, standard" in page
    assert "AutoAttack, rand" in page


def test_the_ladder_leaves_no_more_than_the_papers_attack(left: Outcome) -> None:
    found: dict[tuple[object, ...], dict[str, Record]] = {}
    for r in left[0]:
        if (
            r.eps and not r.config["scale"]
        ):  # who draws is judged on other draws than it is attacked on
            key = (r.subject, r.config["scale"], r.eps)
            found.setdefault(key, {})[str(r.config["by"])] = r
    assert found
    for pair in found.values():
        paper, worst = pair.values()
        assert worst.config["by"] == figure_6.WORST
        assert worst.value <= paper.value


def test_the_claims_are_judged_under_both_attacks(left: Outcome) -> None:
    page = left[1]
    assert "DAE withstands more than AE: under C&W" in page
    assert page.count(f"under {figure_6.WORST} **") >= 6
    assert "no defence" in page


def test_gradients_are_masked_where_who_sees_none_does_better_beyond_the_intervals(
    climbed: Outcome,
) -> None:
    def page(blind: float, seeing: float) -> str:
        shares = {name: blind if name in BLIND else seeing for name in ladder_rungs}
        made = [
            Record.rate(r.metric, shares[r.attack] * 500, 500, **rest(r))
            if r.attack in shares and r.metric == "robust accuracy"
            else r
            for r in climbed[0]
        ]
        return ladder.render(made)

    def rest(r: Record) -> dict[str, Any]:
        return {"subject": r.subject, "attack": r.attack, "eps": r.eps, "extra": r.extra}

    ladder_rungs = {r.attack for r in climbed[0] if r.eps and " + " not in r.attack}
    assert "Gradients are masked" in page(0.1, 0.5)
    assert "Gradients are masked" not in page(0.49, 0.5)
    assert "Gradients are masked" not in page(0.0, 0.0)
