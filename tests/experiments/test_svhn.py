"""The SVHN row of the areas, on a small file in the original format and without one."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from trompe.core.errors import UserError
from trompe.data.published import SETS
from trompe.evaluation.records import read_records
from trompe.experiments import reproduce
from trompe.experiments.adversarial_vae import svhn


@pytest.fixture
def small_svhn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Coloured blobs, one place for each label, in files that are taken for the published ones."""
    rng, files = np.random.default_rng(0), {}
    (tmp_path / "svhn").mkdir()
    for split, n in (("train", 300), ("test", 40)):
        (file,) = SETS["svhn"].files[split]
        y = rng.integers(1, 11, n)
        rows, columns = np.indices((32, 32))[..., None]
        blob = np.exp(-((rows - 3 * y) ** 2 + (columns - 3 * y) ** 2) / 40)
        x = (200 * blob[:, :, None] * rng.random((3, n)) + rng.integers(0, 50, n)).astype(np.uint8)
        path = tmp_path / "svhn" / file.name
        savemat(path, {"X": x, "y": y[:, None].astype(np.uint8)})
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files[split] = (replace(file, shape=(n, 3, 32, 32), sha256=digest),)
    monkeypatch.setitem(SETS, "svhn", replace(SETS["svhn"], files=files))
    monkeypatch.setenv("TROMPE_DATA", str(tmp_path))
    monkeypatch.setenv("TROMPE_CACHE", str(tmp_path / "zoo"))


def test_the_smoke_scale_runs_on_files_of_the_original_format(
    small_svhn: None, tmp_path: Path
) -> None:
    path, page = reproduce("adversarial_vae/svhn", "smoke", results_root=tmp_path / "results")
    config, records = svhn.SCALES["smoke"], read_records(path)
    for name in ("VAE", "AE"):
        areas = [record for record in records if record.subject == name]
        assert [record.config["training"] for record in areas] == list(range(config.trainings))
        assert all(0 < record.value < 1 for record in areas)
    text = page.read_text()
    assert (
        "| VAE, published | 1 x 25 | 0.194 | 0.018 | 0.730 | 0.471 | 0.219 | 0.029 | 0.004 | – | – |"
        in text
    )
    assert "VAE less AE" in text


def test_without_the_data_one_sentence_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROMPE_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"svhn is not at hand: .*train_32x32\.mat is missing"):
        reproduce("adversarial_vae/svhn", "cpu", results_root=tmp_path / "results")
    said = svhn.unmeasured()
    assert "`trompe data fetch svhn`" in said
    assert "| AE, published | 1 x 25 | 0.139 | 0.009 | 0.630 | 0.281 | 0.013 | 0.000 | – |" in said


def test_the_models_are_the_papers() -> None:
    vae, ae = (case.recipe.model for case in svhn.cases(svhn.SCALES["paper"])[:2])
    assert (vae.channels, vae.kernel, vae.dense, vae.latent) == ((32, 64, 128), 4, (512,), 100)
    assert (vae.activation, vae.likelihood, vae.stochastic) == ("elu", "gaussian", True)
    assert ae == replace(vae, stochastic=False)
