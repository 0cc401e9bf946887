"""A whole distortion-distortion sweep in one batch beside SciPy's L-BFGS-B, one pair and weight at a time.

    python -m benchmarks --only sweep

One process, one thread, the VAE of Tabacof et al. 2016 on MNIST, the KL between posteriors plus a penalty at
every power of two from 2^-20 to 2^20. SciPy runs twice: as published (25 corrections, factr 10, float64),
and at its quickest (its own defaults, float32), against which the speed is read. The methods take turns,
and speeds are pair-sweeps per minute of processor time: only their ratios mean anything elsewhere.
"""

import statistics
from collections.abc import Callable

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks.latent import Setting, clocked, scipy_lbfgsb
from trompe import zoo
from trompe.attacks import LatentAttack, Penalty
from trompe.evaluation.records import Record
from trompe.experiments.adversarial_vae._models import pairs, tabacof

__all__ = ["run"]

WEIGHTS = tuple(2.0**power for power in range(-20, 21))
EVALUATIONS = (30, 60, 100)
QUICK, PUBLISHED = "SciPy L-BFGS-B, its defaults in float32", "SciPy L-BFGS-B, as published"
Method = Callable[[slice], Tensor]


def methods(setting: Setting) -> dict[str, Method]:
    """What sweeps some of the pairs: `(K, B, *)`."""

    def one_by_one(rows: slice) -> Tensor:
        each = [_at(setting, c) for c in WEIGHTS]
        return torch.stack([scipy_lbfgsb(one, rows) for one in each])

    def swept(rows: slice, solver: str, steps: int) -> Tensor:
        attack = LatentAttack(
            Penalty(1.0),
            divergence=setting.divergence,  # type: ignore[arg-type]
            solver=solver,  # type: ignore[arg-type]
            steps=steps,
        )
        return attack.sweep(setting.model, setting.x[rows], setting.y[rows], weights=WEIGHTS)

    made: dict[str, Method] = {
        f"one batch, {steps} evaluations": lambda rows, steps=steps: swept(rows, "lbfgs", steps)  # type: ignore[misc]
        for steps in EVALUATIONS
    }
    made[QUICK] = one_by_one
    made[PUBLISHED] = lambda rows: swept(rows, "scipy", 150)
    return made


def _at(setting: Setting, c: float) -> Setting:
    return Setting(setting.name, setting.model, setting.divergence, c, setting.x, setting.y)


def objectives(setting: Setting, found: Tensor) -> Tensor:
    """What each cell of a sweep is worth, `(K, B)`."""
    return torch.stack(
        [_at(setting, c).objective(v) for c, v in zip(WEIGHTS, found, strict=True)]
    ).double()


def measure(setting: Setting, rounds: int) -> list[Record]:
    """All methods in turns: ours on all pairs each round, SciPy's on a share of them."""
    count = len(setting.x)
    found: dict[str, list[Tensor]] = {}
    times: dict[str, list[float]] = {}
    whole = slice(0, count)
    todo = methods(setting)
    for turn in range(rounds):
        share = slice(turn * count // rounds, (turn + 1) * count // rounds)
        for name, method in todo.items():
            rows = share if name.startswith("SciPy") else whole
            some, seconds = clocked(lambda rows=rows, method=method: method(rows))  # type: ignore[misc]
            found.setdefault(name, []).append(some)
            times.setdefault(name, []).append(seconds)
    reference = objectives(setting, torch.cat(found[QUICK], 1))
    spent = sum(times[QUICK])
    made = []
    for name in todo:
        alone = name.startswith("SciPy")
        seconds = sum(times[name]) if alone else statistics.median(times[name])
        best = torch.cat(found[name], 1) if alone else found[name][-1]
        made.append(_record(setting, name, seconds, objectives(setting, best), reference, spent))
    return made


def _record(
    setting: Setting, name: str, seconds: float, loss: Tensor, reference: Tensor, spent: float
) -> Record:
    count = len(setting.x)
    tight = (
        reference.mean(1) > 0.01 * reference.mean(1).max()
    )  # where the objective is not all but zero
    by_weight = (loss.mean(1) / reference.mean(1))[tight]
    return Record(
        "pair-sweeps per minute",
        60 * count / seconds,
        count,
        subject=setting.name,
        attack=f"{name}; {setting.divergence}, {len(WEIGHTS)} weights",
        paper="benchmarks",
        item="sweep",
        extra={
            "speed_ratio": spent / seconds,
            "objective_ratio": float(loss.mean() / reference.mean()),
            "worst_weight_ratio": float(by_weight.max()),
            "share_at_or_below": float((loss <= reference * 1.0001).double().mean()),
        },
        config={"method": name, "weights": len(WEIGHTS), "threads": torch.get_num_threads()},
        seconds=seconds,
    )


def run(rounds: int = 3, count: int = 15) -> list[Record]:
    """The paper's VAE, KL between posteriors."""
    torch.set_num_threads(1)
    model = zoo.get(tabacof("vae"), progress=False).requires_grad_(False)
    x, y = pairs("mnist", count)
    with threadpool_limits(1):  # more threads slow SciPy's small products 6-8 x
        return measure(Setting("VAE of Tabacof et al., MNIST", model, "kl", 1.0, x, y), rounds)
