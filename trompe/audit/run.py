"""The audit itself: prepare, measure part by part, and write a report after each."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn

from trompe import models, zoo
from trompe.audit import autoencoder, classifier, defense, over_stability, pairs, spread, transit
from trompe.audit.cost import PAIRS, Estimate, Price, fitted, timed, training
from trompe.audit.guard import Guard, apart
from trompe.audit.paper import Paper, check_folder, conduct
from trompe.audit.part import Part, Progress, Store
from trompe.audit.plan import Plan, radii
from trompe.audit.victim import barred, has_gradient, recipe, victim
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import execution, has_fast_bf16
from trompe.core.search import GradientWarning
from trompe.data import Dataset, load, rooted
from trompe.evaluation.cases import fingerprint, weights_digest
from trompe.evaluation.outcomes import nature
from trompe.models import is_autoencoder
from trompe.reports import Report

__all__ = ["audit", "estimate"]


@dataclass
class _Prepared:
    """Everything that an audit works on.

    `svae` is how the generative model of over-stability is trained, `unstable` why there can be none.
    """

    plan: Plan
    data: Dataset
    train: Dataset
    classifier: nn.Module | None = None
    autoencoder: nn.Module | None = None
    guard: Guard | None = None
    defended: nn.Module | None = None
    judge: nn.Module | None = None
    reader: nn.Module | None = None
    svae: zoo.Recipe | None = None
    unstable: str = ""
    names: tuple[str, str] = ("the classifier", "the autoencoder")


def _prepare(plan: Plan) -> _Prepared:
    with rooted(plan.data_root):
        return _prepared(plan)


def _prepared(plan: Plan) -> _Prepared:
    test, train = _shuffled(load(plan.data, "test"), plan.seed), load(plan.data, "train")
    data, held = apart(test, plan)
    ready = _Prepared(plan, data, train)
    _find_models(ready)
    if ready.classifier is not None and data.y is None:
        raise UserError(f"{plan.data} has no labels; the audit of a classifier needs them")
    if ready.classifier is not None and not has_gradient(ready.classifier, data):
        raise UserError(
            "no gradient path leads from the classifier's logits to its input, so robust accuracy would mean "
            "nothing; `trompe doctor` says more, and a purifier is better given as --defense"
        )
    if plan.defense is not None and ready.classifier is None:
        raise UserError("a defence stands before a classifier, and the model is an autoencoder")
    if ready.classifier is not None:
        _defend(ready, ready.classifier, held)
    if ready.autoencoder is not None and data.y is not None and len(data.classes) > 1:
        ready.judge = _own(ready, "judge")
        ready.reader = ready.classifier or _own(ready, "classifier")
    for model in (ready.classifier, ready.autoencoder, ready.defended, ready.judge, ready.reader):
        if model is not None:
            model.to(plan.device)
    if ready.classifier is not None:
        ready.unstable = over_stability.hindrance(ready.classifier, data, train)
        if not ready.unstable:
            ready.svae = recipe("svae", plan.data, train, plan.seed)
    return ready


def _shuffled(data: Dataset, seed: int) -> Dataset:
    """The examples in an order of chance: of a set sorted by class the first n are no sample."""
    return data.subset(random.seeds(seed, len(data)).argsort())


def _find_models(ready: _Prepared) -> None:
    plan = ready.plan
    if plan.model is None:
        if ready.train.y is None:
            raise UserError(f"{plan.data} has no labels; name a model to audit with --model")
        ready.autoencoder, ready.classifier = _own(ready, "autoencoder"), _own(ready, "classifier")
        ready.names = ("the classifier", "the VAE")
        return
    model = victim(plan.model, ready.data)
    short = plan.model.rpartition(":")[2] if ":" in plan.model else plan.model
    ready.names = (short, short)
    if is_autoencoder(model):
        ready.autoencoder = model
    else:
        ready.classifier = model


def _own(ready: _Prepared, kind: Any) -> nn.Module:
    return zoo.get(recipe(kind, ready.plan.data, ready.train, ready.plan.seed))


def _defend(ready: _Prepared, bare: nn.Module, held: Dataset | None) -> None:
    """Put the plan's defence before the classifier; where the audit trains both, reconstruction."""
    plan = ready.plan
    kind = plan.defense or ("reconstruct" if plan.model is None else None)
    if kind is not None:
        ready.guard = Guard(kind, plan, ready.data, ready.train, held)
        ready.defended = ready.guard.before(bare, ready.guard.autoencoders(ready.autoencoder))


