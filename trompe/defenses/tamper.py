"""Detectors of codes that were changed between encoder and decoder.

All take codes `(B, D)` as they arrive at the decoder. Two of them know only what clean codes look like; they
also take `(B, k, D)`, k codes of one sender each, and test their mean: a shift that all codes share grows by
`sqrt(k)` against their spread, so that what hides in one code shows in a few. The third asks the classifier
that reads the decoded output.
"""

import math
from collections.abc import Callable
from typing import Literal, Self

import torch
from torch import Tensor

from trompe.core.errors import UserError
from trompe.defenses.detectors import CalibratedDetector

__all__ = ["Mahalanobis", "OutputUncertainty", "Tail", "shrunk_covariance"]


def shrunk_covariance(codes: Tensor) -> Tensor:
    """The covariance of `(n, D)` codes, shrunk towards a multiple of the identity, in float64.

    `(1 - a) S + a (tr S / D) I` with the `a` that minimises the expected squared error of the estimate
    (Ledoit & Wolf 2004, lemma 3.1 to theorem 3.2), so that it can be inverted whatever n is.

    >>> shrunk_covariance(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]], dtype=torch.float64)
    """
    centred = codes.double() - codes.double().mean(0)
    n, d = centred.shape
    sample = centred.T @ centred / n
    target = sample.trace() / d * torch.eye(d, dtype=sample.dtype, device=sample.device)
    spread = (sample - target).square().sum()
    # The mean over examples of ||x x' - S||^2 is that of ||x||^4 less ||S||^2.
    noise = (centred.square().sum(1).square().mean() - sample.square().sum()) / n
    share = (noise / spread).clamp(0, 1) if float(spread) > 0 else torch.zeros_like(spread)
    return (1 - share) * sample + share * target


class _OfCodes(CalibratedDetector):
    """What clean codes look like: their mean, and how they are made standard."""

    mean: Tensor

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        if codes.ndim != 2 or len(codes) < 2 or not codes.is_floating_point():
            raise UserError(
                "a detector of codes learns from at least two clean ones, floats of shape (n, D); got "
                f"{codes.dtype} of shape {tuple(codes.shape)}"
            )
        if not bool(codes.isfinite().all()):
            raise UserError("clean codes must be finite")
        if bool((codes == codes[0]).all()):
            raise UserError("all clean codes are the same; a detector needs to see how they vary")
        self.register_buffer("mean", codes.double().mean(0).to(codes))
        self.training = False

    def _moved(self, codes: Tensor) -> Tensor:
        """How far codes are from the clean mean, `(B, D)`; of k together, `sqrt(k)` times their mean's."""
        if codes.ndim not in (2, 3) or codes.shape[-1] != len(self.mean):
            raise UserError(
                f"expected codes of shape (B, {len(self.mean)}), or (B, k, {len(self.mean)}) for k of one "
                f"sender, got {tuple(codes.shape)}"
            )
        if codes.ndim == 2:
            return codes - self.mean
        return math.sqrt(codes.shape[1]) * (codes.mean(1) - self.mean)


class Mahalanobis(_OfCodes):
    """Squared Mahalanobis distance to the clean codes, `(z - m)' S^-1 (z - m)`; of k codes, Hotelling's T2.

    For Gaussian codes it is chi-squared with D degrees of freedom, and where a shift `d` was added noncentral
    with `k d' S^-1 d` (Hotelling 1931; Lee et al. 2018, who use it on features of a classifier).

    Args:
        codes: clean codes `(n, D)`, drawn as the decoder receives them.

    Raises:
        UserError: codes of another shape, not finite, or all the same.

    >>> detector = Mahalanobis(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    >>> detector(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    tensor([ 0.0000, 50.0000])
    """

    whiten: Tensor

    def __init__(self, codes: Tensor) -> None:
        super().__init__(codes)
        root = torch.linalg.cholesky(shrunk_covariance(codes))
        one = torch.eye(len(root), dtype=root.dtype, device=root.device)
        inverse = torch.linalg.solve_triangular(root, one, upper=False)
        self.register_buffer("whiten", inverse.T.contiguous().to(codes))

    def forward(self, codes: Tensor) -> Tensor:
        """Scores `(B,)` of codes `(B, D)`, or of k codes together, `(B, k, D)`."""
        return (self._moved(codes) @ self.whiten).square().sum(1)


