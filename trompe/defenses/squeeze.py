"""Feature squeezing: an input is suspicious where the model says something else of its coarser copy.

Reference: W. Xu, D. Evans, Y. Qi, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural
Networks", NDSS 2018.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.core.geometry import norm
from trompe.defenses.detectors import CalibratedDetector

__all__ = ["BitDepth", "FeatureSqueezing", "MedianSmoothing", "SmoothBitDepth"]

Distance = Literal["L1", "L2"]


class BitDepth(nn.Module):
    """Fewer bits of colour: `round(x (2^b - 1)) / (2^b - 1)` of values in [0, 1] (Xu et al. 2018).

    One bit is rounding. The derivative is zero almost everywhere: attack through it with
    `trompe.attacks.adaptive.BPDA`, which takes a `SmoothBitDepth` for surrogate.

    Args:
        bits: b, one or more; eight leave an image as its file has it.

    Raises:
        UserError: less than one bit.

    >>> BitDepth(1)(torch.tensor([0.2, 0.6])).tolist(), BitDepth(2)(torch.tensor([0.3, 0.6])).tolist()
    ([0.0, 1.0], [0.3333333432674408, 0.6666666865348816])
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        if bits < 1:
            raise UserError(f"bits must be at least 1, got {bits}")
        self.bits = bits
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, with at most `2^b` values."""
        shades = float(2**self.bits - 1)
        return torch.round(x * shades) / shades

    def extra_repr(self) -> str:
        """The setting, for `print`."""
        return f"bits={self.bits}"


class SmoothBitDepth(BitDepth):
    r"""`BitDepth` with slopes for steps: what an attacker differentiates in its place.

    .. math:: \frac{1}{S} \sum_{j=1}^{S} \sigma\bigl(k S (x - (j - \tfrac12) / S)\bigr), \quad S = 2^b - 1

    Args:
        bits: b.
        slope: k; the steeper, the nearer to the steps, and the fewer pixels have a derivative.

    >>> SmoothBitDepth(1)(torch.tensor([0.0, 0.5, 1.0]))
    tensor([0.0180, 0.5000, 0.9820])
    """

    def __init__(self, bits: int, slope: float = 8.0) -> None:
        super().__init__(bits)
        if not slope > 0:
            raise UserError(f"slope must be above 0, got {slope}")
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        shades = 2**self.bits - 1
        steps = (torch.arange(shades, device=x.device, dtype=x.dtype) + 0.5) / shades
        return torch.sigmoid(self.slope * shades * (x[..., None] - steps)).mean(-1)


class MedianSmoothing(nn.Module):
    """Each pixel becomes the median of the window around it, channel by channel (Xu et al. 2018).

    The window of an even side reaches one pixel further up and left than down and right; of an even number
    of values the larger middle one is taken; the border is reflected with its edge repeated,
    `d c b a | a b c d`. All three are conventions of `scipy.ndimage.median_filter`, which the authors used.
    Differentiable: the derivative is that of the pixel that is the median.

    The median commutes with whatever does not change the order of values, `BitDepth` among it.

    Args:
        kernel: height and width of the window, or one number for both.

    Raises:
        UserError: a side below 1; an input that is no batch of images.

    >>> spot = torch.zeros(1, 1, 3, 3)
    >>> spot[0, 0, 1, 1] = 1.0
    >>> float(MedianSmoothing(3)(spot).sum())
    0.0
    """

    def __init__(self, kernel: int | tuple[int, int]) -> None:
        super().__init__()
        self.kernel = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
        if len(self.kernel) != 2 or min(self.kernel) < 1:
            raise UserError(f"kernel must be one side or two, of at least 1 pixel, got {kernel}")
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, `(B, C, H, W)`."""
        if x.ndim != 4:
            raise UserError(
                f"median smoothing takes images (B, C, H, W), got shape {tuple(x.shape)}"
            )
        (height, width), (down, right) = x.shape[-2:], self.kernel
        x = x[..., _reflected(height, down, x), :][..., _reflected(width, right, x)]
        places = [(i, j) for i in range(down) for j in range(right)]
        return _median([x[..., i : i + height, j : j + width] for i, j in places])

    def extra_repr(self) -> str:
        """The setting, for `print`."""
        return f"kernel={self.kernel}"


