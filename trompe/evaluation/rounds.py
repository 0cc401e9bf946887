"""One batch under a suite of attacks: who meets whom, which inputs are kept, and how they are judged."""

import time
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from trompe.attacks.base import Attack
from trompe.core import random
from trompe.core.checks import check_labels
from trompe.core.execution import device_of, metered, policy
from trompe.core.protocols import Domain
from trompe.evaluation.cases import Case, fingerprint, weights_digest
from trompe.evaluation.inputs import admit, clipped
from trompe.evaluation.outcomes import REPORT, SELECT, Nature, Outcomes, nature, outcomes

__all__ = ["Run", "Stage", "networks_of"]

_MEANING = 2
"""What cases mean, as a number: it rises with a change of it, so that none of another meaning are resumed."""


@dataclass
class Stage:
    """What one attack of the suite did at one radius: to the examples that still stood, or to all, alone.

    `broken` counts those that it left more often wrong than not, and had found otherwise; `refused` those of
    which the model refused what it returned more often than not.
    """

    attack: str
    eps: float | None
    tested: int = 0
    broken: int = 0
    refused: int = 0
    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Stage") -> "Stage":
        counts = ("tested", "broken", "refused", "forwards", "backwards", "seconds")
        return Stage(self.attack, self.eps, *(getattr(self, c) + getattr(other, c) for c in counts))


