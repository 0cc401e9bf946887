"""Models: the autoencoder grid, classifiers, and adapters for the user's own."""

from collections.abc import Callable
from typing import Any

from torch import nn

from trompe.core.errors import UserError
from trompe.models.adapters import (
    AutoencoderAdapter,
    DiffusersAutoencoder,
    PythaeAutoencoder,
    adapt_autoencoder,
    check_autoencoder,
    is_autoencoder,
)
from trompe.models.autoencoders import (
    AE,
    CAE,
    CVAE,
    DAE,
    DVAE,
    VAE,
    Autoencoder,
    AutoencoderConfig,
)
from trompe.models.block_codes import HAMMING_7_4, UNCODED, BlockCode
from trompe.models.channel import Channel, Link, noise_deviation, radius_of
from trompe.models.classifiers import (
    MLP,
    ClassifierConfig,
    ClassifierNet,
    Conv4,
    LeNet5,
    ResNet,
)
from trompe.models.comms import CommsAutoencoder, CommsConfig
from trompe.models.contractive import contractive_penalty
from trompe.models.faces import FaceConfig, FaceEmbedder, adapt_embedder, check_embedder
from trompe.models.gans import ACGAN, GAN, ACGANConfig, GANConfig
from trompe.models.image_maps import ImageMap, ImageMapConfig
from trompe.models.quadratic import QuadraticConfig, QuadraticNet
from trompe.models.svae import SVAE, SVAEConfig
from trompe.models.vaegan import VAEGAN, VAEGANConfig
from trompe.models.wrappers import (
    FromBinary,
    FromProbabilities,
    FromSigned,
    Normalized,
    check_classifier,
)

__all__ = [
    "ACGAN",
    "AE",
    "CAE",
    "CVAE",
    "DAE",
    "DVAE",
    "GAN",
    "HAMMING_7_4",
    "MLP",
    "SVAE",
    "UNCODED",
    "VAE",
    "VAEGAN",
    "ACGANConfig",
    "Autoencoder",
    "AutoencoderAdapter",
    "AutoencoderConfig",
    "BlockCode",
    "Channel",
    "ClassifierConfig",
    "ClassifierNet",
    "CommsAutoencoder",
    "CommsConfig",
    "Conv4",
    "DiffusersAutoencoder",
    "FaceConfig",
    "FaceEmbedder",
    "FromBinary",
    "FromProbabilities",
    "FromSigned",
    "GANConfig",
    "ImageMap",
    "ImageMapConfig",
    "LeNet5",
    "Link",
    "Normalized",
    "PythaeAutoencoder",
    "QuadraticConfig",
    "QuadraticNet",
    "ResNet",
    "SVAEConfig",
    "VAEGANConfig",
    "adapt_autoencoder",
    "adapt_embedder",
    "build",
    "check_autoencoder",
    "check_classifier",
    "check_embedder",
    "contractive_penalty",
    "is_autoencoder",
    "noise_deviation",
    "radius_of",
]


_MODELS: dict[type, Callable[..., nn.Module]] = {
    ACGANConfig: ACGAN,
    AutoencoderConfig: Autoencoder,
    CommsConfig: CommsAutoencoder,
    ClassifierConfig: ClassifierNet,
    FaceConfig: FaceEmbedder,
    GANConfig: GAN,
    ImageMapConfig: ImageMap,
    QuadraticConfig: QuadraticNet,
    SVAEConfig: SVAE,
    VAEGANConfig: VAEGAN,
}


def build(config: Any, *, seed: int = 0) -> nn.Module:
    """The model a configuration describes, freshly initialised from `seed`.

    >>> build(ClassifierConfig("mlp", hidden=(8,))).config.hidden
    (8,)
    """
    if type(config) not in _MODELS:
        known = ", ".join(kind.__name__ for kind in _MODELS)
        raise UserError(f"build needs one of {known}, got {type(config).__name__}")
    return _MODELS[type(config)](config, seed=seed)
