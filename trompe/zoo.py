"""Trained models by recipe: load the checkpoint that a recipe names, or train it.

    model = zoo.get("mnist-conv4")

A recipe is data. Its hash names the checkpoint, so that changing any number of it trains anew, and
two programs that ask for the same recipe share one training, also when they ask at the same time.
Beside the weights lies a card: the recipe, checksums of the data, measured clean metrics, versions.
"""

import hashlib
import json
import logging
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trompe import data, models
from trompe.core.errors import UserError
from trompe.core.random import seeds, streams
from trompe.data import Dataset
from trompe.models import AutoencoderConfig, ClassifierConfig
from trompe.training import AutoencoderStep, Batches, ClassifierStep, checkpoint, train

__all__ = ["RECIPES", "Recipe", "card", "get", "measure", "names", "path", "recipe", "root"]

logger = logging.getLogger("trompe.zoo")
PROCEDURE = 1  # raised when the same recipe would train to other weights


@dataclass(frozen=True)
class Recipe:
    """How a model is made: its configuration, its data, and the training.

    Args:
        name: what people call it; the only field that is not part of the hash.
        model: configuration of an autoencoder or a classifier.
        data: as for `trompe.data.load`; the "train" split is trained on, "test" measured.
        epochs: passes over the data.
        batch: examples per step.
        lr: peak of the one-cycle learning rate.
        seed: of the initial weights, the order and the noise.
        train_size: train on the first so many examples; None is all.
        weight_decay: decoupled weight decay.
        smoothing: label smoothing, for classifiers.
        clip: largest norm of the gradient, or None.
        ema: decay of an average of the weights, or None.

    >>> a = Recipe("a", ClassifierConfig("mlp", shape=(1, 8, 8)), "digits")
    >>> replace(a, name="b").hash == a.hash, replace(a, seed=1).hash == a.hash
    (True, False)
    """

    name: str
    model: AutoencoderConfig | ClassifierConfig
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

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain values, the model's kind among them."""
        kind = "classifier" if isinstance(self.model, ClassifierConfig) else "autoencoder"
        return json.loads(json.dumps({**asdict(self), "kind": kind}))  # type: ignore[no-any-return]

    @property
    def hash(self) -> str:
        """sha256 of everything but the name, in hexadecimal."""
        content = {**self.to_json(), "procedure": PROCEDURE}
        del content["name"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def root(given: Path | str | None = None) -> Path:
    """Where checkpoints lie: `given`, else `TROMPE_CACHE`, else the user's cache folder."""
    if given is not None:
        return Path(given).expanduser()
    if chosen := os.environ.get("TROMPE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "trompe" / "zoo"


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


def path(which: Recipe | str, *, root: Path | str | None = None) -> Path:
    """Where the recipe's weights lie, or will: `NAME-HASH.safetensors`.

    For the user's own data its checksum goes into the hash, since a file may change under its name.
    """
    chosen = recipe(which) if isinstance(which, str) else which
    key = chosen.hash
    if chosen.data not in data.names():
        content = data.load(chosen.data, "train").checksum
        key = hashlib.sha256(f"{key}{content}".encode()).hexdigest()
    return _root(root) / f"{chosen.name}-{key[:16]}.safetensors"


def get(which: Recipe | str, *, root: Path | str | None = None, progress: bool = True) -> nn.Module:
    """The trained model, on the CPU and in eval mode; trained first if it is not there.

    If another process is training it, wait for that. A training that was cut off continues where
    its last epoch ended.

    Args:
        which: a recipe or the name of one.
        root: the cache; see `root`.
        progress: show a bar while training, if standard error is a terminal.

    Raises:
        UserError: for an unknown name, missing data, or a damaged checkpoint.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> small = Recipe("small", ClassifierConfig("mlp", (1, 8, 8), hidden=(8,)), "digits", 1)
        >>> with TemporaryDirectory() as folder:
        ...     model = get(small, root=folder)
        ...     sorted(card(small, root=folder)["metrics"])
        ['accuracy', 'n']
    """
    chosen = recipe(which) if isinstance(which, str) else which
    target = path(chosen, root=root)
    if not _complete(target):
        with _lock(target):
            if not _complete(target):
                _make(chosen, target, progress)
    return _load(chosen, target)


def card(which: Recipe | str, *, root: Path | str | None = None) -> dict[str, Any]:
    """The card of a trained recipe.

    Raises:
        UserError: if the recipe has not been trained.
    """
    target = path(which, root=root)
    if not _complete(target):
        raise UserError(f"{target.stem} has not been trained; `zoo.get` trains it")
    return json.loads(_card(target).read_text())  # type: ignore[no-any-return]


_root = root  # `root` is also what a caller passes


def _card(target: Path) -> Path:
    return target.with_suffix(".json")


def _complete(target: Path) -> bool:
    """Whether the training ended: the card is written last."""
    return target.is_file() and _card(target).is_file()


@contextmanager
def _lock(target: Path) -> Iterator[None]:
    """One process at a time; the lock dies with its holder."""
    from filelock import FileLock, Timeout

    if target.parent.exists() and not target.parent.is_dir():
        raise UserError(f"{target.parent} is a file; the cache of trained models needs a folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("another process trains %s: waiting for it", target.stem)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _load(chosen: Recipe, target: Path) -> nn.Module:
    weights, _ = checkpoint.load_tensors(target)
    model = models.build(chosen.model)
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise UserError(f"{target} does not fit its recipe; delete it to train anew") from None
    return model.eval()


def _make(chosen: Recipe, target: Path, progress: bool) -> None:
    """Train, measure, and write the weights and then the card."""
    whole = data.load(chosen.data, "train")
    examples = whole if chosen.train_size is None else whole.take(chosen.train_size)
    held_out = data.load(chosen.data, "test")
    model = models.build(chosen.model, seed=chosen.seed)
    partial = target.with_suffix(".partial")
    history = train(
        _step(chosen, model),
        Batches(examples.x, examples.y, size=chosen.batch, seed=chosen.seed),
        epochs=chosen.epochs,
        seed=chosen.seed,
        ema=chosen.ema,
        directory=partial,
        log=False,
        progress=progress,
        title=chosen.name,
    )
    content = {
        "schema": 1,
        "recipe": chosen.to_json(),
        "hash": chosen.hash,
        "data": {"train": examples.checksum, "test": held_out.checksum},
        "metrics": measure(model.eval(), held_out),
        "steps": history.total,
        "seconds": round(history.seconds, 3),
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": _versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    checkpoint.save_tensors(target, model.state_dict(), {"recipe": json.dumps(chosen.to_json())})
    text = json.dumps(content, indent=2) + "\n"
    checkpoint.replace(_card(target), lambda file: file.write_text(text))
    shutil.rmtree(partial, ignore_errors=True)


def _step(chosen: Recipe, model: nn.Module) -> ClassifierStep | AutoencoderStep:
    common: dict[str, Any] = {"weight_decay": chosen.weight_decay, "clip": chosen.clip}
    if isinstance(chosen.model, ClassifierConfig):
        return ClassifierStep(model, chosen.lr, smoothing=chosen.smoothing, **common)
    return AutoencoderStep(model, chosen.lr, **common)


@torch.inference_mode()
def measure(model: nn.Module, examples: Dataset, *, seed: int = 0) -> dict[str, float]:
    """Clean metrics on a data set: of a classifier `accuracy`; of an autoencoder, per example,
    `reconstruction` (nats, from the mean code), `mse` (per pixel) and, if it is stochastic,
    `negative_elbo` (nats, one draw each); and `n`, the number of examples.
    """
    totals: dict[str, float] = {}
    for x, y, index in examples.batches(256):
        with streams(seeds(seed, index)):
            for name, values in _metrics(model, x, y).items():
                totals[name] = totals.get(name, 0.0) + float(values.double().sum())
    n = len(examples)
    return {**{name: total / n for name, total in totals.items()}, "n": n}


def _metrics(model: Any, x: torch.Tensor, y: torch.Tensor | None) -> dict[str, torch.Tensor]:
    if not hasattr(model, "encode"):
        return {"accuracy": model(x).argmax(1) == y}
    mean = {
        "reconstruction": model.reconstruction_loss(x),
        "mse": (model.decode(model.encode(x).mean) - x).square().flatten(1).mean(1),
    }
    return {**mean, "negative_elbo": model.negative_elbo(x)} if model.config.stochastic else mean


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("trompe", "torch", "numpy", "safetensors", "lightning-fabric"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


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


RECIPES: dict[str, Recipe] = {
    made.name: made
    for made in (*_digits(), *_for("mnist", (1, 28, 28)), *_for("fashion-mnist", (1, 28, 28)))
}
