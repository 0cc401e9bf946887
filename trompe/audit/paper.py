"""What has been measured so far, as a report that is written after each part."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trompe.audit.part import Part
from trompe.core.errors import UserError
from trompe.core.execution import Cost, metered
from trompe.evaluation.records import versions, write_records
from trompe.reports import SEVERITIES, Cell, Report, now, write

__all__ = ["Paper", "check_folder", "conduct"]


@dataclass
class Paper:
    """Turns what has been measured so far into a report.

    Args:
        what: what is examined.
        subject: the same with what it is examined on.
        command: what repeats the run.
        settings: of the plan.
        counted: what it was examined on in numbers, as `{"images": 500}`.
        untested: what an audit of this kind never tests.
        device: where it computes.
    """

    what: str
    subject: str
    command: str
    settings: dict[str, Any]
    counted: dict[str, Cell]
    untested: tuple[str, ...]
    device: str = "cpu"
    start: float = field(default_factory=time.monotonic)

    def report(self, part: Part, spent: Cost, left: list[str]) -> Report:
        """The report, partial while anything is left."""
        partial = bool(left) or not part.complete
        missing = f"Not measured: {', '.join(left)}." if left else ""
        if not left and partial:
            missing = "The time ran out before everything was measured; what was measured stands."
        worst = sorted(part.findings, key=lambda f: SEVERITIES.index(f.severity))
        return Report(
            title=f"Audit of {self.what}",
            subject=self.subject,
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
                **({"forward passes": spent.forwards} if spent.forwards else {}),
                **({"backward passes": spent.backwards} if spent.backwards else {}),
                **self.counted,
            },
            untested=tuple(dict.fromkeys((*part.untested, *self.untested))),
            settings=self.settings,
            environment={**versions(), "device": self.device, "threads": torch.get_num_threads(),
                         "processor": platform.machine(), "cores": os.cpu_count() or 0},
            partial=partial,
            missing=missing,
        )  # fmt: skip


def conduct(jobs: Mapping[str, Callable[[], Part]], paper: Paper, out: Path) -> Report:
    """Do one part after another and write the report after each; interrupted (Ctrl-C), a partial one.

    Args:
        jobs: by the name under which a report says that one is missing.
        out: the folder of the report.
    """
    whole, done = Part(), list[str]()
    with metered() as spent:
        try:
            for name, job in jobs.items():
                whole += job()
                done.append(name)
                left = [other for other in jobs if other not in done]
                write(paper.report(whole, spent, left), out)
        except KeyboardInterrupt:
            pass
    left = [name for name in jobs if name not in done]
    report = paper.report(whole, spent, left)
    write(report, out)
    write_records(out / "records.json", whole.records)
    return report


def check_folder(out: Path) -> None:
    """Refuse a file where a folder is to be.

    Raises:
        UserError: it is one.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; --out must be a folder")
