"""Interleaved timing: each contender runs once a round, so that a slow moment slows all alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Contender", "Timing", "interleaved", "ratio"]


@dataclass(frozen=True)
class Contender:
    """Something to be timed.

    Args:
        name: what it is called in the table.
        run: the work; what it returns is kept from the first, untimed call.
        once: too slow for rounds: its first call is the one that is timed.
    """

    name: str
    run: Callable[[], Any]
    once: bool = False


@dataclass
class Timing:
    """The processor seconds of each round, and what the first call returned."""

    seconds: list[float] = field(default_factory=list)
    result: Any = None

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.seconds)


def interleaved(contenders: Sequence[Contender], rounds: int) -> dict[str, Timing]:
    """Processor seconds of each contender in each round, after a first call of each, to warm up.

    The order rotates from round to round. Processor time of one thread is wall time on a quiet machine,
    and stays meaningful on a busy one.
    """
    timings = {contender.name: Timing() for contender in contenders}
    for contender in contenders:
        start = time.process_time()
        timings[contender.name].result = contender.run()
        if contender.once:
            timings[contender.name].seconds.append(time.process_time() - start)
    for number in range(rounds):
        turn = number % len(contenders)
        for contender in (*contenders[turn:], *contenders[:turn]):
            if not contender.once:
                start = time.process_time()
                contender.run()
                timings[contender.name].seconds.append(time.process_time() - start)
    return timings


def ratio(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """The median, least and largest of the rounds' ratios."""
    each = [a / b for a, b in zip(one, other, strict=False)]
    return statistics.median(each), min(each), max(each)
