"""The audit of a radio link: find it, say the cost, measure part by part."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial

from torch import nn

from trompe import zoo
from trompe.attacks.universal import MISLEAD, Universal
from trompe.audit.links import attacked, clean, noise
from trompe.audit.links.bench import ENOUGH, Bench
from trompe.audit.links.plan import LinkPlan
from trompe.audit.paper import Paper, check_folder, conduct
from trompe.audit.part import Part, Progress, Store
from trompe.core.errors import UserError
from trompe.core.execution import single_thread
from trompe.core.geometry import Ball
from trompe.core.user_code import call, is_spec, refuse_pickles
from trompe.data import Messages, Stream
from trompe.evaluation.block_error import Condition, block_errors
from trompe.evaluation.cases import fingerprint, weights_digest
from trompe.models import HAMMING_7_4, BlockCode, CommsConfig, Link
from trompe.models.link_adapter import adapt_link
from trompe.reports import Report

__all__ = ["LinkEstimate", "audit_link", "estimate_link", "named_link"]

_HAMMING = "hamming-7-4"
_LARGEST = 8  # bits of a substitute that is trained on the way
_LEAST = 10_000  # blocks of a point, however small the budget
_TIMED = 1 << 16
_STEPS = 10  # of learning, to time one
_LEARNING = 6000  # steps that the vectors of both attackers take at one power
_TRAINING = 12_000  # steps that a substitute takes


@dataclass(frozen=True)
class LinkEstimate:
    """What an audit will cost, before it starts.

    Args:
        blocks: the most for a point.
        seconds: of everything.
        training: of these, a substitute's training takes.
    """

    blocks: int
    seconds: float
    training: float = 0.0

    def __str__(self) -> str:
        first = f", of which training takes {self.training:.0f} s" if self.training > 1 else ""
        return f"About {self.seconds:.0f} s, with at most {self.blocks:,} blocks a point{first}."


def named_link(spec: str, seed: int = 0) -> Link:
    """The link of a name, in eval mode: trained first if need be, or made by the user's code.

    Args:
        spec: as `LinkPlan.comms`.
        seed: of a link that is trained.

    Raises:
        UserError: an unknown name, or what the code returns is no link.

    >>> named_link("hamming-7-4").rate
    0.5714285714285714
    """
    if spec == _HAMMING:
        return BlockCode(HAMMING_7_4).eval()
    if zoo.is_radio(spec):
        return zoo.radio(zoo.radio_named(spec, seed=seed)).eval()
    refuse_pickles(model=spec)
    if not is_spec(spec):
        raise UserError(
            f"unknown link {spec!r}: give mlp-N-K or cnn-N-K, K bits in N channel uses, as in mlp-7-4; "
            f"{_HAMMING}; or module:function"
        )
    made = call(spec)
    if not isinstance(made, nn.Module):
        raise UserError(f"{spec} returned {type(made).__name__}, not a torch.nn.Module")
    return adapt_link(made)


def _substitute(link: Link, seed: int) -> zoo.Radio | None:
    """How an attacker who does not know the link trains one of the same n and k; None if that takes long."""
    if link.bits > _LARGEST:
        return None
    return zoo.Radio(CommsConfig(link.uses, link.bits, fading=link.fading), seed=seed + 1)


@single_thread()
def estimate_link(plan: LinkPlan) -> LinkEstimate:
    """Find the link, time some blocks, and say what the audit will cost and how it fits a budget.

    Raises:
        UserError: a link that does not fit.
    """
    return _estimate(named_link(plan.comms, plan.seed), plan)


def _estimate(link: Link, plan: LinkPlan) -> LinkEstimate:
    each, step = _timed(link)
    substitute = _substitute(link, plan.seed)
    new = substitute is not None and not zoo.path(substitute).exists()
    training = _TRAINING * step if new else 0.0
    fixed = training + len(plan.psr) * _LEARNING * step
    points = 4 + 10 * len(
        plan.psr
    )  # those that end a curve take all their blocks, others a few errors
    blocks = plan.blocks
    if plan.budget is not None:
        room = max(0.0, 0.7 * plan.budget - fixed)
        blocks = min(blocks, max(_LEAST, int(room / (points * each))))
    return LinkEstimate(blocks, fixed + points * blocks * each, training)


def _timed(link: Link) -> tuple[float, float]:
    """Seconds of a block that is sent, and of a step in which a vector is learned."""
    search, messages = Universal(Ball(1.0, "L2"), MISLEAD, steps=_STEPS), Messages(link.bits)
    sent, learned = [], []
    for _ in range(3):  # the first is slower
        start = time.perf_counter()
        block_errors(link, {0: Condition(0.0)}, blocks=_TIMED, errors=_TIMED)
        middle = time.perf_counter()
        with suppress(UserError):  # a receiver without a gradient, of which the doctor speaks
            search.fit(link.receiver, Stream(messages, 1000), head=link.heard(0.0))
        sent.append(middle - start)
        learned.append(time.perf_counter() - middle)
    return min(sent) / _TIMED, min(learned) / _STEPS


@single_thread()
def audit_link(
    plan: LinkPlan,
    *,
    command: str = "",
    progress: Progress | None = None,
    cost: LinkEstimate | None = None,
) -> Report:
    """Examine a radio link and write the report into `plan.out`; after each part, what there is so far.

    Interrupted (Ctrl-C), it writes and returns a partial report; with `resume` it then goes on from there.

    Args:
        plan: what to examine.
        command: what repeats the run, for the report.
        progress: called with (done, total or None, what is running).
        cost: what `estimate_link` said, to be held to; None estimates now.

    Raises:
        UserError: a link, setting or folder that does not fit.
    """
    check_folder(plan.out)
    link = named_link(plan.comms, plan.seed)
    cost = _agreed(plan, link, cost)
    how = _substitute(link, plan.seed)
    bench = Bench(
        plan.comms.rpartition(":")[2] if is_spec(plan.comms) else plan.comms,
        link,
        plan,
        None if how is None else partial(zoo.radio, how, progress=False),
        cost.blocks,
        Store(plan.out / "work", _mark(plan, link, cost), plan.resume),
        progress,
    )
    paper = Paper(
        plan.comms,
        f"{plan.comms}, {link.bits} bits in {link.uses} channel uses",
        command,
        plan.settings(),
        bench.counted,
        _UNTESTED,
    )
    return conduct(
        _jobs(bench, None if plan.budget is None else paper.start + plan.budget), paper, plan.out
    )


def _agreed(plan: LinkPlan, link: Link, cost: LinkEstimate | None) -> LinkEstimate:
    """The cost to be held to: that with which a resumed audit began, as no clock says the same twice."""
    if plan.budget is None:
        return cost or _estimate(link, plan)
    store = Store(plan.out / "work", _mark(plan, link), plan.resume)
    return LinkEstimate(**store.get("cost", lambda: asdict(cost or _estimate(link, plan))))


def _mark(plan: LinkPlan, link: Link, cost: LinkEstimate | None = None) -> str:
    blocks = None if cost is None else (cost.blocks, ENOUGH)
    return fingerprint(settings=plan.settings(), link=weights_digest(link), blocks=blocks)


def _jobs(bench: Bench, deadline: float | None) -> dict[str, Callable[[], Part]]:
    def in_time(examine: Callable[[Bench], Part]) -> Part:
        if deadline is not None and time.monotonic() > deadline:
            return Part(complete=False)
        return examine(bench)

    return {
        "the link without an attacker": lambda: clean.examine(bench),
        "attackers at one level of noise": partial(in_time, attacked.examine),
        "attackers at every level of noise": partial(in_time, noise.examine),
    }


_UNTESTED = (
    "Attackers who change training messages or weights.",
    "Attackers who listen to a block before they answer it, or send another vector for each message.",
    "Channels other than the model that the link states: measured ones, multipath, other fading.",
    "Receivers that adapt to the attack while it lasts.",
)
