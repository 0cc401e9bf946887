"""The spread over training seeds: how much of a number is the luck of one training."""

import time
from functools import partial

import torch

from trompe import zoo
from trompe.attacks import APGDT, PGD
from trompe.audit.classifier import WHITE_BOX, Subject
from trompe.audit.pairs import SHARES, TARGETED
from trompe.audit.pairs import Subject as Lying
from trompe.audit.part import Part, Progress, Store
from trompe.audit.plan import Plan
from trompe.audit.victim import recipe
from trompe.core import random
from trompe.data import Dataset
from trompe.evaluation.autoencoder import distances
from trompe.evaluation.evaluate import evaluate
from trompe.reports import Section, Table

__all__ = ["SEEDS", "examine"]

SEEDS = (0, 1, 2)


def examine(
    plan: Plan,
    subject: Subject,
    train: Dataset,
    store: Store,
    *,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Part:
    """Train both models again with other seeds, and measure the two headline numbers of each."""
    rows: list[list[float]] = []
    for place, seed in enumerate(SEEDS):
        if deadline is not None and time.monotonic() > deadline and rows:
            break
        if progress is not None:
            progress(place, len(SEEDS), f"training seed {seed}")
        rows.append(store.get(f"seed-{seed}", partial(_measured, plan, subject, train, seed)))
    cells = [(str(s), *(f"{v:.1%}" for v in row)) for s, row in zip(SEEDS, rows, strict=False)]
    if len(rows) > 1:
        values = torch.tensor(rows)
        cells.append(("mean", *(f"{v:.1%}" for v in values.mean(0).tolist())))
        cells.append(("standard deviation", *(f"{v:.1%}" for v in values.std(0).tolist())))
    eps = subject.ball.eps
    names = (
        "training seed",
        "classifier, clean accuracy",
        f"classifier, robust accuracy at {subject.norm} {eps:.3g}",
        "VAE, distance left to the target",
    )
    table = Table(
        "The same measurements for other training seeds",
        names,
        tuple(cells),
        note=f"{len(_some(subject.data))} images; PGD and targeted Auto-PGD; latent attack at "
        f"{SHARES[4]:.0%} of the median distance to the target.",
        threat=f"{WHITE_BOX} {TARGETED}",
    )
    text = "Intervals elsewhere are over images. This table is over trainings: recipe and data are the same."
    section = Section("How much is the luck of one training?", text, (table,))
    return Part(sections=[section], complete=len(rows) == len(SEEDS))


def _some(data: Dataset) -> Dataset:
    return data.take(min(100, len(data)))


def _measured(plan: Plan, subject: Subject, train: Dataset, seed: int) -> list[float]:
    net = zoo.get(recipe("classifier", plan.data, train, seed), progress=False)
    vae = zoo.get(recipe("autoencoder", plan.data, train, seed), progress=False)
    some, domain = _some(subject.data), subject.data.domain
    attacks = [
        PGD(subject.ball, steps=40, domain=domain),
        APGDT(subject.ball, steps=20, domain=domain),
    ]
    result = evaluate(net.to(plan.device), attacks, some, seed=plan.seed)
    lying = Lying("", vae.to(plan.device), some.take(min(48, len(some))), None, plan.seed, 50)
    return [result.clean_accuracy, result.robust_accuracy, _left(lying)]


def _left(lying: Lying) -> float:
    x, target, _, _ = lying.pairs()
    seeds = random.seeds(lying.seed, len(x)).to(x.device)
    attack = lying.attack.at(lying.radii()[4])
    found = attack(lying.model, x, target, seeds=seeds)
    return float(distances(lying.model, x, found, target, seeds=seeds).distance.nanmean())
