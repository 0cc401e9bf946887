"""The audit of over-stability: what it counts, what it says of it, and when it cannot be had."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.audit.brought import Nearest
from tests.audit.conftest import Audited, judge_for
from trompe import zoo
from trompe.audit import Estimate, cost, over_stability, run
from trompe.audit.classifier import Subject as Classifier
from trompe.audit.part import Part, Store
from trompe.audit.victim import barred, recipe
from trompe.core.errors import UserError
from trompe.data import Dataset, load, root
from trompe.evaluation.pairs import THREAT
from trompe.models import SVAE, Conv4, SVAEConfig
from trompe.reports import Forest, Grid, Table
from trompe.zoo.recipes import judges

RATE = "classifier: over-stability rate"
BROUGHT = "tests.audit.brought:"


class Halves(nn.Module):
    """A generative model of two kinds of images, bright on the left or on the right.

    The sign of a code's first coordinate says which; the second is the pixel in the corner.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("origin", torch.zeros(1, 2))
        self.eval()

    @property
    def prior(self) -> Any:
        return torch.distributions.Normal(torch.zeros(1, 2), torch.ones(1, 2))

    def encode_mean(self, x: Tensor) -> Tensor:
        turn = x[:, 0, 4:, 4:].mean((1, 2)) - x[:, 0, 4:, :4].mean((1, 2))
        return torch.stack([2 * turn, 4 * x[:, 0, 0, 0] - 2], 1)

    def decode(self, z: Tensor) -> Tensor:
        side = torch.sigmoid(4 * z[:, 0])[:, None, None]
        x = z.new_zeros(len(z), 1, 8, 8)
        x[:, 0, 4:, :4], x[:, 0, 4:, 4:] = 1 - side, side
        x[:, 0, 0, 0] = torch.sigmoid(4 * z[:, 1])
        return x

    def classify(self, z: Tensor) -> Tensor:
        return torch.stack([-8 * z[:, 0], 8 * z[:, 0]], 1)

    def discriminate(self, z: Tensor) -> Tensor:
        return 4 - z.square().sum(1)


class Reads(nn.Module):
    """A classifier of the two kinds by the halves, or by the corner, which real images have agree."""

    def __init__(self, corner: bool) -> None:
        super().__init__()
        self.corner = corner
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        halves = x[:, 0, 4:, 4:].mean((1, 2)) - x[:, 0, 4:, :4].mean((1, 2))
        value = 2 * x[:, 0, 0, 0] - 1 if self.corner else halves
        return torch.stack([-8 * value, 8 * value], 1)


def two_kinds(n: int = 60) -> Dataset:
    y = torch.arange(n) % 2
    x = torch.zeros(n, 1, 8, 8, dtype=torch.uint8)
    for k in (0, 1):
        x[y == k, 0, 4:, 4 * k : 4 * k + 4] = 230
    x[:, 0, 0, 0] = (255 * y).to(torch.uint8)
    return Dataset("halves", x, y, ("left", "right"), "test")


