"""The memory of `evaluate`: its peak on many images beside its peak on few, each in a fresh process."""

import subprocess
import sys
from collections.abc import Iterator

from trompe.evaluation.records import Record

__all__ = ["run"]

COUNTS = (1000, 16000)
BATCH = 250
PROGRAM = "import benchmarks.memory as m; print(m.peak({count}))"


def run(rounds: int) -> list[Record]:
    """Peak resident memory for each number of images, and their ratio."""
    peaks = {count: min(_elsewhere(count) for _ in range(min(rounds, 3))) for count in COUNTS}
    few, many = (peaks[count] for count in COUNTS)
    made = [
        _record("peak resident memory", peak, count, {"megabytes": peak / 2**20})
        for count, peak in peaks.items()
    ]
    extra = {
        "megabytes more": (many - few) / 2**20,
        "megabytes of images more": (COUNTS[1] - COUNTS[0]) * 784 * 4 / 2**20,
        "images ratio": COUNTS[1] / COUNTS[0],
    }
    return [*made, _record("peak memory over that of few images", many / few, COUNTS[1], extra)]


def _record(metric: str, value: float, count: int, extra: dict[str, float]) -> Record:
    return Record(
        metric,
        value,
        count,
        subject="evaluate, FGSM, 784-128-10",
        attack=f"{count} images",
        paper="benchmarks",
        item="memory",
        scale="cpu",
        extra=extra,
    )


def _elsewhere(count: int) -> int:
    """The peak of a process of its own, in bytes."""
    program = PROGRAM.format(count=count)
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return int(ran.stdout.split()[-1])


def peak(count: int) -> int:
    """Evaluate a stream of `count` images, made on the way, and read this process's peak in bytes."""
    import resource

    import torch
    from torch import Tensor

    from trompe.attacks.gradient import FGSM
    from trompe.core.geometry import Ball
    from trompe.evaluation.evaluate import evaluate
    from trompe.models import MLP

    model = MLP().eval()
    draws = torch.Generator().manual_seed(0)

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(count // BATCH):
            x = torch.rand((BATCH, 1, 28, 28), generator=draws)
            with torch.no_grad():
                yield x, model(x).argmax(1)

    torch.set_num_threads(1)
    result = evaluate(model, FGSM(Ball(0.1)), stream())
    assert result.records[0].n == count
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
