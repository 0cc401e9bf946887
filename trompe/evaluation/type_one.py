"""Over-stability: how often an image becomes another thing while the classifier's answer stays.

The number beside robust accuracy that is seldom reported: a classifier may be too sensitive (small changes
turn its answer) and too stable (large ones do not). `trompe.evaluation.pairs` says what counts.
"""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trompe.attacks.base import Attack
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import device_of, metered, policy
from trompe.evaluation.cases import Log, fingerprint, tensor_digest, weights_digest
from trompe.evaluation.inputs import Data, Progress, admit, batches, clipped, length
from trompe.evaluation.judge import about_judge
from trompe.evaluation.pairs import Look, Pair, eligible, judged_pairs, stability, there
from trompe.evaluation.records import Record, replace_file

__all__ = ["Look", "Pair", "Result", "eligible", "judged_pairs", "over_stability", "stability"]


@dataclass(frozen=True)
class Result:
    """What `over_stability` found.

    Args:
        records: the success rate first, then each condition's own.
        pairs: what happened to each eligible example.
        asked: how many examples were looked at.
        eligible: how many of them victim and judge both read correctly, and are not of the target already.
        complete: whether the time sufficed for all.
        images: originals and what became of them, `(eligible, 2, C, H, W)`, 8-bit.
    """

    records: tuple[Record, ...]
    pairs: tuple[Pair, ...] = field(repr=False)
    asked: int
    eligible: int
    complete: bool = True
    images: Tensor | None = field(default=None, repr=False)

    @property
    def rate(self) -> float:
        """The share of eligible examples on which the attack succeeded."""
        return self.records[0].value

    def worst(self, n: int) -> list[int]:
        """Places among the pairs of the n successes in which victim and judge are surest."""
        won = [i for i, pair in enumerate(self.pairs) if pair.success(pair.found)]
        looks = [pair.found for pair in self.pairs]
        return sorted(won, key=lambda i: -looks[i].confidence * looks[i].sure)[:n]


def over_stability(
    victim: nn.Module,
    attack: Attack,
    data: Data,
    judge: nn.Module,
    *,
    seed: int = 0,
    batch: int = 250,
    folder: Path | str | None = None,
    deadline: float | None = None,
    progress: Progress | None = None,
    subject: str = "",
) -> Result:
    """How often a Type I attack changes what an image is while the victim's answer stays.

    Args:
        victim: a classifier in eval mode.
        attack: a Type I attack, bound to its networks; one with `targets` aims at those classes.
        data: a `Dataset`, tensors `(x, y)`, or an iterable of such batches.
        judge: `judge(x) -> Verdict`, which is not the attacker; see `zoo.judge_for`.
        seed: of the examples' random streams.
        batch: examples looked at together; those that count of them are attacked at once.
        folder: where pairs and images are kept as they arise; the same call there later resumes.
        deadline: a moment of `time.monotonic()` after which no further batch is begun.
        progress: called with (examples done, total or None, what is running).
        subject: the victim's name, for the records.

    Raises:
        UserError: inputs, labels or a model that do not fit.
    """
    run = _Run(victim, attack, judge, seed)
    log = Log(None if folder is None else Path(folder) / "pairs.jsonl", run.mark(batch))
    place = None if folder is None else Path(folder)
    images, complete, count = [], True, 0
    for x, y, index in batches(data, batch):
        mark = tensor_digest(x, y)
        file = None if place is None else place / f"pairs-{count:04d}.npz"
        if not log.holds(count, mark) or (file is not None and not file.exists()):
            if deadline is not None and time.monotonic() > deadline and count:
                complete = False
                break
            if progress is not None:
                progress(int(index[0]), length(data), subject)
            pairs, cost, shown = run.batch(x, y, index)
            _write(file, shown)
            log.keep(count).add(pairs, [cost], mark)  # type: ignore[arg-type]
        else:
            shown = _read(file)
        images.append(shown)
        count += 1
    log.keep(count)
    return _result(run, log, subject, complete, images)


