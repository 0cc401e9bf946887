"""The figures of "Auto-Encoding Variational Bayes" on the embedded digits, in seconds."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.aevb import _training, figure_2, figure_3
from trompe.experiments.aevb._manifold import likeness
from trompe.experiments.aevb._shown import tiles
from trompe.experiments.aevb._training import Fit, fitted, fresh, images, tuned
from trompe.reports.images import read_png

Outcome = tuple[dict[str, list[Record]], str, Path]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("aevb")
    *paths, page = reproduce("aevb", "smoke", results_root=folder / "results")
    return {path.name.split(".")[0]: read_records(path) for path in paths}, page.read_text(), page


def test_the_bound_rises_with_samples_and_aevb_ends_above_wake_sleep(outcome: Outcome) -> None:
    records = outcome[0]["figure_2"]
    for latent in figure_2.SCALES["smoke"].latents:
        for method in figure_2.METHODS:
            line = figure_2._line(records, method, latent, "test")
            assert all(a.value < b.value for a, b in pairwise(line))
    apart = [r for r in records if r.metric == "AEVB less wake-sleep"]
    assert len(apart) == 2
    assert all(r.low is not None and r.low > 0 for r in apart)


def test_each_curve_has_the_rate_that_was_best_in_its_trial(outcome: Outcome) -> None:
    records = outcome[0]["figure_2"]
    for latent in figure_2.SCALES["smoke"].latents:
        for method in figure_2.METHODS:
            tried = [
                r
                for r in records
                if r.metric == "trial"
                and (r.config["method"], r.config["latent"]) == (method, latent)
            ]
            best = max(tried, key=lambda r: r.value).config["rate"]
            line = figure_2._line(records, method, latent, "test")
            assert {r.config["rate"] for r in line} == {best}


def test_on_few_images_monte_carlo_em_keeps_up(outcome: Outcome) -> None:
    records = outcome[0]["figure_3"]
    apart = figure_3._apart(records, 100, "MCEM", "train")
    assert apart.low is not None
    assert apart.low < 0
    checks = [r for r in records if r.metric == "estimator less bound"]
    assert all(abs(r.value) < 1 for r in checks)
    ends = [figure_3._line(records, m, 100, "test")[-1] for m in figure_3.METHODS]
    assert all(0.75 < r.extra["acceptance"] < 0.99 for r in ends)


def test_the_page_shows_every_picture_that_it_links(outcome: Outcome) -> None:
    _, text, page = outcome
    links = re.findall(r"\]\((pictures/[^)]+)\)", text)
    assert len(links) == 2 + 1 + 1 + 2
    for link in links:
        content = (page.parent / link).read_bytes()
        assert content[:4] in (b"<svg", b"\x89PNG")
        assert len(content) < 60_000
    assert "**holds**" in text
    assert "not to be had" in text


def test_claims_follow_the_records(outcome: Outcome) -> None:
    """With the difference turned round, the sentence turns too."""
    records = outcome[0]["figure_2"]
    turned = [
        replace(r, value=-r.value, low=-(r.high or 0), high=-(r.low or 0))
        if r.metric == "AEVB less wake-sleep"
        else r
        for r in records
    ]
    assert "equal samples: **fails** (ahead with 0 of 2 sizes, behind with 2)" in figure_2.render(
        turned
    )


def test_a_large_set_leaves_monte_carlo_em_behind(outcome: Outcome) -> None:
    """The sentence on two sets, from records of one and a doctored copy as the other."""
    records = [r for r in outcome[0]["figure_3"] if r.metric != "trial"]
    large = [
        replace(r, value=9.0, low=8.0, high=10.0) if r.metric == "AEVB less rival" else r
        for r in records
    ]
    both = records + [replace(r, config={**r.config, "size": 200}) for r in large]
    text = figure_3.render(both)
    assert "not on the large one: **holds**" in text
    assert "by 9.0 with 200" in text
    wide = [replace(r, low=-1.0) if r.value == 9.0 else r for r in both]
    assert "not on the large one: **is unresolved**" in figure_3.render(wide)


def test_initial_weights_are_small_and_the_seeds_own() -> None:
    fit = Fit(hidden=200, latent=2, data="digits")
    weights = torch.cat([w.detach().flatten() for w in fresh(fit).parameters()])
    assert float(weights.std()) == pytest.approx(0.01, rel=0.02)
    assert abs(float(weights.mean())) < 1e-3
    other = next(fresh(replace(fit, seed=1)).parameters())
    assert not torch.equal(other, next(fresh(fit).parameters()))


def test_images_are_black_or_white_and_each_split_has_its_own_draw() -> None:
    train, test = (images("digits", split, 50) for split in ("train", "test"))
    assert set(train.unique().tolist()) | set(test.unique().tolist()) == {0, 255}


def test_a_longer_training_passes_through_the_shorter_ones_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROMPE_CACHE", str(tmp_path))
    fit = Fit("MCEM", 2, 8, (1000, 2500), 0.05, 100, "digits")
    long = fitted(fit)
    short = fitted(replace(fit, marks=(1000,)))
    for a, b in zip(long[1000].parameters(), short[1000].parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(long[1000].parameters(), long[2500].parameters(), strict=True)
    )


def test_a_rate_that_breaks_the_training_is_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROMPE_CACHE", str(tmp_path))
    fit = Fit("AEVB", 2, 8, data="digits", examples=200)
    chosen, found = tuned(fit, (1e6, 0.05), 300, lambda model: 0.0)
    assert chosen.rate == 0.05
    assert found[1e6] == float("-inf")
    assert _training.UPDATES == 5


def test_tiles_stand_in_rows_and_alike_neighbours_are_measured() -> None:
    x = torch.tensor([0.0, 1.0, 1.0, 0.0]).view(4, 1, 1, 1)
    picture = read_png(tiles(x, 2))[:, :, 0]
    assert picture[1::2, 1::2].tolist() == [[255, 0], [0, 255]]
    assert likeness(x, 2)["neighbours"] == 1
