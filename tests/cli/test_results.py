"""`trompe compare`, `reproduce`, `data` and `zoo`."""

import gzip
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Run
from trompe import data, experiments, zoo
from trompe.models import ClassifierConfig
from trompe.reports import Metric, Report, read, write

SMALL = zoo.Recipe("small", ClassifierConfig("mlp", (1, 8, 8), hidden=(8,)), "digits", 1)


def report(value: float) -> Report:
    """A report with one rate, surely measured."""
    rate = Metric("robust accuracy", value, value - 0.01, value + 0.01, 1000, "rate", "higher")
    return Report("Audit", "x", "trompe audit", "now", metrics=(rate,))


def test_compare_says_what_got_worse(run: Run, tmp_path: Path) -> None:
    write(report(0.9), tmp_path / "before")
    write(report(0.5), tmp_path / "after")
    ran = run(
        "compare",
        tmp_path / "before",
        tmp_path / "after" / "report.json",
        "--out",
        tmp_path / "both",
    )
    assert ran.code == 0
    assert "Robust accuracy fell from" in ran.out
    assert str(tmp_path / "both" / "report.html") in ran.out
    assert read(tmp_path / "both").command.startswith("trompe compare ")


def test_compare_without_a_folder_writes_nothing(run: Run, tmp_path: Path) -> None:
    write(report(0.9), tmp_path)
    before = set(tmp_path.iterdir())
    assert run("compare", tmp_path, tmp_path).code == 0
    assert set(tmp_path.iterdir()) == before


