"""A judge for a set of images, trained where it is not at hand: `judge_for("mnist", without=("conv4",))`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from trompe import data, models
from trompe.core.errors import UserError
from trompe.data import Dataset
from trompe.defenses.detectors import ReconstructionError
from trompe.defenses.features import FeatureDistance
from trompe.defenses.guarded import Guarded
from trompe.models.judge import UNDECIDED, Judge
from trompe.zoo.making import get, parted
from trompe.zoo.recipes import Recipe, judges
from trompe.zoo.store import digest, keep, read_card, weights_path

__all__ = ["FPR", "judge_for"]

FPR = 0.05
"""The share of real images that a judge may take for unreal."""
PROCEDURE = 1  # raised when the same networks would judge otherwise
_FIT = 10_000  # training images from which the usual features are learned


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
    deformations of five sixths of the training images, vote. None is convolutional as the attacker's
    encoder is, or a perceptron; `without` leaves out the victim's kind. An image is real where its features
    lie no farther from a class than usual (for every member) and a dense autoencoder restores it as well as
    usual; "usual" is set on the held-out sixth, so that all tests together refuse at most `fpr` of it.

    Its `card()` counts what it makes of test images: "right" and "undecided" of "n", and "taken as real"; of
    data without a split, the held-out sixth.

    Args:
        spec: as for `trompe.data.load`: a name, a file, a folder or a function.
        without: kinds of classifiers that may not judge (`"resnet"`, `"mixer"`, `"transformer"`).
        fpr: the share of real images that may be refused.
        root: the cache of trained models.
        progress: show bars while training, if standard error is a terminal.

    Raises:
        UserError: data that a classifier cannot be trained on; nobody left to judge.
    """
    train, test = data.load(spec, "train"), data.load(spec, "test")
    if train.y is None:
        raise UserError(f"{spec} has no labels; a judge learns what images show from them")
    recipes = list(judges(spec, train.shape, len(train.classes), len(train)))
    copier, *nets = [r for r in recipes if getattr(r.model, "kind", "") not in without]
    if not nets:
        raise UserError(f"without {', '.join(without)} nobody is left to judge")
    parts = _assembled(copier, nets)
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
        rest, held = parted(train, copier.held_out)
        _calibrated(parts, rest, held, fpr)
        unseen = held if test.split == "all" and held is not None else test
        return {"metrics": {**_counts(_judge(parts), unseen), "fpr": fpr}}

    keep(name, settings, parts, fit, root=root)
    return _judge(parts, read_card(weights_path(name, digest(settings), root))["metrics"])


def _assembled(copier: Recipe, nets: Sequence[Recipe]) -> nn.ModuleDict:
    """Members inside the detectors that look at their features, and the autoencoder's; nothing is trained."""
    parts: dict[str, nn.Module] = {}
    for recipe in nets:
        member: Any = models.build(recipe.model, seed=recipe.seed)
        width = member.head[-1].in_features
        parts[recipe.model.kind] = FeatureDistance(member, "features", recipe.model.classes, width)
    parts["autoencoder"] = ReconstructionError(models.build(copier.model, seed=copier.seed))
    return nn.ModuleDict(parts).eval()


def _network(parts: nn.ModuleDict, recipe: Recipe) -> nn.Module:
    """Where a recipe's weights belong."""
    detector: Any = parts[getattr(recipe.model, "kind", "autoencoder")]
    network: nn.Module = getattr(detector, "model", None) or detector.autoencoder
    return network


def _calibrated(parts: nn.ModuleDict, train: Dataset, held: Dataset | None, fpr: float) -> None:
    """Learn what features are usual, and where the unusual begins."""
    assert held is not None
    x, y = train.take(_FIT).tensors()
    assert y is not None
    for detector in parts.values():
        if isinstance(detector, FeatureDistance):
            detector.fit(x, y)
    _guarded(parts).calibrate(held.take(_FIT).tensors()[0], fpr)


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
