"""Block errors by Monte Carlo beside the receiver's bare matrix products, and the memory of many blocks."""

import subprocess
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.timing import Contender, interleaved, ratio
from trompe import zoo
from trompe.attacks import Perturbation
from trompe.core.geometry import Ball
from trompe.evaluation.block_error import BATCH, Condition, block_errors
from trompe.evaluation.records import Record
from trompe.models import CommsAutoencoder, CommsConfig, Link, radius_of

__all__ = ["run"]

BATCHES = 320
BESIDE = (1, 4, 16, 64)
BLOCKS = (2**20, 2**24)
PROGRAM = "import benchmarks.monte_carlo as m; print(m.peak({blocks}))"


def run(rounds: int) -> list[Record]:
    """For each radio and number of conditions the time over that of its products, and the memory's growth."""
    made = [
        _time(architecture, count, rounds) for architecture in ("mlp", "cnn") for count in BESIDE
    ]
    few, many = (min(_elsewhere(blocks) for _ in range(min(rounds, 3))) for blocks in BLOCKS)
    extra = {"megabytes": many / 2**20, "blocks ratio": BLOCKS[1] / BLOCKS[0]}
    memory = "peak memory over that of few blocks"
    return [*made, _record(memory, many / few, BLOCKS[1], "mlp-7-4", extra=extra)]


def _time(architecture: str, count: int, rounds: int) -> Record:
    """So many conditions measured together, beside as many passes through the bare products."""
    link = zoo.radio(zoo.radio_named(f"{architecture}-7-4"), progress=False)
    batches = max(1, (BATCHES if architecture == "mlp" else BATCHES // 8) // count)
    blocks = batches * BATCH
    delta = Ball(radius_of(-6.0, 7), "L2").project(torch.linspace(-9, 9, 14)[None])
    conditions = {n: Condition(4 + 8 * n / count, Perturbation(delta)) for n in range(count)}
    heard = link.heard(8.0)(torch.arange(BATCH) % 16).detach()
    products = _products(link)

    def bare() -> None:
        with torch.inference_mode():
            for _ in range(batches * count):
                products(heard)

    def measured() -> None:
        block_errors(link, conditions, blocks=blocks, errors=blocks + 1)

    timings = interleaved([Contender("bare", bare), Contender("ours", measured)], rounds)
    middle, low, high = ratio(timings["ours"].seconds, timings["bare"].seconds)
    each = 1e9 / (blocks * count)
    extra = {
        "nanoseconds a block": timings["ours"].median * each,
        "nanoseconds of products": timings["bare"].median * each,
        "conditions": float(count),
    }
    name = f"{architecture}-7-4, {count} condition{'s' if count > 1 else ''}"
    return _record(
        "time over the bare products", middle, blocks * count, name,
        low=low, high=high, interval=f"range of {rounds} rounds",
        seconds=timings["ours"].median, extra=extra,
    )  # fmt: skip


def _products(link: Link) -> Callable[[Tensor], Tensor]:
    """The receiver without biases and activations: nothing but its products."""
    layers: list[Callable[[Tensor], Tensor]] = []
    for layer in link.receiver.children():
        if isinstance(layer, nn.Linear):
            layers.append(lambda v, w=layer.weight: F.linear(v, w))  # type: ignore[misc]
        elif isinstance(layer, nn.Conv2d):
            layers.append(lambda v, w=layer.weight: F.conv2d(v, w))  # type: ignore[misc]
        elif not isinstance(layer, nn.ReLU):
            layers.append(layer)

    def passed(v: Tensor) -> Tensor:
        for layer in layers:
            v = layer(v)
        return v

    return passed


def _record(metric: str, value: float, n: int, subject: str, **rest: object) -> Record:
    about = {"batch": BATCH, "threads": torch.get_num_threads()}
    where = {"paper": "benchmarks", "item": "monte_carlo", "scale": "cpu", "config": about}
    return Record(metric, value, n, subject=subject, attack=subject, **where, **rest)  # type: ignore[arg-type]


def _elsewhere(blocks: int) -> int:
    """The peak of a process of its own, in bytes."""
    program = PROGRAM.format(blocks=blocks)
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return int(ran.stdout.split()[-1])


def peak(blocks: int) -> int:
    """Send so many blocks, and read this process's peak in bytes."""
    import resource

    torch.set_num_threads(1)
    link = CommsAutoencoder(CommsConfig()).eval()
    block_errors(link, {n: Condition(4.0 + n) for n in range(4)}, blocks=blocks, errors=blocks + 1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