def estimate(plan: Plan) -> Estimate:
    """Load the model, time one pass, and say what the audit will cost and how it fits a budget.

    Raises:
        UserError: a model, data set or setting that does not fit.
    """
    return _estimate(_prepare(plan))


def _estimate(ready: _Prepared) -> Estimate:
    return fitted(_price(ready), len(ready.data), ready.plan.n, ready.plan.budget)


def _price(ready: _Prepared) -> Price:
    """Timed passes, times about as many as each part spends."""
    pair, bare, guarded = (
        0.0 if model is None else timed(model, ready.data)
        for model in (ready.autoencoder, ready.classifier, ready.defended)
    )
    codes = transit.PASSES * pair if ready.reader is not None else 0.0
    image = 1000 * bare + _climbed(ready, bare, guarded)
    return Price(1100 * pair, codes, image, *_price_of_training(ready, bare))


def _climbed(ready: _Prepared, bare: float, guarded: float) -> float:
    """Seconds of an image on the ladder of attackers, who meet it at each radius; more where they average."""
    if ready.defended is None:
        return 0.0
    x, _ = ready.data.tensors(slice(0, 8))
    x = x.to(ready.plan.device)
    drawn = nature(ready.defended, x, random.seeds(ready.plan.seed, len(x)).to(x.device)).random
    levels = len(radii(ready.plan, ready.data))
    return levels * (700 * guarded * (8 if drawn else 1) + 100 * bare)


def _price_of_training(ready: _Prepared, bare: float) -> tuple[float, float, float, bool]:
    """Of an image that is changed while the answer stays, of all training before that, what share of the
    generative model's passes the budget holds, and whether it holds an attacker's own stack."""
    budget, taken = ready.plan.budget, 0.0
    recipes = () if ready.guard is None else ready.guard.recipes()
    own = sum(training(each, ready.train) for each in recipes)
    surrogate = bool(recipes) and (budget is None or own <= budget / 6)
    taken += own if surrogate else 0.0
    if ready.svae is None:
        return 0.0, taken, 1.0, surrogate
    generative = timed(models.build(ready.svae.model).to(ready.plan.device), ready.data)
    share, learning = over_stability.learning(ready.svae, ready.plan.data, ready.train, budget)
    changed = over_stability.STEPS * (generative + bare) * (share > 0)
    return changed, learning + taken, share, surrogate


def audit(
    plan: Plan,
    *,
    command: str = "",
    progress: Progress | None = None,
    cost: Estimate | None = None,
) -> Report:
    """Examine a model and write the report into `plan.out`; after each part, what there is so far.

    Interrupted (Ctrl-C), it writes and returns a partial report; with `resume` it then goes on from there.

    Args:
        plan: what to examine.
        command: what repeats the run, for the report.
        progress: called with (done, total or None, what is running).
        cost: what `estimate` said, to be held to; None estimates now.

    Raises:
        UserError: a model, data set, setting or folder that does not fit.
    """
    check_folder(plan.out)
    ready = _prepare(plan)
    cost = _agreed(ready, cost)
    ready.data = ready.data.take(cost.n)
    store = Store(plan.out / "work", _mark(ready, cost), plan.resume)
    paper = _paper(plan, command, len(ready.data))
    deadline = None if plan.budget is None else paper.start + plan.budget
    jobs = dict(_jobs(ready, store, cost, deadline, progress))
    with _policy(plan):
        return conduct(jobs, paper, plan.out)


def _paper(plan: Plan, command: str, images: int) -> Paper:
    what = plan.model or "a VAE and a classifier trained for the audit"
    return Paper(
        what,
        f"{what}, on {images} images of {plan.data}",
        command,
        plan.settings(),
        {"images": images},
        _UNTESTED,
        plan.device,
    )


_UNTESTED = (
    "Attackers who change training data or weights.",
    "Changes that no norm describes: rotation, lighting, other styles.",
    "Images of another source than the data named above.",
)


