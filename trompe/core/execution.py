"""How computations are carried out: chosen by the runner, known to no method.

`search` reads the policy in force: precision, memory layout, batch splitting, compilation, and how a
random loss is averaged. A meter counts what was spent.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from trompe.core.errors import UserError
from trompe.core.protocols import PointMass

__all__ = [
    "Cost",
    "Execution",
    "device_of",
    "execution",
    "flushed_denormals",
    "has_convolutions",
    "has_fast_bf16",
    "is_lowered",
    "metered",
    "policy",
    "predict",
    "single_thread",
    "spend",
    "working_copies",
    "working_copy",
]


@dataclass(frozen=True)
class Execution:
    """The policy of a run.

    Args:
        precision: `"float32"`, or `"bf16"`: search on a bfloat16 copy and accept in the model's own
            precision. Worth it only where the hardware multiplies bfloat16.
        chunk: examples searched at once; None chooses by the kind of model and splits what does not fit.
        draws: random draws averaged in each gradient of a random model (expectation over transformation,
            Athalye et al. 2018); also the common draws by which its iterates are ranked.
        confirm: `(k, n)`: an example leaves a search on a random model only after k of n fresh draws succeed.
        compile: run the working copy through `torch.compile`.
    """

    precision: Literal["float32", "bf16"] = "float32"
    chunk: int | None = None
    draws: int = 1
    confirm: tuple[int, int] = (9, 10)
    compile: bool = False

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bf16"):
            raise UserError(f"precision must be float32 or bf16, got {self.precision!r}")
        if self.draws < 1 or (self.chunk is not None and self.chunk < 1):
            raise UserError("draws and chunk must be at least 1")
        if not 1 <= self.confirm[0] <= self.confirm[1]:
            raise UserError(f"confirm must be (k, n) with 1 <= k <= n, got {self.confirm}")


@dataclass
class Cost:
    """What a computation spent: passes of one example through the model, forward and backward."""

    forwards: int = 0
    backwards: int = 0


_DEFAULT = Execution()
_policy: ContextVar[Execution] = ContextVar("trompe_policy", default=_DEFAULT)
_meter: ContextVar[Cost | None] = ContextVar("trompe_meter", default=None)
_copies: ContextVar[dict[Any, tuple[nn.Module, nn.Module]] | None] = ContextVar(
    "trompe_copies", default=None
)


def policy() -> Execution:
    """The policy in force."""
    return _policy.get()


@contextmanager
def execution(**changes: Any) -> Iterator[Execution]:
    """Change parts of the policy for the calls inside.

    >>> with execution(draws=20) as now:
    ...     now.draws
    20
    """
    now = replace(_policy.get(), **changes)
    token = _policy.set(now)
    try:
        yield now
    finally:
        _policy.reset(token)


@contextmanager
def metered() -> Iterator[Cost]:
    """Count the passes made inside (an enclosing meter counts them too)."""
    cost, outer = Cost(), _meter.get()
    token = _meter.set(cost)
    try:
        yield cost
    finally:
        _meter.reset(token)
        if outer is not None:
            outer.forwards += cost.forwards
            outer.backwards += cost.backwards


def spend(forwards: int = 0, backwards: int = 0) -> None:
    """Tell the meter of passes made."""
    cost = _meter.get()
    if cost is not None:
        cost.forwards += forwards
        cost.backwards += backwards


def predict(model: nn.Module, x: Tensor) -> Tensor:
    """`model(x)` without gradients, counted."""
    spend(forwards=len(x))
    with torch.no_grad():
        return model(x)  # type: ignore[no-any-return]


@contextmanager
def working_copies() -> Iterator[None]:
    """Keep the working copies made inside for each other: one per model and precision, not one per search."""
    if _copies.get() is not None:
        yield
        return
    token = _copies.set({})
    try:
        yield
    finally:
        _copies.reset(token)


def working_copy(model: nn.Module) -> nn.Module:
    """A private, frozen copy of the model for a search: channels_last, in the policy's precision.

    A float32 model without convolutions is used as it is: it has nothing to gain. So is a model that
    cannot be copied.
    """
    how = policy()
    lower = how.precision == "bf16" and _is_float32(model)
    if not (lower or how.compile or has_convolutions(model)):
        return model
    kept = _copies.get()
    key = (id(model), how.precision, how.compile)
    if kept is not None and key in kept:
        return kept[key][1]
    made = _copy(model, lower, how.compile)
    if kept is not None:
        kept[key] = model, made  # the model too: while it lives, nothing else has its id
    return made


@torch.inference_mode(False)  # what is copied in inference mode could not be differentiated
def _copy(model: nn.Module, lower: bool, compiled: bool) -> nn.Module:
    try:
        made = copy.deepcopy(model).requires_grad_(False)
    except (
        Exception
    ):  # a user's module may hold what cannot be copied; it is then searched directly
        return model
    made = made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled:
        made.compile()
    return _Lowered(made.to(torch.bfloat16)) if lower else made


def has_convolutions(model: nn.Module) -> bool:
    """Whether any parameter is a convolution's (four-dimensional)."""
    return any(p.ndim == 4 for p in model.parameters())


def _is_float32(model: nn.Module) -> bool:
    kinds = {p.dtype for p in model.parameters()}
    return kinds == {torch.float32}


class _Lowered(nn.Module):
    """A bfloat16 model with float32 doors: inputs are lowered, outputs raised."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, *inputs: Any) -> Any:
        return _raised(self.model(*map(_lowered, inputs)))

    def __getattr__(self, name: str) -> Any:
        found = (
            getattr(super().__getattr__("model"), name)
            if name != "model"
            else super().__getattr__(name)
        )
        if name != "model" and callable(found) and not isinstance(found, nn.Module):
            return lambda *inputs: _raised(found(*map(_lowered, inputs)))
        return _Lowered(found) if isinstance(found, nn.Module) and name != "model" else found


def is_lowered(model: nn.Module) -> bool:
    """Whether this working copy computes in less than its model's precision."""
    return isinstance(model, _Lowered)


def _lowered(value: Any) -> Any:
    return (
        value.to(torch.bfloat16)
        if isinstance(value, Tensor) and value.is_floating_point()
        else value
    )


def _raised(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.float()
    if isinstance(value, PointMass):
        return PointMass(value.mean.float())
    if isinstance(value, Distribution):
        normal = Normal(value.mean.float(), value.stddev.float(), validate_args=False)
        return Independent(normal, value.mean.ndim - 1, validate_args=False)
    return value


def _flushes() -> bool:
    return float(torch.tensor([1e-310], dtype=torch.float64) * 1.0) == 0.0


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Flush denormal numbers to zero inside: over-confident models are several times slower otherwise."""
    before = _flushes()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if not before:
            torch.set_flush_denormal(False)


@contextmanager
def single_thread() -> Iterator[None]:
    """Compute on one thread inside: for networks so small that more would wait for each other.

    A context, or a decorator. The number of threads belongs to the process.

    >>> with single_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def has_fast_bf16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_capability()[0] >= 8
    capabilities = torch.backends.cpu.get_cpu_capability()
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return capabilities.startswith("AVX512") and bool(probe())


def device_of(model: nn.Module, otherwise: Tensor) -> torch.device:
    """Where a model lives: its first parameter's or buffer's device, else that of a tensor."""
    for values in (*model.parameters(), *model.buffers()):
        return values.device
    return otherwise.device
