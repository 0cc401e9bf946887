"""Run the benchmarks, write a file of records for each, and the page from all of them.

Each benchmark writes its file as soon as it is done, so `--only` repeats one, and `--missing` goes on after
an interruption.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch and numpy are imported

from trompe.evaluation.records import Record, write_records  # noqa: E402

NAMES = (
    *(
        f"{attack}{end}"
        for end in ("", "-mlp")
        for attack in ("pgd", "fgsm", "cw", "deepfool", "ead", "ddn")
    ),
    "latent",
    "sweep",
    "type_one",
    "training",
    "contractive",
    "monte_carlo",
    "memory",
    "startup",
)


def benchmark(name: str) -> Callable[[int], list[Record]]:
    """The function that measures it, given a number of rounds."""
    from benchmarks import (
        attacks,
        contractive,
        latent,
        memory,
        monte_carlo,
        startup,
        sweep,
        training,
        type_one,
    )

    others: dict[str, Callable[[int], list[Record]]] = {
        "latent": lambda rounds: latent.run(rounds=max(1, rounds - 2)),
        "sweep": lambda rounds: sweep.run(max(1, rounds - 2)),
        "type_one": lambda rounds: type_one.run(max(1, rounds - 2)),
        "training": training.run,
        "contractive": contractive.run,
        "monte_carlo": monte_carlo.run,
        "memory": memory.run,
        "startup": startup.run,
    }
    return others[name] if name in others else partial(attacks.run, name)


def main() -> None:
    """Measure what was asked for and write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    parser.add_argument("--page", type=Path, default=Path("docs/results/benchmarks.md"))
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--missing", action="store_true", help="leave out what has a file already")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--render", action="store_true", help="only write the page again")
    asked = parser.parse_args()
    if not asked.render:
        _measure(asked)
    from benchmarks.page import write_page

    write_page(asked.out, asked.page)
    print(asked.page)


def _measure(asked: argparse.Namespace) -> None:
    """One file of records for each benchmark."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in asked.only or NAMES:
        path = asked.out / f"{name}.json"
        if asked.missing and path.exists():
            continue
        start = time.perf_counter()
        records = benchmark(name)(asked.rounds)
        write_records(path, records)
        print(f"{name}: {len(records)} records in {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
