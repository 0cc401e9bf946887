"""What an audit is asked to do."""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from trompe.core.errors import UserError
from trompe.core.geometry import Ball, Norm
from trompe.data import Dataset

__all__ = ["BUILT", "Plan", "radii"]

BUILT = ("reconstruct", "magnet")
"""The defences that the audit builds itself, around an autoencoder."""
_RADII = {"digits": (0.05, 0.1, 0.2, 0.3), "mnist": (0.05, 0.1, 0.2, 0.3)}
_RADII |= {"fashion-mnist": (0.025, 0.05, 0.1, 0.2)}
_COLOUR = (1 / 255, 2 / 255, 4 / 255, 8 / 255)


@dataclass(frozen=True)
class Plan:
    """The questions of an audit, as plain values.

    Args:
        model: a recipe of the zoo, or `module:function` that returns an `nn.Module` (runs that code).
            None trains a VAE and a classifier on the data, and audits both.
        data: as for `trompe.data.load`.
        defense: `"reconstruct"`, `"magnet"`, or `module:function`, given `classifier`, that returns the
            defended model.
        autoencoder: recipe or `module:function`; what the first two reconstruct with. None trains one.
        scale: deviations of the posterior that `"reconstruct"` draws at inference; 0 takes the mean.
        input_noise: deviation of the noise that `"reconstruct"` adds to its input, in the input's units.
        fpr: share of clean images that the detectors of `"magnet"` may refuse together; None is 0.01.
        eps: radii of the robust-accuracy curve, in the units of the input; None chooses by the data.
        norm: of these radii.
        n: test examples; None chooses by the data, or by `budget`.
        budget: seconds that the audit may take; the number of examples is chosen to fit.
        seed: of every random draw.
        draws: looks at a random model.
        device, precision: where and how searches run; `"auto"` is bfloat16 where hardware multiplies it.
        out: the folder of the report.
        resume: go on with what an interrupted audit left there.
        data_root: where published data sets lie.
    """

    model: str | None = None
    data: str = "digits"
    defense: str | None = None
    autoencoder: str | None = None
    scale: float = 0.0
    input_noise: float = 0.0
    fpr: float | None = None
    eps: tuple[float, ...] = ()
    norm: Norm = "Linf"
    n: int | None = None
    budget: float | None = None
    seed: int = 0
    draws: int = 20
    device: str = "cpu"
    precision: str = "float32"
    out: Path = Path("trompe-report")
    resume: bool = False
    data_root: Path | None = field(default=None)

    def __post_init__(self) -> None:
        if any(not (e > 0 and math.isfinite(e)) for e in self.eps):
            raise UserError(f"eps must be positive radii, got {list(self.eps)}")
        Ball(0.0, self.norm)
        if self.n is not None and self.n < 1:
            raise UserError("n must be at least 1")
        if self.budget is not None and not self.budget > 0:
            raise UserError("the budget must be a positive time")
        if self.draws < 1:
            raise UserError("draws must be at least 1")
        if self.precision not in ("float32", "bf16", "auto"):
            raise UserError(f"precision must be float32, bf16 or auto, got {self.precision!r}")
        self._check_defense()

    def _check_defense(self) -> None:
        if self.autoencoder is not None and self.defense not in BUILT:
            raise UserError(
                "--autoencoder is what --defense reconstruct or magnet reconstructs with; give both"
            )
        for option, value in (("--scale", self.scale), ("--input-noise", self.input_noise)):
            if not 0 <= value < math.inf:
                raise UserError(f"{option} must be zero or more, got {value}")
            if value and self.defense != "reconstruct":
                raise UserError(f"{option} is a setting of --defense reconstruct; give both")
        if self.fpr is None:
            return
        if not 0 < self.fpr < 1:
            raise UserError(f"--fpr must lie between 0 and 1, got {self.fpr}")
        if self.defense != "magnet":
            raise UserError("--fpr sets the thresholds of --defense magnet; give both")

    def settings(self) -> dict[str, Any]:
        """The plan as a report shows it."""
        shown = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("out", "resume")
        }
        return {k: str(v) if isinstance(v, Path | tuple) else v for k, v in shown.items()}


def radii(plan: Plan, data: Dataset) -> tuple[float, ...]:
    """The radii of the curve: the plan's, or those usual for the data and norm.

    Images of a published set take theirs; other colour images 1/255 to 8/255. In L2 and L1 a radius
    stands for as large a part of the space: a quarter of sqrt(d) and of d times the Linf radius.
    """
    if plan.eps:
        return tuple(sorted(set(plan.eps)))
    source = plan.data.partition("[")[0]  # some classes of it are as hard to see as all
    usual = _RADII.get(source, _COLOUR if data.shape[0] == 3 else (0.05, 0.1, 0.2, 0.3))
    size = math.prod(data.shape)
    factor = {"Linf": 1.0, "L2": math.sqrt(size) / 4, "L1": size / 16}[plan.norm]
    return tuple(float(f"{e * factor:.3g}") for e in usual)
