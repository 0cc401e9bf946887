"""The autoencoders and classifiers of the paper as recipes: what its items share."""

from typing import TYPE_CHECKING, Any

from trompe.core.errors import UserError

if TYPE_CHECKING:
    from trompe.zoo import Recipe

__all__ = ["KINDS", "classifier", "purifier"]

KINDS = ("ae", "dae", "cae", "vae", "dvae", "cvae")
_SHAPES = {"digits": (1, 8, 8), "btsc": (3, 32, 32), "gtsrb": (3, 32, 32)}
_PASSES = {"digits": 30, "btsc": 60, "gtsrb": 16}


def purifier(
    kind: str,
    data: str = "mnist",
    stp: float = 0.0,
    weight: float = 0.0,
    *,
    deviation: float = 0.0,
    seed: int = 0,
) -> "Recipe":
    """An autoencoder of the paper: two convolutions of 32 channels, 3x3, and 128 latent coordinates.

    Where the paper is silent: strides of 2, a Gaussian likelihood of variance 0.1 for all kinds (a noisy
    target leaves [0, 1]), the noise not clipped, and the zoo's one-cycle Adam.

    Args:
        kind: one of `KINDS`. "d" aims at the clean image, "c" has a penalty on the encoder's Jacobian.
        data: as for `trompe.data.load`; "digits" gets a small one, for tests.
        stp: standard deviation of the noise on training inputs.
        weight: of the penalty on the mean's Jacobian, for the "c" kinds.
        deviation: of the penalty on the deviation's, for "cvae".
        seed: of the training.

    >>> purifier("dae", "mnist", 0.4).model.denoise
    True
    """
    from trompe.models import AutoencoderConfig
    from trompe.zoo import Recipe

    if kind not in KINDS:
        raise UserError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if (weight or deviation) and kind not in ("cae", "cvae"):
        raise UserError(f"only cae and cvae have a contractive penalty, not {kind}")
    sizes: dict[str, Any] = (
        {"latent": 16, "channels": (8, 8)} if data == "digits" else {"latent": 128}
    )
    model = AutoencoderConfig(
        _SHAPES.get(data, (1, 28, 28)),
        architecture="conv",
        stochastic=kind.endswith("vae"),
        likelihood="gaussian",
        variance=0.1,
        input_noise=stp,
        denoise=kind.startswith("d") and stp > 0,
        contractive=weight,
        contractive_deviation=deviation,
        **sizes,
    )
    batch = 64 if data in _PASSES else 128
    return Recipe(
        f"{data}-{kind}-purifier", model, data, epochs=_PASSES.get(data, 4), batch=batch, seed=seed,
        precision="32-true" if data == "digits" else "bf16-mixed",
    )  # fmt: skip


def classifier(data: str = "mnist", kind: str = "conv4", seed: int = 0) -> "Recipe":
    """A classifier of clean images: "conv4", four convolutions and a dense layer, or "resnet"."""
    from dataclasses import replace

    from trompe.models import ClassifierConfig
    from trompe.zoo import Recipe, recipe

    if data == "digits":
        model = ClassifierConfig("mlp", (1, 8, 8), hidden=(64,))
        return Recipe("digits-purified", model, data, epochs=30, batch=64, seed=seed)
    if data not in _SHAPES:
        return replace(recipe(f"{data}-{kind}"), seed=seed)
    classes = 62 if data == "btsc" else 43
    widths = {"conv4": (32, 32, 64, 64), "resnet": (16, 32, 64)}[kind]
    net: Any = kind
    model = ClassifierConfig(net, _SHAPES[data], classes, channels=widths)
    return Recipe(
        f"{data}-{kind}", model, data, epochs=_PASSES[data], batch=64, seed=seed, warp=0.5,
        precision="bf16-mixed",
    )  # fmt: skip
