"""The models of the paper as recipes, and the pairs of images: what its items share."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.zoo import Recipe

__all__ = ["classifier", "convolutional", "pairs", "tabacof"]


def tabacof(kind: str, data: str = "mnist", seed: int = 0, **settings: Any) -> "Recipe":
    """The MLP `"vae"` or `"ae"` of the paper, 784-512-512-20, trained on binarised images.

    The AE descends squared error. We train by the zoo's one-cycle Adam for 10 epochs where the paper's
    notebooks take 50 at a constant rate; on digits, a small one for tests.

    Args:
        kind: `"vae"` or `"ae"`.
        data: `"mnist"` or any set of the same shape, or `"digits"`.
        seed: of the training.
        settings: of the autoencoder, beyond the paper's (`beta=5.0`).
    """
    from trompe.models import AutoencoderConfig
    from trompe.zoo import Recipe

    own: dict[str, Any] = {"ae": {"stochastic": False, "likelihood": "gaussian"}, "vae": {}}[kind]
    small = data == "digits"
    shape = (1, 8, 8) if small else (1, 28, 28)
    sizes: dict[str, Any] = {"latent": 8, "hidden": (64,)} if small else {}
    model = AutoencoderConfig(shape, **{**sizes, **own, **settings})
    name = f"{data}-tabacof-{kind}"
    epochs = 15 if small else 10
    return Recipe(name, model, data, epochs=epochs, seed=seed, binarize="threshold")


def convolutional(kind: str, data: str = "mnist", seed: int = 0) -> "Recipe":
    """A convolutional `"vae"` or `"ae"` with a code of the same size: two layers of stride 2."""
    from dataclasses import replace

    small = data == "digits"
    channels = (8, 8) if small else (16, 32)
    made = tabacof(kind, data, seed, architecture="conv", channels=channels)
    return replace(made, name=f"{data}-tabacof-conv-{kind}", epochs=10 if small else 4)


def classifier(data: str = "mnist", seed: int = 0) -> "Recipe":
    """A classifier with the layers of the encoder, on the same binarised images.

    The paper's has two layers of 1024 units and dropout.
    """
    from trompe.models import ClassifierConfig
    from trompe.zoo import Recipe

    small = data == "digits"
    shape, hidden = ((1, 8, 8), (64,)) if small else ((1, 28, 28), (512, 512))
    model = ClassifierConfig("mlp", shape, hidden=hidden)
    epochs = 30 if small else 4
    name = f"{data}-tabacof-classifier"
    return Recipe(name, model, data, epochs=epochs, seed=seed, binarize="threshold")


def pairs(data: str, count: int) -> tuple["Tensor", "Tensor"]:
    """Sources, the first `count` test images as they are, and for each a target of another class."""
    from trompe import data as sets
    from trompe.evaluation.autoencoder import partners

    x, y = sets.load(data).take(count).tensors()
    assert y is not None
    return x, x[partners(y)]
