"""Recipes: everything that a checkpoint depends on, as data; and those that come with the package."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from trompe.core.errors import UserError
from trompe.models import (
    ACGANConfig,
    AutoencoderConfig,
    ClassifierConfig,
    FaceConfig,
    GANConfig,
    ImageMapConfig,
    SVAEConfig,
    VAEGANConfig,
)
from trompe.zoo.store import digest, told

__all__ = ["RECIPES", "Binarize", "Recipe", "names", "recipe"]

PROCEDURE = 1  # raised when the same recipe would train to other weights
Binarize = Literal["none", "threshold", "static", "dynamic"]


@dataclass(frozen=True)
class Recipe:
    """How a model is made: its configuration, its data, and the training.

    Args:
        name: what people call it; the only field that is not part of the hash.
        model: any configuration that `trompe.models.build` knows.
        data: as for `trompe.data.load`; the "train" split is trained on, "test" measured.
        epochs: passes over the data.
        batch: examples per step.
        lr: peak of the one-cycle learning rate.
        seed: of the initial weights, the order and the noise.
        train_size: train on the first so many examples; None is all.
        classes: train on the first so many classes; None is all. On the others an embedder is calibrated.
        held_out: leave every so many-th example of each class out of training, for thresholds to be set on;
            0 leaves out none.
        weight_decay: decoupled weight decay.
        smoothing: label smoothing, for classifiers.
        recolour: of the images too, as in `trompe.training.recoloured`.
        traits: an embedder of CelebA is to tell its people's attributes too, as in `MarginStep`.
        warp, mirror: of the images that a classifier is trained on, as in `trompe.training.warped`.
        clip: largest norm of the gradient, or None.
        ema: decay of an average of the weights, or None.
        binarize: the convention of `trompe.data.binarized`; `"dynamic"` draws pixels anew at every step, and
            is measured on one static draw.
        precision: of the training, `"32-true"` or `"bf16-mixed"`.

    >>> a = Recipe("a", ClassifierConfig("mlp", shape=(1, 8, 8)), "digits")
    >>> replace(a, name="b").hash == a.hash, replace(a, seed=1).hash == a.hash
    (True, False)
    """

    name: str
    model: Any
    data: str
    epochs: float = 4
    batch: int = 128
    lr: float = 4e-3
    seed: int = 0
    train_size: int | None = None
    weight_decay: float = 0.0
    smoothing: float = 0.0
    clip: float | None = None
    ema: float | None = None
    binarize: Binarize = "none"
    precision: str = "32-true"
    held_out: int = 0
    warp: float = 0.0
    mirror: bool = False
    classes: int | None = None
    recolour: bool = False
    traits: bool = False

    def __post_init__(self) -> None:
        if self.binarize not in get_args(Binarize):
            known = ", ".join(get_args(Binarize))
            raise UserError(f"binarize must be one of {known}, got {self.binarize!r}")

    def settings(self) -> dict[str, Any]:
        """What the weights depend on: all but the name, and none of what stands at its default."""
        return {**told(self), "name": "", "procedure": PROCEDURE}

    def to_json(self) -> dict[str, Any]:
        """The whole recipe as plain values, the model's kind among them."""
        return {**asdict(self), "kind": type(self.model).__name__}

    @property
    def hash(self) -> str:
        """sha256 of everything but the name, in hexadecimal."""
        return digest(self.settings())


def names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    return tuple(RECIPES)


