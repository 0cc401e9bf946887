"""The latent attack beside SciPy's L-BFGS-B one image at a time, and beside batched Adam.

    python -m benchmarks.latent --out results/benchmarks/latent.json

One process, one thread, a real VAE of MNIST, the objective of Tabacof et al. 2016: divergence of codes plus
a penalty. The methods take turns, so that a busy machine slows them alike; speeds are images per second
of processor time, and only their ratios mean anything elsewhere.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from trompe import data, zoo
from trompe.attacks import LatentAttack, Penalty
from trompe.core.losses import DIVERGENCES, squared_distance
from trompe.evaluation.records import Record, write_records
from trompe.models import AutoencoderConfig

MODELS = {
    "mlp": zoo.Recipe("bench-vae", AutoencoderConfig(latent=20, hidden=(400,)), "mnist", epochs=6),
    "conv": zoo.Recipe(
        "bench-vae-conv",
        AutoencoderConfig(latent=128, architecture="conv", channels=(32, 32)),
        "mnist",
        epochs=3,
    ),
}
GOALS = (("L2", 0.1), ("L2", 0.02), ("kl", 1.0))
EVALUATIONS = (25, 50, 100)  # of our L-BFGS, in the table
TRIED = (
    15,
    20,
    25,
    30,
    35,
    40,
    45,
    50,
    55,
    60,
    70,
    80,
    100,
    150,
)  # on the way to SciPy's objective
TOLERANCE = 1.015


@dataclass(frozen=True)
class Setting:
    """A victim, a goal, and pairs of images of different classes."""

    name: str
    model: nn.Module
    divergence: str
    c: float
    x: Tensor
    y: Tensor

    def objective(self, v: Tensor, rows: slice = slice(None)) -> Tensor:
        """The penalty objective, `(B,)`, measured outside every method."""
        with torch.no_grad():
            p, q = self.model.encode(v), self.model.encode(self.y[rows])
            return DIVERGENCES[self.divergence](p, q) + self.c * squared_distance(v, self.x[rows])


def scipy_lbfgsb(setting: Setting, rows: slice, iterations: int = 100) -> Tensor:
    """SciPy's L-BFGS-B on one image after the other, each within the box."""
    found = []
    for x, y in zip(setting.x[rows].split(1), setting.y[rows].split(1), strict=True):
        with torch.no_grad():
            goal = setting.model.encode(y)

        def value_and_gradient(
            flat: np.ndarray, x: Tensor = x, goal: torch.distributions.Distribution = goal
        ) -> tuple[float, np.ndarray]:
            v = torch.from_numpy(flat).float().view_as(x).requires_grad_()
            far = DIVERGENCES[setting.divergence](setting.model.encode(v), goal)
            loss = (far + setting.c * squared_distance(v, x)).sum()
            (gradient,) = torch.autograd.grad(loss, v)
            return loss.item(), gradient.double().numpy().ravel()

        best = minimize(
            value_and_gradient,
            x.double().numpy().ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, 1)] * x.numel(),
            options={"maxiter": iterations},
        )
        found.append(torch.from_numpy(best.x).float().view_as(x))
    return torch.cat(found)


def ours(setting: Setting, solver: str, steps: int) -> Callable[[], Tensor]:
    """Our attack on all pairs at once."""
    attack = LatentAttack(
        Penalty(setting.c),
        divergence=setting.divergence,  # type: ignore[arg-type]
        solver=solver,  # type: ignore[arg-type]
        steps=steps,
    )
    return lambda: attack(setting.model, setting.x, setting.y)