@pytest.fixture
def examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`examined(model)`: the part for that classifier of two kinds, judged by the halves."""
    from tests.audit.conftest import Anything
    from trompe.models.judge import Judge

    card = {"right": 59, "n": 60}
    judge = Judge({"halves": Reads(corner=False)}, Anything(), card=card)
    monkeypatch.setattr(zoo, "get", lambda recipe: Halves())
    monkeypatch.setattr(zoo, "judge_for", lambda spec, without=(): judge)

    def do(model: nn.Module, **rest: Any) -> Part:
        data = two_kinds()
        bare = Classifier("it", model, data, (0.05, 0.1), "Linf", 0, 1)
        svae = zoo.Recipe("halves", SVAEConfig.sized((1, 8, 8), 2), "halves")
        subject = over_stability.Subject(bare, "halves", data, svae, effort=0.3)
        return over_stability.examine(replace(subject, **rest), Store(tmp_path, "mark"))

    return do


def rate(part: Part) -> float:
    return next(m.value for m in part.metrics if m.name == RATE)


def test_who_looks_elsewhere_is_over_stable(examined: Any) -> None:
    """What reads a corner does not notice that the halves change places; what reads the halves does."""
    blind, seeing = examined(Reads(corner=True)), examined(Reads(corner=False))
    assert rate(blind) > 0.9
    assert rate(seeing) == 0.0
    assert blind.findings[0].severity == "critical"
    assert seeing.findings[0].severity == "info"
    assert "It is more over-stable than over-sensitive" in blind.findings[0].detail.replace(
        "it is", "It is"
    )


def test_what_a_report_shows(examined: Any) -> None:
    part = examined(Reads(corner=True))
    (section,) = part.sections
    assert section.threat == part.findings[0].threat == THREAT
    forest, table, grid = section.blocks
    assert isinstance(forest, Forest)
    assert [label for label, _ in forest.rows] == [
        "over-sensitive: Linf 0.05",
        "over-sensitive: Linf 0.1",
        "over-stable: another class",
    ]
    assert isinstance(table, Table)
    assert len(table.rows) == 5
    assert isinstance(grid, Grid)
    assert grid.column_titles[0] == "image"
    assert grid.column_titles[-1] == "returned"
    assert set(grid.row_labels) <= {"left to right", "right to left"}
    assert all(name.split(": ")[1].endswith("%") for row in grid.captions for name in row)
    words = part.findings[0].detail
    assert "judged by classifiers, not people: halves, right on 59 of 60" in words
    assert "75 steps" in words
    assert any("classifiers judged, not people" in sentence for sentence in part.untested)
    told = next(m for m in part.metrics if m.name == RATE)
    assert (told.n, told.interval, told.better) == (60, "Wilson 95%", "lower")
    ability = next(m for m in part.metrics if "judges" in m.name)
    assert (ability.value, ability.n) == (59 / 60, 60)


def test_an_attack_that_changes_nothing_is_not_held_for_a_strong_classifier(
    examined: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "says more of the attack" not in examined(Reads(corner=True)).findings[0].detail
    monkeypatch.setattr(over_stability.TypeI, "run", lambda self, model, x, *rest: x)
    part = examined(Reads(corner=True), effort=0.4)
    assert rate(part) == 0
    assert "says more of the attack here than of the classifier" in part.findings[0].detail


def test_what_was_measured_is_kept(examined: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = examined(Reads(corner=True))

    def again(self: Any, model: Any, x: Tensor, *rest: Any) -> Tensor:
        pytest.fail("was measured before")

    monkeypatch.setattr(over_stability.TypeI, "run", again)
    assert [m.value for m in examined(Reads(corner=True)).metrics] == [
        m.value for m in first.metrics
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            Dataset("v", torch.zeros(200, 64), torch.arange(200) % 10, tuple("0123456789")),
            "no images",
        ),
        (load("digits", "train").take(50), "50 images are too few"),
        (replace(load("digits", "train"), y=torch.zeros(1442, dtype=torch.int64)), "of one class"),
        (
            replace(load("digits", "train"), classes=tuple("0123456789a")),
            "10 classes and the data 11",
        ),
    ],
)
def test_where_it_cannot_be_had_the_reason_is_told(data: Dataset, reason: str) -> None:
    assert reason in over_stability.hindrance(Nearest(), data, data)


def test_nothing_hinders_it_on_digits() -> None:
    data = load("digits", "train")
    assert over_stability.hindrance(Nearest(), data, data) == ""


def test_a_slip_in_training_leaves_the_rest_of_the_audit(
    examined: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(spec: str, without: tuple[str, ...] = ()) -> None:
        raise UserError("nobody is left to judge")

    monkeypatch.setattr(zoo, "judge_for", refuse)
    part = examined(Reads(corner=True))
    assert part.untested == ["Whether it is over-stable: nobody is left to judge"]
    assert part.metrics == part.sections == []


# Training


def test_the_datas_own_recipe_is_taken_and_others_have_their_size() -> None:
    assert recipe("svae", "digits", load("digits", "train")).name == "digits-svae"
    for shape, latent in (((1, 28, 28), 32), ((3, 32, 32), 64), ((3, 64, 64), 128)):
        data = Dataset(
            "own", torch.zeros(4, *shape, dtype=torch.uint8), torch.arange(4) % 3, tuple("abc")
        )
        own = recipe("svae", "own.npz", data)
        assert isinstance(own.model, SVAEConfig)
        assert (own.model.shape, own.model.latent, own.model.classes) == (shape, latent, 3)


def test_no_judge_is_of_the_victims_kind() -> None:
    assert barred(Conv4()) == ("conv4",)
    assert barred(Nearest()) == ()


def test_how_near_the_judges_are_is_told(examined: Any) -> None:
    kind, learned = "its kind is unknown", "has no test images of its own"
    told = " ".join(examined(Reads(corner=True)).untested)
    assert kind in told
    assert learned not in told
    rest = {"without": ("mlp",), "train": replace(two_kinds(), split="all")}
    told = " ".join(examined(Reads(corner=True), **rest).untested)
    assert kind not in told
    assert learned in told


def test_the_judges_learn_from_where_the_data_lies(
    tmp_path: Path, audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def noted(spec: str, without: tuple[str, ...] = ()) -> Any:
        seen.append(root())
        return judge_for(spec, without)

    monkeypatch.setattr(zoo, "judge_for", noted)
    audited(model=BROUGHT + "nearest", n=4, eps=(0.1,), data_root=tmp_path / "sets")
    assert seen == [tmp_path / "sets"]


def test_a_budget_shortens_the_training_or_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    train = load("digits", "train")
    svae = replace(recipe("svae", "digits", train), seed=77)
    monkeypatch.setattr(cost, "timed", lambda model, data: 1e-5 * isinstance(model, SVAE))
    seconds = 2 * 60 * len(train) * 1e-5
    assert over_stability.learning(svae, "digits", train, None) == (1.0, pytest.approx(seconds))
    assert over_stability.learning(svae, "digits", train, 30 * seconds)[0] == 1.0
    share, taken = over_stability.learning(svae, "digits", train, 1.5 * seconds)
    assert share == pytest.approx(0.5)
    assert taken == pytest.approx(seconds / 2)
    assert over_stability.learning(svae, "digits", train, 0.1 * seconds) == (0.0, 0.0)


def test_what_is_at_hand_takes_no_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The generative model and the judges need not have been trained together."""
    train = load("digits", "train")
    svae, hand = recipe("svae", "digits", train), set()
    (tmp_path / "there").touch()
    at = {True: tmp_path / "there", False: tmp_path / "missing"}
    monkeypatch.setattr(zoo, "path", lambda recipe: at[recipe.name in hand])
    monkeypatch.setattr(cost, "timed", lambda model, data: 1e-5)

    def learning(budget: float | None) -> tuple[float, float]:
        return over_stability.learning(svae, "digits", train, budget)

    passes = {r.name: r.epochs for r in judges("digits", (1, 8, 8), 10, len(train))}
    whole = 2e-5 * len(train) * (svae.epochs + sum(passes.values()))
    assert learning(None) == (1.0, pytest.approx(whole))
    hand.add(svae.name)
    others = 2e-5 * len(train) * sum(passes.values())
    assert learning(None) == (1.0, pytest.approx(others))
    assert learning(3.1 * others)[0] == 1.0
    assert learning(2.9 * others) == (0.0, 0.0)
    hand.update(passes)
    assert learning(0.0) == (1.0, 0.0)


