"""The attacker's ladder: a classifier behind a VAE, from who knows nothing to who knows all.

Every rung alone, at each radius, on the same images; the worst rung, and the worst case of each image over
all of them. Random defences are judged on fresh draws, which chose nothing. The doctor examines each.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trompe.experiments.reconstruction._climbed import Defence, Effort
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["CARELESS", "FALL", "NEAR", "PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

CARELESS = "oblivious, at the boundary"
"""The paper's attack on the bare classifier alone, which stops where the answer changes."""
NEAR, FALL = "lost to who is oblivious", "lost further, to the worst rung"
"""Paired differences: clean accuracy less that under the oblivious rung, and that less the worst rung's."""
PUBLISHED = {
    "C&W through the mean": (
        None,
        "Hlihor et al. 2020, section 3: an upper bound on what an attacker can do; "
        "the plotted values are not to be had",
    )
}


_STILL, _DRAWING = Effort(0.5, queries=500), Effort(0.25, 4, 25)


@dataclass(frozen=True)
class Config:
    """What is attacked, and what attackers spend.

    Args:
        data: its first `n` test images.
        defences: what stands before the classifier.
        eps: Linf radii; the claims are about the largest.
        looks: fresh draws on which a random defence is judged.
        effort: on defences that draw nothing; `random` on those that do.
        examined: images that the doctor sees; `steps`, `queries` and `draws` are what it spends.
    """

    data: str = "mnist"
    n: int = 300
    defences: tuple[Defence, ...] = tuple(
        Defence(kind, stp, scale)
        for kind, stp in (("vae", 0.0), ("vae", 0.4), ("dvae", 0.4))
        for scale in (0.0, 1.0)
    )
    eps: tuple[float, ...] = (0.1, 0.3)
    looks: int = 20
    effort: Effort = _STILL
    random: Effort = _DRAWING
    examined: int = 64
    steps: int = 40
    queries: int = 300
    draws: int = 4
    seed: int = 0


SCALES = {
    "smoke": Config(
        "digits", 16, (Defence("vae", 0.4), Defence("vae", 0.4, 1.0)), (0.1, 0.3), 4,
        Effort(0.1, 2, 10), Effort(0.1, 2, 5), 8, 5, 10, 2,
    ),
    "cpu": Config(),
    "paper": Config(
        n=1000, eps=(0.05, 0.1, 0.2, 0.3), effort=Effort(), random=Effort(1.0, 20, 1000),
        examined=128, queries=1000, draws=20,
    ),
}  # fmt: skip


def run(config: Config, store: Store) -> Iterator["Record"]:
    """For each defence the ladder, who stops early, and the doctor on the worst rung with gradients."""
    from trompe.attacks.ladder import EXAMINED

    store.total = 3 * len(config.defences)
    for defence in config.defences:
        made = list(store.cell(str(defence), lambda defence=defence: _ladder(config, defence)))  # type: ignore[misc]
        yield from made
        yield from store.cell(
            f"{defence}, {CARELESS}",
            lambda defence=defence: _careless(config, defence),  # type: ignore[misc]
        )
        here = [r for r in made if r.metric == "robust accuracy" and r.eps == config.eps[-1]]
        left = {r.attack: r.value for r in here}
        worst = min((rung for rung in EXAMINED if rung in left), key=left.__getitem__)
        yield from store.cell(
            f"{defence}, the doctor on {worst}",
            lambda defence=defence, worst=worst: [_examined(config, defence, worst)],  # type: ignore[misc]
        )


def _ladder(config: Config, defence: Defence) -> Iterator["Record"]:
    """Clean accuracy, every rung at every radius, the worst case per image, and the two falls."""
    import torch

    from trompe.attacks.ladder import OBLIVIOUS
    from trompe.evaluation.records import Record
    from trompe.experiments.reconstruction._climbed import climbed, met, rungs

    model, own = defence.model(config.data), defence.own(config.data)
    images, name = met(config.data, config.n), str(defence)
    effort = config.random if defence.scale else config.effort
    attacks = rungs(model, config.eps[-1], images.tensors(slice(1))[0], effort, own)
    how = {"eps": config.eps, "seed": config.seed, "draws": config.looks, "subject": name}
    found = climbed(model, attacks, images, separate=True, **how)
    yield from found.records
    yield from found.rungs
    clean = torch.tensor([case.clean for case in found.cases])
    blind, worst = (found.standing(rung) for rung in (OBLIVIOUS, found.worst_rung.attack))
    about = {"subject": name, "eps": config.eps[-1], "norm": "Linf"}
    yield Record.difference(NEAR, clean, blind, attack=OBLIVIOUS, **about)
    yield Record.difference(FALL, blind, worst, attack=found.worst_rung.attack, **about)


def _careless(config: Config, defence: Defence) -> Iterator["Record"]:
    """Who knows the classifier only, and stops at its boundary: what reconstruction was praised for."""
    import torch

    from trompe.attacks import ProjectedCW, Transfer
    from trompe.core.geometry import Ball
    from trompe.evaluation.records import Record
    from trompe.experiments.reconstruction._climbed import climbed, met

    model, name = defence.model(config.data), str(defence)
    attack = Transfer(ProjectedCW(Ball(config.eps[-1]))).using(surrogate=model.classifier)
    how = {"eps": config.eps, "seed": config.seed, "draws": config.looks, "subject": name}
    found = climbed(model, {CARELESS: attack}, met(config.data, config.n), separate=True, **how)
    yield from found.rungs
    clean = torch.tensor([case.clean for case in found.cases])
    about = {"subject": name, "eps": config.eps[-1], "norm": "Linf", "attack": CARELESS}
    yield Record.difference(NEAR, clean, found.standing(CARELESS), **about)


def _examined(config: Config, defence: Defence, rung: str) -> "Record":
    """What the doctor says of a rung at the largest radius."""
    from trompe.core.geometry import Ball
    from trompe.evaluation.checks import doctor
    from trompe.evaluation.records import Record
    from trompe.experiments.reconstruction._climbed import met, rungs

    model, own = defence.model(config.data), defence.own(config.data)
    images = met(config.data, config.examined)
    effort = config.random if defence.scale else config.effort
    attack = rungs(model, config.eps[-1], images.tensors(slice(1))[0], effort, own)[rung]
    said = doctor(
        model, images.tensors(), Ball(config.eps[-1]), surrogate=own, attack=attack,
        n=config.examined, steps=config.steps, queries=config.queries, draws=config.draws,
        seed=config.seed,
    )  # fmt: skip
    passed = sum(check.passed is True for check in said.checks)
    asked = sum(check.passed is not None for check in said.checks)
    checks = {check.name: [check.passed, check.detail] for check in said.checks}
    told = {"verdict": said.verdict, "checks": checks, "rung": rung}
    return Record("checks passed", passed / asked, config.examined, subject=str(defence), attack=rung,
                  eps=config.eps[-1], norm="Linf", counts={"passed": passed, "asked": asked},
                  config=told)  # fmt: skip


def render(records: Iterable["Record"]) -> str:
    """The ladder at each radius, what follows, and the doctor."""
    from trompe.experiments.reconstruction._ladder_page import rendered

    return rendered(list(records))


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """What the attackers leave standing, defence by defence."""
    from trompe.experiments.reconstruction._ladder_page import drawn

    return drawn(list(records))
