"""`trompe audit`: options become a plan, a report becomes an exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import trompe.audit as audits
from tests.cli.conftest import Run
from trompe.audit import Plan
from trompe.cli.audit import Audit, robust_accuracy
from trompe.core.errors import UserError
from trompe.reports import Finding, Metric, Report, read

ROOT = Path(__file__).resolve().parents[2]


def report(*metrics: Metric, **rest: Any) -> Report:
    """A report as an audit returns it."""
    found = (
        Finding("low", "A little was found.", interval="1% of 100"),
        Finding("high", "Much was found."),
    )
    return Report(
        "Audit of x", "x", "trompe audit", "now", "In short.", found, metrics=metrics, **rest
    )


def robust(value: float, eps: float, who: str = "the classifier", tail: str = "") -> Metric:
    """A robust accuracy under the name that audits give it."""
    return Metric(f"{who}: robust accuracy at Linf {eps:.4g}{tail}", value, unit="rate")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Report], list[Plan]]:
    """`fake(report)` lets every audit return that report; what is returned collects the plans."""
    monkeypatch.chdir(tmp_path)

    def use(given: Report) -> list[Plan]:
        plans: list[Plan] = []

        def audit(plan: Plan, *, command: str, cost: object, progress: object = None) -> Report:
            plans.append(plan)
            return given

        monkeypatch.setattr(audits, "audit", audit)
        monkeypatch.setattr(audits, "estimate", lambda plan: "About 3 s.")
        return plans

    return use


CHANGED = {
    "model": ["--model", "digits-mlp"],
    "data": ["--data", "mnist"],
    "defense": ["--defense", "reconstruct"],
    "autoencoder": ["--defense", "reconstruct", "--autoencoder", "digits-vae"],
    "scale": ["--defense", "reconstruct", "--scale", "0.5"],
    "input_noise": ["--defense", "reconstruct", "--input-noise", "0.1"],
    "fpr": ["--defense", "magnet", "--fpr", "0.05"],
    "eps": ["--eps", "0.1,51/255"],
    "norm": ["--norm", "L2"],
    "n": ["--n", "7"],
    "budget": ["--budget", "2m"],
    "seed": ["--seed", "3"],
    "draws": ["--draws", "9"],
    "device": ["--device", "meta"],
    "precision": ["--precision", "bf16"],
    "out": ["--out", "elsewhere"],
    "resume": ["--resume"],
    "data_root": ["--data-root", "sets"],
}


@pytest.mark.parametrize("name", [field.name for field in fields(Plan)])
def test_every_option_changes_its_part_of_the_plan(
    run: Run, fake: Callable[[Report], list[Plan]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("trompe.cli.audit.device", lambda text: text)
    plans = fake(report())
    assert run("audit").code == run("audit", *CHANGED[name]).code == 0
    usual, changed = plans
    assert usual == Plan(out=Path("trompe-report"))
    assert getattr(changed, name) != getattr(usual, name)
    others = {field.name for field in fields(Plan)} - {name, "defense"}
    assert all(getattr(changed, other) == getattr(usual, other) for other in others)


def test_every_option_is_tried_above() -> None:
    of_links = {"comms", "psr", "snr", "blocks"}
    assert {field.name for field in fields(Audit)} == {*CHANGED, *of_links, "fail_under"}


def test_what_the_values_mean(run: Run, fake: Callable[[Report], list[Plan]]) -> None:
    plans = fake(report())
    run("audit", "--model", "mnist-conv4", "--eps", "0.1,51/255", "--budget", "1h30m")
    assert (plans[0].data, plans[0].eps, plans[0].budget) == ("mnist", (0.1, 0.2), 5400.0)


def test_what_is_shown(run: Run, fake: Callable[[Report], list[Plan]]) -> None:
    fake(report(verdict="All is well."))
    ran = run("audit", "--out", "there")
    assert ran.err == "trompe: About 3 s.\n"
    lines = ran.out.splitlines()
    places = [lines.index(next(line for line in lines if text in line)) for text in (
        "In short.", "high  Much was found.", "low  A little was found.", "1% of 100", "All is well.",
        "there/report.html", "there/report.md", "there/report.json",
    )]  # fmt: skip
    assert places == sorted(places)


@pytest.mark.parametrize(("least", "code"), [("0.3", 1), ("0.2", 0), ("0", 0), ("1", 1)])
def test_fail_under_judges_the_largest_radius(
    run: Run, fake: Callable[[Report], list[Plan]], least: str, code: int
) -> None:
    fake(report(robust(0.9, 0.05), robust(0.2, 0.3), robust(0.6, 0.1)))
    ran = run("audit", "--fail-under", least)
    assert ran.code == code
    assert "the classifier: robust accuracy at Linf 0.3 is 0.200" in ran.err
    assert "report.html" in ran.out


def test_fail_under_judges_the_defended_model_against_who_knows_it() -> None:
    behind = "the classifier behind reconstruction"
    found = report(
        robust(0.2, 0.3),
        robust(0.4, 0.3, behind),
        robust(0.5, 0.3, behind, " (worst rung)"),
        robust(0.8, 0.3, behind, " (oblivious attacker)"),
    )
    bare, defended = robust_accuracy(found, defended=False), robust_accuracy(found, defended=True)
    assert bare is not None
    assert defended is not None
    assert (bare.value, defended.value) == (0.2, 0.4)


def test_fail_under_without_a_classifier(run: Run, fake: Callable[[Report], list[Plan]]) -> None:
    fake(report())
    ran = run("audit", "--fail-under", "0.5")
    assert ran.code == 2
    assert "this report holds no robust accuracy" in ran.err


def test_an_error_of_our_own_keeps_its_traceback(
    run: Run, fake: Callable[[Report], list[Plan]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(report())

    def broken(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(audits, "audit", broken)
    with pytest.raises(KeyError, match="a bug"):
        run("audit")


@pytest.mark.parametrize(
    ("error", "code", "answer"),
    [
        (UserError("two\nlines of it"), 2, "trompe: two lines of it"),
        (OSError(28, "No space left on device", "x/y"), 2, "trompe: x/y: no space left on device"),
        (KeyboardInterrupt(), 130, "trompe: stopped"),
    ],
)
def test_errors_that_are_told(
    run: Run,
    fake: Callable[[Report], list[Plan]],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    answer: str,
) -> None:
    fake(report())

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(audits, "audit", broken)
    ran = run("audit")
    assert ran.code == code
    assert ran.err.splitlines()[-1] == answer


def test_an_interrupted_audit_that_returns_a_partial_report(
    run: Run, fake: Callable[[Report], list[Plan]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(report())

    def interrupted(plan: Plan, **_: object) -> Report:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            return report(robust(0.1, 0.3), partial=True, missing="Not measured: the defence.")
        raise AssertionError("no interrupt came")

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(audits, "audit", interrupted)
    ran = run("audit", "--fail-under", "0.5")
    assert ran.code == 130
    assert "Not measured: the defence." in ran.out
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_stops_at_once(
    run: Run, fake: Callable[[Report], list[Plan]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(report())

    def stubborn(plan: Plan, **_: object) -> None:
        for _again in range(2):
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(10)
            except KeyboardInterrupt:
                if _again:
                    raise

    monkeypatch.setattr(audits, "audit", stubborn)
    ran = run("audit")
    assert (ran.code, ran.out) == (130, "")
    assert ran.err.splitlines()[-1] == "trompe: stopped"


def test_the_working_directory_is_on_the_path_only_for_the_users_code(
    run: Run, fake: Callable[[Report], list[Plan]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[bool] = []
    fake(report())
    monkeypatch.setattr(audits, "estimate", lambda plan: seen.append(str(tmp_path) in sys.path))
    run("audit")
    run("audit", "--model", "own:load", "--data", "digits")
    run("audit", "--data", "own:examples")
    run("audit", "--defense", "own:defended")
    assert seen == [False, True, True, True]
    assert str(tmp_path) not in sys.path


WORDS = ("--data", "digits", "--n", "12", "--eps", "0.05,0.1")


@pytest.mark.slow
def test_a_whole_audit_of_the_users_classifier_and_defense(run: Run, home: Path) -> None:
    words = ("audit", "--model", "own:nearest", "--defense", "own:defended", *WORDS)
    ran = run(*words, "--fail-under", "0", "--out", "there")
    assert ran.code == 0, ran.err
    found = read(home / "there")
    assert found.command.startswith("trompe audit --model own:nearest --defense own:defended")
    assert not found.partial
    assert robust_accuracy(found, defended=True) is not None
    assert found.settings["model"] == "own:nearest"
    again = run("compare", "there", "there", "--out", "both")
    assert again.code == 0
    assert "the same" in again.out
    assert (home / "both" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["own:parameterless", "own:two_classes", "own:identity"])
def test_unusual_models_work(
    run: Run, home: Path, write_npz: Callable[..., str], model: str
) -> None:
    from trompe.data import load

    x, y = load("digits").tensors()
    assert y is not None
    few = y < 2 if model == "own:two_classes" else y < 10
    data = write_npz(x=x[few].numpy(), y=y[few].numpy())
    ran = run("audit", "--model", model, "--data", data, "--n", "6", "--eps", "0.1")
    assert ran.code == 0, ran.err
    assert json.loads((home / "trompe-report" / "report.json").read_text())


@pytest.mark.slow
def test_ctrl_c_leaves_a_partial_report_and_resume_goes_on(run: Run, home: Path) -> None:
    words = [
        "audit",
        "--model",
        "own:nearest",
        "--defense",
        "own:defended",
        "--data",
        "digits",
        "--n",
        "40",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "trompe", *words], cwd=home, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (home / "trompe-report" / "report.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert read(home / "trompe-report").partial
    assert "Not measured" in out
    assert run(*words, "--resume").code == 0
    assert not read(home / "trompe-report").partial
