"""Attacks on autoencoders: a small change of the input, another image at the output.

They differ in what is compared: codes, outputs, or a classifier's reading of the code.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from trompe.attacks.base import margin_of
from trompe.attacks.matching import AutoencoderAttack, Penalty, priced
from trompe.core import random
from trompe.core.checks import check_labels, check_logits, posterior
from trompe.core.errors import UserError
from trompe.core.execution import predict, spend
from trompe.core.layers import activations
from trompe.core.losses import DIVERGENCES, cross_entropy, squared_distance
from trompe.core.objective import Evaluation
from trompe.core.protocols import PointMass

__all__ = ["AutoencoderAttack", "LatentAttack", "LatentClassifierAttack", "OutputAttack", "Penalty"]

Divergence = Literal["L2", "kl", "kl_published", "symmetric_kl", "wasserstein2"]


def _rebuilt(reference: Any) -> Distribution:
    if reference["stddev"] is None:
        return PointMass(reference["mean"])
    mean, stddev = reference["mean"], reference["stddev"]
    return Independent(
        Normal(mean, stddev, validate_args=False), mean.ndim - 1, validate_args=False
    )


@dataclass(frozen=True)
class LatentAttack(AutoencoderAttack):
    """Make the code of the input that of the target: `min_d  D(q(z|x + d), q(z|y)) + c ||d||^2`.

    `D` is a divergence in closed form, so nothing is sampled, and the decoder never runs (Tabacof et al.
    2016, section 3; Kos et al. 2018, section 4.3). The target is encoded once. Untargeted, `D` from the
    input's own code is maximised (Camuto et al. 2021). Tabacof's published code has the deviation where
    KL wants the variance; `"kl"` is the correct one, `"kl_published"` theirs, with `solver="scipy"` beside it
    the published procedure.

    With `layer` it is the activations of that layer which are matched, of the encoder or of any other model:
    the "hidden layer l" of Kos et al., the features of Sabour et al. 2016.

    Args:
        divergence: `"L2"` (squared, between means), `"kl"`, `"symmetric_kl"` or `"wasserstein2"`
            (squared). All but L2 and Wasserstein need a stochastic encoder. `"kl_published"` is for
            replication only (`trompe.core.losses.kl_published`).
        layer: name of the module whose output is matched, as `model.get_submodule` knows it; None is the
            code.

    >>> from trompe.core.domains import Vectors
    >>> class Linear(nn.Module):
    ...     def encode(self, x):
    ...         return PointMass(2 * x)
    >>> x, y = torch.zeros(1, 2), torch.ones(1, 2)
    >>> LatentAttack(Penalty(4.0), domain=Vectors())(Linear().eval(), x, y)
    tensor([[0.5000, 0.5000]])
    """

    divergence: Divergence = field(default="L2", kw_only=True)
    layer: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divergence not in DIVERGENCES:
            known = ", ".join(DIVERGENCES)
            raise UserError(f"divergence must be one of {known}, got {self.divergence!r}")

    def reference(self, model: nn.Module, y: Tensor) -> Any:
        """The target's code: its mean, and its deviation where it has one."""
        spend(forwards=len(y))
        code = self.code(model, y)
        point = isinstance(code, PointMass)
        if point and "kl" in self.divergence:
            raise UserError(
                f"{self.divergence} needs a stochastic encoder; use 'L2' for an autoencoder "
                "whose codes are points"
            )
        return {"mean": code.mean, "stddev": None if point else code.stddev}

    def distance(self, model: nn.Module, v: Tensor, reference: Any) -> Tensor:
        """The divergence from the iterates' posterior to the target's."""
        return DIVERGENCES[self.divergence](self.code(model, v), _rebuilt(reference))

    def read(self, model: nn.Module, x: Tensor) -> Tensor:
        """The code's mean."""
        return self.code(model, x).mean

    def code(self, model: nn.Module, x: Tensor) -> Distribution:
        """What is matched: the posterior, or a layer's activations as a point."""
        if self.layer is None:
            return posterior(model, x)
        return PointMass(activations(model, self.layer, x))


