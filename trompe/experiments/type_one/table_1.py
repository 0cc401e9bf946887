"""Table I: does feature squeezing see attacks of Type I?

The joint squeezer, one bit and then a 2x2 median, on the perceptron: an image is suspicious where the softmax
of its squeezed copy is far from its own in the Euclidean norm. The published thresholds belong to the
authors' network; ours are set beside them, on held-out clean images at the published clean rates. The authors
do not say how their attacks were set: FGSM has the radius of the authors of feature squeezing, and what looks
for a minimal perturbation is run as it is, and once more with a margin. At last an attack that knows the
squeezer. All is measured twice: on images as they were found, and as 8-bit files hold them.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.attacks.base import ClassifierAttack
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._digits import Transformed

__all__ = [
    "CLEAN",
    "PUBLISHED",
    "SCALES",
    "STORED",
    "TYPE_ONE",
    "Config",
    "pictures",
    "render",
    "run",
]

CLEAN, KNOWING = "clean", "C&W that knows the squeezer"
TYPE_ONE, SURER = "Type I", "Type I, a surer victim"
PICTURE = "type-one-squeezed.png"
STORED = " as stored"
"""Ends the name of what is measured on 8-bit images."""
ZETA = (0.2510, 0.6089, 0.9353)
_SOURCE = "Tang et al. 2019, table I, at thresholds .2510, .6089 and .9353"
PUBLISHED = {
    CLEAN: ((0.234, 0.102, 0.050), _SOURCE),
    "FGSM": ((0.870, 0.776, 0.726), _SOURCE),
    "DeepFool": ((0.998, 0.974, 0.872), _SOURCE),
    "C&W": ((0.998, 0.976, 0.842), _SOURCE),
    "EAD": ((0.998, 0.980, 0.902), _SOURCE),
    TYPE_ONE: ((0.306, 0.122, 0.076), _SOURCE),
}


@dataclass(frozen=True)
class Config:
    """What is attacked, how, and what the thresholds are set on.

    Args:
        victim, svae: recipes of the zoo.
        data: its first `n` test images that the victim reads correctly are attacked, its last `held_out` set
            the thresholds.
        eps: Linf radius of FGSM.
        steps, rounds, lr: of C&W and EAD: gradients, weights tried, and Adam's (or FISTA's) step.
        confidence: the margin, in logits, of C&W and EAD in their second runs.
        overshoot: of DeepFool in its second run, a share of the perturbation.
        type_one_steps, type_one_lr, options: of the Type I attack.
        surer: the victim's confidence in the old class that it asks for in its second run; in the first it is
            the attack's own.
        weight: of the detector in the loss of the attack that knows it.
        targets: classes that it tries, the likeliest first, until one is accepted.
        knowing: images that it meets.
        shown: images that are drawn.
    """

    victim: str = "mnist-mlp"
    svae: str = "mnist-svae"
    data: str = "mnist"
    n: int = 500
    held_out: int = 5000
    eps: float = 0.3
    steps: int = 200
    rounds: int = 5
    lr: float = 0.05
    confidence: float = 10.0
    overshoot: float = 1.0
    type_one_steps: int = 250
    type_one_lr: float = 0.1
    options: dict[str, Any] = field(default_factory=dict)
    surer: float = 0.95
    weight: float = 1.0
    targets: int = 3
    knowing: int = 250
    shown: int = 4
    seed: int = 0


SCALES = {
    "smoke": Config(
        "digits-mlp",
        "digits-svae",
        "digits",
        24,
        150,
        steps=30,
        rounds=2,
        type_one_steps=40,
        knowing=12,
        shown=2,
    ),
    "cpu": Config(),
    "paper": Config(
        steps=1000,
        rounds=9,
        type_one_steps=20_000,
        type_one_lr=0.005,
        knowing=500,
        options={"patience": None, "temperature": 1.0, "looks": 0, "cap": 1e-3},
    ),
}


def attacks(config: Config) -> dict[str, "ClassifierAttack"]:
    """The attacks of Type II, by the names of their rows."""
    from trompe.attacks.carlini_wagner import CW
    from trompe.attacks.deepfool import DeepFool
    from trompe.attacks.elastic_net import EAD
    from trompe.attacks.gradient import FGSM
    from trompe.core.geometry import Ball

    how: dict[str, Any] = {
        "steps": config.steps,
        "rounds": config.rounds,
        "lr": config.lr,
        "c": 0.1,
    }
    sure = f"confidence {config.confidence:g}"
    return {
        "FGSM": FGSM(Ball(config.eps)),
        "DeepFool": DeepFool(),
        f"DeepFool, overshoot {config.overshoot:g}": DeepFool(overshoot=config.overshoot),
        "C&W": CW(**how),
        f"C&W, {sure}": CW(**how, confidence=config.confidence),
        "EAD": EAD(**how),
        f"EAD, {sure}": EAD(**how, confidence=config.confidence),
    }


def run(config: Config, store: Store) -> Iterator["Record"]:
    """Clean images, the attacks of Type II, Type I, and one that knows the detector; then some to look at."""
    todo = attacks(config)
    store.total = len(todo) + 5
    yield from store.cell(CLEAN, lambda: _clean(config))
    for name, attack in todo.items():
        yield from store.cell(name, lambda name=name, attack=attack: _noticed(config, name, attack))  # type: ignore[misc]
    for name in (TYPE_ONE, SURER):
        yield from store.cell(name, lambda name=name: _type_one(config, name))  # type: ignore[misc]
    yield from store.cell(KNOWING, lambda: _knowing(config))
    yield from store.cell("examples", lambda: _examples(config))


@lru_cache(maxsize=1)
def _setting(
    victim: str, data: str, held_out: int
) -> tuple[Any, Any, dict[str, tuple[float, float]]]:
    """The victim, the detector, and the thresholds by name, each with the clean rate it is published with."""
    from torch import nn

    from trompe import data as sets
    from trompe import zoo
    from trompe.defenses import BitDepth, FeatureSqueezing, MedianSmoothing
    from trompe.defenses.detectors import scored, threshold_at

    model = zoo.get(victim, progress=False)
    detector = FeatureSqueezing(model, [nn.Sequential(BitDepth(1), MedianSmoothing(2))], "L2")
    test = sets.load(data, "test")
    clean, _ = test.tensors(slice(len(test) - held_out, len(test)))
    scores = scored(detector, clean)
    rates = PUBLISHED[CLEAN][0]
    found = {f"published {z:.4f}": (z, r) for z, r in zip(ZETA, rates, strict=True)}
    found |= {f"clean rate {r:.1%}": (float(threshold_at(scores, r)), r) for r in rates}
    return model, detector, found


def _made(config: Config, name: str = TYPE_ONE) -> "Transformed":
    """The images, and what the Type I attack makes of them."""
    from dataclasses import replace

    from trompe.attacks.type_one import TypeI
    from trompe.experiments.type_one._digits import Made, transformed

    attack = TypeI(steps=config.type_one_steps, lr=config.type_one_lr, **config.options)
    attack = replace(attack, confidence=config.surer) if name == SURER else attack
    return transformed(
        Made(attack, config.n, config.victim, config.svae, config.data, seed=config.seed)
    )


def _scores(config: Config, x: "Tensor") -> "Tensor":
    from trompe.defenses.detectors import scored

    return scored(_setting(config.victim, config.data, config.held_out)[1], x)


def _clean(config: Config) -> Iterator["Record"]:
    """How many of the held-out images and of those to be attacked each threshold refuses."""
    from trompe import data
    from trompe.evaluation.records import Record

    test = data.load(config.data, "test")
    held_out, _ = test.tensors(slice(len(test) - config.held_out, len(test)))
    scores = {"held out": _scores(config, held_out), CLEAN: _scores(config, _made(config).x)}
    for at, (threshold, rate) in _setting(config.victim, config.data, config.held_out)[2].items():
        for name, values in scores.items():
            about = {"set": name, "at": at, "threshold": threshold, "clean rate": rate, "of": "all"}
            caught = int((values > threshold).sum())
            yield Record.rate(
                "detection rate", caught, len(values), subject=config.victim, config=about
            )


def _noticed(config: Config, name: str, attack: "ClassifierAttack") -> Iterator["Record"]:
    """Success and detection of an attack of Type II."""
    import torch

    from trompe.core.execution import predict
    from trompe.core.random import seeds

    made = _made(config)
    model = _setting(config.victim, config.data, config.held_out)[0]
    x_adv = attack(model, made.x, made.y, seeds=seeds(config.seed, made.index))
    shares = predict(model, x_adv).softmax(1)
    sure = torch.nn.functional.one_hot(made.y, shares.shape[1])
    # Where squeezing restores the old answer with certainty the score is this; it cannot tell more.
    reach = torch.linalg.vector_norm(shares - sure, dim=1)

    def won(images: "Tensor") -> "Tensor":
        return predict(model, images).argmax(1) != made.y

    yield from _measured(config, name, x_adv, won, str(attack), reach)


def _type_one(config: Config, name: str) -> Iterator["Record"]:
    """The same of the Type I attack, whose success a judge tells; and how sure the victim still is."""
    from trompe import zoo
    from trompe.core.execution import predict
    from trompe.evaluation.judge import read
    from trompe.evaluation.records import Record

    made = _made(config, name)
    model = _setting(config.victim, config.data, config.held_out)[0]
    judge = zoo.judge_for(config.data, progress=False)

    def won(images: "Tensor") -> "Tensor":
        verdict = read(judge, images)
        kept = predict(model, images).argmax(1) == made.y
        return kept & (verdict.label == made.target) & verdict.real

    attack = f"TypeI, {config.type_one_steps} steps of {config.type_one_lr:g}"
    yield from _measured(config, name, made.x_adv, won, attack)
    told: dict[str, Any] = {"subject": config.victim, "config": {"set": name}}
    yield Record.mean("confidence in the old class", made.confidence[won(made.x_adv)], **told)
    for low, high in ((0.5, 0.7), (0.7, 0.9), (0.9, 1.01)):
        some = (made.confidence >= low) & (made.confidence < high)
        for at, (threshold, _) in _setting(config.victim, config.data, config.held_out)[2].items():
            seen = _scores(config, made.x_adv[some]) > threshold if bool(some.any()) else some[:0]
            about = {"set": name, "at": at, "from": low, "to": min(high, 1.0)}
            told["config"] = about
            yield Record.rate("detection by confidence", int(seen.sum()), len(seen), **told)


def _measured(
    config: Config,
    name: str,
    x_adv: "Tensor",
    succeeded: "Callable[[Tensor], Tensor]",
    attack: str,
    reach: "Tensor | None" = None,
) -> Iterator["Record"]:
    """Success and distance; at each threshold the rates, and the rise over the same images before."""
    from trompe.core.domains import Images
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._shown import rise

    x, own = _made(config).x, {"set": name}
    common: dict[str, Any] = {"subject": config.victim, "attack": attack}
    thresholds = _setting(config.victim, config.data, config.held_out)[2].items()
    before = _scores(config, x)
    for suffix, images in (("", x_adv), (STORED, Images().as_delivered(x_adv))):
        won, scores = succeeded(images), _scores(config, images)
        yield Record.rate(f"success{suffix}", int(won.sum()), len(won), config=own, **common)
        far = (images - x).flatten(1).norm(dim=1)[won]
        yield Record.mean(f"L2 distance{suffix}", far, config=own, **common)
        for at, (threshold, rate) in thresholds:
            about = {**own, "at": at, "threshold": threshold, "clean rate": rate}
            seen = scores > threshold
            for of, some in (("all", won | True), ("successful", won)):
                told = {**common, "config": {**about, "of": of}}
                caught = int(seen[some].sum())
                yield Record.rate(f"detection rate{suffix}", caught, int(some.sum()), **told)
            told["config"] = {**about, "of": "all"}
            yield rise(f"rise over clean{suffix}", seen, before > threshold, **told)
            if reach is not None and not suffix:
                hits = int((reach > threshold)[won].sum())
                told["config"] = {**about, "of": "successful"}
                yield Record.rate("within reach", hits, int(won.sum()), **told)


def _unseen(config: Config, n: int) -> tuple["Tensor", Any, str]:
    """What an attack that knows the detector at its last threshold makes of images; the guarded model."""
    from trompe.attacks.adaptive import BPDA
    from trompe.attacks.carlini_wagner import CW
    from trompe.core.execution import predict
    from trompe.core.random import seeds
    from trompe.defenses import Guarded, Rejecting, SmoothBitDepth

    made = _made(config).take(n)
    model, detector, thresholds = _setting(config.victim, config.data, config.held_out)
    detector.threshold.fill_(list(thresholds.values())[-1][0])
    guarded = Guarded(model, {"squeezing": detector})
    how = CW(steps=config.steps, rounds=config.rounds, lr=config.lr, c=1.0, targeted=True)
    attack = BPDA(how, site="guarded.detectors.squeezing.squeezers.0.0")
    attack = attack.using(surrogate=SmoothBitDepth(1))
    rejecting, own = Rejecting(guarded, config.weight), seeds(config.seed, made.index)
    likely = (
        predict(model, made.x).scatter(1, made.y[:, None], -math.inf).argsort(1, descending=True)
    )
    x_adv = made.x.clone()
    for place in range(config.targets):
        logits, accepted = guarded.decide(x_adv)
        rows = ((logits.argmax(1) == made.y) | ~accepted).nonzero()[:, 0]
        if len(rows):
            x_adv[rows] = attack(rejecting, made.x[rows], likely[rows, place], seeds=own[rows])
    return x_adv, guarded, str(attack)


def _knowing(config: Config) -> Iterator["Record"]:
    """How often the attack that knows the detector is wrong and accepted, and how far it goes for that."""
    from trompe.core.domains import Images
    from trompe.evaluation.records import Record

    made = _made(config).take(config.knowing)
    x_adv, guarded, attack = _unseen(config, config.knowing)
    common: dict[str, Any] = {"subject": config.victim, "attack": attack}
    common["config"] = {"set": KNOWING}
    common["threat"] = "White box: the attacker knows the weights, the squeezer and its threshold."
    for suffix, images in (("", x_adv), (STORED, Images().as_delivered(x_adv))):
        logits, accepted = guarded.decide(images)
        passed = accepted & (logits.argmax(1) != made.y)
        yield Record.rate(f"wrong and accepted{suffix}", int(passed.sum()), len(made), **common)
        far = (images - made.x).flatten(1).norm(dim=1)[passed]
        yield Record.mean(f"L2 distance{suffix}", far, **common)


def _examples(config: Config) -> Iterator["Record"]:
    """Images as they came and squeezed, with the distance of the two answers over each pair."""
    import torch

    from trompe.core.random import seeds
    from trompe.experiments.type_one._shown import picture, strips

    made = _made(config).take(config.shown)
    model, detector, _ = _setting(config.victim, config.data, config.held_out)
    rows = {CLEAN: made.x}
    for name, attack in attacks(config).items():
        if name == "FGSM" or "confidence" in name:
            rows[name] = attack(model, made.x, made.y, seeds=seeds(config.seed, made.index))
    rows |= {TYPE_ONE: made.x_adv, KNOWING: _unseen(config, config.shown)[0]}
    words, images = [], []
    for x in rows.values():
        squeezed = detector.squeezers[0](x)
        images.append(torch.stack([x, squeezed], 1).flatten(0, 1))
        words.append([w for score in _scores(config, x) for w in (f"{float(score):.2f}", "")])
    content = strips(images, words)
    yield picture(
        PICTURE, content, config.shown, subject=config.victim, config={"rows": list(rows)}
    )


def pictures(records: Iterable["Record"]) -> dict[str, bytes]:
    """The examples."""
    from trompe.experiments.type_one._shown import drawn

    return drawn(records)


def render(records: Iterable["Record"]) -> str:
    """Detection rates beside the published ones, and what follows."""
    from trompe.experiments.type_one._squeeze_page import rendered

    return rendered(list(records))
