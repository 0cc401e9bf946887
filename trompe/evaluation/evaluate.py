"""`evaluate`: how a classifier fares under a suite of attacks, measured outside the attacks."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from trompe.attacks.base import Attack
from trompe.core.errors import UserError
from trompe.evaluation.cases import Log, tensor_digest
from trompe.evaluation.inputs import Data, Progress, batches, kind_of, length
from trompe.evaluation.results import Result, summarise
from trompe.evaluation.rounds import Run, Stage

__all__ = ["Result", "Stage", "evaluate"]


def _named(attack: Attack | Sequence[Attack] | Mapping[str, Attack]) -> dict[str, Attack]:
    suite = attack if isinstance(attack, Mapping | Sequence) else [attack]
    attacks = list(suite.values() if isinstance(suite, Mapping) else suite)
    if not attacks:
        raise UserError("the suite holds no attack")
    for each in attacks:
        if not isinstance(each, Attack):
            raise UserError(f"expected attacks, such as PGD(Ball(0.1)), got {kind_of(each)}")
        if getattr(each, "targeted", False):
            raise UserError(f"evaluate judges whether labels are left; {kind_of(each)} is targeted")
    if isinstance(suite, Mapping):
        return dict(suite)
    kinds = [kind_of(each) for each in attacks]
    return {
        kind if kinds.count(kind) == 1 else f"{kind}-{i + 1}": each
        for i, (kind, each) in enumerate(zip(kinds, attacks, strict=True))
    }


def evaluate(
    model: nn.Module,
    attack: Attack | Sequence[Attack] | Mapping[str, Attack],
    data: Data,
    *,
    eps: Sequence[float] | None = None,
    seed: int = 0,
    batch: int = 256,
    draws: int = 20,
    separate: bool = False,
    folder: Path | str | None = None,
    deadline: float | None = None,
    progress: Progress | None = None,
    subject: str = "",
    threat: str = "",
    knows: Mapping[str, str] | None = None,
) -> Result:
    """The accuracy of `model`, clean and in the worst case over a suite of attacks.

    Every attack meets only the examples that still stand; what it returns is clipped to its ball and
    domain and judged anew, also as delivered (8-bit for images). With `eps`, radii are taken in rising
    order, and an example broken at one stays broken at all larger ones. A random model is judged on
    `draws` fresh draws: between attacks by one set of draws, in the report by another.

    With `separate` every attack meets all examples that are right clean, at each radius, and the result
    tells of each alone, in `rungs`: what it would be by itself, at that radius only. The worst case per
    example is then that over all they found.

    Args:
        model: a classifier in eval mode; with a `decide` method it may also reject.
        attack: one attack or a suite.
        data: a `Dataset`, tensors `(x, y)`, or an iterable of such batches; memory does not grow with it.
        eps: radii, in the units of the input, for attacks that have a ball.
        seed: of the examples' random streams, `seeds(seed, index)`.
        batch: examples handed to an attack at once; results do not depend on it.
        draws: looks at a random model.
        separate: measure each attack alone as well; costs more, for none is spared what another broke.
        folder: where cases are kept as they arise; the same call there later resumes.
        deadline: a moment of `time.monotonic()` after which no further batch is begun; the result then
            says that it is not complete.
        progress: called with (examples done, total or None, what is running).
        subject, threat: what was measured and against whom, for the records.
        knows: who uses an attack of the suite, by its name: the threat of its rung.

    Raises:
        UserError: inputs, labels or a model that do not fit.

    >>> from trompe.attacks import FGSM
    >>> from trompe.core.geometry import Ball
    >>> data = torch.rand(4, 1, 1, 3), torch.tensor([0, 1, 2, 0])
    >>> evaluate(nn.Flatten().eval(), FGSM(Ball(0.0)), data).records[0].n
    4
    """
    run = Run(model, _named(attack), _levels(eps), seed, draws, separate)
    log = Log(None if folder is None else Path(folder) / "cases.jsonl", run.mark(batch))
    complete = _fill(log, run, data, batch, deadline, progress, subject)
    about = {"subject": subject, "threat": threat}
    return summarise(run, log, about, knows or {}, complete)


def _fill(
    log: Log,
    run: Run,
    data: Data,
    batch: int,
    deadline: float | None,
    progress: Progress | None,
    subject: str,
) -> bool:
    """Evaluate the batches that the log does not hold. Whether the time sufficed for all."""
    total, count = length(data), 0
    for x, y, index in batches(data, batch):
        mark = "" if log.path is None else tensor_digest(x, y)
        if not log.holds(count, mark):
            if deadline is not None and time.monotonic() > deadline and count:
                return False
            log.keep(count)  # what was kept from here on is of other data
            if progress is not None:
                progress(int(index[0]), total, subject)
            with torch.no_grad():
                log.add(*run.batch(x, y, index), mark)
        count += 1
    log.keep(count)
    return True


def _levels(eps: Sequence[float] | None) -> list[float | None]:
    if eps is None:
        return [None]
    if len(eps) == 0 or any(not e >= 0 for e in eps):
        raise UserError(f"eps must be radii of zero or more, got {list(eps)}")
    return [float(e) for e in sorted(set(eps))]
