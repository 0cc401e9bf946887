"""One process's part of a training: advance, average, watch, save."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trompe.core.errors import UserError
from trompe.core.protocols import Step
from trompe.core.random import seeds, streams
from trompe.training import checkpoint
from trompe.training.averages import Averages
from trompe.training.batches import Source
from trompe.training.monitor import WINDOW, History, Monitor, bar
from trompe.training.scopes import compiled, postponed_interrupt, training_mode

__all__ = ["CHECKPOINT", "Plan", "Run", "Work"]

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Plan:
    """What `train` was asked for, in plain values that travel to other processes."""

    steps: int
    seed: int
    directory: Path | None
    resume: bool
    compile: bool | str
    ema: float | None
    checkpoint_every: int
    progress: bool
    log: bool
    title: str


class Work:
    """What `Fabric.launch` calls in every process; it looks into arguments, but not in here."""

    def __init__(self, step: Step, batches: Source, plan: Plan, spawned: bool) -> None:
        self.step, self.batches, self.plan, self.spawned = step, batches, plan, spawned

    def __call__(self, fabric: Any) -> dict[str, Any]:
        """The outcome, in plain values: a history, whether it was interrupted, a user's slip."""
        try:
            history, interrupted = Run(fabric, self.step, self.batches, self.plan).go()
        except UserError as slip:
            return {"slip": str(slip)}
        if self.spawned:
            # who leaves while another still talks to it takes that one down
            fabric.barrier()
            torch.distributed.destroy_process_group()
        return {"history": vars(history), "interrupted": interrupted}