def recipe(name: str) -> Recipe:
    """A recipe of the package.

    Raises:
        UserError: for an unknown name.
    """
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def _for(data: str, shape: tuple[int, ...]) -> Iterator[Recipe]:
    """The recipes of a set of 28 x 28 images."""
    mlp = ClassifierConfig("mlp", shape, hidden=(128,))
    lenet = ClassifierConfig("lenet5", shape, hidden=(120, 84), channels=(6, 16))
    conv4 = ClassifierConfig("conv4", shape, channels=(16, 16, 32, 32))
    resnet = ClassifierConfig("resnet", shape, channels=(16, 32, 64))
    conv = AutoencoderConfig(shape, latent=128, architecture="conv")
    point = replace(conv, stochastic=False)
    denoising = replace(point, input_noise=0.4, clip_noise=True, denoise=True)
    yield Recipe(f"{data}-mlp", mlp, data, epochs=6)
    yield Recipe(f"{data}-lenet", lenet, data, epochs=6)
    yield Recipe(f"{data}-conv4", conv4, data, epochs=4, batch=64)
    yield Recipe(f"{data}-resnet", resnet, data, epochs=5, batch=64)
    yield Recipe(f"{data}-vae", AutoencoderConfig(shape, latent=20, hidden=(400,)), data, epochs=8)
    yield Recipe(f"{data}-vae-conv", conv, data, epochs=5)
    yield Recipe(f"{data}-ae-conv", point, data, epochs=3)
    yield Recipe(f"{data}-dae-conv", denoising, data, epochs=3)


def _digits() -> Iterator[Recipe]:
    shape = (1, 8, 8)
    mlp = ClassifierConfig("mlp", shape, hidden=(128,))
    vae = AutoencoderConfig(shape, latent=10, hidden=(128,))
    yield Recipe("digits-mlp", mlp, "digits", epochs=40, batch=64)
    yield Recipe("digits-vae", vae, "digits", epochs=100, batch=64)


def _vaegans() -> Iterator[Recipe]:
    """Small enough for minutes on one core, and seconds for the smallest."""
    small = VAEGANConfig((1, 8, 8), latent=10, channels=(16, 32), critic=(16, 32), gamma=0.1)
    yield Recipe("digits-vaegan", small, "digits", epochs=15, batch=64, lr=4e-3)
    digits = VAEGANConfig((1, 28, 28), latent=32, channels=(32, 64), critic=(32, 64), gamma=0.1)
    yield Recipe("mnist-vaegan", digits, "mnist", epochs=5, lr=2e-3, precision="bf16-mixed")
    sizes: dict[str, Any] = {"shape": (3, 64, 64), "latent": 128, "channels": (16, 32, 64, 128)}
    seen: dict[str, Any] = {"critic": (16, 32, 64), "feature": 2, "gamma": 0.1, "beta": 0.1}
    how: dict[str, Any] = {"batch": 64, "lr": 2e-3, "precision": "bf16-mixed", "epochs": 12}
    yield Recipe("celeba-vaegan", VAEGANConfig(**sizes, **seen), "celeba-smiling", **how)
    plain = AutoencoderConfig(**sizes, architecture="conv")
    yield Recipe("celeba-vae", plain, "celeba-smiling", **how)


def _svaes() -> Iterator[Recipe]:
    """As published but for the training, which took 600 passes, and the narrower networks for faces."""
    small = SVAEConfig.sized((1, 8, 8), 10)
    yield Recipe("digits-svae", small, "digits", epochs=60, batch=64)
    fast: dict[str, Any] = {"lr": 2e-3, "precision": "bf16-mixed"}
    digits = SVAEConfig.sized((1, 28, 28), 10)
    yield Recipe("mnist-svae", digits, "mnist", epochs=15, **fast)
    yield Recipe("fashion-mnist-svae", digits, "fashion-mnist", epochs=15, **fast)
    faces = replace(SVAEConfig.sized((3, 64, 64), 2), supervision=30.0)
    yield Recipe("celeba-svae", faces, "celeba-male", epochs=25, batch=64, **fast)


def _gans() -> Iterator[Recipe]:
    """128 latent features as published, in networks that one core trains."""
    small = ACGANConfig((1, 8, 8), channels=(16, 32), critic=(16, 32))
    yield Recipe("digits-acgan", small, "digits", epochs=20, batch=64, lr=1e-3, ema=0.99)
    fast: dict[str, Any] = {"batch": 64, "lr": 5e-4, "ema": 0.999, "precision": "bf16-mixed"}
    yield Recipe("mnist-acgan", ACGANConfig(), "mnist", epochs=10, **fast)
    yield Recipe("celeba-gan", GANConfig(flips=True, shift=6), "celeba", epochs=16, **fast)


