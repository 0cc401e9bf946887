"""Grey images made black and white: three conventions, which are three data sets.

Reference: R. Salakhutdinov, I. Murray, "On the quantitative analysis of deep belief networks", ICML 2008
(one draw for all); Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", ICLR 2016
(a fresh draw at each step). D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014, leave
open how their digits met a Bernoulli likelihood.
"""

from dataclasses import replace

import torch
from torch import Tensor

from trompe.core import random
from trompe.core.errors import UserError
from trompe.data.dataset import Dataset

__all__ = ["binarized", "dynamic"]

DRAW = -1  # the number of the static draw; steps and repetitions count from 0
CHUNK = 4096  # images drawn at a time


def binarized(dataset: Dataset, how: str, seed: int = 0) -> Dataset:
    """The same images with every pixel 0 or 1 (0 or 255 as they are stored).

    Three conventions are in use. With `v` the grey value in [0, 1] a pixel is 1

    - "threshold": where v >= 0.5, the same image always;
    - "static": with probability v, drawn once for all, so the set is fixed again;
    - dynamic: with probability v, drawn anew whenever the image is met (`dynamic`, in training only).

    The likelihood of an image is that of its black-and-white version, so each convention is a data set
    of its own, and **bounds and likelihoods compare only inside one convention**. (A Bernoulli "bound"
    on the grey values themselves is none of them, nor the likelihood of any data.) Common practice
    trains on dynamic draws and measures on a static one.

    Args:
        dataset: images.
        how: "threshold" or "static".
        seed: of the static draw; the pixels of example i depend on (seed, i) alone, i being its place
            in `dataset`. The draw is ours, not the file of draws that Salakhutdinov and Murray used.

    Raises:
        UserError: another convention, or examples that are not images.

    >>> grey = Dataset("grey", torch.tensor([0, 127, 128, 255], dtype=torch.uint8).view(1, 1, 2, 2))
    >>> binarized(grey, "threshold").x.flatten().tolist()
    [0, 0, 255, 255]
    """
    if how not in ("threshold", "static"):
        training = "; dynamic draws belong to training: trompe.data.dynamic(x)"
        advice = training if how == "dynamic" else ""
        raise UserError(f"binarisation is 'threshold' or 'static', got {how!r}{advice}")
    if dataset.x.dtype != torch.uint8:
        raise UserError(f"{dataset.name} holds vectors; only images can be binarised")
    ones = dataset.x >= 128 if how == "threshold" else _drawn(dataset.x, seed)
    return replace(dataset, name=f"{dataset.name} ({how})", x=ones.to(torch.uint8) * 255)


def _drawn(x: Tensor, seed: int) -> Tensor:
    keys, parts = random.seeds(seed, len(x)), []
    for part, key in zip(x.split(CHUNK), keys.split(CHUNK), strict=True):
        with random.streams(key, DRAW):
            parts.append(dynamic(part.double() / 255).bool())
    return torch.cat(parts)


def dynamic(x: Tensor) -> Tensor:
    """A fresh draw: 1 with probability `x`, else 0, `(B, ...)`, from the ambient `core.random` streams.

    Values must lie in [0, 1] (those outside count as 0 or 1). No gradient passes. See `binarized` for
    the conventions.

    >>> with random.streams(random.seeds(0, 2)):
    ...     dynamic(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    drawn: Tensor = random.uniform(tuple(x.shape), x) < x
    return drawn.to(x.dtype)