class Tail(_OfCodes):
    """The largest |z-score| of a code's coordinates: is one of them too far out?

    Creswell et al. 2017 test each coordinate by itself at level .005, |z| > 2.807. Of D coordinates
    a clean code then fails some test with probability `1 - .995^D`, 63% at D = 200; `at_level` sets
    the level of the family of tests instead, by Sidak's correction. A coordinate in which clean codes do not
    differ is given a thousandth of the mean spread, so that any change of it is far out.

    Args:
        codes: clean codes `(n, D)`, drawn as the decoder receives them.

    Raises:
        UserError: codes of another shape, not finite, or all the same.

    >>> detector = Tail(torch.tensor([[2.0, 1.0], [0.0, -1.0]]))
    >>> detector(torch.tensor([[1.0, 0.0], [1.5, -3.0]])).tolist()
    [0.0, 3.0]
    """

    scale: Tensor

    def __init__(self, codes: Tensor) -> None:
        super().__init__(codes)
        spread = codes.double().std(0, correction=0)
        self.register_buffer("scale", spread.clamp_min(1e-3 * float(spread.mean())).to(codes))

    def forward(self, codes: Tensor) -> Tensor:
        """Scores `(B,)` of codes `(B, D)`, or of k codes together, `(B, k, D)`."""
        return (self._moved(codes) / self.scale).abs().amax(1)

    def p_value(self, scores: Tensor) -> Tensor:
        """How often a clean code has so large a score: `1 - (1 - 2 Phi(-s))^D`, family-wise.

        Exact for independent Gaussian coordinates, and an upper bound for Gaussian ones that are not
        (Sidak 1967).
        """
        one = 2 * torch.special.ndtr(-scores.double())
        return -torch.expm1(len(self.mean) * torch.log1p(-one))

    def at_level(self, level: float) -> Self:
        """Set `threshold` for a family-wise level, without any held-out codes.

        >>> detector = Tail(torch.tensor([[1.0], [-1.0]])).at_level(0.005)
        >>> round(float(detector.threshold), 3)
        2.807
        """
        if not 0 < level < 1:
            raise UserError(f"the level must lie between 0 and 1, got {level}")
        each = -math.expm1(math.log1p(-level) / len(self.mean))
        at = torch.special.ndtri(torch.tensor(each / 2, dtype=torch.float64))
        self.threshold.fill_(float(-at))
        return self


class OutputUncertainty(CalibratedDetector):
    """How unsure a classifier is of the decoded output: entropy in nats, or `1 - max p`.

    Creswell et al. 2017 suggest to look at the classifier's confidence, as a tampered code need not decode
    to an image that the classifier finds usual.

    Args:
        decoder: `decoder(z) -> x`, as an autoencoder's `decode`.
        classifier: `classifier(x) -> logits`.
        kind: `"entropy"` or `"confidence"`.

    Raises:
        UserError: another kind.

    >>> detector = OutputUncertainty(lambda z: z, lambda x: x)
    >>> detector(torch.tensor([[0.0, 0.0], [9.0, 0.0]]))
    tensor([0.6931, 0.0012])
    """

    def __init__(
        self,
        decoder: Callable[[Tensor], Tensor],
        classifier: Callable[[Tensor], Tensor],
        kind: Literal["entropy", "confidence"] = "entropy",
    ) -> None:
        super().__init__()
        if kind not in ("entropy", "confidence"):
            raise UserError(f"kind must be entropy or confidence, got {kind!r}")
        self.decoder, self.classifier, self.kind = decoder, classifier, kind
        self.training = False

    def forward(self, codes: Tensor) -> Tensor:
        """Scores `(B,)` of codes `(B, *)`."""
        shares = self.classifier(self.decoder(codes)).softmax(1)
        if self.kind == "confidence":
            return 1 - shares.amax(1)
        entropy: Tensor = torch.special.entr(shares).sum(1)
        return entropy
