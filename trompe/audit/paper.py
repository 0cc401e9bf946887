"""What has been measured so far, as a report."""

import os
import platform
import time
from dataclasses import dataclass

import torch

from trompe.audit.part import Part
from trompe.audit.plan import Plan
from trompe.core.execution import Cost
from trompe.evaluation.records import versions
from trompe.reports import SEVERITIES, Report, now

__all__ = ["Paper"]


@dataclass
class Paper:
    """Turns what has been measured so far into a report."""

    plan: Plan
    command: str
    images: int
    start: float

    def report(self, part: Part, spent: Cost, left: list[str]) -> Report:
        """The report, partial while anything is left."""
        partial = bool(left) or not part.complete
        missing = f"Not measured: {', '.join(left)}." if left else ""
        if not left and partial:
            missing = "The time ran out before everything was measured; what was measured stands."
        what = self.plan.model or "a VAE and a classifier trained for the audit"
        worst = sorted(part.findings, key=lambda f: SEVERITIES.index(f.severity))
        return Report(
            title=f"Audit of {what}",
            subject=f"{what}, on {self.images} images of {self.plan.data}",
            command=self.command,
            created=now(),
            summary=" ".join(f.headline for f in worst[:3]) or "Nothing has been measured yet.",
            findings=tuple(part.findings),
            sections=tuple(part.sections),
            metrics=tuple(part.metrics),
            doctor=tuple(part.doctor),
            verdict="\n\n".join(part.verdicts),
            cost={
                "seconds": round(time.monotonic() - self.start, 1),
                "forward passes": spent.forwards,
                "backward passes": spent.backwards,
                "images": self.images,
            },
            untested=tuple(dict.fromkeys((*part.untested, *_UNTESTED))),
            settings=self.plan.settings(),
            environment={**versions(), "device": self.plan.device, "threads": torch.get_num_threads(),
                         "processor": platform.machine(), "cores": os.cpu_count() or 0},
            partial=partial,
            missing=missing,
        )  # fmt: skip


_UNTESTED = (
    "Attackers who change training data or weights.",
    "Changes that no norm describes: rotation, lighting, other styles.",
    "Images of another source than the data named above.",
)
