"""The spread over training seeds: how much of a number is the luck of one training."""

from functools import partial
from typing import Any

import torch

from trompe import zoo
from trompe.attacks import APGDT, PGD
from trompe.audit.autoencoder import SHARES, TARGETED
from trompe.audit.autoencoder import Subject as Lying
from trompe.audit.classifier import WHITE_BOX, Subject
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
    plan: Plan, subject: Subject, train: Dataset, store: Store, progress: Progress | None
) -> Part:
    """Train both models again with other seeds, and measure the two headline numbers of each."""
    rows = []
    for place, seed in enumerate(SEEDS):
        if progress is not None:
            progress(place, len(SEEDS), f"training seed {seed}")
        rows.append(store.get(f"seed-{seed}", partial(_measured, plan, subject, train, seed)))
    columns = list(zip(*rows, strict=True))
    cells = [(str(seed), *(f"{v:.1%}" for v in row)) for seed, row in zip(SEEDS, rows, strict=True)]
    values = [torch.tensor(column) for column in columns]
    cells.append(("mean", *(f"{float(v.mean()):.1%}" for v in values)))
    cells.append(("standard deviation", *(f"{float(v.std()):.1%}" for v in values)))
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
    return Part(sections=[Section("How much is the luck of one training?", text, (table,))])


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
    seeds: Any = random.seeds(lying.seed, len(x))
    attack = lying.attack.at(lying.radii()[4])
    found = attack(lying.model, x, target, seeds=seeds)
    return float(distances(lying.model, x, found, target, seeds=seeds).distance.nanmean())
