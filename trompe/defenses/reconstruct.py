"""Defence by reconstruction: classify what an autoencoder makes of the input."""

import math

from torch import Tensor, nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.protocols import Autoencoder

__all__ = ["Reconstruct"]


class Reconstruct(nn.Module):
    r"""A classifier behind an autoencoder, differentiable end to end: a classifier like any other.

    .. math:: C\bigl(D(\mu(\tilde x) + s \, \sigma(\tilde x) \, \epsilon)\bigr),
        \quad \tilde x = x + p \, \eta

    (Hlihor, Volpi & Malago 2020, section 3). At `scale` and `input_noise` 0 it is deterministic.
    Otherwise it draws from the ambient streams of `trompe.core.random`: the input noise first, the
    posterior second. A robust accuracy of the random defence holds only against attackers who
    average over its draws.

    Args:
        autoencoder: has `encode` and `decode`; its own latent scale is not used.
        classifier: takes the decoded images.
        scale: s, in posterior standard deviations; a factor f on the covariance is `f ** 0.5`.
        input_noise: p, the standard deviation of the noise added to the input, in input units.
        clip: clip the noisy input to [0, 1].

    Raises:
        UserError: no autoencoder, or a negative setting.

    >>> import torch
    >>> class Same(nn.Module):
    ...     def encode(self, x): return torch.distributions.Normal(x, torch.ones_like(x))
    ...     def decode(self, z): return z
    >>> Reconstruct(Same(), nn.Flatten())(torch.tensor([[0.25, 0.75]])).tolist()
    [[0.25, 0.75]]
    """

    def __init__(
        self,
        autoencoder: nn.Module,
        classifier: nn.Module,
        scale: float = 0.0,
        input_noise: float = 0.0,
        *,
        clip: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(autoencoder, Autoencoder):
            raise UserError(
                f"{type(autoencoder).__name__} has no encode and decode; "
                "wrap it with trompe.models.adapt_autoencoder"
            )
        for name, value in (("scale", scale), ("input_noise", input_noise)):
            if not 0 <= value < math.inf:
                raise UserError(f"{name} must be zero or more, got {value}")
        self.autoencoder = autoencoder
        self.classifier = classifier
        self.training = autoencoder.training or classifier.training
        self.scale, self.input_noise, self.clip = scale, input_noise, clip

    def reconstruct(self, x: Tensor) -> Tensor:
        """What the classifier is shown, `(B, *)`."""
        if self.input_noise:
            x = x + self.input_noise * random.normal(tuple(x.shape), x)
            x = x.clamp(0, 1) if self.clip else x
        return self.autoencoder.decode(self._code(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, K)` of the reconstruction."""
        return self.classifier(self.reconstruct(x))  # type: ignore[no-any-return]

    def deterministic(self) -> "Reconstruct":
        """The same networks without a draw: what an attacker differentiates who switches sampling off."""
        return Reconstruct(self.autoencoder, self.classifier)

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"scale={self.scale}, input_noise={self.input_noise}, clip={self.clip}"

    def _code(self, x: Tensor) -> Tensor:
        model = self.autoencoder
        if self.scale == 0 and hasattr(model, "encode_mean"):
            return model.encode_mean(x)  # type: ignore[no-any-return, operator]
        posterior = model.encode(x)
        mean: Tensor = posterior.mean
        if self.scale == 0:
            return mean
        return mean + self.scale * posterior.stddev * random.normal(tuple(mean.shape), mean)