@dataclass
class _Run:
    """One evaluation: what stays the same between its batches."""

    victim: nn.Module
    attack: Attack
    judge: nn.Module
    seed: int
    known: bool = False

    def mark(self, batch: int) -> str:
        """A hash of everything but the data that the outcomes depend on."""
        networks = {k: weights_digest(n) for k, n in self.attack._networks.items()}
        return fingerprint(
            victim=weights_digest(self.victim), attack=str(self.attack), networks=networks,
            judge=weights_digest(self.judge), seed=self.seed, batch=batch, policy=str(policy()),
        )  # fmt: skip

    def batch(
        self, x: Tensor, y: Tensor, index: Tensor
    ) -> tuple[list[Pair], dict[str, Any], Tensor]:
        """The pairs of one batch, what they cost, and their images."""
        domain = self.attack.domain
        domain.validate(x)
        device = device_of(self.victim, x)
        x, y = x.to(device), y.to(device)
        seeds = random.seeds(self.seed, index).to(device)
        if not self.known:
            admit(self.victim, x, y, seeds)
            self.known = True
        right = eligible(self.victim, self.judge, x, y, seeds)
        both = right["victim"] & right["judge"]
        already = both & there(self.attack, y)
        rows = (both & ~already).nonzero()[:, 0]
        cost: dict[str, Any] = {
            "asked": len(x),
            **{name: int((~good).sum()) for name, good in right.items()},
            "already": int(already.sum()),
        }
        if len(rows) == 0:
            return [], cost, torch.empty(0, 2, *x.shape[1:], dtype=torch.uint8)
        x, y, seeds = x[rows], y[rows], seeds[rows]
        start = time.perf_counter()
        with metered() as spent:
            found = clipped(self.attack, x, self.attack(self.victim, x, y, seeds=seeds))
        cost["seconds"] = round(time.perf_counter() - start, 3)
        cost |= {"forwards": spent.forwards, "backwards": spent.backwards}
        aims = getattr(self.attack, "targets", None)
        target = None if aims is None else aims(self.victim, x, y, seeds)
        told: dict[str, Any] = {"index": index[rows.cpu()], "seeds": seeds, "domain": domain}
        pairs = judged_pairs(self.victim, self.judge, x, found, y, target, **told)
        shown = torch.stack([x, domain.as_delivered(found)], 1)
        return pairs, cost, (shown * 255).round().to(torch.uint8).cpu()


def _write(file: Path | None, images: Tensor) -> None:
    if file is not None:
        held = io.BytesIO()
        np.savez_compressed(held, images=images.numpy())
        replace_file(file, held.getvalue())


def _read(file: Path | None) -> Tensor:
    assert file is not None
    try:
        with np.load(file, allow_pickle=False) as held:
            return torch.from_numpy(held["images"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot read {file}: {error}; delete it to go on") from None


def _result(run: _Run, log: Log, subject: str, complete: bool, images: Sequence[Tensor]) -> Result:
    rows = [row for batch in log.batches for row in batch["cases"]]
    costs = [row for batch in log.batches for row in batch["stages"]]
    pairs = [
        Pair(**{**row, "found": Look(**row["found"]), "delivered": Look(**row["delivered"])})
        for row in rows
    ]

    def total(name: str) -> Any:
        return sum(cost.get(name, 0) for cost in costs)

    extra = {
        "asked": total("asked"),
        "victim erred": total("victim"),
        "judge erred": total("judge"),
        "of the target already": total("already"),
    }
    records = stability(
        pairs,
        subject=subject,
        attack=str(run.attack),
        extra=extra,
        config={"attack": run.attack.describe(), "judge": about_judge(run.judge)},
        seed=run.seed,
        seconds=round(total("seconds"), 3),
        forwards=total("forwards"),
        backwards=total("backwards"),
    )
    whole = torch.cat(list(images)) if images else None
    return Result(tuple(records), tuple(pairs), total("asked"), len(pairs), complete, whole)
