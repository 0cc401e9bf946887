"""How long imports and the command line's help take, each in fresh processes."""

import statistics
import subprocess
import sys
import time

from trompe.evaluation.records import Record

__all__ = ["run"]

COMMANDS = {
    "python": ("-c", "pass"),
    "import torch": ("-c", "import torch"),
    "import trompe": ("-c", "import trompe"),
    "import trompe.attacks": ("-c", "import trompe.attacks"),
    "trompe --help": ("-m", "trompe", "--help"),
    "trompe audit --help": ("-m", "trompe", "audit", "--help"),
    "import foolbox": ("-c", "import foolbox, torch"),
    "import art": ("-c", "import art.attacks.evasion, art.estimators.classification"),
}


def run(rounds: int) -> list[Record]:
    """Median wall seconds of each command, interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):  # the first fills the file cache
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-W", "ignore", *arguments], capture_output=True, check=False
            )
            seconds[name].append(time.perf_counter() - start)
    return [
        Record(
            "seconds to start",
            statistics.median(values[1:]),
            rounds,
            min(values[1:]),
            max(values[1:]),
            f"range of {rounds} rounds",
            subject=name,
            paper="benchmarks",
            item="startup",
            scale="cpu",
            seconds=statistics.median(values[1:]),
        )
        for name, values in seconds.items()
    ]
