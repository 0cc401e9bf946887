"""Means over trainings that all meet the same pairs of images, with intervals that allow for both."""

from trompe.experiments.adversarial_vae._board import Interval

__all__ = ["crossed", "verdict"]


def crossed(values: list[list[float]]) -> Interval:
    """The mean of `values[training][pair]` with a 95% interval for other trainings *and* other pairs.

    The variance of the mean is at most `s_t^2 / T + s_p^2 / P`, with the deviations of the T means over
    pairs and of the P means over trainings; Student's quantile has the degrees of the smaller of both. Of
    a single training only the pairs can be judged, and the interval is theirs.

    >>> str(crossed([[0.1, 0.2, 0.3]]))
    '0.200 [-0.048, 0.448]'
    """
    import numpy as np
    from scipy.stats import t

    each = np.asarray(values, dtype=float)
    each = each[:, np.isfinite(each).all(0)]
    trainings, pairs = each.shape
    if pairs < 2:
        mean = float(each.mean()) if pairs else float("nan")
        return Interval(mean, float("nan"), float("nan"))
    variance, degrees = each.mean(0).var(ddof=1) / pairs, pairs - 1
    if trainings > 1:
        variance += each.mean(1).var(ddof=1) / trainings
        degrees = min(degrees, trainings - 1)
    half = float(t.ppf(0.975, degrees) * variance**0.5)
    return Interval(float(each.mean()), float(each.mean()) - half, float(each.mean()) + half)


def verdict(difference: Interval, more: str, less: str) -> str:
    """What a difference says: one of two statements, or that it is unresolved."""
    if not difference.resolved:
        return "unresolved"
    return more if difference.mean > 0 else less
