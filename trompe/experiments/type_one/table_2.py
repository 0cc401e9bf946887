"""Table II: what feature squeezing detects of Type I and Type II examples against an embedder of faces.

An input is rejected where its embedding moves by more than zeta when the picture is smoothed by a median.
The original squeezes FaceNet, whose embeddings are one person's up to a distance of 1.242, at zeta 1.2. Our
embedder stands in for it: its zeta is the same share of its own threshold, and beside it stands the one that
5% of held-out clean faces exceed. Type II examples are those of PGD that is to make an input no longer the
person it shows: one that spends all its steps, and one that stops where the answer changes. What an
autoencoder draws is smooth, attacked or not; its reconstructions are shown for that.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store
from trompe.experiments.type_one import faces

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.attacks import VerificationPGD
    from trompe.evaluation.records import Record
    from trompe.experiments.type_one._faces import Changed

__all__ = ["PUBLISHED", "SCALES", "Config", "dodging", "render", "run"]

KINDS = {
    "clean": "Clean",
    "type one": "Type I",
    "reconstruction": "Reconstruction, no attack",
    "pgd": "PGD, all steps",
    "pgd that stops": "PGD that stops at the threshold",
}
RULES = ("published", "calibrated")
MARGIN = 0.05
"""How much more often than clean faces Type I examples may be detected and still pass as such."""


@dataclass(frozen=True)
class Config:
    """Which faces are squeezed, and how PGD changes them.

    Args:
        faces: the Type I examples, as the item on faces makes them.
        kernels: sides of the median's window.
        eps, steps: Linf radius of PGD, and its gradients.
        fpr: share of held-out clean faces above the calibrated zeta.
    """

    faces: faces.Config
    kernels: tuple[int, ...] = (3, 5)
    eps: float = 8 / 255
    steps: int = 40
    fpr: float = 0.05


SCALES = {
    "smoke": Config(faces.SCALES["smoke"], kernels=(2, 3), eps=0.1, steps=10),
    "cpu": Config(faces.SCALES["cpu"]),
    "paper": Config(faces.SCALES["paper"]),
}

ZETA = 1.2 / 1.242
"""The published zeta as a share of FaceNet's threshold."""
_SOURCE = "Tang et al. 2019, table II"
PUBLISHED = {
    "zeta": (1.2, _SOURCE),
    "3 clean": (0.000, _SOURCE),
    "3 type one": (0.000, _SOURCE),
    "3 pgd": (0.487, _SOURCE),
    "5 clean": (0.064, _SOURCE),
    "5 type one": (0.032, _SOURCE),
    "5 pgd": (0.971, _SOURCE),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """The embedder, and each kind of inputs under both filters and thresholds."""
    store.total = 1 + len(KINDS)
    yield from store.cell("embedder", lambda: _embedder(config))
    for kind in KINDS:
        yield from store.cell(kind, lambda kind=kind: _detected(config, kind))  # type: ignore[misc]


def _embedder(config: Config) -> list["Record"]:
    from trompe import zoo
    from trompe.experiments.type_one._faces import verified

    of = config.faces
    embedder = zoo.get(of.embedder, progress=False)
    return verified(embedder, of.people, of.embedder, n=of.pairs).records(subject=of.embedder)


def dodging(config: Config, threshold: float | None = None) -> "VerificationPGD":
    """PGD away from the person that an input shows; with a threshold it stops there."""
    from trompe.attacks import VerificationPGD
    from trompe.core.geometry import Ball

    return VerificationPGD(Ball(config.eps, "Linf"), steps=config.steps, threshold=threshold)


def _inputs(config: Config, kind: str, made: "Changed", embedder: "nn.Module") -> "Tensor":
    """The inputs of one kind, `(n, C, H, W)`, as 8-bit files have them."""
    import torch

    from trompe import zoo
    from trompe.core.domains import Images
    from trompe.core.random import seeds

    own = seeds(config.faces.seed, made.index)
    found = made.x
    if kind == "type one":
        found = made.x_adv
    elif kind == "reconstruction":
        svae: Any = zoo.get(config.faces.svae, progress=False)
        with torch.no_grad():
            found = torch.cat([svae.decode(svae.encode(x).mean) for x in made.x.split(64)])
    elif kind != "clean":
        found = dodging(config, _stop(config, kind))(embedder, made.x, seeds=own)
    return Images().as_delivered(found)


def _stop(config: Config, kind: str) -> float | None:
    return None if kind == "pgd" else _threshold(config)


def _threshold(config: Config) -> float:
    of = config.faces
    return faces.threshold(of.embedder, of.people, of.pairs)


def _detected(config: Config, kind: str) -> Iterator["Record"]:
    """How many inputs of a kind are still their person for the embedder, and how many are rejected."""
    from trompe import zoo
    from trompe.core.execution import predict
    from trompe.core.geometry import norm
    from trompe.evaluation.records import Record

    of = config.faces
    made, embedder = faces.changed_faces(of), zoo.get(of.embedder, progress=False)
    shown = _inputs(config, kind, made, embedder)
    common: dict[str, Any] = {"subject": of.embedder}
    if kind.startswith("pgd"):
        attack = dodging(config, _stop(config, kind))
        common |= {"eps": config.eps, "norm": "Linf", "attack": str(attack)}
    here, limit = predict(embedder, made.x), _threshold(config)
    kept = int((norm(here - predict(embedder, shown), "L2") <= limit).sum())
    steps = {"type one": of.steps, "pgd": config.steps, "pgd that stops": config.steps}.get(kind)
    where = {"kind": kind, "steps": steps}
    yield Record.rate("same person", kept, len(shown), config=where, **common)
    for kernel in config.kernels:
        detector = _detector(config, embedder, kernel)
        scores = predict(detector, shown)
        undone = norm(here - predict(embedder, detector.squeezers[0](shown)), "L2") <= limit
        told = {**where, "kernel": kernel}
        yield Record.rate(
            "same person once squeezed", int(undone.sum()), len(shown), config=told, **common
        )
        zetas = (ZETA * limit, float(detector.threshold))
        for rule, zeta in zip(RULES, zetas, strict=True):
            hits, at = int((scores > zeta).sum()), {**told, "rule": rule, "zeta": zeta}
            yield Record.rate("detected", hits, len(shown), config=at, **common)


def _detector(config: Config, embedder: "nn.Module", kernel: int) -> Any:
    """Median smoothing, its threshold set on faces of people held out from training."""
    from trompe.defenses.squeeze import FeatureSqueezing, MedianSmoothing
    from trompe.experiments.type_one._faces import held_out_people

    detector = FeatureSqueezing(embedder, [MedianSmoothing(kernel)], "L2", softmax=False).eval()
    x, _ = held_out_people(config.faces.people, config.faces.embedder).tensors()
    return detector.calibrate(x, config.fpr)


def render(records: Iterable["Record"]) -> str:
    """Detection rates beside the published ones, and what they say of the paper's two claims."""
    found = list(records)
    kernels = sorted({int(r.config["kernel"]) for r in found if r.metric == "detected"})
    return "\n\n".join(
        [
            _said(found),
            _table(found, kernels),
            _claims(found, kernels[-1]),
            _controls(found, kernels),
        ]
    )


def _said(records: list["Record"]) -> str:
    from trompe.experiments.type_one._shown import one, rate
    from trompe.reports.wording import number, percent

    right, pgd = one(records, "verification accuracy"), one(records, "same person", kind="pgd")
    assert right is not None
    assert pgd is not None
    threshold = float(right.config["threshold"])
    return (
        f"{right.subject} stands in for FaceNet: it tells {rate(right)} of {right.n} pairs of test people "
        f"rightly, at a threshold of {number(threshold)}. The published zeta "
        f"{PUBLISHED['zeta'][0]} is {percent(ZETA)} of FaceNet's threshold, {number(ZETA * threshold)} here. "
        f"PGD's eps is {number(pgd.eps or 0.0)}; the original's is not told. "
        "Detection rates with 95% intervals; inputs are read as 8-bit files."
    )


def _table(records: list["Record"], kernels: list[int]) -> str:
    from trompe.experiments.type_one._shown import one, rate
    from trompe.reports import Cell, Table, markdown_table
    from trompe.reports.wording import percent

    rows: list[tuple[Cell, ...]] = []
    for kernel in kernels:
        for kind, word in KINDS.items():
            where = {"kind": kind, "kernel": kernel}
            shares = [one(records, "detected", rule=rule, **where) for rule in RULES]
            assert shares[0] is not None
            known = PUBLISHED.get(f"{kernel} {kind}")
            published = None if known is None else percent(known[0])
            steps, n = shares[0].config["steps"], shares[0].n
            ours, tied = map(rate, shares)
            rows.append((f"{kernel}x{kernel}", word, ours, published, tied, steps, n))
    columns = ("Median", "Inputs", "Zeta as published", "Published", "Zeta of 5%", "Steps", "n")
    return markdown_table(Table("", columns, tuple(rows)))


def _claims(records: list["Record"], kernel: int) -> str:
    """That Type I passes where clean faces pass, and that PGD does not, at both thresholds."""
    head = (
        f"At {kernel}x{kernel}, the claims that Type I examples pass as clean faces do (within "
        f"{100 * MARGIN:.0f} points), and that squeezing detects PGD more often than clean faces:"
    )
    words = ("the zeta as published", "the zeta of 5%")
    lines = [
        _verdicts(records, kernel, rule, word) for rule, word in zip(RULES, words, strict=True)
    ]
    return "\n".join([head, "", *lines])


def _verdicts(records: list["Record"], kernel: int, rule: str, word: str) -> str:
    """Both claims at one threshold, and whether Type I passes as what is decoded without an attack."""
    from trompe.experiments.type_one._shown import difference, one, points

    shares = {kind: one(records, "detected", kind=kind, kernel=kernel, rule=rule) for kind in KINDS}
    clean, moved, pgd, plain = (
        shares[kind] for kind in ("clean", "type one", "pgd", "reconstruction")
    )
    assert clean is not None
    assert moved is not None
    assert pgd is not None
    assert plain is not None
    passing, caught, beside = (
        difference(moved, clean),
        difference(pgd, clean),
        difference(moved, plain),
    )
    catches = "holds" if caught[1] > 0 else "does not hold" if caught[2] < 0 else "is unresolved"
    return (
        f"- at {word}, that Type I passes **{_within(passing)}** ({points(passing)} against clean); as plain "
        f"reconstructions do, it **{_within(beside)}** ({points(beside)}). That PGD is detected "
        f"**{catches}** ({points(caught)} against clean)."
    )


def _within(gap: tuple[float, float, float]) -> str:
    """Whether a share exceeds another by no more than the margin."""
    return "holds" if gap[2] < MARGIN else "does not hold" if gap[1] > MARGIN else "is unresolved"


def _controls(records: list["Record"], kernels: list[int]) -> str:
    """What the attacks did, and whether squeezing undoes PGD."""
    from trompe.experiments.type_one._shown import one, rate

    kept = {kind: one(records, "same person", kind=kind) for kind in KINDS}
    return (
        f"The embedder says the same person of {rate(kept['type one'])} of Type I examples, "
        f"{rate(kept['reconstruction'])} of reconstructions, {rate(kept['pgd'])} of PGD's examples and "
        f"{rate(kept['pgd that stops'])} of those that stop at the threshold. {_undone(records, kernels)}"
    )


def _undone(records: list["Record"], kernels: list[int]) -> str:
    """How much of what PGD did smoothing takes back."""
    from trompe.experiments.type_one._shown import difference, one, rate

    kept = one(records, "same person", kind="pgd")
    assert kept is not None
    parts, gains = [], []
    for kernel in kernels:
        after = one(records, "same person once squeezed", kind="pgd", kernel=kernel)
        assert after is not None
        parts.append(f"{rate(after)} at {kernel}x{kernel}")
        gains.append(difference(after, kept))
    most = "more" if max(g[0] for g in gains) > 0.5 * (1 - kept.value) else "less"
    return (
        f"Smoothed, PGD's examples are the same person for {' and '.join(parts)}: the median undoes {most} "
        "than half of what PGD did."
    )
