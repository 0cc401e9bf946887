"""The ladder beside AutoAttack: is ours at least as strong?

On the same defended classifiers and images: what our ladder leaves standing in the worst case of each image,
with no rung borrowed and no surrogate, and what AutoAttack leaves (Croce & Hein 2020), in its version for
classifiers that draw nothing and in that for those that draw. Both meet all images; the difference is paired.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.reconstruction._climbed import Defence, Effort
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.evaluate import Result
    from trompe.evaluation.records import Record

__all__ = ["MISSING", "OURS", "PUBLISHED", "SCALES", "THEIRS", "Config", "Pair", "render", "run"]

OURS, THEIRS = "our ladder", "AutoAttack"
MISSING = "pip install 'trompe[peers]' and run the item again to measure what is missing"
PUBLISHED: dict[str, Any] = {}
"""Nothing: AutoAttack was not run on these defences. What is asked for is a difference of at most zero."""


@dataclass(frozen=True)
class Pair:
    """A defended classifier, and a radius at which something is left to find."""

    defence: Defence
    eps: float

    def __str__(self) -> str:
        return f"{self.defence}, eps {self.eps:g}"

    @property
    def version(self) -> str:
        """Of AutoAttack: for what draws, and for what does not."""
        return "rand" if self.defence.scale else "standard"


_STILL, _DRAWING = Effort(), Effort(1.0, 5, 100)


@dataclass(frozen=True)
class Config:
    """What is attacked, and what our ladder spends.

    Args:
        data: its first `n` test images.
        pairs: defences and radii.
        looks: fresh draws on which a random defence is judged.
        effort: on defences that draw nothing; `random` on those that do. AutoAttack has its own settings.
    """

    data: str = "mnist"
    n: int = 500
    pairs: tuple[Pair, ...] = (
        Pair(Defence("dvae", 0.4), 0.3),
        Pair(Defence("dvae", 0.4, 1.0), 0.3),
    )
    looks: int = 20
    effort: Effort = _STILL
    random: Effort = _DRAWING
    seed: int = 0


SCALES = {
    "smoke": Config(
        "digits", 8, (Pair(Defence("vae", 0.4), 0.5), Pair(Defence("vae", 0.4, 1.0), 0.5)), 4,
        Effort(0.1, 2, 10), Effort(0.1, 2, 5),
    ),
    "cpu": Config(),
    "paper": Config(
        pairs=tuple(
            Pair(Defence(kind, 0.4, scale), eps)
            for kind, eps in (("vae", 0.1), ("dvae", 0.2), ("dvae", 0.3))
            for scale in (0.0, 1.0)
        ),
        random=Effort(1.0, 20, 200),
    ),
}  # fmt: skip


def run(config: Config, store: Store) -> Iterator["Record"]:
    """For each pair ours, then AutoAttack where it is installed."""
    store.total = 2 * len(config.pairs)
    for pair in config.pairs:
        yield from store.cell(f"{pair}, {OURS}", lambda pair=pair: _ours(config, pair))  # type: ignore[misc]
        yield from store.cell(f"{pair}, {THEIRS}", lambda pair=pair: _theirs(config, pair))  # type: ignore[misc]


def _ours(config: Config, pair: Pair) -> Iterator["Record"]:
    from trompe.experiments.reconstruction._climbed import rungs

    model = pair.defence.model(config.data)
    effort = config.random if pair.defence.scale else config.effort
    image, _ = _images(config).tensors(slice(1))
    yield from _told(config, pair, OURS, rungs(model, pair.eps, image, effort))


def _theirs(config: Config, pair: Pair) -> Iterator["Record"]:
    """Nothing where pyautoattack is not installed: the cell is then measured by a later run."""
    from importlib.util import find_spec

    from trompe.attacks.peers import AutoAttack
    from trompe.core.geometry import Ball

    if find_spec("pyautoattack") is None:
        return
    attack = AutoAttack(Ball(pair.eps), version=pair.version)  # type: ignore[arg-type]
    yield from _told(config, pair, THEIRS, {f"{THEIRS} {pair.version}": attack})


def _images(config: Config) -> Any:
    from trompe.experiments.reconstruction._climbed import met

    return met(config.data, config.n)


def _told(config: Config, pair: Pair, who: str, attacks: dict[str, Any]) -> Iterator["Record"]:
    """Clean accuracy and what stands, with how each image fared."""
    from dataclasses import replace

    from trompe.experiments.reconstruction._climbed import climbed, written

    model, images = pair.defence.model(config.data), _images(config)
    found: Result = climbed(
        model, attacks, images, seed=config.seed, draws=config.looks, subject=str(pair)
    )
    for record in found.records:
        told = {**record.config, "who": who, "version": pair.version}
        if record.metric == "robust accuracy":
            told |= {"right": written(found.standing(), config.looks)}
            told |= {"broken": {stage.attack: stage.broken for stage in found.stages}}
        yield replace(record, config=told)


def render(records: Iterable["Record"]) -> str:
    """What each leaves standing, the paired difference, and what follows."""
    from trompe.experiments.reconstruction._autoattack_page import rendered

    return rendered(list(records))
