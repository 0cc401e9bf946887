"""The audit from end to end, on digits: what it claims, and that it claims no more."""

import json
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.audit.conftest import Audited, N
from trompe import zoo
from trompe.audit import (
    Estimate,
    Plan,
    audit,
    classifier,
    estimate,
    guard,
    margins,
    over_stability,
    pairs,
    run,
    transit,
)
from trompe.audit.classifier import Subject
from trompe.audit.rungs import Rungs
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import policy
from trompe.core.geometry import norm
from trompe.data import load
from trompe.evaluation import Record, Result, read_records
from trompe.evaluation.autoencoder import partners
from trompe.evaluation.cases import Case
from trompe.evaluation.rounds import Run
from trompe.reports import Curve, Forest, Grid, Report, Table, compare, read

BROUGHT = "tests.audit.brought:"
DEFENDED = "classifier behind the defence"
ROBUST = "robust accuracy at Linf"


def values(report: Report, start: str) -> list[float]:
    """The metrics whose names begin so, in order."""
    return [m.value for m in report.metrics if m.name.startswith(start)]


def whole(report: Report) -> dict[str, tuple[float, float | None, float | None, int | None]]:
    return {m.name: (m.value, m.low, m.high, m.n) for m in report.metrics}


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The default audit, once for the tests that only look at it; None until the first has made it."""
    return {"out": tmp_path_factory.mktemp("default") / "out"}


@pytest.fixture
def first(default: Any, audited: Audited) -> Report:
    """The report of the default audit."""
    if "report" not in default:
        default["report"] = audited(out=default["out"])
    return default["report"]  # type: ignore[no-any-return]


def test_the_default_audit_answers_every_question(first: Report, default: Any) -> None:
    titles = [section.title for section in first.sections]
    assert titles == [
        "Can the VAE be made to lie?",
        "Can codes of the VAE be changed in transit?",
        "Can the classifier be fooled?",
        "Does the defence protect the classifier?",
        "Does the classifier notice when an image changes?",
        "How much is the luck of one training?",
    ]
    assert not first.partial
    assert {check.subject for check in first.doctor} == {
        "the classifier",
        "the classifier behind reconstruction",
    }
    assert first.verdict.count("\n\n") == 1
    assert len(first.untested) == len(set(first.untested)) >= 4
    assert first.command == "trompe audit --n 24"
    assert first.cost["images"] == N
    assert int(str(first.cost["backward passes"])) > 1000
    assert len(read_records(default["out"] / "records.json")) >= 24 + 4 + 8


def test_the_files_say_the_same(first: Report, default: Any) -> None:
    assert read(default["out"]) == first
    body = json.loads((default["out"] / "report.json").read_text())
    for key in ("doctor", "untested", "command", "settings", "environment", "cost", "verdict"):
        assert body[key]
    page = unescape((default["out"] / "report.html").read_text())
    assert all(finding.headline in page for finding in first.findings)


def test_every_number_has_a_threat_and_an_interval(first: Report) -> None:
    for metric in first.metrics:
        assert metric.threat or "clean" in metric.name
        assert metric.low is not None
        assert metric.high is not None
        assert metric.low <= metric.value <= metric.high
        assert metric.n is not None
        assert 0 < metric.n <= N
    for finding in first.findings:
        assert finding.threat
        assert finding.headline.endswith(".")


def test_rates_have_the_n_they_rest_on(first: Report) -> None:
    lied = [m for m in first.metrics if m.name.startswith("autoencoder: AS")]
    assert len({m.n for m in lied}) == 1
    assert all(
        m.n == N
        for m in first.metrics
        if m.name.startswith(("classifier: clean", "classifier: rob"))
    )
    fooled = next(f for f in first.findings if "misreads" in f.headline)
    right = round(first.metric("classifier: clean accuracy").value * N)  # type: ignore[union-attr]
    assert f"n = {right})" in fooled.interval


def test_more_radius_is_never_worse_for_the_attacker(first: Report) -> None:
    for who in ("classifier", DEFENDED):
        robust = values(first, f"{who}: {ROBUST}")[:3]
        assert len(robust) == 3
        assert robust == sorted(robust, reverse=True)
    for name in ("AS-target", "AS-ignore-target", "AS untargeted"):
        rates = values(first, f"autoencoder: {name} at")
        assert len(rates) == 6
        assert rates == sorted(rates)


def test_the_stronger_attacker_is_the_stronger(first: Report) -> None:
    aims = [values(first, f"autoencoder: {name} at") for name in
            ("AS-target", "AS-ignore-target", "AS untargeted")]  # fmt: skip
    assert all(a <= b <= c for a, b, c in zip(*aims, strict=True))
    for eps in (0.1, 0.2, 0.3):
        found = [
            first.metric(f"{DEFENDED}: {ROBUST} {eps}{who}")
            for who in ("", " (worst rung)", " (oblivious attacker)")
        ]
        per_image, worst, blind = (m.value for m in found if m is not None)
        assert per_image <= worst <= blind


def test_the_spread_is_over_trainings(first: Report) -> None:
    (table,) = first.sections[-1].blocks
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["0", "1", "2", "mean", "standard deviation"]


def test_two_runs_have_their_numbers_in_common(first: Report, audited: Audited) -> None:
    """Another seed, another model: the names are those of the questions, so that they compare."""
    second = audited(model=f"{BROUGHT}nearest", seed=1)
    shared = {m.name for m in first.metrics} & {m.name for m in second.metrics}
    assert shared == {m.name for m in second.metrics}
    assert len(shared) == 6
    text = compare(first, second).summary
    assert text.startswith("Numbers that both reports have: 6.")


def test_interrupted_and_resumed_it_gives_the_same(
    first: Report, audited: Audited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int | None, text: str) -> None:
        if text == "the classifier":
            raise KeyboardInterrupt

    part = audited(progress=stop)
    assert part.partial
    assert part.missing.startswith(
        "Not measured: the classifier, the defence, over-stability, the spread"
    )
    assert [s.title for s in part.sections] == [
        "Can the VAE be made to lie?",
        "Can codes of the VAE be changed in transit?",
    ]
    assert read(tmp_path / "out") == part
    kept = read_records(tmp_path / "out" / "records.json")
    assert len([r for r in kept if r.metric.startswith(("AS", "random noise"))]) == 24

    def again(*_: object, **__: object) -> None:
        raise AssertionError("was measured before")

    for module, name in ((pairs, "_chunk"), (margins, "_measure"), (transit, "_learned")):
        monkeypatch.setattr(module, name, again)
    resumed = audited(resume=True)
    assert not resumed.partial
    assert whole(resumed) == whole(first)
    assert resumed.findings == first.findings
    assert resumed.doctor == first.doctor


def test_interrupted_before_anything_the_report_says_so(audited: Audited) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    part = audited(model=f"{BROUGHT}nearest", progress=stop)
    assert part.partial
    assert part.summary == "Nothing has been measured yet."
    assert part.missing == "Not measured: the classifier, over-stability."


def test_without_resume_it_starts_afresh_and_spares_what_is_not_its_own(
    audited: Audited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audited(model=f"{BROUGHT}nearest")
    mine = tmp_path / "out" / "work" / "thesis.tex"
    mine.write_text("years of it")
    calls = []
    batch = Run.batch
    monkeypatch.setattr(Run, "batch", lambda self, *a: calls.append(1) or batch(self, *a))
    audited(model=f"{BROUGHT}nearest", resume=True)
    resumed = len(calls)
    audited(model=f"{BROUGHT}nearest")
    assert resumed == 0
    assert len(calls) > 0
    assert mine.read_text() == "years of it"


def test_a_resumed_audit_keeps_to_its_first_estimate(tmp_path: Path) -> None:
    how: dict[str, Any] = {
        "model": f"{BROUGHT}nearest",
        "out": tmp_path,
        "eps": (0.1,),
        "budget": 99.0,
    }
    once = audit(Plan(**how), cost=Estimate(20, 0.1, 1.0))
    again = audit(Plan(**how, resume=True), cost=Estimate(40, 0.5, 1.0))
    assert whole(once) == whole(again)


# What a user brings


@pytest.mark.parametrize("name", ["pooled", "kl"])
def test_a_users_autoencoder(audited: Audited, name: str) -> None:
    if name == "kl":
        pytest.importorskip("diffusers", reason="needs diffusers, extra 'hf'")
    report = audited(model=BROUGHT + name, n=8)
    section, codes = report.sections
    assert section.title == f"Can {name} be made to lie?"
    assert codes.title == f"Can codes of {name} be changed in transit?"
    assert ("L2 between codes" if name == "pooled" else "kl between codes") in section.text
    assert "On 8 pairs" in section.text
    assert not any(m.name.startswith("classifier") for m in report.metrics)


def test_an_autoencoder_without_labels(audited: Audited) -> None:
    report = audited(model=f"{BROUGHT}pooled", data=f"{BROUGHT}unlabelled", n=8)
    assert [m.name for m in report.metrics] == [
        "autoencoder: clean reconstruction error",
        "autoencoder: AUDDC",
        "autoencoder: r-robustness margin (median)",
    ]
    assert sum("no labels" in sentence for sentence in report.untested) == 2
    assert len(report.sections) == 1
    assert "of the way to a chosen image" in report.findings[0].headline


def test_images_that_are_all_alike_are_told(audited: Audited) -> None:
    with pytest.raises(UserError, match="all alike"):
        audited(model=f"{BROUGHT}pooled", data=f"{BROUGHT}unlabelled", n=1)


def test_a_defence_by_reconstruction(audited: Audited) -> None:
    report = audited(
        model=f"{BROUGHT}nearest", defense="reconstruct", autoencoder=f"{BROUGHT}pooled"
    )
    assert [s.title for s in report.sections] == [
        "Can nearest be fooled?",
        "Does the defence protect nearest?",
        "Does nearest notice when an image changes?",
    ]
    assert "nearest behind reconstruction" in report.verdict
    assert any(f.headline.startswith("The defence ") for f in report.findings)
    assert len(values(report, f"{DEFENDED}: {ROBUST}")) == 9
    forest, table, curve, grid = report.sections[1].blocks
    assert isinstance(forest, Forest)
    assert isinstance(table, Table)
    assert isinstance(curve, Curve)
    assert isinstance(grid, Grid)
    rungs = [str(row[0]).removesuffix(" (worst)") for row in table.rows]
    assert rungs[:2] == ["oblivious", "surrogate"]
    assert rungs[-1] == "worst case per image"
    assert [name for name, _ in forest.rows] == ["not attacked", *rungs, "without the defence"]
    assert sum("(worst)" in str(row[0]) for row in table.rows) == 1
    assert grid.column_titles[-1] == "as the classifier is shown it"
    assert [line.label for line in curve.series] == [
        "not attacked", "oblivious attacker", "worst case per image", "without the defence",
    ]  # fmt: skip


def test_a_random_reconstruction_is_tried_as_often_as_one_likes(audited: Audited) -> None:
    report = audited(
        model=f"{BROUGHT}nearest",
        defense="reconstruct",
        scale=1.0,
        input_noise=0.1,
        n=6,
        eps=(0.1,),
    )
    section = report.sections[1]
    assert "drawn at 1 times the posterior's deviation and noise of deviation 0.1" in section.text
    table = next(b for b in section.blocks if isinstance(b, Table))
    kept, always = (table.columns.index(c) for c in ("accuracy", "on 20 of 20 looks"))
    for row in table.rows:
        assert (
            float(str(row[always]).partition("%")[0])
            <= float(str(row[kept]).partition("%")[0]) + 0.1
        )
    assert any(str(row[0]).startswith("through the mean") for row in table.rows)


def test_magnet_is_calibrated_on_images_that_nothing_else_sees(audited: Audited) -> None:
    report = audited(model=f"{BROUGHT}nearest", defense="magnet", fpr=0.05, n=16, eps=(0.1,))
    section = report.sections[1]
    assert "refuse 5.00% of clean images together, set on 177 images" in section.text
    held = report.metric(f"{DEFENDED}: not misread at Linf 0.1")
    right = report.metric(f"{DEFENDED}: {ROBUST} 0.1")
    assert held is not None
    assert right is not None
    assert held.value >= right.value
    assert report.metric(f"{DEFENDED}: clean images refused") is not None
    assert "detectors off" in report.verdict
    table = next(b for b in section.blocks if isinstance(b, Table))
    refused = {str(row[0]).removesuffix(" (worst)"): str(row[2]) for row in table.rows}
    assert table.columns[2] == "made and refused"
    assert refused.pop("worst case per image") == ""
    assert all(0 <= float(share.partition("%")[0]) <= 100 for share in refused.values())
    assert not any("pass its detectors" in sentence for sentence in report.untested)


def test_images_to_calibrate_on_are_no_others() -> None:
    data = load("digits", "test")
    some, held = guard.apart(data, Plan(defense="magnet"))
    assert held is not None
    assert len(some) + len(held) == len(data)
    whole = torch.cat([some.tensors()[0], held.tensors()[0]])
    assert torch.equal(whole, data.tensors()[0])
    assert guard.apart(data, Plan(defense="reconstruct"))[1] is None
    with pytest.raises(UserError, match="needs 999 images"):
        guard.apart(data, Plan(defense="magnet", fpr=0.001))


def test_images_that_were_trained_on_are_not_called_held_out() -> None:
    test, train = load("digits", "test"), load("digits", "train")
    plan = Plan(defense="magnet")
    told = [
        guard.Guard("magnet", plan, test, each, test).told()
        for each in (train, replace(train, split="all"))
    ]
    assert told[0].endswith("nothing was trained or is measured on.")
    assert told[1].endswith("digits has no test images of its own, so they were trained on.")


@pytest.mark.parametrize("seed", [-1, 0, 3])
def test_the_attackers_own_stack_is_not_the_victims(seed: int) -> None:
    plan = Plan(model="digits-mlp", defense="reconstruct", autoencoder="digits-vae", seed=seed)
    data = load("digits", "test")
    rivals = guard.Guard("reconstruct", plan, data, load("digits", "train")).recipes()
    assert [r.name for r in rivals] == ["digits-mlp", "digits-vae"]
    assert all(r.hash != zoo.recipe(r.name).hash for r in rivals)


def test_the_doctor_looks_through_the_worst_rung_that_follows_gradients(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    usual = classifier.doctor

    def watched(*args: Any, **rest: Any) -> Any:
        seen.append(rest["attack"])
        return usual(*args, **rest)

    monkeypatch.setattr(classifier, "doctor", watched)
    report = audited(model=f"{BROUGHT}nearest", defense=f"{BROUGHT}detached", n=8, eps=(0.1,))
    assert seen[0] is None
    assert seen[1].describe()["attack"] == "Transfer(APGD)"
    assert "The doctor looks through the rung 'around'" in report.sections[1].text


def test_a_ladder_without_time_for_a_surrogate_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "training", lambda *_: 60.0)
    plan = Plan(model=f"{BROUGHT}nearest", defense=f"{BROUGHT}noisy", n=6, eps=(0.1,), out=tmp_path)
    assert estimate(plan).training >= 60
    short = replace(plan, budget=300.0)
    assert not estimate(short).surrogate
    report = audit(short, cost=Estimate(6, 0.1, 1.0, learning=0.0, surrogate=False))
    assert any("no time to train one" in sentence for sentence in report.untested)
    table = next(b for b in report.sections[1].blocks if isinstance(b, Table))
    assert "surrogate" not in [row[0] for row in table.rows]


@pytest.mark.parametrize("name", ["detached", "rounded"])
def test_a_defence_without_gradients_is_gone_around(audited: Audited, name: str) -> None:
    """What has no gradient must not pass for robust: who knows it goes around, and the doctor tells."""
    report = audited(model=f"{BROUGHT}nearest", defense=BROUGHT + name)
    bare = values(report, f"classifier: {ROBUST}")
    knowing = values(report, f"{DEFENDED}: {ROBUST}")[:3]
    assert knowing[-1] <= 0.1
    if name == "detached":
        assert all(k <= b + 2 / N for k, b in zip(knowing, bare, strict=True))
    assert "Do not trust" in report.verdict
    distrust = [f for f in report.findings if "cannot be trusted" in f.headline]
    assert len(distrust) == 1
    gains = [f for f in report.findings if "The defence" in f.headline]
    assert (
        "raises robust accuracy" not in gains[0].headline or "doctor objects" in gains[0].headline
    )


def test_a_random_defence_is_attacked_in_expectation(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    usual = classifier.evaluate

    def watched(*args: Any, **rest: Any) -> Any:
        seen[rest["subject"]] = policy().draws
        return usual(*args, **rest)

    monkeypatch.setattr(classifier, "evaluate", watched)
    report = audited(model=f"{BROUGHT}nearest", defense=f"{BROUGHT}noisy", n=16, eps=(0.2,))
    assert seen == {"nearest": 1}
    table = next(b for b in report.sections[1].blocks if isinstance(b, Table))
    assert "on 20 of 20 looks" in table.columns
    passes = {str(row[0]).removesuffix(" (worst)"): row[-1] for row in table.rows}
    assert passes["APGD"] > 5 * passes["oblivious"] / 2  # ten draws a step
    assert any("repeats itself" in check.detail for check in report.doctor)


def test_a_classifier_that_rejects_has_its_caveat(audited: Audited) -> None:
    report = audited(model=f"{BROUGHT}guarded", eps=(0.2,))
    assert any("pass its detectors" in sentence for sentence in report.untested)


def test_a_set_sorted_by_class_is_sampled(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = []
    usual = classifier.evaluate

    def watched(model: Any, attacks: Any, data: Any, **rest: Any) -> Any:
        labels.append(data.y)
        return usual(model, attacks, data, **rest)

    monkeypatch.setattr(classifier, "evaluate", watched)
    audited(model=f"{BROUGHT}nearest", data=f"{BROUGHT}by_class", eps=(0.2,))
    assert len(labels[0].unique()) >= 6


@pytest.mark.parametrize("kind", ["L1", "L2"])
def test_other_norms(audited: Audited, kind: str) -> None:
    report = audited(model=f"{BROUGHT}nearest", norm=kind, eps=())
    assert (
        values(report, f"classifier: robust accuracy at {kind}")[-1]
        < values(report, "classifier")[0]
    )
    stages = next(b for b in report.sections[0].blocks if isinstance(b, Table))
    assert any(row[1] == "Square" for row in stages.rows) == (kind == "L2")
    assert any("Square has no form" in s for s in report.untested) == (kind == "L1")
    assert "No sign of masked gradients" in report.verdict


def test_a_model_that_is_never_right(audited: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run.load

    def shifted(*args: Any) -> Any:
        data = found(*args)
        return data.subset(data.y != 0)

    monkeypatch.setattr(run, "load", shifted)
    report = audited(model=f"{BROUGHT}hopeless")
    head = report.findings[0].headline
    assert head == "hopeless classifies no image correctly, so there is nothing to attack."


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"model": f"{BROUGHT}for_larger_images"}, r"does not take inputs of shape \(1, 8, 8\)"),
        ({"model": f"{BROUGHT}severed"}, "no gradient path"),
        ({"model": f"{BROUGHT}nobody"}, "no function"),
        ({"model": f"{BROUGHT}nearest", "data": f"{BROUGHT}unlabelled"}, "no labels"),
        ({"model": f"{BROUGHT}pooled", "defense": "reconstruct"}, "stands before a classifier"),
        ({"data": f"{BROUGHT}unlabelled"}, "no labels"),
        ({"model": "weights.pt"}, "pickle"),
        ({"model": "nonsense"}, "unknown model"),
        ({"model": f"{BROUGHT}nearest", "defense": "prayer"}, "unknown defence"),
        ({"model": f"{BROUGHT}nearest", "defense": "magnet", "fpr": 0.001}, "needs 999 images"),
        (
            {
                "model": f"{BROUGHT}nearest",
                "defense": "reconstruct",
                "scale": 1.0,
                "autoencoder": f"{BROUGHT}pooled",
            },
            "its codes are points",
        ),
    ],
)
def test_slips_are_told_in_one_sentence(audited: Audited, plan: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        audited(**plan)
    assert "\n" not in str(caught.value)


def test_a_file_in_the_folders_place(audited: Audited, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="is a file"):
        audited(model=f"{BROUGHT}nearest")


# Time


def test_a_budget_shrinks_the_work_and_the_estimate_says_so() -> None:
    free = estimate(Plan(model=f"{BROUGHT}nearest"))
    assert (free.n, free.effort) == (355, 1.0)
    assert str(free).startswith("About ")
    assert "usual steps" not in str(free)
    short = estimate(Plan(model=f"{BROUGHT}nearest", budget=1.0, defense=f"{BROUGHT}noisy"))
    assert short.n <= free.n
    rich = estimate(Plan(model=f"{BROUGHT}nearest", budget=1e9))
    assert (rich.n, rich.effort) == (355, 1.0)


def test_an_expensive_model_gets_fewer_images_and_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        run, "timed", lambda model, data: 0.002
    )  # 2 s an image, and 1 s to change one
    monkeypatch.setattr(over_stability, "learning", lambda *_: (1.0, 0.0))
    cost = estimate(Plan(model=f"{BROUGHT}nearest", budget=60.0))
    assert (cost.n, cost.effort) == (64, 0.1)
    assert str(cost) == "About 42 s for 64 images, at 10% of the usual steps."
    assert estimate(Plan(model=f"{BROUGHT}nearest", budget=600.0)).n == 200
    assert estimate(Plan(model=f"{BROUGHT}nearest", budget=1.0)).n == 20


def test_what_is_trained_first_is_told_and_leaves_less_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "timed", lambda model, data: 0.002)
    monkeypatch.setattr(over_stability, "learning", lambda *_: (0.5, 15.0))
    cost = estimate(Plan(model=f"{BROUGHT}nearest", budget=60.0))
    assert (cost.n, cost.learning) == (20, 0.5)
    assert str(cost).endswith("at 10% of the usual steps, of which training takes 15 s.")


def test_when_time_runs_out_what_was_measured_stands(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "_CHUNK", 8)
    report = audited(model=f"{BROUGHT}pooled", budget=1e-9)
    assert report.partial
    assert (
        report.missing
        == "The time ran out before everything was measured; what was measured stands."
    )
    assert report.metric("autoencoder: AUDDC").n == 8  # type: ignore[union-attr]
    assert "On 8 pairs" in report.sections[0].text


# The parts


def test_the_gain_of_a_defence_is_paired() -> None:
    """Ten more of a hundred stand, and none fewer: that is no chance, though the two intervals overlap."""

    def result(standing: list[float]) -> Result:
        cases = [Case(i, 0, 1.0, 0.0, shares=[[v, 1 - v]]) for i, v in enumerate(standing)]
        return Result((), tuple(cases), ())

    def gain(bare: list[float], defended: list[float]) -> Record:
        subject = Subject("", torch.nn.Flatten(), load("digits"), (0.1,), "Linf", 0, 1)
        return Rungs(subject, {}, result(defended), result(bare)).gain()

    some = gain([1.0] * 40 + [0.0] * 60, [1.0] * 50 + [0.0] * 50)
    assert some.value == pytest.approx(0.1)
    assert 0 < some.low < some.value < some.high  # type: ignore[operator]
    for same in (gain([1.0, 0.0] * 50, [0.0, 1.0] * 50), gain([1.0] * 20, [1.0] * 20)):
        assert same.low < 0 < same.high  # type: ignore[operator]


def test_noise_has_the_length_it_is_said_to_have() -> None:
    data = load("digits")
    subject = pairs.Subject("a", torch.nn.Identity(), data, None, 0)
    x, _ = data.tensors(slice(0, 20))
    for radius in (0.2, 1.0, 2.0):
        noisy = pairs._noisy(subject, x, radius, random.seeds(0, 20))
        assert float(noisy.min()) >= 0
        assert float(noisy.max()) <= 1
        torch.testing.assert_close(
            norm(noisy - x, "L2"), torch.full((20,), radius), rtol=0.03, atol=0
        )


def test_targets_are_of_another_class() -> None:
    y = torch.tensor([0, 0, 0, 1, 2, 2, 0])
    partner = partners(y)
    assert bool((y[partner] != y).all())
    assert partner.tolist() == [3, 3, 3, 4, 6, 6, 3]


def test_severity_follows_the_rate() -> None:
    from trompe.audit.part import severity

    rates = (1.0, 0.75, 0.74, 0.5, 0.3, 0.1, 0.04, 0.0, torch.nan)
    words = "critical critical high high medium low info info info"
    assert [severity(float(rate)) for rate in rates] == words.split()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"eps": (0.1, -0.1)}, "positive radii"),
        ({"eps": (float("nan"),)}, "positive radii"),
        ({"norm": "L0"}, "norm must be"),
        ({"n": 0}, "n must be"),
        ({"budget": 0.0}, "budget"),
        ({"draws": 0}, "draws"),
        ({"precision": "fp8"}, "precision"),
        ({"autoencoder": "digits-vae"}, "give both"),
        ({"scale": 0.5}, "give both"),
        ({"input_noise": 0.5, "defense": "magnet"}, "give both"),
        ({"scale": -1.0, "defense": "reconstruct"}, "zero or more"),
        ({"fpr": 0.1}, "give both"),
        ({"fpr": 1.0, "defense": "magnet"}, "between 0 and 1"),
    ],
)
def test_a_plan_refuses_what_makes_no_sense(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        Plan(**settings)


def test_radii_given_twice_count_once(audited: Audited) -> None:
    report = audited(model=f"{BROUGHT}nearest", eps=(0.2, 0.1, 0.2))
    curve = next(b for b in report.sections[0].blocks if isinstance(b, Curve))
    assert curve.series[0].x == (0.0, 0.1, 0.2)
