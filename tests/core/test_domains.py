"""Domains: what an input is."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from trompe.core.domains import Images, Vectors
from trompe.core.errors import UserError
from trompe.core.geometry import Ball, norm


def examples(domain: Images | Vectors) -> Tensor:
    torch.manual_seed(0)
    if isinstance(domain, Images):
        return torch.rand(4, 3, 5, 6, dtype=torch.float64) * (domain.high - domain.low) + domain.low
    return torch.randn(4, 7, dtype=torch.float64) * 3


DOMAINS = [Images(), Images(-1.0, 1.0), Vectors()]


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
class TestEveryDomain:
    def test_takes_its_own(self, domain: Images | Vectors) -> None:
        x = examples(domain)
        domain.validate(x)
        assert torch.equal(domain.project(x), x)
        domain.validate(domain.project(x + 5))
        domain.validate(domain.as_delivered(x).float())

    def test_regions_hold_their_projections(self, domain: Images | Vectors) -> None:
        x = examples(domain)
        for kind, eps in (("Linf", 0.2), ("L2", 0.7), ("L1", 1.5)):
            ball = Ball(eps, kind)
            region = domain.region(x, ball)
            found = region.project(x + torch.randn_like(x))
            assert float(norm(found - x, kind).max()) <= eps + 1e-12
            domain.validate(found)
            assert torch.allclose(region.project(found), found, atol=1e-12)
            assert torch.allclose(region.project(x), x, atol=1e-12)
            wanted = ball.project(torch.full_like(x, 9.0)) + x
            assert torch.allclose(domain.project(wanted), wanted) or isinstance(domain, Images)

    def test_distances_are_per_example(self, domain: Images | Vectors) -> None:
        x, other = examples(domain), examples(domain).flip(0)
        found = domain.distances(x, other)
        assert {"L1", "L2", "Linf"} <= set(found)
        for kind in ("L1", "L2", "Linf"):
            order = {"L1": 1, "L2": 2, "Linf": np.inf}[kind]
            wanted = np.linalg.norm((other - x).flatten(1).numpy(), order, axis=1)
            assert np.allclose(found[kind].numpy(), wanted)
        assert all(not v.any() for v in domain.distances(x, x).values())

    def test_renders_pictures(self, domain: Images | Vectors) -> None:
        shown = domain.render(examples(domain))
        assert shown.dtype == np.uint8
        assert shown.ndim == 4
        assert shown.shape[0] == 4
        assert shown.shape[3] == 3

    def test_refuses_what_is_no_batch_of_floats(self, domain: Images | Vectors) -> None:
        x = examples(domain)
        for wrong, message in (
            (x.numpy(), "tensor"),
            ((x * 100).int(), "floating"),
            (x[:0], "empty"),
            (x.clone().fill_(torch.nan), "finite"),
            (x.clone().fill_(torch.inf), "finite"),
            (x[0, 0], "shape"),
        ):
            with pytest.raises(UserError, match=message):
                domain.validate(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 3])
def test_delivery_is_a_round_trip_through_a_png(channels: int) -> None:
    torch.manual_seed(0)
    x = torch.rand(6, channels, 9, 11)
    x[0, 0, 0, :3] = torch.tensor([0.0, 1.0, 0.5])
    for given, told in zip(x, Images().as_delivered(x), strict=True):
        pixels = np.round(given.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, "PNG")
        back = np.asarray(Image.open(io.BytesIO(file.getvalue())))
        back = back.reshape(9, 11, channels).transpose(2, 0, 1) / 255
        assert np.allclose(told.numpy(), back, atol=1e-7)
    delivered = Images().as_delivered(x)
    assert torch.equal(Images().as_delivered(delivered), delivered)


def test_signed_images_have_256_levels_too() -> None:
    x = torch.linspace(-1, 1, 5000).view(1, 1, 50, 100)
    delivered = Images(-1.0, 1.0).as_delivered(x)
    assert len(delivered.unique()) == 256
    assert float((delivered - x).abs().max()) <= 1 / 255 + 1e-6


def test_pixels_are_counted_once() -> None:
    x = torch.zeros(1, 3, 2, 2)
    other = x.clone()
    other[0, :, 0, 0] = 0.5
    other[0, 1, 1, 1] = 0.25
    assert Images().distances(x, other)["L0"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("value", "message"),
    [(200.0, "divide by 255"), (-1.0, "normalisation"), (1.5, "normalisation")],
)
def test_ranges_are_explained(value: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Images().validate(torch.full((1, 1, 2, 2), value))
    Images().validate(torch.full((1, 1, 2, 2), 1 + 5e-7))