class Run:
    """A training in one process: the step, where it stands, and what is kept of it."""

    def __init__(self, fabric: Any, step: Step, batches: Source, plan: Plan) -> None:
        self.fabric, self.step, self.plan = fabric, step, plan
        self.modules = dict(step.modules())
        self.optimizers = dict(step.optimizers())
        self.path = None if plan.directory is None else plan.directory / CHECKPOINT
        self.number, self.seconds = 0, 0.0
        self._place(fabric)
        self.batches = batches.to(fabric.device)
        self.averages = None if plan.ema is None else Averages(self.modules, plan.ema)
        self.rates = [[group["lr"] for group in o.param_groups] for o in self.optimizers.values()]
        saved = self._saved()
        events = plan.directory if plan.log and fabric.is_global_zero else None
        self.monitor = Monitor(events, 0 if saved is None else int(saved["number"]))
        if saved is not None:
            self._restore(saved)
        self.resumed = self.number

    def _place(self, fabric: Any) -> None:
        """Move the modules to the device; in several processes give each its own memory."""
        for module in self.modules.values():
            if fabric.world_size > 1:
                for tensor in (*module.parameters(), *module.buffers()):
                    tensor.data = tensor.data.clone()
            fabric.to_device(fabric.strategy.precision.convert_module(module))
        if fabric.world_size > 1:
            for optimizer in self.optimizers.values():
                optimizer.load_state_dict(_apart(optimizer.state_dict()))
            for module in self.modules.values():
                for tensor in (*module.parameters(), *module.buffers()):
                    torch.distributed.broadcast(tensor.data, 0)

    def _saved(self) -> Any:
        """The state to resume from, or None."""
        if self.path is None or not self.path.exists():
            return None
        if not self.plan.resume:
            self.fabric.barrier()
            if self.fabric.is_global_zero:
                self.path.unlink(missing_ok=True)
            return None
        state = checkpoint.load(self.path)
        for name in ("seed", "steps", "ema"):
            if state[name] != getattr(self.plan, name):
                raise UserError(
                    f"{self.path} is of a run with {name}={state[name]}, "
                    f"not {getattr(self.plan, name)}; "
                    "give another directory, or resume=False to begin anew"
                )
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        self.step.load_state_dict(state["step"])
        self.rates = state["rates"]
        self.number, self.seconds = state["number"], state["seconds"]
        self.monitor.restore(state["monitor"])
        if self.averages is not None:
            self.averages.restore(state["averages"])

    def save(self) -> None:
        """Write the checkpoint, from the first process."""
        if self.path is None or not self.fabric.is_global_zero:
            return
        plan = self.plan
        tree = {
            "step": self.step.state_dict(),
            "averages": None if self.averages is None else self.averages.state,
            "monitor": self.monitor.state(),
            "rates": self.rates,
            "number": self.number,
            "seconds": self.seconds,
            **{name: getattr(plan, name) for name in ("seed", "steps", "ema")},
        }
        checkpoint.save(self.path, tree)

    def go(self) -> tuple[History, bool]:
        """Train until the plan is fulfilled or the user interrupts."""
        with ExitStack() as stack:
            stack.callback(self.monitor.close)
            stack.enter_context(training_mode(self.modules.values()))
            stack.enter_context(compiled(self.modules.values(), self.plan.compile))
            stack.enter_context(self._averaged_gradients())
            cuda = self.fabric.device.type == "cuda"
            stack.enter_context(torch.random.fork_rng([self.fabric.device] if cuda else []))
            caught = stack.enter_context(postponed_interrupt())
            shown = self.plan.progress and self.fabric.is_global_zero
            progress = stack.enter_context(bar(self.plan.title, self.plan.steps, shown))
            interrupted = self._loop(caught, progress)
        if getattr(self.step, "schedule", None) is not None:
            self._set_rates(1.0)
        if not interrupted and self.averages is not None:
            self.averages.apply()
        return self.history(), interrupted

    def _loop(self, caught: list[int], progress: Any) -> bool:
        begin = time.perf_counter() - self.seconds
        while self.number < self.plan.steps:
            self._advance()
            self.number += 1
            if self.averages is not None:
                self.averages.update(self.number)
            done = self.number == self.plan.steps
            if done or self.number % WINDOW == 0:
                self.monitor.close_window(self.number, self._common(self.monitor.means()))
            self.seconds = time.perf_counter() - begin
            interrupted = self._anywhere(bool(caught))
            if done or interrupted or self.number % self.plan.checkpoint_every == 0:
                self.save()
            progress.at(self.number, self.monitor.latest)
            if interrupted and not done:
                return True
        return False

    def _advance(self) -> None:
        """One call of the step."""
        fabric, number = self.fabric, self.number
        batch = self.batches.at(number, fabric.global_rank, fabric.world_size)
        batch = fabric.strategy.precision.convert_input(fabric.to_device(batch))
        if (schedule := getattr(self.step, "schedule", None)) is not None:
            self._set_rates(schedule(number / max(self.plan.steps - 1, 1)))
        # for modules that draw from the global generator: a state that resuming can find again
        torch.manual_seed(hash((self.plan.seed, number, fabric.global_rank)) % 2**63)
        noise = seeds(self.plan.seed, _index(batch, fabric.global_rank, fabric.world_size))
        draw = torch.tensor(number, device=noise.device)
        with streams(noise, draw), fabric.autocast():
            self.monitor.add(self.step(*batch))

    def _set_rates(self, factor: float) -> None:
        for optimizer, rates in zip(self.optimizers.values(), self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    @contextmanager
    def _averaged_gradients(self) -> Iterator[None]:
        """Average gradients over the processes before any optimiser steps."""
        hooks = []
        if self.fabric.world_size > 1:
            for optimizer in self.optimizers.values():
                hooks.append(optimizer.register_step_pre_hook(self._average))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _average(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [
            p.grad
            for group in optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        joined = self.fabric.all_reduce(
            torch.cat([g.flatten() for g in gradients]), reduce_op="mean"
        )
        parts = joined.split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def _common(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """The means over all processes."""
        if self.fabric.world_size == 1:
            return means
        joined = self.fabric.all_reduce(torch.stack(list(means.values())), reduce_op="mean")
        return dict(zip(means, joined, strict=True))

    def _anywhere(self, flag: bool) -> bool:
        """Whether the flag is up in any process, so that all stop at the same step."""
        if self.fabric.world_size == 1:
            return flag
        raised = torch.tensor(float(flag), device=self.fabric.device)
        return bool(self.fabric.all_reduce(raised, reduce_op="sum") > 0)

    def history(self) -> History:
        """The history up to here."""
        values = {name: tuple(v) for name, v in self.monitor.values.items()}
        steps = tuple(self.monitor.steps)
        return History(steps, values, self.number, self.resumed, self.seconds)


def _index(batch: Sequence[Tensor], rank: int, world: int) -> Tensor:
    """The examples' indices: the batch's last tensor where it is one, else the rows' numbers."""
    last = batch[-1]
    if len(batch) > 2 and last.dtype == torch.int64 and last.shape == batch[0].shape[:1]:
        return last
    return torch.arange(len(batch[0]), device=batch[0].device) * world + rank


def _apart(tree: Any) -> Any:
    """A copy of a tree whose tensors have memory of their own."""
    tensors: dict[str, Tensor] = {}
    plain = checkpoint.flatten(tree, tensors)
    return checkpoint.unflatten(plain, {key: value.clone() for key, value in tensors.items()})
