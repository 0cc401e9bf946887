"""Hamming's (7, 4) code beside the autoencoder, each under its own best attack.

Clean: maximum-likelihood and hard decoding against what theory says of them. Under attack: what the paper
measured, where the code meets the autoencoder's perturbation at half its power; and what it did not, where
the whole power is spent in phase, which is all that BPSK listens to, and in a direction made for the code:
that between two codewords, in closed form, and the direct optimiser's. Last, both links at equal power.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.comms._links import CLEAN, DIRECT, JAMMING, Attack, Radio, jamming, scaled
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.attacks.universal import Perturbation
    from trompe.evaluation.block_error import Condition, Interference
    from trompe.evaluation.records import Record
    from trompe.models import Link

__all__ = [
    "BETWEEN",
    "BORROWED",
    "FULL",
    "HALF",
    "HARD",
    "ML",
    "MORE",
    "NEAREST",
    "PUBLISHED",
    "SCALES",
    "THEORY",
    "Config",
    "pictures",
    "render",
    "run",
]

ML, HARD = "hamming-ml", "hamming-hard"
BORROWED, BETWEEN = "the autoencoder's perturbation", "between two codewords"
FULL, HALF = 1.0, 0.5
"""The share of the power that is spent in phase."""
THEORY = {ML: "union bound", HARD: "closed form"}
MORE, NEAREST = "more than jamming", "cosine to the nearest direction between codewords"
_SOURCE = "Sadeghi & Larsson 2019, read off the authors' plots, +-20%"
PUBLISHED = {
    (ML, CLEAN, 5.0): (3.6e-3, _SOURCE),
    (ML, CLEAN, 7.0): (1.4e-4, _SOURCE),
    (ML, BORROWED, 8.0): (1.3e-3, _SOURCE),
    (ML, JAMMING, 8.0): (1.3e-3, _SOURCE),
}
"""By link, attack and Eb/N0; those under attack at PSR -6 dB, half of it in phase."""
THREATS = {
    CLEAN: "nobody",
    JAMMING: "knows the power that it may spend; a fresh direction with every block",
    BORROWED: "knows another link, the autoencoder: what is in phase of a perturbation made for that",
    BETWEEN: "knows the code and the noise: of all directions between two codewords the one of most errors",
    DIRECT: "knows the receiver and the noise; one perturbation for every message",
}


@dataclass(frozen=True)
class Config:
    """What is sent, and how it is attacked.

    Args:
        radio: the autoencoder, of the code's n and k; `schedule` is that of its training.
        levels: Eb/N0 in dB of the clean code.
        snr, psr: where the code is attacked, in dB.
        psrs: powers at which both links stand side by side, at `snr`.
        both: Eb/N0 at which they do, at `psr`.
        steps: of the direct optimiser, from each of its starts.
        blocks: sent at most for a point; `errors` are enough.
        seed: of the training, the attackers and the noise.
    """

    radio: str = "mlp-7-4"
    schedule: str = "reduced"
    levels: tuple[float, ...] = tuple(map(float, range(9)))
    snr: float = 8.0
    psr: float = -6.0
    psrs: tuple[float, ...] = (-10.0, -6.0, -2.0)
    both: tuple[float, ...] = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
    steps: int = 200
    blocks: int = 10_000_000
    errors: int = 400
    seed: int = 0


SCALES = {
    "smoke": Config(
        schedule="tiny", levels=(0.0, 5.0), psrs=(-6.0,), both=(4.0, 8.0), steps=10,
        blocks=20_000, errors=20,
    ),
    "cpu": Config(),
    "paper": Config(
        schedule="published", both=tuple(map(float, range(15))), blocks=100_000_000, errors=2000
    ),
}  # fmt: skip


def run(config: Config, store: Store) -> Iterator["Record"]:
    """The code when clean and when attacked, and both links at each power and each Eb/N0."""
    points = [(config.snr, psr) for psr in config.psrs]
    points += [(snr, config.psr) for snr in config.both if (snr, config.psr) not in points]
    store.total = 2 + len(points)
    yield from store.cell("clean", lambda: _clean(config))
    yield from store.cell("attacked", lambda: _attacked(config))
    for at in points:
        name = f"side by side at {at[0]:g} dB, PSR {at[1]:g} dB"
        yield from store.cell(name, lambda at=at: _both(config, *at))  # type: ignore[misc]


# --------------------------------------------------------------------------- attackers


def _power(psr: float, share: float = FULL) -> float:
    """The PSR of a share of the power."""
    return psr + 10 * math.log10(share)


def _direct(config: Config, snr: float, psr: float) -> "Perturbation":
    """The direct optimiser on the code, whose scores over the noise's variance are log-likelihoods."""
    from torch import nn

    from trompe.attacks.universal_search import direct
    from trompe.core.geometry import Ball
    from trompe.data import Messages, Stream
    from trompe.models import radius_of

    link = Radio(ML).model
    scale = link.channel_at(snr).deviation ** -2

    class Likelihood(nn.Module):
        """What the receiver's scores say of each codeword, in nats."""

        def __init__(self) -> None:
            super().__init__()
            self.receiver = link.receiver

        def forward(self, y: "Tensor") -> "Tensor":
            return scale * self.receiver(y)  # type: ignore[no-any-return]

    how = direct(Ball(radius_of(psr, link.uses), "L2"), steps=config.steps)
    batches = Stream(Messages(link.bits), size=300, seed=config.seed)
    found = how.fit(Likelihood().eval(), batches, head=link.heard(snr), seed=config.seed)
    return scaled(found, psr, link.uses)


