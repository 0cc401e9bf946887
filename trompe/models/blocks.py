"""The parts networks are made of: activations, normalisation, encoder trunks and decoders."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError

__all__ = [
    "Activation",
    "Normalize",
    "Shape",
    "Unflatten",
    "activation_of",
    "bilinear_decoder",
    "check_shape",
    "conv_decoder",
    "conv_encoder",
    "mlp",
    "paired_encoder",
    "seeded",
]

Shape = tuple[int, ...]
Activation = Literal["relu", "tanh", "elu", "silu", "softplus", "identity"]
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "identity": nn.Identity,
}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialise the modules built inside from `seed`, on the CPU; global generators stay as found.

    >>> with seeded(0):
    ...     a = nn.Linear(2, 2)
    >>> with seeded(0):
    ...     b = nn.Linear(2, 2)
    >>> bool((a.weight == b.weight).all())
    True
    """
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        with torch.device("cpu"):
            yield
    finally:
        generator.set_state(before)


def activation_of(name: Activation) -> nn.Module:
    """A fresh module of the activation's name.

    Raises:
        UserError: the name is not one of ours.
    """
    if name not in _ACTIVATIONS:
        raise UserError(
            f"activation must be one of {', '.join(get_args(Activation))}, got {name!r}"
        )
    return _ACTIVATIONS[name]()


def check_shape(x: Tensor, shape: Shape) -> None:
    """Refuse a batch whose examples have another shape than the model was built for."""
    if x.shape[1:] != shape:
        hint = "; images are channels first, with a batch dimension" if len(shape) == 3 else ""
        expected = f"{('B', *shape)}".replace("'", "")
        raise UserError(f"expected a batch of shape {expected}, got {tuple(x.shape)}{hint}")


class Normalize(nn.Module):
    """`(x - mean) / std` per channel, both kept as buffers `(C, 1, 1)` (vectors: `(D,)`).

    Args:
        mean, std: one number per channel, or one for all; in the units of the input.
        dims: of one example; 3 for images, 1 for vectors.

    Raises:
        UserError: a standard deviation that is not positive; a batch of other channels or dimensions.

    >>> Normalize((0.5,), (0.25,))(torch.ones(1, 1, 2, 2)).flatten().tolist()
    [2.0, 2.0, 2.0, 2.0]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], dims: int = 3) -> None:
        super().__init__()
        if not all(s > 0 for s in std):
            raise UserError(f"std must be positive in every channel, got {tuple(std)}")
        self.dims = dims
        trailing = (1,) * (dims - 1)
        self.register_buffer(
            "mean", torch.tensor(tuple(mean), dtype=torch.float32).view(-1, *trailing)
        )
        self.register_buffer(
            "std", torch.tensor(tuple(std), dtype=torch.float32).view(-1, *trailing)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a batch `(B, C, H, W)`."""
        channels = max(len(self.mean), len(self.std))
        if x.ndim != self.dims + 1 or channels not in (1, x.shape[1]):
            raise UserError(
                f"normalisation of {channels} channels and {self.dims} dimensions per example "
                f"cannot take a batch of shape {tuple(x.shape)}"
            )
        return (x - self.mean) / self.std


