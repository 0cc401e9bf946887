"""Adapters for the user's autoencoders: images in [0, 1], posteriors as distributions.

They wrap, and leave what they wrap as it was. Each is an `nn.Module`, so that `.to`, `.eval` and
`deepcopy` reach the model inside, whose train or eval mode it takes over. The wrappers of
classifiers are found here, too.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.losses import squared_distance
from trompe.core.protocols import PointMass
from trompe.models.autoencoders import Autoencoder, gaussian
from trompe.models.wrappers import (
    FromBinary,
    FromProbabilities,
    FromSigned,
    Normalized,
    check_classifier,
)

__all__ = [
    "AutoencoderAdapter",
    "DiffusersAutoencoder",
    "FromBinary",
    "FromProbabilities",
    "FromSigned",
    "Normalized",
    "PythaeAutoencoder",
    "adapt_autoencoder",
    "check_autoencoder",
    "check_classifier",
    "is_autoencoder",
]

Range = Literal["unit", "signed"]


class AutoencoderAdapter(nn.Module):
    r"""Any module with an encoder and a decoder, as one of our autoencoders.

    Its encoder may return a tensor (a point), a pair `(mean, logvar)`, a `Distribution`, or an
    object or mapping with `latent_dist`, `latents`, or `embedding` and perhaps `log_covariance`;
    its decoder a tensor, a tuple that starts with one, or an object with `sample` or
    `reconstruction`.
    Codes are `(z - shift) * factor` of the module's own. Its `forward` is never called.

    Args:
        module: the user's model; it is not changed.
        encode, decode: names of its methods or submodules.
        images: what it takes and returns, `"unit"` for [0, 1] or `"signed"` for [-1, 1].
        logits: whether decoded values still lack their sigmoid.
        clamp: clamp decoded images to [0, 1], for decoders that end without a bound.
        shift, factor: of the codes, a number or one per code channel.
        scale: posterior deviations of noise that `forward` adds to the mean; 0 is the mean.

    Raises:
        UserError: the module lacks the two calls, or answers with something that is none of these.

    >>> class Halves(nn.Module):
    ...     def encode(self, x): return x / 2, torch.zeros_like(x)
    ...     def decode(self, z): return 2 * z
    >>> model = AutoencoderAdapter(Halves())
    >>> model.encode(torch.ones(1, 3)).stddev.tolist(), model(torch.ones(1, 3)).tolist()
    ([[1.0, 1.0, 1.0]], [[1.0, 1.0, 1.0]])
    """

    shift: Tensor
    factor: Tensor

    def __init__(
        self,
        module: nn.Module,
        *,
        encode: str = "encode",
        decode: str = "decode",
        images: Range = "unit",
        logits: bool = False,
        clamp: bool = False,
        shift: float | Sequence[float] = 0.0,
        factor: float | Sequence[float] = 1.0,
        scale: float = 0.0,
    ) -> None:
        super().__init__()
        for name in (encode, decode):
            if not callable(getattr(module, name, None)):
                raise UserError(
                    f"{type(module).__name__} has no {name!r} to call; name its encoder and decoder"
                )
        if images not in ("unit", "signed"):
            raise UserError(
                f"images must be unit (in [0, 1]) or signed (in [-1, 1]), got {images!r}"
            )
        self.module = module
        self.training = module.training
        self.calls = (encode, decode)
        self.signed, self.logits, self.clamp, self.scale = images == "signed", logits, clamp, scale
        self.moves_codes = shift != 0.0 or factor != 1.0
        self.register_buffer("shift", _per_channel(shift), persistent=False)
        self.register_buffer("factor", _per_channel(factor), persistent=False)

    def encode(self, x: Tensor) -> Distribution:
        """`q(z|x)` of images in [0, 1]; its mean and deviation have the dtype of `x`."""
        inside = self._cast(2 * x - 1 if self.signed else x)
        posterior = _posterior(getattr(self.module, self.calls[0])(inside))
        mean, stddev = (
            posterior.mean,
            None if isinstance(posterior, PointMass) else posterior.stddev,
        )
        if self.moves_codes:
            mean = (mean - _beside(self.shift, mean)) * _beside(self.factor, mean)
            stddev = None if stddev is None else stddev * _beside(self.factor, mean).abs()
        elif mean.dtype == x.dtype:
            return posterior
        return (
            PointMass(mean.to(x.dtype))
            if stddev is None
            else gaussian(mean.to(x.dtype), stddev.to(x.dtype))
        )

    def decode(self, z: Tensor) -> Tensor:
        """The decoded image, in [0, 1] where the decoder keeps its range or `clamp` is on."""
        inside = self._cast(z)
        if self.moves_codes:
            inside = inside / _beside(self.factor, inside) + _beside(self.shift, inside)
        x = _image(getattr(self.module, self.calls[1])(inside)).to(z.dtype)
        if self.logits:
            x = x.sigmoid()
        if self.signed:
            x = (x + 1) / 2
        return x.clamp(0, 1) if self.clamp else x

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction from `mean + scale * stddev * noise`; at scale 0 from the mean."""
        posterior = self.encode(x)
        if self.scale == 0:
            return self.decode(posterior.mean)
        noise = random.normal(tuple(posterior.mean.shape), posterior.mean)
        return self.decode(posterior.mean + self.scale * posterior.stddev * noise)

    def nll(self, code: Tensor, target: Tensor) -> Tensor:
        """Half the squared error of the decoded pixels, `(B,)`: the module's own likelihood is not known."""
        return 0.5 * squared_distance(self.decode(code), target)

    def with_scale(self, scale: float) -> "AutoencoderAdapter":
        """The same weights (shared, not copied) with another latent scale."""
        other = copy.copy(self)
        other.scale = scale
        return other

    def _cast(self, t: Tensor) -> Tensor:
        """To the dtype of the module's weights, where they are floating and other than `t`'s."""
        weight = next(self.module.parameters(), None)
        return t if weight is None or not weight.is_floating_point() else t.to(weight.dtype)


