"""Trainings that are killed, and trainings in several processes, each in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from trompe.training import checkpoint

SCRIPT = """
import os, signal, sys
import torch
from trompe.models import VAE
from trompe.training import AutoencoderStep, Batches, train
from trompe.training.checkpoint import save_tensors
from pathlib import Path

def main():
    folder, out, devices, pause = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    x = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    model = VAE(shape=(1, 4, 4), latent=3, hidden=(8,), input_noise=0.1, denoise=True)
    step = AutoencoderStep(model)
    if pause == "pause":
        import time
        step.optimizer.register_step_pre_hook(lambda *_: time.sleep(0.02))
    history = train(
        step, Batches(x, size=16), steps=120, directory=None if folder == "-" else folder,
        devices=devices, ema=0.99, checkpoint_every=10, log=False, progress=False,
    )
    save_tensors(out, model.state_dict(), {"resumed": str(history.resumed)})

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "training.py"
    path.write_text(SCRIPT)
    return path


def start(script: Path, *arguments: object) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def uninterrupted(script: Path) -> dict[str, torch.Tensor]:
    out = script.parent / "whole.safetensors"
    finish(start(script, "-", out, 1, "go"))
    return checkpoint.load_tensors(out)[0]


def test_resuming_after_kill_9_is_exact_to_the_bit(
    script: Path, tmp_path: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    out = tmp_path / "out.safetensors"
    process = start(script, tmp_path / "run", out, 1, "pause")
    while not (tmp_path / "run" / "checkpoint.safetensors").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    time.sleep(0.3)  # somewhere between two checkpoints
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    finish(start(script, tmp_path / "run", out, 1, "go"))
    weights, header = checkpoint.load_tensors(out)
    assert 10 <= int(header["resumed"]) < 120
    assert weights.keys() == uninterrupted.keys()
    assert all(torch.equal(weights[key], uninterrupted[key]) for key in weights)


def test_two_processes_train_what_one_does(
    script: Path, tmp_path: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    out = tmp_path / "out.safetensors"
    finish(start(script, "-", out, 2, "go"))
    weights, _ = checkpoint.load_tensors(out)
    for key, value in uninterrupted.items():
        torch.testing.assert_close(weights[key], value, atol=2e-4, rtol=1e-3)


@pytest.mark.slow
def test_ctrl_c_stops_several_processes_at_the_same_step(
    script: Path, tmp_path: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    out = tmp_path / "out.safetensors"
    command = [sys.executable, str(script), str(tmp_path / "run"), str(out), "2", "pause"]
    process = subprocess.Popen(
        command, env=environment, text=True, stderr=subprocess.PIPE, start_new_session=True
    )
    while not (tmp_path / "run" / "checkpoint.safetensors").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    state = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    assert 10 <= state["number"] < 120
    finish(start(script, tmp_path / "run", out, 1, "go"))
    weights, header = checkpoint.load_tensors(out)
    assert int(header["resumed"]) == state["number"]
    for key, value in uninterrupted.items():
        torch.testing.assert_close(weights[key], value, atol=2e-4, rtol=1e-3)
