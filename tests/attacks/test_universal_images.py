"""The searches for one perturbation of every message, given image models instead of radios."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trompe import zoo
from trompe.attacks.arrival import Jamming
from trompe.attacks.universal import DAMAGE, MISREAD, Universal
from trompe.attacks.universal_search import IterativeUniversal, PrincipalUniversal
from trompe.core import random
from trompe.core.geometry import Ball
from trompe.data import Dataset, load

BALL = Ball(1.5, "L2")
Tail = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def learning() -> list[tuple[Tensor, Tensor]]:
    x, y = load("digits", split="train").take(800).tensors()
    assert y is not None
    return list(zip(x.split(200), y.split(200), strict=True))


def _by_nearest_code(learning: list[tuple[Tensor, Tensor]]) -> Tail:
    """The encoder of the zoo's VAE as a classifier: the class whose mean code is nearest."""
    encode = zoo.get("digits-vae").encode_mean
    with torch.no_grad():
        codes = torch.cat([encode(x) for x, _ in learning])
    y = torch.cat([labels for _, labels in learning])
    centres = torch.stack([codes[y == k].mean(0) for k in range(10)])
    return lambda x: -torch.cdist(encode(x), centres)


@torch.no_grad()
def _right(tail: Tail, x: Tensor, y: Tensor) -> float:
    return float((tail(x).argmax(1) == y).float().mean())


@torch.no_grad()
def _jammed(x: Tensor) -> Tensor:
    with random.streams(random.seeds(0, len(x))):
        return Jamming(BALL.eps)(x)


@pytest.mark.parametrize("victim", ["classifier", "encoder"])
@pytest.mark.parametrize("search", [Universal, IterativeUniversal, PrincipalUniversal])
def test_one_perturbation_of_all_images_misleads_more_than_noise_of_its_size(
    victim: str, search: type, learning: list[tuple[Tensor, Tensor]], digits: Dataset
) -> None:
    tail = zoo.get("digits-mlp") if victim == "classifier" else _by_nearest_code(learning)
    options = {"goal": MISREAD, "steps": 100} if search is Universal else {}
    how = search(BALL, domain=digits.domain, **options)
    found = how.fit(tail, learning)
    x, y = digits.tensors()
    assert y is not None
    assert found.delta.norm().item() <= BALL.eps * (1 + 1e-6)
    attacked = found(x)
    assert torch.equal(digits.domain.project(attacked), attacked), "images stay images"
    clean, noisy = _right(tail, x, y), _right(tail, digits.domain.project(_jammed(x)), y)
    assert clean > 0.8
    assert _right(tail, attacked, y) < noisy - 0.1


def test_one_perturbation_of_all_images_moves_their_codes_further_than_noise_of_its_size(
    learning: list[tuple[Tensor, Tensor]], digits: Dataset
) -> None:
    encode = zoo.get("digits-vae").encode_mean
    with torch.no_grad():
        codes = [(x, encode(x)) for x, _ in learning]
    found = Universal(BALL, goal=DAMAGE, steps=100, domain=digits.domain).fit(encode, codes)
    x, _ = digits.tensors()
    with torch.no_grad():
        moved, jammed = [
            (encode(v) - encode(x)).norm(dim=1).mean().item()
            for v in (found(x), digits.domain.project(_jammed(x)))
        ]
    assert moved > 1.5 * jammed