def clocked(call: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """What a call returns, and the processor time it took."""
    start = time.process_time()
    found = call()
    return found, time.process_time() - start


def pairs(count: int) -> tuple[Tensor, Tensor]:
    """The first test images, and for each a later one of another class."""
    x, labels = data.load("mnist", "test").tensors()
    assert labels is not None
    targets: list[int] = []
    for i in range(count):
        later = (labels[1000 + i :] != labels[i]).nonzero()[0]
        targets.append(1000 + i + int(later))
    return x[:count], x[targets]


def measure(setting: Setting, rounds: int) -> list[Record]:
    """All methods on one setting, in turns; SciPy takes a share of the images each round."""
    methods = {f"L-BFGS, {n} evaluations": ours(setting, "lbfgs", n) for n in EVALUATIONS}
    methods["Adam, 200 steps"] = ours(setting, "adam", 200)
    times: dict[str, list[float]] = {name: [] for name in methods}
    count = len(setting.x)
    found: dict[str, Tensor] = {name: call() for name, call in methods.items()}  # warm
    shares, spent = [], 0.0
    for turn in range(rounds):
        rows = slice(turn * count // rounds, (turn + 1) * count // rounds)
        some, seconds = clocked(lambda rows=rows: scipy_lbfgsb(setting, rows))  # type: ignore[misc]
        shares.append(some)
        spent += seconds
        for name, call in methods.items():
            found[name], seconds = clocked(call)
            times[name].append(seconds)
    found["SciPy L-BFGS-B, 100 iterations"] = torch.cat(shares)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    seconds["SciPy L-BFGS-B, 100 iterations"] = spent
    reference = setting.objective(found["SciPy L-BFGS-B, 100 iterations"])
    made = [record(setting, name, found[name], seconds[name], reference, spent) for name in seconds]
    return [*made, *equal_objective(setting, reference, spent)]


def record(
    setting: Setting, method: str, found: Tensor, seconds: float, reference: Tensor, spent: float
) -> Record:
    """One method on one setting."""
    loss = setting.objective(found)
    extra = {
        "objective": float(loss.mean()),
        "objective_ratio": float(loss.mean() / reference.mean()),
        "speed_ratio": spent / seconds,
        "share_at_or_below": float((loss <= reference * 1.0001).float().mean()),
    }
    return _record(setting, method, "images per second", len(found) / seconds, seconds, extra)


def equal_objective(setting: Setting, reference: Tensor, spent: float) -> list[Record]:
    """The fewest evaluations after which our mean objective is SciPy's, or within the tolerance."""
    made = []
    for label, factor in (("equal objective", 1.0), ("objective within 1.5%", TOLERANCE)):
        for steps in TRIED:
            call = ours(setting, "lbfgs", steps)
            found, seconds = clocked(call)
            if float(setting.objective(found).mean()) <= factor * float(reference.mean()):
                seconds = min(seconds, clocked(call)[1])
                extra = {"evaluations": float(steps), "speed_ratio": spent / seconds}
                made.append(
                    _record(setting, "L-BFGS", f"seconds to {label}", seconds, seconds, extra)
                )
                break
    return made


def _record(
    setting: Setting,
    method: str,
    metric: str,
    value: float,
    seconds: float,
    extra: dict[str, float],
) -> Record:
    return Record(
        metric,
        value,
        len(setting.x),
        subject=f"{setting.name} VAE, MNIST",
        attack=f"{method}; {setting.divergence}, c = {setting.c:g}",
        item="latent",
        paper="benchmarks",
        extra=extra,
        config={
            "model": setting.name,
            "method": method,
            "divergence": setting.divergence,
            "c": setting.c,
            "threads": torch.get_num_threads(),
        },
        seconds=seconds,
    )


def run(count: int = 32, rounds: int = 4, models: tuple[str, ...] = tuple(MODELS)) -> list[Record]:
    """Every model and goal."""
    torch.set_num_threads(1)
    x, y = pairs(count)
    made = []
    with threadpool_limits(1):  # more threads slow SciPy's small products 6-8 x
        for name in models:
            model = zoo.get(MODELS[name]).requires_grad_(False)
            for divergence, c in GOALS:
                made += measure(Setting(name, model, divergence, c, x, y), rounds)
    return made


def lines(records: list[Record]) -> list[str]:
    """The table, as text."""
    return [
        f"{r.subject:16s} {r.attack:48s} {r.metric:30s} {r.value:8.2f}  "
        + "  ".join(f"{key} {value:.4g}" for key, value in r.extra.items())
        for r in records
    ]


def main() -> None:
    """Measure, print the table, and write the records."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", help="where the records go")
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    asked = parser.parse_args()
    records = run(asked.pairs, asked.rounds, tuple(asked.models))
    print("\n".join(lines(records)))
    if asked.out:
        write_records(asked.out, records)


if __name__ == "__main__":
    main()
