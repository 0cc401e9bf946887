"""From a recipe to a trained model: the step that fits its kind, and clean metrics for its card."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trompe import data, models
from trompe.core.errors import UserError
from trompe.core.random import normal, seeds, streams
from trompe.data import Dataset, published
from trompe.data.celeba import traits
from trompe.data.splits import every_nth
from trompe.models import (
    GAN,
    ClassifierConfig,
    FaceConfig,
    FaceEmbedder,
    GANConfig,
    SVAEConfig,
    VAEGANConfig,
)
from trompe.training import (
    AutoencoderStep,
    Batches,
    ClassifierStep,
    DiscriminatorStep,
    GANStep,
    MarginStep,
    SupervisedStep,
    VAEGANStep,
    recoloured,
    train,
    warped,
)
from trompe.zoo.radios import Radio, is_radio, radio, radio_named
from trompe.zoo.recipes import Recipe, recipe
from trompe.zoo.store import digest, keep, read_card, weights_path

__all__ = ["among", "card", "get", "measure", "parted", "path"]


def path(which: Recipe | Radio | str, *, root: Path | str | None = None) -> Path:
    """Where the recipe's weights lie, or will: `NAME-HASH.safetensors`.

    For data that is not published its checksum goes into the hash, since a file may change under its name.
    """
    chosen = _chosen(which)
    return weights_path(chosen.name, digest(_settings(chosen)), root)


def _chosen(which: Recipe | Radio | str) -> Recipe | Radio:
    if not isinstance(which, str):
        return which
    return radio_named(which) if is_radio(which) else recipe(which)


def _settings(chosen: Recipe | Radio) -> dict[str, Any]:
    if isinstance(chosen, Radio) or data.fixed(chosen.data):
        return chosen.settings()
    return {**chosen.settings(), "content": data.load(chosen.data, "train").checksum}


def get(
    which: Recipe | Radio | str, *, root: Path | str | None = None, progress: bool = True
) -> nn.Module:
    """The trained model, on the CPU and in eval mode; trained first if it is not there.

    If another process is training it, wait for that. A training that was cut off continues where
    its last epoch ended.

    Args:
        which: a recipe, a radio, or the name of one.
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
    chosen = _chosen(which)
    if isinstance(chosen, Radio):
        return radio(chosen, root=root, progress=progress)
    model = models.build(chosen.model, seed=chosen.seed)

    def fit(folder: Path) -> dict[str, Any]:
        return _train(chosen, model, folder, progress)

    return keep(chosen.name, _settings(chosen), model, fit, root=root)


def card(which: Recipe | Radio | str, *, root: Path | str | None = None) -> dict[str, Any]:
    """The card of a trained recipe.

    Raises:
        UserError: if the recipe has not been trained.
    """
    return read_card(path(which, root=root))


def _train(chosen: Recipe, model: nn.Module, folder: Path, progress: bool) -> dict[str, Any]:
    """Train on the "train" split and measure on "test"."""
    whole, _ = parted(_binarized(data.load(chosen.data, "train"), chosen), chosen.held_out)
    examples = whole if chosen.train_size is None else whole.take(chosen.train_size)
    if chosen.classes is not None:
        examples = among(examples, 0, chosen.classes)
    once = chosen if chosen.binarize != "dynamic" else replace(chosen, binarize="static")
    held_out = _binarized(data.load(chosen.data, "test"), once)
    stages = [
        train(
            step,
            Batches(examples.x, examples.y, size=chosen.batch, seed=chosen.seed),
            epochs=chosen.epochs,
            seed=chosen.seed,
            ema=chosen.ema,
            directory=folder / part,
            precision=chosen.precision,
            log=False,
            progress=progress,
            title=" ".join(filter(None, (chosen.name, part))),
        )
        for part, step in _stages(chosen, model, len(examples.classes)).items()
    ]
    return {
        "recipe": chosen.to_json(),
        "data": {"train": examples.checksum, "test": held_out.checksum},
        "metrics": measure(model.eval(), held_out),
        "steps": sum(stage.total for stage in stages),
        "seconds": round(sum(stage.seconds for stage in stages), 3),
    }


def among(examples: Dataset, first: int, last: int) -> Dataset:
    """The examples of classes `first` to `last - 1`, under the labels that they have."""
    if examples.y is None or last > len(examples.classes):
        told = "no labels" if examples.y is None else f"{len(examples.classes)} classes"
        raise UserError(
            f"{examples.name} has {told}; the recipe trains on the first {last} classes"
        )
    return examples.subset((examples.y >= first) & (examples.y < last))


def parted(examples: Dataset, held_out: int) -> tuple[Dataset, Dataset | None]:
    """What a recipe trains on, and every `held_out`-th example of each class, which it does not (or None)."""
    if not held_out:
        return examples, None
    labels = torch.zeros(len(examples)) if examples.y is None else examples.y
    aside = torch.from_numpy(every_nth(labels, held_out))
    return examples.subset(~aside), examples.subset(aside)


