"""Feature squeezing: SciPy's median pixel by pixel, closed forms, and broken variants that miss them."""

import math

import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from trompe.attacks.adaptive import straight_through
from trompe.core.errors import UserError
from trompe.core.protocols import Detector
from trompe.defenses import (
    BitDepth,
    FeatureSqueezing,
    Guarded,
    MedianSmoothing,
    SmoothBitDepth,
    squeeze,
)

KERNELS = [1, 2, 3, 4, 5, (1, 3), (2, 3), (4, 1), 9]


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(3, 2, 7, 6), (1, 1, 3, 2)])
def test_the_median_is_scipys_pixel_by_pixel(
    kernel: int | tuple[int, int], shape: tuple[int, ...]
) -> None:
    """Odd and even windows, some larger than the image, with reflected borders."""
    x = images(*shape)
    smooth = MedianSmoothing(kernel)
    expected = ndimage.median_filter(x.numpy(), size=(1, 1, *smooth.kernel), mode="reflect")
    assert torch.equal(smooth(x), torch.from_numpy(expected))


@pytest.mark.parametrize("kernel", [2, 3, (2, 4)])
def test_the_medians_derivative_is_that_of_one_pixel(kernel: int | tuple[int, int]) -> None:
    x = images(2, 1, 5, 5).requires_grad_()
    smooth = MedianSmoothing(kernel)
    assert torch.autograd.gradcheck(smooth, x)
    middle = smooth(x)[0, 0, 2, 2]
    (grad,) = torch.autograd.grad(middle, x)
    assert float(grad.max()) == float(grad.sum()) == 1
    assert torch.equal(x.detach()[grad == 1], middle.detach()[None])


def test_one_bit_is_rounding_and_eight_are_the_file() -> None:
    x = images(4, 1, 6, 6)
    assert torch.equal(BitDepth(1)(x), (x > 0.5).double())
    stored = (x * 255).round() / 255
    assert torch.allclose(BitDepth(8)(x), stored, atol=1e-12)
    assert torch.equal(BitDepth(8)(stored), stored)
    assert torch.equal(BitDepth(3)(x).unique(), torch.arange(8, dtype=x.dtype) / 7)


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_slopes_become_steps_as_they_get_steeper(bits: int) -> None:
    x = images(4, 1, 6, 6)
    apart = [float((SmoothBitDepth(bits, k)(x) - BitDepth(bits)(x)).abs().mean()) for k in (4, 40)]
    assert apart[1] < 0.2 * apart[0]
    assert torch.allclose(SmoothBitDepth(bits, 1e9)(x), BitDepth(bits)(x))


@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_the_median_commutes_with_fewer_bits(kernel: int) -> None:
    """A median picks by order alone, which rounding keeps: what comes first in a joint squeezer is free."""
    x, bits, smooth = images(4, 3, 8, 8), BitDepth(2), MedianSmoothing(kernel)
    assert torch.equal(smooth(bits(x)), bits(smooth(x)))


def linear(weight: float) -> nn.Module:
    """Two classes with logits `(w x_0, 0)`."""
    layer = nn.Linear(2, 2, bias=False).double().eval()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[weight, 0.0], [0.0, 0.0]]))
    return layer


def test_scores_are_distances_between_probabilities() -> None:
    """Of two classes both move by the same amount: L1 is twice it, L2 the square root of two times it."""
    x = torch.tensor([[0.2, 0.9], [0.8, 0.1]], dtype=torch.float64)
    moved = (torch.sigmoid(5 * x[:, 0]) - torch.sigmoid(5 * x[:, 0].round())).abs()
    l1, l2 = (FeatureSqueezing(linear(5.0), [BitDepth(1)], d)(x) for d in ("L1", "L2"))
    assert torch.allclose(l1, 2 * moved)
    assert torch.allclose(l2, math.sqrt(2) * moved)


def test_of_several_squeezers_the_largest_distance_counts() -> None:
    x = images(6, 2)
    alone = [FeatureSqueezing(linear(5.0), [BitDepth(bits)])(x) for bits in (1, 2, 3)]
    together = FeatureSqueezing(linear(5.0), [BitDepth(1), BitDepth(2), BitDepth(3)])(x)
    assert torch.equal(together, torch.stack(alone).amax(0))
    assert bool((together > alone[2]).any())


def test_an_embedders_outputs_are_compared_as_they_are() -> None:
    x = images(6, 2)
    detector = FeatureSqueezing(nn.Identity(), [BitDepth(1)], "L2", softmax=False)
    assert torch.allclose(detector(x), (x - x.round()).norm(dim=1))


