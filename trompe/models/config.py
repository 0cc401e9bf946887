"""The settings of an autoencoder of the grid: plain values, checked where they are written down."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from trompe.core.errors import UserError
from trompe.models import blocks
from trompe.models.objectives import Likelihood

__all__ = ["Architecture", "AutoencoderConfig"]

Architecture = Literal["mlp", "conv", "bilinear"]


_WEIGHTS = (
    "beta",
    "total_correlation",
    "input_noise",
    "contractive",
    "contractive_deviation",
    "scale",
)


@dataclass(frozen=True)
class AutoencoderConfig:
    """The settings of one autoencoder; plain values, so that they print, compare, hash and save.

    Args:
        shape: of one example, `(C, H, W)` of any size, or `(D,)` for vectors (`"mlp"` only).
        latent: number of latent coordinates.
        architecture: `"mlp"`; `"conv"` (stride 2, transposed in the decoder); or `"bilinear"` (convolutions
            in pairs, the second of stride 2, and a decoder that resizes before each pair).
        hidden: widths of the MLP's encoder, outermost first; the decoder mirrors them.
            `(512, 512)` with ReLU is Tabacof et al. 2016, `(500,)` with tanh Kingma & Welling 2014;
            `()` is a linear autoencoder, up to the likelihood's sigmoid.
        channels: of the convolutions, outermost first; `(32, 32)` with `latent=128` is
            Hlihor et al. 2020. Of `"bilinear"` two for each halving: `(16, 32, 32, 64)`.
        kernel: height and width of the convolutions, 2 to 7; each maps n pixels to `ceil(n / 2)`.
        dense: widths of fully connected layers between the convolutions and the code, outermost
            first; the decoder mirrors them. `channels=(32, 64, 128), kernel=4, dense=(512,)` with ELU
            is the SVHN model of Tabacof et al. 2016, but for its decoder's 5x5 kernels.
        activation: of every hidden layer.
        stochastic: a Gaussian posterior and a KL term (VAE), or a point (AE).
        likelihood: of a pixel given its code; `"bernoulli"`, `"continuous_bernoulli"` (a density on
            [0, 1] for grey values, Loaiza-Ganem & Cunningham 2019) or `"gaussian"`.
        variance: of the Gaussian likelihood, in squared input units.
        squash: whether decoded values pass a sigmoid; off only with the Gaussian likelihood.
        beta: weight of the KL term (Higgins et al. 2017).
        total_correlation: further weight of the total correlation, a part of the KL term; with `beta=1`
            and `total_correlation=b - 1` this is the beta-TCVAE of Chen et al. 2018 at its beta b.
        examples: size of the training set, which the estimate of the total correlation needs.
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
    kernel: int = 3
    dense: tuple[int, ...] = ()
    activation: blocks.Activation = "relu"
    stochastic: bool = True
    likelihood: Likelihood = "bernoulli"
    variance: float = 0.1
    squash: bool = True
    beta: float = 1.0
    total_correlation: float = 0.0
    examples: int | None = None
    input_noise: float = 0.0
    clip_noise: bool = False
    denoise: bool = False
    contractive: float = 0.0
    contractive_deviation: float = 0.0
    probes: int | None = 1
    scale: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shape", "hidden", "channels", "dense"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_sizes(self)
        _check_settings(self)


def _check_sizes(config: AutoencoderConfig) -> None:
    if config.architecture not in get_args(Architecture):
        known = ", ".join(get_args(Architecture))
        raise UserError(f"architecture must be one of {known}, got {config.architecture!r}")
    sizes = (*config.shape, config.latent, *config.hidden, *config.channels, *config.dense)
    if any(not isinstance(size, int) or size < 1 for size in sizes) or not config.shape:
        raise UserError(
            f"shape, latent, hidden, channels and dense must be positive integers, got {sizes}"
        )
    if config.kernel not in range(2, 8):
        raise UserError(f"kernel must be a whole number from 2 to 7, got {config.kernel!r}")
    if config.architecture == "mlp" and config.dense:
        raise UserError("dense layers follow convolutions; the widths of an mlp are its hidden")
    if config.architecture == "bilinear" and (len(config.channels) % 2 or not config.kernel % 2):
        raise UserError(
            "a bilinear autoencoder takes channels in pairs and an odd kernel, "
            f"got {config.channels} and {config.kernel}"
        )
    if config.architecture != "mlp" and (len(config.shape) != 3 or not config.channels):
        raise UserError(
            f"a {config.architecture} autoencoder needs shape (C, H, W) and at least one entry in channels, "
            f"got {config.shape} and {config.channels}; vectors take architecture='mlp'"
        )


def _check_settings(config: AutoencoderConfig) -> None:
    for name in _WEIGHTS:
        if not 0 <= getattr(config, name) < math.inf:
            raise UserError(f"{name} must be zero or more, got {getattr(config, name)}")
    if config.likelihood not in get_args(Likelihood):
        known = ", ".join(get_args(Likelihood))
        raise UserError(f"likelihood must be one of {known}, got {config.likelihood!r}")
    if not config.variance > 0:
        raise UserError(f"variance must be positive, got {config.variance}")
    if config.probes is not None and config.probes < 1:
        raise UserError(f"probes must be one or more, or None for exact, got {config.probes}")
    if config.likelihood != "gaussian" and not config.squash:
        raise UserError("squash=False needs likelihood='gaussian': other means lie in [0, 1]")
    if config.likelihood != "gaussian" and config.input_noise and not config.denoise:
        raise UserError(
            f"a noisy target leaves [0, 1], where {config.likelihood} is no likelihood; "
            "pass likelihood='gaussian', or denoise=True to aim at the clean input"
        )
    if config.total_correlation and (config.examples is None or config.examples < 2):
        raise UserError(
            "the total correlation is that of codes of the whole training set: give its size as "
            f"examples (60000 for MNIST), got {config.examples}"
        )
    posterior = (config.contractive_deviation, config.total_correlation, config.scale)
    if not config.stochastic and any(posterior):
        raise UserError(
            "contractive_deviation, total_correlation and scale act on the posterior's deviation, "
            "which an autoencoder with stochastic=False does not have"
        )
