"""Audits in miniature: few images, few steps, models trained for an epoch or a few, an untrained judge."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.audit.brought import Nearest
from trompe import zoo
from trompe.audit import Estimate, Plan, audit, guard, run, spread
from trompe.audit.victim import recipe as usual
from trompe.models.judge import Judge
from trompe.reports import Report

Audited = Callable[..., Report]
N, EFFORT = 24, 0.1


class Anything(nn.Module):
    """Takes every image for a real one."""

    def accept(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), dtype=torch.bool)


def judge_for(spec: str, without: tuple[str, ...] = ()) -> Judge:
    """Who judges in these tests: one classifier, which is not trained."""
    return Judge({"means": Nearest()}, Anything(), card={"right": 9, "n": 10})


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train little, and attack with a tenth of the steps."""

    def recipe(*args: Any, **rest: Any) -> Any:
        found = usual(*args, **rest)
        return replace(found, epochs=16.0 if "autoencoder" in found.name else 3.0)

    monkeypatch.setattr(zoo, "judge_for", judge_for)
    for module in (guard, run, spread):
        monkeypatch.setattr(module, "recipe", recipe)


@pytest.fixture
def audited(tmp_path: Path) -> Audited:
    """`audited(**plan)`: a small audit into `tmp_path / "out"`."""

    def do(progress: Any = None, **changes: Any) -> Report:
        plan = Plan(**{"out": tmp_path / "out", "n": N, "eps": (0.1, 0.2, 0.3), **changes})
        cost = Estimate(plan.n or N, EFFORT, 1.0)
        return audit(plan, command="trompe audit --n 24", progress=progress, cost=cost)

    return do
