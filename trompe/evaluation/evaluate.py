"""`evaluate`: how a classifier fares under a suite of attacks, measured outside the attacks."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trompe.attacks.base import Attack
from trompe.core import random
from trompe.core.checks import check_labels
from trompe.core.errors import UserError
from trompe.core.execution import device_of, metered, policy
from trompe.core.protocols import Domain
from trompe.evaluation.cases import Case, Log, fingerprint, tensor_digest, weights_digest
from trompe.evaluation.inputs import Data, Progress, admit, batches, clipped, kind_of, length
from trompe.evaluation.outcomes import (
    REPORT,
    SELECT,
    Nature,
    Outcomes,
    nature,
    outcomes,
)
from trompe.evaluation.records import Record

__all__ = ["Result", "Stage", "evaluate"]


@dataclass
class Stage:
    """What one attack of the suite did at one radius: it met the examples that still stood.

    `broken` counts those that it left more often wrong than not, and had found otherwise.
    """

    attack: str
    eps: float | None
    tested: int = 0
    broken: int = 0
    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Stage") -> "Stage":
        counts = ("tested", "broken", "forwards", "backwards", "seconds")
        return Stage(self.attack, self.eps, *(getattr(self, c) + getattr(other, c) for c in counts))


@dataclass(frozen=True)
class Result:
    """What `evaluate` found: records to publish, cases to look at, and the cost of each stage."""

    records: tuple[Record, ...]
    cases: tuple[Case, ...] = field(repr=False)
    stages: tuple[Stage, ...] = field(repr=False)
    complete: bool = True

    @property
    def clean_accuracy(self) -> float:
        """Share of clean inputs that are classified correctly and accepted."""
        return self.records[0].value

    @property
    def robust_accuracy(self) -> float:
        """Share still correct at the largest radius, in the worst case over the suite."""
        return self.records[-1].value

    def __str__(self) -> str:
        return "\n".join(
            f"{r.metric}{'' if r.eps is None else f' at {r.norm} {r.eps:.4g}'}: {r.value:.3f} "
            f"[{r.low:.3f}, {r.high:.3f}], n = {r.n}"
            for r in self.records
            if r.low is not None and r.high is not None
        )


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
    folder: Path | str | None = None,
    deadline: float | None = None,
    progress: Progress | None = None,
    subject: str = "",
    threat: str = "",
) -> Result:
    """The accuracy of `model`, clean and in the worst case over a suite of attacks.

    Every attack meets only the examples that still stand; what it returns is clipped to its ball and
    domain and judged anew, also as delivered (8-bit for images). With `eps`, radii are taken in rising
    order, and an example broken at one stays broken at all larger ones. A random model is judged on
    `draws` fresh draws: between attacks by one set of draws, in the report by another.

    Args:
        model: a classifier in eval mode; with a `decide` method it may also reject.
        attack: one attack or a suite.
        data: a `Dataset`, tensors `(x, y)`, or an iterable of such batches; memory does not grow with it.
        eps: radii, in the units of the input, for attacks that have a ball.
        seed: of the examples' random streams, `seeds(seed, index)`.
        batch: examples handed to an attack at once; results do not depend on it.
        draws: looks at a random model.
        folder: where cases are kept as they arise; the same call there later resumes.
        deadline: a moment of `time.monotonic()` after which no further batch is begun; the result then
            says that it is not complete.
        progress: called with (examples done, total or None, what is running).
        subject, threat: what was measured and against whom, for the records.

    Raises:
        UserError: inputs, labels or a model that do not fit.

    >>> from trompe.attacks import FGSM
    >>> from trompe.core.geometry import Ball
    >>> data = torch.rand(4, 1, 1, 3), torch.tensor([0, 1, 2, 0])
    >>> evaluate(nn.Flatten().eval(), FGSM(Ball(0.0)), data).records[0].n
    4
    """
    run = _Run(model, _named(attack), _levels(eps), seed, draws)
    log = Log(None if folder is None else Path(folder) / "cases.jsonl", run.mark(batch))
    complete = _fill(log, run, data, batch, deadline, progress, subject)
    return _result(run, log, {"subject": subject, "threat": threat}, complete)


def _fill(
    log: Log,
    run: "_Run",
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


@dataclass
class _Run:
    """One evaluation: what stays the same between its batches."""

    model: nn.Module
    suite: dict[str, Attack]
    levels: list[float | None]
    seed: int
    draws: int
    kind: Nature | None = None
    classes: int = 0

    def mark(self, batch: int) -> str:
        """A hash of everything but the data that the outcomes depend on."""
        networks = {k: [weights_digest(n) for n in _networks(a)] for k, a in self.suite.items()}
        return fingerprint(
            model=weights_digest(self.model), suite={k: str(a) for k, a in self.suite.items()},
            networks=networks, levels=self.levels, seed=self.seed, draws=self.draws, batch=batch,
            policy=str(policy()),
        )  # fmt: skip

    def batch(self, x: Tensor, y: Tensor, index: Tensor) -> tuple[list[Case], list[dict[str, Any]]]:
        """The cases of one batch, and what its stages cost."""
        domain = next(iter(self.suite.values())).domain
        domain.validate(x)
        device = device_of(self.model, x)
        x, y = x.to(device), y.to(device)
        seeds = random.seeds(self.seed, index).to(device)
        if self.kind is None:
            self.classes = admit(self.model, x, y, seeds)
            self.kind = nature(self.model, x[:8], seeds[:8])
        y = check_labels(y, len(x), self.classes)
        state = _State.fresh(self, x, y, seeds)
        stages: list[Stage] = []
        for level, eps in enumerate(self.levels):
            for name, attack in self.suite.items():
                stage = Stage(name, self._radius(attack, eps))
                state.attacked(self, name, attack if eps is None else attack.at(eps), level, stage)
                stages.append(stage)
            state.close(run=self, domain=domain)
        return state.cases(index), [asdict(stage) for stage in stages]

    def looks(self) -> int:
        """How often an input is judged."""
        return self.draws if self.kind is not None and self.kind.random else 1

    def _radius(self, attack: Attack, eps: float | None) -> float | None:
        return getattr(getattr(attack, "ball", None), "eps", None) if eps is None else eps


def _networks(attack: Attack) -> list[nn.Module]:
    """What was handed to an attack, and to the one inside it, by `using`."""
    inside = getattr(attack, "attack", None)
    deeper = _networks(inside) if isinstance(inside, Attack) else []
    return [*attack._networks.values(), *deeper]


@dataclass
class _State:
    """The examples of a batch: the worst input found for each so far."""

    x: Tensor
    y: Tensor
    seeds: Tensor
    worst: Tensor
    share: Tensor
    clean: Outcomes
    level: Tensor
    by: list[str]
    shares: list[Tensor] = field(default_factory=list)
    norms: list[list[dict[str, float]]] = field(default_factory=list)

    @classmethod
    def fresh(cls, run: _Run, x: Tensor, y: Tensor, seeds: Tensor) -> "_State":
        clean = outcomes(run.model, x, y, seeds, REPORT, run.looks())
        start = (
            outcomes(run.model, x, y, seeds, SELECT, run.looks()).wrong
            if run.looks() > 1
            else clean.wrong
        )
        nowhere = torch.full((len(x),), -1, device=x.device)
        return cls(x, y, seeds, x, start, clean, nowhere, [""] * len(x))

    def attacked(self, run: _Run, name: str, attack: Attack, level: int, stage: Stage) -> None:
        """Let one attack try the examples that still stand; keep what is worse than all before."""
        rows = ((self.share < 1) & (self.clean.rejected < 1)).nonzero()[:, 0]
        stage.tested = len(rows)
        if len(rows) == 0:
            return
        x, y, seeds = self.x[rows], self.y[rows], self.seeds[rows]
        start = time.perf_counter()
        with metered() as cost:
            found = clipped(attack, x, attack(run.model, x, y, seeds=seeds))
        stage.seconds, stage.forwards, stage.backwards = (
            time.perf_counter() - start,
            cost.forwards,
            cost.backwards,
        )
        share = outcomes(run.model, found, y, seeds, SELECT, run.looks()).wrong
        worse = share > self.share[rows]
        stage.broken = int(((share > 0.5) & (self.share[rows] <= 0.5)).sum())
        took = rows[worse]
        self.worst = self.worst.index_copy(0, took, found[worse])
        self.share = self.share.index_copy(0, took, share[worse])
        self.level[took] = torch.where(self.level[took] < 0, level, self.level[took])
        for row in took.tolist():
            self.by[row] = name

    def close(self, run: _Run, domain: Domain) -> None:
        """End a radius: judge the worst inputs anew, on draws that chose nothing."""
        after = outcomes(run.model, self.worst, self.y, self.seeds, REPORT, run.looks())
        shown = domain.as_delivered(self.worst)
        delivered = outcomes(run.model, shown, self.y, self.seeds, REPORT, run.looks()).wrong
        columns = (after.correct, after.wrong, after.rejected, delivered, after.ever.float())
        self.shares.append(torch.stack(columns, 1))
        found = {k: v.tolist() for k, v in domain.distances(self.x, self.worst).items()}
        rows = range(len(self.x))
        self.norms.append([{k: v[i] for k, v in found.items()} if self.by[i] else {} for i in rows])

    def cases(self, index: Tensor) -> list[Case]:
        """The batch as plain rows."""
        columns = (
            index.tolist(),
            self.y.tolist(),
            self.clean.correct.tolist(),
            self.clean.wrong.tolist(),
            self.level.tolist(),
            self.by,
            torch.stack(self.shares, 1).tolist(),
            map(list, zip(*self.norms, strict=True)),
        )
        return [Case(*row) for row in zip(*columns, strict=True)]


def _result(run: _Run, log: Log, about: dict[str, Any], complete: bool) -> Result:
    cases = log.cases
    stages: dict[tuple[str, float | None], Stage] = {}
    for row in (row for batch in log.batches for row in batch["stages"]):
        stage = Stage(**row)
        key = (stage.attack, stage.eps)
        stages[key] = stages[key] + stage if key in stages else stage
    common = {
        **about,
        "config": {"suite": {k: a.describe() for k, a in run.suite.items()}, "draws": run.draws},
        "seed": run.seed,
    }
    clean = Record.rate("clean accuracy", sum(c.clean for c in cases), len(cases), **common)
    spent = list(stages.values())
    robust = [
        _robust(run, cases, level, [s for s in spent if eps is None or s.eps == eps], common)
        for level, eps in enumerate(run.levels)
    ]
    return Result((clean, *robust), tuple(cases), tuple(spent), complete)


def _robust(
    run: _Run, cases: list[Case], level: int, spent: list[Stage], common: dict[str, Any]
) -> Record:
    """Accuracy in the worst case over the suite at one radius, with all three outcomes counted."""
    correct, wrong, rejected, delivered, ever = map(
        sum, zip(*(c.shares[level] for c in cases), strict=True)
    )
    fell = [c for c in cases if c.clean > 0.5 and c.shares[level][1] > 0.5]
    broken = [c.distances[level] for c in fell if c.distances[level]]
    means = {
        f"mean {k}": sum(d[k] for d in broken) / len(broken) for k in (broken[0] if broken else {})
    }
    radii = {s.eps for s in spent}
    extra = {
        "wrong": wrong / len(cases),
        "rejected": rejected / len(cases),
        "wrong when delivered": delivered / len(cases),
        "wrong on any draw": ever / len(cases),
        "attacked": sum(s.tested for s in spent),
        "broken": len(broken),
        **means,
    }
    return Record.rate(
        "robust accuracy",
        correct,
        len(cases),
        **{**common, "extra": extra},
        attack=" + ".join(run.suite),
        eps=radii.pop() if len(radii) == 1 else None,
        norm=getattr(getattr(next(iter(run.suite.values())), "ball", None), "norm", ""),
        counts=_whole({"correct": correct, "wrong": wrong, "rejected": rejected}, len(cases)),
        seconds=sum(s.seconds for s in spent),
        forwards=sum(s.forwards for s in spent),
        backwards=sum(s.backwards for s in spent),
    )


def _whole(shares: Mapping[str, float], n: int) -> dict[str, int]:
    """Whole numbers that sum to n: the largest remainders are rounded up."""
    counts = {name: math.floor(share + 1e-6) for name, share in shares.items()}
    for name in sorted(shares, key=lambda k: counts[k] - shares[k])[: n - sum(counts.values())]:
        counts[name] += 1
    return counts
