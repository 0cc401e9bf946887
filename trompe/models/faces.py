"""An embedder of faces, and the user's own embedders wrapped: `model(x) -> (B, D)`, near for one person."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.core.errors import UserError
from trompe.models import blocks
from trompe.models.classifiers import Residual
from trompe.models.objectives import full
from trompe.models.wrappers import FromSigned, Normalized

__all__ = ["FaceConfig", "FaceEmbedder", "UnitLength", "adapt_embedder", "check_embedder"]


@dataclass(frozen=True)
class FaceConfig:
    """The settings of an embedder; plain values, so that they print, compare, hash and save.

    Args:
        shape: of one image, `(C, H, W)`.
        dimension: numbers in an embedding.
        channels: of the first convolution (5x5, stride 2) and of one residual block (stride 2) for each
            further entry.
        mean, std: of the normalisation, per channel or one for all; in input units.

    Raises:
        UserError: a setting that is out of range.

    >>> FaceConfig((1, 8, 8), dimension=4, channels=[8, 16]).channels
    (8, 16)
    """

    shape: tuple[int, ...] = (3, 64, 64)
    dimension: int = 128
    channels: tuple[int, ...] = (24, 48, 96, 160)
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)

    def __post_init__(self) -> None:
        for name in ("shape", "channels", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        sizes = (*self.shape, *self.channels, self.dimension)
        if any(not isinstance(size, int) or size < 1 for size in sizes):
            raise UserError(f"shape, channels and dimension must be positive integers, got {sizes}")
        if len(self.shape) != 3 or not self.channels:
            raise UserError(
                f"an embedder needs shape (C, H, W) and at least one entry in channels, got "
                f"{self.shape} and {self.channels}"
            )


class FaceEmbedder(nn.Module):
    r"""`model(x) -> (B, D)` of unit length: `f(x) / ||f(x)||` with a small residual network f.

    Two faces are one person's where their embeddings are near: on the unit sphere Euclidean distance is at
    most 2, and `||a - b||^2 = 2 - 2 cos(a, b)`. `trompe.training.MarginStep` trains it on people's names.

    It stands where the paper on Type I attacks has FaceNet (Schroff, Kalenichenko & Philbin, "FaceNet", 2015;
    Tang et al. 2019, section IV-C), which takes 140 million weights and millions of faces. Groups are
    normalised instead of batches (Wu & He 2018), so that an embedding does not depend on its companions.

    Args:
        config: the settings.
        seed: of the initial weights; the global generators are left alone.

    >>> model = FaceEmbedder(FaceConfig((1, 8, 8), dimension=4, channels=(8, 16)))
    >>> z = model(torch.rand(3, 1, 8, 8))
    >>> z.shape, bool((z.norm(dim=1) - 1).abs().max() < 1e-6)
    (torch.Size([3, 4]), True)
    """

    def __init__(self, config: FaceConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.normalize = blocks.Normalize(config.mean, config.std)
        with blocks.seeded(seed):
            first, *rest = config.channels
            layers: list[nn.Module] = [
                nn.Conv2d(config.shape[0], first, 5, 2, 2, bias=False),
                nn.GroupNorm(math.gcd(8, first), first),
                nn.ReLU(),
            ]
            for wide, narrow in zip(config.channels, rest, strict=False):
                layers.append(Residual(wide, narrow, 2, "relu"))
            height, width = blocks.halvings(config.shape, len(config.channels))[-1]
            last = config.channels[-1] * height * width
            self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(last, config.dimension))

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings `(B, dimension)`, of length one, of images `(B, *shape)` in [0, 1]."""
        blocks.check_shape(x, self.config.shape)
        return F.normalize(full(self.features(self.normalize(x))))


class UnitLength(nn.Module):
    """An embedder whose outputs are divided by their length, so that distances are those of angles.

    >>> UnitLength(nn.Flatten())(torch.tensor([[[[3.0, 4.0]]]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings `(B, D)` of length one."""
        return F.normalize(full(self.model(x)))


class _Standardised(nn.Module):
    """Each image minus its own mean, divided by its own deviation, as FaceNet's code prepares its inputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings of images `(B, C, H, W)` in [0, 1]."""
        values = x.flatten(1)
        least = values.shape[1] ** -0.5 / 255
        mean, std = values.mean(1), values.std(1, correction=0).clamp_min(least)
        trailing = (-1, *(1,) * (x.ndim - 1))
        return self.model((x - mean.view(trailing)) / std.view(trailing))  # type: ignore[no-any-return]


class _Resized(nn.Module):
    """Images of any size, brought to the one that the embedder was trained on."""

    def __init__(self, model: nn.Module, side: int) -> None:
        super().__init__()
        self.model, self.side = model, side
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings of images `(B, C, H, W)`."""
        size = (self.side, self.side)
        sized = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        return self.model(sized)  # type: ignore[no-any-return]


def adapt_embedder(
    model: nn.Module,
    *,
    inputs: str = "unit",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    unit_length: bool = True,
    side: int | None = None,
) -> nn.Module:
    """A user's embedder, FaceNet for example, as one that takes images in [0, 1] and is read by distance.

    Args:
        model: any module that returns `(B, D)`.
        inputs: what it wants: `"unit"` ([0, 1]), `"signed"` ([-1, 1]), `"standardised"` (each image by its
            own mean and deviation), or `"normalised"` with `mean` and `std` per channel.
        mean, std: of the normalisation, in the units of [0, 1] images.
        unit_length: divide embeddings by their length; FaceNet's published threshold 1.242 is between such.
        side: height and width that it wants; images of another size are resized.

    Raises:
        UserError: an unknown kind of input, or a normalisation without both numbers.

    >>> facenet = adapt_embedder(nn.Flatten(), inputs="signed")
    >>> facenet(torch.ones(1, 1, 2, 2)).tolist()
    [[0.5, 0.5, 0.5, 0.5]]
    """
    kinds = ("unit", "signed", "standardised", "normalised")
    if inputs not in kinds:
        raise UserError(f"inputs must be one of {', '.join(kinds)}, got {inputs!r}")
    if (inputs == "normalised") != (mean is not None and std is not None):
        raise UserError("mean and std belong to inputs='normalised', which needs both")
    if unit_length:
        model = UnitLength(model)
    if inputs == "signed":
        model = FromSigned(model)
    elif inputs == "standardised":
        model = _Standardised(model)
    elif mean is not None and std is not None:
        model = Normalized(model, mean, std)
    return model if side is None else _Resized(model, side)


def check_embedder(model: nn.Module, x: Tensor) -> Tensor:
    """Refuse a model that is no embedder of our kind, by one forward of `x`; returns its embeddings.

    Raises:
        UserError: a model in train mode, an output that is not `(B, D)`, or one that is not finite.

    >>> check_embedder(nn.Flatten().eval(), torch.zeros(2, 1, 2, 2)).shape
    torch.Size([2, 4])
    """
    if any(module.training for module in model.modules()):
        raise UserError("the embedder is in train mode; call model.eval() first")
    with torch.no_grad():
        z = model(x)
    if not isinstance(z, Tensor) or z.ndim != 2 or len(z) != len(x):
        shape = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise UserError(f"an embedder returns (B, D) for a batch of {len(x)}, got {shape}")
    if not bool(z.isfinite().all()):
        raise UserError(
            "the embedder returns values that are not finite; check what inputs it wants"
        )
    return z
