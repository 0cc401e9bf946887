"""Our baseline attacks beside Foolbox's and ART's at equal budgets.

The same images, all classified correctly, are attacked by both libraries with the same steps, step sizes,
weights and radii. Success is judged outside the attacks; distortions are compared on the images on which
both succeed. A black image, which is what Foolbox's C&W and EAD return where they fail, is no success.
Other programs' C&W keeps pixels at `atanh(0.999999)` from the middle of the box, where short attacks can
hardly move those that are black or white; ours is compared with that value, and with its own. Our attack
on codes is held against ART's feature adversaries: the same steps on the same encoder.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.attacks.base import ClassifierAttack
    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "render", "run"]

POINTS = 0.01
"""How far two libraries' success rates may lie apart."""
SHARE = 0.02
"""How far their mean distortions may lie apart, relatively."""
CODES = 5e-4
"""How far two mean distances between codes may lie apart: equal to three decimals."""


@dataclass(frozen=True)
class Config:
    """What is compared, on how many images.

    Args:
        classifiers: recipes of the zoo.
        encoder: the recipe whose codes are attacked.
        data: where the images come from.
        cheap, costly: images for attacks of few gradients, and for C&W and EAD.
        eps: Linf radius of FGSM and PGD.
        steps, rounds: gradients, and weights tried, by C&W and EAD.
        code_eps, code_steps: radius and steps of the attack on codes.
        seed: of the random starts.
    """

    classifiers: tuple[str, ...] = ("mnist-mlp", "mnist-conv4")
    encoder: str = "mnist-vae"
    data: str = "mnist"
    cheap: int = 500
    costly: int = 200
    eps: float = 0.1
    steps: int = 100
    rounds: int = 4
    code_eps: float = 0.1
    code_steps: int = 200
    seed: int = 0


SCALES = {
    "smoke": Config(("digits-mlp",), "digits-vae", "digits", 48, 16, 0.1, 40, 2, 0.1, 120),
    "cpu": Config(),
    "paper": Config(cheap=2000, costly=1000, steps=1000, rounds=9),
}

PUBLISHED = {
    "clean accuracy mnist-mlp": (0.972, "the accuracy that this project asks of the network"),
    "clean accuracy mnist-conv4": (0.990, "the accuracy that this project asks of the network"),
    "success": (POINTS, "largest difference allowed; reference: Foolbox 3.3.4, run beside ours"),
    "distance": (SHARE, "largest relative difference allowed; reference: Foolbox 3.3.4"),
    "codes": (CODES, "largest difference allowed; reference: ART 1.20.1"),
}


@dataclass(frozen=True)
class Pair:
    """One attack in our words and in Foolbox's."""

    name: str
    norm: str
    ours: "ClassifierAttack"
    theirs: "ClassifierAttack"
    costly: bool = False


