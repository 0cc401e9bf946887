"""One loop for every training: any step, any batches, any device, any number of processes.

The same call trains on one processor or several. With `devices=n` each of n processes takes an equal
share of every batch's rows, and gradients are averaged before each optimiser steps, so the result is
that of one process to rounding; batches must then divide by n, and the calling script needs its
`if __name__ == "__main__":` guard. Under `torchrun` the processes at hand are used.

A directory holds the checkpoint, replaced atomically, and TensorBoard events. Whatever ends the
training, the same call takes it up where the checkpoint stands and, on the same machine, ends with
the same bits. Ctrl-C finishes the step at hand, saves, and raises KeyboardInterrupt.

Noise belongs to examples: inside the step, `trompe.core.random` draws from streams keyed by (seed,
example, step), where the examples' indices are the batch's last tensor if it is one of int64 `(B,)`
beside at least two others, and rows are counted otherwise. Modules that draw from the global
generator (dropout) meet a state that is a function of (seed, step), and the generator is given back
as it was.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from trompe.core.errors import UserError
from trompe.core.protocols import Step
from trompe.training import checkpoint
from trompe.training.averages import Averages
from trompe.training.batches import Source, source
from trompe.training.monitor import History
from trompe.training.run import CHECKPOINT, Plan, Work
from trompe.training.scopes import postponed_interrupt

__all__ = ["train"]

PRECISIONS = ("32-true", "64-true", "bf16-mixed", "bf16-true")


def train(
    step: Step,
    batches: Source | Iterable[Sequence[Tensor]],
    *,
    steps: int | None = None,
    epochs: float | None = None,
    seed: int = 0,
    directory: str | os.PathLike[str] | None = None,
    resume: bool = True,
    accelerator: str = "cpu",
    devices: int = 1,
    precision: str = "32-true",
    compile: bool | str = False,
    ema: float | None = None,
    checkpoint_every: int | None = None,
    progress: bool = True,
    log: bool = True,
    title: str = "training",
) -> History:
    """Call `step(*batch)` until the training is done; the trained weights are in its modules.

    Args:
        step: see `trompe.core.protocols.Step`; learning rates follow its `schedule`, if any.
        batches: `Batches`, or any iterable of tuples of tensors that repeats itself.
        steps, epochs: how long: a number of steps, or of passes over the batches.
        seed: names the noise.
        directory: where checkpoints and events are kept; None keeps neither.
        resume: continue from the directory's checkpoint; False begins anew.
        accelerator, devices: "cpu", "cuda", "mps" or "auto", and one process for each device.
        precision: "32-true", "64-true", "bf16-mixed" or "bf16-true".
        compile: compile the modules' forward passes; a string names the backend.
        ema: decay of an average of the weights, which the modules hold at the end.
        checkpoint_every: steps between checkpoints; None is once per pass over the batches.
        progress, title: show a bar of that title, if standard error is a terminal.
        log: write TensorBoard events to the directory.

    Raises:
        UserError: contradictory options, a checkpoint of another run, a loss that is not finite.

    >>> import torch
    >>> from trompe.training import Batches, ClassifierStep
    >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(32, 1)
    >>> step = ClassifierStep(torch.nn.Linear(2, 2), lr=0.1)
    >>> train(step, Batches(x, x[:, 0].long(), size=16), steps=100).values["accuracy"][-1]
    1.0
    """
    numbered = source(batches)
    where = None if directory is None else Path(directory)
    every = _every(checkpoint_every, where, numbered)
    count = _count(steps, epochs, numbered)
    plan = Plan(count, seed, where, resume, compile, ema, every, progress, log, title)
    _check(plan, precision, devices)
    _check_shares(numbered, devices)
    spawns = devices > 1 and "TORCHELASTIC_RUN_ID" not in os.environ  # torchrun's mark
    fabric = _fabric(accelerator, devices, precision, spawns)
    return _launch(step, numbered, plan, fabric, spawns)


def _launch(step: Step, batches: Source, plan: Plan, fabric: Any, spawns: bool) -> History:
    """Train in this process, or in others, whose result comes back through a checkpoint."""
    with ExitStack() as stack:
        if spawns:
            if plan.directory is None:
                scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="trompe-"))
                plan = replace(plan, directory=Path(scratch), log=False)
            stack.enter_context(postponed_interrupt())
        outcome = fabric.launch(Work(step, batches, plan, spawns))
        if "slip" in outcome:
            raise UserError(outcome["slip"])
        if spawns:
            _adopt(step, plan)
    if outcome["interrupted"]:
        raise KeyboardInterrupt
    return History(**outcome["history"])


def _count(steps: int | None, epochs: float | None, batches: Source) -> int:
    if (steps is None) == (epochs is None):
        raise UserError("say how long to train by either `steps` or `epochs`")
    count = steps if steps is not None else round((epochs or 0) * len(batches))
    if count < 1:
        raise UserError(f"expected at least 1 step of training, got {count}")
    return count


def _every(given: int | None, directory: Path | None, batches: Source) -> int:
    if given is not None and given < 1:
        raise UserError(f"expected checkpoint_every of at least 1 step, got {given}")
    if given is not None or directory is None:
        return given or 1
    return max(len(batches), 1) if hasattr(batches, "size") else 1000


def _check(plan: Plan, precision: str, devices: int) -> None:
    if precision not in PRECISIONS:
        raise UserError(f"expected precision one of {', '.join(PRECISIONS)}, got {precision!r}")
    if devices < 1:
        raise UserError(f"expected at least 1 device, got {devices}")
    if plan.ema is not None and not 0 <= plan.ema < 1:
        raise UserError(f"expected ema in [0, 1), got {plan.ema}")
    if plan.directory is not None and plan.directory.exists() and not plan.directory.is_dir():
        raise UserError(f"{plan.directory} is a file; give a directory for the checkpoint")


def _check_shares(batches: Source, devices: int) -> None:
    size = getattr(batches, "size", devices)
    if size % devices:
        raise UserError(
            f"a batch of {size} cannot be shared equally by {devices} processes; "
            f"choose a multiple of {devices}"
        )


def _fabric(accelerator: str, devices: int, precision: str, spawns: bool) -> Any:
    """Fabric: one process, one of several at hand, or one that spawns others."""
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    strategy = ("ddp_spawn" if spawns else "ddp") if devices > 1 else "auto"
    options: dict[str, Any] = {"precision": precision, "strategy": strategy}
    try:
        return Fabric(accelerator=accelerator, devices=devices, **options)
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise UserError(f"cannot train on {devices} x {accelerator!r} here: {error}") from None


def _adopt(step: Step, plan: Plan) -> None:
    """Take over what other processes trained."""
    assert plan.directory is not None
    state = checkpoint.load(plan.directory / CHECKPOINT)
    rates = [[g["lr"] for g in o.param_groups] for o in step.optimizers().values()]
    step.load_state_dict(state["step"])
    for optimizer, peak in zip(step.optimizers().values(), rates, strict=True):
        for group, rate in zip(optimizer.param_groups, peak, strict=True):
            group["lr"] = rate
    if state["averages"] is not None and state["number"] == plan.steps:
        averages = Averages(step.modules(), plan.ema or 0.0)
        averages.restore(state["averages"])
        averages.apply()