def test_what_was_left_out_for_lack_of_time_is_told(examined: Any) -> None:
    (sentence,) = examined(Reads(corner=True), svae=None).untested
    assert "the budget holds no time to train" in sentence
    cost, svae = Estimate(10, 1.0, 1.0, learning=0.0), recipe("svae", "digits", load("digits"))
    assert run._shortened(svae, cost) is None
    half = run._shortened(svae, replace(cost, learning=0.5))
    assert half is not None
    assert half.epochs == svae.epochs / 2


@pytest.mark.parametrize("side", [32, 64])
def test_colour_images_of_the_users(
    tmp_path: Path, audited: Audited, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    """A folder of two kinds of pictures, from end to end, each training cut to a step or a few."""
    from PIL import Image

    x, _ = load("digits", "train").tensors(slice(0, 120))
    for place, one in enumerate(x):
        folder = tmp_path / "photos" / ("red" if place % 2 else "green")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.zeros(side, side, 3, dtype=torch.uint8)
        large = one[0].repeat_interleave(side // 8, 0).repeat_interleave(side // 8, 1)
        pixels[:, :, 1 - place % 2] = 80 + (150 * large).byte()
        Image.fromarray(pixels.numpy()).save(folder / f"{place}.png")
    judge = judge_for("", ())
    judge.classifiers["means"] = Hue()
    monkeypatch.setattr(zoo, "judge_for", lambda spec, without=(): judge)
    monkeypatch.setattr(run, "recipe", lambda *a: replace(recipe(*a), epochs=1.0, batch=64))
    report = audited(
        model="tests.audit.test_over_stability:Hue", data=str(tmp_path / "photos"), n=4, eps=(0.1,)
    )
    rate = report.metric(RATE)
    assert rate is not None
    assert rate.n == 4


class Hue(nn.Module):
    """Red or green?"""

    def __init__(self) -> None:
        super().__init__()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        mean = 10 * x.mean((2, 3))
        return torch.stack([mean[:, 1], mean[:, 0]], 1)
