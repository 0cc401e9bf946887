"""`trompe doctor`: options reach the examination, its answer becomes an exit code."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

import trompe.evaluation.checks as checks
from tests.cli.conftest import Run
from trompe.cli.doctor import Doctor
from trompe.core.geometry import Ball
from trompe.evaluation.checks import Check, Diagnosis

LEAST = ("doctor", "--model", "own:nearest", "--data", "digits")
WELL = Diagnosis(
    (Check("one thing", True, "seen", "because"), Check("another", None, "unseen", "so"))
)
ILL = Diagnosis((Check("one thing", False, "seen", "because it matters"),))


@pytest.fixture
def patients(monkeypatch: pytest.MonkeyPatch) -> Callable[[Diagnosis], list[dict[str, Any]]]:
    """`patients(diagnosis)` lets the doctor say that; what is returned collects what it was given."""

    def use(given: Diagnosis) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def doctor(model: Any, data: Any, ball: Ball, **rest: Any) -> Diagnosis:
            calls.append({"model": model, "data": data, "ball": ball, **rest})
            return given

        monkeypatch.setattr(checks, "doctor", doctor)
        return calls

    return use


CHANGED: dict[str, tuple[list[str], Callable[[dict[str, Any]], object]]] = {
    "model": (["--model", "own:parameterless"], lambda call: type(call["model"])),
    "data": (["--data", "own:examples"], lambda call: call["data"].name),
    "eps": (["--eps", "51/255"], lambda call: call["ball"].eps),
    "norm": (["--norm", "L2"], lambda call: call["ball"].norm),
    "n": (["--n", "9"], lambda call: (len(call["data"]), call["n"])),
    "steps": (["--steps", "7"], lambda call: call["steps"]),
    "queries": (["--queries", "7"], lambda call: call["queries"]),
    "draws": (["--draws", "7"], lambda call: call["draws"]),
    "surrogate": (["--surrogate", "own:nearest"], lambda call: type(call["surrogate"])),
    "seed": (["--seed", "7"], lambda call: call["seed"]),
}


@pytest.mark.parametrize("name", CHANGED)
def test_every_option_reaches_the_doctor(
    run: Run, home: Path, patients: Callable[[Diagnosis], list[dict[str, Any]]], name: str
) -> None:
    calls = patients(WELL)
    words, seen = CHANGED[name]
    assert run(*LEAST).code == 0
    assert run(*LEAST, *words).code == 0
    usual, changed = calls
    assert seen(usual) != seen(changed)


def test_every_option_is_tried_here() -> None:
    assert {field.name for field in fields(Doctor)} == {*CHANGED, "json", "data_root"}


def test_the_usual_radius(
    run: Run, home: Path, patients: Callable[[Diagnosis], list[dict[str, Any]]]
) -> None:
    calls = patients(WELL)
    run(*LEAST)
    run(*LEAST, "--eps", "8/255")
    assert [call["ball"] for call in calls] == [Ball(0.1), Ball(8 / 255)]
    assert len(calls[0]["data"]) == 64
    assert len(torch.unique(calls[0]["data"].y)) == 10


def test_healthy(
    run: Run, home: Path, patients: Callable[[Diagnosis], list[dict[str, Any]]]
) -> None:
    patients(WELL)
    ran = run(*LEAST, "--json", "below/checks.json", "--seed", "4")
    assert ran.code == 0
    assert WELL.verdict in ran.out
    assert "not asked" in ran.out
    told = json.loads((home / "below" / "checks.json").read_text())
    assert (told["healthy"], told["verdict"], told["schema"]) == (True, WELL.verdict, 1)
    assert [check["passed"] for check in told["checks"]] == [True, None]
    assert told["settings"]["seed"] == 4
    assert told["command"].startswith("trompe doctor --model own:nearest")


def test_unhealthy(
    run: Run, home: Path, patients: Callable[[Diagnosis], list[dict[str, Any]]]
) -> None:
    patients(ILL)
    ran = run(*LEAST)
    assert ran.code == 1
    assert ran.out.splitlines()[-2:] == ["one thing: because it matters", ILL.verdict]


def test_a_device_may_be_where_the_json_goes(
    run: Run, home: Path, patients: Callable[[Diagnosis], list[dict[str, Any]]]
) -> None:
    patients(WELL)
    assert run(*LEAST, "--json", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()


def test_a_real_examination(run: Run, home: Path) -> None:
    words = ("--n", "16", "--steps", "5", "--queries", "20", "--surrogate", "own:parameterless")
    ran = run(*LEAST, *words)
    assert ran.code in (0, 1), ran.err
    assert ran.out.count("passed") >= 5
    assert "not asked" not in ran.out


def test_an_autoencoder_is_no_patient(run: Run, home: Path) -> None:
    ran = run("doctor", "--model", "own:identity", "--data", "digits")
    assert ran.code == 2
    assert "own:identity is an autoencoder; the doctor examines classifiers" in ran.sentence
