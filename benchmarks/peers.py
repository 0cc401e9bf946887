"""Foolbox's and ART's attacks, called as their users call them."""

import os
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Attack", "art", "foolbox"]

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


def foolbox(name: str, eps: float | None = None, **options: Any) -> Attack:
    """A Foolbox attack on images in [0, 1]; with `eps` None it minimises."""
    import foolbox as library

    attack = getattr(library.attacks, name)(**options)

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(0)
        shown = library.PyTorchModel(model, bounds=(0, 1), device="cpu")
        found: Tensor = attack(shown, x, library.criteria.Misclassification(y), epsilons=eps)[1]
        return found.detach()

    return run


def art(name: str, **options: Any) -> Attack:
    """An attack of ART on images in [0, 1]."""
    os.environ.setdefault("ART_DATA_PATH", tempfile.gettempdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from art.attacks import evasion
        from art.estimators.classification import PyTorchClassifier

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        np.random.seed(0)  # noqa: NPY002
        shown = PyTorchClassifier(
            model,
            nn.CrossEntropyLoss(),
            tuple(x.shape[1:]),
            10,
            clip_values=(0, 1),
            device_type="cpu",
        )
        kind = getattr(evasion, name)
        quiet = {"verbose": False} if "verbose" in kind.attack_params else {}
        attack = kind(shown, batch_size=len(x), **quiet, **options)
        labels = np.eye(10, dtype=np.float32)[y.numpy()]
        return torch.from_numpy(attack.generate(x.numpy(), labels))

    return run