def _per_channel(value: float | Sequence[float]) -> Tensor:
    return torch.tensor([float(v) for v in (value if isinstance(value, Sequence) else [value])])


def _beside(values: Tensor, codes: Tensor) -> Tensor:
    """One value per channel `(C,)`, or one `(1,)`, in the dtype and the dimensions of `(B, C, *)`."""
    return values.to(codes.dtype).view(-1, *(1,) * (codes.ndim - 2))


def _field(output: Any, name: str) -> Any:
    """A mapping's or object's entry, or None."""
    if isinstance(output, Mapping):
        return output.get(name)
    return getattr(output, name, None)


def _posterior(output: Any) -> Distribution:
    """What an encoder returned, as a distribution over codes; see `AutoencoderAdapter`."""
    if isinstance(output, Distribution):
        return output
    if isinstance(output, Tensor):
        return PointMass(output)
    if (inner := _field(output, "latent_dist")) is not None:
        return gaussian(inner.mean, inner.std)
    if (code := _field(output, "latents")) is not None:
        return PointMass(code)
    if (mean := _field(output, "embedding")) is not None:
        logvar = _field(output, "log_covariance")
        return PointMass(mean) if logvar is None else gaussian(mean, (0.5 * logvar).exp())
    if isinstance(output, (tuple, list)) and all(isinstance(part, Tensor) for part in output):
        if len(output) == 1:
            return PointMass(output[0])
        if len(output) == 2 and output[0].shape == output[1].shape:
            return gaussian(output[0], (0.5 * output[1]).exp())
    raise UserError(
        f"cannot read a posterior from the encoder's {type(output).__name__}; return a tensor, "
        "(mean, logvar) of equal shapes, or a torch Distribution"
    )


def _image(output: Any) -> Tensor:
    """What a decoder returned, as images; see `AutoencoderAdapter`."""
    first = output[0] if isinstance(output, (tuple, list)) and output else output
    for candidate in (first, _field(output, "sample"), _field(output, "reconstruction")):
        if isinstance(candidate, Tensor):
            return candidate
    raise UserError(
        f"cannot read images from the decoder's {type(output).__name__}; return a tensor"
    )


def DiffusersAutoencoder(
    vae: nn.Module, *, clamp: bool = True, scale: float = 0.0
) -> AutoencoderAdapter:
    """A diffusers autoencoder (`AutoencoderKL`, `VQModel`, ...): images in [-1, 1], scaled codes.

    Codes are `(z - shift) * scaling_factor` as diffusion models meet them (Rombach et al. 2022,
    section D.1), with `latents_mean` and `latents_std` where the configuration has them. float16
    weights that say `force_upcast`, whose encoder overflows, and any on the CPU are copied to
    float32; the given model stays as it is. `clamp` cuts decoded images to [0, 1], as diffusers'
    pipelines do; the gradient is zero where it cuts.

    Raises:
        UserError: the module is no autoencoder with a configuration.
    """
    config = getattr(vae, "config", None)
    if config is None or not hasattr(config, "get"):
        raise UserError(
            f"{type(vae).__name__} has no diffusers configuration; use AutoencoderAdapter"
        )
    weight = next(vae.parameters())
    if weight.dtype == torch.float16 and (
        config.get("force_upcast") or weight.device.type == "cpu"
    ):
        vae = copy.deepcopy(vae).float()
    factor, shift = config.get("scaling_factor") or 1.0, config.get("shift_factor") or 0.0
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is not None and std is not None:
        shift, factor = list(mean), [factor / deviation for deviation in std]
    return AutoencoderAdapter(
        vae, images="signed", clamp=clamp, shift=shift, factor=factor, scale=scale
    )