def spotted(n: int, spots: int) -> Tensor:
    """Bright squares on black, with so many single bright pixels that a median removes."""
    x = torch.zeros(n, 1, 12, 12)
    x[:, :, 3:9, 3:9] = 1.0
    place = torch.randperm(9, generator=torch.Generator().manual_seed(1))[:spots] * 4
    for row in range(n):
        x[row].view(-1)[(place + row) % 36 // 12 * 12 * 4 + (place + row) % 12] = 1.0
    return x


def test_what_squeezing_removes_is_found_and_nothing_else() -> None:
    """A model that counts bright pixels: spots are noticed, a larger square, which is no noise, is not."""
    count = nn.Sequential(nn.Flatten(), nn.Linear(144, 2, bias=False)).eval()
    with torch.no_grad():
        count[1].weight.copy_(torch.stack([torch.ones(144), torch.zeros(144)]) / 36)
    detector = FeatureSqueezing(count, [nn.Sequential(BitDepth(1), MedianSmoothing(3))], "L2")
    clean = spotted(1, 0)
    threshold = detector(clean)
    assert bool((detector(spotted(4, 6)) > threshold + 0.01).all())
    grown = clean.clone()
    grown[:, :, 2:10, 2:10] = 1.0
    assert bool((detector(grown) <= threshold).all())


def test_the_detector_answers_the_protocol_and_can_be_attacked_through() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    joint = nn.Sequential(BitDepth(1), MedianSmoothing(2))
    clean = images(99, 1, 4, 4).float()
    detector = FeatureSqueezing(model, [joint], "L2").calibrate(clean, fpr=0.1)
    assert isinstance(detector, Detector)
    assert not detector.training
    assert float((detector(clean) > detector.threshold).double().mean()) <= 0.1
    guarded = Guarded(model, [detector])
    assert guarded.decide(clean)[1].shape == (99,)
    x = clean[:3].requires_grad_()
    other = straight_through(detector, site="squeezers.0.0")
    plain, through = (torch.autograd.grad(d(x).sum(), x)[0] for d in (detector, other))
    assert torch.equal(detector(x), other(x))
    assert float((through - plain).norm()) > 0.1 * float(plain.norm())


class LowerMedian(MedianSmoothing):
    """Takes the smaller of the two values in the middle."""

    def forward(self, x: Tensor) -> Tensor:
        return 1 - super().forward(1 - x)


class Mirrored(MedianSmoothing):
    """Reaches down and right first."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(-1, -2)).flip(-1, -2)


@pytest.mark.parametrize("broken", [LowerMedian, Mirrored])
def test_a_broken_median_is_not_scipys(
    broken: type[MedianSmoothing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "MedianSmoothing", broken)
    with pytest.raises(AssertionError):
        test_the_median_is_scipys_pixel_by_pixel(2, (3, 2, 7, 6))


class Truncated(BitDepth):
    """Cuts off where it should round."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x - 0.5 / (2**self.bits - 1)).clamp_min(0))


class Mean(FeatureSqueezing):
    """Averages over the squeezers."""

    def forward(self, x: Tensor) -> Tensor:
        alone = [squeeze.FeatureSqueezing(self.model, [s])(x) for s in self.squeezers]
        return torch.stack(alone).mean(0)


def test_broken_squeezers_and_scores_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "BitDepth", Truncated)
    with pytest.raises(AssertionError):
        test_one_bit_is_rounding_and_eight_are_the_file()
    monkeypatch.undo()
    monkeypatch.setattr(squeeze, "norm", lambda delta, kind: delta.abs().sum(1))
    with pytest.raises(AssertionError):
        test_scores_are_distances_between_probabilities()
    monkeypatch.undo()
    monkeypatch.setitem(globals(), "FeatureSqueezing", Mean)
    with pytest.raises(AssertionError):
        test_of_several_squeezers_the_largest_distance_counts()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: BitDepth(0), "bits must be at least 1"),
        (lambda: SmoothBitDepth(1, 0.0), "slope must be above 0"),
        (lambda: MedianSmoothing(0), "at least 1 pixel"),
        (lambda: MedianSmoothing((3, 3, 3)), "one side or two"),  # type: ignore[arg-type]
        (lambda: MedianSmoothing(3)(torch.zeros(4, 4)), r"takes images \(B, C, H, W\)"),
        (lambda: FeatureSqueezing(nn.Identity(), []), "at least one squeezer"),
        (lambda: FeatureSqueezing(nn.Identity(), [BitDepth(1)], "Linf"), "L1 or L2"),  # type: ignore[arg-type]
    ],
)
def test_slips_are_told(make, told) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=told):
        make()
