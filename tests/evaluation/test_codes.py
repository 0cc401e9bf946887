"""Codes and the encoder's stretch, where they are known: circles, linear maps, one quadratic."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.geometry import norm
from trompe.core.jacobian import Linearised
from trompe.core.protocols import PointMass
from trompe.core.random import seeds
from trompe.evaluation import codes, layer_gains
from trompe.evaluation.codes import (
    codes_of,
    cosine,
    diameter,
    displacement,
    largest_ratio,
    local_lipschitz,
    norm_ratio,
)
from trompe.evaluation.layer_gains import CODE
from trompe.models import AE, VAE


class Layered(nn.Module):
    """A linear encoder of two layers, and a code that is moved off the origin."""

    def __init__(self, first: Tensor, second: Tensor, offset: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Linear(first.shape[1], first.shape[0], bias=False)
        self.second = nn.Linear(second.shape[1], second.shape[0], bias=False)
        self.first.weight, self.second.weight = nn.Parameter(first), nn.Parameter(second)
        self.offset = offset

    def encode(self, x: Tensor) -> PointMass:
        return PointMass(self.second(self.first(x.flatten(1))) + self.offset)


class Bowl(nn.Module):
    """`mu = sum x^2`, whose slope grows away from the origin."""

    def encode(self, x: Tensor) -> PointMass:
        return PointMass(x.square().sum(1, keepdim=True))


def matrix(rows: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


FIRST, SECOND = matrix(5, 6, 0), matrix(3, 5, 1)
WHOLE = SECOND @ FIRST
X = matrix(7, 6, 2)


@dataclass(frozen=True)
class Measures:
    """The functions under test; a mutant replaces one."""

    cosine: Callable[..., Tensor] = cosine
    norm_ratio: Callable[..., Tensor] = norm_ratio
    displacement: Callable[..., Tensor] = displacement
    diameter: Callable[..., float] = diameter
    gains: Callable[..., Any] = layer_gains.layer_gains
    lipschitz: Callable[..., Tensor] = local_lipschitz
    ratio: Callable[..., Any] = largest_ratio


def turned_and_stretched(by: Measures) -> None:
    """Codes turned by an angle about the origin, and made longer."""
    angle = torch.linspace(0, math.pi, 7, dtype=torch.float64)
    clean = 3 * torch.stack([torch.ones(7), torch.zeros(7)], 1).double()
    moved = 5 * torch.stack([angle.cos(), angle.sin()], 1)
    torch.testing.assert_close(by.cosine(clean, moved), angle.cos())
    torch.testing.assert_close(by.norm_ratio(clean, moved), torch.full_like(angle, 5 / 3))
    chord = (9 + 25 - 30 * angle.cos()).sqrt()
    torch.testing.assert_close(by.displacement(clean, moved), chord)


def points_on_a_circle(by: Measures) -> None:
    """An odd polygon has no opposite corners: its diameter is `2 r cos(pi / 2n)`; and the two farthest of
    a cloud that is wide in one direction, wherever in the batch they stand."""
    for n, shift in ((4, 0.0), (9, 100.0), (701, -3.0)):
        angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
        points = 2 * torch.stack([angle.cos(), angle.sin()], 1) + shift
        exact = 4 * (1 if n % 2 == 0 else math.cos(math.pi / (2 * n)))
        for chunk in (3, 64, 1024):
            assert by.diameter(points, chunk=chunk) == pytest.approx(exact, rel=1e-9)
    cloud = matrix(300, 4, 5) * torch.tensor([1.0, 1.0, 1.0, 3.0], dtype=torch.float64)
    brute = float((cloud[:, None] - cloud[None]).norm(dim=2).max())
    assert by.diameter(cloud, chunk=16) == pytest.approx(brute, rel=1e-12)


def gains_of_linear_layers(by: Measures) -> None:
    """`||W d|| / ||d||` at each layer, whatever the point, and noise that gains `||W||_F / sqrt(D)` in
    the root mean square."""
    moved = X + 0.3 * matrix(7, 6, 3)
    found = by.gains(Layered(FIRST, SECOND, 4.0).eval(), X, moved, draws=400)
    assert list(found) == ["first", "second", CODE]
    shift = moved - X
    for name, w in (("first", FIRST), ("second", WHOLE), (CODE, WHOLE)):
        exact = (shift @ w.T).norm(dim=1) / shift.norm(dim=1)
        torch.testing.assert_close(found[name].perturbation, exact)
        torch.testing.assert_close(found[name].relative, exact / found[name].noise)
        generator = torch.Generator().manual_seed(9)
        ways = torch.randn(20_000, 6, generator=generator, dtype=torch.float64)
        typical = float(((ways @ w.T).norm(dim=1) / ways.norm(dim=1)).mean())
        assert float(found[name].noise.mean()) == pytest.approx(typical, rel=0.02)


def stretch_of_a_linear_map(by: Measures) -> None:
    """The largest singular value, everywhere and at any radius."""
    model, top = Layered(FIRST, SECOND, -2.0).eval(), torch.linalg.matrix_norm(WHOLE, 2)
    local = by.lipschitz(model, X, steps=60)
    torch.testing.assert_close(local, top.expand(7), rtol=1e-6, atol=0)
    for eps in (1e-3, 10.0):
        found = by.ratio(model, X, eps, domain=Vectors())
        torch.testing.assert_close(found.value, top.expand(7), rtol=1e-4, atol=0)
        far = (WHOLE @ (found.at - X).T).norm(dim=0) / (found.at - X).norm(dim=1)
        torch.testing.assert_close(found.value, far)


def stretch_of_a_bowl(by: Measures) -> None:
    """At x the slope is `2 ||x||`; within eps the steepest secant is `2 ||x|| + eps`, straight outwards."""
    size = X.norm(dim=1)
    torch.testing.assert_close(by.lipschitz(Bowl().eval(), X), 2 * size)
    for eps in (0.1, 1.0):
        found = by.ratio(Bowl().eval(), X, eps, domain=Vectors())
        torch.testing.assert_close(found.value, 2 * size + eps, rtol=1e-4, atol=0)
        assert (norm(found.at - X, "L2") <= eps * (1 + 1e-9)).all()


ORACLES = [
    turned_and_stretched,
    points_on_a_circle,
    gains_of_linear_layers,
    stretch_of_a_linear_map,
    stretch_of_a_bowl,
]


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.__name__)
def test_what_is_known_in_closed_form(oracle: Callable[[Measures], None]) -> None:
    oracle(Measures())


def _centred(clean: Tensor, moved: Tensor) -> Tensor:
    return cosine(clean - clean.mean(0), moved - clean.mean(0))


def _within_blocks(points: Tensor, *, chunk: int) -> float:
    return max(float(torch.cdist(part, part).max()) for part in points.split(chunk))


def _twice_the_radius(points: Tensor, *, chunk: int) -> float:
    return 2 * float((points - points.mean(0)).norm(dim=1).max())


def _total_gain(model: Any, x: Tensor, moved: Tensor, **rest: Any) -> Any:
    """Forgets to divide by the length of the perturbation."""
    length = norm(moved - x, "L2")
    found = layer_gains.layer_gains(model, x, moved, **rest)
    return {k: g._replace(perturbation=g.perturbation * length) for k, g in found.items()}


def _longer_noise(model: Any, x: Tensor, moved: Tensor, **rest: Any) -> Any:
    """Compares with noise of unit length, divided by the length of the perturbation."""
    length = norm(moved - x, "L2")
    found = layer_gains.layer_gains(model, x, moved, **rest)
    return {k: g._replace(noise=g.noise / length) for k, g in found.items()}


def _frobenius(model: Any, x: Tensor, **rest: Any) -> Tensor:
    at = Linearised(lambda v: model.encode(v).mean, x)
    basis = torch.eye(at.y.shape[1], dtype=x.dtype)
    return (
        torch.stack([at.transpose(e.expand_as(at.y)).square().sum(1) for e in basis]).sum(0).sqrt()
    )


def _first_order(model: Any, x: Tensor, eps: float, **rest: Any) -> codes.Ratio:
    """Takes the slope for the secant."""
    return codes.Ratio(local_lipschitz(model, x), x)


def _one_sign(model: Any, x: Tensor, eps: float, **rest: Any) -> codes.Ratio:
    """Looks inwards."""
    found = largest_ratio(model, x, eps, **rest).at
    other = 2 * x - found
    far = norm(codes_of(model, other) - codes_of(model, x), "L2")
    return codes.Ratio(far / norm(other - x, "L2"), other)


MUTANTS = {
    "cosine about the centre": Measures(cosine=_centred),
    "ratio upside down": Measures(norm_ratio=lambda a, b: norm_ratio(b, a)),
    "squared displacement": Measures(displacement=lambda a, b: (a - b).square().sum(1)),
    "diameter within blocks": Measures(diameter=_within_blocks),
    "twice the radius": Measures(diameter=_twice_the_radius),
    "gain not per length": Measures(gains=_total_gain),
    "noise of another length": Measures(gains=_longer_noise),
    "Frobenius norm": Measures(lipschitz=_frobenius),
    "one step of power iteration": Measures(
        lipschitz=lambda m, x, **rest: local_lipschitz(m, x, steps=1)
    ),
    "slope for secant": Measures(ratio=_first_order),
    "inwards": Measures(ratio=_one_sign),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_measure_fails(name: str) -> None:
    def fails(oracle: Callable[[Measures], None]) -> bool:
        try:
            oracle(MUTANTS[name])
        except AssertionError:
            return True
        return False

    assert any(map(fails, ORACLES))


@pytest.mark.parametrize("make", [AE, VAE])
def test_our_encoders_are_measured_and_left_as_found(make: Callable[..., Any]) -> None:
    """Rows do not depend on their batch, the search stays in the box, and nothing sticks to the model."""
    model = make((1, 8, 8), latent=4, architecture="conv", channels=(4, 4)).eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, 1, 8, 8, generator=generator)
    before, keys = torch.random.get_rng_state(), seeds(0, 6)
    moved = (x + 0.1).clamp(0, 1)
    gains = layer_gains.layer_gains(model, x, moved, seeds=keys)
    local = local_lipschitz(model, x, seeds=keys)
    found = largest_ratio(model, x, 0.3, seeds=keys)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not any(m._forward_hooks for m in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert 0 <= float(found.at.min()) <= float(found.at.max()) <= 1
    direct = displacement(codes_of(model, x), codes_of(model, found.at)) / norm(found.at - x, "L2")
    torch.testing.assert_close(found.value, direct)
    torch.testing.assert_close(gains["mean"].perturbation, gains[CODE].perturbation)
    alone = layer_gains.layer_gains(model, x[4:], moved[4:], seeds=keys[4:])
    torch.testing.assert_close(alone[CODE].relative, gains[CODE].relative[4:], rtol=1e-3, atol=0)
    torch.testing.assert_close(local_lipschitz(model, x[4:], seeds=keys[4:]), local[4:])


def test_an_output_that_the_next_layer_overwrites_is_read_before() -> None:
    class Overwriting(Layered):
        def encode(self, x: Tensor) -> PointMass:
            return PointMass(nn.functional.relu_(self.first(x)))

    gains = layer_gains.layer_gains(Overwriting(FIRST, SECOND).eval(), X, X + 0.1)
    exact = FIRST.sum(1).norm() / math.sqrt(6)
    torch.testing.assert_close(gains["first"].perturbation, exact.expand(7))


def test_chosen_layers_need_not_be_leaves_and_equal_inputs_have_no_gain() -> None:
    model = AE((1, 8, 8), latent=3, hidden=(4,)).eval()
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    moved = torch.cat([x[:1], 1 - x[1:]])
    gains = layer_gains.layer_gains(model, x, moved, layers=["encoder"])
    assert list(gains) == ["encoder", CODE]
    assert gains["encoder"].relative.isnan().tolist() == [True, False]


def test_slips_are_explained() -> None:
    model, x = AE((1, 8, 8), latent=3, hidden=(4,)).eval(), torch.rand(2, 1, 8, 8)
    slips: list[tuple[str, Callable[[], Any]]] = [
        ("eval", lambda: codes_of(AE((1, 8, 8), latent=3, hidden=(4,)).train(), x)),
        ("no encode", lambda: codes_of(nn.Flatten().eval(), x)),
        ("no input", lambda: codes_of(model, x[:0])),
        ("in pairs", lambda: cosine(x, x[:1])),
        ("two codes", lambda: diameter(x[:1])),
        ("in pairs", lambda: layer_gains.layer_gains(model, x, x[:1])),
        ("no layer 'nose'", lambda: layer_gains.layer_gains(model, x, x, layers=["nose"])),
        ("'decoder'", lambda: layer_gains.layer_gains(model, x, x, layers=["decoder"])),
        ("draws", lambda: layer_gains.layer_gains(model, x, x, draws=0)),
        ("steps", lambda: local_lipschitz(model, x, steps=0)),
        ("eps", lambda: largest_ratio(model, x, 0.0)),
        ("0, 1", lambda: largest_ratio(model, 300 * x, 0.1)),
    ]
    for words, slip in slips:
        with pytest.raises(UserError, match=words):
            slip()
