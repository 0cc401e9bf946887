"""What a contractive penalty costs: training with it beside training without, in the same loop."""

import torch

from benchmarks.timing import Contender, interleaved, ratio
from benchmarks.training import SHAPE, SIZE, trained
from trompe import data
from trompe.evaluation.records import Record
from trompe.models import AutoencoderConfig

__all__ = ["run"]

STEPS = 30


def run(rounds: int) -> list[Record]:
    """Time of a CAE over that of its AE, and of a CVAE over that of its VAE: the purifiers' size."""
    examples = data.load("mnist", "train").take(STEPS * SIZE)
    made = []
    for plain, stochastic in (("AE", False), ("VAE", True)):
        free, tight = (
            AutoencoderConfig(
                SHAPE, latent=128, architecture="conv", stochastic=stochastic,
                likelihood="gaussian", contractive=weight,
            )
            for weight in (0.0, 0.1)
        )  # fmt: skip
        timings = interleaved(
            [
                Contender("free", trained(free, examples, STEPS)),
                Contender("tight", trained(tight, examples, STEPS)),
            ],
            rounds,
        )
        middle, low, high = ratio(timings["tight"].seconds, timings["free"].seconds)
        made.append(
            Record(
                f"time over the {plain}",
                middle,
                STEPS * SIZE,
                low,
                high,
                f"range of {rounds} rounds",
                subject=f"mnist C{plain}, 2 convolutions of 32, {free.latent} latent",
                attack=f"C{plain}",
                paper="benchmarks",
                item="contractive",
                scale="cpu",
                seconds=timings["tight"].median,
                extra={"seconds without": timings["free"].median},
                config={"batch": SIZE, "steps": STEPS, "threads": torch.get_num_threads()},
            )
        )
    return made