def _reformers() -> Iterator[Recipe]:
    """The two autoencoders of MagNet; the authors' training takes 100 passes in batches of 256."""
    how: dict[str, Any] = {"batch": 64, "lr": 0.05, "weight_decay": 1e-6}
    for data, shape in (("digits", (1, 8, 8)), ("mnist", (1, 28, 28))):
        small = data == "digits"
        how |= {"epochs": 60 if small else 8, "precision": "32-true" if small else "bf16-mixed"}
        both = ImageMapConfig(shape, (3, "average", 3)), ImageMapConfig(shape, (3,))
        for number, model in enumerate(both, 1):
            yield Recipe(f"{data}-magnet-{number}", model, data, **how)


def judges(data: str, shape: tuple[int, ...], classes: int, n: int) -> Iterator[Recipe]:
    """Classifiers that judge others, of three kinds, and the autoencoder of `zoo.judge_for`.

    A sixth of the training examples is held out, for the judge's threshold. Images with a side of more than
    40 pixels are taken for scenes, which may be mirrored; digits may not. Under 16 pixels a side there is no
    transformer: it learns too slowly from so few to be right.

    Args:
        data: what they are trained on, as for `trompe.data.load`.
        shape: of one image.
        classes: number of labels.
        n: how many images there are to train on.

    Raises:
        UserError: examples that are no images, or labels of one class.
    """
    if len(shape) != 3 or classes < 2:
        raise UserError(f"{data}: a judge reads images of two classes or more, got shape {shape}")
    side = min(shape[1:])
    times = 1 if n > 20_000 else 3
    stages = (16, 32) if side < 16 else (16, 32, 64) if side <= 40 else (8, 16, 32, 64)
    widths = (48, 64, 96) if side >= 16 else (32, 32, 32)
    precision = "32-true" if side < 16 else "bf16-mixed"
    common: dict[str, Any] = {"shape": shape, "classes": classes}
    nets = {
        "resnet": (ClassifierConfig("resnet", channels=stages, **common), 4, 4e-3),
        "mixer": (_patched("mixer", widths[1], side // 7, **common), 6, 2e-3),
        "transformer": (_patched("transformer", widths[2], side // 4, **common), 6, 2e-3),
    }
    if side < 16:
        del nets["transformer"]
    copier = AutoencoderConfig(
        shape,
        latent=32,
        hidden=(512,),
        stochastic=False,
        input_noise=0.3,
        clip_noise=True,
        denoise=True,
    )
    yield Recipe(f"{data}-judge-autoencoder", copier, data, 8 * times, lr=2e-3, held_out=6)
    for seed, (kind, (net, epochs, lr)) in enumerate(nets.items(), 1):
        yield Recipe(
            f"{data}-judge-{kind}", net, data, epochs * times, 64, lr, seed, precision=precision,
            held_out=6, warp=1.0, mirror=side > 40, weight_decay=0.01,
        )  # fmt: skip


def _patched(kind: Any, width: int, patch: int, **common: Any) -> ClassifierConfig:
    return ClassifierConfig(kind, channels=(width,) * 3, patch=max(2, patch), **common)


def _embedders() -> Iterator[Recipe]:
    """On people, a tenth of whom are left for the threshold; and on digits as if they were people."""
    small = FaceConfig((1, 8, 8), dimension=16, channels=(16, 32))
    yield Recipe("digits-embedder", small, "digits", epochs=20, batch=64, classes=8)
    how: dict[str, Any] = {"warp": 1.0, "mirror": True, "recolour": True, "traits": True}
    how |= {"precision": "bf16-mixed", "classes": 878, "lr": 3e-3, "weight_decay": 0.5}
    yield Recipe("celeba-embedder", FaceConfig(), "celeba-identity", epochs=25, **how)


RECIPES: dict[str, Recipe] = {
    made.name: made
    for made in (
        *_digits(),
        *_for("mnist", (1, 28, 28)),
        *_for("fashion-mnist", (1, 28, 28)),
        *_vaegans(),
        *_svaes(),
        *_embedders(),
        *_gans(),
        *_reformers(),
        *judges("mnist", (1, 28, 28), 10, 60_000),
    )
}