def PythaeAutoencoder(model: nn.Module, *, scale: float = 0.0) -> AutoencoderAdapter:
    """A pythae model (Chadebec et al. 2022): its `encoder` and `decoder` submodules.

    pythae's `forward` samples and computes a loss; here it is never called.
    """
    return AutoencoderAdapter(model, encode="encoder", decode="decoder", scale=scale)


def is_autoencoder(model: object) -> bool:
    """Whether a model can be read as an autoencoder: it encodes and decodes under one of our names.

    >>> is_autoencoder(nn.Linear(2, 2))
    False
    """
    return _names(model) is not None


def _names(model: object) -> tuple[str, str] | None:
    for pair in (("encode", "decode"), ("encoder", "decoder")):
        if all(callable(getattr(model, name, None)) for name in pair):
            return pair
    return None


def adapt_autoencoder(model: nn.Module, x: Tensor | None = None) -> nn.Module:
    """A user's autoencoder as one of ours, by guessing what it is; ours pass through unchanged.

    A diffusers or pythae model is known by its package, anything else by `encode` and `decode` or
    `encoder` and `decoder`. With a batch `x` of clean images the result is also checked.

    Raises:
        UserError: it neither encodes nor decodes; or `check_autoencoder` refuses it.

    >>> model = nn.Module(); model.encoder = nn.Flatten(); model.decoder = nn.Sigmoid()
    >>> adapt_autoencoder(model)(torch.zeros(1, 2)).tolist()
    [[0.5, 0.5]]
    """
    adapted = model if isinstance(model, Autoencoder | AutoencoderAdapter) else _adapted(model)
    if x is not None:
        check_autoencoder(adapted, x)
    return adapted


def _adapted(model: nn.Module) -> AutoencoderAdapter:
    packages = {kind.__module__.split(".")[0] for kind in type(model).__mro__}
    if "diffusers" in packages:
        return DiffusersAutoencoder(model)
    if "pythae" in packages:
        return PythaeAutoencoder(model)
    names = _names(model)
    if names is None:
        raise UserError(
            f"{type(model).__name__} has neither encode and decode nor encoder and decoder; give "
            "it these, or name its own as AutoencoderAdapter(model, encode=..., decode=...)"
        )
    return AutoencoderAdapter(model, encode=names[0], decode=names[1])


def check_autoencoder(model: nn.Module, x: Tensor) -> Tensor:
    """Refuse an autoencoder that is not of our kind, by running `x`; returns its reconstruction.

    Raises:
        UserError: train mode, a code that changes between two calls, a reconstruction of another
            shape, with NaN, or outside [0, 1].
    """
    if any(module.training for module in model.modules()):
        raise UserError("the autoencoder is in train mode; call model.eval() first")
    with torch.no_grad():
        code, again = model.encode(x).mean, model.encode(x).mean  # type: ignore[operator]
        rebuilt: Tensor = model.decode(code)  # type: ignore[operator]
    if not torch.allclose(code, again, rtol=1e-3, atol=1e-4):
        raise UserError(
            "encode returns a fresh random sample at every call; return the distribution or "
            "(mean, logvar), so that attacks can see what it is drawn from"
        )
    if rebuilt.shape != x.shape:
        raise UserError(f"images of shape {tuple(x.shape)} come back as {tuple(rebuilt.shape)}")
    if not bool(rebuilt.isfinite().all()):
        raise UserError("the autoencoder returns NaN or infinite pixels on clean images")
    low, high = float(rebuilt.min()), float(rebuilt.max())
    if low < -0.01 or high > 1.01:
        raise UserError(
            f"reconstructions lie in [{low:.2f}, {high:.2f}], not in [0, 1]; wrap the model as "
            "AutoencoderAdapter(model, images='signed') if it lives in [-1, 1], with logits=True "
            "if it lacks its sigmoid, or with clamp=True if it merely overshoots"
        )
    return rebuilt
