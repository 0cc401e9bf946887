"""Other rates, another activation, and a fading channel.

The further studies of the authors' repository: 1, 1.5 and 2 bits per channel use, ReLU in place of ELU, and
Rayleigh fading in training and in use, beside the (7, 4) radio. Each is measured clean, jammed, and attacked
by who knows it, with one perturbation for all levels of noise. Fading turns and scales each channel use; the
receiver divides by it, and so the perturbation, on the transmitter's own path, arrives as it was sent.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.comms._links import CLEAN, DIRECT, JAMMING, Attack, Radio, jamming
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["MORE", "PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

MORE = "more errors than under jamming"
PUBLISHED: dict[str, tuple[float, str]] = {}
"""Their curves are not among the figures that were read."""
THREATS = {
    CLEAN: "nobody",
    JAMMING: "knows the power that it may spend; a fresh direction with every block",
    DIRECT: "knows the receiver; one perturbation for every message, made at the level of the comparison",
}


@dataclass(frozen=True)
class Config:
    """Which radios, and where they are attacked.

    Args:
        names: radios by architecture, n and k; the first is what the others are compared with.
        activations, fadings: in place of the first one's; each makes one more radio.
        schedule: of the trainings.
        snr, psr: where all are compared, in dB; the perturbation is made there.
        levels: Eb/N0 of the curves.
        steps: of the direct optimiser, from each of its starts.
        blocks: sent at most under each condition; `errors` are enough.
        seed: of the trainings, the attackers and the noise.
    """

    names: tuple[str, ...] = ("mlp-7-4", "mlp-4-4", "mlp-4-6", "mlp-4-8")
    activations: tuple[str, ...] = ("relu",)
    fadings: tuple[str, ...] = ("rayleigh",)
    schedule: str = "reduced"
    snr: float = 8.0
    psr: float = -6.0
    levels: tuple[float, ...] = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0)
    steps: int = 200
    blocks: int = 1_000_000
    errors: int = 200
    seed: int = 0

    @property
    def radios(self) -> list[Radio]:
        """All radios; the first is the one that others are compared with."""
        made = [Radio(name, self.schedule, self.seed) for name in self.names]
        first = self.names[0], self.schedule, self.seed
        made += [Radio(*first, activation=each) for each in self.activations]
        return made + [Radio(*first, fading=each) for each in self.fadings]


SCALES = {
    "smoke": Config(
        ("mlp-7-4", "mlp-2-2"),
        (),
        (),
        "tiny",
        levels=(0.0, 8.0),
        steps=10,
        blocks=16_000,
        errors=20,
    ),
    "cpu": Config(),
    "paper": Config(schedule="published", blocks=10_000_000, errors=1000),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """A cell for each radio."""
    store.total = len(config.radios)
    for radio in config.radios:
        yield from store.cell(str(radio), lambda radio=radio: _measured(config, radio))  # type: ignore[misc]


def _counting(config: Config) -> dict[str, Any]:
    return {"blocks": config.blocks, "errors": config.errors, "seed": config.seed}


def _measured(config: Config, radio: Radio) -> Iterator["Record"]:
    """Clean, jammed and attacked over Eb/N0, and how much more the attack does than jamming."""
    from trompe.evaluation.block_error import Condition, compared, curves

    link, counting = radio.model, _counting(config)
    how = Attack(DIRECT, config.psr, config.snr, steps=config.steps, seed=config.seed)
    jam, attack = jamming(config.psr, link.uses), how.on(radio)
    found = curves(link, config.levels, {CLEAN: None, JAMMING: jam, DIRECT: attack}, **counting)
    about: dict[str, Any] = {"subject": str(radio), "config": {"rate": link.rate}}
    for name, points in found.items():
        for snr, count in points.items():
            yield count.record(
                attack=name, threat=THREATS[name], extra={"snr": snr, "psr": config.psr}, **about
            )
    pair = (Condition(config.snr, attack), Condition(config.snr, jam))
    extra = {"snr": config.snr, "psr": config.psr}
    told: dict[str, Any] = {"attack": DIRECT, "threat": THREATS[DIRECT], "extra": extra}
    yield compared(link, pair[0], pair[1], metric=MORE, **counting, **told, **about)


def render(records: Iterable["Record"]) -> str:
    """All radios at one point, what follows, and their curves."""
    from trompe.experiments.comms._variants_page import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """All radios over Eb/N0: a picture of the clean ones, and one of those under attack."""
    from trompe.experiments.comms._variants_page import pictured

    return pictured(list(records))
