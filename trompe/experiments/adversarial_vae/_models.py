"""The models of the paper as recipes, and the pairs of images: what its items share."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.zoo import Recipe

__all__ = ["pairs", "tabacof"]


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
    epochs = 30 if small else 10
    return Recipe(name, model, data, epochs=epochs, seed=seed, binarize="threshold")


def pairs(data: str, count: int) -> tuple["Tensor", "Tensor"]:
    """Sources, the first `count` test images as they are, and for each a target of another class."""
    from trompe import data as sets
    from trompe.evaluation.autoencoder import partners

    x, y = sets.load(data).take(count).tensors()
    assert y is not None
    return x, x[partners(y)]
