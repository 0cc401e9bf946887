"""Finding the model that an audit examines."""

from dataclasses import replace
from typing import Any, Literal

from torch import nn

from trompe import zoo
from trompe.attacks.adaptive import differentiable
from trompe.core.checks import check_labels
from trompe.core.errors import UserError
from trompe.core.execution import device_of
from trompe.core.user_code import call, is_spec, refuse_pickles
from trompe.data import Dataset
from trompe.models import (
    AutoencoderConfig,
    ClassifierConfig,
    ClassifierNet,
    SVAEConfig,
    adapt_autoencoder,
    check_classifier,
    is_autoencoder,
)

__all__ = ["Kind", "barred", "defended", "has_gradient", "named", "recipe", "victim"]

Kind = Literal["autoencoder", "classifier", "judge", "svae"]


def named(spec: str) -> nn.Module:
    """The model that a recipe's name or `module:function` stands for, in the mode it came in."""
    if spec in zoo.names():
        return zoo.get(spec)
    if is_spec(spec):
        return _module(call(spec), spec)
    refuse_pickles(model=spec)
    if zoo.is_radio(spec):
        raise UserError(
            f"{spec} is a radio link, not a model of images: trompe audit --comms {spec}"
        )
    raise UserError(
        f"unknown model {spec!r}: give module:function, or a recipe of the zoo ({', '.join(zoo.names())})"
    )


def victim(spec: str, data: Dataset) -> nn.Module:
    """The model to be audited, checked on the data: a classifier, or an autoencoder in our terms.

    Raises:
        UserError: it cannot be found, is in train mode, or does not fit the data or its labels.
    """
    model = named(spec)
    if any(module.training for module in model.modules()):
        raise UserError("the model is in train mode; call model.eval() before returning it")
    x, _ = data.tensors(slice(0, 8))
    try:
        if is_autoencoder(model):
            return adapt_autoencoder(model, x)
        classes = check_classifier(model, x).shape[1]
        if data.y is not None:
            check_labels(data.y, len(data), classes)
    except UserError:
        raise
    except (RuntimeError, ValueError, TypeError) as error:
        shape = tuple(data.shape)
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"the model does not take inputs of shape {shape}: {first}") from error
    return model


def barred(model: nn.Module) -> tuple[str, ...]:
    """The kinds of networks that may not judge a classifier: its own, or none where nobody knows that.

    >>> barred(zoo.get("digits-mlp")), barred(nn.Flatten())
    (('mlp',), ())
    """
    return (model.config.kind,) if isinstance(model, ClassifierNet) else ()


def has_gradient(model: nn.Module, data: Dataset) -> bool:
    """Whether a path leads from a classifier's logits to its input, as far as one look tells."""
    x, _ = data.tensors(slice(0, 1))
    return differentiable(model, x.to(device_of(model, x)))


def defended(spec: str, classifier: nn.Module, data: Dataset) -> nn.Module:
    """The user's defence: `module:function`, called with `classifier` where it takes that."""
    if not is_spec(spec):
        raise UserError(f"unknown defence {spec!r}: give reconstruct, magnet or module:function")
    model = _module(call(spec, classifier=classifier), spec)
    x, _ = data.tensors(slice(0, 8))
    check_classifier(model, x.to(device_of(model, x)))
    return model


def _module(model: object, spec: str) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise UserError(f"{spec} returned {type(model).__name__}, not a torch.nn.Module")
    return model


def recipe(kind: Kind, data: str, train: Dataset, seed: int = 0) -> zoo.Recipe:
    """How the audit trains a model of its own on the victim's kind of data.

    `kind` is `"autoencoder"`, `"classifier"`, `"judge"`, whose architecture is neither of theirs, or
    `"svae"`, the data's own where the zoo has one.
    """
    small, n = min(train.shape[-2:]) < 16, len(train)
    epochs = 6.0 if n > 20_000 else 15.0 if n > 4_000 else 40.0
    if kind == "svae":
        return _svae(data, train, seed)
    if kind == "autoencoder":
        model: Any = _autoencoder(train.shape, small)
        epochs = 60.0 if small else epochs
    else:
        model = _classifier(train.shape, max(2, len(train.classes)), small, kind)
    return zoo.Recipe(
        f"audit-{kind}", model, data, epochs, batch=128 if n > 5_000 else 64, seed=seed
    )


def _svae(data: str, train: Dataset, seed: int) -> zoo.Recipe:
    """The recipe of the zoo for this data, else one of the right size, trained as long as those are."""
    known = (zoo.recipe(name) for name in zoo.names())
    own = next((r for r in known if isinstance(r.model, SVAEConfig) and r.data == data), None)
    if own is not None:
        return replace(own, seed=seed)
    model, n = SVAEConfig.sized(train.shape, max(2, len(train.classes))), len(train)
    epochs = 15.0 if n > 20_000 else 25.0 if n > 4_000 else 60.0
    how: dict[str, Any] = {"batch": 64, "seed": seed}
    if model.architecture != "mlp":
        how |= {"lr": 2e-3, "precision": "bf16-mixed"}
    return zoo.Recipe("audit-svae", model, data, epochs, **how)


def _autoencoder(shape: tuple[int, ...], small: bool) -> AutoencoderConfig:
    if small:  # in so few pixels the Bernoulli likelihood is all prior and no image
        return AutoencoderConfig(
            shape, latent=16, hidden=(128,), likelihood="gaussian", variance=0.02
        )
    return AutoencoderConfig(shape, latent=128, architecture="conv")


def _classifier(shape: tuple[int, ...], classes: int, small: bool, kind: Kind) -> ClassifierConfig:
    if small:
        hidden = (128,) if kind == "classifier" else (256, 128)
        return ClassifierConfig("mlp", shape, classes, hidden=hidden)
    if kind == "classifier":
        return ClassifierConfig("conv4", shape, classes, channels=(16, 16, 32, 32))
    return ClassifierConfig("lenet5", shape, classes, hidden=(120, 84), channels=(6, 16))
