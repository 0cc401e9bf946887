"""The nouns of the package, as the calls that define them.

Anything that answers these calls takes part: nothing needs to inherit from a class of ours.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from trompe.core.geometry import Ball

__all__ = [
    "Attack",
    "Autoencoder",
    "Classifier",
    "Detector",
    "Domain",
    "Generator",
    "PointMass",
    "Region",
    "Step",
]


_ONCE = torch.Size()


class Classifier(Protocol):
    """`model(x) -> logits (B, K)`. A purified or defended model is one."""

    def __call__(self, x: Tensor, /) -> Tensor: ...


@runtime_checkable
class Autoencoder(Protocol):
    """`encode(x) -> Distribution` over codes, `decode(z) -> x`, and `model(x)`, the reconstruction.

    `encode` of a deterministic autoencoder returns a `PointMass`. The call reconstructs from the
    mean unless the model was told otherwise; it never computes a loss.
    """

    def encode(self, x: Tensor, /) -> Distribution: ...
    def decode(self, z: Tensor, /) -> Tensor: ...
    def __call__(self, x: Tensor, /) -> Tensor: ...


@runtime_checkable
class Generator(Protocol):
    """`G(z[, y]) -> x` with a `prior` over codes: a GAN, or a decoder."""

    prior: Distribution

    def __call__(self, z: Tensor, y: Tensor | None = None, /) -> Tensor: ...


class Attack(Protocol):
    """`attack(model, x, y, *, seeds=None) -> x_adv`.

    `y` is what the loss refers to: labels `(B,)`, or on an autoencoder the target images.
    `seeds` `(B,)` names each example's random stream.
    """

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor | None = None, *, seeds: Tensor | None = None
    ) -> Tensor: ...


@runtime_checkable
class Detector(Protocol):
    """`detector(x) -> score (B,)`, high is suspicious; `calibrate(clean, fpr)` sets `threshold`."""

    threshold: Tensor

    def __call__(self, x: Tensor, /) -> Tensor: ...
    def calibrate(self, clean: Tensor, fpr: float) -> Any: ...


class Region(Protocol):
    """The points an attack may return for each example; carried and compacted with the batch.

    A region may also have `project_(v)`, which may use the memory of `v`.
    """

    def project(self, v: Tensor, /) -> Tensor: ...


class Domain(Protocol):
    """What an input *is*. Attacks and `evaluate` know inputs only through these calls.

    Images live in a box and are delivered as 8-bit files; vectors are plain points.
    """

    def validate(self, x: Tensor, /) -> None: ...
    def project(self, x: Tensor, /) -> Tensor: ...
    def distances(self, x: Tensor, other: Tensor, /) -> dict[str, Tensor]: ...
    def as_delivered(self, x: Tensor, /) -> Tensor: ...
    def render(self, x: Tensor, /) -> np.ndarray: ...
    def region(self, x: Tensor, ball: Ball | None = None, /) -> Region: ...


@runtime_checkable
class Step(Protocol):
    """`step(*batch) -> {name: scalar}`: one update of shared parameters, with optimisers of its own."""

    def __call__(self, *batch: Tensor) -> Mapping[str, Tensor]: ...
    def modules(self) -> Mapping[str, nn.Module]: ...
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> None: ...


class PointMass(Distribution):
    """All mass at one code: what a deterministic encoder returns.

    >>> q = PointMass(torch.zeros(2, 3))
    >>> q.mean.shape, float(q.stddev.sum())
    (torch.Size([2, 3]), 0.0)
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, location: Tensor) -> None:
        self.location = location
        super().__init__(location.shape[:1], location.shape[1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The code itself, `(B, *)`."""
        return self.location

    @property
    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.location)

    @property
    def stddev(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.location)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = _ONCE) -> Tensor:
        """The code, repeated."""
        return self.location.expand(torch.Size(sample_shape) + self.location.shape)
