"""The audit of codes in transit, of margins, and of the judge's independence."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.audit.brought import Nearest
from tests.audit.conftest import Audited, N
from trompe.audit import margins, transit
from trompe.audit.part import Part, Store
from trompe.audit.run import _apart
from trompe.core.random import seeds
from trompe.data import Dataset, load
from trompe.reports import Curve, Grid, Table

BROUGHT = "tests.audit.brought:"


class Whole(nn.Module):
    """An autoencoder whose code is the image, so that a shift of codes is one of images."""

    def encode(self, x: Tensor) -> Tensor:
        from trompe.core.protocols import PointMass

        return PointMass(x.flatten(1))  # type: ignore[return-value]

    def decode(self, z: Tensor) -> Tensor:
        return z.view(-1, 1, 8, 8)


class Unseen(Nearest):
    """A judge that no gradient may reach."""

    def forward(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled(), "the attack met the judge"
        return super().forward(x)


def sample(split: str, which: tuple[int, ...] = (3, 8), n: int = 160) -> Dataset:
    data = load("digits", split)
    assert data.y is not None
    rows = torch.stack([data.y == k for k in which]).any(0).nonzero()[:n, 0]
    return data.subset(rows)


def subject(data: Dataset | None = None, model: nn.Module | None = None) -> transit.Subject:
    whole = Whole().eval() if model is None else model
    train, test = sample("train"), sample("test")
    return transit.Subject("it", whole, data or test, train, Nearest(), Unseen(), 0)


def examined(of: transit.Subject, folder: Path) -> Part:
    return transit.examine(of, Store(folder, "mark"))


def test_one_shift_turns_codes_and_a_random_one_does_not(tmp_path: Path) -> None:
    part = examined(subject(), tmp_path)
    rates = {m.name: m for m in part.metrics}
    assert rates["autoencoder: shift flip rate"].value > 0.9
    assert rates["autoencoder: random shift flip rate"].value < 0.2
    assert "turns" in part.findings[0].headline
    table, curve, grid = part.sections[0].blocks
    assert isinstance(table, Table)
    assert isinstance(curve, Curve)
    assert isinstance(grid, Grid)
    assert [row[0] for row in table.rows] == ["3 to 8", "8 to 3"]
    assert sum(int(str(row[3])) for row in table.rows) == rates["autoencoder: shift flip rate"].n
    assert [s.label for s in curve.series] == [
        "Mahalanobis distance",
        "largest z-score",
        "uncertainty of the output",
    ]
    for series in curve.series:
        assert list(series.y) == sorted(series.y)
        assert series.y[-1] == 1.0
    assert len(grid.rows) == 2


def test_every_detector_has_its_area_and_what_it_catches(tmp_path: Path) -> None:
    part = examined(subject(), tmp_path)
    areas = [m for m in part.metrics if "ROC area" in m.name]
    caught = [m for m in part.metrics if "set for 5% false alarms" in m.name]
    assert len(areas) == len(caught) == 3
    for m in (*areas, *caught):
        assert m.low is not None
        assert m.high is not None
        assert 0 <= m.low <= m.value <= m.high <= 1
        assert m.threat == transit.WATCHED
        assert m.better == "higher"
    kinds = {r.metric for r in part.records if r.attack}
    assert "ROC AUC" in kinds
    assert any(kind.startswith("false positives") for kind in kinds)


def test_two_classes_of_many_are_taken_by_how_often_they_come() -> None:
    data = load("digits", "test")
    assert data.y is not None
    many = data.subset(
        torch.cat(
            [(data.y == k).nonzero()[:n, 0] for k, n in ((2, 9), (5, 8), (7, 6), (1, 3), (0, 1))]
        )
    )
    of = transit.Subject("it", Whole(), many, load("digits", "train"), Nearest(), Unseen(), 0)
    assert transit._couples(of) == [(2, 5), (7, 1)]


def test_of_one_class_there_is_nothing_to_flip(tmp_path: Path) -> None:
    part = examined(subject(sample("test", (3,))), tmp_path)
    assert part.sections == []
    assert part.untested == ["Codes changed in transit: the images are of one class."]


def test_codes_that_are_all_the_same_cannot_be_shifted(tmp_path: Path) -> None:
    class Collapsed(Whole):
        def encode(self, x: Tensor) -> Tensor:
            return super().encode(torch.zeros_like(x))

    part = examined(subject(model=Collapsed().eval()), tmp_path)
    assert part.untested == ["Codes changed in transit: all codes are the same."]


def test_test_codes_share_no_noise_with_those_that_detectors_know() -> None:
    class Noise(Whole):
        def encode(self, x: Tensor) -> Tensor:
            flat = 0 * x.flatten(1)
            return torch.distributions.Normal(flat, flat + 1)  # type: ignore[return-value]

    of = subject(model=Noise().eval())
    test, n = of.codes(of.data), len(of.data)
    assert (test - of.clean[:n]).abs().amax(1).min() > 0.1


def test_a_source_without_a_split_is_cut_before_anything_is_learned() -> None:
    whole = replace(sample("test"), split="all")
    data, train = _apart(whole, whole)
    assert (len(data), len(train)) == (-(-len(whole) // 2), len(whole) // 2)
    assert not (data.x[:, None] == train.x).flatten(2).all(2).any()
    assert _apart(sample("test"), whole)[1] is whole


def test_what_was_learned_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = examined(subject(), tmp_path)
    monkeypatch.setattr(transit, "_learned", lambda *_: pytest.fail("was learned before"))
    again = examined(subject(), tmp_path)
    assert [m.value for m in again.metrics] == [m.value for m in first.metrics]


def test_two_classes_and_codes_that_are_points(audited: Audited) -> None:
    report = audited(model=f"{BROUGHT}pooled", data="digits[3,8]")
    rate = report.metric("autoencoder: shift flip rate")
    assert rate is not None
    assert 0 < rate.n <= N  # type: ignore[operator]
    assert any("turns" in finding.headline for finding in report.findings)


# Margins


def test_the_median_lies_between_its_order_statistics() -> None:
    middle, (low, high) = margins.median(torch.tensor([3.0, 1.0, 2.0, 5.0, 4.0, math.inf, 6.0]))
    assert (middle, low, high) == (4.0, 1.0, math.inf)
    assert margins.median(torch.arange(5.0)) == (2.0, (None, None))


def test_the_medians_interval_covers_it_19_times_of_20() -> None:
    from trompe.core import random

    with random.streams(seeds(0, 600)):
        drawn = random.normal((600, 33))
    ends = [margins.median(row)[1] for row in drawn]
    covered = sum(low < 0 < high for low, high in ends) / len(ends)  # type: ignore[operator]
    assert 0.93 <= covered <= 0.985


def test_a_margin_is_half_the_way_for_an_autoencoder_that_copies(tmp_path: Path) -> None:
    """Its output moves as far as its input: the margin is r itself, half the way to another image."""
    from trompe.audit.pairs import Subject

    class Copy(Whole):
        def forward(self, x: Tensor) -> Tensor:
            return x

    of = Subject("it", Copy().eval(), sample("test", n=12), None, 0, 40)
    part, (curve,) = margins.examine(of, Store(tmp_path, "mark"))
    r = part.records[0].config["r"]
    assert part.metrics[0].value == pytest.approx(r, rel=0.05)
    assert curve.series[0].y[0] == 1.0
    assert curve.series[0].y[-1] == 0.0


def test_outputs_that_are_all_alike_have_no_margin(tmp_path: Path) -> None:
    from trompe.audit.pairs import Subject

    class Blank(Whole):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x)

    part, blocks = margins.examine(
        Subject("it", Blank().eval(), sample("test"), None, 0), Store(tmp_path, "")
    )
    assert blocks == []
    assert "all outputs are alike" in part.untested[0]