def pairs(config: Config) -> list[Pair]:
    """The attacks, budget for budget."""
    from trompe.attacks.carlini_wagner import CW
    from trompe.attacks.decoupled import DDN
    from trompe.attacks.deepfool import DeepFool
    from trompe.attacks.elastic_net import EAD
    from trompe.attacks.gradient import FGSM, PGD
    from trompe.attacks.peers import FoolboxAttack
    from trompe.core.geometry import Ball

    ball, size = Ball(config.eps, "Linf"), config.eps / 30
    weights: dict[str, Any] = {"steps": config.steps, "c": 1.0, "abort_early": False}
    weights |= {"rounds": config.rounds, "lr": 0.05}
    theirs = {
        "steps": config.steps,
        "binary_search_steps": config.rounds,
        "initial_const": 1.0,
        "abort_early": False,
    }
    cw = FoolboxAttack("L2CarliniWagnerAttack", options={**theirs, "stepsize": 0.05})
    ead = FoolboxAttack(
        "EADAttack", options={**theirs, "initial_stepsize": 0.05, "regularization": 1e-3}
    )
    pgd = PGD(ball, steps=40, step_size=size, early_stop=False)
    return [
        Pair("FGSM", "Linf", FGSM(ball), FoolboxAttack("FGSM", ball)),
        Pair(
            "PGD",
            "Linf",
            pgd,
            FoolboxAttack("LinfPGD", ball, options={"steps": 40, "rel_stepsize": 1 / 30}),
        ),
        Pair(
            "DeepFool",
            "L2",
            DeepFool("L2", steps=50, overshoot=0.02),
            FoolboxAttack("L2DeepFoolAttack", options={"steps": 50, "candidates": None}),
        ),
        Pair("DDN", "L2", DDN(steps=40), FoolboxAttack("DDNAttack", options={"steps": 40})),
        Pair("C&W", "L2", CW(**weights, shrink=0.999999), cw, costly=True),
        Pair("C&W with our shrink", "L2", CW(**weights), cw, costly=True),
        Pair("EAD", "L1", EAD(**weights, beta=1e-3), ead, costly=True),
    ]


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Clean accuracies, then one cell per classifier and attack, then the codes."""
    todo = pairs(config)
    store.total = len(config.classifiers) * (len(todo) + 1) + 1
    for name in config.classifiers:
        yield from store.cell(f"{name} clean", lambda name=name: [_clean(name)])  # type: ignore[misc]
        for pair in todo:
            yield from store.cell(
                f"{name} {pair.name}",
                lambda name=name, pair=pair: _compared(config, name, pair),  # type: ignore[misc]
            )
    yield from store.cell(f"{config.encoder} codes", lambda: _codes(config))


def _clean(name: str) -> "Record":
    from trompe import zoo
    from trompe.evaluation.records import Record

    zoo.get(name, progress=False)
    metrics = zoo.card(name)["metrics"]
    correct = round(metrics["accuracy"] * metrics["n"])
    return Record.rate("clean accuracy", correct, metrics["n"], subject=name)


def _images(config: Config, model: "nn.Module", count: int) -> tuple["Tensor", "Tensor"]:
    """The first `count` test images that the model classifies correctly."""
    import torch

    from trompe import data

    x, y = data.load(config.data).take(2 * count).tensors()
    assert y is not None
    with torch.no_grad():
        right = (model(x).argmax(1) == y).nonzero()[:count, 0]
    return x[right], y[right]


def _compared(config: Config, name: str, pair: Pair) -> Iterable["Record"]:
    """Success and mean distance of both libraries on the same images."""
    from trompe import zoo
    from trompe.core import random

    model = zoo.get(name, progress=False)
    x, y = _images(config, model, config.costly if pair.costly else config.cheap)
    seeds = random.seeds(config.seed, len(x))
    runs = {
        "trompe": _attacked(model, pair.ours, x, y, seeds),
        "Foolbox": _attacked(model, pair.theirs, x, y, seeds),
    }
    both = runs["trompe"]["fooled"] & runs["Foolbox"]["fooled"]
    for library, found in runs.items():
        yield from _pair_records(config, name, pair, library, found, both, x)


def _attacked(
    model: "nn.Module", attack: "ClassifierAttack", x: "Tensor", y: "Tensor", seeds: "Tensor"
) -> dict[str, Any]:
    """What an attack returned, judged from outside, and its cost."""
    import torch

    from trompe.core.execution import metered

    start = time.perf_counter()
    with metered() as cost:
        found = attack(model, x, y, seeds=seeds)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        fooled = (model(found).argmax(1) != y) & (found.flatten(1).amax(1) > 0)
    return {"x": found, "fooled": fooled, "seconds": seconds, "cost": cost, "attack": attack}


def _pair_records(
    config: Config,
    name: str,
    pair: Pair,
    library: str,
    found: dict[str, Any],
    both: "Tensor",
    x: "Tensor",
) -> Iterator["Record"]:
    """A library's success rate, and its mean distance where both succeed, with a 95% interval."""
    from trompe.core.geometry import norm
    from trompe.evaluation.records import Record

    distances = norm(found["x"] - x, pair.norm)[both].double()  # type: ignore[arg-type]
    common: dict[str, Any] = {
        "subject": name,
        "attack": f"{pair.name}, {library}",
        "threat": "White box: the attacker knows the weights and follows their gradient.",
        "norm": pair.norm,
        "eps": config.eps if pair.norm == "Linf" else None,
        "seconds": round(found["seconds"], 3),
        "forwards": found["cost"].forwards,
        "backwards": found["cost"].backwards,
        "config": {"library": library, "pair": pair.name, "attack": str(found["attack"])},
    }
    yield Record.rate("success", int(found["fooled"].sum()), len(x), **common)
    mean, half = _mean(distances)
    yield Record(
        f"mean {pair.norm}",
        mean,
        len(distances),
        mean - half,
        mean + half,
        "normal 95%",
        **common,
    )