def _binarized(examples: Dataset, chosen: Recipe) -> Dataset:
    """The set in the recipe's convention; what is dynamic is drawn by the step."""
    if chosen.binarize in ("none", "dynamic"):
        return examples
    return data.binarized(examples, chosen.binarize)


def _stages(chosen: Recipe, model: nn.Module, classes: int) -> dict[str, Any]:
    """What trains a model of this kind: a step for each stage, under the name of what follows the first."""
    common: dict[str, Any] = {"weight_decay": chosen.weight_decay, "clip": chosen.clip}
    if isinstance(chosen.model, ClassifierConfig):
        common |= {"smoothing": chosen.smoothing, "augment": _augmented(chosen)}
        return {"": ClassifierStep(model, chosen.lr, **common)}
    if isinstance(chosen.model, FaceConfig):
        known, options = chosen.classes or classes, margin_options(chosen)
        return {"": MarginStep(model, known, chosen.model.dimension, chosen.lr, **options)}
    if isinstance(chosen.model, GANConfig):
        return {"": GANStep(model, chosen.lr, **common)}
    if isinstance(chosen.model, VAEGANConfig):
        return {"": VAEGANStep(model, chosen.lr, **common)}
    if isinstance(chosen.model, SVAEConfig):
        second = DiscriminatorStep(model, chosen.lr, **common)
        return {"": SupervisedStep(model, chosen.lr, **common), "discriminator": second}
    dynamic = chosen.binarize == "dynamic"
    return {"": AutoencoderStep(model, chosen.lr, dynamic=dynamic, **common)}


def margin_options(chosen: Recipe) -> dict[str, Any]:
    """What the step that trains an embedder takes besides the classes and the rate."""
    return {
        "weight_decay": chosen.weight_decay,
        "clip": chosen.clip,
        "seed": chosen.seed,
        "augment": _augmented(chosen),
        "traits": traits("train", published.root(None)) if chosen.traits else None,
    }


def _augmented(chosen: Recipe) -> Callable[[Tensor], Tensor] | None:
    if not (chosen.warp or chosen.mirror or chosen.recolour):
        return None
    moved = partial(warped, strength=chosen.warp, mirror=chosen.mirror)
    return (lambda x: recoloured(moved(x))) if chosen.recolour else moved


@torch.inference_mode()
def measure(model: nn.Module, examples: Dataset, *, seed: int = 0) -> dict[str, float]:
    """Clean metrics on a data set: of a classifier `accuracy`; of an autoencoder, per example,
    `reconstruction` (nats, from the mean code), `mse` (per pixel) and, if it is stochastic,
    `negative_elbo` (nats, one draw each), as far as the model has them; of a GAN `told_apart`, the share of
    real and made images that its discriminator tells apart (a half would be ideal), and with classes the
    `accuracy` of its auxiliary classifier; of an embedder `auc`, how often two examples of one class are
    nearer than two of two classes; and `n`, the number of examples.
    """
    if isinstance(model, FaceEmbedder):
        return {"auc": _pairs_in_order(model, examples), "n": len(examples)}
    totals: dict[str, float] = {}
    for x, y, index in examples.batches(256):
        with streams(seeds(seed, index)):
            for name, values in _metrics(model, x, y).items():
                totals[name] = totals.get(name, 0.0) + float(values.double().sum())
    n = len(examples)
    return {**{name: total / n for name, total in totals.items()}, "n": n}


def _pairs_in_order(model: nn.Module, examples: Dataset) -> float:
    z = torch.cat([model(x) for x, _, _ in examples.batches(256)])
    assert examples.y is not None
    row, column = torch.triu_indices(len(z), len(z), 1)
    distance, same = torch.pdist(z), (examples.y[row] == examples.y[column])
    apart = distance[~same].sort().values
    further = torch.searchsorted(apart, distance[same]).double().mean() / len(apart)
    return 1 - float(further)


def _metrics(model: Any, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
    if isinstance(model, GAN):
        return _played(model, x, y)
    if not hasattr(model, "encode"):
        return {"accuracy": model(x).argmax(1) == y}
    found: dict[str, Tensor] = {
        "mse": (model.decode(model.encode(x).mean) - x).square().flatten(1).mean(1)
    }
    own: dict[str, Callable[[Tensor], Tensor] | None] = {
        "reconstruction": getattr(model, "reconstruction_loss", None),
        "negative_elbo": getattr(model, "negative_elbo", None),
    }
    if not getattr(model.config, "stochastic", True):
        own["negative_elbo"] = None
    if hasattr(model, "classify"):
        found["accuracy"] = model.classify(model.encode(x).mean).argmax(1) == y
    return {**found, **{name: call(x) for name, call in own.items() if call is not None}}


def _played(model: Any, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
    """How a GAN's discriminator does on real images and on as many of the generator's."""
    z = normal((len(x), model.config.latent), x)
    made = model(z, y) if model.classes else model(z)
    right = (model.realness(x) > 0).float() + (model.realness(made) <= 0).float()
    found = {"told_apart": right / 2}
    return found | ({"accuracy": model.classify(x).argmax(1) == y} if model.classes else {})
