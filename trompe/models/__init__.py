"""Models: the autoencoder grid, classifiers, and adapters for the user's own."""

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
from trompe.models.classifiers import (
    MLP,
    ClassifierConfig,
    ClassifierNet,
    Conv4,
    LeNet5,
    ResNet,
)
from trompe.models.contractive import contractive_penalty
from trompe.models.vaegan import VAEGAN, VAEGANConfig
from trompe.models.wrappers import (
    FromBinary,
    FromProbabilities,
    FromSigned,
    Normalized,
    check_classifier,
)

__all__ = [
    "AE",
    "CAE",
    "CVAE",
    "DAE",
    "DVAE",
    "MLP",
    "VAE",
    "VAEGAN",
    "Autoencoder",
    "AutoencoderAdapter",
    "AutoencoderConfig",
    "ClassifierConfig",
    "ClassifierNet",
    "Conv4",
    "DiffusersAutoencoder",
    "FromBinary",
    "FromProbabilities",
    "FromSigned",
    "LeNet5",
    "Normalized",
    "PythaeAutoencoder",
    "ResNet",
    "VAEGANConfig",
    "adapt_autoencoder",
    "build",
    "check_autoencoder",
    "check_classifier",
    "contractive_penalty",
    "is_autoencoder",
]


def build(config: AutoencoderConfig | ClassifierConfig, *, seed: int = 0) -> nn.Module:
    """The model a configuration describes, freshly initialised from `seed`.

    >>> build(ClassifierConfig("mlp", hidden=(8,))).config.hidden
    (8,)
    """
    if isinstance(config, VAEGANConfig):
        return VAEGAN(config, seed=seed)
    if isinstance(config, AutoencoderConfig):
        return Autoencoder(config, seed=seed)
    if isinstance(config, ClassifierConfig):
        return ClassifierNet(config, seed=seed)
    raise UserError(
        f"build needs an AutoencoderConfig or a ClassifierConfig, got {type(config).__name__}"
    )
