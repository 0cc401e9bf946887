"""Training throughput: our loop beside a bare loop over the same resident batches."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.timing import Contender, interleaved, ratio
from trompe import data, models
from trompe.data import Dataset
from trompe.evaluation.records import Record
from trompe.models import AutoencoderConfig, ClassifierConfig
from trompe.training import AutoencoderStep, Batches, ClassifierStep, train

__all__ = ["SHAPE", "SIZE", "run", "trained"]

STEPS, SIZE = 60, 128
SHAPE = (1, 28, 28)
CONFIGS: dict[str, ClassifierConfig | AutoencoderConfig] = {
    "mlp": ClassifierConfig("mlp", SHAPE, hidden=(128,)),
    "conv4": ClassifierConfig("conv4", SHAPE, channels=(16, 16, 32, 32)),
    "vae": AutoencoderConfig(SHAPE, latent=20, hidden=(400,)),
}


def run(rounds: int) -> list[Record]:
    """Images per second of each model, and the time over that of the bare loop."""
    examples = data.load("mnist", "train").take(STEPS * SIZE)
    made = []
    for name, config in CONFIGS.items():
        steps = STEPS if name != "conv4" else STEPS // 4
        timings = interleaved(
            [
                Contender("bare", _bare(config, examples, steps)),
                Contender("trompe", trained(config, examples, steps)),
            ],
            rounds,
        )
        middle, low, high = ratio(timings["trompe"].seconds, timings["bare"].seconds)
        seconds = timings["trompe"].median
        made.append(
            Record(
                "time over a bare loop",
                middle,
                steps * SIZE,
                low,
                high,
                f"range of {rounds} rounds",
                subject=f"mnist {name}",
                attack="trompe",
                paper="benchmarks",
                item="training",
                scale="cpu",
                seconds=seconds,
                extra={
                    "images per second": steps * SIZE / seconds,
                    "seconds per 60,000": 60_000 * seconds / (steps * SIZE),
                    "bare seconds": timings["bare"].median,
                },
                config={"batch": SIZE, "steps": steps, "threads": torch.get_num_threads()},
            )
        )
    return made


def trained(
    config: ClassifierConfig | AutoencoderConfig, examples: Dataset, steps: int
) -> Callable[[], Any]:
    """A training of so many steps from scratch, by the package's own loop."""

    def work() -> None:
        model = models.build(config)
        classifier = isinstance(config, ClassifierConfig)
        step = ClassifierStep(model, 4e-3) if classifier else AutoencoderStep(model, 4e-3)
        batches = Batches(examples.x, examples.y, size=SIZE, seed=0)
        train(step, batches, steps=steps, progress=False, log=False)

    return work


def _bare(
    config: ClassifierConfig | AutoencoderConfig, examples: Dataset, steps: int
) -> Callable[[], Any]:
    """The same work by hand: gather, forward, backward, Adam; a VAE's noise from torch's generator."""
    labels = examples.y
    assert labels is not None

    def work() -> None:
        model: Any = models.build(config).train()
        optimizer = torch.optim.Adam(model.parameters(), 4e-3)
        order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0))
        pixels = torch.as_tensor(examples.x)
        for rows in order.split(SIZE)[:steps]:
            x = pixels[rows].float() / 255
            if isinstance(config, ClassifierConfig):
                loss = F.cross_entropy(model(x), torch.as_tensor(labels)[rows])
            else:
                code = model.encode(x)
                z = code.rsample()
                fit = F.binary_cross_entropy_with_logits(model.decode_logits(z), x, reduction="sum")
                spread = code.variance
                kl = 0.5 * (code.mean.square() + spread - 1 - spread.log()).sum()
                loss = (fit + kl) / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return work
