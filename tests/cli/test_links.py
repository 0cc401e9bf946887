"""`trompe audit --comms`: options become a plan, slips become one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trompe.audit as audits
from tests.cli.conftest import Run
from trompe.audit import LinkPlan
from trompe.cli.links import received
from trompe.reports import Metric, Report

Fake = Callable[..., list[LinkPlan]]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    """`fake(*metrics)` lets every audit of a link return a report of them, and collects the plans."""
    monkeypatch.chdir(tmp_path)

    def use(*metrics: Metric) -> list[LinkPlan]:
        plans: list[LinkPlan] = []

        def audit(plan: LinkPlan, *, command: str, **_: Any) -> Report:
            plans.append(plan)
            return Report("Audit of x", "x", command, "now", metrics=metrics)

        monkeypatch.setattr(audits, "audit_link", audit)
        monkeypatch.setattr(audits, "estimate_link", lambda plan: "About 3 s.")
        return plans

    return use


CHANGED = {
    "comms": ["--comms", "hamming-7-4"],
    "psr": ["--psr", "-20,-3.5,4"],
    "snr": ["--snr", "-2:4:1.5"],
    "blocks": ["--blocks", "5000"],
    "budget": ["--budget", "2m"],
    "seed": ["--seed", "3"],
    "out": ["--out", "elsewhere"],
    "resume": ["--resume"],
}


@pytest.mark.parametrize("name", CHANGED)
def test_every_option_changes_its_part_of_the_plan(run: Run, fake: Fake, name: str) -> None:
    plans = fake()
    assert run("audit", "--comms", "mlp-7-4").code == 0
    assert run("audit", "--comms", "mlp-7-4", *CHANGED[name]).code == 0
    usual, changed = plans
    assert usual == LinkPlan()
    assert getattr(changed, name) != getattr(usual, name)
    others = set(CHANGED) - {name}
    assert all(getattr(changed, other) == getattr(usual, other) for other in others)


def test_what_the_levels_mean(run: Run, fake: Fake) -> None:
    plans = fake()
    run("audit", "--comms", "mlp-2-4", "--psr", "-.5,-20,4", "--snr", "-2:4:1.5")
    assert plans[0].psr == (-20.0, -0.5, 4.0)
    assert plans[0].snr == (-2.0, -0.5, 1.0, 2.5, 4.0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--comms mlp-7-4 --psr -inf", "-inf dB is an attacker without power"),
        ("--comms mlp-7-4 --psr -nan", "levels between -100 and 100 dB, got nan"),
        ("--comms mlp-7-4 --snr 1e999", "got inf"),
        ("--comms mlp-7-4 --psr=", "--psr: expected levels in dB"),
        ("--comms nowhere:link", "could not import nowhere"),
        ("--comms mlp-7-4 --data digits", "--data is about a model of images"),
        ("--comms mlp-7-4 --n 5", "--n is about a model of images"),
        ("--comms mlp-7-4 --eps 0.1", "--eps is about a model of images"),
        ("--comms mlp-7-4 --defense magnet", "--defense is about a model of images"),
        ("--blocks 5000", "--blocks is a setting of --comms"),
        ("--radio mlp-7-4", "here it is --comms"),
    ],
)
def test_values_and_options_that_do_not_fit(
    run: Run, home: Path, words: str, sentence: str
) -> None:
    ran = run("audit", *words.split())
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.sentence


@pytest.mark.parametrize(("least", "code"), [("0.5", 1), ("0.4", 0)])
def test_fail_under_judges_the_largest_power(run: Run, fake: Fake, least: str, code: int) -> None:
    low, high = (
        Metric(f"mlp-7-4: blocks received at PSR {psr} dB", share)
        for psr, share in (("-10", 0.9), ("2", 0.4))
    )
    fake(high, low)
    ran = run("audit", "--comms", "mlp-7-4", "--fail-under", least)
    assert ran.code == code
    assert "blocks received at PSR 2 dB is 0.400" in ran.err


def test_a_report_that_was_cut_off_has_nothing_to_judge() -> None:
    assert received(Report("Audit of x", "x", "", "now")) is None