def _agreed(ready: _Prepared, cost: Estimate | None) -> Estimate:
    """The cost to be held to: that with which a resumed audit began, as no clock says the same twice."""
    if ready.plan.budget is None:
        return cost or _estimate(ready)
    store = Store(ready.plan.out / "work", _mark(ready), ready.plan.resume)
    return Estimate(**store.get("cost", lambda: asdict(cost or _estimate(ready))))


def _mark(ready: _Prepared, cost: Estimate | None = None) -> str:
    models = (ready.classifier, ready.autoencoder, ready.defended, ready.judge, ready.reader)
    return fingerprint(
        settings=ready.plan.settings(),
        models=[weights_digest(m) if m is not None else "" for m in models],
        data=ready.data.checksum,
        cost=None if cost is None else (cost.n, cost.effort, cost.learning, cost.surrogate),
    )


@contextmanager
def _policy(plan: Plan) -> Iterator[None]:
    precision = plan.precision
    if precision == "auto":
        precision = "bf16" if has_fast_bf16(plan.device) else "float32"
    with rooted(plan.data_root), execution(precision=precision), warnings.catch_warnings():
        warnings.simplefilter("ignore", GradientWarning)  # the doctor says it in full
        yield


def _jobs(
    ready: _Prepared,
    store: Store,
    cost: Estimate,
    deadline: float | None,
    progress: Progress | None,
) -> Iterator[tuple[str, Callable[[], Part]]]:
    plan = ready.plan
    told: dict[str, Any] = {"deadline": deadline, "progress": progress}
    if ready.autoencoder is not None:
        lying = pairs.Subject(
            ready.names[1],
            ready.autoencoder,
            ready.data.take(min(PAIRS, cost.n)),
            ready.judge,
            plan.seed,
            max(20, round(100 * cost.effort)),
        )
        yield "the autoencoder", lambda: autoencoder.examine(lying, store, **told)
    if ready.autoencoder is not None and ready.judge is not None and ready.reader is not None:
        sent = transit.Subject(
            ready.names[1],
            ready.autoencoder,
            *_apart(ready.data, ready.train),
            ready.reader,
            ready.judge,
            plan.seed,
            cost.effort,
        )
        yield "codes in transit", lambda: transit.examine(sent, store, **told)
    if ready.classifier is not None:
        yield from _classifier_jobs(ready, ready.classifier, store, cost, told)


def _apart(data: Dataset, train: Dataset) -> tuple[Dataset, Dataset]:
    """Images to measure on, and others to learn from: a source that draws no line is cut in two."""
    if data.split != "all" or len(data) < 2:
        return data, train
    return data.subset(slice(0, None, 2)), data.subset(slice(1, None, 2))


def _classifier_jobs(
    ready: _Prepared, model: nn.Module, store: Store, cost: Estimate, told: dict[str, Any]
) -> Iterator[tuple[str, Callable[[], Part]]]:
    plan = ready.plan
    bare = classifier.Subject(
        ready.names[0],
        model,
        ready.data,
        radii(plan, ready.data),
        plan.norm,
        plan.seed,
        plan.draws,
    )
    yield (
        "the classifier",
        lambda: classifier.examine(bare, store, surrogate=ready.judge, effort=cost.effort, **told),
    )
    if ready.guard is not None and ready.defended is not None:
        other = replace(
            bare,
            model=ready.defended,
            name=f"{bare.name} behind {ready.guard.name}",
            role="classifier behind the defence",
        )
        climb = defense.Climb(ready.guard, bare, other, cost.effort, cost.surrogate)
        yield "the defence", lambda: defense.examine(climb, store, **told)
    changing = over_stability.Subject(
        bare,
        plan.data,
        ready.train,
        _shortened(ready.svae, cost),
        barred(model),
        cost.effort,
    )
    yield (
        "over-stability",
        lambda: over_stability.examine(changing, store, hindrance=ready.unstable, **told),
    )
    if plan.model is None:
        yield (
            "the spread over training seeds",
            lambda: spread.examine(plan, bare, ready.train, store, **told),
        )


def _shortened(svae: zoo.Recipe | None, cost: Estimate) -> zoo.Recipe | None:
    """The recipe with as many passes as there is time for."""
    if svae is None or cost.learning == 1:
        return svae
    return replace(svae, epochs=svae.epochs * cost.learning) if cost.learning else None