def _reflected(size: int, side: int, like: Tensor) -> Tensor:
    """Where along an axis the windows of all its points read, the ends reflected, `(size + side - 1,)`."""
    at = torch.arange(size + side - 1, device=like.device) - side // 2
    at = at % (2 * size)
    return torch.minimum(at, 2 * size - 1 - at)


def _median(values: list[Tensor]) -> Tensor:
    """The value at place `n // 2` of n in order, entry by entry.

    Of any `n // 2 + 2` values neither the least nor the greatest is the median: both are forgotten, and one
    more comes in. (An even number is made odd by one that is infinite, and forgotten first.)
    """
    start = len(values) // 2 + 1 + len(values) % 2
    live, more = values[:start], values[start:]
    odd = len(values) % 2 == 1
    while len(live) > 1:
        for i in range(len(live) - 1, 0, -1):
            live[i - 1], live[i] = _ordered(live[i - 1], live[i])
        live = live[1:]
        if odd:
            for i in range(len(live) - 1):
                live[i], live[i + 1] = _ordered(live[i], live[i + 1])
            live = live[:-1]
        live, more, odd = live + more[:1], more[1:], True
    return live[0]


def _ordered(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return torch.minimum(a, b), torch.maximum(a, b)


class FeatureSqueezing(CalibratedDetector):
    r"""How far the model's answer moves when its input is squeezed, at most over the squeezers.

    .. math:: \max_k \| f(x) - f(F_k(x)) \|

    (Xu et al. 2018). There `f` is the softmax and the norm L1; Tang et al. 2019, section IV-C, take L2 and
    one joint squeezer, `nn.Sequential(BitDepth(1), MedianSmoothing(2))`. Of an embedder the outputs are
    compared as they are.

    An input that the model already reads as it reads its coarse copy passes, whatever it shows: the detector
    finds perturbations that squeezing removes, and nothing else.

    Args:
        model: a classifier, `model(x) -> logits (B, K)`, or with `softmax=False` an embedder.
        squeezers: from inputs to inputs; what is done in turn is one `nn.Sequential`.
        distance: `"L1"` or `"L2"`.
        softmax: whether the outputs are logits, of which the probabilities are compared.

    Raises:
        UserError: no squeezers, or another distance.

    >>> detector = FeatureSqueezing(nn.Identity(), [BitDepth(1)], softmax=False)
    >>> detector(torch.tensor([[0.25, 1.0], [0.0, 1.0]])).tolist()
    [0.25, 0.0]
    """

    def __init__(
        self,
        model: nn.Module,
        squeezers: Sequence[nn.Module],
        distance: Distance = "L1",
        *,
        softmax: bool = True,
    ) -> None:
        super().__init__()
        if not len(squeezers):
            raise UserError("feature squeezing needs at least one squeezer, such as BitDepth(1)")
        if distance not in get_args(Distance):
            raise UserError(f"distance must be L1 or L2, got {distance!r}")
        self.model = model
        self.squeezers = nn.ModuleList(squeezers)
        self.distance, self.softmax = distance, softmax
        self.training = self.squeezers.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """The largest distance of each input, `(B,)`."""
        shown = [x, *(squeeze(x) for squeeze in self.squeezers)]
        outputs = self.model(torch.cat(shown))
        outputs = outputs.softmax(1) if self.softmax else outputs
        plain, *squeezed = outputs.split(len(x))
        return torch.stack([norm(plain - other, self.distance) for other in squeezed]).amax(0)

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"distance={self.distance}, softmax={self.softmax}"
