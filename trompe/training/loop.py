"""One loop for every training: any step, any batches, any device, any number of processes."""

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
    """Call `step(*batch)` until the training is done, and leave the trained weights in its modules.

    The same call trains on one processor or several. With `devices=n` each of n processes takes an
    equal share of every batch's rows, and gradients are averaged before each optimiser steps, so
    the result is that of one process to rounding; batches must then divide by n, and the calling
    script needs its `if __name__ == "__main__":` guard. Under `torchrun` the processes at hand are
    used.

    A directory holds the checkpoint, replaced atomically, and TensorBoard events. Whatever ends the
    training, the same call takes it up where the checkpoint stands and, on the same machine, ends
    with the same bits. Ctrl-C finishes the step at hand, saves, and raises KeyboardInterrupt.

    Noise belongs to examples: inside the step, `trompe.core.random` draws from streams keyed by
    (seed, example, step), where the examples' indices are the batch's last tensor if it is one of
    int64 `(B,)` beside at least two others, and rows are counted otherwise. Modules that draw from
    the global generator (dropout) meet a state that is a function of (seed, step), and the
    generator is given back as it was.

    Args:
        step: updates shared parameters; see `trompe.core.protocols.Step`. Where it has a
            `schedule`, learning rates are multiplied by `schedule(progress in [0, 1])`.
        batches: `Batches`, or any iterable of tuples of tensors that repeats itself.
        steps: how many steps; or give `epochs`, passes over the batches.
        seed: names the noise.
        directory: where checkpoints and events are kept; None keeps neither.
        resume: continue from the directory's checkpoint; False begins anew.
        accelerator: "cpu", "cuda", "mps" or "auto".
        devices: number of processes, each with its device.
        precision: "32-true", "64-true", "bf16-mixed" or "bf16-true".
        compile: compile the modules' forward passes; a string names the backend.
        ema: decay of an average of the weights; the modules hold the averages at the end.
        checkpoint_every: steps between checkpoints; None is once per pass over the batches.
        progress: show a bar, if standard error is a terminal.
        log: write TensorBoard events to the directory.
        title: what the bar calls the training.

    Returns:
        History: means of what the step reported.

    Raises:
        UserError: for contradictory options, a checkpoint of another run, or a loss that is no
            longer finite.

    Example:
        >>> from trompe.training import Batches, ClassifierStep
        >>> import torch
        >>> from torch import nn
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(32, 1)
        >>> step = ClassifierStep(nn.Linear(2, 2), lr=0.1)
        >>> history = train(step, Batches(x, x[:, 0].long(), size=16), steps=100, progress=False)
        >>> history.total, history.values["accuracy"][-1]
        (100, 1.0)
    """
    numbered = source(batches)
    plan = Plan(
        steps=_count(steps, epochs, numbered),
        seed=seed,
        directory=None if directory is None else Path(directory),
        resume=resume,
        compile=compile,
        ema=ema,
        checkpoint_every=_every(checkpoint_every, directory, numbered),
        progress=progress,
        log=log,
        title=title,
    )
    _check(plan, precision, devices)
    # what runs in other processes comes back through a checkpoint, not through shared memory
    with ExitStack() as stack:
        fabric, spawns = _fabric(accelerator, devices, precision)
        if spawns:
            if plan.directory is None:
                scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="trompe-"))
                plan = replace(plan, directory=Path(scratch), log=False)
            stack.enter_context(postponed_interrupt())
        outcome = fabric.launch(Work(step, numbered, plan))
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


def _every(given: int | None, directory: object, batches: Source) -> int:
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


def _fabric(accelerator: str, devices: int, precision: str) -> tuple[Any, bool]:
    """Fabric, and whether it will start processes of its own."""
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    launched = "TORCHELASTIC_RUN_ID" in os.environ
    several = devices > 1
    strategy = ("ddp" if launched else "ddp_spawn") if several else "auto"
    options: dict[str, Any] = {"precision": precision, "strategy": strategy}
    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, **options)
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise UserError(f"cannot train on {devices} x {accelerator!r} here: {error}") from None
    return fabric, several and not launched


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