def _against_code(
    config: Config, snr: float, psr: float, share: float = FULL
) -> "dict[str, Interference]":
    """Everybody who attacks the code, with this share of the power in phase."""
    from trompe.attacks.universal import Perturbation
    from trompe.experiments.comms._codewords import between
    from trompe.models import radius_of

    link, power = Radio(ML).model, _power(psr, share)
    victim = Radio(config.radio, config.schedule, config.seed)
    made = Attack(DIRECT, psr, snr, steps=config.steps, seed=config.seed).on(victim)
    heard = Perturbation(made.delta.detach()[:, : link.uses])
    return {
        JAMMING: jamming(power, link.uses),
        BORROWED: scaled(heard, power, link.uses),
        BETWEEN: Perturbation(between(link, snr, radius_of(power, link.uses))[None]).eval(),
        DIRECT: _direct(config, snr, power),
    }


# --------------------------------------------------------------------------- cells


def _counts(
    config: Config, link: "Link", met: "dict[Any, Condition]", seed: int
) -> "dict[Any, Any]":
    from trompe.evaluation.block_error import block_errors

    return block_errors(link, met, blocks=config.blocks, errors=config.errors, seed=seed)


def _clean(config: Config) -> Iterator["Record"]:
    """Both decoders at each level, and what theory says."""
    from trompe.evaluation.block_error import Condition
    from trompe.evaluation.records import Record
    from trompe.experiments.comms._codewords import hard_errors, union_bound

    for name, told in ((ML, union_bound), (HARD, hard_errors)):
        link = Radio(name).model
        met = {snr: Condition(snr) for snr in config.levels}
        for snr, count in _counts(config, link, met, config.seed).items():
            about: dict[str, Any] = {"subject": name, "extra": {"snr": snr}}
            yield count.record(threat=THREATS[CLEAN], **about)
            yield Record(THEORY[name], told(link, snr), link.messages, **about)


def _attacked(config: Config) -> Iterator["Record"]:
    """The code under each attacker, at the whole power in phase and at half of it."""
    from trompe.evaluation.block_error import Condition, compared

    link = Radio(ML).model
    for share in (FULL, HALF):
        met = _against_code(config, config.snr, config.psr, share)
        conditions = {name: Condition(config.snr, sent) for name, sent in met.items()}
        for name, count in _counts(config, link, conditions, config.seed).items():
            extra = {"snr": config.snr, "psr": config.psr, "share": share}
            about: dict[str, Any] = {"subject": ML, "attack": name, "threat": THREATS[name]}
            yield count.record(extra=extra, **about)
            if name != JAMMING:
                pair = conditions[name], conditions[JAMMING]
                yield compared(
                    link, *pair, metric=MORE, blocks=config.blocks, errors=config.errors,
                    seed=config.seed, extra=extra, **about,
                )  # fmt: skip
                yield from _told(link, met[name], extra, about)


def _told(
    link: "Link", sent: "Interference", extra: dict[str, float], about: dict[str, Any]
) -> Iterator["Record"]:
    """What theory says of a perturbation, and how near it is to a direction between codewords."""
    from trompe.attacks.universal import Perturbation
    from trompe.evaluation.records import Record
    from trompe.experiments.comms._codewords import along, union_bound

    assert isinstance(sent, Perturbation)
    shift = sent.delta.detach()[0]
    yield Record(
        THEORY[ML], union_bound(link, extra["snr"], shift), link.messages, extra=extra, **about
    )
    cosine, bits = along(link, shift)
    yield Record(NEAREST, cosine, 1, extra={**extra, "bits": bits}, **about)


def _both(config: Config, snr: float, psr: float) -> Iterator["Record"]:
    """Both links, clean, jammed and under attacks made for them, with the whole power where it is heard."""
    from trompe.evaluation.block_error import Condition

    radio = Radio(config.radio, config.schedule, config.seed)
    own = Attack(DIRECT, psr, snr, steps=config.steps, seed=config.seed).on(radio)
    code = _against_code(config, snr, psr)
    met: dict[Radio, dict[str, Any]] = {
        radio: {CLEAN: None, JAMMING: jamming(psr, radio.model.uses), DIRECT: own},
        Radio(ML): {CLEAN: None, **{name: code[name] for name in (JAMMING, BETWEEN, DIRECT)}},
    }
    for place, (who, sent) in enumerate(met.items()):
        conditions = {name: Condition(snr, what) for name, what in sent.items()}
        for name, count in _counts(config, who.model, conditions, config.seed + place).items():
            yield count.record(
                subject=str(who),
                attack=name,
                threat=THREATS[name],
                extra={"snr": snr, "psr": psr},
                config={"side by side": True},
            )


def render(records: Iterable["Record"]) -> str:
    """The clean code beside theory, the code under attack, and both links side by side."""
    from trompe.experiments.comms._hamming_page import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """Both links over Eb/N0: clean, jammed, and under the best attack on each."""
    from trompe.experiments.comms._hamming_page import pictured

    return pictured(list(records))