def test_compare_of_what_is_no_report(run: Run, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"half": ')
    ran = run("compare", tmp_path, tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "report.json" in ran.sentence


@pytest.fixture
def reproduced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What `experiments.reproduce` was called with, which then measures nothing."""
    calls: list[tuple[Any, ...]] = []

    def reproduce(
        target: str | None, scale: str, resume: bool, progress: object, examples: Path | None
    ) -> list[Path]:
        calls.append((target, scale, resume, examples))
        return [Path("results/a/b.smoke.json")]

    monkeypatch.setattr(experiments, "reproduce", reproduce)
    monkeypatch.setattr(experiments, "listing", lambda: [("a/b", "Table 1"), ("c/d", "Figure 2")])
    return calls


def test_reproduce_passes_everything_on(
    run: Run, reproduced: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    assert "results/a/b.smoke.json" in run("reproduce", "a/b").out
    run("reproduce", "a", "--scale", "cpu", "--resume")
    run("reproduce", "all", "--scale", "paper", "--examples", tmp_path)
    assert reproduced == [
        ("a/b", "smoke", False, None),
        ("a", "cpu", True, None),
        (None, "paper", False, tmp_path),
    ]


def test_reproduce_lists(run: Run, reproduced: list[tuple[Any, ...]]) -> None:
    whole = run("reproduce").out
    assert whole == run("reproduce", "--list").out
    assert "Table 1" in whole
    assert "Figure 2" in whole
    assert "Figure 2" not in run("reproduce", "a", "--list").out
    assert "there is no paper or item 'x'" in run("reproduce", "x", "--list").sentence
    assert "go with a PAPER" in run("reproduce", "--resume").sentence
    assert "go with a PAPER" in run("reproduce", "--examples", "faces").sentence
    assert reproduced == []


def test_the_experiments_of_the_package_are_listed(run: Run) -> None:
    ran = run("reproduce")
    assert ran.code == 0
    assert all(name in ran.out for name, _ in experiments.listing())


def test_an_unknown_paper(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there is no paper or item 'nobody'" in run("reproduce", "nobody").sentence


def test_data_list(run: Run, tmp_path: Path) -> None:
    ran = run("data", "list", "--data-root", tmp_path)
    assert ran.code == 0
    assert all(name in ran.out for name in data.names())
    assert "missing" in ran.out
    assert str(tmp_path / "mnist") in ran.out


def test_data_verify(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("data", "verify", "--data-root", tmp_path).code == 0
    ran = run("data", "verify", "mnist", "digits", "--data-root", tmp_path)
    assert ran.code == 1
    assert ran.out.count("missing") == 4
    np.savez("good.npz", x=np.zeros((4, 8, 8)), y=np.arange(4))
    Path("bad.npz").write_bytes(b"half")
    assert run("data", "verify", "good.npz").code == 0
    assert run("data", "verify", "good.npz", "bad.npz").code == 1
    assert "numpy.savez_compressed" in run("data", "verify", "x.pkl").sentence


def test_data_verify_sees_a_damaged_file(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    with gzip.open(folder / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(b"nothing of the kind")
    assert run("data", "verify", "mnist", "--data-root", tmp_path).code == 1


def test_data_fetch(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def fetch(name: str, root: Path | None, base_url: str | None, progress: object) -> list[Path]:
        calls.append((name, root, base_url))
        return [Path("there/file.gz")]

    monkeypatch.setattr(data, "fetch", fetch)
    ran = run(
        "data", "fetch", "mnist", "--data-root", tmp_path, "--base-url", "https://mirror.example"
    )
    assert (ran.code, ran.out) == (0, "there/file.gz\n")
    run("data", "fetch", "mnist")
    assert calls == [("mnist", tmp_path, "https://mirror.example"), ("mnist", None, None)]


def test_data_fetch_offline(run: Run, tmp_path: Path) -> None:
    mirror = ("--base-url", "http://127.0.0.1:9")
    ran = run("data", "fetch", "mnist", "--data-root", tmp_path, *mirror)
    assert (ran.code, ran.out) == (2, "")
    assert "check the connection" in ran.sentence


def test_what_is_embedded_needs_no_fetching(run: Run) -> None:
    ran = run("data", "fetch", "digits")
    assert (ran.code, ran.out) == (0, "")
    assert "there is nothing to fetch" in ran.sentence


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe that trains in no time."""
    monkeypatch.setitem(zoo.RECIPES, "small", SMALL)


@pytest.mark.usefixtures("small")
def test_zoo(run: Run, tmp_path: Path) -> None:
    root = ("--root", tmp_path)
    assert "has not been trained" in run("zoo", "card", "small", *root).sentence
    ran = run("zoo", "train", "small", *root)
    assert ran.code == 0, ran.err
    assert "trained: accuracy 0." in ran.out
    assert str(zoo.path(SMALL, root=tmp_path)) in ran.out
    run("zoo", "train", "small", "--seed", "5", *root)
    assert zoo.path(replace(SMALL, seed=5), root=tmp_path).is_file()
    listed = run("zoo", "list", *root).out
    lines = {line.split()[0]: line for line in listed.splitlines() if line.strip()}
    assert "trained: accuracy" in lines["small"]
    assert "not trained" in lines["mnist-vae"]
    assert "accuracy" in run("zoo", "card", "small", *root).out
    card = json.loads(run("zoo", "card", "small", "--format", "json", *root).out)
    assert card == zoo.card(SMALL, root=tmp_path)
    other = json.loads(run("zoo", "card", "small", "--format", "json", "--seed", "5", *root).out)
    assert other["recipe"]["seed"] == 5


@pytest.mark.usefixtures("small")
def test_zoo_under_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = run("zoo", "train", "small", "--root", tmp_path / "file")
    assert (ran.code, ran.out) == (2, "")
    assert "is a file" in ran.sentence


def test_zoo_knows_radios(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = partial(zoo.radio_named, stages=(zoo.REDUCED[0]._replace(steps=40),))
    monkeypatch.setattr(zoo, "radio_named", quick)
    root = ("--root", tmp_path)
    assert "has not been trained" in run("zoo", "card", "mlp-7-4", *root).sentence
    assert "trained: block_error_rate_at_5_dB 0." in run("zoo", "train", "mlp-7-4", *root).out
    run("zoo", "train", "mlp-2-3", "--seed", "5", *root)  # not in the list, but a name
    listed = run("zoo", "list", *root).out
    lines = {line.split()[0]: line for line in listed.splitlines() if line.strip()}
    assert "radio" in lines["mlp-7-4"]
    assert "4 bits in 7 uses" in lines["mlp-7-4"]
    assert "trained: block_error_rate_at_5_dB" in lines["mlp-7-4"]
    assert "not trained" in lines["cnn-7-4"]
    assert "block_error_rate_at_5_dB" in run("zoo", "card", "mlp-7-4", *root).out
    words = ("zoo", "card", "mlp-2-3", "--format", "json", "--seed", "5")
    card = json.loads(run(*words, *root).out)
    assert (card["settings"]["radio"]["k"], card["settings"]["seed"]) == (3, 5)


def test_a_bar_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from trompe.cli.console import progress
    from trompe.cli.sets import _bytes

    with progress("work") as told:
        assert told is None
        assert _bytes(told) is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress("work") as told:
        assert told is not None
        told(1, 4, "a part")
        counted = _bytes(told)
        assert counted is not None
        counted("file.gz", 1_500_000, 3_000_000)
    err = capsys.readouterr().err
    assert "file.gz 1.5 MB" in err or "work" in err
