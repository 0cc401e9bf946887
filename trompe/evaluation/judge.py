"""How far a judge can be trusted: its errors on real images, and what it makes of garbage.

A judge stands in for people. So it is measured as people would be: on images that nothing of it was trained
on, on images that are none, and on honest decodings, which a judge that despises every decoder would refuse.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trompe.attacks.gradient import PGD
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import device_of
from trompe.core.geometry import Ball
from trompe.data import Dataset
from trompe.evaluation.records import Record
from trompe.models.judge import PROXY, UNDECIDED, Judge, Verdict

__all__ = ["FAR", "UNDECIDED", "Judge", "Verdict", "about_judge", "garbage", "read", "trust"]

FAR = 3.0
"""Codes of garbage are so many times as long as the prior's."""
_ROWS = 250


def read(judge: nn.Module, x: Tensor) -> Verdict:
    """The verdicts on any number of images, in pieces that fit."""
    parts = [judge(part) for part in x.to(device_of(judge, x)).split(_ROWS)]
    return Verdict(*(torch.cat(column) for column in zip(*parts, strict=True)))


def about_judge(judge: nn.Module) -> str:
    """One sentence for tables and records: who judged, and how good they are on clean images.

    >>> class Constant(nn.Module):
    ...     def card(self):
    ...         return {"members": ["mixer", "resnet"], "right": 99, "n": 100}
    >>> about_judge(Constant())
    'judged by classifiers, not people: mixer, resnet, right on 99 of 100 clean test images'
    """
    card: dict[str, Any] = judge.card() if hasattr(judge, "card") else {}  # type: ignore[operator]
    known = ", ".join(card.get("members", [type(judge).__name__]))
    score = f", right on {card['right']} of {card['n']} clean test images" if "n" in card else ""
    return f"{PROXY}: {known}{score}"


def trust(
    judge: nn.Module,
    test: Dataset,
    *,
    generator: nn.Module | None = None,
    victim: nn.Module | None = None,
    seed: int = 0,
    **common: Any,
) -> Iterator[Record]:
    """What a judge makes of real images, of honest decodings and of garbage, a record each.

    Of real images: "accuracy" (the label, by vote), "undecided", and "taken as real", which should be one
    minus the rate it was calibrated at. Of "decoded" images (with a `generator`, an autoencoder): "taken as
    real" and "accuracy" once more. Of each kind of `garbage`: "taken as real".

    Args:
        judge: what is measured.
        test: labelled images that nothing of it was trained or calibrated on.
        generator: an autoencoder, which gives decodings of the images and of codes far from its prior.
        victim: a classifier, which gives images noised by an attack.
        seed: of the garbage.
        common: what all records share; their `config` gains the kind of images.

    Raises:
        UserError: images without labels.
    """
    x, y = test.tensors()
    if y is None:
        raise UserError(f"{test.name} has no labels; a judge's accuracy needs them")
    config = {"judge": about_judge(judge), **common.pop("config", {})}

    def rate(metric: str, hits: Tensor, kind: str) -> Record:
        own = {**config, "images": kind}
        return Record.rate(metric, int(hits.sum()), len(hits), config=own, seed=seed, **common)

    seen = read(judge, x)
    yield rate("accuracy", seen.label.cpu() == y, "real")
    yield rate("undecided", seen.label == UNDECIDED, "real")
    yield rate("taken as real", seen.real, "real")
    if generator is not None:
        honest = read(judge, _decoded(generator, x))
        yield rate("accuracy", honest.label.cpu() == y, "decoded")
        yield rate("taken as real", honest.real, "decoded")
    made = garbage(x, y, seed=seed, generator=generator, victim=victim)
    for kind, images in made.items():
        yield rate("taken as real", read(judge, images).real, kind)


@torch.no_grad()
def _decoded(generator: Any, x: Tensor) -> Tensor:
    device = device_of(generator, x)
    parts = [generator.decode(generator.encode(part.to(device)).mean) for part in x.split(_ROWS)]
    return torch.cat(parts).clamp(0, 1)


def garbage(
    x: Tensor,
    y: Tensor,
    *,
    seed: int = 0,
    generator: nn.Module | None = None,
    victim: nn.Module | None = None,
) -> dict[str, Tensor]:
    """Images that are none of their kind, by name, made of real ones `x` `(B, C, H, W)` with labels `y`.

    "uniform noise"; "uniform grey"; "shuffled pixels"; "averages", of two images of different classes;
    "turned parts", one quarter turned upside down; with a generator "far codes", decoded from codes `FAR`
    times as long as the prior's; with a victim "attacked", moved by PGD at Linf 0.3 until it errs.

    Averages need two classes, and are left out where there is one.

    >>> sorted(garbage(torch.rand(4, 1, 8, 8), torch.tensor([0, 0, 1, 1])))
    ['averages', 'shuffled pixels', 'turned parts', 'uniform grey', 'uniform noise']
    """
    seeds = random.seeds(seed, len(x))
    with random.streams(seeds):
        noise = random.uniform(tuple(x.shape))
        level = random.uniform((len(x), 1, 1, 1))
        order = random.uniform((len(x), math.prod(x.shape[2:]))).argsort(1)
    made = {"uniform noise": noise, "uniform grey": level.expand_as(x).contiguous()}
    flat = x.flatten(2)
    made["shuffled pixels"] = flat.gather(2, order[:, None].expand_as(flat)).view_as(x)
    if bool((y != y[0]).any()):
        other = torch.stack([(y != label).nonzero()[k % int((y != label).sum()), 0]
                             for k, label in enumerate(y)])  # fmt: skip
        made["averages"] = (x + x[other]) / 2
    made["turned parts"] = _turned(x)
    if generator is not None:
        made["far codes"] = _far(generator, len(x), seeds)
    if victim is not None:
        attack = PGD(Ball(0.3), steps=20, early_stop=False)
        made["attacked"] = attack(victim, x, y, seeds=seeds)
    return made


def _turned(x: Tensor) -> Tensor:
    """One quarter of each image, the four in turn, turned upside down about its own middle."""
    made = x.clone()
    height, width = x.shape[2] // 2, x.shape[3] // 2
    for quarter in range(4):
        top, left = height * (quarter // 2), width * (quarter % 2)
        rows = slice(quarter, None, 4)
        part = x[rows, :, top : top + height, left : left + width]
        made[rows, :, top : top + height, left : left + width] = part.flip(2, 3)
    return made


@torch.no_grad()
def _far(generator: Any, n: int, seeds: Tensor) -> Tensor:
    with random.streams(seeds):
        code = FAR * random.normal((n, generator.prior.mean.numel()))
    device = device_of(generator, code)
    return torch.cat([generator.decode(part.to(device)) for part in code.split(_ROWS)]).clamp(0, 1)
