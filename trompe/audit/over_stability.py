"""The over-stability part of an audit: does the classifier notice when an image becomes another thing?"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from trompe import zoo
from trompe.attacks.type_one import TypeI
from trompe.audit.classifier import WHITE_BOX, change, fooled, measured, sentence, suite
from trompe.audit.classifier import Subject as Classifier
from trompe.audit.cost import CHANGED, training
from trompe.audit.part import Part, Progress, Store, severity
from trompe.audit.trajectories import trajectories
from trompe.core.errors import UserError
from trompe.core.execution import device_of
from trompe.data import Dataset
from trompe.evaluation.evaluate import Result as Sensitivity
from trompe.evaluation.judge import about_judge
from trompe.evaluation.pairs import CONFIDENT, THREAT
from trompe.evaluation.records import Record
from trompe.evaluation.type_one import Result, over_stability
from trompe.models import check_classifier
from trompe.reports import Block, Finding, Forest, Grid, Metric, Section, Table, metric
from trompe.reports import measured as in_words
from trompe.training import reporting
from trompe.zoo.recipes import judges

__all__ = ["STEPS", "Subject", "examine", "hindrance", "learning"]

STEPS = 250
_ENOUGH = 100  # training images, below which no network learns what they are
_LEAST = 0.2  # of the usual passes, below which a generative model has learned too little
_ABLE = 0.5  # of the images show the class aimed at, below which the attack is to blame
_BATCH = 50
_SHOWN = {
    "over-stability": "all three: another class, real, and the answer stays",
    "judge sees the change": "the judges see the class that was aimed at",
    "victim keeps it at 50%": f"the classifier keeps its answer, at least {CONFIDENT:.0%} confident",
    "changed and kept": "these two, whether the image is real or not",
    "looks real": "the judges take the image for a real one",
}


@dataclass(frozen=True)
class Subject:
    """A classifier whose images are changed, and what is needed for that.

    Args:
        bare: the classifier, as its own part of the audit measures it.
        spec: the data's name, from which judges are trained.
        train: the images that the networks learn from.
        svae: how the generative model is trained; None where there is no time for that.
        without: the classifier's kind of network, so that no judge is of it; empty where it is unknown.
        effort: share of the usual steps.
    """

    bare: Classifier
    spec: str
    train: Dataset
    svae: zoo.Recipe | None
    without: tuple[str, ...] = ()
    effort: float = 1.0

    @property
    def data(self) -> Dataset:
        """The images that are changed."""
        return self.bare.data.take(min(CHANGED, len(self.bare.data)))

    @property
    def attack(self) -> TypeI:
        """The attack, which is still to meet its generative model."""
        return TypeI(steps=max(30, round(STEPS * self.effort)), domain=self.bare.data.domain)


def hindrance(model: nn.Module, data: Dataset, train: Dataset) -> str:
    """Why a classifier's over-stability cannot be measured on such data; empty where it can."""
    classes = len(train.classes)
    if len(data.shape) != 3:
        return "the inputs are no images"
    if train.y is None or len(train.y.unique()) < 2:
        return "the images are of one class"
    if len(train) < _ENOUGH:
        return f"{len(train)} images are too few to learn from what they are"
    x, _ = data.tensors(slice(0, 1))
    outputs = check_classifier(model, x.to(device_of(model, x))).shape[1]
    if outputs != classes:
        return f"the classifier has {outputs} classes and the data {classes}"
    return ""


def learning(
    svae: zoo.Recipe, spec: str, train: Dataset, budget: float | None
) -> tuple[float, float]:
    """What share of the generative model's usual passes a budget holds, and the seconds of all training.

    A third of the budget is for training. The judges are trained in full; a share below a fifth is none.
    What is at hand takes no time.
    """
    own, *others = (
        training(r, train)
        for r in (svae, *judges(spec, train.shape, len(train.classes), len(train)))
    )
    rest = sum(others)
    if budget is None or own + rest <= budget / 3:
        return 1.0, own + rest
    share = (budget / 3 - rest) / own if own else 0.0
    return (share, share * own + rest) if share >= _LEAST else (0.0, 0.0)


