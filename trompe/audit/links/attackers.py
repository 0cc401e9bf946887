"""Who attacks a link, what each knows, and how each finds its perturbation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from trompe.attacks.arrival import Arrival
from trompe.attacks.goals import misread
from trompe.attacks.universal import MISLEAD, MISREAD, Perturbation
from trompe.attacks.universal_search import IterativeUniversal, PrincipalUniversal, direct
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.data import Messages, Stream
from trompe.models import Link, radius_of

__all__ = ["ATTACKERS", "JAMMING", "Attacker", "Vector", "at_power", "learned"]

JAMMING = "The attacker knows nothing, and sends noise of that power, drawn anew for each block."
_VECTOR = "adds one vector to every block, the same for all messages."
_LATE = (
    "It knows neither the sign of the carrier nor where a block begins: the vector arrives with a random "
    "sign and a random cyclic delay."
)
_STEPS, _BATCH, _STARTS = 200, 300, 6
_SEEN, _PAIRS, _SAME = 256, 32, 1e-4  # blocks compared, pairs kept, and a length that is none

Vector = tuple[str, list[float]]
"""The way in which it was found, and its numbers."""


@dataclass(frozen=True)
class Attacker:
    """What an attacker has.

    Args:
        name: as a figure calls it.
        knows: whether the vector was learned on the link itself; else on a substitute.
        synchronised: whether it arrives as it was sent.
        threat: the same in words.
    """

    name: str
    knows: bool
    synchronised: bool
    threat: str

    def arrival(self, uses: int) -> Arrival:
        """How its vector meets a block."""
        return Arrival() if self.synchronised else Arrival(sign=True, shift="time", uses=uses)


_WHITE = f"The attacker knows the link's weights and {_VECTOR}"
_BLACK = (
    "The attacker knows n, k and how such links are trained, but not this one's weights. It learns on a "
    f"substitute of its own, and {_VECTOR}"
)
ATTACKERS = (
    Attacker("white box", True, True, f"{_WHITE} It hits each block in time."),
    Attacker("white box, unsynchronised", True, False, f"{_WHITE} {_LATE}"),
    Attacker("black box", False, True, f"{_BLACK} It hits each block in time."),
    Attacker("black box, unsynchronised", False, False, f"{_BLACK} {_LATE}"),
)
"""From who knows most to who knows least."""


def learned(link: Link, psr: float, snr: float, seed: int) -> tuple[list[Vector], str]:
    """What each way of searching finds on a link, and which found nothing, and why.

    Args:
        link: what the attacker has.
        psr: its power, in dB.
        snr: Eb/N0 at which it learns, in dB.
        seed: of the messages, the noise and the first vector.

    Returns:
        The vectors, each at that power exactly, with the way's name; and a sentence, or none.
    """
    found: list[Vector] = []
    refused: dict[str, None] = {}
    for way, search in _ways(Ball(radius_of(psr, link.uses), "L2"), link.uses):
        messages = Stream(Messages(link.bits), _BATCH, seed=seed)
        try:
            got = search(link.receiver, messages, head=link.heard(snr), seed=seed)
        except UserError as error:
            refused[f"{way}: {error}"] = None
            continue
        found.append((way, at_power(got.delta[0].detach(), psr, link.uses).tolist()))
    for delta in _nearest(link):
        found.append(
            ("from one block towards its nearest", at_power(delta, psr, link.uses).tolist())
        )
    return found, "; ".join(refused)


@torch.no_grad()
def _nearest(link: Link) -> Tensor:
    """The shortest ways from one block to another, `(P, dimensions)`: what an error of a code is."""
    words = link.codebook()[:_SEEN]
    ways = (words - words[:, None]).flatten(0, 1)
    length = ways.norm(dim=1)
    ways = ways[length > _SAME * length.max()]
    unique: Tensor = ways.round(decimals=4).unique(dim=0)
    nearest = unique.norm(dim=1).argsort(stable=True)
    return unique[nearest[:_PAIRS]]


def _ways(ball: Ball, uses: int) -> Iterator[tuple[str, Callable[..., Perturbation]]]:
    """Each way of searching; descent goes side by side from several starts."""
    forms = {"": Arrival(), " over all arrivals": Arrival(sign=True, shift="time", uses=uses)}
    goals = {"error": MISREAD, "error of sharpened scores": misread(4.0), "loss": MISLEAD}
    for told, goal in goals.items():
        for form, arrival in forms.items():
            search = direct(ball, restarts=_STARTS, steps=_STEPS, goal=goal, arrival=arrival)
            yield f"expected {told}{form}, descended", search.fit
    yield "steps that each mislead one more (algorithm 1)", IterativeUniversal(ball).fit
    yield "what they have in common (algorithm 2)", PrincipalUniversal(ball).fit


def at_power(delta: Tensor, psr: float, uses: int, dimensions: int | None = None) -> Tensor:
    """A vector brought to a power exactly; of one for 2n numbers what a link of n listens to, in phase.

    >>> round(at_power(torch.tensor([3.0, 4.0]), 0.0, 2).norm().square().item(), 6)
    2.0
    """
    delta = delta[:dimensions].double()
    size = delta.norm().clamp_min(torch.finfo(torch.float64).tiny)
    full: Tensor = delta * (radius_of(psr, uses) / size)
    return full.float()
