"""Options of a radio link's audit, and what they are refused beside."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from trompe.cli.command import option
from trompe.cli.files import require_folder
from trompe.cli.values import duration, levels
from trompe.core.errors import UserError

if TYPE_CHECKING:
    from trompe.audit import LinkPlan
    from trompe.reports import Metric, Report

__all__ = ["Blocks", "Comms", "Psr", "Snr", "check_options", "link_plan", "received"]

SHARED = ("comms", "psr", "snr", "blocks", "seed", "out", "resume", "budget", "fail_under")
"""What the audit of a link takes."""
_OWN = ("psr", "snr", "blocks")
_RECEIVED = re.compile(r".+: blocks received at PSR (?P<psr>\S+) dB")

Comms = Annotated[
    str | None,
    option(
        "Audit a radio link instead: mlp-N-K or cnn-N-K, which is trained at once (K bits in N channel "
        "uses, as mlp-7-4), hamming-7-4, or module:function, which runs your code and returns a link: an "
        "nn.Module with uses, bits, transmit and receive. Options about images have no place beside it.",
        metavar="LINK",
        default="none",
    ),
]
Psr = Annotated[
    str | None,
    option(
        "Powers of the attackers of --comms, in dB relative to the link's own, such as -10,-6,-2.",
        metavar="LEVELS",
        default="-10,-6,-2",
    ),
]
Snr = Annotated[
    str | None,
    option(
        "Eb/N0 of the curves of --comms, in dB: START:STOP:STEP or a list.",
        metavar="LEVELS",
        default="0:14:1",
    ),
]
Blocks = Annotated[
    int | None,
    option(
        "The most blocks that are sent for a point with --comms; 100 errors are enough.",
        metavar="N",
        default="1000000",
    ),
]


def check_options(given: Iterable[str], linked: bool) -> None:
    """Refuse options of the one audit beside the other.

    Args:
        given: fields that are not at their default.
        linked: whether a link is audited.

    Raises:
        UserError: with what to leave out.
    """
    for name in given:
        written = f"--{name.replace('_', '-')}"
        if linked and name not in SHARED:
            taken = ", ".join(f"--{own.replace('_', '-')}" for own in SHARED[1:])
            raise UserError(
                f"{written} is about a model of images; leave it or --comms out (a link takes {taken})"
            )
        if not linked and name in _OWN:
            raise UserError(f"{written} is a setting of --comms; give both")


def link_plan(
    comms: str,
    psr: str | None,
    snr: str | None,
    blocks: int | None,
    budget: str | None,
    seed: int,
    out: Path,
    resume: bool,
) -> "LinkPlan":
    """What the options ask for.

    Raises:
        UserError: an option that cannot be read, or is out of range.
    """
    from trompe.audit import LinkPlan

    given = {
        "psr": None if psr is None else levels(psr, "--psr"),
        "snr": None if snr is None else levels(snr, "--snr"),
        "blocks": blocks,
        "budget": None if budget is None else duration(budget),
    }
    known = {name: value for name, value in given.items() if value is not None}
    return LinkPlan(comms, seed=seed, out=require_folder(out), resume=resume, **known)  # type: ignore[arg-type]


def received(report: "Report") -> "Metric | None":
    """The metric that `--fail-under` judges: the share of blocks that arrive, at the largest power."""
    named = ((metric, _RECEIVED.fullmatch(metric.name)) for metric in report.metrics)
    found = [(float(match["psr"]), metric) for metric, match in named if match]
    return max(found, key=lambda pair: pair[0])[1] if found else None