def _mean(values: "Tensor") -> tuple[float, float]:
    """The mean and half the width of its normal 95% interval."""
    count = len(values)
    if count < 2:
        return (float(values.mean()) if count else math.nan), math.nan
    return float(values.mean()), 1.96 * float(values.std()) / math.sqrt(count)


def _codes(config: Config) -> Iterable["Record"]:
    """The mean squared distance between the codes of attacked images and targets, for both libraries."""
    import torch

    from trompe import data, zoo
    from trompe.attacks.autoencoder import LatentAttack
    from trompe.core.geometry import Ball
    from trompe.core.losses import mean_distance
    from trompe.core.search import Solver
    from trompe.core.solvers import Steepest
    from trompe.evaluation.records import Record

    model: Any = zoo.get(config.encoder, progress=False)
    x, _ = data.load(config.data).take(2 * config.costly).tensors()
    x, targets = x[: config.costly], x[config.costly :]
    ball, size = Ball(config.code_eps), config.code_eps / 200

    class Signed(LatentAttack):
        """Signed steps of constant length, as ART takes them."""

        def rule(self) -> Solver:
            return Steepest(size, ball)

    same = Signed(ball, steps=config.code_steps)
    own = LatentAttack(ball, steps=config.code_steps)
    found: dict[str, Callable[[], Tensor]] = {
        "LatentAttack, ART's rule": lambda: same(model, x, targets),
        "LatentAttack, its own solver": lambda: own(model, x, targets),
        "FeatureAdversariesPyTorch, ART": lambda: _by_art(config, model, x, targets, size),
    }
    for name, attack in found.items():
        start = time.perf_counter()
        image = attack()
        seconds = round(time.perf_counter() - start, 3)
        with torch.no_grad():
            far = mean_distance(model.encode(image), model.encode(targets)).double()
        mean, half = _mean(far)
        yield Record(
            "mean squared distance of codes",
            mean,
            len(x),
            mean - half,
            mean + half,
            "normal 95%",
            subject=config.encoder,
            attack=name,
            threat="White box: the attacker knows the encoder and chooses a target image.",
            norm="Linf",
            eps=config.code_eps,
            seconds=seconds,
        )


def _by_art(config: Config, model: Any, x: "Tensor", targets: "Tensor", size: float) -> "Tensor":
    """ART's attack on the mean of the encoder, by signed steps from the image itself."""
    import torch
    from torch import nn

    from trompe.attacks.peers import _art

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> Any:
            return self.model.encode(images).mean

    evasion, classifier = _art()
    with torch.no_grad():
        width = Mean()(x[:1]).shape[1]
    shown = classifier(
        model=nn.Sequential(Mean()),
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=width,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = evasion.FeatureAdversariesPyTorch(
        shown,
        delta=config.code_eps,
        max_iter=config.code_steps,
        step_size=size,
        layer=0,
        batch_size=len(x),
        verbose=False,
    )
    found = attack.generate(x.numpy(), targets.numpy())
    model.requires_grad_(True).zero_grad(set_to_none=True)
    return torch.as_tensor(found)


def render(records: Iterable["Record"]) -> str:
    """Tables of both libraries side by side, and a verdict in a sentence each."""
    from trompe.experiments.baselines._tables import rendered

    return rendered(list(records))
