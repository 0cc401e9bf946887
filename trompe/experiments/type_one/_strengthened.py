"""The networks that `type_one/logit_pairing` compares: a LeNet, and what other trainings make of it."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.experiments.type_one._digits import Transformed

__all__ = ["ANOTHER", "NETWORKS", "ORIGINAL", "PAIRED", "SENT_BACK", "TRAINED", "Config", "Lab"]

ORIGINAL, ANOTHER = "original", "another seed, no defence"
PAIRED, TRAINED = "adversarial logit pairing", "adversarial training"
SENT_BACK = "Type I examples sent back"
NETWORKS = (ORIGINAL, ANOTHER, PAIRED, TRAINED, SENT_BACK)
PROCEDURE = 1  # raised when the same settings would train to other weights


@dataclass(frozen=True)
class Config:
    """How the networks are trained, and on what they are measured.

    Args:
        victim, svae: recipes of the zoo; every network but the second goes on from the victim's weights.
        data: trained on its training split, attacked on its test split.
        eps: Linf radius, in training and in every attack of Type II.
        inner: gradients of PGD in each step of training.
        updates, warm: steps of training, and those over which the radius grows.
        batch, lr: of training.
        weight: lambda of the pairing.
        epochs: passes over the training images with the examples sent back.
        times: how often each of those examples stands among the training images.
        n: images that the Type I attack on the victim meets; half of what really changed is sent back, all
            other images are measured.
        anew: images that the Type I attack on each network meets, before those sent back are left out.
        pgd, apgd: gradients of the attacks of Type II.
        steps, type_one_lr, options: of the Type I attack.
    """

    victim: str = "mnist-lenet"
    svae: str = "mnist-svae"
    data: str = "mnist"
    eps: float = 0.3
    inner: int = 5
    updates: int = 2000
    warm: int = 900
    batch: int = 128
    lr: float = 2e-3
    weight: float = 0.5
    epochs: float = 1
    times: int = 8
    n: int = 1000
    anew: int = 250
    pgd: int = 40
    apgd: int = 100
    steps: int = 250
    type_one_lr: float = 0.1
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


class Lab:
    """What the item measures on: examples made once, and networks trained once and kept in the zoo."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def judge(self) -> Any:
        """Says what Type I examples became."""
        from trompe import zoo

        return zoo.judge_for(self.config.data, progress=False)

    def seen(self, found: "Transformed") -> "Tensor":
        """Where the judge sees the target and a real image, `(n,)` bool."""
        from trompe.evaluation.judge import read

        verdict = read(self.judge, found.x_adv)
        both: Tensor = (verdict.label == found.target) & verdict.real
        return both

    def made(self, victim: "nn.Module | None" = None) -> "Transformed":
        """Type I examples: made on the original network, or anew on the one given."""
        from trompe.attacks.type_one import TypeI
        from trompe.experiments.type_one._digits import Made, transformed

        c = self.config
        attack = TypeI(steps=c.steps, lr=c.type_one_lr, **c.options)
        n = c.n if victim is None else c.anew
        return transformed(Made(attack, n, c.victim, c.svae, c.data, seed=c.seed), victim)

    @cached_property
    def halves(self) -> "tuple[Tensor, Tensor, Transformed]":
        """Images and labels to train on, half of what really changed among them; and all other examples."""
        import torch

        from trompe import data
        from trompe.defenses import strengthened

        c, found = self.config, self.made()
        train, changed = data.load(c.data, "train"), self.seen(found).nonzero()[:, 0]
        assert train.y is not None
        pair = (found.x_adv[changed], found.target[changed])
        both = strengthened((train.x, train.y), pair, times=c.times, seed=c.seed)
        rest = torch.ones(len(found), dtype=torch.bool)
        rest[changed[both.sent]] = False
        return both.x, both.y, found.part(rest)

    def network(self, name: str) -> "nn.Module":
        """One of the networks."""
        from trompe import zoo

        recipe = zoo.recipe(self.config.victim)
        if name == ANOTHER:
            again = replace(recipe, name=f"{recipe.name}-again", seed=recipe.seed + 1)
            return zoo.get(again, progress=False)
        model = zoo.get(recipe, progress=False)
        if name == ORIGINAL:
            return model
        file = f"{recipe.name}-{name.lower().replace(' ', '-')}"
        return zoo.keep(
            file, self._settings(name), model, lambda folder: self._fit(name, model, folder)
        )

    def _settings(self, name: str) -> dict[str, Any]:
        """Everything that a network's weights depend on."""
        from trompe import zoo
        from trompe.evaluation.cases import tensor_digest

        parts = ["batch", "lr", "seed"]
        if name != SENT_BACK:
            parts += ["eps", "inner", "updates", "warm", "weight"]
        told = {part: getattr(self.config, part) for part in parts}
        told |= {"from": zoo.recipe(self.config.victim).hash, "kind": name, "procedure": PROCEDURE}
        if name == SENT_BACK:
            x, y, _ = self.halves
            told |= {"epochs": self.config.epochs, "images": tensor_digest(x, y)}
        return told

    def _step(self, name: str, model: "nn.Module") -> Any:
        """What trains it; every gradient of PGD is spent, also on images that are misread already."""
        from trompe.attacks.gradient import PGD
        from trompe.core.geometry import Ball
        from trompe.defenses import AdversarialStep, LogitPairingStep
        from trompe.training import ClassifierStep

        c = self.config
        pgd = PGD(Ball(c.eps), steps=c.inner, early_stop=False)
        if name == SENT_BACK:
            return ClassifierStep(model, c.lr)
        if name == PAIRED:
            return LogitPairingStep(model, pgd, c.lr, weight=c.weight, warm=c.warm)
        return AdversarialStep(model, pgd, c.lr, warm=c.warm)

    def _fit(self, name: str, model: "nn.Module", folder: Path) -> dict[str, Any]:
        from trompe import data
        from trompe.training import Batches, train

        c, back = self.config, name == SENT_BACK
        whole = data.load(c.data, "train")
        x, y = self.halves[:2] if back else (whole.x, whole.y)
        history = train(
            self._step(name, model),
            Batches(x, y, size=c.batch, seed=c.seed),
            steps=None if back else c.updates,
            epochs=c.epochs if back else None,
            seed=c.seed,
            directory=folder,
            log=False,
            progress=False,
            title=name,
        )
        return {"steps": history.total, "seconds": round(history.seconds, 3)}
