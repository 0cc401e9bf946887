"""A judge for a set of images, trained where it is not at hand: `judge_for("mnist", without=("conv4",))`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from torch import nn

from trompe import data, models
from trompe.core import random
from trompe.core.errors import UserError
from trompe.data import Dataset
from trompe.defenses.detectors import ReconstructionError
from trompe.defenses.features import FeatureDistance
from trompe.defenses.guarded import Guarded
from trompe.models.classifiers import Kind
from trompe.models.judge import UNDECIDED, Judge
from trompe.zoo.making import get, parted
from trompe.zoo.recipes import Recipe, judges
from trompe.zoo.store import digest, keep, read_card, weights_path

__all__ = ["FPR", "judge_for"]

FPR = 0.05
"""The share of real images that a judge may take for unreal."""
PROCEDURE = 2  # raised when the same networks would judge otherwise
_USUAL = (
    6_000  # training images whose features are kept, and held-out ones on which thresholds are set
)


def judge_for(
    spec: str,
    *,
    without: Sequence[str] = (),
    fpr: float = FPR,
    root: Path | str | None = None,
    progress: bool = True,
) -> Judge:
    """The judge of a set of images: classifiers of other kinds than the victim's, and a test of realness.

    A residual net, a patch mixer and a vision transformer, each trained from its own seed on its own
    deformations of five sixths of the training images, vote (under 16 pixels a side no transformer, which
    learns too slowly from so few). None is a perceptron, and of these only the residual net is convolutional,
    as the attacker's encoder is; `without` leaves out the victim's kind. An image is real where its features
    lie no farther from those of real ones than usual (for every member) and a dense autoencoder restores it
    as well as usual; "usual" is set on the held-out sixth, so that all tests together refuse at most `fpr`
    of it.

    Its `card()` counts what it makes of test images: "right" and "undecided" of "n", and "taken as real"; of
    data without a split, the held-out sixth.

    Args:
        spec: as for `trompe.data.load`: a name, a file, a folder or a function.
        without: kinds of classifiers that may not judge, as `ClassifierConfig` names them.
        fpr: the share of real images that may be refused.
        root: the cache of trained models.
        progress: show bars while training, if standard error is a terminal.

    Raises:
        UserError: data that a classifier cannot be trained on; an unknown kind; nobody left to judge.
    """
    _check_kinds(without)
    train, test = data.load(spec, "train"), data.load(spec, "test")
    if train.y is None:
        raise UserError(f"{spec} has no labels; a judge learns what images show from them")
    recipes = list(judges(spec, train.shape, len(train.classes), len(train)))
    copier, *nets = [r for r in recipes if getattr(r.model, "kind", "") not in without]
    if not nets:
        raise UserError(f"without {', '.join(without)} nobody is left to judge")
    some, held = parted(train, copier.held_out)
    parts = _assembled(copier, nets, min(_USUAL, len(some)))
    settings = {
        "judge": PROCEDURE,
        "recipes": [recipe.settings() for recipe in (copier, *nets)],
        "fpr": fpr,
        "content": None if data.fixed(spec) else train.checksum,
    }
    name = "".join(c if c.isalnum() else "-" for c in spec).strip("-") + "-judge"

    def fit(folder: Path) -> dict[str, Any]:
        for recipe in (copier, *nets):
            trained = get(recipe, root=root, progress=progress)
            _network(parts, recipe).load_state_dict(trained.state_dict())
        assert held is not None
        _calibrated(parts, some, held, fpr)
        unseen = held if test.split == "all" else test
        return {"metrics": {**_counts(_judge(parts), unseen), "fpr": fpr}}

    keep(name, settings, parts, fit, root=root)
    return _judge(parts, read_card(weights_path(name, digest(settings), root))["metrics"])


def _check_kinds(kinds: Sequence[str]) -> None:
    unknown, known = set(kinds) - set(get_args(Kind)), ", ".join(get_args(Kind))
    if unknown:
        raise UserError(f"without: unknown kind {', '.join(sorted(unknown))}; known are {known}")


def _assembled(copier: Recipe, nets: Sequence[Recipe], size: int) -> nn.ModuleDict:
    """Members inside the detectors that look at their features, and the autoencoder's; nothing is trained."""
    parts: dict[str, nn.Module] = {}
    for recipe in nets:
        member: Any = models.build(recipe.model, seed=recipe.seed)
        width = member.head[-1].in_features
        parts[recipe.model.kind] = FeatureDistance(member, "features", size, width)
    copying = models.build(copier.model, seed=copier.seed)
    parts["autoencoder"] = ReconstructionError(copying, relative=True)
    return nn.ModuleDict(parts).eval()


def _network(parts: nn.ModuleDict, recipe: Recipe) -> nn.Module:
    """Where a recipe's weights belong."""
    detector: Any = parts[getattr(recipe.model, "kind", "autoencoder")]
    network: nn.Module = getattr(detector, "model", None) or detector.autoencoder
    return network


def _calibrated(parts: nn.ModuleDict, train: Dataset, held: Dataset, fpr: float) -> None:
    """Learn what features are usual, and where the unusual begins."""
    for detector in parts.values():
        if isinstance(detector, FeatureDistance):
            detector.fit(_some(train).tensors()[0])
    _guarded(parts).calibrate(_some(held).tensors()[0], fpr)


def _some(examples: Dataset) -> Dataset:
    """As many as are needed, in an order of chance: a set may be sorted by class."""
    return examples.subset(random.seeds(0, len(examples)).argsort()[:_USUAL])


def _guarded(parts: nn.ModuleDict) -> Guarded:
    """The detectors together; they accept or refuse, and classify nothing."""
    return Guarded(nn.Identity().eval(), dict(parts.items()))


def _judge(parts: nn.ModuleDict, card: Mapping[str, Any] | None = None) -> Judge:
    members = {
        kind: part.model for kind, part in parts.items() if isinstance(part, FeatureDistance)
    }
    return Judge(members, _guarded(parts), card=card)


def _counts(judge: Judge, test: Dataset) -> dict[str, int]:
    """What a judge makes of images that nothing of it was trained on."""
    found = {"right": 0, "undecided": 0, "taken as real": 0, "n": len(test)}
    for x, y, _ in test.batches(250):
        verdict = judge(x)
        found["right"] += int((verdict.label == y).sum())
        found["undecided"] += int((verdict.label == UNDECIDED).sum())
        found["taken as real"] += int(verdict.real.sum())
    return found
