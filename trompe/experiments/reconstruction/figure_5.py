"""Figure 5: codes under attack against the noise of the training, for eight autoencoders.

AE and VAE, without and with a denoising target ("d0" and "d1" in the paper's legend), on MNIST and
Fashion-MNIST. Each stack of autoencoder and classifier is attacked at one radius, where accuracy begins to
fall, and what happens to the codes is measured: angle, length, displacement, the width of all codes, and
where on the way to the code the perturbation parts from noise.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record
    from trompe.experiments.reconstruction._attacked import Defended

__all__ = [
    "KINDS",
    "PAIRS",
    "PUBLISHED",
    "SCALES",
    "Config",
    "pictures",
    "render",
    "run",
]

KINDS = ("ae", "dae", "vae", "dvae")
PAIRS = (("ae", "vae"), ("dae", "dvae"), ("dvae", "vae"))
"""Who is compared with whom, image by image."""


@dataclass(frozen=True)
class Config:
    """What is attacked, and how finely codes are measured.

    Args:
        data: data sets.
        stps: standard deviations of the training noise.
        n: test images attacked: of the first ones, those that the stack reads correctly.
        eps: the Linf radius of the attack; the paper picks one for each data set and its text names none.
        steps: gradients of the attack, which returns the smallest change that succeeds.
        wide: test codes whose diameter is taken.
        sets: disjoint sets of so many.
        near: L2 radius in which the encoder's largest stretch is searched.
        power, search: steps of the power iteration, and of that search.
        draws: of the noise that gains are compared with.
    """

    data: tuple[str, ...] = ("mnist", "fashion-mnist")
    stps: tuple[float, ...] = (0.0, 0.1, 0.2, 0.4)
    n: int = 300
    eps: float = 0.1
    steps: int = 100
    wide: int = 1000
    sets: int = 5
    near: float = 0.5
    power: int = 20
    search: int = 20
    draws: int = 4
    seed: int = 0


SCALES = {
    "smoke": Config(("digits",), (0.0, 0.4), 40, 0.1, 20, 50, 2, power=5, search=3, draws=2),
    "cpu": Config(),
    "paper": Config(stps=(0.0, 0.1, 0.2, 0.3, 0.4), n=1000, sets=10, power=30, search=40),
}

PUBLISHED = {"AE over VAE": (3.0, "Hlihor et al. 2020, section 5: the diameter of an AE's codes")}
"""All else of the figure is qualitative: its plotted values are not in the text."""


def run(config: Config, store: Store) -> Iterator["Record"]:
    """A cell for each data set and noise: its autoencoders, and their differences image by image."""
    cells = [(data, stp) for data in config.data for stp in config.stps]
    store.total = len(cells)
    for data, stp in cells:
        yield from store.cell(
            f"{data}, stp {stp:g}",
            lambda data=data, stp=stp: list(_cell(config, data, stp)),  # type: ignore[misc]
        )


def _cell(config: Config, data: str, stp: float) -> Iterator["Record"]:
    from trompe.evaluation.records import Record
    from trompe.experiments.reconstruction._attacked import Defended

    every = {d.kind: d for d in (Defended(data, kind, stp) for kind in KINDS)}
    moved = {}
    for kind, defended in every.items():
        about: dict[str, Any] = {"subject": str(defended)}
        about["config"] = {"data": data, "kind": kind, "stp": stp}
        moved[kind], told = _measured(config, defended, about)
        yield from told
    for one, other in PAIRS:
        if one in moved and other in moved:
            for metric in ("turn", "stretch", "displacement", "relative displacement"):
                apart = moved[one][metric] - moved[other][metric]
                where = {"data": data, "kind": f"{one} - {other}", "stp": stp}
                subject = f"{data}, {one.upper()} less {other.upper()}, stp {stp:g}"
                yield Record.mean(f"{metric} apart", _known(apart), subject=subject, config=where)


def _known(values: "Tensor") -> "Tensor":
    return values[values.isfinite()]


def _measured(
    config: Config, defended: "Defended", about: dict[str, Any]
) -> "tuple[dict[str, Tensor], list[Record]]":
    """Numbers per image, NaN where none was attacked; and the records of one autoencoder."""
    import torch

    from trompe import data
    from trompe.core.execution import predict
    from trompe.evaluation.codes import codes_of, diameter
    from trompe.evaluation.records import Record

    device = "cuda" if torch.cuda.is_available() else "cpu"
    test = data.load(defended.data, "test")
    stack = defended.stack(device)[0.0]
    images, labels = test.take(config.n).tensors()
    assert labels is not None
    x, y = images.to(device), labels.to(device)
    some = predict(stack, x).argmax(1) == y
    attack, found = _attack(config, stack, x, y, some)
    threat = (
        "White box: the attacker knows the whole classifier, and attacks through the mean code."
    )
    about |= {"attack": attack, "threat": threat, "eps": config.eps, "norm": "Linf"}
    model: Any = stack.autoencoder
    many = codes_of(model, test.take(config.wide * config.sets).tensors()[0].to(device))
    sets = [part for part in many.split(config.wide) if len(part) == config.wide]
    widths = [diameter(part) for part in sets]
    told = [
        Record(
            "diameter", widths[0], config.wide, min(widths), max(widths),
            f"range of {len(widths)} sets", subject=about["subject"], config=about["config"],
        ),
        Record.rate("success", int((predict(stack, found[some]).argmax(1) != y[some]).sum()),
                    int(some.sum()), **about),
    ]  # fmt: skip
    values = _values(config, model, x, found)
    values["share of the diameter"] = values["displacement"] / widths[0]
    told += [Record.mean(name, _known(v), **about) for name, v in values.items()]
    told += _gains(config, model, x[some], found[some], about)
    return values, told


def _attack(
    config: Config, stack: Any, x: "Tensor", y: "Tensor", some: "Tensor"
) -> "tuple[str, Tensor]":
    """The paper's attack on the images that are read correctly."""
    from trompe.attacks import ProjectedCW
    from trompe.core import random
    from trompe.core.execution import execution, has_fast_bf16
    from trompe.core.geometry import Ball

    attack, found = ProjectedCW(Ball(config.eps), steps=config.steps), x.clone()
    seeds = random.seeds(config.seed, len(x)).to(x.device)
    with execution(precision="bf16" if has_fast_bf16(x.device.type) else "float32"):
        if bool(some.any()):
            found[some] = attack(stack, x[some], y[some], seeds=seeds[some])
    return str(attack), found