@dataclass
class Run:
    """One evaluation: what stays the same between its batches."""

    model: nn.Module
    suite: dict[str, Attack]
    levels: list[float | None]
    seed: int
    draws: int
    separate: bool = False
    kind: Nature | None = None
    classes: int = 0

    def mark(self, batch: int) -> str:
        """A hash of everything but the data that the outcomes depend on."""
        networks = {k: [weights_digest(n) for n in networks_of(a)] for k, a in self.suite.items()}
        return fingerprint(
            model=weights_digest(self.model), suite={k: str(a) for k, a in self.suite.items()},
            networks=networks, levels=self.levels, seed=self.seed, draws=self.draws, batch=batch,
            policy=str(policy()), separate=self.separate, meaning=_MEANING,
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
        state = _State.fresh(self, domain, x, y, seeds)
        stages: list[Stage] = []
        for level, eps in enumerate(self.levels):
            for name, attack in self.suite.items():
                stage = Stage(name, self._radius(attack, eps))
                state.attacked(name, attack if eps is None else attack.at(eps), level, stage)
                stages.append(stage)
            state.close()
        return state.cases(index), [asdict(stage) for stage in stages]

    @property
    def looks(self) -> int:
        """How often an input is judged."""
        return self.draws if self.kind is not None and self.kind.random else 1

    def _radius(self, attack: Attack, eps: float | None) -> float | None:
        return getattr(getattr(attack, "ball", None), "eps", None) if eps is None else eps


def networks_of(attack: Attack) -> list[nn.Module]:
    """What was handed to an attack, and to the one inside it, by `using`."""
    inside = getattr(attack, "attack", None)
    deeper = networks_of(inside) if isinstance(inside, Attack) else []
    return [*attack._networks.values(), *deeper]


@dataclass
class _State:
    """The examples of a batch: the worst input found for each so far, and what each attack alone did."""

    run: Run
    domain: Domain
    x: Tensor
    y: Tensor
    seeds: Tensor
    clean: Outcomes
    start: Tensor
    worst: Tensor
    share: Tensor
    level: Tensor
    by: list[str]
    shares: list[Tensor] = field(default_factory=list)
    norms: list[list[dict[str, float]]] = field(default_factory=list)
    alone: dict[str, list[Tensor]] = field(default_factory=dict)

    @classmethod
    def fresh(cls, run: Run, domain: Domain, x: Tensor, y: Tensor, seeds: Tensor) -> "_State":
        clean = outcomes(run.model, x, y, seeds, REPORT, run.looks)
        again = run.looks > 1
        start = outcomes(run.model, x, y, seeds, SELECT, run.looks).wrong if again else clean.wrong
        nowhere = torch.full((len(x),), -1, device=x.device)
        return cls(run, domain, x, y, seeds, clean, start, x, start, nowhere, [""] * len(x))

    @cached_property
    def unharmed(self) -> Tensor:
        """The columns of `Case.alone` where an attack has found nothing."""
        return torch.cat([self.judged(slice(None), self.x), self.start[:, None]], 1)

    def choosing(self, rows: Tensor | slice, x: Tensor) -> Outcomes:
        """What inputs are on the draws by which inputs are chosen, and never reported."""
        y, seeds = self.y[rows], self.seeds[rows]
        return outcomes(self.run.model, x, y, seeds, SELECT, self.run.looks)

    def judged(self, rows: Tensor | slice, x: Tensor) -> Tensor:
        """Inputs on the draws that chose nothing: the five columns of `Case.shares`."""
        y, seeds = self.y[rows], self.seeds[rows]
        look = outcomes(self.run.model, x, y, seeds, REPORT, self.run.looks)
        shown = self.domain.as_delivered(x)
        delivered = outcomes(self.run.model, shown, y, seeds, REPORT, self.run.looks).wrong
        columns = (look.correct, look.wrong, look.rejected, delivered, look.ever.float())
        return torch.stack(columns, 1)

    def attacked(self, name: str, attack: Attack, level: int, stage: Stage) -> None:
        """Let one attack try the examples that are for it; keep what is worse than all before."""
        before = self.start if self.run.separate else self.share
        rows = ((before < 1) & (self.clean.rejected < 1)).nonzero()[:, 0]
        stage.tested = len(rows)
        found, share = self.x[rows], before[rows]
        if len(rows):
            start = time.perf_counter()
            with metered() as cost:
                made = attack(self.run.model, found, self.y[rows], seeds=self.seeds[rows])
                found = clipped(attack, found, made)
            stage.seconds = time.perf_counter() - start
            stage.forwards, stage.backwards = cost.forwards, cost.backwards
            look = self.choosing(rows, found)
            share, stage.refused = look.wrong, int((look.rejected > 0.5).sum())
        stage.broken = int(((share > 0.5) & (before[rows] <= 0.5)).sum())
        if self.run.separate:
            self._keep_alone(name, rows, found, share)
        self._keep_worst(name, level, rows, found, share)

    def _keep_alone(self, name: str, rows: Tensor, found: Tensor, share: Tensor) -> None:
        """What an attack did by itself: all that it returned, or the clean input where that fools nobody.

        On a random model few draws cannot tell who is fooled: to choose by them would flatter the model.
        """
        kept = (share > self.start[rows]) | (self.run.looks > 1)
        columns = self.unharmed.clone()
        if bool(kept.any()):
            took = rows[kept]
            columns[took] = torch.cat([self.judged(took, found[kept]), share[kept, None]], 1)
        self.alone.setdefault(name, []).append(columns)

    def _keep_worst(
        self, name: str, level: int, rows: Tensor, found: Tensor, share: Tensor
    ) -> None:
        """Keep what is worse than all before; where few draws cannot tell, rather that than a clean input."""
        worse = share > self.share[rows]
        unmoved = [not self.by[row] for row in rows.tolist()]
        clean = torch.tensor(unmoved, dtype=torch.bool, device=rows.device)
        kept = worse | (clean & (share == self.share[rows])) if self.run.looks > 1 else worse
        first = rows[worse & (self.level[rows] < 0)]
        self.level[first] = level
        took = rows[kept]
        self.worst = self.worst.index_copy(0, took, found[kept])
        self.share = self.share.index_copy(0, took, share[kept])
        for row in took.tolist():
            self.by[row] = name

    def close(self) -> None:
        """End a radius: judge the worst inputs anew, on draws that chose nothing."""
        self.shares.append(self.judged(slice(None), self.worst))
        found = {k: v.tolist() for k, v in self.domain.distances(self.x, self.worst).items()}
        rows = range(len(self.x))
        self.norms.append([{k: v[i] for k, v in found.items()} if self.by[i] else {} for i in rows])

    def cases(self, index: Tensor) -> list[Case]:
        """The batch as plain rows."""
        alone = {name: torch.stack(rows, 1).tolist() for name, rows in self.alone.items()}
        columns = (
            index.tolist(),
            self.y.tolist(),
            self.clean.correct.tolist(),
            self.clean.wrong.tolist(),
            self.level.tolist(),
            self.by,
            torch.stack(self.shares, 1).tolist(),
            map(list, zip(*self.norms, strict=True)),
            ({name: rows[i] for name, rows in alone.items()} for i in range(len(index))),
        )
        return [Case(*row) for row in zip(*columns, strict=True)]
