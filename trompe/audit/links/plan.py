"""What the audit of a radio link is asked to do."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from trompe.core.errors import UserError

__all__ = ["LinkPlan"]

_FARTHEST = (
    100.0  # dB either way: ten thousand million times, where float32 has long lost the other
)
_MOST = 100  # levels


@dataclass(frozen=True)
class LinkPlan:
    """The questions of a link's audit, as plain values.

    Args:
        comms: `mlp-N-K` or `cnn-N-K`, trained if need be; `hamming-7-4`; or `module:function` that returns a
            link (runs that code).
        psr: powers of the attackers, in dB relative to the link's own; above zero too.
        snr: Eb/N0 of the curves, in dB; below zero too.
        blocks: the most that are sent for a point.
        budget: seconds that the audit may take; fewer blocks are sent.
        seed: of every random draw, and of a link that is trained.
        out: the folder of the report.
        resume: go on with what an interrupted audit left there.

    Raises:
        UserError: a level that is no finite number, too many of them, or no blocks.
    """

    comms: str = "mlp-7-4"
    psr: tuple[float, ...] = (-10.0, -6.0, -2.0)
    snr: tuple[float, ...] = tuple(float(level) for level in range(15))
    blocks: int = 1_000_000
    budget: float | None = None
    seed: int = 0
    out: Path = Path("trompe-report")
    resume: bool = False

    def __post_init__(self) -> None:
        for name, levels in (("psr", self.psr), ("snr", self.snr)):
            object.__setattr__(self, name, _levels(levels, name))
        if isinstance(self.blocks, bool) or not isinstance(self.blocks, int) or self.blocks < 1000:
            raise UserError(
                f"blocks must be at least 1000, got {self.blocks}: of fewer no rate is known"
            )
        if self.budget is not None and not self.budget > 0:
            raise UserError("the budget must be a positive time")

    def settings(self) -> dict[str, Any]:
        """The plan as a report shows it."""
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        told = {k: v for k, v in shown.items() if k not in ("out", "resume")}
        return {k: _listed(v) if isinstance(v, tuple) else v for k, v in told.items()}


def _levels(levels: tuple[float, ...], name: str) -> tuple[float, ...]:
    """In rising order and each once."""
    if name == "psr" and -math.inf in levels:
        raise UserError(
            "psr: -inf dB is an attacker without power, who changes nothing; give a finite level, such as -20"
        )
    for level in levels:
        number = isinstance(level, int | float) and not isinstance(level, bool)
        if not number or not abs(level) <= _FARTHEST:
            raise UserError(
                f"{name}: expected levels between -{_FARTHEST:g} and {_FARTHEST:g} dB, got {level!r}"
            )
    found = tuple(sorted({float(level) for level in levels}))
    if not 0 < len(found) <= _MOST:
        raise UserError(f"{name}: give 1 to {_MOST} levels in dB, got {len(found)}")
    return found


def _listed(levels: tuple[float, ...]) -> str:
    return ", ".join(f"{level:g}" for level in levels)