def _values(config: Config, model: Any, x: "Tensor", found: "Tensor") -> "dict[str, Tensor]":
    """Of each image: what happened to its code, and how steep the encoder is there."""
    import torch

    from trompe.core import random
    from trompe.core.geometry import norm
    from trompe.evaluation import codes

    seeds = random.seeds(config.seed, len(x)).to(x.device)
    before, after = codes.codes_of(model, x), codes.codes_of(model, found)
    length, far = norm(found - x, "L2"), codes.displacement(before, after)
    turned, ratio = codes.cosine(before, after), codes.norm_ratio(before, after)
    moved = {
        "cosine": turned,
        "norm ratio": ratio,
        "turn": 1 - turned,
        "stretch": ratio.log().abs(),
        "displacement": far,
        "relative displacement": far / norm(before, "L2"),
        "length": length,
    }
    still = length == 0
    nearby = codes.largest_ratio(
        model, x, config.near, steps=config.search, restarts=1, seeds=seeds
    )
    return {name: torch.where(still, torch.nan, value) for name, value in moved.items()} | {
        "code norm": norm(before, "L2"),
        "local Lipschitz": codes.local_lipschitz(model, x, steps=config.power, seeds=seeds),
        "largest ratio": nearby.value,
    }


def _gains(
    config: Config, model: Any, x: "Tensor", found: "Tensor", about: dict[str, Any]
) -> "Iterator[Record]":
    """Of each layer: the gain of the perturbation, and how many times that of noise it is."""
    from trompe.core import random
    from trompe.evaluation.layer_gains import layer_gains
    from trompe.evaluation.records import Record

    seeds = random.seeds(config.seed, len(x)).to(x.device)
    for name, gain in layer_gains(model, x, found, draws=config.draws, seeds=seeds).items():
        where = {**about, "config": {**about["config"], "layer": name}}
        yield Record.mean("gain", _known(gain.perturbation), **where)
        yield Record.mean("relative gain", _known(gain.relative), **where)


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """Cosine, norm ratio, displacement and diameter against the noise, for each data set."""
    from trompe.experiments.reconstruction._codes_page import drawn

    return drawn(list(records))


def render(records: Iterable["Record"]) -> str:
    """The claims, the curves, the numbers, and the layers."""
    from trompe.experiments.reconstruction._codes_page import rendered

    return rendered(list(records))