def examine(
    subject: Subject,
    store: Store,
    *,
    hindrance: str = "",
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Part:
    """How many images can become another thing while the answer stays, beside those that small changes turn.

    Args:
        subject: the classifier.
        hindrance: why it cannot be measured, if it cannot.
        store, deadline, progress: as for every part.
    """
    name = subject.bare.name
    if subject.svae is None:
        why = hindrance or "the budget holds no time to train the generative model and the judges"
        return Part(untested=[f"Whether {name} is over-stable: {why}."])
    try:
        svae, judge = _networks(subject, subject.svae, progress)
    except UserError as error:
        return Part(untested=[f"Whether {name} is over-stable: {error}"])
    attack = subject.attack.using(svae=svae)
    result = over_stability(
        subject.bare.model,
        attack,
        subject.data,
        judge,
        seed=subject.bare.seed,
        batch=_BATCH,
        folder=store.place("over-stability"),
        deadline=deadline,
        progress=None if progress is None else partial(_told, progress, name),
        subject=name,
    )
    bare = subject.bare
    suited = suite(bare.ball, bare.data.domain, subject.effort)
    sensitivity = measured(bare, suited, store, "classifier", WHITE_BOX, progress, deadline)
    ability = _ability(judge, subject.bare.seed)
    part = Part(complete=result.complete, records=[*result.records, ability])
    part.metrics.append(metric(ability, "judges of over-stability: clean accuracy"))
    part.findings.append(_finding(subject, result, sensitivity, judge))
    part.untested += [
        f"Whether people agree that what {name} did not notice became another thing: "
        "classifiers judged, not people.",
        f"Changes of what {name} sees that this audit's generative model cannot make, or to classes other "
        "than the next.",
        *_kinship(subject),
    ]
    if result.eligible:
        rate = metric(result.records[0], f"{subject.bare.role}: over-stability rate", "lower")
        part.metrics.append(rate)
        part.sections.append(_section(subject, result, sensitivity, attack, judge))
    return part


def _kinship(subject: Subject) -> list[str]:
    """How the judges may be nearer to the classifier, or to the images, than judges should be."""
    name, found = subject.bare.name, []
    if not subject.without:
        found.append(
            f"Whether a judge is of {name}'s own kind of network and errs as it does: its kind is unknown."
        )
    if subject.train.split == "all":
        found.append(
            f"Over-stability on images that were not learned from: {subject.spec} has no test images of its "
            "own, so the generative model and the judges were trained on those that were changed."
        )
    return found


def _told(progress: Progress, name: str, done: int, total: int | None, text: str) -> None:
    progress(done, total, f"{name}: over-stability")


def _networks(
    subject: Subject, recipe: zoo.Recipe, progress: Progress | None
) -> tuple[nn.Module, nn.Module]:
    """The generative model and the judge, trained where they are not at hand."""
    x, _ = subject.data.tensors(slice(0, 1))
    device = device_of(subject.bare.model, x)
    with reporting(progress):
        svae = zoo.get(recipe)
        judge = zoo.judge_for(subject.spec, without=subject.without)
    return svae.to(device), judge.to(device)


def _ability(judge: Any, seed: int) -> Record:
    """How often the judges are right on clean images that none of them learned from."""
    card = judge.card()
    about = {"subject": "judges", "seed": seed, "config": {"judge": about_judge(judge)}}
    return Record.rate("clean accuracy", card["right"], card["n"], **about)


def _finding(
    subject: Subject, result: Result, sensitivity: Sensitivity, judge: nn.Module
) -> Finding:
    name = subject.bare.name
    rate = result.records[0]
    if not result.eligible:
        head = f"Whether {name} is over-stable cannot be said: it and the judges agree on no image's class."
        return Finding("info", head, "", THREAT)
    head = (
        f"{rate.value:.0%} of the images that {name} reads rightly could be made another class's without its "
        "answer changing."
    )
    steps = subject.attack.steps
    detail = (
        f"{_compared(subject, rate, sensitivity)} That the image changed, and is still one, is "
        f"{about_judge(judge)}. The rate is what {steps} steps with one generative model find, and so the "
        f"least that it can be.{_doubt(result)}"
    )
    told = in_words(metric(rate, "over-stability", "lower"))
    return Finding(severity(rate.value), head, detail, THREAT, told)


def _doubt(result: Result) -> str:
    """What to think of a low rate where the attack seldom changed what an image is."""
    seen = next(record for record in result.records if record.metric == "judge sees the change")
    if seen.value >= _ABLE:
        return ""
    return (
        f" The judges see the class that was aimed at in {seen.value:.0%} of the changed images: a low rate "
        "says more of the attack here than of the classifier."
    )


def _compared(subject: Subject, stable: Record, sensitivity: Sensitivity) -> str:
    """One sentence: is it its answers that change too easily, or those that do not?"""
    sensitive = fooled(subject.bare, sensitivity)
    small = change(subject.bare.norm, subject.bare.ball.eps)
    assert stable.low is not None
    assert stable.high is not None
    if not sensitive.n or sensitive.low is None or sensitive.high is None:
        return f"No small change was measured beside it, as {subject.bare.name} reads no image rightly."
    name = sentence(subject.bare.name)
    if sensitive.low > stable.high:
        verdict = f"{name} is more over-sensitive than over-stable"
    elif stable.low > sensitive.high:
        verdict = f"{name} is more over-stable than over-sensitive"
    else:
        verdict = f"{name} is about as over-stable as it is over-sensitive"
    return (
        f"{verdict}: {small} turns its answer on {sensitive.value:.0%} of images, and a change of what they "
        f"show leaves it in place on {stable.value:.0%}."
    )


def _section(
    subject: Subject, result: Result, sensitivity: Sensitivity, attack: TypeI, judge: nn.Module
) -> Section:
    name = subject.bare.name
    text = (
        "A classifier errs in two ways. It is over-sensitive where a small change that nobody sees turns its "
        "answer, which radii measure. It is over-stable where an image becomes another thing and the answer "
        f"stays. Here {attack.steps} steps in the codes of a generative model, a supervised VAE, led images "
        f"towards the next class while {name} was held to its answer (a Type I attack, Tang et al. 2019). Of "
        f"{result.asked} images {result.eligible} count, which {name} and the judges read rightly before. "
        f"What came of them was {about_judge(judge)}; detectors said whether it still is such an image."
    )
    blocks: list[Block] = [
        _both(subject, result, sensitivity),
        _conditions(result),
        _worst(subject, result, attack),
    ]
    return Section(f"Does {name} notice when an image changes?", text, tuple(blocks), THREAT)


def _both(subject: Subject, result: Result, sensitivity: Sensitivity) -> Forest:
    """Over-sensitivity at each radius and over-stability on one axis."""
    bare = subject.bare
    rows: list[tuple[str, tuple[Metric | None, ...]]] = []
    for level, eps in enumerate(bare.eps):
        label = f"over-sensitive: {bare.norm} {eps:.3g}"
        rows.append((label, (metric(fooled(bare, sensitivity, level), label, "lower"),)))
    stable = metric(result.records[0], "over-stable: another class", "lower")
    return Forest(
        "Over-sensitive and over-stable",
        "share of images read rightly before",
        (bare.name,),
        (*rows, (stable.name, (stable,))),
        percent=True,
        note="Above, the share whose class is lost to a small change; below, the share that became another "
        "class unnoticed. Wilson 95% intervals.",
        threat=f"{WHITE_BOX} {THREAT}",
    )


def _conditions(result: Result) -> Table:
    """What success asks for, one condition at a time."""
    found = {record.metric: record for record in result.records}
    rows = [(words, *_share(found[name]), found[name].n) for name, words in _SHOWN.items()]
    first = result.records[0]
    saved = first.extra["as 8-bit files"]
    note = f"Saved as 8-bit files, all three hold for {saved:.1%}. Wilson 95% intervals."
    return Table(
        "What the changed images are", ("condition", "share", "interval", "n"), tuple(rows), note
    )


def _share(record: Record) -> tuple[str, str]:
    assert record.low is not None
    assert record.high is not None
    return f"{record.value:.1%}", f"{record.low:.1%} to {record.high:.1%}"


def _worst(subject: Subject, result: Result, attack: TypeI, most: int = 6) -> Grid:
    """The successes in which classifier and judges are surest, with the way that each image went."""
    chosen = [result.pairs[place] for place in result.worst(most)]
    if not chosen:
        return Grid("Changed while the answer stays", ("image",), (), note="No image was.")
    x, y = subject.data.tensors([pair.index for pair in chosen])
    device = device_of(subject.bare.model, x)
    assert y is not None
    names = subject.data.classes
    return trajectories(
        subject.bare.model,
        attack,
        x.to(device),
        y.to(device),
        subject.data,
        index=[pair.index for pair in chosen],
        seed=subject.bare.seed,
        labels=[f"{names[pair.label]} to {names[pair.found.judged]}" for pair in chosen],
    )
