"""Three attacks by two solvers on one autoencoder: what both items of the paper measure.

Every rate is read by a judge that no attack was optimised against, on sources whose clean reconstruction
it reads right.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from trompe.attacks.autoencoder import AutoencoderAttack
    from trompe.evaluation.records import Record
    from trompe.zoo import Recipe

__all__ = ["ATTACKS", "Config", "measured"]

ATTACKS = ("latent", "L_VAE", "classifier")
_THREAT = (
    "White box: the attacker knows the autoencoder and chooses a target; the judge is not known."
)


@dataclass(frozen=True)
class Config:
    """What is attacked, on how many images, with which budgets.

    Args:
        models: recipes of the zoo, autoencoders.
        judge: the recipe of the classifier that reads reconstructions; `latentpoison-judge` is that
            paper's, of smiles.
        data: where the images come from; its test split is attacked.
        n: sources; each meets the next image of another class as its target.
        limits: L2 radii at which the attacks are compared.
        weights: of the squared distance, for the published form of the optimisation.
        radii: Linf radii of the one-step sign attack.
        steps: gradients spent on each example by the optimisation.
        rounds: how often an image passes through the model before it is read.
        hidden: layers of the classifier on codes.
        codes, epochs: training images whose codes it learns from, and passes over them.
        seed: of that classifier and of the attacks.
    """

    models: tuple[str, ...]
    judge: str
    data: str
    n: int
    limits: tuple[float, ...]
    weights: tuple[float, ...] = (0.0, 0.01, 0.1, 1.0, 10.0)
    radii: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
    steps: int = 100
    rounds: tuple[int, ...] = (1, 2, 5)
    hidden: tuple[int, ...] = (512, 512)
    codes: int = 20000
    epochs: float = 4
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Victim:
    """One autoencoder, its judge, its classifier on codes, and the images."""

    model: "nn.Module"
    judge: "nn.Module"
    head: "nn.Module"
    x: "Tensor"
    y: "Tensor"
    targets: "Tensor"
    labels: "Tensor"
    seeds: "Tensor"


def measured(config: Config, store: Store) -> Iterator["Record"]:
    """For each model its clean cell, and for each attack one cell per solver and kind of budget."""
    store.total = len(config.models) * (1 + 3 * len(ATTACKS))
    for name in config.models:
        yield from store.cell(f"{name} clean", lambda name=name: _clean(config, name))  # type: ignore[misc]
        for kind in ATTACKS:
            for budget, cell in (("sign", _sign), ("balls", _balls), ("weights", _weights)):
                yield from store.cell(
                    f"{name} {kind} {budget}",
                    lambda name=name, kind=kind, cell=cell: cell(config, name, kind),  # type: ignore[misc]
                )


@cache
def _victim(config: Config, name: str) -> Victim:
    from trompe import data, zoo
    from trompe.core import random
    from trompe.evaluation.autoencoder import partners

    model, judge = (zoo.get(_recipe(each), progress=False) for each in (name, config.judge))
    x, y = data.load(config.data, "test").take(config.n).tensors()
    assert y is not None
    other = partners(y)
    seeds = random.seeds(config.seed, len(x))
    return Victim(model, judge, _head(config, name, model), x, y, x[other], y[other], seeds)


def _recipe(name: str) -> "Recipe":
    """A recipe of the zoo, or of the networks for faces that LatentPoison has trained."""
    from trompe import zoo
    from trompe.experiments.latentpoison._runs import FACES, Lab

    shared, _, which = name.partition("-")
    return Lab(FACES).recipes()[which] if shared == "latentpoison" else zoo.recipe(name)


def _head(config: Config, name: str, model: Any) -> "nn.Module":
    """The classifier on codes of the frozen model."""
    from trompe import data, models, zoo
    from trompe.training import Batches, ClassifierStep, train

    examples = data.load(config.data, "train").take(config.codes)
    shape, classes = (model.config.latent,), len(examples.classes)
    net = models.ClassifierConfig("mlp", shape, classes, hidden=config.hidden)
    head = models.build(net, seed=config.seed)

    def fit(folder: "Path") -> dict[str, Any]:
        codes = _means(model, examples)
        train(
            ClassifierStep(head, lr=2e-3),
            Batches(codes, examples.tensors()[1], size=128, seed=config.seed),
            epochs=config.epochs,
            seed=config.seed,
            directory=folder,
            log=False,
            progress=False,
        )
        return {"codes": len(codes)}

    trained = {"net": net, "model": _recipe(name).hash, "data": config.data}
    trained |= {"codes": config.codes, "epochs": config.epochs, "seed": config.seed}
    return zoo.keep(f"{name}-codes", trained, head, fit)


def _means(model: Any, examples: Any) -> "Tensor":
    import torch

    with torch.no_grad():
        return torch.cat([model.encode(x).mean for x, _, _ in examples.batches(256)])


def _clean(config: Config, name: str) -> Iterator["Record"]:
    """What the networks are worth: the judge on images and on reconstructions, the head on codes."""
    import torch

    from trompe import data
    from trompe.evaluation.autoencoder import judge
    from trompe.evaluation.records import Record

    it: Any = _victim(config, name)
    test = data.load(config.data, "test").take(2000)
    y = test.tensors()[1]
    assert y is not None
    with torch.no_grad():
        seen = torch.cat([it.judge(x).argmax(1) for x, _, _ in test.batches(256)])
        read = it.head(_means(it.model, test)).argmax(1)
    yield Record.rate("judge accuracy", int((seen == y).sum()), len(test), subject=name)
    yield Record.rate("accuracy on codes", int((read == y).sum()), len(test), subject=name)
    for rounds in config.rounds:
        kept = judge(it.model, it.judge, it.x, it.x, it.y, rounds=rounds, seeds=it.seeds)
        told = {"rounds": rounds}
        yield Record.rate("reconstruction read right", kept.n, len(it.x), subject=name, config=told)


def _attack(config: Config, it: Victim, kind: str, budget: Any, **settings: Any) -> tuple[Any, Any]:
    """The attack, and what its loss refers to: target images, or their labels."""
    from trompe.attacks import ElboAttack, LatentAttack, LatentClassifierAttack

    given = {"steps": config.steps, **settings}
    if kind == "latent":
        return LatentAttack(budget, **given), it.targets
    if kind == "L_VAE":
        return ElboAttack(budget, **given), it.targets
    attack = LatentClassifierAttack(budget, confidence=math.inf, **given)
    return attack.using(classifier=it.head), it.labels


def _sign(config: Config, name: str, kind: str) -> Iterator["Record"]:
    """One step along the sign of the gradient, at each radius; and the best of them within each limit."""
    import torch

    from trompe.core.geometry import Ball, norm
    from trompe.evaluation.autoencoder import judge

    it = _victim(config, name)
    found, attack = [], None
    for eps in config.radii:
        attack, y = _attack(
            config, it, kind, Ball(eps, "Linf"), solver="steepest", steps=1, step_size=eps
        )
        found.append(attack(it.model, it.x, y, seeds=it.seeds))
        yield from _told(config, it, name, kind, attack, found[-1], f"eps {eps:g}", (1,))
    far = torch.stack([norm(each - it.x, "L2") for each in found])
    for rounds in config.rounds:
        read = [
            judge(it.model, it.judge, it.x, one, it.y, it.labels, rounds=rounds, seeds=it.seeds)
            for one in found
        ]
        for limit in config.limits:
            near = far <= limit
            won = {
                "AS-ignore-target": torch.stack([r.ignored for r in read]) & near,
                "AS-target": torch.stack([r.reached for r in read]) & near,
            }
            for metric, hits in won.items():
                wins = int((hits.any(0) & read[0].counted).sum())
                told = _words(name, kind, attack, f"L2 {limit:g}", rounds)
                yield _rate(metric, wins, read[0].n, told)


def _balls(config: Config, name: str, kind: str) -> Iterator["Record"]:
    """The optimisation inside each L2 ball."""
    from trompe.core.geometry import Ball

    it = _victim(config, name)
    for limit in config.limits:
        attack, y = _attack(config, it, kind, Ball(limit, "L2"))
        found = attack(it.model, it.x, y, seeds=it.seeds)
        yield from _told(config, it, name, kind, attack, found, f"L2 {limit:g}", config.rounds)


def _weights(config: Config, name: str, kind: str) -> Iterator["Record"]:
    """The published form, at every weight of the squared distance."""
    from trompe.attacks import Penalty

    it = _victim(config, name)
    attack, y = _attack(config, it, kind, Penalty(1.0))
    found = attack.sweep(it.model, it.x, y, weights=config.weights, seeds=it.seeds)
    for weight, some in zip(config.weights, found, strict=True):
        yield from _told(config, it, name, kind, attack, some, f"lambda {weight:g}", (1,))


def _told(
    config: Config,
    it: Victim,
    name: str,
    kind: str,
    attack: "AutoencoderAttack",
    found: "Tensor",
    budget: str,
    all_rounds: tuple[int, ...],
) -> Iterator["Record"]:
    """Both rates after each number of rounds, with distances over the sources that count."""
    from trompe.evaluation.autoencoder import distances, judge

    far = distances(it.model, it.x, found, it.targets, seeds=it.seeds)
    for rounds in all_rounds:
        read = judge(
            it.model, it.judge, it.x, found, it.y, it.labels, rounds=rounds, seeds=it.seeds
        )
        kept = read.counted
        moved = (found - it.x).flatten(1).abs().amax(1) > 0
        extra = {
            "L2": far.l2[kept].mean().item(),
            "RMSD": far.rmsd[kept].mean().item(),
            "target distance": far.distance[kept].nanmean().item(),
            "moved": moved[kept].float().mean().item(),
        }
        told = _words(name, kind, attack, budget, rounds)
        yield _rate("AS-ignore-target", read.ignore_target, read.n, told, extra)
        yield _rate("AS-target", read.target, read.n, told, extra)


def _words(
    name: str, kind: str, attack: "AutoencoderAttack | None", budget: str, rounds: int
) -> dict[str, Any]:
    """What a record says of the attack."""
    solver = "sign" if attack is not None and attack.steps == 1 else "optimised"
    where = {"kind": kind, "solver": solver, "budget": budget, "rounds": rounds}
    return {"subject": name, "attack": str(attack), "threat": _THREAT, "config": where}


def _rate(
    metric: str, wins: int, n: int, told: dict[str, Any], extra: dict[str, float] | None = None
) -> "Record":
    from trompe.evaluation.records import Record

    return Record.rate(metric, wins, n, **told, extra=extra or {})
