"""Time torchattacks against the bare passes measured beside it (run by `make peers`).

Its pins spoil the main environment, so it cannot stand beside our own attacks; what both environments
share is the floor, and `make bench` compares through it.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import _torchvision  # noqa: E402, F401
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from benchmarks.attacks import CASES, EPS, STEPS, Case, measure  # noqa: E402
from trompe.core.errors import UserError  # noqa: E402
from trompe.evaluation.records import Record, versions, write_records  # noqa: E402

RESULTS = ROOT / "results" / "benchmarks" / "torchattacks.json"
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "pgd": ("PGD", {"eps": EPS, "alpha": 0.025, "steps": STEPS}),
    "fgsm": ("FGSM", {"eps": EPS}),
    "cw": ("CW", {"c": 10.0, "steps": 100, "lr": 0.05}),
    "deepfool": ("DeepFool", {"steps": 50, "overshoot": 0.02}),
    "ead": (
        "EADL1",
        {
            "lr": 0.02,
            "max_iterations": 100,
            "binary_search_steps": 1,
            "initial_const": 1.0,
            "beta": 1e-3,
        },
    ),
}


def torchattacks(
    name: str, options: dict[str, Any]
) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """An attack of torchattacks, as its users call it."""
    import torchattacks as library

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(0)
        found: Tensor = getattr(library, name)(model, **options)(x, y)
        return found.detach()

    return run


def records(rounds: int) -> list[Record]:
    """One record for each attack and victim."""
    from importlib.metadata import version

    made = []
    for benchmark in ("pgd", "fgsm", "cw", "deepfool", "ead", "pgd-mlp", "cw-mlp"):
        name, options = SETTINGS[benchmark.removesuffix("-mlp")]
        ours: Case = CASES[benchmark]
        case = replace(ours, ours={}, peers={"torchattacks": partial(torchattacks, name, options)})
        found = measure(benchmark, replace(case, once=()), rounds)[0]
        about = {**found.config, "benchmark": benchmark, "options": options}
        attack = f"torchattacks {name}, {case.victim}"
        known = versions() | {"torchattacks": version("torchattacks")}
        made.append(
            replace(found, attack=attack, item="torchattacks", config=about, versions=known)
        )
        print(f"{attack}: {found.value:.2f} x bare", flush=True)
    return made


def main() -> int:
    """Write the record; without MNIST there is nothing to time, which is no failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--rounds", type=int, default=5)
    asked, _ = parser.parse_known_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    try:
        made = records(asked.rounds)
    except UserError as error:
        print(f"not timed: {error}")
        return 0
    write_records(asked.out, made)
    print(asked.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
