"""A link on the bench: what is measured and learned, each piece once, and kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch

from trompe.attacks.arrival import Jamming
from trompe.attacks.universal import Perturbation
from trompe.audit.links.attackers import ATTACKERS, Attacker, Vector, at_power, learned
from trompe.audit.links.plan import LinkPlan
from trompe.audit.part import Progress, Store
from trompe.evaluation.block_error import Condition, Count, Interference, block_errors, curves
from trompe.models import HAMMING_7_4, BlockCode, Link, radius_of
from trompe.reports import Cell

__all__ = ["ENOUGH", "Bench", "Levels"]

Levels = dict[float, Count]
"""Block errors by a level in dB, of noise or of power."""
ENOUGH = 100
"""Errors at which a point is known well enough; a curve ends with its first point of fewer."""
_USUAL = 1e-3  # block error rate at which attackers learn and are compared
_TRIED = 30_000  # blocks on which an attacker compares its vectors
_STEP, _BELOW, _ABOVE, _JAMMED = 2.0, 8.0, 4.0, 14.0  # dB: around the powers that were asked for
_CHOICE, _OTHER = 7919, 1  # seeds apart: draws to choose on, and the substitute


@dataclass
class Bench:
    """What the parts of the audit share.

    Args:
        name: of the link.
        link: in eval mode.
        plan: what is asked.
        substitute: makes the link that a black-box attacker has; None where it can have none.
        blocks: the most for a point.
        store: keeps finished pieces.
        progress: told what is running.
    """

    name: str
    link: Link
    plan: LinkPlan
    substitute: Callable[[], Link] | None
    blocks: int
    store: Store
    progress: Progress | None = None
    refused: dict[str, None] = field(default_factory=dict)
    counted: dict[str, Cell] = field(default_factory=lambda: {"blocks": 0})

    def tell(self, text: str) -> None:
        """Say what is running."""
        if self.progress is not None:
            self.progress(0, None, f"{self.name}: {text}")

    # ------------------------------------------------------------------- the clean link

    @cached_property
    def clean(self) -> Levels:
        """The link without an attacker, over Eb/N0."""
        return self._curves("clean", self.link, self.plan.snr, {"clean": None})["clean"]

    @cached_property
    def hamming(self) -> Levels:
        """Hamming's (7, 4) code at its best, beside an autoencoder of its n and k; else empty."""
        if (self.link.uses, self.link.bits) != (7, 4) or isinstance(self.link, BlockCode):
            return {}
        code = BlockCode(HAMMING_7_4, fading=self.link.fading).eval()
        return self._curves("hamming", code, self.plan.snr, {"clean": None})["clean"]

    @cached_property
    def reference(self) -> float:
        """The Eb/N0 at which attackers learn and are compared: about one block in a thousand is lost."""
        known = {snr: count for snr, count in self.clean.items() if count.errors >= ENOUGH}
        if not known:
            return min(self.clean)
        low = [snr for snr, count in known.items() if count.rate <= _USUAL]
        return min(low) if low else max(known)

    # ------------------------------------------------------------------- the attackers

    @cached_property
    def own(self) -> Link:
        """What a black-box attacker learns on."""
        assert self.substitute is not None
        self.tell("the attacker trains a substitute")
        return self.substitute().eval()

    @cached_property
    def attackers(self) -> tuple[Attacker, ...]:
        """Those who find a vector at every power."""
        known = (who for who in ATTACKERS if who.knows or self.substitute is not None)
        return tuple(
            who for who in known if all(self.candidates(who.knows, psr) for psr in self.plan.psr)
        )

    def candidates(self, knows: bool, psr: float) -> list[Vector]:
        """The vectors that were learned at one power, on the link or on the substitute."""
        who = "white" if knows else "black"

        def make() -> tuple[list[Vector], str]:
            link = self.link if knows else self.own
            self.tell(f"a {who}-box vector at a PSR of {psr:g} dB")
            return learned(link, psr, self.reference, self.plan.seed)

        found, refused = self.store.get(f"learned-{who}-{psr:g}", make)
        if refused:
            self.refused[f"Some searches on {self.name} found no vector ({refused})."] = None
        return found  # type: ignore[no-any-return]

    def chosen(self, attacker: Attacker, psr: float) -> Vector:
        """The strongest vector by what the attacker can see: its own link, other draws than are reported."""
        name = f"chosen-{attacker.name.replace(',', '').replace(' ', '-')}-{psr:g}"
        way, delta = self.store.get(name, partial(self._choose, attacker, psr))
        return way, delta

    def _choose(self, attacker: Attacker, psr: float) -> Vector:
        found = self.candidates(attacker.knows, psr)
        link = self.link if attacker.knows else self.own
        arrival = attacker.arrival(link.uses)
        met = {
            place: Condition(self.reference, Perturbation(torch.tensor([delta]), arrival=arrival))
            for place, (_, delta) in enumerate(found)
        }
        seed = self.plan.seed + _CHOICE
        counts = block_errors(link, met, blocks=_TRIED, errors=_TRIED, seed=seed)
        return found[max(counts, key=lambda place: counts[place].rate)]

    def interference(self, attacker: Attacker, psr: float) -> Perturbation:
        """What an attacker of some power sends: the vector learned at the nearest power, at this one."""
        nearest = min(self.plan.psr, key=lambda known: abs(known - psr))
        delta = torch.tensor(self.chosen(attacker, nearest)[1])
        there = at_power(delta, psr, self.link.uses, self.link.dimensions)
        return Perturbation(there[None], arrival=attacker.arrival(self.link.uses))

    # ------------------------------------------------------------------- what they do

    @property
    def powers(self) -> list[float]:
        """PSRs of the curves over power: around those that were asked for, and these."""
        low, high = self.plan.psr[0] - _BELOW, self.plan.psr[-1] + _ABOVE
        steps = range(int((high - low) / _STEP) + 1)
        return sorted({*self.plan.psr, *(low + _STEP * step for step in steps)})

    @cached_property
    def swept(self) -> dict[str, Levels]:
        """At the reference Eb/N0, over power: each attacker, and jamming up to higher powers."""
        high = self.powers[-1]
        beyond = [high + _STEP * (k + 1) for k in range(int((_JAMMED - _ABOVE) / _STEP))]
        met: dict[str, dict[float, Interference]] = {
            who.name: {psr: self.interference(who, psr) for psr in self.powers}
            for who in self.attackers
        }
        met["jamming"] = {psr: self._jamming(psr) for psr in [*self.powers, *beyond]}
        conditions = {
            f"{name}|{psr:g}": Condition(self.reference, sent)
            for name, levels in met.items()
            for psr, sent in levels.items()
        }
        kept = self.store.get("swept", partial(self._counted, conditions))
        return {
            name: {psr: Count(*kept[f"{name}|{psr:g}"]) for psr in levels}
            for name, levels in met.items()
        }

    def _counted(self, conditions: Mapping[str, Condition]) -> dict[str, tuple[int, int]]:
        self.tell("every attacker at every power")
        counts = block_errors(
            self.link, conditions, blocks=self.blocks, errors=ENOUGH, seed=self.plan.seed
        )
        return self._kept(counts)

    def over_noise(self, psr: float) -> dict[str, Levels]:
        """At one power, over Eb/N0: each attacker, and jamming."""
        met: dict[str, Interference] = {
            who.name: self.interference(who, psr) for who in self.attackers
        }
        met["jamming"] = self._jamming(psr)
        return self._curves(f"noise-{psr:g}", self.link, self.plan.snr, met)

    def _kept(self, counts: Mapping[Any, Count]) -> dict[str, tuple[int, int]]:
        """Counts as JSON holds them."""
        self.counted["blocks"] = sum(
            (c.blocks for c in counts.values()), int(self.counted["blocks"] or 0)
        )
        return {str(key): (count.errors, count.blocks) for key, count in counts.items()}

    def _jamming(self, psr: float) -> Jamming:
        return Jamming(radius_of(psr, self.link.uses))

    def _curves(
        self, name: str, link: Link, levels: tuple[float, ...], met: Mapping[str, Any]
    ) -> dict[str, Levels]:
        """Curves over Eb/N0, kept."""

        def make() -> dict[str, dict[str, tuple[int, int]]]:
            self.tell("block error rates over Eb/N0")
            found = curves(
                link, levels, met, blocks=self.blocks, errors=ENOUGH, seed=self.plan.seed
            )
            return {label: self._kept(curve) for label, curve in found.items()}

        return {
            label: {float(snr): Count(*count) for snr, count in curve.items()}
            for label, curve in self.store.get(name, make).items()
        }
