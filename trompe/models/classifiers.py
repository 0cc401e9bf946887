"""Classifiers for any image shape: an MLP, LeNet-5, four convolutions, a small ResNet, nets over patches.

All take inputs in [0, 1], normalise inside (buffers), return logits, and treat each example on its
own: no dropout and no batch statistics, so train and eval mode agree.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.models import blocks
from trompe.models.patches import Attention, Mixing, patch_trunk

__all__ = ["MLP", "ClassifierConfig", "ClassifierNet", "Conv4", "LeNet5", "ResNet"]

Kind = Literal["mlp", "lenet5", "conv4", "resnet", "mixer", "transformer"]


@dataclass(frozen=True)
class ClassifierConfig:
    """The settings of one classifier; plain values, so that they print, compare, hash and save.

    Args:
        kind: `"mlp"`, `"lenet5"`, `"conv4"`, `"resnet"`, or over patches `"mixer"` and `"transformer"`.
        shape: of one example, `(C, H, W)`, or `(D,)` for vectors (`"mlp"` only).
        classes: number of logits, two or more.
        hidden: widths of the fully connected layers before the logits.
        channels: four widths for `"conv4"`, one per stage for `"resnet"`, two for `"lenet5"`; one per block
            for kinds over patches, all equal.
        activation: of every hidden layer.
        mean, std: of the normalisation, per channel or one for all; in input units.
        patch: side of a patch, in pixels; for kinds over patches.

    Raises:
        UserError: a setting that is out of range.

    >>> ClassifierConfig("mlp", shape=[64], classes=2, hidden=[16]).shape
    (64,)
    """

    kind: Kind = "mlp"
    shape: tuple[int, ...] = (1, 28, 28)
    classes: int = 10
    hidden: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    activation: blocks.Activation = "relu"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    patch: int = 4

    def __post_init__(self) -> None:
        for name in ("shape", "hidden", "channels", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.kind not in get_args(Kind):
            raise UserError(f"kind must be one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        sizes = (*self.shape, *self.hidden, *self.channels, self.patch)
        if any(not isinstance(size, int) or size < 1 for size in sizes) or not self.shape:
            names = "shape, hidden, channels and patch"
            raise UserError(f"{names} must be positive integers, got {sizes}")
        if self.classes < 2:
            raise UserError(f"classes must be two or more, got {self.classes}")
        if self.kind != "mlp" and len(self.shape) != 3:
            raise UserError(
                f"{self.kind} needs shape (C, H, W), got {self.shape}; vectors take kind='mlp'"
            )
        wanted = {"mlp": 0, "lenet5": 2, "conv4": 4}.get(self.kind, max(1, len(self.channels)))
        if len(self.channels) != wanted:
            raise UserError(f"{self.kind} takes {wanted} channels, got {self.channels}")
        if {len(self.mean), len(self.std)} - {1, self.shape[0]}:
            raise UserError(
                f"mean and std need one value or {self.shape[0]}, got {self.mean} and {self.std}"
            )


class ClassifierNet(nn.Module):
    """`model(x) -> logits (B, K)` of the kind its configuration names.

    Args:
        config: the settings.
        seed: of the initial weights; the global generators are left alone.

    >>> model = Conv4(shape=(3, 32, 32), classes=7)
    >>> model(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 7])
    """

    def __init__(self, config: ClassifierConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        plain = set(config.mean) == {0.0} and set(config.std) == {1.0}
        dims = len(config.shape)
        self.normalize = nn.Identity() if plain else blocks.Normalize(config.mean, config.std, dims)
        with blocks.seeded(seed):
            self.features = _TRUNKS[config.kind](config)
            width = _width(self.features, config.shape)
            head = blocks.mlp((width, *config.hidden), config.activation)
            self.head = nn.Sequential(*head, nn.Linear((width, *config.hidden)[-1], config.classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, classes)` of inputs `(B, *shape)` in [0, 1]."""
        blocks.check_shape(x, self.config.shape)
        return self.head(self.features(self.normalize(x)))  # type: ignore[no-any-return]