@dataclass(frozen=True)
class OutputAttack(AutoencoderAttack):
    """Make the output look like the target: `min_d  ||model(x + d) - y||^2 + c ||d||^2`.

    The attack that Tabacof et al. 2016 found to blur rather than to deceive, and the pixel form of the
    L_VAE attack of Kos et al. 2018, section 4.2. Untargeted, the change of the reconstruction is maximised.

    Args:
        match: the target `"image"` itself, or its `"reconstruction"`, which the decoder can reach
            (the form of Kos et al.).

    >>> from trompe.core.geometry import Ball
    >>> x, y = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    >>> OutputAttack(Ball(0.25))(nn.Identity().eval(), x, y).flatten()
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    match: Literal["image", "reconstruction"] = field(default="image", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.match not in ("image", "reconstruction"):
            raise UserError(f"match must be image or reconstruction, got {self.match!r}")

    def reference(self, model: nn.Module, y: Tensor) -> Any:
        """The target image, or what the model makes of it."""
        output = predict(model, y)
        if not isinstance(output, Tensor) or output.shape != y.shape:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise UserError(f"expected model(x) to reconstruct shape {tuple(y.shape)}, got {shape}")
        return y if self.targeted and self.match == "image" else output

    def read(self, model: nn.Module, x: Tensor) -> Tensor:
        """The output."""
        output: Tensor = model(x)
        return output

    def distance(self, model: nn.Module, v: Tensor, reference: Any) -> Tensor:
        """The squared distance between outputs."""
        return squared_distance(model(v), reference)


@dataclass(frozen=True)
class LatentClassifierAttack(AutoencoderAttack):
    """Make a classifier on codes read another label: `min_d  CE(h(mu(x + d)), y) + c ||d||^2`.

    Kos et al. 2018, section 4.1: `h` is trained on codes of the frozen model and handed in by
    `using(classifier=h)`; `y` are labels, those to be reached or, untargeted, those to be left. The decoder
    never runs. In a ball, examples are ranked by margin and leave once `h` is deceived by `confidence`.

    Args:
        confidence: the margin, in logits, at which an example may leave; infinite, none does. What barely
            crosses the border of `h` need not look like the label to anybody else.

    >>> from trompe.core.geometry import Ball
    >>> class Halves(nn.Module):
    ...     def encode(self, x):
    ...         return PointMass(x.flatten(1))
    >>> attack = LatentClassifierAttack(Ball(0.4)).using(classifier=nn.Identity().eval())
    >>> x = torch.tensor([[[[0.6, 0.3]]]])
    >>> bool((attack(Halves().eval(), x, torch.tensor([1])).flatten().argmax() == 1).all())
    True
    """

    confidence: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.confidence >= 0:
            raise UserError(f"confidence must be zero or more, got {self.confidence}")

    def check(self, model: nn.Module, x: Tensor, y: Tensor | None, seeds: Tensor) -> Tensor:
        """Labels are whole numbers below the number of the classifier's classes."""
        judge = self.network("classifier")
        if judge.training:
            raise UserError(
                "the classifier on codes is in train mode; call classifier.eval() first"
            )
        with random.streams(seeds[:1]):
            code = posterior(model, x[:1]).mean
            try:
                logits = judge(code)
            except RuntimeError as error:
                raise UserError(
                    f"the classifier does not take codes of shape {tuple(code.shape)}: "
                    f"{str(error).partition(chr(10))[0]}"
                ) from error
        check_logits(logits, 1)
        if y is None:
            raise UserError(
                "the attack on a classifier of codes needs labels: attack(model, x, labels)"
            )
        return check_labels(y, len(x), logits.shape[1]).to(x.device)

    def reference(self, model: nn.Module, y: Tensor) -> Any:
        """The labels."""
        return y

    def distance(self, model: nn.Module, v: Tensor, reference: Any) -> Tensor:
        """The cross-entropy of the classifier on the code's mean."""
        return cross_entropy(self._logits(model, v), reference)

    def _logits(self, model: nn.Module, v: Tensor) -> Tensor:
        logits: Tensor = self.network("classifier")(posterior(model, v).mean)
        return logits

    def objective(self, model: nn.Module, v: Tensor, data: Any) -> Evaluation:
        """The priced cross-entropy; in a ball, margins rank and decide."""
        logits, y = self._logits(model, v), data["reference"]
        value = cross_entropy(logits, y)
        loss = priced(value if self.targeted else -value, v, data)
        if data["c"] is not None:
            return Evaluation(loss, loss.detach(), torch.zeros_like(loss, dtype=torch.bool))
        score = margin_of(logits.detach(), y, self.targeted)
        return Evaluation(loss, score, score < -self.confidence)