class Unflatten(nn.Module):
    """View `(B, D)` as `(B, *shape)`; cheaper than `nn.Unflatten` inside a hot loop."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """`(B, D)` to `(B, *shape)`."""
        return x.view(-1, *self.shape)


def mlp(sizes: Sequence[int], activation: Activation) -> nn.Sequential:
    """Fully connected layers through `sizes`, each but the first followed by its activation.

    >>> mlp((4, 3, 2), "relu")(torch.zeros(5, 4)).shape
    torch.Size([5, 2])
    """
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes):
        layers += [nn.Linear(wide, narrow), activation_of(activation)]
    return nn.Sequential(*layers)


def halvings(shape: Shape, times: int) -> list[tuple[int, int]]:
    """Height and width before and after each stride-2 convolution: `ceil(n / 2)` at every one."""
    sizes = [(shape[-2], shape[-1])]
    for _ in range(times):
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    return sizes


def _padding(size: tuple[int, int], kernel: int) -> tuple[int, int]:
    """Zeros at either end of each side such that a stride-2 convolution gives `ceil(n / 2)`.

    An even kernel must pad an odd side by one more than an even side.
    """
    height, width = ((kernel - 1 + n % 2) // 2 for n in size)
    return height, width


def conv_encoder(
    shape: Shape,
    channels: Shape,
    activation: Activation,
    kernel: int = 3,
    dense: Sequence[int] = (),
) -> tuple[nn.Sequential, int]:
    """Convolutions of stride 2, flattened, and fully connected layers; also returns the last width.

    Any height and width: each convolution maps n pixels to `ceil(n / 2)`.
    """
    sizes = halvings(shape, len(channels))
    layers: list[nn.Module] = []
    for size, (wide, narrow) in zip(sizes, pairwise((shape[0], *channels)), strict=False):
        padding = _padding(size, kernel)
        layers += [nn.Conv2d(wide, narrow, kernel, 2, padding), activation_of(activation)]
    widths = (channels[-1] * math.prod(sizes[-1]), *dense)
    return nn.Sequential(*layers, nn.Flatten(), *mlp(widths, activation)), widths[-1]


def conv_decoder(
    latent: int,
    shape: Shape,
    channels: Shape,
    activation: Activation,
    kernel: int = 3,
    dense: Sequence[int] = (),
) -> nn.Sequential:
    """The mirror of `conv_encoder`: fully connected layers, then transposed convolutions, stride 2."""
    sizes = halvings(shape, len(channels))
    inner = (channels[-1], *sizes[-1])
    widths = (latent, *reversed(dense), math.prod(inner))
    layers: list[nn.Module] = [*mlp(widths, activation), Unflatten(inner)]
    outputs = (shape[0], *channels[:-1])
    for level in reversed(range(len(channels))):
        (height, width), (low, thin) = sizes[level], sizes[level + 1]
        up, left = _padding(sizes[level], kernel)
        extra = (height - 2 * (low - 1 - up) - kernel, width - 2 * (thin - 1 - left) - kernel)
        layers.append(
            nn.ConvTranspose2d(channels[level], outputs[level], kernel, 2, (up, left), extra)
        )
        if level:
            layers.append(activation_of(activation))
    return nn.Sequential(*layers)


def paired_encoder(
    shape: Shape,
    channels: Shape,
    activation: Activation,
    kernel: int = 3,
    dense: Sequence[int] = (),
) -> tuple[nn.Sequential, int]:
    """Pairs of convolutions, the second of stride 2, then fully connected layers; also the last width.

    `channels` has two entries for each halving of the image, outermost first; the kernel is odd.
    """
    layers: list[nn.Module] = []
    for index, (wide, narrow) in enumerate(pairwise((shape[0], *channels))):
        layers.append(nn.Conv2d(wide, narrow, kernel, 1 + index % 2, kernel // 2))
        layers.append(activation_of(activation))
    sizes = halvings(shape, len(channels) // 2)
    widths = (channels[-1] * math.prod(sizes[-1]), *dense)
    return nn.Sequential(*layers, nn.Flatten(), *mlp(widths, activation)), widths[-1]


def bilinear_decoder(
    latent: int,
    shape: Shape,
    channels: Shape,
    activation: Activation,
    kernel: int = 3,
    dense: Sequence[int] = (),
) -> nn.Sequential:
    """The mirror of `paired_encoder`: at each level the image is resized, then meets two convolutions."""
    sizes = halvings(shape, len(channels) // 2)
    inner = (channels[-1], *sizes[-1])
    layers: list[nn.Module] = [
        *mlp((latent, *reversed(dense), math.prod(inner)), activation),
        Unflatten(inner),
    ]
    widths = (*reversed(channels), shape[0])
    for index, (wide, narrow) in enumerate(pairwise(widths)):
        if index % 2 == 0:
            size = sizes[len(sizes) - 2 - index // 2]
            layers.append(nn.Upsample(size, mode="bilinear", align_corners=False))
        layers.append(nn.Conv2d(wide, narrow, kernel, 1, kernel // 2))
        if index < len(channels) - 1:
            layers.append(activation_of(activation))
    return nn.Sequential(*layers)
