"""What an evaluation found: accuracy in the worst case and under each attack alone, as records."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trompe.core.errors import UserError
from trompe.evaluation.cases import Case, Log
from trompe.evaluation.records import Record
from trompe.evaluation.rounds import Run, Stage

__all__ = ["Result", "any_of_k", "summarise"]


@dataclass(frozen=True)
class Result:
    """What `evaluate` found: records to publish, cases to look at, and the cost of each stage.

    Args:
        records: clean accuracy, then the worst case over the suite at each radius.
        rungs: with `separate`, the accuracy under each attack alone, radius by radius.
    """

    records: tuple[Record, ...]
    cases: tuple[Case, ...] = field(repr=False)
    stages: tuple[Stage, ...] = field(repr=False)
    complete: bool = True
    rungs: tuple[Record, ...] = ()

    @property
    def clean_accuracy(self) -> float:
        """Share of clean inputs that are classified correctly and accepted."""
        return self.records[0].value

    @property
    def robust_accuracy(self) -> float:
        """Share still correct at the largest radius, in the worst case over the suite."""
        return self.records[-1].value

    @property
    def worst_rung(self) -> Record:
        """The attack that by itself leaves least standing at the largest radius; the first of equals.

        Raises:
            UserError: attacks were not measured alone.
        """
        if not self.rungs:
            raise UserError("attacks were not measured alone; evaluate(..., separate=True) does so")
        return min(self.rungs[-len({r.attack for r in self.rungs}) :], key=lambda r: r.value)

    def standing(self, *attacks: str, level: int = -1) -> Tensor:
        """How often each example is still right under some of the attacks, `(n,)`: its share of draws.

        With several attacks, each example meets the worst of what they found up to that radius, chosen by
        draws that are not reported. `Record.difference` compares two such columns, example by example.

        Args:
            attacks: names from the suite, measured alone; by default the worst case over all.
            level: place of the radius in rising order.

        Raises:
            UserError: an attack that was not measured alone.
        """
        if not attacks:
            return torch.tensor([case.shares[level][0] for case in self.cases])
        known = self.cases[0].alone
        for name in attacks:
            if name not in known:
                names = ", ".join(known) or "none: evaluate(..., separate=True) does so"
                raise UserError(f"{name!r} was not measured alone; measured were {names}")
        last = level % len(self.cases[0].shares)
        met = ([row for a in attacks for row in c.alone[a][: last + 1]] for c in self.cases)
        return torch.tensor([max(rows, key=lambda row: row[-1])[0] for rows in met])

    def __str__(self) -> str:
        return "\n".join(
            f"{r.metric}{'' if r.eps is None else f' at {r.norm} {r.eps:.4g}'}: {r.value:.3f} "
            f"[{r.low:.3f}, {r.high:.3f}], n = {r.n}"
            for r in self.records
            if r.low is not None and r.high is not None
        )


def summarise(
    run: Run, log: Log, about: Mapping[str, Any], knows: Mapping[str, str], complete: bool
) -> Result:
    """The result of what a log holds.

    Args:
        about: fields of all records.
        knows: the threat of an attack's rung, by its name.
    """
    cases = log.cases
    stages: dict[tuple[str, float | None], Stage] = {}
    for row in (row for batch in log.batches for row in batch["stages"]):
        stage = Stage(**row)
        key = (stage.attack, stage.eps)
        stages[key] = stages[key] + stage if key in stages else stage
    common = {**about, "config": _config(run, list(run.suite)), "seed": run.seed}
    clean = Record.rate("clean accuracy", sum(c.clean for c in cases), len(cases), **common)
    spent = list(stages.values())
    robust, rungs = [], []
    for level, eps in enumerate(run.levels):
        here = [s for s in spent if eps is None or s.eps == eps]
        robust.append(_worst(run, cases, level, here, common))
        if run.separate:
            rungs += [_rung(run, cases, level, stage, common, knows) for stage in here]
    return Result((clean, *robust), tuple(cases), tuple(spent), complete, tuple(rungs))


def _config(run: Run, names: Sequence[str]) -> dict[str, Any]:
    return {"suite": {k: run.suite[k].describe() for k in names}, "draws": run.draws}


def _worst(
    run: Run, cases: list[Case], level: int, spent: list[Stage], common: Mapping[str, Any]
) -> Record:
    """Accuracy in the worst case over the suite at one radius."""
    fell = [c for c in cases if c.clean > 0.5 and c.shares[level][1] > 0.5]
    broken = [c.distances[level] for c in fell if c.distances[level]]
    means = {
        f"mean {k}": sum(d[k] for d in broken) / len(broken) for k in (broken[0] if broken else {})
    }
    return _accuracy(
        [c.shares[level] for c in cases],
        spent,
        {"broken": len(broken), **means},
        **common,
        attack=" + ".join(run.suite),
        norm=_norm(run, next(iter(run.suite))),
    )


def _rung(
    run: Run,
    cases: list[Case],
    level: int,
    stage: Stage,
    common: Mapping[str, Any],
    knows: Mapping[str, str],
) -> Record:
    """Accuracy under one attack alone at one radius."""
    name = stage.attack
    fields = {
        **common,
        "config": _config(run, [name]),
        "threat": knows.get(name, common.get("threat", "")),
    }
    rows = [c.alone[name][level][:-1] for c in cases]
    extra = {"broken": stage.broken, "refused": stage.refused}
    return _accuracy(rows, [stage], extra, **fields, attack=name, norm=_norm(run, name))


def _norm(run: Run, name: str) -> str:
    return getattr(getattr(run.suite[name], "ball", None), "norm", "")


def _accuracy(
    rows: Sequence[Sequence[float]], spent: list[Stage], extra: Mapping[str, float], **about: Any
) -> Record:
    """A record of robust accuracy from each example's shares, with all three outcomes counted."""
    n = len(rows)
    correct, wrong, rejected, delivered, ever = map(sum, zip(*rows, strict=True))
    radii = {s.eps for s in spent}
    return Record.rate(
        "robust accuracy",
        correct,
        n,
        eps=radii.pop() if len(radii) == 1 else None,
        counts=_whole({"correct": correct, "wrong": wrong, "rejected": rejected}, n),
        extra={
            "wrong": wrong / n,
            "rejected": rejected / n,
            "wrong when delivered": delivered / n,
            "wrong on any draw": ever / n,
            "attacked": sum(s.tested for s in spent),
            **extra,
        },
        seconds=sum(s.seconds for s in spent),
        forwards=sum(s.forwards for s in spent),
        backwards=sum(s.backwards for s in spent),
        **about,
    )


def _whole(shares: Mapping[str, float], n: int) -> dict[str, int]:
    """Whole numbers that sum to n: the largest remainders are rounded up."""
    counts = {name: math.floor(share + 1e-6) for name, share in shares.items()}
    for name in sorted(shares, key=lambda k: counts[k] - shares[k])[: n - sum(counts.values())]:
        counts[name] += 1
    return counts


def any_of_k(record: Record) -> Record:
    """The share of examples wrong on any of k draws, for an attacker who may try k times, with its interval.

    Args:
        record: robust accuracy, or a rung, of a model that draws; k is the `draws` it was judged on.
    """
    about = {name: getattr(record, name) for name in ("subject", "attack", "threat", "eps", "norm")}
    k, share = record.config["draws"], record.extra["wrong on any draw"]
    return Record.rate(f"wrong on any of {k} draws", share * record.n, record.n, **about)
