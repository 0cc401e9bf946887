"""Checkpoints: what goes in comes out, and nothing half-written is ever seen."""

import errno
from pathlib import Path

import pytest
import torch
from torch import nn

from trompe.core.errors import UserError
from trompe.training import checkpoint


def test_a_tree_survives_unchanged(tmp_path: Path) -> None:
    tree = {
        "weights": {"a.b": torch.randn(3, 2, dtype=torch.float64), "n": torch.tensor(7)},
        "plain": [1, 0.1 + 0.2, True, None, "text", (1, (2.5,))],
        "numbered": {0: {"exp_avg": torch.ones(2, dtype=torch.bfloat16)}, 3: {}},
        "empty": [],
    }
    checkpoint.save(tmp_path / "a.safetensors", tree)
    again = checkpoint.load(tmp_path / "a.safetensors")
    assert torch.equal(again["weights"]["a.b"], tree["weights"]["a.b"])
    assert again["weights"]["n"].dtype == torch.int64
    assert again["plain"] == tree["plain"]
    assert torch.equal(again["numbered"][0]["exp_avg"], torch.ones(2, dtype=torch.bfloat16))
    assert again["numbered"][3] == {}
    assert again["empty"] == []


def test_the_state_of_an_optimiser_survives(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.3, betas=(0.8, 0.9), fused=True)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path / "a.safetensors", optimizer.state_dict())
    other = torch.optim.AdamW(nn.Linear(3, 2).parameters())
    other.load_state_dict(checkpoint.load(tmp_path / "a.safetensors"))
    assert other.param_groups[0]["betas"] == (0.8, 0.9)
    for mine, theirs in zip(optimizer.state.values(), other.state.values(), strict=True):
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_tensors_that_share_memory_are_stored_apart(tmp_path: Path) -> None:
    weight = torch.arange(6.0).view(2, 3)
    checkpoint.save(tmp_path / "a.safetensors", {"a": weight, "b": weight.T, "c": weight[0]})
    again = checkpoint.load(tmp_path / "a.safetensors")
    assert torch.equal(again["b"], weight.T)
    assert torch.equal(again["c"], weight[0])


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    checkpoint.replace(path, lambda file: file.write_text("old"))

    def fail(file: Path) -> None:
        file.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"cannot write .*a.json: No space left on device"):
        checkpoint.replace(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        checkpoint.save(tmp_path / "file" / "a.safetensors", {"w": torch.ones(1)})


def test_half_a_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"w": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        checkpoint.load(path)


def test_missing_files_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint at"):
        checkpoint.load(tmp_path / "none.safetensors")
    checkpoint.save_tensors(tmp_path / "w.safetensors", {"w": torch.ones(1)}, {})
    with pytest.raises(UserError, match="no training state"):
        checkpoint.load(tmp_path / "w.safetensors")


def test_what_json_cannot_hold_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="options/schedule of type function"):
        checkpoint.save(tmp_path / "a.safetensors", {"options": {"schedule": lambda: None}})
