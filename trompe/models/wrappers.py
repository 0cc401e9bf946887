"""Classifiers of the user's, wrapped so that they take images in [0, 1] and return logits.

They wrap, and leave what they wrap as it was. Each is an `nn.Module`, so that `.to`, `.eval` and
`deepcopy` reach the model inside, whose train or eval mode it takes over.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trompe.core.checks import check_logits
from trompe.core.errors import UserError
from trompe.models.blocks import Normalize

__all__ = ["FromBinary", "FromProbabilities", "FromSigned", "Normalized", "check_classifier"]


class Normalized(nn.Module):
    """A classifier that wants `(x - mean) / std`, given images in [0, 1].

    Args:
        model: takes normalised images.
        mean, std: per channel, in the units of [0, 1] images; kept as buffers.
        dims: of one example; 3 for images, 1 for vectors.

    >>> model = Normalized(nn.Flatten(), mean=(0.5,), std=(0.5,))
    >>> model(torch.ones(1, 1, 1, 2)).tolist()
    [[1.0, 1.0]]
    """

    def __init__(
        self, model: nn.Module, mean: Sequence[float], std: Sequence[float], *, dims: int = 3
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std, dims).train(model.training)
        self.model = model
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, K)` of images `(B, C, H, W)` in [0, 1]."""
        return self.model(self.normalize(x))  # type: ignore[no-any-return]


class FromSigned(nn.Module):
    """A classifier that lives in [-1, 1], given images in [0, 1].

    >>> FromSigned(nn.Flatten())(torch.tensor([[[[0.0, 1.0]]]])).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, K)` of images in [0, 1]."""
        return self.model(2 * x - 1)  # type: ignore[no-any-return]


class FromProbabilities(nn.Module):
    """Logits from a classifier that returns probabilities: `log p`, exact up to a constant.

    Prefer removing the model's softmax: where a probability underflows to zero or rounds to one,
    its gradient is gone, and an attack that fails there says nothing about the model.

    >>> FromProbabilities(nn.Softmax(1))(torch.tensor([[0.0, 2.0]])).diff().round().tolist()
    [[2.0]]
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities `(B, K)`."""
        p: Tensor = self.model(x)
        return p.clamp_min(torch.finfo(p.dtype).tiny).log()


class FromBinary(nn.Module):
    """Two logits, `(-l / 2, l / 2)`, from a model that returns one logit `l` for the second class.

    >>> FromBinary(nn.Flatten())(torch.tensor([[3.0]])).tolist()
    [[-1.5, 1.5]]
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, 2)` from outputs `(B,)` or `(B, 1)`."""
        half = self.model(x).reshape(-1, 1) / 2
        return torch.cat([-half, half], 1)


def check_classifier(model: nn.Module, x: Tensor, classes: int | None = None) -> Tensor:
    """Refuse a model that is no classifier of our kind, by one forward of `x`; returns its logits.

    Raises:
        UserError: a model in train mode, an output that is not `(B, K)` with K >= 2 (or K =
            `classes`), NaN, or probabilities in the place of logits.

    >>> check_classifier(nn.Flatten().eval(), torch.tensor([[[2.0, -1.0]]])).shape
    torch.Size([1, 2])
    """
    if any(module.training for module in model.modules()):
        raise UserError("the model is in train mode; call model.eval() first")
    with torch.no_grad():
        logits = model(x)
    check_logits(logits, len(x))
    if classes is not None and logits.shape[1] != classes:
        raise UserError(f"the model returns {logits.shape[1]} logits for {classes} classes")
    return logits  # type: ignore[no-any-return]
