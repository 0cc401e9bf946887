"""A diffusers autoencoder and colour pictures in a file, through the command line from start to finish."""

import json
import math
from functools import partial
from html import unescape
from pathlib import Path

import numpy as np
import pytest

import trompe.audit
from tests.audit.conftest import EFFORT
from trompe.audit import Estimate
from trompe.cli import main
from trompe.evaluation import read_records
from trompe.reports import read

pytest.importorskip("diffusers")
MODEL = "tests.audit.brought:colour_kl"
N = 6
COST = Estimate(N, EFFORT / 2, 1.0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Gradients of colours in all directions, 32x32, without labels."""
    rng = np.random.default_rng(0)
    slopes, base = rng.uniform(-4, 4, (N, 1, 1, 3, 2)), rng.uniform(96, 160, (N, 1, 1, 3))
    grid = np.stack(np.meshgrid(*2 * [np.arange(32) - 15.5]), -1)[None, :, :, None]
    x = (base + (slopes * grid).sum(-1)).clip(0, 255).astype(np.uint8)
    np.savez_compressed(tmp_path / "pictures.npz", x=x)
    return tmp_path / "pictures.npz"


def test_an_audit_of_it_ends_in_a_report(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little = partial(trompe.audit.audit, cost=COST)
    monkeypatch.setattr(trompe.audit, "audit", lambda plan, cost, **rest: little(plan, **rest))
    monkeypatch.setattr(trompe.audit, "estimate", lambda plan: COST)
    out = tmp_path / "report"
    assert main(["audit", "--model", MODEL, "--data", str(pictures), "--out", str(out)]) == 0
    found = read(out)
    area = next(m for m in found.metrics if m.name.endswith("AUDDC"))
    assert area.n is not None
    assert area.n < N / 2, "random weights do not reconstruct"
    first = found.findings[0]
    assert (first.severity, "reconstructs too badly" in first.headline) == ("info", True)
    page = unescape((out / "report.html").read_text())
    assert all(finding.headline in page for finding in found.findings)
    assert page.count("data:image/png") >= 6, "the grid of pictures"
    assert json.loads((out / "report.json").read_text())["untested"]


def test_a_latent_attack_on_it_leaves_pictures_and_numbers(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "attacked"
    words = ["attack", "latent-attack", "--model", MODEL, "--data", str(pictures)]
    more = ["--n", "4", "--eps", "2", "--norm", "L2", "--steps", "10", "--out", str(out)]
    assert main([*words, *more]) == 0
    held = np.load(out / "adversarial.npz")
    change = (held["x_adv"] - held["x"]).reshape(4, 3 * 32 * 32)
    lengths = np.linalg.norm(change, axis=1)
    assert (lengths <= 2 + 1e-4).all()
    assert held["reconstruction"].shape == held["target"].shape == (4, 3, 32, 32)
    numbers = {record.metric: record.value for record in read_records(out / "records.json")}
    assert numbers["mean L2 of the perturbation"] == pytest.approx(lengths.mean(), rel=1e-4)
    assert all(math.isfinite(value) for value in numbers.values())
