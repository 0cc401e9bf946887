"""Figure 3: the marginal likelihood against training samples, AEVB, wake-sleep and Monte Carlo EM.

Three latent coordinates, for which the estimator by Hamiltonian Monte Carlo works without an encoder, so
that Monte Carlo EM, which has none, can be compared; a small and a large training set.
"""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.aevb._training import METHODS, UPDATES, Fit
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from trompe.evaluation.likelihood import Evidence
    from trompe.evaluation.records import Record
    from trompe.models import Autoencoder

__all__ = ["PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

PUBLISHED: dict[str, tuple[float, str]] = {}
RIVALS = METHODS[1:]


@dataclass(frozen=True)
class Config:
    """What is trained and measured.

    Args:
        sizes: numbers of training images.
        latent, hidden: latent coordinates, and units of the hidden layer of either network.
        marks: samples seen at which the likelihood is measured.
        rates: Adagrad's step sizes to choose from, by the training likelihood after `trial` samples.
        n: test images, and training images, whose likelihood is estimated.
        draws, chains, warmup: of the estimator, for each image.
        k, widen: draws of the importance-weighted bound that checks it where there is an encoder, and how
            much wider than the encoder's guess they are drawn.
    """

    sizes: tuple[int, ...] = (1000, 50_000)
    latent: int = 3
    hidden: int = 100
    marks: tuple[int, ...] = (10_000, 30_000, 100_000, 300_000)
    rates: tuple[float, ...] = (0.01, 0.02, 0.1)
    trial: int = 20_000
    n: int = 100
    draws: int = 48
    chains: int = 4
    warmup: int = 40
    k: int = 4000
    widen: float = 2.5
    data: str = "mnist"
    seed: int = 0


SCALES = {
    "smoke": Config((100,), 2, 16, (500, 1500), (0.1,), 500, 8, 16, 2, 15, 500, data="digits"),
    "cpu": Config(),
    "paper": Config(marks=tuple(m * 10**k for k in (4, 5, 6, 7) for m in (1, 3)), n=1000),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """A cell for each curve, and one for the differences at the end of a set's curves."""
    store.total = len(config.sizes) * (len(METHODS) + 1)
    for size in config.sizes:
        for method in METHODS:
            yield from store.cell(
                f"{method} {size}",
                lambda method=method, size=size: _curve(config, method, size),  # type: ignore[misc]
            )
        yield from store.cell(
            f"differences {size}",
            lambda size=size: list(_differences(config, size)),  # type: ignore[misc]
        )


def _fit(config: Config, method: str, size: int) -> tuple[Fit, dict[float, float]]:
    """The training of one curve, at the rate that its trial chose, and the trial."""
    from trompe.experiments.aevb._training import tuned

    fit = Fit(
        method,
        config.latent,
        config.hidden,
        config.marks,
        0.02,
        size,
        config.data,
        seed=config.seed,
    )
    few = min(20, config.n)

    def quality(model: "Autoencoder") -> float:
        return float(_estimate(config, model, "train", few).value.mean())

    return tuned(fit, config.rates, config.trial, quality)


def _estimate(config: Config, model: "Autoencoder", split: str, count: int) -> "Evidence":
    """The likelihood of the first images of a split."""
    from trompe.evaluation.likelihood import marginal_likelihood
    from trompe.experiments.aevb._shown import floats

    x = floats(config.data, split, count)
    return marginal_likelihood(model, x, config.draws, chains=config.chains, warmup=config.warmup)


@functools.lru_cache(maxsize=64)
def _evidence(config: Config, fit: Fit, samples: int, split: str) -> "Evidence":
    """The likelihood of the images of a split after so many samples."""
    from trompe.experiments.aevb._training import fitted

    return _estimate(config, fitted(fit)[samples], split, config.n)


def _curve(config: Config, method: str, size: int) -> list["Record"]:
    """The likelihood of training and test images at every mark."""
    from trompe.experiments.aevb._shown import mean, trial

    fit, tried = _fit(config, method, size)
    place: dict[str, Any] = {"method": method, "size": size}
    records = trial(tried, min(20, config.n), subject=method, config=place)
    for samples in fit.marks:
        for split in ("train", "test"):
            found = _evidence(config, fit, samples, split)
            here = {**place, "samples": samples, "split": split, "rate": fit.rate}
            means = {"error": found.error, "acceptance": found.acceptance}
            extra = {name: float(value.mean()) for name, value in means.items()}
            records.append(
                mean("log likelihood", found.value, subject=method, extra=extra, config=here)
            )
    return records


def _differences(config: Config, size: int) -> Iterator["Record"]:
    """How much more likely AEVB finds the images at the end, one by one; and the check of the estimator."""
    from trompe.evaluation.likelihood import importance_weighted
    from trompe.experiments.aevb._shown import floats, mean
    from trompe.experiments.aevb._training import fitted

    fits, end = {m: _fit(config, m, size)[0] for m in METHODS}, config.marks[-1]
    place = {"size": size, "samples": end}
    for split in ("train", "test"):
        found = {m: _evidence(config, fit, end, split).value for m, fit in fits.items()}
        for rival in RIVALS:
            apart = found["AEVB"] - found[rival]
            here = {**place, "rival": rival, "split": split}
            yield mean("AEVB less rival", apart, subject="AEVB", config=here)
    x = floats(config.data, "test", config.n)
    for method in METHODS[:2]:
        close = importance_weighted(fitted(fits[method])[end], x, config.k, widen=config.widen)
        apart = _evidence(config, fits[method], end, "test").value - close
        here = {**place, "method": method, "k": config.k}
        yield mean("estimator less bound", apart, subject=method, config=here)


def _line(records: list["Record"], method: str, size: int, split: str) -> list["Record"]:
    from trompe.experiments.aevb._shown import line

    return line(records, "log likelihood", method=method, size=size, split=split)


def _sizes(records: list["Record"]) -> list[int]:
    return sorted({int(r.config["size"]) for r in records})


def pictures(records: Iterable["Record"]) -> dict[str, str]:
    """A drawing for each training set: three methods, training and test images."""
    from trompe.experiments.aevb._shown import curves, lines

    found = list(records)
    drawings = {}
    for size in _sizes(found):
        title = f"Log likelihood, {size:,} training images"
        shown = lines(found, "log likelihood", METHODS, size=size)
        drawings[f"aevb-likelihood-{size}.svg"] = curves(title, "log likelihood, nats", shown)
    return drawings


def render(records: Iterable["Record"]) -> str:
    """Where the curves end, the claims, the check of the estimator, and the curves."""
    from trompe.experiments.aevb._shown import picture, stated
    from trompe.reports import Cell, Table, markdown_table

    found = list(records)
    rows: list[tuple[Cell, ...]] = []
    for size in _sizes(found):
        for method in METHODS:
            ends = [_line(found, method, size, split)[-1] for split in ("train", "test")]
            error, accepted = (ends[1].extra[k] for k in ("error", "acceptance"))
            rate = ends[1].config["rate"]
            apart = [
                stated(_apart(found, size, method, split)) if method in RIVALS else None
                for split in ("train", "test")
            ]
            rows.append(
                (
                    size,
                    method,
                    *map(stated, ends),
                    *apart,
                    f"{error:.2f}",
                    f"{accepted:.2f}",
                    f"{rate:g}",
                )
            )
    columns = ("Images", "Method", "Train", "Test", "AEVB less this, train", "AEVB less this, test")
    more = ("Error", "Acceptance", "Step size")
    end = _line(found, METHODS[0], _sizes(found)[0], "test")[-1]
    said = (
        f"Mean log likelihood in nats after {end.config['samples']:,} samples, by the estimator from "
        f"{end.config['draws']} posterior draws of each of {end.n} images of either set, binarised once for "
        "all. A sample counts whenever it enters an update of the weights, so that Monte Carlo EM has "
        f"used {UPDATES} at each visit; the leapfrog steps before them are not counted. Intervals are 95%, "
        "over images, from one training each; the error is that of one image's estimate. The original gives "
        "curves only, so there is no published number to stand beside these."
    )
    shown = [
        picture(f"Log likelihood, {size:,} training images", f"aevb-likelihood-{size}.svg")
        for size in _sizes(found)
    ]
    table = markdown_table(Table("", columns + more, tuple(rows)))
    return "\n\n".join([said, table, *_claims(found), _checked(found), *shown])


def _apart(records: list["Record"], size: int, rival: str, split: str) -> "Record":
    return next(
        r
        for r in records
        if r.metric == "AEVB less rival"
        and (r.config["size"], r.config["rival"], r.config["split"]) == (size, rival, split)
    )


def _claims(records: list["Record"]) -> list[str]:
    """AEVB against wake-sleep; Monte Carlo EM on few images and on many."""
    from trompe.experiments.aevb._shown import contrast

    sizes = _sizes(records)
    ways = [contrast(_apart(records, size, "wake-sleep", "test")) for size in sizes]
    verdict = "holds" if set(ways) == {"more"} else "fails" if "less" in ways else "is unresolved"
    told = {"more": "ahead of", "less": "behind", "unresolved": "not told from"}
    listed = "; ".join(
        f"with {size:,} images AEVB is {told[way]} wake-sleep"
        for size, way in zip(sizes, ways, strict=True)
    )
    first = f"AEVB finds test images more likely than wake-sleep does: **{verdict}** ({listed})."
    if len(sizes) < 2:
        return [first]
    few, many = (_apart(records, size, "MCEM", "test") for size in (sizes[0], sizes[-1]))
    close, behind = contrast(few) != "more", contrast(many)
    verdict = "holds" if behind == "more" else "is unresolved"
    verdict = verdict if close and behind != "less" else "fails"
    second = (
        "Monte Carlo EM keeps up with AEVB on the small set and not on the large one: "
        f"**{verdict}** (behind by {few.value:.1f} nats with {sizes[0]:,} images and by {many.value:.1f} "
        f"with {sizes[-1]:,}, at equal samples, on test images)."
    ).replace("-", "−")
    return [first, second]


def _checked(records: list["Record"]) -> str:
    """How far the estimator lies from the importance-weighted bound."""
    from trompe.experiments.aevb._shown import stated

    checks = [r for r in records if r.metric == "estimator less bound"]
    listed = "; ".join(
        f"{r.config['method']}, {r.config['size']:,} images: {stated(r, 2)}" for r in checks
    )
    k, widen = checks[0].config["k"], checks[0].config["widen"]
    return (
        f"The estimator less the importance-weighted bound of {k:,} draws from the encoder's guess, "
        f"{widen:g} times as wide, in nats: {listed}."
    )
