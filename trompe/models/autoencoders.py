"""The autoencoder grid: AE, DAE, CAE, VAE, DVAE and CVAE as one class and its settings.

*Stochastic?* x *input noise* x *denoise target* x *contractive weight* x *latent scale*: each named
autoencoder is a point of this grid (Hlihor, Volpi & Malago 2020, section 2).
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.protocols import PointMass
from trompe.models import blocks
from trompe.models.contractive import contractive_penalty, squared_jacobian
from trompe.models.objectives import Likelihood, kl_to_prior, reconstruction_loss

__all__ = [
    "AE",
    "CAE",
    "CVAE",
    "DAE",
    "DVAE",
    "VAE",
    "Autoencoder",
    "AutoencoderConfig",
    "contractive_penalty",
    "gaussian",
]

Architecture = Literal["mlp", "conv"]


@dataclass(frozen=True)
class AutoencoderConfig:
    """The settings of one autoencoder; plain values, so that they print, compare, hash and save.

    Args:
        shape: of one example, `(C, H, W)` of any size, or `(D,)` for vectors (`"mlp"` only).
        latent: number of latent coordinates.
        architecture: `"mlp"` or `"conv"` (3x3, stride 2).
        hidden: widths of the MLP's encoder, outermost first; the decoder mirrors them.
            `(512, 512)` with ReLU is Tabacof et al. 2016, `(500,)` with tanh Kingma & Welling 2014.
        channels: of the convolutions, outermost first; `(32, 32)` with `latent=128` is
            Hlihor et al. 2020.
        activation: of every hidden layer.
        stochastic: a Gaussian posterior and a KL term (VAE), or a point (AE).
        likelihood: of a pixel given its decoded value; `"bernoulli"` or `"gaussian"`.
        variance: of the Gaussian likelihood, in squared input units.
        squash: whether decoded values pass a sigmoid; off only with the Gaussian likelihood.
        beta: weight of the KL term (Higgins et al. 2017).
        input_noise: standard deviation of the noise added to training inputs, in input units.
        clip_noise: clip noisy training inputs to [0, 1]; the target is never clipped.
        denoise: whether the training target is the clean input (DAE) or the noisy one.
        contractive: weight of `||d mean / dx||_F^2`.
        contractive_deviation: weight of `||d stddev / dx||_F^2`.
        probes: random signs per example that estimate both; `None` computes them exactly.
        scale: posterior deviations of noise that `forward` adds to the mean; 0 is the mean.

    Raises:
        UserError: a setting that is out of range, or two that contradict each other.

    >>> AutoencoderConfig(latent=2, hidden=[500], activation="tanh").hidden
    (500,)
    """

    shape: tuple[int, ...] = (1, 28, 28)
    latent: int = 20
    architecture: Architecture = "mlp"
    hidden: tuple[int, ...] = (512, 512)
    channels: tuple[int, ...] = (32, 32)
    activation: blocks.Activation = "relu"
    stochastic: bool = True
    likelihood: Likelihood = "bernoulli"
    variance: float = 0.1
    squash: bool = True
    beta: float = 1.0
    input_noise: float = 0.0
    clip_noise: bool = False
    denoise: bool = False
    contractive: float = 0.0
    contractive_deviation: float = 0.0
    probes: int | None = 1
    scale: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shape", "hidden", "channels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_sizes(self)
        _check_settings(self)


def _check_sizes(config: AutoencoderConfig) -> None:
    if config.architecture not in get_args(Architecture):
        raise UserError(f"architecture must be mlp or conv, got {config.architecture!r}")
    sizes = (*config.shape, config.latent, *config.hidden, *config.channels)
    if any(not isinstance(size, int) or size < 1 for size in sizes) or not config.shape:
        raise UserError(
            f"shape, latent, hidden and channels must be positive integers, got {sizes}"
        )
    if config.architecture == "conv" and (len(config.shape) != 3 or not config.channels):
        raise UserError(
            f"a conv autoencoder needs shape (C, H, W) and at least one entry in channels, "
            f"got {config.shape} and {config.channels}; vectors take architecture='mlp'"
        )


def _check_settings(config: AutoencoderConfig) -> None:
    for name in ("beta", "input_noise", "contractive", "contractive_deviation", "scale"):
        if not 0 <= getattr(config, name) < math.inf:
            raise UserError(f"{name} must be zero or more, got {getattr(config, name)}")
    if config.likelihood not in get_args(Likelihood):
        raise UserError(f"likelihood must be bernoulli or gaussian, got {config.likelihood!r}")
    if not config.variance > 0:
        raise UserError(f"variance must be positive, got {config.variance}")
    if config.probes is not None and config.probes < 1:
        raise UserError(f"probes must be one or more, or None for exact, got {config.probes}")
    if config.likelihood == "bernoulli" and not config.squash:
        raise UserError("squash=False needs likelihood='gaussian': Bernoulli means lie in [0, 1]")
    if config.likelihood == "bernoulli" and config.input_noise and not config.denoise:
        raise UserError(
            "a noisy target leaves [0, 1], where the Bernoulli likelihood is unbounded; "
            "pass likelihood='gaussian', or denoise=True to aim at the clean input"
        )
    if not config.stochastic and (config.contractive_deviation or config.scale):
        raise UserError(
            "contractive_deviation and scale act on the posterior's deviation, which an "
            "autoencoder with stochastic=False does not have"
        )


def gaussian(mean: Tensor, stddev: Tensor) -> Distribution:
    """A diagonal Gaussian over codes, one event per example; no arguments are checked."""
    return Independent(
        Normal(mean, stddev, validate_args=False), mean.ndim - 1, validate_args=False
    )


class Autoencoder(nn.Module):
    r"""An autoencoder of the grid: `encode(x) -> q(z|x)`, `decode(z) -> x`, `model(x) -> x_hat`.

    .. math:: \hat x = D(\mu(x) + s \, \sigma(x) \, \epsilon)

    with `s = config.scale`, zero unless told otherwise. `forward` never computes a loss;
    `losses` does. Noise comes from the ambient streams of `trompe.core.random`.

    Args:
        config: the settings.
        seed: of the initial weights; the global generators are left alone.

    References:
        Kingma & Welling 2014; Vincent et al. 2008; Rifai et al. 2011; Hlihor et al. 2020.

    >>> model = VAE(shape=(1, 8, 8), latent=4, hidden=(16,))
    >>> x = torch.rand(3, 1, 8, 8)
    >>> model.encode(x).mean.shape, model(x).shape
    (torch.Size([3, 4]), torch.Size([3, 1, 8, 8]))
    """

    def __init__(self, config: AutoencoderConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        with blocks.seeded(seed):
            self.encoder, features = _encoder(config)
            self.mean = nn.Linear(features, config.latent)
            self.logvar = nn.Linear(features, config.latent) if config.stochastic else None
            self.decoder = _decoder(config)

    def encode_mean(self, x: Tensor) -> Tensor:
        """The posterior's mean `(B, latent)` alone: the cheapest code of `x`."""
        blocks.check_shape(x, self.config.shape)
        return self.mean(self.encoder(x))  # type: ignore[no-any-return]

    def encode(self, x: Tensor) -> Distribution:
        """`q(z|x)`: a diagonal Gaussian, or a `PointMass` without `stochastic`."""
        blocks.check_shape(x, self.config.shape)
        features = self.encoder(x)
        if self.logvar is None:
            return PointMass(self.mean(features))
        return gaussian(self.mean(features), (0.5 * self.logvar(features)).exp())

    def decode_logits(self, z: Tensor) -> Tensor:
        """The decoder's output before its sigmoid, `(B, *shape)`."""
        return self.decoder(z)  # type: ignore[no-any-return]

    def decode(self, z: Tensor) -> Tensor:
        """The decoded example `(B, *shape)`, in [0, 1] unless `squash` is off."""
        logits = self.decode_logits(z)
        return logits.sigmoid() if self.config.squash else logits

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction from `mean + scale * stddev * noise`; at scale 0 from the mean."""
        if self.config.scale == 0:
            return self.decode(self.encode_mean(x))
        posterior = self.encode(x)
        mean = posterior.mean
        noise = random.normal(tuple(mean.shape), mean)
        return self.decode(mean + self.config.scale * posterior.stddev * noise)

    def with_scale(self, scale: float) -> Self:
        """The same weights (shared, not copied) with another latent scale."""
        other = copy.copy(self)
        other.config = replace(self.config, scale=scale)
        return other

    @property
    def prior(self) -> Distribution:
        """`p(z) = N(0, I)` over one code, on the device and in the dtype of the weights."""
        zero = torch.zeros_like(self.mean.bias)
        return gaussian(zero[None], torch.ones_like(zero)[None])

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """The terms of the training objective for each example of clean inputs `x`, each `(B,)`.

        `loss = reconstruction + beta * kl + contractive * ||d mean / dx||_F^2 +
        contractive_deviation * ||d stddev / dx||_F^2`, in nats, summed over each image. One draw
        each of the input noise, the posterior and the probes, in this order, from the ambient
        streams. Terms that are switched off are absent. Under DDP, mark it as a forward method.
        """
        noisy = self._noisy(x)
        contracts = bool(self.config.contractive or self.config.contractive_deviation)
        keep_graph = torch.is_grad_enabled()
        with torch.set_grad_enabled(keep_graph or contracts):
            seen = noisy.clamp(0, 1) if self.config.clip_noise else noisy
            seen = seen.detach().requires_grad_() if contracts else seen
            posterior = self.encode(seen)
        code = random.sample(posterior) if self.config.stochastic else posterior.mean
        terms = {"reconstruction": self._reconstruction(code, x if self.config.denoise else noisy)}
        if self.config.stochastic:
            terms["kl"] = kl_to_prior(posterior)
        if contracts:
            terms |= self._contractions(posterior, seen, keep_graph)
        return {"loss": self._weighted(terms), **terms}

    def negative_elbo(self, x: Tensor) -> Tensor:
        """`-ELBO` `(B,)` of clean inputs in nats, from one posterior draw.

        An upper bound on `-log p(x)`, free of the training settings (noise, beta, contraction). A
        deterministic autoencoder has no posterior: this is its reconstruction loss.
        """
        posterior = self.encode(x)
        if not self.config.stochastic:
            return self._reconstruction(posterior.mean, x)
        return self._reconstruction(random.sample(posterior), x) + kl_to_prior(posterior)

    def reconstruction_loss(self, x: Tensor) -> Tensor:
        """`-log p(x | z)` `(B,)` at the mean code, in nats, summed over each image."""
        return self._reconstruction(self.encode_mean(x), x)

    def _noisy(self, x: Tensor) -> Tensor:
        if self.config.input_noise == 0:
            return x
        return x + self.config.input_noise * random.normal(tuple(x.shape), x)

    def _reconstruction(self, code: Tensor, target: Tensor) -> Tensor:
        c = self.config
        output = self.decode_logits(code)
        return reconstruction_loss(
            output, target, c.likelihood, variance=c.variance, squash=c.squash
        )

    def _contractions(
        self, posterior: Distribution, x: Tensor, keep_graph: bool
    ) -> dict[str, Tensor]:
        terms = {}
        for name, output in (("contractive", "mean"), ("contractive_deviation", "stddev")):
            if getattr(self.config, name):
                value = getattr(posterior, output)
                terms[name] = squared_jacobian(value, x, self.config.probes, keep_graph=keep_graph)
        return terms

    def _weighted(self, terms: Mapping[str, Tensor]) -> Tensor:
        c = self.config
        weights = {
            "reconstruction": 1.0,
            "kl": c.beta,
            "contractive": c.contractive,
            "contractive_deviation": c.contractive_deviation,
        }
        return torch.stack([weights[name] * value for name, value in terms.items()]).sum(0)


def _encoder(config: AutoencoderConfig) -> tuple[nn.Sequential, int]:
    """The trunk `(B, *shape) -> (B, F)` and F."""
    if config.architecture == "conv":
        trunk, inner = blocks.conv_encoder(config.shape, config.channels, config.activation)
        return trunk, math.prod(inner)
    sizes = (math.prod(config.shape), *config.hidden)
    return nn.Sequential(nn.Flatten(), *blocks.mlp(sizes, config.activation)), sizes[-1]


def _decoder(config: AutoencoderConfig) -> nn.Sequential:
    if config.architecture == "conv":
        return blocks.conv_decoder(config.latent, config.shape, config.channels, config.activation)
    sizes = (config.latent, *reversed(config.hidden))
    last = nn.Linear(sizes[-1], math.prod(config.shape))
    return nn.Sequential(
        *blocks.mlp(sizes, config.activation), last, blocks.Unflatten(config.shape)
    )


def _named(shape: tuple[int, ...], latent: int, seed: int, settings: dict[str, Any]) -> Autoencoder:
    known = {field.name for field in fields(AutoencoderConfig)}
    for name in settings.keys() - known:
        raise UserError(f"unknown setting {name!r}; the settings are {', '.join(sorted(known))}")
    return Autoencoder(AutoencoderConfig(shape=shape, latent=latent, **settings), seed=seed)


def AE(
    shape: tuple[int, ...] = (1, 28, 28), latent: int = 20, *, seed: int = 0, **settings: Any
) -> Autoencoder:
    """A deterministic autoencoder (Hinton & Salakhutdinov 2006); see `AutoencoderConfig`.

    >>> AE(latent=2).config.stochastic
    False
    """
    return _named(shape, latent, seed, {"stochastic": False} | settings)


def DAE(
    shape: tuple[int, ...] = (1, 28, 28), latent: int = 20, *, seed: int = 0, **settings: Any
) -> Autoencoder:
    """A denoising autoencoder (Vincent et al. 2008): noisy input, clean target.

    >>> DAE(latent=2).config.input_noise
    0.4
    """
    return _named(
        shape, latent, seed, {"stochastic": False, "input_noise": 0.4, "denoise": True} | settings
    )


def CAE(
    shape: tuple[int, ...] = (1, 28, 28), latent: int = 20, *, seed: int = 0, **settings: Any
) -> Autoencoder:
    """A contractive autoencoder (Rifai et al. 2011): penalises the squared Jacobian of the code.

    >>> CAE(latent=2).config.contractive
    0.1
    """
    return _named(shape, latent, seed, {"stochastic": False, "contractive": 0.1} | settings)


def VAE(
    shape: tuple[int, ...] = (1, 28, 28), latent: int = 20, *, seed: int = 0, **settings: Any
) -> Autoencoder:
    """A variational autoencoder (Kingma & Welling 2014).

    >>> VAE(latent=2).config.stochastic
    True
    """
    return _named(shape, latent, seed, {"stochastic": True} | settings)


def DVAE(
    shape: tuple[int, ...] = (1, 28, 28), latent: int = 20, *, seed: int = 0, **settings: Any
) -> Autoencoder:
    """A denoising variational autoencoder (Im et al. 2017): noisy input, clean target.

    >>> DVAE(latent=2).config.denoise
    True
    """
    return _named(
        shape, latent, seed, {"stochastic": True, "input_noise": 0.4, "denoise": True} | settings
    )


def CVAE(
    shape: tuple[int, ...] = (1, 28, 28), latent: int = 20, *, seed: int = 0, **settings: Any
) -> Autoencoder:
    """A contractive variational autoencoder (Hlihor et al. 2020): the mean's Jacobian is penalised.

    Their objective is `-ELBO + alpha ||d mean / dx||_F^2 + beta ||d stddev / dx||_F^2`; alpha is
    `contractive` here and beta `contractive_deviation`, zero unless given.

    >>> CVAE(latent=2).config.contractive
    0.1
    """
    return _named(shape, latent, seed, {"stochastic": True, "contractive": 0.1} | settings)
