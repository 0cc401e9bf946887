"""MagNet: detectors that compare an input with its reconstruction, and a reformer before the classifier.

Reference: D. Meng, H. Chen, "MagNet: a Two-Pronged Defense against Adversarial Examples", CCS 2017.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.defenses.detectors import CalibratedDetector, ReconstructionError
from trompe.defenses.guarded import Guarded

__all__ = ["Collection", "OutputDivergence", "magnet"]


class OutputDivergence(CalibratedDetector):
    r"""How far the classifier's answer moves when its input is reconstructed.

    .. math:: \mathrm{JSD}\bigl(\mathrm{softmax}(f(x) / T) \,\|\, \mathrm{softmax}(f(AE(x)) / T)\bigr)

    in nats, between 0 and log 2 (section 4.2.2). A high temperature keeps the divergence from being zero
    where the classifier is sure of both.

    Args:
        classifier: `model(x) -> logits (B, K)`.
        autoencoder: `model(x)` is the reconstruction.
        temperature: T, above zero; the authors take 10 and 40.

    Raises:
        UserError: a temperature that is not positive.

    >>> detector = OutputDivergence(nn.Identity(), nn.ReLU(), temperature=1.0)
    >>> scores = detector(torch.tensor([[1.0, 0.0], [90.0, -90.0], [-90.0, 0.0]]))
    >>> [round(float(score), 4) for score in scores]
    [0.0, 0.0, 0.2158]
    """

    def __init__(
        self, classifier: nn.Module, autoencoder: nn.Module, temperature: float = 10.0
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise UserError(f"the temperature must be above zero, got {temperature}")
        self.classifier, self.autoencoder = classifier, autoencoder
        self.temperature = temperature
        self.training = classifier.training or autoencoder.training

    def forward(self, x: Tensor) -> Tensor:
        """The divergences `(B,)`."""
        logits = self.classifier(torch.cat([x, self.autoencoder(x)])) / self.temperature
        first, second = logits.log_softmax(1).chunk(2)
        middle = torch.logaddexp(first, second) - math.log(2)
        parts = [(one.exp() * (one - middle)).sum(1) for one in (first, second)]
        return 0.5 * torch.stack(parts).sum(0)

    def extra_repr(self) -> str:
        """The setting, for `print`."""
        return f"temperature={self.temperature}"


class Collection(nn.Module):
    """Several autoencoders, of which each input meets one at random (section 4.4).

    The choice comes from the ambient streams of `trompe.core.random`, anew at every call. An attacker who
    knows the collection averages over it: the choice hides nothing.

    Args:
        autoencoders: two or more; `model(x)` is the reconstruction.

    Raises:
        UserError: fewer than two.

    >>> with random.streams(random.seeds(0, 4)):
    ...     values = Collection([nn.Identity(), nn.ReLU()])(-torch.ones(4, 1))
    >>> set(values.flatten().tolist()) <= {-1.0, 0.0}
    True
    """

    def __init__(self, autoencoders: Sequence[nn.Module]) -> None:
        super().__init__()
        if len(autoencoders) < 2:
            raise UserError(f"a collection needs two autoencoders or more, got {len(autoencoders)}")
        self.autoencoders = nn.ModuleList(autoencoders)
        self.training = any(module.training for module in autoencoders)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstructions, `(B, *)`; each autoencoder sees only the inputs that are its own."""
        drawn = random.uniform((len(x),), x)
        chosen = (drawn * len(self.autoencoders)).long()
        shown = torch.zeros_like(x)
        for number, autoencoder in enumerate(self.autoencoders):
            rows = (chosen == number).nonzero()[:, 0]
            if len(rows):
                shown = shown.index_copy(0, rows, autoencoder(x[rows]).to(x.dtype))
        return shown


def magnet(
    classifier: nn.Module,
    reformer: nn.Module,
    autoencoders: Sequence[nn.Module] = (),
    *,
    norms: Sequence[str] = ("L2", "L1"),
    temperatures: Sequence[float] = (),
) -> Guarded:
    """The whole defence: the classifier reads what the reformer makes, if no detector objects.

    MagNet of MNIST has two autoencoders, the first under the L2 error and the reformer too, the second under
    L1; that of CIFAR-10 adds divergences at temperatures 10 and 40 (section 5). The thresholds are set by
    `calibrate(clean, fpr)`, where `fpr` is that of all detectors together.

    Args:
        classifier: `model(x) -> logits (B, K)`.
        reformer: `model(x)` is the reconstruction; an autoencoder or a `Collection` of them.
        autoencoders: under the detectors by error, one for each norm; the reformer unless given.
        norms: of those detectors, in the same order.
        temperatures: of one further detector each, by divergence, on the reformer.

    Raises:
        UserError: norms and autoencoders differ in number, or there is no detector at all.

    >>> guarded = magnet(nn.Identity(), nn.ReLU(), temperatures=(10.0,))
    >>> list(guarded.detectors)
    ['error-L2', 'error-L1', 'divergence-10']
    """
    seen = list(autoencoders) or [reformer] * len(norms)
    if len(seen) != len(norms):
        raise UserError(
            f"each detector by error has its norm: {len(seen)} autoencoders, {len(norms)} norms"
        )
    detectors: dict[str, nn.Module] = {
        f"error-{name}": ReconstructionError(each, name)  # type: ignore[arg-type]
        for each, name in zip(seen, norms, strict=True)
    }
    for t in temperatures:
        detectors[f"divergence-{t:g}"] = OutputDivergence(classifier, reformer, t)
    return Guarded(nn.Sequential(reformer, classifier).train(classifier.training), detectors)