class Residual(nn.Module):
    """`act(x' + N(conv(act(N(conv(x))))))`; `x'` is projected where shapes differ.

    N normalises groups, not batches: an example's logits do not depend on its companions (Wu &
    He 2018). The second starts at zero, so that a fresh block is the identity (Goyal et al. 2017).
    """

    def __init__(self, wide: int, narrow: int, stride: int, activation: blocks.Activation) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(wide, narrow, 3, stride, 1, bias=False),
            nn.GroupNorm(math.gcd(8, narrow), narrow),
            blocks.activation_of(activation),
            nn.Conv2d(narrow, narrow, 3, 1, 1, bias=False),
            nn.GroupNorm(math.gcd(8, narrow), narrow),
        )
        nn.init.zeros_(self.body[-1].weight)  # type: ignore[arg-type]
        same = wide == narrow and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(wide, narrow, 1, stride, bias=False)
        self.activation = blocks.activation_of(activation)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, wide, H, W)` to `(B, narrow, ceil(H / stride), ceil(W / stride))`."""
        return self.activation(self.shortcut(x) + self.body(x))  # type: ignore[no-any-return]


def _width(trunk: nn.Module, shape: tuple[int, ...]) -> int:
    with torch.no_grad():
        return trunk(torch.zeros(1, *shape)).numel()  # type: ignore[no-any-return]


def _pool(size: int) -> nn.Module:
    return nn.MaxPool2d(2) if size >= 2 else nn.Identity()


def _mlp(config: ClassifierConfig) -> nn.Sequential:
    return nn.Sequential(nn.Flatten())


def _lenet5(config: ClassifierConfig) -> nn.Sequential:
    """LeCun et al. 1998, figure 2, with ReLU and maxima; images below 32x32 are padded."""
    size = min(config.shape[1:])
    if size < 4:
        raise UserError(f"lenet5 needs images of at least 4x4, got {config.shape}")
    first, second = config.channels
    act = config.activation
    return nn.Sequential(
        nn.Conv2d(config.shape[0], first, 5, padding=0 if size >= 32 else 2),
        blocks.activation_of(act),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5, padding=0 if size >= 12 else 2),
        blocks.activation_of(act),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )


def _conv4(config: ClassifierConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    size = min(config.shape[1:])
    widths = (config.shape[0], *config.channels)
    for index in range(4):
        layers.append(nn.Conv2d(widths[index], widths[index + 1], 3, padding=1))
        layers.append(blocks.activation_of(config.activation))
        if index % 2:
            layers.append(_pool(size))
            size = max(1, size // 2)
    return nn.Sequential(*layers, nn.Flatten())


def _resnet(config: ClassifierConfig) -> nn.Sequential:
    first = config.channels[0] if config.channels else 16
    layers: list[nn.Module] = [
        nn.Conv2d(config.shape[0], first, 3, padding=1, bias=False),
        nn.GroupNorm(math.gcd(8, first), first),
        blocks.activation_of(config.activation),
    ]
    wide = first
    for stage, narrow in enumerate(config.channels or (first,)):
        layers.append(Residual(wide, narrow, 2 if stage else 1, config.activation))
        wide = narrow
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _mixer(config: ClassifierConfig) -> nn.Sequential:
    return patch_trunk(Mixing, config.shape, config.channels, config.patch)


def _transformer(config: ClassifierConfig) -> nn.Sequential:
    return patch_trunk(Attention, config.shape, config.channels, config.patch)


_TRUNKS: dict[str, Callable[[ClassifierConfig], nn.Sequential]] = {
    "mlp": _mlp,
    "lenet5": _lenet5,
    "conv4": _conv4,
    "resnet": _resnet,
    "mixer": _mixer,
    "transformer": _transformer,
}


def MLP(
    shape: tuple[int, ...] = (1, 28, 28),
    hidden: tuple[int, ...] = (128,),
    classes: int = 10,
    *,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
    seed: int = 0,
) -> ClassifierNet:
    """A multilayer perceptron, 784-128-10 unless told otherwise.

    >>> sum(p.numel() for p in MLP().parameters())
    101770
    """
    config = ClassifierConfig("mlp", shape, classes, hidden=hidden, mean=mean, std=std)
    return ClassifierNet(config, seed=seed)


def LeNet5(
    shape: tuple[int, ...] = (1, 28, 28),
    classes: int = 10,
    *,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
    seed: int = 0,
) -> ClassifierNet:
    """LeNet-5 (LeCun et al. 1998) with ReLU and maximum pooling.

    >>> sum(p.numel() for p in LeNet5().parameters())
    61706
    """
    config = ClassifierConfig("lenet5", shape, classes, (120, 84), (6, 16), mean=mean, std=std)
    return ClassifierNet(config, seed=seed)


def Conv4(
    shape: tuple[int, ...] = (1, 28, 28),
    classes: int = 10,
    channels: tuple[int, ...] = (32, 32, 64, 64),
    hidden: tuple[int, ...] = (),
    *,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
    seed: int = 0,
) -> ClassifierNet:
    """Four 3x3 convolutions, 32-32-pool-64-64-pool, and a linear layer (Hlihor et al. 2020).

    The paper says four convolutions and one fully connected layer; widths and padding are ours.

    >>> Conv4(classes=3)(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 3])
    """
    config = ClassifierConfig("conv4", shape, classes, hidden, channels, mean=mean, std=std)
    return ClassifierNet(config, seed=seed)


def ResNet(
    shape: tuple[int, ...] = (1, 28, 28),
    classes: int = 10,
    channels: tuple[int, ...] = (16, 32, 64),
    *,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
    seed: int = 0,
) -> ClassifierNet:
    """A small residual network (He et al. 2016), one block per stage, with group normalisation.

    >>> ResNet(shape=(3, 8, 8))(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 10])
    """
    config = ClassifierConfig("resnet", shape, classes, (), channels, mean=mean, std=std)
    return ClassifierNet(config, seed=seed)
