"""The autoencoder grid: AE, DAE, CAE, VAE, DVAE and CVAE as one class and its settings.

*Stochastic?* x *input noise* x *denoise target* x *contractive weight* x *latent scale*: each named
autoencoder is a point of this grid (Hlihor, Volpi & Malago 2020, section 2).
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.losses import kl_to_prior
from trompe.core.protocols import PointMass
from trompe.models import blocks
from trompe.models.aggregate import kl_parts
from trompe.models.config import AutoencoderConfig
from trompe.models.contractive import contractive_penalty, squared_jacobian
from trompe.models.objectives import mean_of, reconstruction_loss, sampled_kl

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
        """The decoder's output, the likelihood's natural parameter where it squashes: `(B, *shape)`."""
        return self.decoder(z)  # type: ignore[no-any-return]

    def decode(self, z: Tensor) -> Tensor:
        """The likelihood's mean `(B, *shape)`: the image to expect, in [0, 1] unless `squash` is off.

        Of the continuous Bernoulli the mean is *not* the sigmoid of the logits, which is its parameter.
        """
        return mean_of(self.decode_logits(z), self.config.likelihood, squash=self.config.squash)

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

        `loss = reconstruction + beta * kl + total_correlation * KL(q(z) || prod_j q(z_j)) +
        contractive * ||d mean / dx||_F^2 + contractive_deviation * ||d stddev / dx||_F^2`, in nats,
        summed over each image. One draw each of the input noise, the posterior and the probes, in
        this order, from the ambient streams. Terms that are switched off are absent. The total
        correlation alone depends on the other examples of the batch. Under DDP, mark it as a
        forward method.
        """
        noisy = self._noisy(x)
        contracts = bool(self.config.contractive or self.config.contractive_deviation)
        keep_graph = torch.is_grad_enabled()
        with torch.set_grad_enabled(keep_graph or contracts):
            seen = noisy.clamp(0, 1) if self.config.clip_noise else noisy
            seen = seen.detach().requires_grad_() if contracts else seen
            posterior = self.encode(seen)
        code = random.sample(posterior) if self.config.stochastic else posterior.mean
        terms = {"reconstruction": self.nll(code, x if self.config.denoise else noisy)}
        if self.config.stochastic:
            terms["kl"] = kl_to_prior(posterior)
        if self.config.total_correlation:
            assert self.config.examples is not None
            parts = kl_parts(posterior, code, self.config.examples)
            terms["total_correlation"] = parts["total_correlation"]
        if contracts:
            terms |= self._contractions(posterior, seen, keep_graph)
        return {"loss": self._weighted(terms), **terms}

    def negative_elbo(self, x: Tensor, *, exact: bool = True) -> Tensor:
        """`-ELBO` `(B,)` of clean inputs in nats, from one posterior draw.

        An upper bound on `-log p(x)`, free of the training settings (noise, beta, contraction). A
        deterministic autoencoder has no posterior: this is its reconstruction loss.

        Args:
            exact: take the KL in closed form (Kingma & Welling 2014, equation 7, SGVB-B), or from the
                same draw as `log q(z|x) - log p(z)` (equation 6, SGVB-A): the same on average.
        """
        posterior = self.encode(x)
        if not self.config.stochastic:
            return self.nll(posterior.mean, x)
        code = random.sample(posterior)
        kl = kl_to_prior(posterior) if exact else sampled_kl(posterior, code)
        return self.nll(code, x) + kl

    def reconstruction_loss(self, x: Tensor) -> Tensor:
        """`-log p(x | z)` `(B,)` at the mean code, in nats, summed over each image."""
        return self.nll(self.encode_mean(x), x)

    def nll(self, code: Tensor, target: Tensor) -> Tensor:
        """`-log p(target | code)` `(B,)` in nats, summed over each image: the likelihood of the training."""
        c = self.config
        output = self.decode_logits(code)
        return reconstruction_loss(
            output, target, c.likelihood, variance=c.variance, squash=c.squash
        )

    def _noisy(self, x: Tensor) -> Tensor:
        if self.config.input_noise == 0:
            return x
        return x + self.config.input_noise * random.normal(tuple(x.shape), x)

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
            "total_correlation": c.total_correlation,
            "contractive": c.contractive,
            "contractive_deviation": c.contractive_deviation,
        }
        return torch.stack([weights[name] * value for name, value in terms.items()]).sum(0)


def _encoder(config: AutoencoderConfig) -> tuple[nn.Sequential, int]:
    """The trunk `(B, *shape) -> (B, F)` and F."""
    c = config
    if c.architecture != "mlp":
        make = blocks.conv_encoder if c.architecture == "conv" else blocks.paired_encoder
        return make(c.shape, c.channels, c.activation, c.kernel, c.dense)
    sizes = (math.prod(c.shape), *c.hidden)
    return nn.Sequential(nn.Flatten(), *blocks.mlp(sizes, c.activation)), sizes[-1]


def _decoder(config: AutoencoderConfig) -> nn.Sequential:
    c = config
    if c.architecture != "mlp":
        make = blocks.conv_decoder if c.architecture == "conv" else blocks.bilinear_decoder
        return make(c.latent, c.shape, c.channels, c.activation, c.kernel, c.dense)
    sizes = (c.latent, *reversed(c.hidden))
    last = nn.Linear(sizes[-1], math.prod(c.shape))
    return nn.Sequential(*blocks.mlp(sizes, c.activation), last, blocks.Unflatten(c.shape))


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
